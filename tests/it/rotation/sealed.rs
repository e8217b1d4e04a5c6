//! Rotations of secrets that are encrypted under a customer master key: a key
//! that may not be used delays them, and costs neither the candidate nor the
//! way in.

use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::world::{create_parameters, extended_config};
use super::{Credential, Kind, NAME, World};

/// A world whose secret is encrypted under a key; the key's id.
async fn world_with_key(kind: Kind) -> (World, String) {
    let world = World::new(kind).await;
    let admin = world.admin();
    let value = world.current(NAME).await.text();
    admin.ok("DeleteSecret", &[("SecretName", NAME), ("ForceDeleteWithoutRecovery", "true")]).await;
    let made = admin.ok("CreateKey", &[]).await;
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let config = extended_config(kind, world.host.instance_id());
    let more = [("SecretData", value.as_str()), ("EncryptionKeyId", key.as_str())];
    admin.ok("CreateSecret", &[&create_parameters(NAME, &config)[..], &more].concat()).await;
    (world, key)
}

async fn refused(world: &World, action: &str) -> String {
    world.admin().refused(action, &[("SecretName", NAME), ("VersionId", "v9")]).await.1
}

#[tokio::test]
async fn a_key_disabled_before_the_instance_hears_of_it_delays_the_rotation_which_says_why() {
    let (mut world, key) = world_with_key(Kind::Password).await;
    let named = [("KeyId", key.as_str())];
    // The instance is looked at first, and that waits for the cloud.
    world.cloud_goes();
    world.rotate("v2").await;
    world.admin().ok("DisableKey", &named).await;
    world.cloud_returns();
    let row = world.row_that("v2", |row| row.trouble.as_deref() == Some("key_disabled")).await;
    assert!(!row.over, "{row:?}");
    assert_eq!(refused(&world, "GetSecretValue").await, "Rejected.Disabled");
    world.admin().ok("EnableKey", &named).await;
    assert_eq!(world.over("v2").await.state, "Done");
    world.at_rest("v2").await;
}

#[tokio::test]
async fn a_key_disabled_while_the_instance_is_at_work_does_not_keep_the_new_value_from_being_current() {
    for kind in Kind::BOTH {
        let (world, key) = world_with_key(kind).await;
        let named = [("KeyId", key.as_str())];
        let before = world.current(NAME).await;
        world.suffer([Fault::new(FaultKind::DelayDelivery { millis: 1_500 }).op("apply")]);
        world.rotate("v2").await;
        world.row_that("v2", |row| row.state == "Sent").await;
        world.admin().ok("DisableKey", &named).await;
        assert_eq!(world.over("v2").await.state, "Done", "{kind:?}");
        assert_eq!(refused(&world, "GetSecretValue").await, "Rejected.Disabled");
        assert_eq!(refused(&world, "RotateSecret").await, "Rejected.Disabled");
        assert_eq!(world.rows().len(), 1, "{kind:?}: a rotation was begun without its candidate");
        world.admin().ok("EnableKey", &named).await;
        let current: Credential = world.at_rest("v2").await;
        assert!(current != before);
    }
}
