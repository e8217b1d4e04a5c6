//! Parts that go away in the middle of a rotation, and come back.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::{Kind, NAME, World};
use crate::harness::eventually;

#[tokio::test]
async fn a_rotation_survives_the_death_of_the_key_worker_in_every_state_it_waits_in() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        for state in ["Staged", "Sending", "Sent", "Unknown"] {
            let version = format!("v-{state}");
            match state {
                "Staged" => world
                    .suffer([Fault::new(FaultKind::DelayReply { millis: 200 }).action("DescribeInstances")]),
                "Sending" => world.suffer([Fault::new(FaultKind::DropBefore).action("RunCommand").times(2)]),
                "Sent" => world.suffer([Fault::new(FaultKind::DelayDelivery { millis: 200 }).op("apply")]),
                _ => world.suffer([
                    Fault::new(FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() })
                        .op("apply"),
                    Fault::new(FaultKind::DelayDelivery { millis: 200 }).op("status"),
                ]),
            }
            world.rotate(&version).await;
            world.row_that(&version, |row| row.state == state || row.over).await;
            let worker = eventually("a key worker", async || world.appliance.worker_pid()).await;
            kill_process(worker, Signal::KILL).unwrap();
            assert_eq!(world.over(&version).await.state, "Done", "{version}");
            eventually("health", async || world.appliance.is_healthy().await.then_some(())).await;
            world.at_rest(&version).await;
        }
    }
}

#[tokio::test]
async fn a_rotation_waits_for_a_cloud_that_is_away_and_resumes() {
    for kind in Kind::BOTH {
        let mut world = World::new(kind).await;
        // While it goes on.
        world.suffer([Fault::new(FaultKind::DelayDelivery { millis: 300 }).op("apply")]);
        world.rotate("v2").await;
        world.row_that("v2", |row| row.state == "Sent").await;
        world.cloud_goes();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!world.rows().iter().any(|row| row.over));
        world.cloud_returns();
        assert_eq!(world.over("v2").await.state, "Done");
        world.at_rest("v2").await;

        // From its beginning: that says nothing of the instance, so it waits.
        let before = world.current(NAME).await;
        world.cloud_goes();
        world.rotate("v3").await;
        let row = world.row_that("v3", |row| row.trouble.as_deref() == Some("NoAnswer")).await;
        assert_eq!(row.state, "Staged");
        assert!(world.current(NAME).await == before);
        world.cloud_returns();
        assert_eq!(world.over("v3").await.state, "Done");
        assert_eq!(world.rotate_to_the_end("v4").await.state, "Done");
        world.at_rest("v4").await;
    }
}

#[tokio::test]
async fn an_instance_that_is_silent_for_hours_is_asked_on_and_its_rotation_ends_well() {
    for kind in Kind::BOTH {
        let mut world = World::with_clock(kind).await;
        let policy = [("SecretName", NAME), ("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")];
        world.admin().ok("UpdateSecretRotationPolicy", &policy).await;
        let before = world.current(NAME).await;
        let never = FaultKind::NeverDeliver { error_code: "ClientNotRunning".to_owned() };
        world.suffer([
            Fault::new(FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() }).op("apply"),
            Fault::new(never).op("status").times(100_000),
        ]);
        world.rotate("v2").await;
        world.row_that("v2", |row| row.state == "Unknown").await;
        world.put_forward(3_700);
        let stuck = world.row_that("v2", |row| row.state == "Stuck").await;
        assert!(!before.logs_on(&world.host) || kind == Kind::Key);
        let described = world.admin().ok("DescribeSecret", &[("SecretName", NAME)]).await;
        assert_eq!(described["AutomaticRotation"], "Invalid");
        assert_eq!(world.stages_of(NAME, "v2").await, Some(vec!["ACSPending".to_owned()]));
        // What may be in force can be read meanwhile: here it is what logs on.
        let pending = world.value_of(NAME, "ACSPending").await.unwrap();
        assert!(pending.logs_on(&world.host) && pending != before);
        world.put_forward(2 * 3_600);
        world.cloud().clear_faults();
        world.put_forward(2 * 3_600);
        assert_eq!(world.over("v2").await.state, "Done");
        assert_eq!(world.outcomes(&stuck.id).len(), 1);
        world.at_rest("v2").await;
        let described = world.admin().ok("DescribeSecret", &[("SecretName", NAME)]).await;
        assert_eq!(described["AutomaticRotation"], "Enabled");
    }
}

#[tokio::test]
async fn an_old_key_that_could_not_be_removed_is_on_record_and_goes_with_the_next_rotation() {
    let mut world = World::with_clock(Kind::Key).await;
    let first = world.current(NAME).await;
    let never = FaultKind::NeverDeliver { error_code: "ClientNotRunning".to_owned() };
    world.suffer([Fault::new(never).op("finalize").times(100_000)]);
    world.rotate("v2").await;
    world.row_that("v2", |row| row.state == "Finalizing" && row.trouble.is_some()).await;
    world.put_forward(3_700);
    let row = world.over("v2").await;
    assert_eq!((row.state.as_str(), row.trouble.as_deref()), ("Done", Some("OldKeyNotRemoved")));
    let codes: Vec<_> = world.outcomes(&row.id).iter().map(|event| event["errorCode"].clone()).collect();
    assert!(codes.len() == 2 && codes[0].is_null() && codes[1] == "OldKeyNotRemoved", "{codes:?}");
    assert!(world.current(NAME).await.logs_on(&world.host) && first.logs_on(&world.host));
    world.cloud().clear_faults();
    assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");
    world.at_rest("v3").await;
    assert!(!first.logs_on(&world.host), "the key from before the last is still there");
}

/// Moments that no named point stands for: any instruction at all.
async fn killed_at_any_moment(kind: Kind) {
    const ROUNDS: u64 = 24;
    let mut world = World::with(kind, "key_type = \"ed25519\"", false).await;
    for round in 0..ROUNDS {
        let version = format!("v-{round}");
        world.rotate(&version).await;
        // The kills are spread over the time that a rotation takes.
        tokio::time::sleep(Duration::from_millis(round * 350 / ROUNDS)).await;
        world.appliance.kill();
        world.appliance.start().await;
        let row = world.over(&version).await;
        assert_eq!(row.state, "Done", "{row:?}");
        let ids: std::collections::BTreeSet<String> = world
            .outcomes(&row.id)
            .iter()
            .map(|event| event["eventId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 1, "{row:?}");
        world.at_rest(&version).await;
    }
}

#[tokio::test]
async fn a_password_rotation_survives_a_kill_at_any_moment() {
    killed_at_any_moment(Kind::Password).await;
}

#[tokio::test]
async fn a_key_rotation_survives_a_kill_at_any_moment() {
    killed_at_any_moment(Kind::Key).await;
}
