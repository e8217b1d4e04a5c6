//! What an instance refuses: the rotation fails with a word for the operator,
//! and the next one works once the cause is gone.

use serde_json::Value;

use super::{Kind, NAME, USER, World};

struct Refusal {
    code: &'static str,
    kinds: &'static [Kind],
    cause: &'static str,
    cure: &'static str,
}

const REFUSALS: [Refusal; 6] = [
    Refusal {
        code: "account_locked",
        kinds: &[Kind::Password],
        cause: "usermod -L deploy",
        cure: "usermod -U deploy",
    },
    Refusal {
        code: "account_expired",
        kinds: &[Kind::Password, Kind::Key],
        cause: "chage -E 1 deploy",
        cure: "chage -E -1 deploy",
    },
    Refusal {
        code: "home_unsafe",
        kinds: &[Kind::Key],
        cause: "chmod 0777 /home/deploy",
        cure: "chmod 0755 /home/deploy",
    },
    Refusal {
        code: "authorized_keys_symlink",
        kinds: &[Kind::Key],
        cause: "cd /home/deploy/.ssh && mv authorized_keys /root/kept && ln -s /root/kept authorized_keys",
        cure: "cd /home/deploy/.ssh && rm authorized_keys && mv /root/kept authorized_keys",
    },
    Refusal {
        code: "tool_missing",
        kinds: &[Kind::Password],
        cause: "chmod 0644 /usr/sbin/chpasswd",
        cure: "chmod 0755 /usr/sbin/chpasswd",
    },
    Refusal {
        code: "user_missing",
        kinds: &[Kind::Password, Kind::Key],
        cause: "cp -a /etc/passwd /etc/shadow /root/ && sed -i '/^deploy:/d' /etc/passwd",
        cure: "cat /root/passwd > /etc/passwd",
    },
];

async fn automatic(world: &World) -> Value {
    world.admin().ok("DescribeSecret", &[("SecretName", NAME)]).await["AutomaticRotation"].clone()
}

async fn refused(kind: Kind) {
    let world = World::new(kind).await;
    let policy = [("SecretName", NAME), ("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")];
    world.admin().ok("UpdateSecretRotationPolicy", &policy).await;
    for refusal in REFUSALS.iter().filter(|refusal| refusal.kinds.contains(&kind)) {
        let code = refusal.code;
        let before = world.current(NAME).await;
        world.shell(refusal.cause);
        let row = world.rotate_to_the_end(code).await;
        assert_eq!((row.state.as_str(), row.trouble.as_deref()), ("Failed", Some(code)), "{row:?}");
        assert_eq!(world.stages_of(NAME, code).await, None, "{code}: the candidate is not destroyed");
        assert_eq!(automatic(&world).await, "Invalid", "{code}");
        let outcomes = world.outcomes(&row.id);
        assert_eq!(outcomes.len(), 1, "{code}");
        assert_eq!(outcomes[0]["errorCode"], code, "{outcomes:?}");
        assert!(outcomes[0]["errorMessage"].as_str().is_some_and(|text| text.len() > 20), "{outcomes:?}");

        world.shell(refusal.cure);
        assert!(world.at_rest(code).await == before, "{code}");
        let next = world.rotate_to_the_end(&format!("after-{code}")).await;
        assert_eq!(next.state, "Done", "{code}: {next:?}");
        assert!(world.at_rest(code).await != before, "{code}");
        assert_eq!(automatic(&world).await, "Enabled", "{code}");
    }
}

#[tokio::test]
async fn a_refused_password_rotation_fails_with_a_word_and_the_next_works_without_the_cause() {
    refused(Kind::Password).await;
}

#[tokio::test]
async fn a_refused_key_rotation_fails_with_a_word_and_the_next_works_without_the_cause() {
    refused(Kind::Key).await;
}

#[tokio::test]
async fn without_the_plug_in_a_rotation_waits_and_ends_by_itself_once_it_is_installed() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let before = world.current(NAME).await;
        world.shell("rm /usr/local/lib/strongroom/strongroom-rotator");
        world.rotate("v2").await;
        let row = world.row_that("v2", |row| row.trouble.as_deref() == Some("plugin_missing")).await;
        assert!(!row.over);
        assert!(world.current(NAME).await == before && before.logs_on(&world.host));
        world.install_plugin();
        assert_eq!(world.over("v2").await.state, "Done");
        assert!(world.at_rest("v2").await != before);
    }
}

#[tokio::test]
async fn what_another_hand_set_on_the_instance_does_not_keep_a_rotation_off() {
    let world = World::new(Kind::Password).await;
    assert_eq!(world.rotate_to_the_end("v2").await.state, "Done");
    world.shell(&format!("echo {USER}:Another-Hand-1 | chpasswd"));
    assert!(!world.current(NAME).await.logs_on(&world.host));
    assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");
    world.at_rest("v3").await;

    let world = World::new(Kind::Key).await;
    assert_eq!(world.rotate_to_the_end("v2").await.state, "Done");
    world.shell("rm /home/deploy/.ssh/authorized_keys");
    assert!(!world.current(NAME).await.logs_on(&world.host));
    assert_eq!(world.rotate_to_the_end("v3").await.state, "Done");
    world.at_rest("v3").await;
}
