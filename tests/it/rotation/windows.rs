//! Rotations of Windows passwords, on a double of a Windows instance: the
//! password is sealed to a key made there, set and tried.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use strongroom_fixtures::emulator::{Fault, FaultKind, Instance, Os, StopPoint, Windows};

use super::world::{Row, create_parameters, extended_config};
use super::{Credential, Kind, World};

const INSTANCE: &str = "i-windows";
const ADMINISTRATOR: &str = "Administrator";
const SECRET: &str = "acs/ecs/windows/administrator";
const FIRST: &str = "Begin-Here-12345";

/// A vault with the password of the double's administrator.
async fn world() -> World {
    with_administrator(World::new(Kind::Key).await, &[]).await
}

async fn with_administrator(world: World, more: &[(&str, &str)]) -> World {
    let cloud = world.cloud();
    cloud.add_instance(Instance { delay_millis: 40, ..Instance::scripted(INSTANCE, Os::Windows) });
    cloud.change_windows(INSTANCE, |windows| windows.put_account(ADMINISTRATOR, FIRST, 0));
    let config = extended_config(Kind::Password, INSTANCE);
    let data = Credential::password(ADMINISTRATOR, FIRST).text();
    let parameters = create_parameters(SECRET, &config);
    world
        .admin()
        .ok("CreateSecret", &[&parameters[..], &[("SecretData", data.as_str())], more].concat())
        .await;
    world
}

fn logs_on(world: &World, value: &Credential) -> bool {
    world.cloud().windows_logs_on(INSTANCE, ADMINISTRATOR, value.secret())
}

async fn rotate(world: &World, version: &str) -> Row {
    world.admin().ok("RotateSecret", &[("SecretName", SECRET), ("VersionId", version)]).await;
    world.over(version).await
}

/// What must hold while no rotation goes on: the current value logs on, the one
/// before does not, nothing is pending.
async fn at_rest(world: &World, context: &str) -> Credential {
    let stages = world.stages(SECRET).await;
    let pending = stages.iter().any(|(_, stages)| stages.iter().any(|stage| stage == "ACSPending"));
    assert!(!pending, "{context}: a version is pending: {stages:?}");
    let current = world.current(SECRET).await;
    assert!(logs_on(world, &current), "{context}: the current version does not log on");
    if let Some(previous) = world.value_of(SECRET, "ACSPrevious").await {
        assert!(!logs_on(world, &previous), "{context}: the previous version logs on");
    }
    current
}

fn undelivered(op: &str) -> Fault {
    Fault::new(FaultKind::NeverDeliver { error_code: "DeliveryTimeout".to_owned() }).op(op)
}

#[tokio::test]
async fn a_windows_password_rotates_by_hand_and_by_the_calendar() {
    let hours = [("EnableAutomaticRotation", "true"), ("RotationInterval", "6h")];
    let mut world = with_administrator(World::with_clock(Kind::Key).await, &hours).await;
    let first = at_rest(&world, "created").await;
    assert_eq!(rotate(&world, "by-hand").await.state, "Done");
    let second = at_rest(&world, "by hand").await;
    assert!(second != first && world.value_of(SECRET, "ACSPrevious").await.as_ref() == Some(&first));

    world.put_forward(6 * 3_600 + 5);
    let scheduled = crate::harness::eventually("the scheduled rotation", async || {
        world.rows().into_iter().find(|row| row.over && row.version != "by-hand")
    })
    .await;
    assert_eq!(scheduled.state, "Done");
    assert!(at_rest(&world, "by the calendar").await != second);
    // What a rotation needed on the instance is gone with it.
    world.quiet().await;
    assert_eq!(world.cloud().windows(INSTANCE).key_count(), 0);
}

#[tokio::test]
async fn names_that_windows_does_not_know_are_refused_at_creation() {
    let world = world().await;
    let config = extended_config(Kind::Password, INSTANCE);
    for user in ["abcdefghijklmnopqrstu", "someone@domain", "dot."] {
        let data = Credential::password(user, FIRST).text();
        let parameters = create_parameters("acs/ecs/windows/other", &config);
        let asked = [&parameters[..], &[("SecretData", data.as_str())]].concat();
        let refused = world.admin().call("CreateSecret", &asked).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"), "{user}");
        assert!(refused.message.contains("Windows"), "{refused:?}");
    }
}

#[tokio::test]
async fn what_the_instance_refuses_is_named_and_the_next_rotation_works_once_it_is_gone() {
    type Change = fn(&mut Windows);
    let refusals: [(&str, Change, Change); 7] = [
        ("policy_refused", |w| w.policy.minimum_length = 100, |w| w.policy.minimum_length = 8),
        ("domain_controller", |w| w.domain_controller = true, |w| w.domain_controller = false),
        ("laps_managed", |w| w.laps = Some("administrator".to_owned()), |w| w.laps = None),
        (
            "account_disabled",
            |w| w.account_mut(ADMINISTRATOR).unwrap().disabled = true,
            |w| w.account_mut(ADMINISTRATOR).unwrap().disabled = false,
        ),
        (
            "account_expired",
            |w| w.account_mut(ADMINISTRATOR).unwrap().expired = true,
            |w| w.account_mut(ADMINISTRATOR).unwrap().expired = false,
        ),
        (
            "account_locked",
            |w| w.account_mut(ADMINISTRATOR).unwrap().locked_out = true,
            |w| w.account_mut(ADMINISTRATOR).unwrap().locked_out = false,
        ),
        ("user_missing", |w| w.remove_account(ADMINISTRATOR), |_| ()),
    ];
    let world = world().await;
    for (code, cause, cure) in refusals {
        let before = world.current(SECRET).await;
        world.cloud().change_windows(INSTANCE, cause);
        let row = rotate(&world, code).await;
        assert_eq!((row.state.as_str(), row.trouble.as_deref()), ("Failed", Some(code)));
        assert_eq!(world.outcomes(&row.id)[0]["errorCode"], code);
        world.cloud().change_windows(INSTANCE, cure);
        if code == "user_missing" {
            return;
        }
        assert!(at_rest(&world, code).await == before);
        assert_eq!(rotate(&world, &format!("after-{code}")).await.state, "Done");
        at_rest(&world, code).await;
    }
}

#[tokio::test]
async fn stopped_at_any_durable_write_of_the_instance_a_rotation_ends_well() {
    let world = world().await;
    for point in StopPoint::ALL {
        let version = format!("{point:?}");
        let before = world.current(SECRET).await;
        let mut ends = "Done";
        match point {
            StopPoint::RefusalWritten => {
                world.cloud().change_windows(INSTANCE, |windows| windows.policy.minimum_length = 100);
                ends = "Failed";
            }
            StopPoint::StatusMended => world.cloud().stop_windows_at(INSTANCE, StopPoint::PasswordSet),
            StopPoint::FenceStarted | StopPoint::FenceWritten | StopPoint::FenceKeyDeleted => {
                world.suffer([undelivered("apply").times(6)]);
                ends = "Failed";
            }
            StopPoint::PrepareStarted
            | StopPoint::KeyStored
            | StopPoint::PreparedWritten
            | StopPoint::ApplyStarted
            | StopPoint::BegunWritten
            | StopPoint::PasswordSet
            | StopPoint::AppliedWritten
            | StopPoint::FinalizeStarted
            | StopPoint::FinalizedWritten
            | StopPoint::KeyDeleted => {}
        }
        world.cloud().stop_windows_at(INSTANCE, point);
        let row = rotate(&world, &version).await;
        assert_eq!(row.state, ends, "{row:?}");
        world.quiet().await;
        assert_eq!(world.cloud().windows_stops(INSTANCE), [], "{version}: it did not stop there");
        assert!(world.cloud().faults().is_empty(), "{version}");
        world.cloud().change_windows(INSTANCE, |windows| windows.policy.minimum_length = 8);
        assert_eq!(at_rest(&world, &version).await == before, ends == "Failed", "{version}");
    }
}

#[tokio::test]
async fn whatever_happens_to_the_command_a_windows_password_rotates() {
    let world = world().await;
    for kind in super::faults::kinds().into_iter().filter(|kind| *kind != FaultKind::Throttle) {
        let version = format!("apply-{}", super::faults::number(&kind));
        let before = world.current(SECRET).await;
        world.suffer([super::faults::at(kind, "apply").instance(INSTANCE)]);
        let row = rotate(&world, &version).await;
        assert_eq!(row.state, "Done", "{row:?}");
        world.quiet().await;
        assert!(at_rest(&world, &version).await != before, "{version}");
        assert!(world.cloud().faults().is_empty(), "{version}: the fault never struck");
    }
}

#[tokio::test]
async fn a_password_set_by_hand_while_a_rotation_is_in_doubt_is_overcome() {
    let world = world().await;
    world.suffer([
        Fault::new(FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() }).op("apply"),
        undelivered("status").times(2),
    ]);
    world.admin().ok("RotateSecret", &[("SecretName", SECRET), ("VersionId", "overtaken")]).await;
    world.row_that("overtaken", |row| row.state == "Unknown").await;
    world.cloud().change_windows(INSTANCE, |windows| {
        windows.put_account(ADMINISTRATOR, "By-Hand-12345", i64::MAX / 2)
    });
    let row = world.over("overtaken").await;
    assert_eq!(row.state, "Done", "{row:?}");
    at_rest(&world, "overtaken").await;
}

/// A password as it is, and as programs like to write it.
fn forms(password: &str) -> Vec<Vec<u8>> {
    let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = Vec::new();
    for bytes in [password.as_bytes(), &wide] {
        forms.push(bytes.to_vec());
        forms.push(HEXLOWER.encode(bytes).into_bytes());
        // At each of the three places that a text can have in Base64, without its ends.
        for shift in 0..3 {
            let padded = [&b"xx"[..shift], bytes].concat();
            for text in [BASE64.encode(&padded), BASE64URL_NOPAD.encode(&padded)] {
                forms.push(text.bytes().skip(4).take(text.len() - 8).collect());
            }
        }
    }
    forms
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn a_windows_password_leaves_no_trace_on_good_roads_and_bad_ones() {
    let world = world().await;
    let mut passwords = vec![FIRST.to_owned()];
    for (number, spoil) in
        [None, Some(StopPoint::PasswordSet), Some(StopPoint::BegunWritten)].iter().enumerate()
    {
        spoil.iter().for_each(|point| world.cloud().stop_windows_at(INSTANCE, *point));
        assert_eq!(rotate(&world, &format!("v{}", number + 2)).await.state, "Done");
        passwords.push(at_rest(&world, "traces").await.secret().to_owned());
    }
    world.cloud().change_windows(INSTANCE, |windows| windows.policy.minimum_length = 100);
    assert_eq!(rotate(&world, "refused").await.state, "Failed");

    let records = serde_json::to_vec(&world.cloud().records()).unwrap();
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    assert!(has(&records, b"SR_REQUEST"), "the cloud has no record of the requests");
    let mut places = vec![("the cloud's records".to_owned(), records)];
    files(&world.appliance.data_folder(), &mut places);
    files(world.cloud().state_dir(), &mut places);
    places.push(("the log".to_owned(), world.appliance.log().into_bytes()));
    assert!(places.iter().any(|(name, _)| name.ends_with("strongroom.db")));
    // The search itself must be able to find.
    assert!(places.iter().any(|(_, text)| has(text, &forms("SR_REQUEST")[0])));
    for form in passwords.iter().flat_map(|password| forms(password)) {
        for (place, text) in &places {
            assert!(!has(text, &form), "a password stands in {place}");
        }
    }
}
