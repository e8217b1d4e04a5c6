//! Who may sign requests, and what is written down about it.

use serde::{Deserialize, Serialize};

use super::{AccessKeyId, GroupName, PolicyName, RoleName, Timestamp, UserName};

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
    /// Free text.
    #[serde(default)]
    pub email: String,
    /// Free text.
    #[serde(default)]
    pub mobile_phone: String,
    /// When the user was created.
    pub created: Timestamp,
    /// When the user was last changed, if ever.
    #[serde(default)]
    pub updated: Option<Timestamp>,
}

/// A RAM group: users who have the policies that are attached to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// 18 digits, never used again.
    pub id: String,
    /// The name, unique without regard to case.
    pub name: GroupName,
    /// Free text.
    pub comments: String,
    /// When the group was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// That a user is in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group.
    pub group: GroupName,
    /// The user.
    pub user: UserName,
    /// Since when.
    pub joined: Timestamp,
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
    /// The document of the default version, as it was sent.
    pub document: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it or its document last changed.
    pub updated: Timestamp,
    /// The number of the default version.
    #[serde(default = "first_version")]
    pub default_version: u32,
    /// When the default version was created; as the policy where nothing is said.
    #[serde(default)]
    pub document_created: Option<Timestamp>,
    /// The highest number that a version ever had: none is used again.
    #[serde(default = "first_version")]
    pub last_version: u32,
    /// The versions that are not the default, by number.
    #[serde(default)]
    pub others: Vec<PolicyVersion>,
}

/// The number of a policy's first version.
const fn first_version() -> u32 {
    1
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// 1 for `v1` and so on.
    pub number: u32,
    /// The document as it was sent.
    pub document: String,
    /// When it was created.
    pub created: Timestamp,
}

impl PolicyVersion {
    /// The id of the version with this number, such as `v1`.
    #[must_use]
    pub fn id_of(number: u32) -> String {
        format!("v{number}")
    }
}

impl PolicyRecord {
    /// A policy with one version.
    #[must_use]
    pub const fn new(name: PolicyName, description: String, document: String, now: Timestamp) -> Self {
        Self {
            name,
            description,
            document,
            created: now,
            updated: now,
            default_version: first_version(),
            document_created: None,
            last_version: first_version(),
            others: Vec::new(),
        }
    }

    /// All versions, by number.
    #[must_use]
    pub fn versions(&self) -> Vec<PolicyVersion> {
        let default = PolicyVersion {
            number: self.default_version,
            document: self.document.clone(),
            created: self.document_created.unwrap_or(self.created),
        };
        let mut all: Vec<_> = self.others.iter().cloned().chain([default]).collect();
        all.sort_by_key(|version| version.number);
        all
    }

    /// Makes another of its versions the default; whether there is one of that number.
    pub fn turn_to(&mut self, number: u32) -> bool {
        if number == self.default_version {
            return true;
        }
        let mut all = self.versions();
        let Some(at) = all.iter().position(|version| version.number == number) else { return false };
        let chosen = all.remove(at);
        self.default_version = chosen.number;
        self.document = chosen.document;
        self.document_created = Some(chosen.created);
        self.others = all;
        true
    }
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

/// Whom a policy is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A user.
    User(UserName),
    /// All users of a group.
    Group(GroupName),
    /// The sessions of a role.
    Role(RoleName),
}

impl Holder {
    /// The word of the API for its kind, as error codes have it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "User",
            Self::Group(_) => "Group",
            Self::Role(_) => "Role",
        }
    }
}

/// A policy that is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// To whom; on disk a member of its own, such as `"user": "alice"`.
    #[serde(flatten)]
    pub holder: Holder,
    /// The policy.
    pub policy: PolicyName,
    /// Which of the two kinds it is.
    pub kind: PolicyType,
    /// When it was attached.
    pub attached: Timestamp,
}

/// A role: rights that a principal takes on for a while (ram.md sections 3.3 and 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRecord {
    /// 18 digits, never used again.
    pub id: String,
    /// The name, unique without regard to case.
    pub name: RoleName,
    /// Free text.
    pub description: String,
    /// The trust policy as it was sent: who may take the role on.
    pub trust: String,
    /// How long a session lasts at most, in seconds.
    pub max_session_seconds: u32,
    /// When the role was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The service that the role belongs to: then only the service's actions change it.
    #[serde(default)]
    pub service: Option<String>,
    /// Sessions that were begun up to this moment are revoked.
    #[serde(default)]
    pub revoked_until: Option<Timestamp>,
    /// The last attempt to delete a service's role, which failed.
    #[serde(default)]
    pub deletion: Option<RoleDeletion>,
}

/// An attempt to delete a role of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDeletion {
    /// Its id.
    pub task: String,
    /// When it was made.
    pub at: Timestamp,
    /// Why the role is still there.
    pub reason: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_and_policies_of_earlier_versions_are_read() {
        let old = r#"{"user":"alice","policy":"p","kind":"Custom","attached":5}"#;
        let attachment: Attachment = serde_json::from_str(old).unwrap();
        assert_eq!(attachment.holder, Holder::User(UserName::parse("alice").unwrap()));
        assert_eq!(serde_json::to_string(&attachment).unwrap(), old);

        let old = r#"{"name":"p","description":"","document":"{}","created":5,"updated":5}"#;
        let policy: PolicyRecord = serde_json::from_str(old).unwrap();
        assert_eq!((policy.default_version, policy.last_version), (1, 1));
        assert_eq!(policy.versions().len(), 1);
    }

    #[test]
    fn a_version_that_becomes_the_default_changes_places_with_the_old_one() {
        let [first, second] = [1_000, 2_000].map(Timestamp::from_millis);
        let mut policy =
            PolicyRecord::new(PolicyName::parse("p").unwrap(), String::new(), "one".to_owned(), first);
        policy.others.push(PolicyVersion { number: 2, document: "two".to_owned(), created: second });
        let before = policy.versions();
        assert!(policy.turn_to(2));
        assert_eq!((policy.document.as_str(), policy.default_version), ("two", 2));
        assert_eq!(policy.versions(), before);
        assert!(!policy.turn_to(3));
        assert!(policy.turn_to(1));
        assert_eq!(policy.document, "one");
    }
}
