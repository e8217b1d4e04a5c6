//! Tags of secrets and keys (kms-secrets.md section 7), and how calls write them.
//!
//! A call about several resources asks for the right on each of them, by its own
//! tags; it changes all of them in one transaction, or none.

mod list;
mod many;
mod one;

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) use list::ListTagResources;
pub(super) use many::{TagResources, UntagResources};
pub(super) use one::{ListResourceTags, TagResource, UntagResource};

use super::{Asking, Input, Item, Question, Services};
use crate::api::ApiError;
use crate::audit::Access;
use crate::keys::KeyError;
use crate::model::key::KeyName;
use crate::model::{Arn, KeyId, MAX_TAGS, RequestId, SecretName, Tag, Untag};
use crate::vault::VaultError;

/// Resources of one call at most.
const MAX_RESOURCES: usize = 50;
/// Letters of a key and of a value at most.
const MAX_LETTERS: usize = 128;

/// The answer of an action that changes tags.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Changed<'a> {
    request_id: &'a RequestId,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OneTag {
    tag_key: String,
    tag_value: String,
}

/// `Tags`: a JSON array of objects with `TagKey` and `TagValue`.
pub(super) fn tags(input: &Input<'_>) -> Result<Vec<Tag>, ApiError> {
    let Some(text) = input.optional("Tags").filter(|t| !t.is_empty()) else { return Ok(Vec::new()) };
    let rule = "The parameter Tags must be a JSON array of at most 20 objects {\"TagKey\":\"…\",\"TagValue\":\"…\"}; \
                keys and values have up to 128 of letters, digits and / \\ _ - . + = : @, keys do not begin with aliyun or acs:.";
    let read: Vec<OneTag> = serde_json::from_str(text).ok().ok_or_else(|| ApiError::invalid(rule))?;
    let tags: Vec<Tag> = read.into_iter().map(|t| Tag { key: t.tag_key, value: t.tag_value }).collect();
    if are_sound(&tags) { Ok(tags) } else { Err(ApiError::invalid(rule)) }
}

/// Whether these tags can be given to something that has none.
fn are_sound(tags: &[Tag]) -> bool {
    let mut keys: Vec<&str> = tags.iter().map(|tag| tag.key.as_str()).collect();
    keys.sort_unstable();
    let doubled = keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
    let is_sound = |tag: &Tag| is_key(&tag.key) && is_text(&tag.value);
    tags.len() <= MAX_TAGS && !doubled && tags.iter().all(is_sound)
}

/// Letters, digits and signs, as keys and values of tags may have them.
fn is_text(text: &str) -> bool {
    text.chars().count() <= MAX_LETTERS
        && text.chars().all(|c| c.is_alphanumeric() || "/\\_-.+=:@".contains(c))
}

/// Whether a tag may have that key.
fn is_key(key: &str) -> bool {
    !key.is_empty() && is_text(key) && !key.starts_with("aliyun") && !key.starts_with("acs:")
}

/// The numbered parameters `NAME.N` or `NAME.N.MEMBER`, in the order of their
/// numbers.
fn numbered<'a>(
    input: &Input<'a>,
    name: &str,
    member: Option<&str>,
    max: usize,
) -> Result<BTreeMap<usize, &'a str>, ApiError> {
    let mut found = BTreeMap::new();
    for (sent, value) in input.parameters.iter() {
        let Some(rest) = sent.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let number = match member {
            None => Some(rest),
            Some(member) => rest.strip_suffix(member).and_then(|rest| rest.strip_suffix('.')),
        };
        let plain = number.filter(|n| !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = plain else { continue };
        let number: Option<usize> = number.parse().ok().filter(|number| (1..=max).contains(number));
        let number = number.ok_or_else(|| {
            let member = member.map_or_else(String::new, |member| format!(".{member}"));
            ApiError::invalid(format!("The parameter {name}.N{member} must be numbered from 1 to {max}."))
        })?;
        found.insert(number, value);
    }
    Ok(found)
}

/// `Tag.N.Key` and `Tag.N.Value`, for what is asked of them.
fn numbered_tags(input: &Input<'_>) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let keys = numbered(input, "Tag", Some("Key"), MAX_TAGS)?;
    let values = numbered(input, "Tag", Some("Value"), MAX_TAGS)?;
    if let Some(number) = values.keys().find(|number| !keys.contains_key(number)) {
        return Err(ApiError::missing(&format!("Tag.{number}.Key")));
    }
    let pair = |(number, key): (&usize, &&str)| {
        ((*key).to_owned(), values.get(number).map(|value| (*value).to_owned()))
    };
    Ok(keys.iter().map(pair).collect())
}

/// A secret or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Resource {
    Key(KeyId),
    Secret(SecretName),
}

/// `ResourceType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResourceType {
    Key,
    Secret,
}

impl ResourceType {
    fn read(input: &Input<'_>) -> Result<Self, ApiError> {
        match input.required("ResourceType")? {
            "key" => Ok(Self::Key),
            "secret" => Ok(Self::Secret),
            _ => Err(ApiError::invalid("The parameter ResourceType must be key or secret.")),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Secret => "secret",
        }
    }

    /// A resource of this type by id, name or ARN.
    fn resource(self, text: &str, parameter: &str, input: &Input<'_>) -> Result<Resource, ApiError> {
        let missing = || match self {
            Self::Key => ApiError::key_not_found(),
            Self::Secret => ApiError::not_found(),
        };
        let (region, account) = (&input.scope.region, &input.scope.account);
        let id = if text.starts_with("acs:") {
            let prefix = format!("acs:kms:{region}:{account}:{}/", self.as_str());
            text.strip_prefix(&prefix).ok_or_else(missing)?
        } else {
            text
        };
        let invalid = |error: &dyn std::fmt::Display| {
            ApiError::invalid(format!("The parameter {parameter} is not valid: {error}."))
        };
        match self {
            Self::Secret => SecretName::parse(id).map(Resource::Secret).map_err(|e| invalid(&e)),
            Self::Key if id.starts_with("alias/") => Err(ApiError::new(
                "Unsupported.Alias",
                400,
                format!("The parameter {parameter} must be the id or ARN of a key."),
            )),
            Self::Key => match KeyId::parse(id) {
                Ok(id) => Ok(Resource::Key(id)),
                // It may be that of a key elsewhere.
                Err(_) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
                    Err(missing())
                }
                Err(error) => Err(invalid(&error)),
            },
        }
    }
}

/// `ResourceId.N`, each resource once.
fn resources(input: &Input<'_>, kind: ResourceType) -> Result<Vec<Resource>, ApiError> {
    let mut all = Vec::new();
    for (number, text) in numbered(input, "ResourceId", None, MAX_RESOURCES)? {
        let resource = kind.resource(text, &format!("ResourceId.{number}"), input)?;
        if !all.contains(&resource) {
            all.push(resource);
        }
    }
    Ok(all)
}

/// `RegionId`, which says where the resources are: nowhere else but here.
fn region(input: &Input<'_>) -> Result<(), ApiError> {
    if input.required("RegionId")? == input.scope.region.as_str() {
        Ok(())
    } else {
        Err(ApiError::invalid(format!(
            "The parameter RegionId must be {}: the resources of other regions are not here.",
            input.scope.region
        )))
    }
}

impl Resource {
    /// The one resource that `KeyId` or `SecretName` names.
    fn read(input: &Input<'_>) -> Result<Self, ApiError> {
        let key = input.optional("KeyId");
        let secret = input.optional("SecretName");
        let certificate = input.optional("CertificateId");
        match (key, secret, certificate) {
            (Some(key), None, None) => ResourceType::Key.resource(key, "KeyId", input),
            (None, Some(_), None) => input.secret_name().map(Self::Secret),
            (None, None, Some(_)) => {
                Err(ApiError::unsupported("There are no certificates here: name a key or a secret."))
            }
            (None, None, None) => Err(ApiError::missing("KeyId, or SecretName,")),
            _ => Err(ApiError::invalid("Only one of KeyId, SecretName and CertificateId can be sent.")),
        }
    }

    fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Secret(name) => Some(name),
            Self::Key(_) => None,
        }
    }

    fn question(&self, asking: &Asking<'_>, right: &'static str) -> Question {
        let resource = match self {
            Self::Key(id) => Arn::key(&asking.scope.region, &asking.scope.account, id),
            Self::Secret(name) => asking.secret(name),
        };
        Question { action: right, resource }
    }

    fn part(&self, asking: &Asking<'_>, right: &'static str) -> Item {
        Item { secret: self.secret().cloned(), questions: vec![self.question(asking, right)] }
    }

    /// The tags that it has.
    async fn tags(&self, services: &Services) -> Result<Vec<Tag>, ApiError> {
        Ok(match self {
            Self::Key(id) => services.keys.find(&KeyName::Id(id.clone())).map_err(key_error)?.tags.clone(),
            Self::Secret(name) => services.vault.find(name).await?.record.tags.clone(),
        })
    }
}

/// Resources by their types.
fn apart(all: &[Resource]) -> (Vec<SecretName>, Vec<KeyId>) {
    let secrets = all.iter().filter_map(|resource| resource.secret().cloned()).collect();
    let keys = all.iter().filter_map(|resource| match resource {
        Resource::Key(id) => Some(id.clone()),
        Resource::Secret(_) => None,
    });
    (secrets, keys.collect())
}

/// Gives all of them the tags, or none of them anything; they are of one type.
async fn tag(services: &Services, access: &Access, all: &[Resource], tags: &[Tag]) -> Result<(), ApiError> {
    let (secrets, keys) = apart(all);
    if keys.is_empty() {
        return Ok(services.vault.tag(access, &secrets, tags).await?);
    }
    services.keys.tag(access, &keys, tags).await.map_err(key_error)
}

/// Takes tags off all of them, or off none; they are of one type.
async fn untag(
    services: &Services,
    access: &Access,
    all: &[Resource],
    which: &Untag,
) -> Result<(), ApiError> {
    let (secrets, keys) = apart(all);
    if keys.is_empty() {
        return Ok(services.vault.untag(access, &secrets, which).await?);
    }
    let names = match which {
        Untag::All => None,
        Untag::Keys(names) => Some(names.as_slice()),
    };
    services.keys.untag(access, &keys, names).await.map_err(key_error)
}

/// Too many tags are told alike of keys and secrets.
fn key_error(error: KeyError) -> ApiError {
    if matches!(error, KeyError::Limit(_)) { VaultError::TooManyTags.into() } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn tags_have_the_letters_lengths_and_number_that_they_may_have() {
        let long = "ä".repeat(MAX_LETTERS);
        for good in [tag("a", ""), tag("名/\\_-.+=:@", "x"), tag(&long, &long)] {
            assert!(are_sound(std::slice::from_ref(&good)), "{good:?}");
        }
        for bad in [tag("", "x"), tag("a b", "x"), tag("a", "*"), tag("acs:a", "x"), tag("aliyun", "x")] {
            assert!(!are_sound(std::slice::from_ref(&bad)), "{bad:?}");
        }
        assert!(!are_sound(&[tag(&format!("{long}a"), "")]));
        assert!(!are_sound(&[tag("a", "1"), tag("b", "1"), tag("a", "2")]));
        let many: Vec<Tag> = (0..=MAX_TAGS).map(|n| tag(&n.to_string(), "")).collect();
        assert!(!are_sound(&many) && are_sound(many.get(1..).unwrap()));
    }
}
