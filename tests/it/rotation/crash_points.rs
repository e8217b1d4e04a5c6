//! The vault is killed at each durable write of a rotation, as `kill -9` does,
//! on every road that a rotation can take.

use std::os::unix::process::ExitStatusExt;
use std::panic::resume_unwind;

use rustix::process::Signal;
use strongroom::model::rotation::State;
use strongroom::rotation::crash::Write;
use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::world::Row;
use super::{Credential, Kind, NAME, USER, World};

const SIDES: [&str; 2] = ["before", "after"];

/// What has to go wrong for a rotation to come through a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    /// Nothing.
    Straight,
    /// The result of the run is lost.
    ResultLost,
    /// The plug-in's word comes without a proof.
    NoProof,
    /// The instance will never do it.
    Refused,
    /// No command reaches the instance.
    GivenUp,
    /// A question is not answered at first.
    AskedTwice,
    /// The instance does not answer for an hour.
    Silence,
}

const fn road(write: Write) -> Road {
    let state = match write {
        Write::Enter(state) => state,
        Write::Question => State::Unknown,
        Write::Rest => return Road::AskedTwice,
        Write::SealingKey => State::Staged,
    };
    match state {
        State::Staged
        | State::Sending
        | State::Sent
        | State::Verified
        | State::Committed
        | State::Finalizing
        | State::Done => Road::Straight,
        State::Unknown => Road::ResultLost,
        State::Applied => Road::NoProof,
        State::Fencing => Road::GivenUp,
        State::Failed => Road::Refused,
        State::Stuck => Road::Silence,
    }
}

/// A password is replaced by one command, openly: there is nothing to remove
/// afterwards, and nothing to seal, so that the write of a sealing key is not met here.
fn writes(kind: Kind) -> impl Iterator<Item = Write> {
    let states = State::ALL.into_iter().filter(move |state| kind == Kind::Key || *state != State::Finalizing);
    let within = Write::WITHIN_A_STATE.into_iter().filter(|write| *write != Write::SealingKey);
    states.map(Write::Enter).chain(within)
}

#[test]
fn killed_at_any_durable_write_a_rotation_ends_by_itself_and_the_current_version_logs_on() {
    let counts = std::thread::scope(|scope| {
        let threads = Kind::BOTH.map(|kind| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(all_points(kind))
            })
        });
        threads.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let [password, key] = counts;
    assert_eq!((password, key), (26, 28));
    println!("{key} crash points × 2 kinds: all ended well (a password has {password} of them)");
}

/// Only what must not be read on its way is sealed: a password that the caller chose.
#[tokio::test]
async fn killed_at_the_write_of_a_sealing_key_a_chosen_password_is_put_in_force_all_the_same() {
    let mut world = World::new(Kind::Password).await;
    for side in SIDES {
        let old = world.current(NAME).await;
        let chosen = Credential::password(USER, &format!("Chosen-Horse-9{side}"));
        let (version, data) = (format!("sealed-{side}"), chosen.text());
        world.appliance.kill();
        world.environment(&[("STRONGROOM_CRASH_AT", &format!("SealingKey/{side}"))]);
        world.appliance.start().await;
        let call = [("SecretName", NAME), ("VersionId", version.as_str()), ("SecretData", &data)];
        // The answer and the end of the process come in either order.
        drop(world.admin().try_call("RotateSecret", &call).await);
        let status = world.appliance.wait();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{side}: it was not met: {status}");
        world.quiet().await;
        assert!(old.logs_on(&world.host), "{side}: nothing was sent yet");

        world.environment(&[]);
        world.appliance.start().await;
        assert_eq!(world.over(&version).await.state, "Done", "{side}");
        assert!(world.at_rest(&version).await == chosen, "{side}: another value is in force");
    }
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_is_said_to_have_an_unknown_outcome_once() {
    let mut world = World::new(Kind::Password).await;
    world.appliance.kill();
    world.environment(&[("STRONGROOM_CRASH_AT", "Staged/after")]);
    world.appliance.start().await;
    let asked = world.admin().try_call("RotateSecret", &[("SecretName", NAME), ("VersionId", "cut")]).await;
    assert!(asked.is_err(), "it answered");
    world.appliance.wait();
    world.environment(&[]);
    for _ in 0..2 {
        world.appliance.start().await;
        world.over("cut").await;
        let events = world.appliance.audit_events();
        let begun = events
            .iter()
            .find(|e| e["eventName"] == "RotateSecret" && e["additionalEventData"]["phase"] == "started")
            .expect("the intent is on record");
        let unknown: Vec<_> = events.iter().filter(|e| e["eventName"] == "OutcomeUnknown").collect();
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert_eq!(unknown[0]["requestParameters"]["BegunRequestId"], begun["requestId"]);
        assert_eq!(unknown[0]["requestParameters"]["EventName"], "RotateSecret");
        world.appliance.kill();
    }
}

async fn all_points(kind: Kind) -> usize {
    let mut world = World::new(kind).await;
    let mut count = 0;
    for write in writes(kind) {
        for side in SIDES {
            count += 1;
            let version = format!("{kind:?}-{}-{side}", write.as_str());
            one_point(&mut world, kind, (write, side), &version).await;
        }
    }
    count
}

async fn one_point(world: &mut World, kind: Kind, (write, side): (Write, &str), version: &str) {
    let road = road(write);
    let old = world.current(NAME).await;
    let told = events(world).await;
    world.appliance.kill();
    if road == Road::Silence && side == "before" {
        world.put_clock_under_control();
    }
    let point = format!("{}/{side}", write.as_str());
    world.environment(&[("STRONGROOM_CRASH_AT", &point)]);
    world.appliance.start().await;
    take(world, road);

    let asked = world.admin().try_call("RotateSecret", &[("SecretName", NAME), ("VersionId", version)]).await;
    assert!(
        write != Write::Enter(State::Staged) || asked.is_err(),
        "{version}: it answered before the candidate was durable"
    );
    if road == Road::Silence {
        world.row_that(version, |row| row.state == "Unknown").await;
        world.put_forward(3_700);
    }
    let status = world.appliance.wait();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{version}: it ended by itself: {status}");
    world.quiet().await;
    leave(world, road);
    let old_logs_on = old.logs_on(&world.host);

    world.environment(&[]);
    world.appliance.start().await;
    what_logs_on_is_held(world, version, &old, old_logs_on).await;
    if (write, side) == (Write::Enter(State::Staged), "before") {
        // It never began: the client repeats the call.
        assert!(world.rows().iter().all(|row| row.version != version), "{version}");
        assert!(world.at_rest(version).await == old, "{version}");
        world.rotate(version).await;
    }
    let row = world.over(version).await;
    assert!(old_logs_on || row.state == "Done", "{version}: a value that logged on was destroyed");
    let current = world.at_rest(version).await;
    ended_well(world, &row, road, &old, &current).await;
    recorded_once(world, kind, &row, (write, side));
    // One event tells of the end; that it was stuck is another.
    let more = usize::from((write, side) == (Write::Enter(State::Stuck), "after"));
    assert_eq!(events(world).await - told, 1 + more, "{row:?}");
}

/// How many events there are.
async fn events(world: &World) -> usize {
    let answer = world.admin().ok("ListRotationEvents", &[("MaxResults", "100")]).await;
    answer["Events"]["Event"].as_array().unwrap().len()
}

fn take(world: &World, road: Road) {
    match road {
        Road::Straight => {}
        Road::ResultLost => world.suffer([lost_result()]),
        Road::NoProof => world.install_proofless_plugin(),
        Road::Refused => drop(world.shell(&format!("chage -E 1 {USER}"))),
        Road::AskedTwice => world.suffer([lost_result(), undelivered("status").times(1)]),
        Road::GivenUp => world.suffer([undelivered("apply").times(6)]),
        Road::Silence => world.suffer([lost_result(), undelivered("status").times(100_000)]),
    }
}

fn leave(world: &World, road: Road) {
    world.cloud().clear_faults();
    match road {
        Road::NoProof => world.install_plugin(),
        Road::Refused => drop(world.shell(&format!("chage -E -1 {USER}"))),
        Road::Straight | Road::ResultLost | Road::AskedTwice | Road::GivenUp | Road::Silence => {}
    }
}

fn lost_result() -> Fault {
    Fault::new(FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() }).op("apply")
}

fn undelivered(op: &str) -> Fault {
    Fault::new(FaultKind::NeverDeliver { error_code: "DeliveryTimeout".to_owned() }).op(op)
}

/// At the moment after the crash, what the instance accepts is in the vault: the
/// value from before, or one that is to become current.
async fn what_logs_on_is_held(world: &World, version: &str, old: &Credential, old_logs_on: bool) {
    if old_logs_on {
        let mut values = Vec::new();
        for stage in ["ACSCurrent", "ACSPrevious"] {
            values.extend(world.value_of(NAME, stage).await);
        }
        assert!(values.contains(old), "{version}: the value that logs on is not in the vault");
    } else {
        let stages = world.stages_of(NAME, version).await;
        assert!(
            stages.is_some_and(|s| !s.is_empty()),
            "{version}: the value that logs on is not in the vault"
        );
    }
}

async fn ended_well(world: &World, row: &Row, road: Road, old: &Credential, current: &Credential) {
    let stages = world.stages_of(NAME, &row.version).await;
    if matches!(road, Road::Refused | Road::GivenUp) {
        assert_eq!((row.state.as_str(), stages), ("Failed", None), "{row:?}");
        assert!(current == old, "{row:?}: the former value is not current");
    } else {
        assert_eq!((row.state.as_str(), stages), ("Done", Some(vec!["ACSCurrent".to_owned()])), "{row:?}");
        assert!(
            world.value_of(NAME, "ACSPrevious").await.as_ref() == Some(old),
            "{row:?}: the former value is lost"
        );
    }
}

/// The outcome is recorded before the write that makes it so: killed between the
/// two, the vault records it anew, under the same event id.
fn recorded_once(world: &World, kind: Kind, row: &Row, (write, side): (Write, &str)) {
    let outcomes = world.outcomes(&row.id);
    let between = side == "before"
        && match kind {
            Kind::Password => matches!(write, Write::Enter(State::Done | State::Failed)),
            Kind::Key => matches!(write, Write::Enter(State::Finalizing | State::Failed)),
        };
    assert_eq!(outcomes.len(), if between { 2 } else { 1 }, "{row:?}: {outcomes:?}");
    let first = &outcomes[0];
    assert!(outcomes.iter().all(|other| other["eventId"] == first["eventId"]), "{row:?}: {outcomes:?}");
    let phase = if row.state == "Done" { "finished" } else { "failed" };
    assert_eq!(first["additionalEventData"]["rotation"]["phase"], phase);
    assert_eq!(first["additionalEventData"]["secretVersionId"], row.version.as_str());
}
