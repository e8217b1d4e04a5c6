//! Rotations by the calendar, on a clock that is put forward.

use serde_json::Value;
use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::world::{create_parameters, extended_config};
use super::{Credential, Kind, NAME, World};

const HOUR: i64 = 3_600;
const SIX_HOURS: [(&str, &str); 2] = [("EnableAutomaticRotation", "true"), ("RotationInterval", "6h")];

async fn every_six_hours(world: &World, name: &str) {
    let parameters = [&[("SecretName", name)][..], &SIX_HOURS[..]].concat();
    world.admin().ok("UpdateSecretRotationPolicy", &parameters).await;
}

async fn described(world: &World, name: &str) -> Value {
    world.admin().ok("DescribeSecret", &[("SecretName", name)]).await
}

/// Waits until so many rotations of the secret are over and none goes on.
async fn rotated(world: &World, name: &str, times: usize) {
    crate::harness::eventually(&format!("{times} rotations of {name}"), async || {
        let rows: Vec<_> = world.rows().into_iter().filter(|row| row.secret == name).collect();
        (rows.len() == times && rows.iter().all(|row| row.over)).then_some(())
    })
    .await;
    assert!(world.rows().iter().filter(|row| row.secret == name).all(|row| row.state == "Done"));
}

#[tokio::test]
async fn a_secret_rotates_by_itself_at_each_date_and_no_sooner() {
    for kind in Kind::BOTH {
        let mut world = World::with_clock(kind).await;
        every_six_hours(&world, NAME).await;
        assert_eq!(described(&world, NAME).await["AutomaticRotation"], "Enabled");
        let first = world.current(NAME).await;
        world.put_forward(5 * HOUR);
        // A rotation of another secret shows that the worker has looked.
        assert!(world.rows().is_empty());
        world.put_forward(HOUR + 5);
        rotated(&world, NAME, 1).await;
        let second = world.at_rest("first date").await;
        assert!(second != first);
        let answer = described(&world, NAME).await;
        let days = |member: &str| answer[member].as_str().unwrap().to_owned();
        assert!(days("NextRotationDate") > days("LastRotationDate"), "{answer}");
        let id = &world.rows()[0].id;
        let outcome = &world.outcomes(id)[0];
        assert_eq!(outcome["additionalEventData"]["rotation"]["trigger"], "scheduled", "{outcome}");
        assert_eq!(outcome["eventType"], "AliyunServiceEvent");
        // The next date lies within the last tenth of the interval.
        world.put_forward(5 * HOUR);
        assert_eq!(world.rows().len(), 1);
        world.put_forward(HOUR + 5);
        rotated(&world, NAME, 2).await;
        world.at_rest("second date").await;
    }
}

#[tokio::test]
async fn what_was_missed_while_the_vault_was_down_is_made_up_once_each() {
    let mut world = World::with_clock(Kind::Key).await;
    let users = ["one", "two", "three"];
    for user in users {
        let key = Credential::key(user);
        let line = key.public();
        world.shell(&format!(
            "useradd -m -s /bin/bash {user} && install -d -m 700 -o {user} /home/{user}/.ssh && \
             echo '{line}' > /home/{user}/.ssh/authorized_keys && chown {user} /home/{user}/.ssh/authorized_keys"
        ));
        let name = format!("acs/ecs/{user}");
        let config = extended_config(Kind::Key, world.host.instance_id());
        let data = key.text();
        let parameters =
            [&create_parameters(&name, &config)[..], &SIX_HOURS, &[("SecretData", &data)]].concat();
        world.admin().ok("CreateSecret", &parameters).await;
    }
    world.appliance.stop();
    world.put_forward(5 * 24 * HOUR);
    world.appliance.start().await;
    for user in users {
        let name = format!("acs/ecs/{user}");
        rotated(&world, &name, 1).await;
        assert!(world.current(&name).await.logs_on(&world.host));
    }
    // Another round of the worker begins nothing more.
    world.rotate_to_the_end("v2").await;
    assert_eq!(world.rows().len(), users.len() + 1);
}

#[tokio::test]
async fn a_policy_whose_date_is_past_rotates_at_once_and_one_turned_off_never() {
    let mut world = World::with_clock(Kind::Key).await;
    every_six_hours(&world, NAME).await;
    let off = [("SecretName", NAME), ("EnableAutomaticRotation", "false")];
    world.admin().ok("UpdateSecretRotationPolicy", &off).await;
    assert_eq!(described(&world, NAME).await["AutomaticRotation"], "Disabled");
    world.put_forward(7 * HOUR);
    // The worker looks whenever something happens.
    world.admin().create_secret("other", "value").await;
    assert!(world.rows().is_empty());
    every_six_hours(&world, NAME).await;
    rotated(&world, NAME, 1).await;
    world.at_rest("at once").await;
}

#[tokio::test]
async fn a_secret_that_waits_for_its_deletion_is_not_rotated_and_makes_it_up_when_restored() {
    let mut world = World::with_clock(Kind::Key).await;
    every_six_hours(&world, NAME).await;
    world.admin().ok("DeleteSecret", &[("SecretName", NAME), ("RecoveryWindowInDays", "7")]).await;
    world.put_forward(7 * HOUR);
    world.admin().create_secret("other", "value").await;
    world.admin().ok("RestoreSecret", &[("SecretName", NAME)]).await;
    rotated(&world, NAME, 1).await;
    world.at_rest("restored").await;
}

#[tokio::test]
async fn a_scheduled_rotation_that_failed_is_tried_again_after_an_hour() {
    let mut world = World::with_clock(Kind::Password).await;
    every_six_hours(&world, NAME).await;
    let before = world.current(NAME).await;
    let never = FaultKind::NeverDeliver { error_code: "DeliveryTimeout".to_owned() };
    world.suffer([Fault::new(never).op("apply").times(6)]);
    world.put_forward(6 * HOUR + 5);
    let failed =
        crate::harness::eventually("a failure", async || world.rows().into_iter().find(|row| row.over)).await;
    assert_eq!(failed.state, "Failed");
    assert_eq!(described(&world, NAME).await["AutomaticRotation"], "Invalid");
    assert!(world.at_rest("failed").await == before);
    world.put_forward(HOUR + 5);
    crate::harness::eventually("a success", async || {
        world.rows().into_iter().find(|row| row.state == "Done")
    })
    .await;
    assert!(world.at_rest("again").await != before);
    assert_eq!(described(&world, NAME).await["AutomaticRotation"], "Enabled");
}
