//! Secrets under customer master keys: whose state, rights and loss count for
//! them, and for no others.

use std::path::Path;

use serde_json::Value;

use crate::harness::{ACCOUNT, Appliance, Client, REGION, eventually, policy, secret_arn};

fn key_arn(key: &str) -> String {
    format!("acs:kms:{REGION}:{ACCOUNT}:key/{key}")
}

async fn create_key(client: &Client, parameters: &[(&str, &str)]) -> String {
    let made = client.ok("CreateKey", parameters).await;
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

/// Creates a secret whose value is its name.
async fn create(client: &Client, name: &str, key: &str) -> Result<Value, (u16, String)> {
    let parameters =
        [("SecretName", name), ("VersionId", "v1"), ("SecretData", name), ("EncryptionKeyId", key)];
    client.call("CreateSecret", &parameters).await.map_err(|refused| (refused.status, refused.code))
}

fn conflict(code: &str) -> (u16, String) {
    (409, format!("Rejected.{code}"))
}

fn put<'a>(name: &'a str, version: &'a str) -> [(&'a str, &'a str); 3] {
    [("SecretName", name), ("VersionId", version), ("SecretData", version)]
}

/// How many objects the token has.
fn objects(appliance: &Appliance) -> usize {
    fn below(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let count = |path: std::path::PathBuf| {
            if path.is_dir() {
                below(&path)
            } else {
                usize::from(path.extension().is_some_and(|extension| extension == "object"))
            }
        };
        entries.map(count).sum()
    }
    below(&appliance.data_folder().join("token"))
}

#[tokio::test]
async fn the_state_of_a_key_counts_for_the_secrets_under_it_and_for_no_others() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| *text = text.replace("data_key_seconds = 0", "data_key_seconds = 300"));
    appliance.start().await;
    let admin = appliance.admin();
    let key = create_key(&admin, &[]).await;
    admin.ok("CreateAlias", &[("AliasName", "alias/app"), ("KeyId", &key)]).await;
    let arn = key_arn(&key);
    let alias_arn = format!("acs:kms:{REGION}:{ACCOUNT}:alias/app");
    for (name, named) in
        [("by-id", &*key), ("by-alias", "alias/app"), ("by-arn", &arn), ("by-alias-arn", &alias_arn)]
    {
        create(&admin, name, named).await.unwrap();
        assert_eq!(admin.ok("DescribeSecret", &[("SecretName", name)]).await["EncryptionKeyId"], *key);
        assert_eq!(admin.value(name).await, name);
    }
    admin.create_secret("ours", "ours").await;
    assert_eq!(admin.ok("DescribeSecret", &[("SecretName", "ours")]).await["EncryptionKeyId"], "");
    // An alias that is moved moves no secret.
    let other = create_key(&admin, &[]).await;
    admin.ok("UpdateAlias", &[("AliasName", "alias/app"), ("KeyId", &other)]).await;
    admin.ok("PutSecretValue", &put("by-alias", "v2")).await;
    assert_eq!(admin.ok("DescribeSecret", &[("SecretName", "by-alias")]).await["EncryptionKeyId"], *key);

    admin.ok("DisableKey", &[("KeyId", &key)]).await;
    for _ in 0..2 {
        let disabled = conflict("Disabled");
        for name in ["by-id", "by-alias"] {
            assert_eq!(admin.refused("GetSecretValue", &[("SecretName", name)]).await, disabled);
            assert_eq!(admin.refused("PutSecretValue", &put(name, "v3")).await, disabled);
            admin.ok("DescribeSecret", &[("SecretName", name)]).await;
        }
        assert_eq!(create(&admin, "new", &key).await.unwrap_err(), disabled);
        assert_eq!(admin.value("ours").await, "ours");
        appliance.restart().await;
    }
    admin.ok("EnableKey", &[("KeyId", &key)]).await;
    assert_eq!(admin.value("by-id").await, "by-id");
    assert_eq!(admin.value("by-alias").await, "v2");
    assert_eq!(admin.refused("GetSecretValue", &[("SecretName", "new")]).await.0, 404);

    // Nobody loses a secret by deleting its key.
    let later = [("KeyId", key.as_str()), ("PendingWindowInDays", "7")];
    assert_eq!(admin.refused("ScheduleKeyDeletion", &later).await, conflict("ResourceInUse"));
    for name in ["by-id", "by-alias", "by-arn", "by-alias-arn"] {
        admin.ok("DeleteSecret", &[("SecretName", name), ("ForceDeleteWithoutRecovery", "true")]).await;
    }
    admin.ok("ScheduleKeyDeletion", &later).await;
    assert_eq!(create(&admin, "new", &key).await.unwrap_err(), conflict("PendingDeletion"));
    for (named, code) in [
        ("01234567-89ab-4cde-8f01-23456789abcd", "Forbidden.KeyNotFound"),
        ("alias/none", "Forbidden.AliasNotFound"),
        ("acs:kms:cn-beijing:1:key/01234567-89ab-4cde-8f01-23456789abcd", "Forbidden.KeyNotFound"),
    ] {
        assert_eq!(create(&admin, "new", named).await.unwrap_err(), (404, code.to_owned()), "{named}");
    }
}

#[tokio::test]
async fn the_right_on_the_key_is_needed_too_and_decided_by_the_tags_of_the_key() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let tags = r#"[{"TagKey":"team","TagValue":"a"}]"#;
    let (key, other) = (create_key(&admin, &[("Tags", tags)]).await, create_key(&admin, &[]).await);
    create(&admin, "db", &key).await.unwrap();
    admin.create_secret("ours", "ours").await;

    let container = format!("acs:kms:{REGION}:{ACCOUNT}:secret");
    let all = secret_arn("*");
    let on_secrets = policy("Allow", &["kms:*"], &[&container, &all]);
    let on_key = |action: &str, key: &str| policy("Allow", &[action], &[&key_arn(key)]);
    let nothing = appliance.user_with(std::slice::from_ref(&on_secrets)).await;
    let reader = appliance.user_with(&[on_secrets.clone(), on_key("kms:Decrypt", &key)]).await;
    let writer = appliance.user_with(&[on_secrets.clone(), on_key("kms:GenerateDataKey", &key)]).await;
    let elsewhere = appliance.user_with(&[on_secrets.clone(), on_key("kms:*", &other)]).await;
    let denied = (403, "Forbidden.NoPermission".to_owned());

    let get = [("SecretName", "db")];
    for client in [&nothing, &writer, &elsewhere] {
        assert_eq!(client.refused("GetSecretValue", &get).await, denied);
        // Where the key is the vault's own nothing more is asked.
        assert_eq!(client.value("ours").await, "ours");
    }
    assert_eq!(reader.value("db").await, "db");
    let batch = [("SecretsList", r#"[{"SecretName":"db"},{"SecretName":"ours"}]"#)];
    let answer = nothing.ok("BatchGetSecretValue", &batch).await;
    assert_eq!(answer["Errors"][0]["Code"], "Forbidden.NoPermission", "{answer}");
    assert_eq!(answer["SecretValues"][0]["SecretData"], "ours", "{answer}");

    for (number, client) in [&nothing, &reader, &elsewhere].into_iter().enumerate() {
        assert_eq!(client.refused("PutSecretValue", &put("db", "v2")).await, denied);
        assert_eq!(create(client, &format!("new-{number}"), &key).await.unwrap_err(), denied);
    }
    writer.ok("PutSecretValue", &put("db", "v2")).await;
    create(&writer, "theirs", &key).await.unwrap();
    // Whoever has no right on any key learns of none.
    for named in [key.as_str(), "01234567-89ab-4cde-8f01-23456789abcd", "alias/none"] {
        assert_eq!(create(&nothing, "new", named).await.unwrap_err(), denied, "{named}");
    }

    // The refusal names the right that is missing.
    let refused = nothing.call("GetSecretValue", &get).await.unwrap_err();
    assert!(refused.message.contains(&key_arn(&key)), "{}", refused.message);

    let tagged = |effect: &str, value: &str| {
        let condition = serde_json::json!({ "StringEquals": { "kms:tag/team": value } });
        let statement = serde_json::json!({
            "Effect": effect, "Action": "kms:Decrypt", "Resource": "*", "Condition": condition,
        });
        serde_json::json!({ "Version": "1", "Statement": [statement] }).to_string()
    };
    let of_team = appliance.user_with(&[on_secrets.clone(), tagged("Allow", "a")]).await;
    assert_eq!(of_team.value("db").await, "v2");
    let of_other_team = appliance.user_with(&[on_secrets.clone(), tagged("Allow", "b")]).await;
    assert_eq!(of_other_team.refused("GetSecretValue", &get).await, denied);
    let barred = appliance.user_with(&[on_secrets, on_key("kms:*", &key), tagged("Deny", "a")]).await;
    assert_eq!(barred.refused("GetSecretValue", &get).await, denied);
}

#[tokio::test]
async fn a_key_that_the_token_has_lost_is_unavailable_and_shown_by_doctor() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    let files = || {
        let token = appliance.data_folder().join("token");
        let mut found = Vec::new();
        for folder in std::fs::read_dir(token).unwrap().map(|entry| entry.unwrap().path()) {
            if folder.is_dir() {
                found.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        found.retain(|path| path.extension().is_some_and(|extension| extension == "object"));
        found
    };
    let before = files();
    let lost = create_key(&admin, &[]).await;
    let object = files().into_iter().find(|file| !before.contains(file)).unwrap();
    let kept = create_key(&admin, &[]).await;
    create(&admin, "under-lost", &lost).await.unwrap();
    create(&admin, "under-kept", &kept).await.unwrap();
    appliance.stop();
    let away = appliance.folder().join("object");
    std::fs::rename(&object, &away).unwrap();

    let config = appliance.config();
    let doctor = || crate::harness::strongroom(&["doctor", "--config", config.to_str().unwrap()]);
    let said = doctor();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stdout).contains(&lost), "{said:?}");
    assert!(!String::from_utf8_lossy(&said.stdout).contains(&kept), "{said:?}");
    appliance.start().await;
    assert_eq!(
        admin.refused("GetSecretValue", &[("SecretName", "under-lost")]).await,
        conflict("Unavailable")
    );
    assert_eq!(create(&admin, "new", &lost).await.unwrap_err(), conflict("Unavailable"));
    assert_eq!(admin.value("under-kept").await, "under-kept");
    admin.create_secret("ours", "ours").await;
    eventually("it is logged", async || {
        appliance.log().contains("a customer master key cannot be used").then_some(())
    })
    .await;

    // Nothing is lost but time.
    std::fs::rename(&away, &object).unwrap();
    appliance.restart().await;
    assert_eq!(admin.value("under-lost").await, "under-lost");
    assert!(doctor().status.success(), "{:?}", doctor());
}

#[cfg(feature = "crash-points")]
mod crash {
    use std::path::Path;

    use strongroom::keys::crash::Step;

    use super::{create_key, objects};
    use crate::harness::{Appliance, eventually};

    fn at(step: Step) -> (String, String) {
        ("STRONGROOM_CRASH_AT".to_owned(), step.as_str().to_owned())
    }

    async fn keys(appliance: &Appliance) -> u64 {
        appliance.admin().ok("ListKeys", &[]).await["TotalCount"].as_u64().unwrap()
    }

    #[tokio::test]
    async fn a_kill_while_a_key_is_made_leaves_a_whole_key_or_none() {
        for step in [Step::Announced, Step::Made, Step::Told] {
            let mut appliance = Appliance::new();
            let before = objects(&appliance);
            appliance.environment(vec![at(step)]);
            appliance.start().await;
            assert!(appliance.admin().try_call("CreateKey", &[]).await.is_err(), "{step:?}: it was answered");
            appliance.wait();
            appliance.environment(Vec::new());
            appliance.start().await;
            let whole = u64::from(step == Step::Told);
            assert_eq!(keys(&appliance).await, whole, "{step:?}");
            let left = before + usize::try_from(whole).unwrap();
            eventually("the token has what the rows say", async || {
                (objects(&appliance) == left).then_some(())
            })
            .await;
            let key = create_key(&appliance.admin(), &[]).await;
            // A new version is undone in the same way, and the key goes on.
            let text = [("KeyId", key.as_str()), ("Plaintext", "dGV4dA==")];
            let made = appliance.admin().ok("Encrypt", &text).await;
            appliance.stop();
            appliance.environment(vec![at(step)]);
            appliance.start().await;
            let version = appliance.admin().try_call("CreateKeyVersion", &[("KeyId", &key)]).await;
            assert!(version.is_err(), "{step:?}: it was answered");
            appliance.wait();
            appliance.environment(Vec::new());
            appliance.start().await;
            eventually("the token has what the rows say", async || {
                (objects(&appliance) == left + 1 + usize::try_from(whole).unwrap()).then_some(())
            })
            .await;
            let blob = [("CiphertextBlob", made["CiphertextBlob"].as_str().unwrap())];
            assert_eq!(appliance.admin().ok("Decrypt", &blob).await["Plaintext"], "dGV4dA==");
            appliance.admin().ok("CreateKeyVersion", &[("KeyId", &key)]).await;
        }
    }

    /// The program eight days later.
    fn later() -> Vec<(String, String)> {
        let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
        let library = format!("{folder}/libfaketimeMT.so.1");
        assert!(Path::new(&library).exists(), "{library} is missing: install the Debian package faketime");
        [("LD_PRELOAD", library.as_str()), ("FAKETIME", "+8d"), ("FAKETIME_DONT_RESET", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[tokio::test]
    async fn a_kill_while_a_key_is_destroyed_leaves_none_of_it() {
        for step in [Step::Condemned, Step::Destroyed, Step::Forgotten] {
            let mut appliance = Appliance::running().await;
            let before = objects(&appliance);
            let key = create_key(&appliance.admin(), &[]).await;
            let kept = create_key(&appliance.admin(), &[]).await;
            appliance.admin().ok("CreateKeyVersion", &[("KeyId", &key)]).await;
            let pending = [("KeyId", key.as_str()), ("PendingWindowInDays", "7")];
            appliance.admin().ok("ScheduleKeyDeletion", &pending).await;
            appliance.stop();
            appliance.environment([later(), vec![at(step)]].concat());
            appliance.clock_is_ahead(8 * 86_400);
            // It may die before it serves.
            appliance.try_start().await.ok();
            if appliance.is_running() {
                appliance.wait();
            }
            appliance.environment(later());
            appliance.start().await;
            eventually("the token has what the rows say", async || {
                (objects(&appliance) == before + 1).then_some(())
            })
            .await;
            let admin = appliance.admin();
            assert_eq!(admin.refused("DescribeKey", &[("KeyId", &key)]).await.0, 404, "{step:?}");
            let text = [("KeyId", kept.as_str()), ("Plaintext", "dGV4dA==")];
            admin.ok("Encrypt", &text).await;
        }
    }
}
