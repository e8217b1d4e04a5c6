//! Rotations that somebody asks for, and what is refused meanwhile.

use strongroom_fixtures::emulator::{Fault, FaultKind, Instance, InstanceStatus, Os};

use super::world::{create_parameters, extended_config};
use super::{Credential, Kind, NAME, USER, World};

/// Keeps the next rotation from getting on for so long.
fn slowly(world: &World, millis: u64) {
    world.suffer([Fault::new(FaultKind::DelayDelivery { millis }).op("apply")]);
}

#[tokio::test]
async fn the_same_version_id_is_one_rotation_during_it_and_after() {
    let world = World::new(Kind::Password).await;
    let parameters = [("SecretName", NAME), ("VersionId", "v2")];
    slowly(&world, 500);
    for _ in 0..3 {
        let answer = world.admin().ok("RotateSecret", &parameters).await;
        assert_eq!((&answer["SecretName"], &answer["VersionId"]), (&NAME.into(), &"v2".into()));
    }
    assert_eq!(world.over("v2").await.state, "Done");
    world.admin().ok("RotateSecret", &parameters).await;
    // Also the id of the version from before.
    world.admin().ok("RotateSecret", &[("SecretName", NAME), ("VersionId", "v1")]).await;
    assert_eq!(world.rows().len(), 1);
    world.at_rest("v2").await;
}

#[tokio::test]
async fn another_rotation_and_deletion_at_once_are_refused_while_one_is_going_on() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        slowly(&world, 700);
        world.rotate("v2").await;
        assert!(world.value_of(NAME, "ACSPending").await.is_none(), "a value that is not in force was shown");
        let in_use = (409, "Rejected.ResourceInUse".to_owned());
        let admin = world.admin();
        assert_eq!(admin.refused("RotateSecret", &[("SecretName", NAME), ("VersionId", "v3")]).await, in_use);
        let now = [("SecretName", NAME), ("ForceDeleteWithoutRecovery", "true")];
        assert_eq!(admin.refused("DeleteSecret", &now).await, in_use);
        assert_eq!(world.over("v2").await.state, "Done");
        world.at_rest("v2").await;
        assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");
        admin.ok("DeleteSecret", &now).await;
        assert_eq!(admin.refused("GetSecretValue", &[("SecretName", NAME)]).await.0, 404);
    }
}

#[tokio::test]
async fn a_rotation_that_is_going_on_ends_in_the_recovery_window_and_the_restored_secret_logs_on() {
    let world = World::new(Kind::Key).await;
    slowly(&world, 300);
    world.rotate("v2").await;
    world.admin().ok("DeleteSecret", &[("SecretName", NAME), ("RecoveryWindowInDays", "7")]).await;
    assert_eq!(world.over("v2").await.state, "Done");
    world.admin().ok("RestoreSecret", &[("SecretName", NAME)]).await;
    world.at_rest("restored").await;
}

#[tokio::test]
async fn two_secrets_on_one_user_of_an_instance_are_rotated_one_after_the_other() {
    let world = World::new(Kind::Key).await;
    let other = Credential::key(USER);
    world.shell(&format!("echo '{}' >> /home/deploy/.ssh/authorized_keys", other.public()));
    world.create("acs/ecs/other", Kind::Key, world.host.instance_id(), &other).await;
    slowly(&world, 500);
    world.rotate("v2").await;
    let second = [("SecretName", "acs/ecs/other"), ("VersionId", "w2")];
    let refused = world.admin().refused("RotateSecret", &second).await;
    assert_eq!(refused, (409, "Rejected.ResourceInUse".to_owned()));
    assert_eq!(world.over("v2").await.state, "Done");
    assert!(other.logs_on(&world.host), "the rotation of one secret took the key of another");
    world.admin().ok("RotateSecret", &second).await;
    assert_eq!(world.over("w2").await.state, "Done");
    assert!(world.current("acs/ecs/other").await.logs_on(&world.host));
    assert!(!other.logs_on(&world.host));
    world.at_rest("both").await;
}

#[tokio::test]
async fn a_second_secret_for_the_same_credential_is_refused() {
    let world = World::new(Kind::Password).await;
    let config = extended_config(Kind::Password, world.host.instance_id());
    let value = format!(r#"{{"UserName":"{USER}","Password":"Another-1x"}}"#);
    let parameters = create_parameters("acs/ecs/again", &config);
    let all = [&parameters[..], &[("SecretData", &value)]].concat();
    let refused = world.admin().refused("CreateSecret", &all).await;
    assert_eq!(refused, (409, "Rejected.ResourceExist".to_owned()));
}

#[tokio::test]
async fn the_fifty_first_rotation_within_an_hour_is_throttled() {
    let rotation = "manual_per_hour = 50\nkey_type = \"ed25519\"";
    let world = World::with(Kind::Key, rotation, false).await;
    let admin = world.admin();
    let value = Credential::key(USER);
    for number in 0..51 {
        let (instance, name) = (format!("i-scripted-{number}"), format!("acs/ecs/{number}"));
        world.cloud().add_instance(Instance::scripted(&instance, Os::Linux));
        world.create(&name, Kind::Key, &instance, &value).await;
        let parameters = [("SecretName", name.as_str()), ("VersionId", "v2")];
        if number < 50 {
            admin.ok("RotateSecret", &parameters).await;
            continue;
        }
        let refused = admin.call("RotateSecret", &parameters).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (429, "Rejected.Throttling"));
        assert!(
            refused.retry_after_ms.is_some_and(|millis| (1..=3_600_000).contains(&millis)),
            "{refused:?}"
        );
    }
    // A repetition is no rotation, and is not counted.
    admin.ok("RotateSecret", &[("SecretName", "acs/ecs/0"), ("VersionId", "v2")]).await;
}

#[tokio::test]
async fn generic_secrets_are_not_rotated() {
    let world = World::new(Kind::Key).await;
    let admin = world.admin();
    admin.create_secret("generic", "value").await;
    let refused = admin.refused("RotateSecret", &[("SecretName", "generic"), ("VersionId", "v2")]).await;
    assert_eq!(refused, (400, "UnsupportedOperation".to_owned()));
    let policy = [("SecretName", "generic"), ("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")];
    assert_eq!(admin.refused("UpdateSecretRotationPolicy", &policy).await.1, "UnsupportedOperation");
    let unknown = admin.refused("RotateSecret", &[("SecretName", "nothing"), ("VersionId", "v2")]).await;
    assert_eq!(unknown, (404, "Forbidden.ResourceNotFound".to_owned()));
}

#[tokio::test]
async fn windows_instances_take_passwords_only() {
    let world = World::new(Kind::Key).await;
    world.cloud().add_instance(Instance::scripted("i-windows", Os::Windows));
    let admin = world.admin();
    let config = extended_config(Kind::Key, "i-windows");
    let data = Credential::key("Administrator").text();
    let parameters = [&create_parameters("acs/ecs/win", &config)[..], &[("SecretData", &data)]].concat();
    let refused = admin.call("CreateSecret", &parameters).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"));
    assert!(refused.message.contains("Windows"), "{refused:?}");

    let password = Credential::password("Administrator", "Begin-Here-1");
    world.create("acs/ecs/win", Kind::Password, "i-windows", &password).await;
    assert!(world.current("acs/ecs/win").await == password);
}

#[tokio::test]
async fn an_unknown_instance_is_refused_and_one_that_is_down_fails_the_rotation() {
    let world = World::new(Kind::Key).await;
    let config = extended_config(Kind::Key, "i-nowhere");
    let data = Credential::key(USER).text();
    let parameters = [&create_parameters("acs/ecs/nowhere", &config)[..], &[("SecretData", &data)]].concat();
    let refused = world.admin().call("CreateSecret", &parameters).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"));
    assert!(refused.message.contains("InstanceId"), "{refused:?}");

    let before = world.current(NAME).await;
    let id = world.host.instance_id();
    world.cloud().update_instance(id, |instance| instance.status = InstanceStatus::Stopped);
    let row = world.rotate_to_the_end("v2").await;
    assert_eq!((row.state.as_str(), row.trouble.as_deref()), ("Failed", Some("instance_not_running")));
    assert_eq!(world.outcomes(&row.id)[0]["errorCode"], "instance_not_running");
    assert!(world.at_rest("down").await == before);
    assert!(!world.cloud().records().requests.contains_key("RunCommand"), "something was sent");
    world.cloud().update_instance(id, |instance| instance.status = InstanceStatus::Running);
    assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");
    world.at_rest("up").await;
}

#[tokio::test]
async fn more_rotations_than_versions_may_be_kept_leave_the_newest() {
    let world = World::with(Kind::Key, "key_type = \"ed25519\"", false).await;
    for number in 2..=14 {
        assert_eq!(world.rotate_to_the_end(&format!("v{number}")).await.state, "Done");
    }
    let parameters = [("SecretName", NAME), ("IncludeDeprecated", "true"), ("PageSize", "100")];
    let listed = world.admin().ok("ListSecretVersionIds", &parameters).await;
    assert_eq!(listed["VersionIds"]["VersionId"].as_array().unwrap().len(), 10);
    world.at_rest("many").await;
    let lines = world.shell("grep -c . /home/deploy/.ssh/authorized_keys");
    assert_eq!(lines.trim(), "1", "keys of earlier versions were left on the host");
}

#[tokio::test]
async fn what_a_rotation_went_through_is_kept_with_what_to_do_about_it() {
    let world = World::new(Kind::Key).await;
    let admin = world.admin();
    let listed = admin.ok("ListSecretRotations", &[("SecretName", NAME)]).await;
    assert_eq!((&listed["CurrentVersionId"], &listed["Rotations"]), (&"v1".into(), &serde_json::json!([])));
    world.shell("chmod 0777 /home/deploy");
    assert_eq!(world.rotate_to_the_end("v2").await.state, "Failed");
    world.shell("chmod 0755 /home/deploy && rm /home/deploy/.ssh/authorized_keys");
    assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");

    let listed = admin.ok("ListSecretRotations", &[("SecretName", NAME)]).await;
    assert_eq!(listed["CurrentVersionId"], "v3");
    let [good, failed] = listed["Rotations"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    let states = |one: &serde_json::Value| -> Vec<String> {
        one["Steps"].as_array().unwrap().iter().map(|s| s["State"].as_str().unwrap().to_owned()).collect()
    };
    for (one, version, last) in [(good, "v3", "Done"), (failed, "v2", "Failed")] {
        assert_eq!(
            (&one["VersionId"], &one["State"], &one["Trigger"]),
            (&version.into(), &last.into(), &"manual".into())
        );
        assert_eq!((&one["Kind"], &one["InstanceId"]), (&"SSHKey".into(), &world.host.instance_id().into()));
        assert!(
            one["EndedTime"].is_string() && one["RotationId"].is_string() && one["Attempts"] == 1,
            "{one}"
        );
        let states = states(one);
        assert_eq!((states.first().unwrap().as_str(), states.last().unwrap().as_str()), ("Staged", last));
    }
    assert_eq!(states(good), ["Staged", "Sending", "Sent", "Verified", "Committed", "Finalizing", "Done"]);
    assert_eq!(good["Troubles"], serde_json::json!([]));
    let trouble = failed["Troubles"].as_array().unwrap().last().unwrap();
    assert_eq!((&trouble["Step"], &trouble["Code"]), (&"apply".into(), &"home_unsafe".into()));
    for (member, part) in [("Message", "home"), ("Advice", "chmod go-w"), ("Time", "T")] {
        assert!(trouble[member].as_str().unwrap().contains(part), "{trouble}");
    }
    let newest = admin.ok("ListSecretRotations", &[("SecretName", NAME), ("MaxResults", "1")]).await;
    assert_eq!(newest["Rotations"].as_array().unwrap(), std::slice::from_ref(good));
}

#[tokio::test]
async fn a_rotation_that_is_given_up_while_the_instance_is_away_ends_as_the_instance_says() {
    let mut world = World::with_clock(Kind::Password).await;
    let never = || FaultKind::NeverDeliver { error_code: "ClientNotRunning".to_owned() };
    world.suffer([
        Fault::new(FaultKind::LoseResult { error_code: "ClientNotResponse".to_owned() }).op("apply"),
        Fault::new(never()).op("status").times(100_000),
        Fault::new(never()).op("fence").times(100_000),
    ]);
    let give_up = [("SecretName", NAME), ("VersionId", "v2")];
    let gone = (404, "Forbidden.ResourceNotFound".to_owned());
    assert_eq!(world.admin().refused("GiveUpSecretRotation", &give_up).await, gone);
    world.rotate("v2").await;
    world.row_that("v2", |row| row.state == "Unknown").await;
    world.put_forward(3_700);
    world.row_that("v2", |row| row.state == "Stuck").await;
    let other = [("SecretName", NAME), ("VersionId", "v3")];
    assert_eq!(world.admin().refused("GiveUpSecretRotation", &other).await, gone);
    world.admin().ok("GiveUpSecretRotation", &give_up).await;
    world.row_that("v2", |row| row.state == "Fencing").await;
    // It is on its way to its end, and not in a state in which it could be given up.
    let refused = world.admin().refused("GiveUpSecretRotation", &give_up).await;
    assert_eq!(refused, (409, "Rejected.StateModifiedFailed".to_owned()));
    assert!(world.value_of(NAME, "ACSPending").await.unwrap().logs_on(&world.host));
    world.cloud().clear_faults();
    world.put_forward(2_000);
    // The new password is in force there: it is kept.
    assert_eq!(world.over("v2").await.state, "Done");
    world.at_rest("v2").await;
    assert_eq!(world.admin().refused("GiveUpSecretRotation", &give_up).await, gone);
}
