//! Who may sign requests, and what is written down about it.

use serde::{Deserialize, Serialize};

use super::{AccessKeyId, PolicyName, Timestamp, UserName};

/// A RAM user (ram.md section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// 18 digits, never used again.
    pub id: String,
    /// The name, unique without regard to case.
    pub name: UserName,
    /// Free text.
    pub display_name: String,
    /// Free text.
    pub comments: String,
    /// When the user was created.
    pub created: Timestamp,
}

/// Whether a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessKeyStatus {
    /// It may.
    Active,
    /// It is switched off.
    Inactive,
}

impl AccessKeyStatus {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }
}

/// An access key of a user. Its secret is sealed like any other value, since
/// the signature check needs it in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRecord {
    /// The public id.
    pub id: AccessKeyId,
    /// Whose it is.
    pub user: UserName,
    /// On or off.
    pub status: AccessKeyStatus,
    /// When it was made.
    pub created: Timestamp,
    /// The sealed secret, encoded, in hexadecimal.
    #[serde(with = "hex_bytes")]
    pub sealed: Vec<u8>,
}

/// A custom policy. The document is kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The name, unique without regard to case.
    pub name: PolicyName,
    /// Free text.
    pub description: String,
    /// The document as it was sent.
    pub document: String,
    /// When it was created.
    pub created: Timestamp,
    /// When its document last changed.
    pub updated: Timestamp,
}

/// Who wrote a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyType {
    /// The account's own.
    Custom,
    /// Shipped, and the same everywhere.
    System,
}

impl PolicyType {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "Custom",
            Self::System => "System",
        }
    }
}

/// A policy attached to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The user.
    pub user: UserName,
    /// The policy.
    pub policy: PolicyName,
    /// Which of the two kinds it is.
    pub kind: PolicyType,
    /// When it was attached.
    pub attached: Timestamp,
}

/// The key with which the vault signs its own calls to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudCredentials {
    /// The id of the key, in clear.
    pub access_key_id: String,
    /// The sealed secret, encoded, in hexadecimal.
    #[serde(with = "hex_bytes")]
    pub sealed: Vec<u8>,
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}
