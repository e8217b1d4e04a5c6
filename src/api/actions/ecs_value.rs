//! The values of ECS secrets, and what ExtendedConfig says of them
//! (kms-secrets.md section 6.2). Errors never carry a value.

use std::borrow::Cow;

use openssl::pkey::PKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use ssh_key::{PrivateKey, PublicKey};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use crate::api::ApiError;
use crate::model::{InstanceId, OsUser, RegionId, SecretSubType};

/// Length of ExtendedConfig at most, in characters.
pub(super) const MAX_CONFIG: usize = 1_024;
/// Pairs of CustomData at most.
pub(super) const MAX_CUSTOM_DATA: usize = 10;

/// What the caller says of the instance.
#[derive(Debug)]
pub(super) struct ExtendedConfig {
    pub(super) sub_type: SecretSubType,
    pub(super) instance: InstanceId,
    pub(super) region: RegionId,
    pub(super) custom_data: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ConfigJson<'a> {
    #[serde(borrow)]
    secret_sub_type: Cow<'a, str>,
    #[serde(borrow)]
    region_id: Cow<'a, str>,
    #[serde(borrow)]
    instance_id: Cow<'a, str>,
    #[serde(default)]
    custom_data: serde_json::Map<String, serde_json::Value>,
    /// Taken and overwritten, so that configurations that carry what an
    /// earlier answer said still work.
    #[serde(default)]
    #[serde(rename = "CommandId")]
    _command_id: serde::de::IgnoredAny,
}

impl ExtendedConfig {
    /// Reads the parameter.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` that names the rule.
    pub(super) fn parse(text: &str, here: &RegionId) -> Result<Self, ApiError> {
        let rule = "The parameter ExtendedConfig must be a JSON object of at most 1024 characters with SecretSubType, RegionId, InstanceId and, if wanted, CustomData with at most 10 pairs.";
        let refuse = || ApiError::invalid(rule);
        if text.chars().count() > MAX_CONFIG {
            return Err(refuse());
        }
        let json: ConfigJson<'_> = serde_json::from_str(text).ok().ok_or_else(refuse)?;
        let sub_type = match &*json.secret_sub_type {
            "Password" => SecretSubType::Password,
            "SSHKey" => SecretSubType::SshKey,
            _ => {
                return Err(ApiError::invalid("SecretSubType in ExtendedConfig must be Password or SSHKey."));
            }
        };
        let region = RegionId::parse(&json.region_id).ok().ok_or_else(refuse)?;
        if region != *here {
            return Err(ApiError::invalid(format!(
                "RegionId in ExtendedConfig must be {here}: a secret and its instance are in the same region."
            )));
        }
        let instance = InstanceId::parse(&json.instance_id)
            .ok()
            .ok_or_else(|| ApiError::invalid("InstanceId in ExtendedConfig is not the id of an instance."))?;
        if json.custom_data.len() > MAX_CUSTOM_DATA {
            return Err(refuse());
        }
        Ok(Self { sub_type, instance, region, custom_data: json.custom_data })
    }
}

/// What was learnt from a value.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) user: OsUser,
    pub(super) key_fingerprint: Option<String>,
}

/// The secret member is taken as it stands: serde would unescape it into a
/// buffer of its own that nobody wipes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PasswordJson<'a> {
    #[serde(borrow)]
    user_name: Cow<'a, str>,
    #[serde(borrow)]
    password: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyJson<'a> {
    #[serde(borrow)]
    user_name: Cow<'a, str>,
    #[serde(borrow)]
    public_key: Cow<'a, str>,
    #[serde(borrow)]
    private_key: &'a RawValue,
}

/// Checks a value given by a caller.
///
/// # Errors
///
/// `InvalidParameter` that names the rule, never the value.
pub(super) fn check(sub_type: SecretSubType, data: &[u8]) -> Result<Credential, ApiError> {
    match sub_type {
        SecretSubType::Password => password(data),
        SecretSubType::SshKey => key(data),
    }
}

fn user(text: &str) -> Result<OsUser, ApiError> {
    OsUser::parse(text)
        .map_err(|error| ApiError::invalid(format!("UserName in SecretData is not valid: {error}.")))
}

fn password(data: &[u8]) -> Result<Credential, ApiError> {
    let json: Option<PasswordJson<'_>> = serde_json::from_slice(data).ok();
    let json = json.ok_or_else(|| {
        ApiError::invalid(
            "SecretData must be {\"UserName\":\"…\",\"Password\":\"…\"} for SecretSubType Password.",
        )
    })?;
    let password = unescaped(json.password);
    let fits = password.is_some_and(|p| {
        (8..=128).contains(&p.len()) && p.expose().iter().all(|b| b.is_ascii_graphic() || *b == b' ')
    });
    let found = user(&json.user_name);
    if !fits {
        return Err(ApiError::invalid("Password in SecretData must be 8 to 128 printable ASCII characters."));
    }
    Ok(Credential { user: found?, key_fingerprint: None })
}

fn key(data: &[u8]) -> Result<Credential, ApiError> {
    let json: Option<KeyJson<'_>> = serde_json::from_slice(data).ok();
    let json = json.ok_or_else(|| {
        ApiError::invalid(
            "SecretData must be {\"UserName\":\"…\",\"PublicKey\":\"…\",\"PrivateKey\":\"…\"} for SecretSubType SSHKey.",
        )
    })?;
    let user = user(&json.user_name);
    let public = key_pair(&json.public_key, json.private_key)?;
    let fingerprint = public.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    Ok(Credential { user: user?, key_fingerprint: Some(fingerprint) })
}

/// The public key, if both halves can be read and are of one pair.
///
/// # Errors
///
/// `InvalidParameter` that names the rule, never the value.
pub(super) fn key_pair(public: &str, private: &RawValue) -> Result<PublicKey, ApiError> {
    let public = public_key(public).ok_or_else(|| {
        ApiError::invalid(
            "PublicKey in SecretData must be one line in OpenSSH's format, of type RSA, ECDSA or Ed25519.",
        )
    })?;
    let private =
        unescaped(private).and_then(|pem| str::from_utf8(pem.expose()).ok().and_then(private_to_public));
    let private = private.ok_or_else(|| {
        ApiError::invalid("PrivateKey in SecretData must be a private key in PEM without a passphrase, of type RSA, ECDSA or Ed25519.")
    })?;
    if public.key_data() != private.key_data() {
        return Err(ApiError::invalid("PublicKey and PrivateKey in SecretData are not of one pair."));
    }
    Ok(public)
}

/// The text of a JSON string (RFC 8259 section 7) in a buffer that is wiped.
/// Characters beyond the escapes of control characters stand as they are;
/// `\u` serves for ASCII only, which is all that passwords and keys have.
pub(super) fn unescaped(raw: &RawValue) -> Option<SecretBytes> {
    let text = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    // Never longer than what stands there, so that the buffer does not grow.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'u' => {
                    let code = (0..4).try_fold(0_u32, |code, _| {
                        Some(code * 16 + char::from(rest.next()?).to_digit(16)?)
                    })?;
                    u8::try_from(code).ok().filter(u8::is_ascii)?
                }
                other => other,
            },
            other => other,
        };
        out.push(plain);
    }
    Some(SecretBytes::copy_of(&out))
}

/// A plain public key on one line. Certificates, options and several keys are refused.
fn public_key(text: &str) -> Option<PublicKey> {
    let line = text.trim_end_matches(['\r', '\n']);
    if line.contains(['\r', '\n']) {
        return None;
    }
    let key = PublicKey::from_openssh(line).ok()?;
    matches!(
        key.algorithm(),
        ssh_key::Algorithm::Rsa { .. } | ssh_key::Algorithm::Ecdsa { .. } | ssh_key::Algorithm::Ed25519
    )
    .then_some(key)
}

/// The public half of a private key in OpenSSH's, PKCS#1, SEC 1 or PKCS#8 form.
fn private_to_public(pem: &str) -> Option<PublicKey> {
    if pem.contains("BEGIN OPENSSH PRIVATE KEY") {
        let key = PrivateKey::from_openssh(pem).ok()?;
        return (!key.is_encrypted()).then(|| key.public_key().clone());
    }
    // An empty passphrase, so that OpenSSL never asks the terminal for one.
    let key = PKey::private_key_from_pem_passphrase(pem.as_bytes(), b"").ok()?;
    crate::rotation::openssh_public_key(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Credential, ApiError>) -> String {
        result.unwrap_err().code.into_owned()
    }

    #[test]
    fn a_password_value_has_exactly_two_members_and_a_sane_user() {
        let good = br#"{"UserName":"root","Password":"Passw0rd!"}"#;
        assert_eq!(check(SecretSubType::Password, good).unwrap().user.as_str(), "root");
        for bad in [
            &br#"{"UserName":"root"}"#[..],
            br#"{"UserName":"root","Password":"short"}"#,
            br#"{"UserName":"a:b","Password":"Passw0rd!"}"#,
            br#"{"UserName":"root","Password":"Passw0rd!","More":1}"#,
            br#"{"UserName":"root","Password":"Passw0rd\n"}"#,
            br#"["root"]"#,
            b"",
        ] {
            assert_eq!(code(check(SecretSubType::Password, bad)), "InvalidParameter");
        }
    }

    #[test]
    fn escapes_are_read_as_json_has_them() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let text = unescaped(&raw(r#""a\n\"\\\/\u0041\tb""#)).unwrap();
        assert_eq!(text.expose(), b"a\n\"\\/A\tb");
        for not_ascii_or_no_text in [r#""\u00e9""#, "7", "[1]"] {
            assert!(unescaped(&raw(not_ascii_or_no_text)).is_none(), "{not_ascii_or_no_text}");
        }
    }

    #[test]
    fn the_configuration_takes_a_command_id_and_ignores_it() {
        let here = RegionId::parse("cn-hangzhou").unwrap();
        let text = r#"{"SecretSubType":"Password","InstanceId":"i-1","RegionId":"cn-hangzhou","CommandId":"x","CustomData":{}}"#;
        assert!(ExtendedConfig::parse(text, &here).is_ok());
        for bad in [
            r#"{"SecretSubType":"Password","InstanceId":"i-1","RegionId":"cn-beijing"}"#,
            r#"{"SecretSubType":"Other","InstanceId":"i-1","RegionId":"cn-hangzhou"}"#,
            r#"{"SecretSubType":"Password","InstanceId":"i-1","RegionId":"cn-hangzhou","Extra":1}"#,
            r#"{"SecretSubType":"Password","RegionId":"cn-hangzhou"}"#,
            "[]",
        ] {
            assert!(ExtendedConfig::parse(bad, &here).is_err(), "{bad}");
        }
    }
}
