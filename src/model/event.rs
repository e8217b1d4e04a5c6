//! What operators are told of rotations (kms-secrets.md section 6.7).

use std::fmt;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rotation::{RotationRecord, State};
use super::{
    AccountId, Arn, AutomaticRotation, RegionId, RotationId, SecretName, SecretRecord, SecretSubType,
    Timestamp,
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventName {
    /// The new credential is in force, and current.
    Success,
    /// The rotation ended without it, or nobody can say what is in force.
    Failure,
    /// A date was missed by more than the grace; an extension of Strongroom.
    Overdue,
    /// The new key is current, and the old one still on the instance; an
    /// extension of Strongroom.
    OldKeyNotRemoved,
}

impl EventName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Overdue, Self::OldKeyNotRemoved];

    /// The name on the wire: resource type, operation, result.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Secret:RotateSecret:Success",
            Self::Failure => "Secret:RotateSecret:Failure",
            Self::Overdue => "Secret:RotateSecret:Overdue",
            Self::OldKeyNotRemoved => "Secret:RotateSecret:OldKeyNotRemoved",
        }
    }

    /// The event with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// The last part of the name, which is short enough for a syslog MSGID.
    #[must_use]
    pub const fn result(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Overdue => "Overdue",
            Self::OldKeyNotRemoved => "OldKeyNotRemoved",
        }
    }

    /// How much it matters: the member `level`.
    #[must_use]
    pub const fn level(self) -> &'static str {
        match self {
            Self::Success => "INFO",
            Self::Failure => "CRITICAL",
            Self::Overdue | Self::OldKeyNotRemoved => "WARN",
        }
    }

    /// Whether somebody has to look.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::Success)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why, for an event that tells of trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureInfo {
    /// `Kms:` and the code of the plug-in, of Cloud Assistant, or Strongroom's own.
    pub code: String,
    /// What it means and what to do; never a secret.
    pub message: String,
}

/// An event as it is kept. It holds no value of any secret: nothing but what
/// the rotation's row says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationEvent {
    /// The same for the same outcome of the same rotation, however often it is
    /// written: a UUID made of a digest.
    pub id: String,
    /// What happened.
    pub name: EventName,
    /// When.
    pub at: Timestamp,
    /// The owner.
    pub account: AccountId,
    /// The region.
    pub region: RegionId,
    /// The secret's name at that time.
    pub secret_name: SecretName,
    /// Password or key.
    pub kind: SecretSubType,
    /// The secret's AutomaticRotation from then on.
    pub status: AutomaticRotation,
    /// The rotation; none for a date that was missed.
    pub rotation: Option<RotationId>,
    /// The rotation is not over: nobody can say what is in force.
    #[serde(default)]
    pub stuck: bool,
    /// Why, unless all went well.
    pub failure: Option<FailureInfo>,
}

/// A UUID version 8 (RFC 9562 section 5.8) that is the same for the same parts.
fn stable_id(parts: [&str; 3]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"strongroom event v1\0");
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let mut bytes = [0_u8; 16];
    for (byte, digested) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *byte = *digested;
    }
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{number:032X}");
    let mut text = String::with_capacity(36);
    for (at, letter) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

impl RotationEvent {
    fn of(name: EventName, secret: &SecretRecord, rotation: &RotationRecord, at: Timestamp) -> Self {
        let stuck = rotation.state == State::Stuck;
        let outcome = if stuck { "Stuck" } else { name.result() };
        let failure = name.is_trouble().then(|| {
            let trouble = rotation.trouble.as_ref();
            let code = trouble.map_or("RotationFailed", |t| t.code.as_str());
            let message = trouble.map_or_else(
                || "the rotation did not put the new credential in force".to_owned(),
                |t| t.text.clone(),
            );
            let code = match (stuck, trouble) {
                (true, Some(_)) => format!("Kms:Unknown.{code}"),
                (true, None) => "Kms:Unknown".to_owned(),
                (false, _) => format!("Kms:{code}"),
            };
            FailureInfo { code, message }
        });
        Self {
            id: stable_id(["rotation", rotation.id.as_str(), outcome]),
            name,
            at,
            account: secret.account.clone(),
            region: secret.region.clone(),
            secret_name: secret.name.clone(),
            kind: rotation.kind,
            status: secret.schedule.automatic,
            rotation: Some(rotation.id.clone()),
            stuck,
            failure,
        }
    }

    /// The labels have moved.
    #[must_use]
    pub fn success(secret: &SecretRecord, rotation: &RotationRecord, at: Timestamp) -> Self {
        Self::of(EventName::Success, secret, rotation, at)
    }

    /// The candidate is destroyed, or nobody can say what is in force.
    #[must_use]
    pub fn failure(secret: &SecretRecord, rotation: &RotationRecord, at: Timestamp) -> Self {
        Self::of(EventName::Failure, secret, rotation, at)
    }

    /// The rotation is over, and the old key still on the instance.
    #[must_use]
    pub fn old_key_not_removed(secret: &SecretRecord, rotation: &RotationRecord, at: Timestamp) -> Self {
        Self::of(EventName::OldKeyNotRemoved, secret, rotation, at)
    }

    /// The date `promised` was missed. `None` for a secret that does not rotate.
    #[must_use]
    pub fn overdue(secret: &SecretRecord, promised: Timestamp, at: Timestamp) -> Option<Self> {
        let ecs = secret.ecs.as_ref()?;
        let date = promised.millis().to_string();
        Some(Self {
            id: stable_id(["overdue", secret.id.as_str(), &date]),
            name: EventName::Overdue,
            at,
            account: secret.account.clone(),
            region: secret.region.clone(),
            secret_name: secret.name.clone(),
            kind: ecs.sub_type,
            status: secret.schedule.automatic,
            rotation: None,
            stuck: false,
            failure: Some(FailureInfo {
                code: "Kms:RotationOverdue".to_owned(),
                message: format!(
                    "the secret was to be rotated by {promised} and was not: see why its last rotation failed, \
                     and whether the vault reaches Cloud Assistant"
                ),
            }),
        })
    }

    /// The event as it is delivered and listed (kms-secrets.md section 6.7):
    /// both spellings of the sub-type and `eventTime` in every event.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let arn = Arn::secret(&self.region, &self.account, &self.secret_name);
        let kind = self.kind.as_str();
        let mut content = json!({
            "eventId": self.id,
            "secretName": self.secret_name,
            "secretType": "ECS",
            "RotationEntityArn": arn.as_str(),
            "rotationStatus": self.status.as_str(),
            "secretSubType": kind,
            "rotationSubType": kind,
        });
        let time = Value::from(self.at.to_string());
        if let Some(members) = content.as_object_mut() {
            match &self.failure {
                None => drop(members.insert("successTime".to_owned(), time)),
                Some(why) => {
                    let info = json!({ "errorCode": why.code, "errorMessage": why.message });
                    members.insert("failureInfo".to_owned(), info);
                    members.insert("failureTime".to_owned(), time);
                }
            }
        }
        json!({
            "product": "KMS",
            "eventTime": self.at.in_event(),
            "level": self.name.level(),
            "name": self.name.as_str(),
            "regionId": self.region,
            "resourceId": arn.as_str(),
            "instanceName": self.secret_name,
            "status": if self.name.is_trouble() { "Failed" } else { "Normal" },
            "content": content,
            "ver": "1.0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_and_the_same_for_the_same_outcome_only() {
        let id = stable_id(["rotation", "a", "Success"]);
        assert_eq!(id, stable_id(["rotation", "a", "Success"]));
        assert_ne!(id, stable_id(["rotation", "a", "Failure"]));
        assert_ne!(stable_id(["a", "bc", ""]), stable_id(["ab", "c", ""]));
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert!(id.as_bytes()[14] == b'8' && b"89AB".contains(&id.as_bytes()[19]), "{id}");
    }

    #[test]
    fn names_read_back_as_themselves() {
        for name in EventName::ALL {
            assert_eq!(EventName::parse(name.as_str()), Some(name));
            assert!(name.result().len() <= 32 && name.as_str().ends_with(name.result()));
        }
        assert_eq!(EventName::parse("Success"), None);
    }
}
