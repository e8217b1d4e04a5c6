//! Secrets, their versions and stages.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    AccountId, InstanceId, KeyId, OsUser, RegionId, RotationInterval, SecretId, SecretName, Timestamp,
    VersionId,
};

/// What kind of secret it is (kms-secrets.md section 5.1, `SecretType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretType {
    /// Dynamic ECS secret: logs on to an instance, and is rotated.
    #[serde(rename = "ECS")]
    Ecs,
    /// Any value, kept and given out.
    Generic,
}

impl SecretType {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ecs => "ECS",
            Self::Generic => "Generic",
        }
    }
}

/// How the value is to be read (kms-secrets.md section 5.1, `SecretDataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretDataType {
    /// Base64 of something; the vault does not look inside.
    Binary,
    /// Text.
    Text,
}

impl SecretDataType {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
        }
    }
}

/// A pointer to one version of a secret; a version may carry several
/// (kms-secrets.md section 1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VersionStage {
    /// In force.
    Current,
    /// In force before the last change.
    Previous,
    /// Made by a rotation that has not ended (kms-secrets.md section 6.5).
    Pending,
    /// A user's own stage; Generic secrets only.
    Custom(String),
}

impl VersionStage {
    /// Reads a stage as requests name it: 1 to 64 of `A-Za-z0-9_-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ACSCurrent" => Some(Self::Current),
            "ACSPrevious" => Some(Self::Previous),
            "ACSPending" => Some(Self::Pending),
            other => ((1..=64).contains(&other.len())
                && other.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'))
            .then(|| Self::Custom(other.to_owned())),
        }
    }

    /// The word of the API.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Current => "ACSCurrent",
            Self::Previous => "ACSPrevious",
            Self::Pending => "ACSPending",
            Self::Custom(name) => name,
        }
    }
}

impl Serialize for VersionStage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VersionStage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a version stage"))
    }
}

impl fmt::Display for VersionStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an ECS secret logs on with (kms-secrets.md section 6.2, `SecretSubType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretSubType {
    /// User name and password.
    Password,
    /// User name and SSH key pair.
    #[serde(rename = "SSHKey")]
    SshKey,
}

impl SecretSubType {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "Password",
            Self::SshKey => "SSHKey",
        }
    }
}

/// The operating system of an instance, as far as credentials depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Linux: passwords and SSH keys.
    Linux,
    /// Windows: passwords only.
    Windows,
}

impl OsFamily {
    /// Name of the rotation command as stored in ExtendedConfig (kms-secrets.md section 6.2, `CommandId`).
    #[must_use]
    pub const fn command_id(self) -> &'static str {
        match self {
            Self::Linux => "cmd-ACS-KMS-RotateECSSecret-For-Linux.sh",
            Self::Windows => "cmd-ACS-KMS-RotateECSSecret-For-Windows.ps1",
        }
    }

    /// Whether a local account of this system can have that name.
    ///
    /// On Windows the account database takes up to 20 characters, fewer than
    /// other systems, and refuses some characters
    /// (cloud-assistant.md section 4.5).
    #[must_use]
    pub fn admits(self, user: &OsUser) -> bool {
        let name = user.as_str();
        match self {
            Self::Linux => true,
            Self::Windows => name.len() <= 20 && !name.contains(['[', ']', '+', '@']) && !name.ends_with('.'),
        }
    }
}

/// Where an ECS secret logs on (kms-secrets.md section 6.2, `ExtendedConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcsBinding {
    /// Password or key.
    pub sub_type: SecretSubType,
    /// The instance.
    pub instance: InstanceId,
    /// The region of the instance, which is the vault's.
    pub region: RegionId,
    /// The user on the instance; the same in every version.
    pub user: OsUser,
    /// The instance's operating system when the secret was made.
    pub os: OsFamily,
    /// Pairs of the owner's own, at most 10.
    pub custom_data: serde_json::Map<String, serde_json::Value>,
}

/// State of automatic rotation (kms-secrets.md section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutomaticRotation {
    /// Off.
    Disabled,
    /// On.
    Enabled,
    /// On, but the last rotation failed: it needs somebody to look.
    Invalid,
}

impl AutomaticRotation {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Enabled => "Enabled",
            Self::Invalid => "Invalid",
        }
    }
}

/// When a secret rotates by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// On, off, or in need of attention.
    pub automatic: AutomaticRotation,
    /// The period; kept when rotation is switched off.
    pub interval: Option<RotationInterval>,
    /// When the next one is due; set while `automatic` is not Disabled.
    pub next: Option<Timestamp>,
    /// End of the last successful rotation.
    pub last: Option<Timestamp>,
    /// Failed scheduled rotations since the last good one, for the retry lanes.
    pub failures: u32,
    /// When automatic rotation was last switched on: a date before is nobody's
    /// omission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Schedule {
    /// Never rotated, not rotating.
    pub const OFF: Self = Self {
        automatic: AutomaticRotation::Disabled,
        interval: None,
        next: None,
        last: None,
        failures: 0,
        since: None,
    };
}

/// A label of the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 128 characters, not beginning with `aliyun` or `acs:`.
    pub key: String,
    /// Up to 128 characters.
    pub value: String,
}

/// A version without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMeta {
    /// The id, unique in the secret.
    pub id: VersionId,
    /// When it was stored.
    pub created: Timestamp,
    /// How its value is to be read.
    pub data_type: SecretDataType,
    /// The stages that point to it.
    pub stages: Vec<VersionStage>,
    /// For an SSH key the fingerprint of its public key, `SHA256:…`, so that
    /// an old key can be removed from the instance without opening the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

/// A secret with everything but the values of its versions. The store keeps
/// it as one row under a MAC, stages included, so that a label moved by hand
/// in the database file is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// What the secret is, whatever its name.
    pub id: SecretId,
    /// The owner.
    pub account: AccountId,
    /// The region.
    pub region: RegionId,
    /// The name, unique in account and region.
    pub name: SecretName,
    /// Generic or ECS.
    pub kind: SecretType,
    /// Free text, up to 8,192 characters.
    pub description: String,
    /// The customer master key that its values are encrypted under; the vault's
    /// own where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<KeyId>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// When it will be destroyed; set while it is scheduled for deletion.
    pub planned_delete: Option<Timestamp>,
    /// For ECS secrets, where it logs on.
    pub ecs: Option<EcsBinding>,
    /// When it rotates by itself.
    pub schedule: Schedule,
    /// The generation of its last begun rotation (cloud-assistant.md section 5.2, `gen`).
    pub generation: u64,
    /// The versions, oldest first.
    pub versions: Vec<VersionMeta>,
    /// The labels.
    pub tags: Vec<Tag>,
    /// The KMS instance that its creator named; it means nothing here, and answers repeat it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dkms_instance: String,
    /// Its own policy, as it was submitted: up to 32,768 bytes (kms-secrets.md section 5.13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Counts the changes of this row; a change names the revision it was made from.
    pub revision: u64,
}

impl SecretRecord {
    /// When its next rotation is due; a secret that is to be deleted does not rotate.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.schedule.next.filter(|_| self.planned_delete.is_none())
    }

    /// By when it must have been rotated: an interval after its last rotation
    /// or its creation, and not before automatic rotation was switched on. Tries
    /// that failed do not move it. `None` while it does not rotate by itself.
    #[must_use]
    pub fn promised(&self) -> Option<Timestamp> {
        let schedule = &self.schedule;
        let interval = schedule.interval?;
        if schedule.automatic == AutomaticRotation::Disabled || self.planned_delete.is_some() {
            return None;
        }
        let date = schedule.last.unwrap_or(self.created).plus_seconds(interval.seconds().into());
        Some(schedule.since.map_or(date, |since| date.max(since)))
    }

    /// For how many seconds it should have been rotated already; `None` while it
    /// is not overdue.
    #[must_use]
    pub fn overdue_seconds(&self, now: Timestamp) -> Option<u64> {
        u64::try_from(now.seconds_since(self.promised()?)).ok().filter(|seconds| *seconds > 0)
    }

    /// The version a stage points to.
    #[must_use]
    pub fn at_stage(&self, stage: &VersionStage) -> Option<&VersionMeta> {
        self.versions.iter().find(|v| v.stages.contains(stage))
    }

    /// The version with that id.
    #[must_use]
    pub fn version(&self, id: &VersionId) -> Option<&VersionMeta> {
        self.versions.iter().find(|v| v.id == *id)
    }

    /// Takes a stage off whatever version carries it and gives it to `id`.
    pub fn move_stage(&mut self, stage: &VersionStage, id: &VersionId) {
        for version in &mut self.versions {
            version.stages.retain(|s| s != stage);
            if version.id == *id {
                version.stages.push(stage.clone());
            }
        }
    }

    /// Makes `id` current and what was current previous; what was previous
    /// keeps no built-in stage.
    pub fn make_current(&mut self, id: &VersionId) {
        let before = self.at_stage(&VersionStage::Current).map(|v| v.id.clone());
        if before.as_ref() == Some(id) {
            return;
        }
        self.move_stage(&VersionStage::Current, id);
        if let Some(before) = before {
            self.move_stage(&VersionStage::Previous, &before);
        }
        for version in &mut self.versions {
            if version.id == *id {
                version.stages.retain(|s| !matches!(s, VersionStage::Previous | VersionStage::Pending));
            }
        }
    }

    /// Removes the oldest versions without a stage until at most `limit` are
    /// left, and gives their ids; `None` when that cannot be had.
    pub fn prune(&mut self, limit: usize) -> Option<Vec<VersionId>> {
        let mut dropped = Vec::new();
        while self.versions.len() > limit {
            let oldest = self.versions.iter().position(|v| v.stages.is_empty())?;
            dropped.push(self.versions.remove(oldest).id);
        }
        Some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ids: &[&str]) -> SecretRecord {
        let now = Timestamp::from_millis(0);
        SecretRecord {
            id: SecretId::from_random(&[1; 16]),
            account: AccountId::parse("1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
            name: SecretName::parse("a").unwrap(),
            kind: SecretType::Generic,
            description: String::new(),
            encryption_key: None,
            created: now,
            updated: now,
            planned_delete: None,
            ecs: None,
            schedule: Schedule::OFF,
            generation: 0,
            versions: ids
                .iter()
                .map(|id| VersionMeta {
                    id: VersionId::parse(id).unwrap(),
                    created: now,
                    data_type: SecretDataType::Text,
                    stages: Vec::new(),
                    key_fingerprint: None,
                })
                .collect(),
            tags: Vec::new(),
            dkms_instance: String::new(),
            policy: None,
            revision: 0,
        }
    }

    fn at(record: &SecretRecord, stage: &VersionStage) -> Option<String> {
        record.at_stage(stage).map(|v| v.id.to_string())
    }

    #[test]
    fn names_that_windows_does_not_take_are_told_apart() {
        let admits = |os: OsFamily, name: &str| os.admits(&OsUser::parse(name).unwrap());
        let longest = "x".repeat(20);
        for name in ["Administrator", "ecs-user", &longest] {
            assert!(admits(OsFamily::Windows, name) && admits(OsFamily::Linux, name));
        }
        for name in [&"x".repeat(21), "a@b", "a+b", "[a]", "a."] {
            assert!(!admits(OsFamily::Windows, name), "{name}");
            assert!(admits(OsFamily::Linux, name), "{name}");
        }
    }

    #[test]
    fn the_former_current_version_becomes_previous_and_nothing_else_keeps_a_stage() {
        let mut secret = record(&["v1", "v2", "v3"]);
        for id in ["v1", "v2", "v3"] {
            secret.make_current(&VersionId::parse(id).unwrap());
        }
        assert_eq!(at(&secret, &VersionStage::Current).as_deref(), Some("v3"));
        assert_eq!(at(&secret, &VersionStage::Previous).as_deref(), Some("v2"));
        assert!(secret.versions[0].stages.is_empty());
    }

    #[test]
    fn going_back_to_the_previous_version_swaps_the_two() {
        let mut secret = record(&["v1", "v2"]);
        secret.make_current(&VersionId::parse("v1").unwrap());
        secret.make_current(&VersionId::parse("v2").unwrap());
        secret.make_current(&VersionId::parse("v1").unwrap());
        assert_eq!(at(&secret, &VersionStage::Current).as_deref(), Some("v1"));
        assert_eq!(at(&secret, &VersionStage::Previous).as_deref(), Some("v2"));
        assert_eq!(secret.versions[0].stages.len(), 1);
    }

    #[test]
    fn pruning_drops_the_oldest_version_without_a_stage_and_never_one_with() {
        let mut secret = record(&["v1", "v2", "v3"]);
        secret.make_current(&VersionId::parse("v1").unwrap());
        let dropped = secret.prune(2).unwrap();
        assert_eq!(dropped, [VersionId::parse("v2").unwrap()]);
        assert!(secret.prune(0).is_none());
    }
}
