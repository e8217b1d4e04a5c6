//! `Filters` of ListKeys (kms-secrets.md section 8.1): conditions that must all
//! fit, each by one of its values.

use serde::Deserialize;

use super::super::Input;
use crate::api::ApiError;
use crate::model::Tag;
use crate::model::key::{AliasRecord, KeyRecord};

/// Conditions, and values of one, at most.
const MAX_ITEMS: usize = 10;
/// Length of a value at most.
const MAX_VALUE: usize = 256;

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    AliasName,
    Creator,
    CreatorType,
    InstanceId,
    KeyId,
    KeySpec,
    KeyState,
    KeyUsage,
    ProtectionLevel,
    TagKey,
    TagValue,
}

impl Subject {
    const ALL: [(&'static str, Self); 11] = [
        ("AliasName", Self::AliasName),
        ("Creator", Self::Creator),
        ("CreatorType", Self::CreatorType),
        ("DKMSInstanceId", Self::InstanceId),
        ("KeyId", Self::KeyId),
        ("KeySpec", Self::KeySpec),
        ("KeyState", Self::KeyState),
        ("KeyUsage", Self::KeyUsage),
        ("ProtectionLevel", Self::ProtectionLevel),
        ("TagKey", Self::TagKey),
        ("TagValue", Self::TagValue),
    ];

    /// Some clients write `keyId`.
    fn of(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, subject)| *subject)
    }
}

/// The conditions of one call.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<(Subject, Vec<String>)>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Condition {
    key: String,
    values: Vec<String>,
}

impl Filters {
    /// Reads the parameter; without it there is no condition.
    pub(super) fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        match input.optional("Filters") {
            None | Some("") => Ok(Self::default()),
            Some(text) => Self::read(text).ok_or_else(|| {
                let known = Subject::ALL.map(|(name, _)| name).join(", ");
                ApiError::invalid(format!(
                    "The parameter Filters must be a JSON array of at most 10 objects {{\"Key\":\"…\",\"Values\":[\"…\"]}} \
                     with 1 to 10 values of 1 to 256 characters; Key is one of {known}."
                ))
            }),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let conditions: Vec<Condition> = serde_json::from_str(text).ok()?;
        if conditions.len() > MAX_ITEMS {
            return None;
        }
        let read = conditions.into_iter().map(|condition| {
            let fits = |value: &String| (1..=MAX_VALUE).contains(&value.chars().count());
            let sound =
                (1..=MAX_ITEMS).contains(&condition.values.len()) && condition.values.iter().all(fits);
            Some((Subject::of(&condition.key)?, condition.values)).filter(|_| sound)
        });
        read.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether all conditions fit. Those on tags must fit by the same tag.
    pub(super) fn fit(&self, key: &KeyRecord, aliases: &[AliasRecord]) -> bool {
        let is = |values: &[String], text: &str| values.iter().any(|value| value == text);
        let of = |wanted: Subject| self.0.iter().filter(move |(subject, _)| *subject == wanted);
        let on_tags = of(Subject::TagKey).chain(of(Subject::TagValue)).next().is_some();
        let tag_fits = |tag: &Tag| {
            of(Subject::TagKey).all(|(_, values)| is(values, &tag.key))
                && of(Subject::TagValue).all(|(_, values)| is(values, &tag.value))
        };
        if on_tags && !key.tags.iter().any(tag_fits) {
            return false;
        }
        self.0.iter().all(|(subject, values)| match subject {
            Subject::AliasName => {
                aliases.iter().any(|alias| alias.key == key.id && is(values, alias.name.as_str()))
            }
            Subject::Creator => is(values, &key.creator),
            // The service makes no key that is listed.
            Subject::CreatorType => is(values, "User"),
            // There are no dedicated instances.
            Subject::InstanceId => false,
            Subject::KeyId => is(values, key.id.as_str()),
            Subject::KeySpec => is(values, key.spec.as_str()),
            Subject::KeyState => is(values, key.state.as_str()),
            Subject::KeyUsage => is(values, key.usage.as_str()),
            Subject::ProtectionLevel => is(values, key.protection.as_str()),
            Subject::TagKey | Subject::TagValue => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_conditions_is_refused() {
        let many = format!("[{}]", [r#"{"Key":"KeyId","Values":["a"]}"#; 11].join(","));
        let values = format!(r#"[{{"Key":"KeyId","Values":[{}]}}]"#, [r#""a""#; 11].join(","));
        let long = format!(r#"[{{"Key":"KeyId","Values":["{}"]}}]"#, "a".repeat(257));
        for bad in [
            "x",
            "{}",
            "[1]",
            r#"[{"Key":"KeyState"}]"#,
            r#"[{"Key":"KeyState","Values":[]}]"#,
            r#"[{"Key":"KeyState","Values":[""]}]"#,
            r#"[{"Key":"KeyState","Values":"Enabled"}]"#,
            r#"[{"Key":"Colour","Values":["red"]}]"#,
            &many,
            &values,
            &long,
        ] {
            assert!(Filters::read(bad).is_none(), "{bad}");
        }
        assert_eq!(Filters::read("[]").unwrap().0, []);
        assert_eq!(Filters::read(r#"[{"Key":"keyId","Values":["a"]}]"#).unwrap().0.len(), 1);
    }
}
