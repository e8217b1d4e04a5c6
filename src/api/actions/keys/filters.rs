//! `Filters` of ListKeys (kms-secrets.md section 8.1): conditions that must all
//! fit, each by one of its values.

use super::super::Input;
use super::super::filters::conditions;
use crate::api::ApiError;
use crate::model::Tag;
use crate::model::key::{AliasRecord, KeyRecord};

/// Length of a value at most.
const LONGEST: usize = 256;

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
    /// Some clients write `keyId`.
    const ALL: [(&'static str, Self); 12] = [
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
        ("keyId", Self::KeyId),
    ];
}

/// The conditions of one call, each subject once.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<(Subject, Vec<String>)>);

impl Filters {
    /// Reads the parameter; without it there is no condition. The values of two
    /// conditions on the same thing are values of one.
    pub(super) fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let mut read: Vec<(Subject, Vec<String>)> = Vec::new();
        for condition in conditions(input, &Subject::ALL.map(|(name, _)| (name, LONGEST)))? {
            let subject = Subject::ALL.iter().find(|(name, _)| *name == condition.key);
            let (_, subject) = subject.ok_or_else(ApiError::internal)?;
            match read.iter_mut().find(|(known, _)| known == subject) {
                Some((_, values)) => values.extend(condition.values),
                None => read.push((*subject, condition.values)),
            }
        }
        Ok(Self(read))
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
