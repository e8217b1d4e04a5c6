//! Values that the caller of RotateSecret chooses: put in force, or refused
//! before anything is begun; and never to be seen on their way.

use serde_json::{Value, json};
use strongroom_fixtures::emulator::{Fault, FaultKind, Instance, Os};

use super::traces::{files, forms};
use super::{Credential, Kind, NAME, USER, World};
use crate::harness::{policy, secret_arn};

/// What a person might choose: short enough to be found from its hash.
const CHOSEN: &str = "Chosen-Horse-9x";

fn chosen(kind: Kind) -> Credential {
    match kind {
        Kind::Password => Credential::password(USER, CHOSEN),
        Kind::Key => Credential::key(USER),
    }
}

fn asked<'a>(version: &'a str, data: &'a str) -> [(&'a str, &'a str); 3] {
    [("SecretName", NAME), ("VersionId", version), ("SecretData", data)]
}

#[tokio::test]
async fn a_value_that_the_caller_chose_is_put_in_force_and_repeating_it_is_the_same_rotation() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let admin = world.admin();
        let first = world.current(NAME).await;
        let (given, other) = (
            chosen(kind),
            match kind {
                Kind::Password => Credential::password(USER, "Another-Horse-9"),
                Kind::Key => Credential::key(USER),
            },
        );
        let data = given.text();
        admin.ok("RotateSecret", &asked("v2", &data)).await;
        admin.ok("RotateSecret", &asked("v2", &data)).await;
        assert_eq!(world.over("v2").await.state, "Done", "{kind:?}");
        assert!(world.at_rest("chosen").await == given, "{kind:?}: another value is in force");

        // Afterwards: the same is the same, another one is refused, and so is what is in force already.
        admin.ok("RotateSecret", &asked("v2", &data)).await;
        admin.ok("RotateSecret", &asked("v1", &first.text())).await;
        let exists = (409, "Rejected.ResourceExist".to_owned());
        assert_eq!(admin.refused("RotateSecret", &asked("v2", &other.text())).await, exists);
        assert_eq!(admin.refused("RotateSecret", &asked("v1", &data)).await, exists);
        let invalid = (400, "InvalidParameter".to_owned());
        assert_eq!(admin.refused("RotateSecret", &asked("v3", &data)).await, invalid);
        assert_eq!(world.rows().len(), 1);
        assert!(world.at_rest("refused").await == given);

        // Without a user, which a rotation does not change; and the next one is made up again.
        let mut without: Value = serde_json::from_str(&other.text()).unwrap();
        without.as_object_mut().unwrap().remove("UserName");
        admin.ok("RotateSecret", &asked("v3", &without.to_string())).await;
        assert_eq!(world.over("v3").await.state, "Done", "{kind:?}");
        assert!(world.at_rest("without a user").await == other);
        assert_eq!(world.rotate_to_the_end("v4").await.state, "Done");
        assert!(world.at_rest("made up").await != other);
        let listed = admin.ok("ListSecretRotations", &[("SecretName", NAME)]).await;
        let custom: Vec<_> =
            listed["Rotations"].as_array().unwrap().iter().map(|one| &one["CustomValue"]).collect();
        assert_eq!(custom, [false, true, true]);
    }
}

#[tokio::test]
async fn who_may_only_rotate_does_not_choose_the_value() {
    let world = World::new(Kind::Password).await;
    let rotates = policy("Allow", &["kms:RotateSecret"], &[&secret_arn(NAME)]);
    let user = world.appliance.user_with(std::slice::from_ref(&rotates)).await;
    let (in_force, other) = (world.current(NAME).await, chosen(Kind::Password));
    for value in [in_force, other] {
        let refused = user.refused("RotateSecret", &asked("v2", &value.text())).await;
        assert_eq!(refused.0, 403, "{refused:?}");
    }
    assert!(world.rows().is_empty());
    user.ok("RotateSecret", &[("SecretName", NAME), ("VersionId", "v2")]).await;
    assert_eq!(world.over("v2").await.state, "Done");
    let puts = policy("Allow", &["kms:PutSecretValue"], &[&secret_arn(NAME)]);
    let both = world.appliance.user_with(&[rotates, puts]).await;
    both.ok("RotateSecret", &asked("v3", &chosen(Kind::Password).text())).await;
    assert_eq!(world.over("v3").await.state, "Done");
}

#[tokio::test]
async fn values_that_do_not_fit_are_refused_and_nothing_changes() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let before = world.current(NAME).await;
        let (one, two) = (Credential::key(USER), Credential::key(USER));
        let mut bad = match kind {
            Kind::Password => vec![
                Credential::password("root", CHOSEN).text(),
                Credential::password(USER, "short-1").text(),
                Credential::password(USER, "nothing-but-small").text(),
                Credential::password(USER, "With Blanks 12").text(),
                Credential::password(USER, "Ünïcode-12345").text(),
                one.text(),
            ],
            Kind::Key => vec![
                Credential::key("root").text(),
                Credential::password(USER, CHOSEN).text(),
                json!({ "UserName": USER, "PublicKey": one.public(), "PrivateKey": two.secret() })
                    .to_string(),
                json!({ "UserName": USER, "PublicKey": one.public(), "PrivateKey": "no key" }).to_string(),
            ],
        };
        bad.extend(["{}", "no JSON"].map(str::to_owned));
        for data in bad {
            let refused = world.admin().call("RotateSecret", &asked("v2", &data)).await.unwrap_err();
            assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"), "{data}");
            for hidden in [CHOSEN, "With Blanks", "nothing-but", "no key", "no JSON"] {
                assert!(!refused.message.contains(hidden), "{refused:?}");
            }
        }
        assert!(world.rows().is_empty() && world.at_rest("refused").await == before, "{kind:?}");
        assert_eq!(world.stages(NAME).await.len(), 1);
    }
}

#[tokio::test]
async fn a_windows_password_that_the_caller_chose_keeps_to_the_rules_of_windows() {
    const ADMINISTRATOR: &str = "Administrator";
    let (instance, name) = ("i-windows", "acs/ecs/windows/administrator");
    let world = World::new(Kind::Key).await;
    world.cloud().add_instance(Instance { delay_millis: 40, ..Instance::scripted(instance, Os::Windows) });
    world
        .cloud()
        .change_windows(instance, |windows| windows.put_account(ADMINISTRATOR, "Begin-Here-12345", 0));
    let first = Credential::password(ADMINISTRATOR, "Begin-Here-12345");
    world.create(name, Kind::Password, instance, &first).await;
    let logs_on = |password: &str| world.cloud().windows_logs_on(instance, ADMINISTRATOR, password);
    let rotate = async |password: &str| {
        let data = Credential::password("administrator", password).text();
        let parameters = [("SecretName", name), ("VersionId", "v2"), ("SecretData", data.as_str())];
        world.admin().call("RotateSecret", &parameters).await
    };
    for bad in ["/Chosen-Horse-9x", "My-administrator-9"] {
        let refused = rotate(bad).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"));
        assert!(refused.message.contains("Windows"), "{refused:?}");
    }
    assert!(world.rows().is_empty() && logs_on("Begin-Here-12345"));
    rotate(CHOSEN).await.unwrap();
    assert_eq!(world.over("v2").await.state, "Done");
    assert!(world.current(name).await == Credential::password(ADMINISTRATOR, CHOSEN));
    assert!(logs_on(CHOSEN) && !logs_on("Begin-Here-12345"));
}

#[tokio::test]
async fn a_password_that_a_person_chose_and_its_hash_leave_no_trace_on_any_road() {
    let world = World::new(Kind::Password).await;
    let lost = FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() };
    let undelivered = FaultKind::NeverDeliver { error_code: "DeliveryTimeout".to_owned() };
    let (mut passwords, mut hashes) = (Vec::new(), Vec::new());
    for (number, fault) in [None, Some(lost), Some(undelivered)].into_iter().enumerate() {
        world.suffer(fault.map(|fault| Fault::new(fault).op("apply")));
        let (version, password) = (format!("v{}", number + 2), format!("{CHOSEN}{number}"));
        let value = Credential::password(USER, &password);
        world.admin().ok("RotateSecret", &asked(&version, &value.text())).await;
        assert_eq!(world.over(&version).await.state, "Done", "{version}");
        assert!(world.at_rest(&version).await == value);
        let field = world.shell("getent shadow deploy | cut -d: -f2");
        assert!(field.starts_with("$6$"), "{field}");
        hashes.push(Credential::password(USER, field.trim()));
        passwords.push(value);
    }
    // One that the instance refuses.
    world.shell("usermod -L deploy");
    let value = Credential::password(USER, &format!("{CHOSEN}-refused"));
    world.admin().ok("RotateSecret", &asked("refused", &value.text())).await;
    assert_eq!(world.over("refused").await.state, "Failed");
    passwords.push(value);
    world.quiet().await;

    let records = serde_json::to_string(&world.cloud().records()).unwrap();
    assert!(records.contains("SR_REQUEST"), "the cloud has no record of the requests");
    let mut places = vec![("the cloud's records".to_owned(), records)];
    files(&world.appliance.data_folder(), &mut places);
    files(world.cloud().state_dir(), &mut places);
    places.push(("the log".to_owned(), world.appliance.log()));
    let outside = places.len();
    files(&world.folder().join("host/state/upper"), &mut places);
    assert!(places[outside..].iter().any(|(name, _)| name.contains("var/lib/strongroom/rotator")));
    for form in passwords.iter().flat_map(forms) {
        for (place, text) in &places {
            assert!(!text.contains(&form), "a chosen password stands in {place}");
        }
    }
    // The instance itself has the hash, in /etc/shadow and in the notes that root alone reads.
    for form in hashes.iter().flat_map(forms) {
        for (place, text) in &places[..outside] {
            assert!(!text.contains(&form), "the hash of a chosen password stands in {place}");
        }
    }
    assert!(
        places[outside..].iter().any(|(_, text)| text.contains(hashes[2].secret())),
        "the search finds nothing"
    );
}
