//! The database and the journal edited by somebody who has the files but not
//! the token: noticed, and refused either at the start or for the one secret.

use std::fs;

use rusqlite::Connection;

use crate::harness::{Appliance, policy, strongroom};

/// A vault that has been used and is stopped: two secrets with two versions
/// each, and a user who is allowed something and denied something else.
async fn used() -> (Appliance, crate::harness::AccessKey) {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["one", "two"] {
        admin.create_secret(name, &format!("{name}-v1")).await;
        let value = format!("{name}-v2");
        admin
            .ok("PutSecretValue", &[("SecretName", name), ("VersionId", "v2"), ("SecretData", &value)])
            .await;
    }
    let allow = policy("Allow", &["kms:*"], &["*"]);
    let deny = policy("Deny", &["kms:GetSecretValue"], &[&crate::harness::secret_arn("two")]);
    let user = appliance.named_user_with("reader", &[allow, deny]).await;
    let key = user.key().clone();
    assert_eq!(user.refused("GetSecretValue", &[("SecretName", "two")]).await.0, 403);
    assert!(appliance.stop().success());
    // The last connection that closes moves the log into the database file.
    let database = Connection::open(appliance.database()).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    (appliance, key)
}

fn edit(appliance: &Appliance, sql: &str) {
    let database = Connection::open(appliance.database()).unwrap();
    database.execute_batch(sql).unwrap();
    assert!(database.changes() > 0 || sql.starts_with("PRAGMA"), "the edit changes something: {sql}");
}

/// A copy of the folder, to begin anew from.
struct Kept(tempfile::TempDir);

impl Kept {
    fn of(appliance: &Appliance) -> Self {
        let kept = tempfile::tempdir().unwrap();
        fs::copy(appliance.database(), kept.path().join("db")).unwrap();
        Self(kept)
    }

    fn back(&self, appliance: &Appliance) {
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", appliance.database().display())).ok();
        }
        fs::copy(self.0.path().join("db"), appliance.database()).unwrap();
    }
}

#[tokio::test]
async fn an_edited_directory_of_users_keeps_the_vault_from_starting() {
    let (mut appliance, _) = used().await;
    let kept = Kept::of(&appliance);
    for (case, sql) in [
        ("policy", "UPDATE policies SET body = replace(body, 'Deny', 'Allow') WHERE key = 'reader-1'"),
        ("policy emptied", "UPDATE policies SET body = '{}' WHERE key = 'reader-1'"),
        ("policy gone", "DELETE FROM policies WHERE key = 'reader-1'"),
        ("detached", "DELETE FROM attachments WHERE key LIKE 'reader/%/reader-1'"),
        (
            "attached",
            "INSERT INTO attachments SELECT 'reader/System/administratoraccess', body, mac FROM attachments \
             WHERE key LIKE 'admin/%'",
        ),
        (
            "attachment moved",
            "UPDATE attachments SET key = replace(key, 'admin/', 'reader/') WHERE key LIKE 'admin/%'",
        ),
        ("user", "UPDATE users SET body = replace(body, 'reader', 'writer') WHERE key = 'reader'"),
        ("user gone", "DELETE FROM users WHERE key = 'reader'"),
        ("user doubled", "INSERT INTO users SELECT 'other', body, mac FROM users WHERE key = 'reader'"),
        ("owner of a key", "UPDATE access_keys SET body = replace(body, '\"reader\"', '\"admin\"')"),
        ("key gone", "DELETE FROM access_keys WHERE body LIKE '%\"reader\"%'"),
        ("MAC", "UPDATE policies SET mac = zeroblob(32) WHERE key = 'reader-1'"),
        ("short MAC", "UPDATE policies SET mac = x'' WHERE key = 'reader-1'"),
        ("digest", "UPDATE settings SET body = replace(body, 'a', 'b') WHERE name <> 'vault'"),
        ("digest gone", "DELETE FROM settings WHERE name <> 'vault'"),
        (
            "keys of the vault",
            "UPDATE settings SET body = replace(body, 'master/v1', 'other/v1') WHERE name = 'vault'",
        ),
        ("origin", "UPDATE settings SET body = replace(body, 'vault-', 'vault_') WHERE name = 'vault'"),
        ("vault gone", "DELETE FROM settings WHERE name = 'vault'"),
    ] {
        edit(&appliance, sql);
        let ended = appliance.try_start().await;
        assert!(ended.is_err_and(|status| status.code().is_some_and(|code| code != 0)), "{case}: it serves");
        kept.back(&appliance);
    }
    assert!(!appliance.log().contains("panicked"), "{}", appliance.log());
    appliance.start().await;
    assert_eq!(appliance.admin().value("one").await, "one-v2");
}

#[tokio::test]
async fn a_directory_wiped_with_its_digest_lets_nobody_in() {
    let (mut appliance, key) = used().await;
    edit(
        &appliance,
        "DELETE FROM users; DELETE FROM access_keys; DELETE FROM policies; DELETE FROM attachments; \
         DELETE FROM settings WHERE name <> 'vault'",
    );
    if appliance.try_start().await.is_ok() {
        for client in [appliance.admin(), appliance.client(&key)] {
            let refused = client.refused("GetSecretValue", &[("SecretName", "one")]).await;
            assert_eq!(refused, (404, "InvalidAccessKeyId.NotFound".to_owned()));
        }
    }
}

#[tokio::test]
async fn an_edited_secret_fails_alone() {
    let (mut appliance, _) = used().await;
    let kept = Kept::of(&appliance);
    let of = |name: &str| format!("(SELECT id FROM secrets WHERE name = '{name}')");
    let (one, two) = (of("one"), of("two"));
    for (case, sql) in [
        ("labels", r#"UPDATE secrets SET body = replace(replace(replace(body, 'ACSCurrent', 'X'), 'ACSPrevious', 'ACSCurrent'), 'X', 'ACSPrevious') WHERE name = 'one'"#.to_owned()),
        ("schedule", r#"UPDATE secrets SET body = replace(body, '"Disabled"', '"Enabled"') WHERE name = 'one'"#.to_owned()),
        ("tags", r#"UPDATE secrets SET body = replace(body, '"tags":[]', '"tags":[{"key":"env","value":"test"}]') WHERE name = 'one'"#.to_owned()),
        ("no JSON", "UPDATE secrets SET body = 'x' WHERE name = 'one'".to_owned()),
        ("row of another", "UPDATE secrets SET (body, mac) = (SELECT body, mac FROM secrets WHERE name = 'two') WHERE name = 'one'".to_owned()),
        ("names swapped", "UPDATE secrets SET name = 'x' WHERE name = 'one'; UPDATE secrets SET name = 'one' WHERE name = 'two'; UPDATE secrets SET name = 'two' WHERE name = 'x'".to_owned()),
        ("value of another", format!("UPDATE versions SET sealed = (SELECT sealed FROM versions WHERE secret_id = {two} AND version_id = 'v2') WHERE secret_id = {one}")),
        ("older value", format!("UPDATE versions SET sealed = (SELECT sealed FROM versions WHERE secret_id = {one} AND version_id = 'v1') WHERE secret_id = {one}")),
        ("flipped end", format!("UPDATE versions SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB) WHERE secret_id = {one} AND substr(sealed, -1) <> x'00'")),
        ("flipped start", format!("UPDATE versions SET sealed = CAST(x'00' || substr(sealed, 2) AS BLOB) WHERE secret_id = {one}")),
        ("other format", format!("UPDATE versions SET sealed = CAST(substr(sealed, 1, 2) || x'09' || substr(sealed, 4) AS BLOB) WHERE secret_id = {one}")),
        ("other key", format!("UPDATE versions SET sealed = CAST(substr(sealed, 1, 7) || zeroblob(16) || substr(sealed, 24) AS BLOB) WHERE secret_id = {one}")),
        ("cut", format!("UPDATE versions SET sealed = substr(sealed, 1, 20) WHERE secret_id = {one}")),
        ("empty", format!("UPDATE versions SET sealed = x'' WHERE secret_id = {one}")),
        ("value gone", format!("DELETE FROM versions WHERE secret_id = {one} AND version_id = 'v2'")),
    ] {
        edit(&appliance, &sql);
        appliance.start().await;
        let admin = appliance.admin();
        let refused = admin.call("GetSecretValue", &[("SecretName", "one")]).await;
        let refused = refused.err().unwrap_or_else(|| panic!("{case} is not noticed"));
        assert_eq!((refused.status, refused.code.as_str()), (500, "InternalFailure"), "{case}: {refused:?}");
        assert!(!refused.message.contains("one"), "{case}: {}", refused.message);
        let records = appliance.audit_of(&refused.request_id);
        assert_eq!(records.len(), 1, "{case}");
        assert_eq!(records[0]["errorCode"], "InternalFailure", "{case}");
        assert!(appliance.log().contains(&refused.request_id), "{case}: the log names the request");
        if case != "names swapped" {
            assert_eq!(admin.value("two").await, "two-v2", "{case}: others work");
        }
        // A write does not bless what was edited.
        let put = admin.call("PutSecretValue", &[("SecretName", "one"), ("VersionId", "v1"), ("SecretData", "other")]);
        assert!(put.await.is_err(), "{case}");
        assert!(appliance.is_healthy().await && appliance.stop().success());
        kept.back(&appliance);
    }
    assert!(!appliance.log().contains("panicked"));
    appliance.start().await;
    assert_eq!(appliance.admin().value("one").await, "one-v2");
}

#[tokio::test]
async fn a_deny_by_tag_is_not_lost_with_an_edited_row() {
    let (mut appliance, _) = used().await;
    appliance.start().await;
    let statement = serde_json::json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": { "StringEquals": { "kms:tag/env": "prod" } } },
    ]});
    let user = appliance.user_with(&[statement.to_string()]).await;
    appliance.stop();
    edit(&appliance, "UPDATE secrets SET body = replace(body, 'Generic', 'ECS') WHERE name = 'one'");
    appliance.start().await;
    let user = appliance.client(user.key());
    for action in ["GetSecretValue", "DescribeSecret", "DeleteSecret", "ListSecretVersionIds"] {
        let refused =
            user.refused(action, &[("SecretName", "one"), ("ForceDeleteWithoutRecovery", "true")]).await;
        assert_eq!(refused, (500, "InternalFailure".to_owned()), "{action}");
    }
}

#[tokio::test]
async fn an_edited_copy_beside_the_row_destroys_nothing() {
    let (mut appliance, _) = used().await;
    let kept = Kept::of(&appliance);
    // Long past, according to the copies beside the body.
    for sql in [
        "UPDATE secrets SET planned_delete_ms = 1 WHERE name = 'one'",
        "UPDATE secrets SET next_rotation_ms = 1 WHERE name = 'one'",
    ] {
        edit(&appliance, sql);
        appliance.start().await;
        let admin = appliance.admin();
        let refused = admin.refused("GetSecretValue", &[("SecretName", "one")]).await;
        assert_eq!(refused, (500, "InternalFailure".to_owned()), "{sql}");
        assert_eq!(admin.value("two").await, "two-v2");
        assert!(appliance.stop().success());
        assert!(appliance.rows().iter().any(|row| row.contains("\"one\"")), "{sql}: it is still there");
        kept.back(&appliance);
    }
    // Of another revision than the body says: nothing can be made of it.
    edit(&appliance, "UPDATE secrets SET revision = 1 WHERE name = 'one'");
    appliance.start().await;
    let put = [("SecretName", "one"), ("VersionId", "v3"), ("SecretData", "three")];
    assert!(appliance.admin().refused("PutSecretValue", &put).await.0 >= 500);
}

#[tokio::test]
async fn a_database_of_another_vault_or_program_is_refused() {
    let (mut appliance, _) = used().await;
    let (other, _) = used().await;
    let kept = Kept::of(&appliance);
    let log = |appliance: &Appliance| appliance.log();

    fs::copy(other.database(), appliance.database()).unwrap();
    assert!(appliance.try_start().await.is_err(), "another vault's database");
    kept.back(&appliance);

    edit(&appliance, "PRAGMA user_version = 99");
    assert!(appliance.try_start().await.is_err(), "a newer schema");
    assert!(log(&appliance).contains("schema 99"), "{}", log(&appliance));
    kept.back(&appliance);

    fs::write(appliance.database(), "this is no database, but long enough to be looked at".repeat(100))
        .unwrap();
    assert!(appliance.try_start().await.is_err(), "no database");
    fs::write(appliance.database(), "").unwrap();
    assert!(appliance.try_start().await.is_err(), "an empty file");
    fs::remove_file(appliance.database()).unwrap();
    assert!(appliance.try_start().await.is_err(), "no file");
    assert!(!appliance.database().exists(), "none is made in its place");
    kept.back(&appliance);

    let config = fs::read_to_string(appliance.config()).unwrap();
    appliance.configure(|text| *text = text.replace("1234567890123456", "6543210987654321"));
    assert!(appliance.try_start().await.is_err(), "another account");
    fs::write(appliance.config(), config).unwrap();
    appliance.start().await;
    assert_eq!(appliance.admin().value("one").await, "one-v2");
}

/// The segment that is being written.
fn last_segment(appliance: &Appliance) -> std::path::PathBuf {
    let files = fs::read_dir(appliance.audit_folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    segments.sort();
    segments.pop().unwrap()
}

#[tokio::test]
async fn an_edited_journal_is_noticed_at_the_start_and_by_verify() {
    let (mut appliance, _) = used().await;
    let segment = last_segment(&appliance);
    let sound = fs::read(&segment).unwrap();
    let folder = appliance.audit_folder();
    let verify = || strongroom(&["audit", "verify", folder.to_str().unwrap()]);
    assert!(verify().status.success(), "{:?}", verify());
    let at = |text: &str| sound.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();

    let mut edited = sound.clone();
    edited[at("CreateSecret")] = b'D';
    let mut shorter = sound.clone();
    shorter.drain(at("CreateSecret")..at("PutSecretValue"));
    for (case, bytes) in [("edited", edited), ("shorter", shorter)] {
        fs::write(&segment, bytes).unwrap();
        let verdict = verify();
        let said =
            String::from_utf8_lossy(&verdict.stdout).into_owned() + &String::from_utf8_lossy(&verdict.stderr);
        assert_eq!(verdict.status.code(), Some(1), "{case}: {said}");
        assert!(said.contains("record") && said.contains("byte"), "{case}: the position is told: {said}");
        assert!(appliance.try_start().await.is_err(), "{case}: it serves");
        let log = appliance.log();
        assert!(log.contains("damaged at byte"), "{case}: {log}");
    }
    fs::write(&segment, sound).unwrap();
    appliance.start().await;
}

#[tokio::test]
async fn a_second_appliance_on_the_same_folder_is_refused() {
    let appliance = Appliance::running().await;
    let second = strongroom(&["serve", "--config", appliance.config().to_str().unwrap()]);
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(appliance.is_healthy().await);
}
