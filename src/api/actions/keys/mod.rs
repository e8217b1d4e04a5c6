//! The actions on keys and their aliases, and those that clients call at their
//! start (kms-secrets.md section 8).
//!
//! A key is named by its id, by an alias or by the ARN of either. What a name
//! means is looked up once, before any right is asked: the deed is done to the
//! key on which the right was decided, whatever becomes of the alias meanwhile.

mod account;
mod aliases;
mod create;
mod crypto;
mod describe;
mod filters;
mod list;
mod list_aliases;
mod settings;
mod state;
mod versions;

use serde::Serialize;

pub(super) use account::{DescribeAccountKmsStatus, DescribeRegions, ListKmsInstances};
pub(super) use aliases::{CreateAlias, DeleteAlias, UpdateAlias};
pub(super) use create::CreateKey;
pub(super) use crypto::{Decrypt, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext};
pub(super) use describe::DescribeKey;
pub(super) use list::ListKeys;
pub(super) use list_aliases::{ListAliases, ListAliasesByKeyId};
pub(super) use settings::{SetDeletionProtection, UpdateKeyDescription, UpdateRotationPolicy};
pub(super) use state::{CancelKeyDeletion, DisableKey, EnableKey, ScheduleKeyDeletion};
pub(super) use versions::{CreateKeyVersion, DescribeKeyVersion, ListKeyVersions};

use super::input::Page;
use super::{Asking, Done, Input, Question, Scope};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::keys::{KeyError, Keys};
use crate::model::key::KeyName;
use crate::model::{AliasName, Arn, KeyId, RequestId, RotationInterval};

/// A key as a call names it, and the key that this name means.
#[derive(Debug)]
pub(super) struct Named {
    name: KeyName,
    id: Option<KeyId>,
}

impl Named {
    const fn of(name: KeyName) -> Self {
        Self { name, id: None }
    }

    /// `KeyId`: an id, an alias, or the ARN of either.
    fn any(input: &Input<'_>) -> Result<Self, ApiError> {
        named(input.required("KeyId")?, "KeyId", input.scope).map(Self::of)
    }

    /// `EncryptionKeyId`, where one is given.
    pub(super) fn encryption_key(input: &Input<'_>) -> Result<Option<Self>, ApiError> {
        let text = input.optional("EncryptionKeyId").filter(|text| !text.is_empty());
        text.map(|text| named(text, "EncryptionKeyId", input.scope).map(Self::of)).transpose()
    }

    /// `KeyId` of an action that changes a key: an id, or the ARN of a key.
    fn managed(input: &Input<'_>) -> Result<Self, ApiError> {
        Self::managed_in(input.required("KeyId")?, "KeyId", input.scope)
    }

    /// As [`managed`](Self::managed), from the parameter `parameter`.
    fn managed_in(text: &str, parameter: &str, scope: &Scope) -> Result<Self, ApiError> {
        match named(text, parameter, scope)? {
            name @ KeyName::Id(_) => Ok(Self::of(name)),
            KeyName::Alias(_) => Err(ApiError::new(
                "Unsupported.Alias",
                400,
                format!(
                    "The parameter {parameter} must be the id or ARN of a key: DescribeKey gives the id that an alias stands for."
                ),
            )),
        }
    }

    /// Looks up which key the name means.
    pub(super) fn resolve(&mut self, keys: &Keys) {
        self.id = match &self.name {
            KeyName::Alias(_) => keys.find(&self.name).map(|key| key.id.clone()).ok(),
            KeyName::Id(id) => Some(id.clone()),
        };
    }

    /// What must be allowed: `right` on the key. What an alias that there is
    /// not stands for nobody can say, so the alias itself is asked about.
    pub(super) fn question(&self, asking: &Asking<'_>, right: &'static str) -> Question {
        let (region, account) = (&asking.scope.region, &asking.scope.account);
        let resource = match (&self.id, &self.name) {
            (Some(id), _) | (None, KeyName::Id(id)) => Arn::key(region, account, id),
            (None, KeyName::Alias(name)) => Arn::alias(region, account, name),
        };
        Question { action: right, resource }
    }

    /// The key.
    pub(super) fn id(&self) -> Result<&KeyId, ApiError> {
        match (&self.id, &self.name) {
            (Some(id), _) | (None, KeyName::Id(id)) => Ok(id),
            (None, KeyName::Alias(_)) => Err(KeyError::AliasNotFound.into()),
        }
    }
}

/// Letters, digits and `-`: so are ids of keys made, of this service or another.
fn is_like_an_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A key's name out of a parameter.
///
/// # Errors
///
/// `InvalidParameter`; `Forbidden.KeyNotFound` for what may be the id or ARN of
/// a key, but of none that this service could have made.
fn named(text: &str, parameter: &str, scope: &Scope) -> Result<KeyName, ApiError> {
    let text = if text.starts_with("acs:") {
        let prefix = format!("acs:kms:{}:{}:", scope.region, scope.account);
        let relative = text.strip_prefix(&prefix).ok_or_else(ApiError::key_not_found)?;
        match relative.strip_prefix("key/") {
            Some(id) => id,
            None if relative.starts_with("alias/") => relative,
            None => return Err(ApiError::key_not_found()),
        }
    } else {
        text
    };
    match KeyName::parse(text) {
        Ok(name) => Ok(name),
        Err(_) if !text.is_empty() && is_like_an_id(text) => Err(ApiError::key_not_found()),
        Err(error) => Err(ApiError::invalid(format!("The parameter {parameter} is not valid: {error}."))),
    }
}

/// `AliasName`.
fn alias_name(input: &Input<'_>) -> Result<AliasName, ApiError> {
    input.parsed("AliasName", AliasName::parse)
}

/// Shortest rotation interval of a key (kms-secrets.md section 8.1): a week.
const MIN_INTERVAL_SECONDS: u32 = 7 * 86_400;

/// `RotationInterval` of a key, needed where `EnableAutomaticRotation` is true.
fn rotation_interval(input: &Input<'_>, rotates: bool) -> Result<Option<RotationInterval>, ApiError> {
    let Some(text) = input.optional("RotationInterval") else {
        return if rotates { Err(ApiError::missing("RotationInterval")) } else { Ok(None) };
    };
    let invalid = |rule: &dyn std::fmt::Display| {
        ApiError::invalid(format!("The parameter RotationInterval is not valid: {rule}."))
    };
    let interval = RotationInterval::parse(text).map_err(|error| invalid(&error))?;
    if interval.seconds() < MIN_INTERVAL_SECONDS {
        return Err(invalid(&"that of a key lies between 7d (604800s) and 365d (31536000s)"));
    }
    Ok(Some(interval).filter(|_| rotates))
}

/// An answer that says nothing but that it is done.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Plain<'a> {
    request_id: &'a RequestId,
}

/// The answer of actions that only do.
fn done(request_id: &RequestId) -> Result<Done, ApiError> {
    Ok(Done::answer(Answer::json(&Plain { request_id }, &[])?))
}

/// Where a list stands in its pages.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Paging {
    page_number: u32,
    page_size: u32,
    total_count: usize,
}

/// One page of all items, and where it stands.
fn cut<T>(items: Vec<T>, page: Page) -> (Vec<T>, Paging) {
    let paging = Paging { page_number: page.number, page_size: page.size, total_count: items.len() };
    let before = usize::try_from(page.offset()).unwrap_or(usize::MAX);
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    (items.into_iter().skip(before).take(size).collect(), paging)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, RegionId};

    const ID: &str = "01234567-89ab-4cde-8f01-23456789abcd";

    fn read(text: &str) -> Result<String, String> {
        let scope = Scope {
            account: AccountId::parse("1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
        };
        named(text, "KeyId", &scope).map(|name| name.to_string()).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn a_key_is_named_by_id_alias_or_arn() {
        for (text, name) in [
            (ID.to_owned(), ID),
            (format!("acs:kms:cn-hangzhou:1:key/{ID}"), ID),
            ("alias/a/b".to_owned(), "alias/a/b"),
            ("acs:kms:cn-hangzhou:1:alias/a".to_owned(), "alias/a"),
        ] {
            assert_eq!(read(&text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_could_be_a_key_of_elsewhere_is_not_found_and_the_rest_is_no_key() {
        for text in [
            "key-hzz62f1cb66fa42qo1jyx",
            "0123",
            "acs:kms:cn-beijing:1:key/01234567-89ab-4cde-8f01-23456789abcd",
            "acs:kms:cn-hangzhou:2:key/01234567-89ab-4cde-8f01-23456789abcd",
            "acs:kms:cn-hangzhou:1:secret/a",
        ] {
            assert_eq!(read(text).unwrap_err(), "Forbidden.KeyNotFound", "{text}");
        }
        for text in ["", "a b", "key/a", "alias/", "alias/acs/kms", "acs:kms:cn-hangzhou:1:key/", "\u{0}"] {
            assert_eq!(read(text).unwrap_err(), "InvalidParameter", "{text:?}");
        }
    }

    #[test]
    fn a_page_beyond_the_end_is_empty_and_says_how_many_there_are() {
        let page = |number, size| {
            let (items, paging) = cut(vec![1, 2, 3], Page { number, size });
            (items, paging.total_count)
        };
        assert_eq!(page(1, 2), (vec![1, 2], 3));
        assert_eq!(page(2, 2), (vec![3], 3));
        assert_eq!(page(3, 2), (vec![], 3));
        assert_eq!(page(999_999_999, 100), (vec![], 3));
        assert_eq!(page(1, 0), (vec![], 3));
    }
}
