//! Customer master keys: what is kept of them. The keys themselves lie in the
//! token, and only their names stand here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AliasName, InvalidId, KeyId, KeyVersionId, RegionId, RotationInterval, Tag, Timestamp,
};

/// How a call names a key: by its id or by an alias. ARNs are resolved where
/// they are read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// By another name.
    Alias(AliasName),
    /// By its id.
    Id(KeyId),
}

impl KeyName {
    /// Reads an id or `alias/…`.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.starts_with("alias/") {
            AliasName::parse(text).map(Self::Alias)
        } else {
            KeyId::parse(text).map(Self::Id)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(name) => name.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// What a key is made of (kms-secrets.md section 8.1, `KeySpec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeySpec {
    /// AES with 256 bits.
    #[serde(rename = "Aliyun_AES_256")]
    Aes256,
}

impl KeySpec {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "Aliyun_AES_256",
        }
    }
}

/// What a key is for (kms-secrets.md section 8.1, `KeyUsage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyUsage {
    /// Encrypting and decrypting.
    #[serde(rename = "ENCRYPT/DECRYPT")]
    EncryptDecrypt,
}

impl KeyUsage {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EncryptDecrypt => "ENCRYPT/DECRYPT",
        }
    }
}

/// Where a key was made (kms-secrets.md section 8.1, `Origin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyOrigin {
    /// In the token.
    #[serde(rename = "Aliyun_KMS")]
    Kms,
}

impl KeyOrigin {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kms => "Aliyun_KMS",
        }
    }
}

/// What the owner asked to guard a key (kms-secrets.md section 8.1,
/// `ProtectionLevel`): clients hold what they read against what they asked for.
/// Whichever it is, the key lies in the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtectionLevel {
    /// A hardware security module.
    #[serde(rename = "HSM")]
    Hsm,
    /// Software would do.
    #[serde(rename = "SOFTWARE")]
    Software,
}

impl ProtectionLevel {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hsm => "HSM",
            Self::Software => "SOFTWARE",
        }
    }
}

/// Where a key stands.
///
/// ```text
///   Creating ──► Enabled ◄──► Disabled
///      │            │  ▲          │
///      │            ▼  │          │
///      │       PendingDeletion ◄──┘
///      │            │
///      └──► Destroying ──► gone
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// Its object in the token is being made. Never shown.
    Creating,
    /// Its object in the token is being destroyed. Never shown.
    Destroying,
    /// Not to be used until it is enabled again.
    Disabled,
    /// In use.
    Enabled,
    /// To be destroyed at a set time, and not to be used until then.
    PendingDeletion,
}

impl KeyState {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Destroying => "Destroying",
            Self::Disabled => "Disabled",
            Self::Enabled => "Enabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }

    /// Whether anybody may know of the key.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Disabled | Self::Enabled | Self::PendingDeletion)
    }
}

/// The name of an object in the token, and the value that proves that it is
/// still the same; only `keys` and `seal` make use of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenObject {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`: 16 random bytes.
    #[serde(with = "hex_text")]
    pub id: [u8; 16],
    /// The check value that was made with the object; empty before.
    #[serde(with = "hex_text")]
    pub check: Vec<u8>,
}

/// A version of a key: one object in the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// Its id.
    pub id: KeyVersionId,
    /// From 1.
    pub number: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Its object.
    pub object: TokenObject,
}

/// When a key gets a new version by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// Whether it does.
    pub automatic: bool,
    /// The period, 7 to 365 days; kept when it is switched off.
    pub interval: Option<RotationInterval>,
    /// When it last got one.
    pub last: Option<Timestamp>,
    /// When it gets the next one; set while `automatic`.
    pub next: Option<Timestamp>,
}

impl KeyRotation {
    /// Never rotated, not rotating.
    pub const OFF: Self = Self { automatic: false, interval: None, last: None, next: None };
}

/// A customer master key with everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// What the key is.
    pub id: KeyId,
    /// The owner.
    pub account: AccountId,
    /// The region.
    pub region: RegionId,
    /// What it is made of.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// Where it was made.
    pub origin: KeyOrigin,
    /// What was asked to guard it.
    pub protection: ProtectionLevel,
    /// Free text, up to 8,192 characters.
    pub description: String,
    /// Who made it: an account id.
    pub creator: String,
    /// When it was made.
    pub created: Timestamp,
    /// Where it stands.
    pub state: KeyState,
    /// When it is destroyed; set while it is pending deletion.
    pub delete_at: Option<Timestamp>,
    /// When it gets a new version by itself.
    pub rotation: KeyRotation,
    /// Whether its deletion cannot be scheduled.
    pub deletion_protection: bool,
    /// Why, in the owner's words.
    pub deletion_protection_description: String,
    /// The labels.
    pub tags: Vec<Tag>,
    /// The versions, oldest first; the last one encrypts.
    pub versions: Vec<KeyVersion>,
    /// A version whose object is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub making: Option<KeyVersion>,
    /// Counts the changes of this row.
    pub revision: u64,
}

impl KeyRecord {
    /// The version that encrypts; `None` only while the key is being made.
    #[must_use]
    pub fn primary(&self) -> Option<&KeyVersion> {
        self.versions.last()
    }

    /// The version with that id.
    #[must_use]
    pub fn version(&self, id: &KeyVersionId) -> Option<&KeyVersion> {
        self.versions.iter().find(|version| version.id == *id)
    }

    /// The word of the API for automatic rotation: it rests while the key is
    /// not in use.
    #[must_use]
    pub const fn automatic_rotation(&self) -> &'static str {
        match (self.rotation.automatic, self.state) {
            (false, _) => "Disabled",
            (true, KeyState::Enabled) => "Enabled",
            (
                true,
                KeyState::Creating | KeyState::Destroying | KeyState::Disabled | KeyState::PendingDeletion,
            ) => "Suspended",
        }
    }
}

/// Another name of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// The name, unique in account and region.
    pub name: AliasName,
    /// The key.
    pub key: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last given another key.
    pub updated: Timestamp,
}

/// Pairs that must be the same when a ciphertext is decrypted as when it was
/// made (kms-secrets.md section 8.1, `EncryptionContext`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

/// A text that is no encryption context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("EncryptionContext must be a JSON object of strings, each name once, in at most {MAX_CONTEXT} bytes")]
pub struct InvalidContext;

/// Bytes of an encryption context at most.
const MAX_CONTEXT: usize = 8_192;

impl EncryptionContext {
    /// Reads the form that requests use; an empty text is an empty context.
    ///
    /// # Errors
    ///
    /// [`InvalidContext`].
    pub fn parse(text: &str) -> Result<Self, InvalidContext> {
        if text.len() > MAX_CONTEXT {
            return Err(InvalidContext);
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str::<Pairs>(text).map(|pairs| Self(pairs.0)).map_err(|_syntax| InvalidContext)
    }

    /// An unambiguous encoding: the pairs in the order of their names, each
    /// part behind its length. The order in which they were sent does not count.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.iter().map(|(n, v)| n.len() + v.len() + 8).sum());
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

/// An object of strings in which no name stands twice: which of two values
/// counts must not depend on who reads it.
struct Pairs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// Byte strings as lower-case hexadecimal text.
mod hex_text {
    use data_encoding::HEXLOWER;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(bytes.as_ref()))
    }

    pub(super) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<Vec<u8>>,
    {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        T::try_from(bytes).map_err(|_length| D::Error::custom("too few or too many bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_context_does_not_count_and_its_content_does() {
        let parse = |text| EncryptionContext::parse(text).unwrap().encode();
        assert_eq!(parse(r#"{"a":"1","b":"2"}"#), parse(r#"{ "b" : "2", "a" : "1" }"#));
        assert_eq!(parse(""), parse("{}"));
        let all = [r#"{"a":"1"}"#, r#"{"a":"2"}"#, r#"{"a1":""}"#, r#"{"":"a1"}"#, "{}"].map(parse);
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
    }

    #[test]
    fn what_is_no_object_of_strings_is_no_context() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_CONTEXT));
        for bad in ["[]", "1", r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":"1","a":"1"}"#, "{", long.as_str()] {
            assert_eq!(EncryptionContext::parse(bad), Err(InvalidContext), "{bad:.40}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_id_or_an_alias() {
        let id = KeyId::from_random([1; 16]);
        assert_eq!(KeyName::parse(id.as_str()), Ok(KeyName::Id(id)));
        assert!(matches!(KeyName::parse("alias/a"), Ok(KeyName::Alias(_))));
        for bad in ["", "a", "alias/", "acs:kms:r:1:key/x"] {
            assert!(KeyName::parse(bad).is_err(), "{bad}");
        }
    }
}
