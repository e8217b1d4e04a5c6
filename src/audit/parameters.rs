//! Parameters and answers of a call, as far as a record may hold them.

use std::borrow::Cow;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::text::{self, MAX_NAME_BYTES, MAX_VALUE_BYTES};

/// What stands in a record in place of a value that must not be there.
pub const MASK: &str = "******";

/// Names whose values are masked even where the caller declares them harmless.
///
/// Compared without regard to case. This is the second line of defence: the
/// first is that only values declared harmless are written at all.
const ALWAYS_MASKED: [&str; 27] = [
    "AccessKeySecret",
    "Authorization",
    "CommandContent",
    "DataKey",
    "EncryptedKeyMaterial",
    "ImportToken",
    "KeyMaterial",
    "LoginPassword",
    "NewPassword",
    "OIDCToken",
    "OldPassword",
    "Passphrase",
    "Password",
    "Pin",
    "Plaintext",
    "PrivateKey",
    "PrivateKeyPem",
    "RandomPassword",
    "SAMLAssertion",
    "Secret",
    "SecretBinary",
    "SecretData",
    "SecretString",
    "SecurityToken",
    "Signature",
    "SigningKey",
    "X-Acs-Security-Token",
];

/// Most parameters written; the rest is counted.
const MAX_PARAMETERS: usize = 200;

/// Most bytes of values in one list; later ones are written as `…`.
const MAX_TOTAL_BYTES: usize = 32 * 1024;

/// Longest policy or trust document that is written whole, in bytes.
const MAX_DOCUMENT_BYTES: usize = 8 * 1024;

/// Names and values in the order in which they were given: the parameters of a
/// request, or the elements of an answer.
///
/// A value is written in clear only when it is handed to [`known`](Self::known)
/// by code that knows the parameter to be harmless; whatever else a client
/// sends is named by [`masked`](Self::masked). Masked values are never stored
/// here, so that neither `Debug` nor a bug in writing can show them.
#[derive(Debug, Clone, Default)]
pub struct RequestParameters<'a> {
    items: Vec<(&'a str, Value<'a>)>,
    used_bytes: usize,
    omitted: usize,
}

#[derive(Debug, Clone)]
enum Value<'a> {
    Masked,
    Omitted,
    Text(Cow<'a, str>),
    Document(Cow<'a, str>),
    Number(u64),
    Digest { bytes: usize, sha256: [u8; 32] },
    Object(RequestParameters<'a>),
}

impl<'a> RequestParameters<'a> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list with room for `count` parameters.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count.min(MAX_PARAMETERS)), ..Self::default() }
    }

    /// Adds a parameter known to be harmless; its value is cut at 1 KiB.
    ///
    /// Names that always hold secrets are masked all the same. A second value
    /// of the same name takes the place of the first.
    pub fn known(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        if is_always_masked(name) {
            return self.masked(name);
        }
        let value = value.into();
        let value = match self.spend(value.len().min(MAX_VALUE_BYTES)) {
            true => Value::Text(value),
            false => Value::Omitted,
        };
        self.put(name, value, true);
    }

    /// Adds a parameter whose value must not be, or may not safely be, written.
    ///
    /// Never takes the place of one that is there: a client cannot hide what
    /// the appliance itself noted under the same name.
    pub fn masked(&mut self, name: &'a str) {
        self.put(text::head(name, MAX_NAME_BYTES), Value::Masked, false);
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'a str, value: u64) {
        self.put(name, Value::Number(value), true);
    }

    /// Adds a ciphertext: its length and SHA-256 are written.
    ///
    /// Never for a secret in clear, not even a long one: a digest lets anybody
    /// test guesses.
    pub fn ciphertext(&mut self, name: &'a str, blob: &[u8]) {
        let value = match is_always_masked(name) {
            true => Value::Masked,
            false => digest_of(blob),
        };
        self.put(name, value, true);
    }

    /// Adds a policy or trust document: written whole up to 8 KiB, beyond that
    /// as length and SHA-256.
    pub fn document(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        let value = if value.len() > MAX_DOCUMENT_BYTES {
            digest_of(value.as_bytes())
        } else if self.spend(value.len()) {
            Value::Document(value)
        } else {
            Value::Omitted
        };
        self.put(name, value, true);
    }

    /// Adds a parameter that is itself a list of names and values.
    pub fn object(&mut self, name: &'a str, value: RequestParameters<'a>) {
        let value = match self.spend(value.used_bytes) {
            true => Value::Object(value),
            false => Value::Omitted,
        };
        self.put(name, value, true);
    }

    /// True when nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.omitted == 0
    }

    fn put(&mut self, name: &'a str, value: Value<'a>, replaces: bool) {
        if let Some((_, there)) = self.items.iter_mut().find(|(other, _)| *other == name) {
            if replaces {
                *there = value;
            }
        } else if self.items.len() < MAX_PARAMETERS {
            self.items.push((name, value));
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let sum = self.used_bytes.saturating_add(bytes);
        let fits = sum <= MAX_TOTAL_BYTES;
        if fits {
            self.used_bytes = sum;
        }
        fits
    }
}

fn is_always_masked(name: &str) -> bool {
    ALWAYS_MASKED.iter().any(|masked| masked.eq_ignore_ascii_case(name))
}

fn digest_of<'a>(blob: &[u8]) -> Value<'a> {
    let mut sha256 = [0; 32];
    let digest = digest::digest(&digest::SHA256, blob);
    for (to, from) in sha256.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    Value::Digest { bytes: blob.len(), sha256 }
}

impl Serialize for RequestParameters<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for (name, value) in &self.items {
            map.serialize_entry(name, value)?;
        }
        if self.omitted > 0 {
            map.serialize_entry("omittedParameters", &self.omitted)?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Masked => out.serialize_str(MASK),
            Self::Omitted => out.serialize_str("…"),
            Self::Text(value) => text::short(value, out),
            Self::Document(value) => out.serialize_str(value),
            Self::Number(value) => out.serialize_u64(*value),
            Self::Digest { bytes, sha256 } => {
                let mut map = out.serialize_map(Some(2))?;
                map.serialize_entry("length", bytes)?;
                map.serialize_entry("sha256", &HEXLOWER.encode(sha256))?;
                map.end()
            }
            Self::Object(list) => list.serialize(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(list: &RequestParameters<'_>) -> serde_json::Value {
        serde_json::to_value(list).unwrap()
    }

    #[test]
    fn names_that_hold_secrets_are_masked_even_when_declared_harmless() {
        for name in ALWAYS_MASKED {
            for spelling in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                let mut list = RequestParameters::new();
                list.known(&spelling, "marker-of-a-secret");
                assert_eq!(written(&list), json!({ spelling.as_str(): MASK }));
                assert!(!format!("{list:?}").contains("marker"));
            }
        }
        let mut list = RequestParameters::new();
        list.known("SignatureNonce", "n-1");
        list.known("PasswordLength", "32");
        assert_eq!(written(&list), json!({"SignatureNonce": "n-1", "PasswordLength": "32"}));
    }

    #[test]
    fn what_the_appliance_notes_cannot_be_hidden_by_the_same_name() {
        let mut list = RequestParameters::new();
        list.masked("AcsProduct");
        list.known("AcsProduct", "Kms");
        list.masked("AcsProduct");
        assert_eq!(written(&list), json!({"AcsProduct": "Kms"}));
    }

    #[test]
    fn huge_requests_stay_small_in_the_record() {
        let value = "v".repeat(1 << 20);
        let names: Vec<String> = (0..1000).map(|n| format!("P{n}{}", "x".repeat(500))).collect();
        let mut list = RequestParameters::new();
        for name in names.iter().take(100) {
            list.known(text::head(name, MAX_NAME_BYTES), value.as_str());
        }
        for name in &names {
            list.masked(name);
        }
        let json = serde_json::to_string(&list).unwrap();
        assert!(json.len() < 100_000, "{}", json.len());
        assert_eq!(written(&list)["omittedParameters"], json!(800));
    }

    #[test]
    fn long_documents_and_ciphertexts_become_length_and_digest() {
        let document = "d".repeat(MAX_DOCUMENT_BYTES + 1);
        let mut list = RequestParameters::new();
        list.document("PolicyDocument", document.as_str());
        list.document("Small", "{}");
        list.ciphertext("CiphertextBlob", b"abc");
        list.ciphertext("SecretData", b"abc");
        let json = written(&list);
        assert_eq!(json["PolicyDocument"]["length"], json!(MAX_DOCUMENT_BYTES + 1));
        assert_eq!(json["Small"], json!("{}"));
        assert_eq!(
            json["CiphertextBlob"]["sha256"],
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(json["SecretData"], json!(MASK));
    }

    #[test]
    fn objects_nest() {
        let mut inner = RequestParameters::new();
        inner.known("InstanceId", "i-1");
        inner.known("Password", "marker");
        let mut list = RequestParameters::new();
        list.object("ExtendedConfig", inner);
        list.number("stsTokenPlayerUid", 7);
        assert_eq!(
            written(&list),
            json!({"ExtendedConfig": {"InstanceId": "i-1", "Password": MASK}, "stsTokenPlayerUid": 7})
        );
    }
}
