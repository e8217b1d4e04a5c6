//! Values that a caller of RotateSecret chose, an extension of the imitated API
//! (kms-secrets.md section 5.11): checked by the rules of the instance's system
//! before anything is begun. Errors never carry a value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;

use super::ecs_value::{key_pair, unescaped};
use crate::api::ApiError;
use crate::model::{EcsBinding, OsFamily, OsUser, SecretSubType, VersionMeta};
use crate::rotation::Chosen;
use crate::vault::{Entry, Vault, VaultError};

/// Classes of which a password must have three: A-Z, a-z, 0-9, and the rest.
const CLASSES: usize = 3;

/// A value that may be put in force on an instance.
#[derive(Debug)]
pub(super) enum ChosenValue {
    Password(SecretBytes),
    SshKey {
        /// As it will be given out.
        value: SecretBytes,
        /// `<type> <base64>`.
        public: String,
        fingerprint: String,
    },
}

/// As at creation, but that the user may be left out: a rotation does not change it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PasswordJson<'a> {
    #[serde(borrow, default)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    password: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyJson<'a> {
    #[serde(borrow, default)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    public_key: Cow<'a, str>,
    #[serde(borrow)]
    private_key: &'a RawValue,
}

/// The value of a key as it is stored. What is secret is written as it stood.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyValue<'a> {
    user_name: &'a OsUser,
    public_key: &'a str,
    private_key: &'a RawValue,
}

impl ChosenValue {
    /// Reads `SecretData` for a secret of that kind, user and operating system.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` that names the rule.
    pub(super) fn read(ecs: &EcsBinding, data: &SecretBytes) -> Result<Self, ApiError> {
        match ecs.sub_type {
            SecretSubType::Password => {
                let json: PasswordJson<'_> = parsed(
                    data,
                    "SecretData must be {\"UserName\":\"…\",\"Password\":\"…\"}: the secret is a password.",
                )?;
                is_of_the_user(ecs, json.user_name.as_deref())?;
                let password = unescaped(json.password).ok_or_else(|| ApiError::invalid(CHARACTERS))?;
                check_password(ecs.os, &ecs.user, password.expose())?;
                Ok(Self::Password(password))
            }
            SecretSubType::SshKey => {
                let json: KeyJson<'_> = parsed(
                    data,
                    "SecretData must be {\"UserName\":\"…\",\"PublicKey\":\"…\",\"PrivateKey\":\"…\"}: the secret is an SSH key.",
                )?;
                is_of_the_user(ecs, json.user_name.as_deref())?;
                let key = key_pair(&json.public_key, json.private_key)?;
                let public = key.to_openssh().ok().ok_or_else(ApiError::internal)?;
                let line = json.public_key.trim_end_matches(['\r', '\n']);
                let value =
                    KeyValue { user_name: &ecs.user, public_key: line, private_key: json.private_key };
                // Room for everything, so that the buffer never grows and leaves copies behind.
                let mut text = Vec::with_capacity(data.len().saturating_mul(2).saturating_add(256));
                serde_json::to_writer(&mut text, &value).ok().ok_or_else(ApiError::internal)?;
                Ok(Self::SshKey {
                    value: SecretBytes::from_vec(text),
                    public,
                    fingerprint: key.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
                })
            }
        }
    }

    /// For the rotation.
    pub(super) fn chosen(&self) -> Chosen {
        match self {
            Self::Password(password) => Chosen::Password(SecretBytes::copy_of(password.expose())),
            Self::SshKey { value, public, .. } => {
                Chosen::SshKey { value: SecretBytes::copy_of(value.expose()), public: public.clone() }
            }
        }
    }

    /// Whether a version of the secret holds just this credential.
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub(super) async fn is_that_of(
        &self,
        vault: &Vault,
        secret: &Entry,
        version: &VersionMeta,
    ) -> Result<bool, VaultError> {
        match self {
            Self::SshKey { fingerprint, .. } => Ok(version.key_fingerprint.as_ref() == Some(fingerprint)),
            Self::Password(password) => {
                let stored = vault.open(secret, version).await?;
                let json: Option<PasswordJson<'_>> = serde_json::from_slice(stored.expose()).ok();
                let stored = json.and_then(|json| unescaped(json.password));
                Ok(stored.is_some_and(|stored| password.matches(stored.expose())))
            }
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(data: &'a SecretBytes, rule: &'static str) -> Result<T, ApiError> {
    serde_json::from_slice(data.expose()).ok().ok_or_else(|| ApiError::invalid(rule))
}

/// The user is part of the value, so a mismatch does not say who it should be.
fn is_of_the_user(ecs: &EcsBinding, given: Option<&str>) -> Result<(), ApiError> {
    let same = |given: &str| match ecs.os {
        OsFamily::Linux => given == ecs.user.as_str(),
        OsFamily::Windows => given.eq_ignore_ascii_case(ecs.user.as_str()),
    };
    if given.is_none_or(same) {
        return Ok(());
    }
    Err(ApiError::invalid(
        "UserName in SecretData is not the user of the secret: a rotation does not change the user. Leave it out, or create another secret.",
    ))
}

const CHARACTERS: &str = "Password in SecretData must be 8 to 127 characters of ASCII without blanks.";

/// What an instance takes and can be typed at a logon (cloud-assistant.md
/// section 4.1). As Windows itself, names of one or two letters are not looked
/// for.
fn check_password(os: OsFamily, user: &OsUser, password: &[u8]) -> Result<(), ApiError> {
    if !(8..=127).contains(&password.len()) || !password.iter().all(u8::is_ascii_graphic) {
        return Err(ApiError::invalid(CHARACTERS));
    }
    let kinds: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit, u8::is_ascii_punctuation];
    if kinds.iter().filter(|kind| password.iter().any(kind)).count() < CLASSES {
        return Err(ApiError::invalid(
            "Password in SecretData must have three of upper case, lower case, digits and punctuation.",
        ));
    }
    if os == OsFamily::Windows {
        let name = user.as_str().as_bytes();
        let holds_name =
            name.len() > 2 && password.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
        if password.first() == Some(&b'/') || holds_name {
            return Err(ApiError::invalid(
                "Password in SecretData must not begin with / nor contain the name of the account, on Windows.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InstanceId, RegionId};

    fn binding(os: OsFamily, sub_type: SecretSubType, user: &str) -> EcsBinding {
        EcsBinding {
            sub_type,
            instance: InstanceId::parse("i-1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
            user: OsUser::parse(user).unwrap(),
            os,
            custom_data: serde_json::Map::new(),
        }
    }

    fn password(os: OsFamily, user: &str, password: &str) -> Result<(), String> {
        let data = serde_json::json!({ "UserName": user, "Password": password }).to_string();
        let data = SecretBytes::copy_of(data.as_bytes());
        match ChosenValue::read(&binding(os, SecretSubType::Password, user), &data) {
            Ok(ChosenValue::Password(read)) => {
                assert!(read.matches(password.as_bytes()));
                Ok(())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(!error.message.contains(password), "{error:?}");
                Err(error.code.into_owned())
            }
        }
    }

    #[test]
    fn passwords_keep_to_the_rules_of_the_instance() {
        let long = "aA1".repeat(42);
        for good in ["Passw0rd", "pass-w0rd", "PASSW0RD-", r#"q"u\oT1e:"#, &format!("{long}x")] {
            assert_eq!(password(OsFamily::Linux, "root", good), Ok(()), "{good}");
        }
        for bad in [
            "Pass-w0",
            "password",
            "passw0rd",
            "PASSW0RD",
            "Pass w0rd",
            "Passw0rd\n",
            "Passw0rd\u{7f}",
            "Pässw0rd",
            &format!("{long}xy"),
        ] {
            assert_eq!(password(OsFamily::Linux, "root", bad), Err("InvalidParameter".to_owned()), "{bad}");
        }
        for (user, text, fits) in [
            ("Administrator", "/Passw0rd", false),
            ("Administrator", "x1-aDMINistrator", false),
            ("Administrator", "x1-Administrato-r", true),
            ("ab", "Xab-w0rd-1", true),
        ] {
            assert_eq!(password(OsFamily::Windows, user, text).is_ok(), fits, "{text}");
            assert!(password(OsFamily::Linux, user, text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_user_may_be_left_out_and_must_not_be_another() {
        let ecs = |os| binding(os, SecretSubType::Password, "deploy");
        let read =
            |os, text: &str| ChosenValue::read(&ecs(os), &SecretBytes::copy_of(text.as_bytes())).is_ok();
        for os in [OsFamily::Linux, OsFamily::Windows] {
            assert!(read(os, r#"{"Password":"Passw0rd-1"}"#));
            assert!(read(os, r#"{"UserName":"deploy","Password":"Passw0rd-1"}"#));
            assert!(!read(os, r#"{"UserName":"root","Password":"Passw0rd-1"}"#));
            assert_eq!(read(os, r#"{"UserName":"DEPLOY","Password":"Passw0rd-1"}"#), os == OsFamily::Windows);
            assert!(!read(os, r#"{"Password":"Passw0rd-1","More":1}"#) && !read(os, "{}") && !read(os, ""));
        }
    }

    #[test]
    fn a_key_pair_is_stored_with_the_user_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
        let (public, private) = (text(&file.with_extension("pub")), text(&file));
        let ecs = binding(OsFamily::Linux, SecretSubType::SshKey, "deploy");
        let read = |value: serde_json::Value| {
            ChosenValue::read(&ecs, &SecretBytes::copy_of(value.to_string().as_bytes()))
        };
        let given = serde_json::json!({ "PublicKey": public, "PrivateKey": private });
        let ChosenValue::SshKey { value, public: line, .. } = read(given).unwrap() else { panic!("no key") };
        let value: serde_json::Value = serde_json::from_slice(value.expose()).unwrap();
        let expected =
            serde_json::json!({ "UserName": "deploy", "PublicKey": public.trim(), "PrivateKey": private });
        assert_eq!(value, expected);
        assert_eq!(line.split_whitespace().nth(1), public.split_whitespace().nth(1));
        for bad in [
            serde_json::json!({ "UserName": "root", "PublicKey": public, "PrivateKey": private }),
            serde_json::json!({ "PublicKey": public, "PrivateKey": "none" }),
            serde_json::json!({ "Password": "Passw0rd-1" }),
        ] {
            assert_eq!(read(bad).unwrap_err().code, "InvalidParameter");
        }
    }
}
