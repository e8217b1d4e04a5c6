//! A crowd of secrets that are due at once after the vault was down.

use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::site::{Site, Watcher, instance, secret};

const HOUR: i64 = 3_600;
const INSTANCES: usize = 60;
const USERS: usize = 5;
/// One that never answers, one that is slow, one whose commands are refused at first.
const DEAD: usize = 7;
const SLOW: usize = 8;
const THROTTLED: usize = 9;

#[tokio::test]
async fn a_crowd_that_is_overdue_is_rotated_within_the_bounds_and_nobody_starves() {
    let mut site = Site::new("concurrency = 6\nper_instance = 2", INSTANCES, 20).await;
    let every = [("EnableAutomaticRotation", "true"), ("RotationInterval", "6h")];
    site.create(0..INSTANCES, USERS, &every).await;
    site.appliance.stop();
    site.put_forward(7 * HOUR);
    let emulator = std::sync::Arc::clone(&site.emulator);
    emulator.update_instance(&instance(SLOW), |slow| slow.delay_millis = 700);
    let never = FaultKind::NeverDeliver { error_code: "ClientNotRunning".to_owned() };
    emulator.set_fault(Fault::new(never).instance(instance(DEAD)).probability(1.0));
    let busy = FaultKind::Refuse { code: "Throttling".to_owned(), status: 429 };
    emulator.set_fault(Fault::new(busy).action("RunCommand").instance(instance(THROTTLED)).times(6));
    let watcher = Watcher::start(&emulator);
    site.appliance.start().await;

    let is_dead = |name: &str| name.starts_with(&format!("acs/ecs/{}-", instance(DEAD)));
    let done = |rotations: &std::collections::HashMap<String, (usize, String)>| {
        rotations.iter().filter(|(name, (_, state))| !is_dead(name) && state == "Done").count()
    };
    let all = (INSTANCES - 1) * USERS;
    let rotations = site.until("all but the dead", |rotations| done(rotations) == all).await;
    let (most, most_of) = watcher.end();
    assert!((2..=6).contains(&most), "{most} commands at once");
    for (id, count) in &most_of {
        assert!(*count <= 2, "{count} commands at once on {id}");
    }
    for (name, (count, _)) in &rotations {
        assert!(is_dead(name) || *count == 1, "{name} was rotated {count} times");
    }
    // Of the dead one's, some wait and are seen to be overdue; none is lost.
    let described = site.admin().ok("DescribeSecret", &[("SecretName", &secret(DEAD, 4))]).await;
    let overdue = described["RotationOverdueSeconds"].as_i64().unwrap();
    assert!((HOUR - 60..HOUR + 600).contains(&overdue), "{described}");
    let sound = site.admin().ok("DescribeSecret", &[("SecretName", &secret(0, 0))]).await;
    assert!(sound.get("RotationOverdueSeconds").is_none(), "{sound}");

    // It comes back: its own are made up.
    emulator.clear_faults();
    let back = site
        .until("the dead one is back", |rotations| {
            (0..USERS)
                .all(|user| rotations.get(&secret(DEAD, user)).is_some_and(|(_, state)| state == "Done"))
        })
        .await;
    assert_eq!(back.len(), INSTANCES * USERS);
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_forth_begins_nothing_twice_and_stops_nothing() {
    let mut site = Site::new("concurrency = 4", 3, 5).await;
    let every = [("EnableAutomaticRotation", "true"), ("RotationInterval", "6h")];
    site.create(0..3, 1, &every).await;
    let done = |rotations: &std::collections::HashMap<String, (usize, String)>, times: usize| {
        rotations.len() == 3 && rotations.values().all(|(count, state)| *count == times && state == "Done")
    };
    site.put_forward(6 * HOUR + 5);
    site.until("the first date", |rotations| done(rotations, 1)).await;
    // Back by an hour: the next date is further away, and nothing is begun.
    site.put_forward(-HOUR);
    site.admin().create_secret("other", "value").await;
    assert!(done(&site.rotations(), 1));
    // What is begun by hand meanwhile ends although its times lie in the past soon.
    let by_hand = [("SecretName", secret(0, 0)), ("VersionId", "v2".to_owned())];
    let by_hand: Vec<_> = by_hand.iter().map(|(n, v)| (*n, v.as_str())).collect();
    site.admin().ok("RotateSecret", &by_hand).await;
    site.put_forward(-2 * HOUR);
    site.until("by hand", |rotations| {
        rotations.get(&secret(0, 0)).is_some_and(|(count, state)| *count == 2 && state == "Done")
    })
    .await;
    site.put_forward(10 * HOUR);
    site.until("the second date", |rotations| {
        rotations.get(&secret(1, 0)).is_some_and(|(count, state)| *count == 2 && state == "Done")
            && rotations.get(&secret(2, 0)).is_some_and(|(count, state)| *count == 2 && state == "Done")
    })
    .await;
}
