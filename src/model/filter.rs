//! Which secrets a list is to hold.

use super::secret::{SecretRecord, SecretType};

/// Conditions on secrets, all of which must hold (kms-secrets.md section 5.6,
/// `Filters`). Each gives the values of which one must be equal; an empty list
/// is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretFilter {
    /// Descriptions.
    pub descriptions: Vec<String>,
    /// KMS instances that their creators named.
    pub instances: Vec<String>,
    /// Types.
    pub kinds: Vec<SecretType>,
    /// Names.
    pub names: Vec<String>,
    /// Keys of tags.
    pub tag_keys: Vec<String>,
    /// Values of tags; with keys as well, one tag must have both.
    pub tag_values: Vec<String>,
    /// Whether no secret is meant, whatever else is said: a condition was on
    /// something that is the same for all secrets, and another was asked for.
    pub none: bool,
}

impl SecretFilter {
    /// Every secret.
    pub const ALL: Self = Self {
        descriptions: Vec::new(),
        instances: Vec::new(),
        kinds: Vec::new(),
        names: Vec::new(),
        tag_keys: Vec::new(),
        tag_values: Vec::new(),
        none: false,
    };

    /// Whether a secret is meant.
    #[must_use]
    pub fn takes(&self, secret: &SecretRecord) -> bool {
        let among = |values: &[String], text: &str| values.is_empty() || values.iter().any(|v| v == text);
        let tagged = self.tag_keys.is_empty() && self.tag_values.is_empty()
            || secret.tags.iter().any(|t| among(&self.tag_keys, &t.key) && among(&self.tag_values, &t.value));
        !self.none
            && tagged
            && among(&self.names, secret.name.as_str())
            && among(&self.descriptions, &secret.description)
            && among(&self.instances, &secret.dkms_instance)
            && (self.kinds.is_empty() || self.kinds.contains(&secret.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, RegionId, Schedule, SecretId, SecretName, Tag, Timestamp};

    fn secret() -> SecretRecord {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        SecretRecord {
            id: SecretId::from_random(&[1; 16]),
            account: AccountId::parse("1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
            name: SecretName::parse("app/db").unwrap(),
            kind: SecretType::Generic,
            description: "of the shop".to_owned(),
            created: Timestamp::from_millis(0),
            updated: Timestamp::from_millis(0),
            planned_delete: None,
            ecs: None,
            schedule: Schedule::OFF,
            generation: 0,
            versions: Vec::new(),
            tags: vec![tag("env", "prod"), tag("team", "web")],
            encryption_key: None,
            dkms_instance: "kst-1".to_owned(),
            policy: None,
            revision: 1,
        }
    }

    #[test]
    fn every_condition_must_hold_and_one_value_of_each_is_enough() {
        let texts = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let all = SecretFilter::default();
        for (takes, filter) in [
            (true, all.clone()),
            (true, SecretFilter { names: texts(&["x", "app/db"]), ..all.clone() }),
            (false, SecretFilter { names: texts(&["app/d", "app/db/"]), ..all.clone() }),
            (true, SecretFilter { kinds: vec![SecretType::Generic], ..all.clone() }),
            (false, SecretFilter { kinds: vec![SecretType::Ecs], ..all.clone() }),
            (true, SecretFilter { descriptions: texts(&["of the shop"]), ..all.clone() }),
            (false, SecretFilter { descriptions: texts(&["of the"]), ..all.clone() }),
            (true, SecretFilter { instances: texts(&["kst-1"]), ..all.clone() }),
            (false, SecretFilter { instances: texts(&["kst-2"]), ..all.clone() }),
            (true, SecretFilter { tag_keys: texts(&["x", "team"]), ..all.clone() }),
            (true, SecretFilter { tag_values: texts(&["x", "web"]), ..all.clone() }),
            (
                true,
                SecretFilter { tag_keys: texts(&["env"]), tag_values: texts(&["x", "prod"]), ..all.clone() },
            ),
            // Both are there, and not in one tag.
            (false, SecretFilter { tag_keys: texts(&["env"]), tag_values: texts(&["web"]), ..all.clone() }),
            (false, SecretFilter { names: texts(&["app/db"]), tag_keys: texts(&["x"]), ..all.clone() }),
            (false, SecretFilter { none: true, ..all }),
        ] {
            assert_eq!(filter.takes(&secret()), takes, "{filter:?}");
        }
    }
}
