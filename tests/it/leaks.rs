//! Everything is run with values that can be recognised, and then they are
//! looked for where they must not be: raw, in hexadecimal, in base64.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use strongroom::api::wire::Answer;
use strongroom::rpc::client::Credentials;
use strongroom::rpc::encoding::Parameters;
use strongroom::rpc::signature::SigningKey;
use strongroom::vault::NewVersion;
use strongroom_hsm::SecretBytes;

use crate::harness::{Appliance, Connection, Request, policy};

const KMS: &str = "2016-01-20";

/// A value and the forms in which it may hide. In base64 the form depends on
/// where in a text the value begins.
struct Secret {
    what: &'static str,
    forms: BTreeSet<Vec<u8>>,
}

impl Secret {
    fn new(what: &'static str, value: &str) -> Self {
        Self::of_bytes(what, value.as_bytes())
    }

    fn of_bytes(what: &'static str, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 12, "{what} is too short to be recognised");
        let mut forms = BTreeSet::new();
        forms.insert(bytes.to_vec());
        forms.insert(HEXLOWER.encode(bytes).into_bytes());
        forms.insert(HEXUPPER.encode(bytes).into_bytes());
        forms.insert(bytes.iter().rev().copied().collect());
        for before in 0..3 {
            let mut text = vec![0; before];
            text.extend_from_slice(bytes);
            for encoding in [&BASE64, &BASE64URL_NOPAD] {
                let encoded = encoding.encode(&text).into_bytes();
                // Letters that depend on the neighbours are left out.
                let start = (before * 8).div_ceil(6);
                let end = text.len() * 8 / 6;
                forms.insert(encoded[start..end].to_vec());
            }
        }
        Self { what, forms }
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for form in &self.forms {
            let found = bytes.windows(form.len()).any(|window| window == form.as_slice());
            assert!(!found, "{} is in {place}", self.what);
        }
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// Where processes show their arguments and environment to others.
fn processes(appliance: &Appliance) -> Vec<(String, Vec<u8>)> {
    let mut shown = Vec::new();
    for pid in [Some(appliance.pid()), appliance.worker_pid()].into_iter().flatten() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
            shown.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    assert_eq!(shown.len(), 4, "the appliance and its worker");
    shown
}

#[tokio::test]
async fn no_value_key_or_pin_is_where_it_must_not_be() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    let (first, second) = ("Canary-First-Value-1b7Q", "Canary-Second-Value-8c2W");
    let mut secrets = vec![
        Secret::new("a value", first),
        Secret::new("a second value", second),
        Secret::new("the secret of the administrator's key", &admin.key().secret),
    ];
    for file in ["pin", "so-pin"] {
        let pin = fs::read_to_string(appliance.data_folder().join(file)).unwrap();
        secrets.push(Secret::new(if file == "pin" { "the PIN" } else { "the SO PIN" }, pin.trim()));
    }

    // Everything, by both schemes, in query and form, refused and done.
    admin.create_secret("db", first).await;
    let mut answers = Vec::new();
    let put = [("SecretName", "db"), ("VersionId", "v2"), ("SecretData", second)];
    admin.ok("PutSecretValue", &put).await;
    let user = appliance.user_with(&[policy("Allow", &["kms:Describe*"], &["*"])]).await;
    secrets.push(Secret::new("the secret of a user's key", &user.key().secret));
    let mut connection = Connection::open(&appliance).await;
    for key in [admin.key(), user.key()] {
        for action in ["CreateSecret", "PutSecretValue", "GetSecretValue", "Nothing"] {
            let v1 = Request::v1(key, action, KMS, &put);
            let wrong = Request::v1(key, action, KMS, &put).set("SignatureVersion", &admin.key().secret);
            let acs3 = Request::acs3(&appliance, key, action, KMS, &put);
            for request in [v1.query("GET"), v1.query("POST"), v1.form(), wrong.form(), acs3.sign()] {
                let reply = connection.send(&request).await;
                if reply.status != 200 {
                    answers.push(reply.body);
                }
            }
        }
    }
    // Through a key, there and back.
    let third = "Canary-Third-Value-5k9Z";
    secrets.push(Secret::new("what was encrypted", third));
    let made = admin.ok("CreateKey", &[]).await;
    let (id, plain) = (made["KeyMetadata"]["KeyId"].as_str().unwrap(), BASE64.encode(third.as_bytes()));
    let encrypt = [("KeyId", id), ("Plaintext", plain.as_str())];
    let sealed = admin.ok("Encrypt", &encrypt).await;
    let blob = sealed["CiphertextBlob"].as_str().unwrap();
    assert_eq!(admin.ok("Decrypt", &[("CiphertextBlob", blob)]).await["Plaintext"], plain);
    let data_key = admin.ok("GenerateDataKey", &[("KeyId", id)]).await;
    let data_key = BASE64.decode(data_key["Plaintext"].as_str().unwrap().as_bytes()).unwrap();
    secrets.push(Secret::of_bytes("a data key", &data_key));
    let unpadded = [("KeyId", id), ("Plaintext", third)];
    for key in [admin.key(), user.key()] {
        for call in [encrypt, unpadded] {
            let v1 = Request::v1(key, "Encrypt", KMS, &call);
            let acs3 = Request::acs3(&appliance, key, "Encrypt", KMS, &call);
            for request in [v1.query("GET"), v1.form(), acs3.sign()] {
                let reply = connection.send(&request).await;
                if reply.status != 200 {
                    answers.push(reply.body);
                }
            }
        }
    }
    admin.ok("DeleteSecret", &[("SecretName", "db")]).await;
    answers.push(
        format!("{:?}", admin.call("GetSecretValue", &[("SecretName", "db")]).await.unwrap_err())
            .into_bytes(),
    );
    admin.ok("RestoreSecret", &[("SecretName", "db")]).await;
    assert_eq!(admin.value("db").await, second);
    let list = [("SecretsList", r#"[{"SecretName":"db"},{"SecretName":"none"}]"#)];
    let batch = admin.ok("BatchGetSecretValue", &list).await;
    assert_eq!(batch["SecretValues"][0]["SecretData"], second);
    let shown = processes(&appliance);

    // Between two instructions, with whatever lies in the log of the database.
    appliance.kill();
    appliance.start().await;
    assert_eq!(appliance.admin().value("db").await, second);
    appliance.kill();

    let mut files = Vec::new();
    files_below(&appliance.data_folder(), &mut files);
    files.push(appliance.folder().join("log"));
    files.push(appliance.folder().join("stdout"));
    assert!(files.iter().any(|file| file.ends_with("strongroom.db-wal")));
    for secret in &secrets {
        for file in &files {
            let is_its_own = file.ends_with("pin") || file.ends_with("so-pin");
            if !is_its_own || !secret.what.contains("PIN") {
                secret.assert_absent(&file.display().to_string(), &fs::read(file).unwrap());
            }
        }
        for (place, bytes) in &shown {
            secret.assert_absent(place, bytes);
        }
        for answer in &answers {
            secret.assert_absent("an error", answer);
        }
    }
}

#[tokio::test]
async fn files_of_the_vault_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let appliance = Appliance::running().await;
    appliance.admin().create_secret("db", "value").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&appliance.data_folder()), 0o700);
    let mut files = Vec::new();
    files_below(&appliance.data_folder(), &mut files);
    for file in files {
        let is_public = file.ends_with("ca.pem") || file.ends_with("server.pem");
        let others = mode(&file) & 0o077;
        // The folder above keeps everybody out; what is secret does so itself.
        let is_secret = ["pin", "so-pin", "ca.key", "server.key", "strongroom.db", "strongroom.db-wal"];
        if is_secret.iter().any(|name| file.ends_with(name)) {
            assert_eq!(others, 0, "{}", file.display());
        }
        assert!(is_public || others & 0o022 == 0, "{}", file.display());
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let value = "Canary-Debug-Value-5t9Y";
    let secret = Secret::new("a value", value);
    let bytes = || SecretBytes::copy_of(value.as_bytes());
    let version = NewVersion {
        id: strongroom::model::VersionId::parse("v1").unwrap(),
        data_type: strongroom::model::SecretDataType::Text,
        data: bytes(),
        stages: Vec::new(),
    };
    let parameters = Parameters::parse(&format!("SecretData={value}"), b"").unwrap();
    let answer = Answer::json(&serde_json::json!({ "SecretData": value }), &[value]).unwrap();
    let shown: Vec<&dyn Debug> = vec![&version, &parameters, &answer];
    let keys = (
        bytes(),
        SigningKey::new(value.as_bytes()),
        Credentials::new("id".to_owned(), &bytes(), Some(bytes())),
    );
    for (number, debug) in shown.into_iter().enumerate() {
        for text in [format!("{debug:?}"), format!("{debug:#?}")] {
            secret.assert_absent(&format!("the Debug output of number {number}"), text.as_bytes());
        }
    }
    secret.assert_absent(
        "the Debug output of keys",
        format!("{:?} {:?} {:?}", keys.0, keys.1, keys.2).as_bytes(),
    );
}

#[test]
fn the_search_finds_what_is_hidden() {
    let secret = Secret::new("x", "Canary-Search-Value");
    let hidden =
        |bytes: Vec<u8>| std::panic::catch_unwind(move || secret_of().assert_absent("here", &bytes)).is_err();
    fn secret_of() -> Secret {
        Secret::new("x", "Canary-Search-Value")
    }
    assert!(secret.forms.len() >= 6);
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}Canary-Search-Value and more");
        for bytes in [
            text.clone().into_bytes(),
            HEXLOWER.encode(text.as_bytes()).into_bytes(),
            BASE64.encode(text.as_bytes()).into_bytes(),
            BASE64URL_NOPAD.encode(text.as_bytes()).into_bytes(),
        ] {
            assert!(hidden(bytes), "{before:?}");
        }
    }
    assert!(!hidden(b"Canary-Search-Valu".to_vec()));
}
