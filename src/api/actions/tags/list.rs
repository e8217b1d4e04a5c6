//! ListTagResources: the tags of many resources, in pages.
//!
//! Without `ResourceId.N` the right is asked on the container, and resources on
//! which it is denied are left out. The pages go by the id of the resource and
//! the place of the tag; `NextToken` says behind which row the next one begins.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use super::{Resource, ResourceType, numbered_tags, region, resources};
use crate::api::ApiError;
use crate::api::actions::{Action, Asking, Done, Input, Item, Question, Services, Spec, spec};
use crate::api::gate::Circumstances;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::key::KeyRecord;
use crate::model::{Arn, KeyId, RequestId, SecretName, SecretRecord, Tag};
use crate::vault::Label;

/// Rows of a page.
const PAGE_ROWS: usize = 200;
/// With what every token begins, before it is encoded.
const TOKEN: &str = "1:";

/// Where a page begins: behind so many tags of that resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    id: String,
    tags: usize,
}

impl Place {
    /// `NextToken` as an answer gave it.
    fn read(text: &str, kind: ResourceType) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (tags, id) =
            text.strip_prefix(TOKEN)?.strip_prefix(kind.as_str())?.strip_prefix(':')?.split_once(':')?;
        let is_id = match kind {
            ResourceType::Key => KeyId::parse(id).is_ok(),
            ResourceType::Secret => SecretName::parse(id).is_ok(),
        };
        let plain = (1..=3).contains(&tags.len()) && tags.bytes().all(|b| b.is_ascii_digit());
        (is_id && plain).then(|| Some(Self { id: id.to_owned(), tags: tags.parse().ok()? }))?
    }

    fn token(&self, kind: ResourceType) -> String {
        BASE64URL_NOPAD.encode(format!("{TOKEN}{}:{}:{}", kind.as_str(), self.tags, self.id).as_bytes())
    }
}

/// Lists the tags of resources.
#[derive(Debug)]
pub(in crate::api::actions) struct ListTagResources {
    kind: ResourceType,
    resources: Vec<Resource>,
    labels: Vec<Label>,
    from: Place,
    circumstances: Option<Circumstances>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    next_token: String,
    tag_resources: Rows,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rows {
    tag_resource: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    resource_id: String,
    resource_type: &'static str,
    tag_key: String,
    tag_value: String,
}

/// A page that is being filled.
struct Page {
    kind: ResourceType,
    from: Place,
    rows: Vec<Row>,
    /// The place behind the last row.
    last: Place,
}

impl Page {
    /// Takes in the tags of a resource; gives whether the page is full before
    /// all of them are on it.
    fn add(&mut self, id: &str, tags: &[Tag]) -> bool {
        let seen = if self.from.id == id { self.from.tags } else { 0 };
        for (at, tag) in tags.iter().enumerate().skip(seen) {
            if self.rows.len() >= PAGE_ROWS {
                return true;
            }
            self.rows.push(Row {
                resource_id: id.to_owned(),
                resource_type: self.kind.as_str(),
                tag_key: tag.key.clone(),
                tag_value: tag.value.clone(),
            });
            self.last = Place { id: id.to_owned(), tags: at + 1 };
        }
        false
    }
}

impl Action for ListTagResources {
    const SPEC: Spec = spec!(Kms, "ListTagResources");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        region(input)?;
        let kind = ResourceType::read(input)?;
        let labels = numbered_tags(input)?;
        let labels = labels.into_iter().map(|(key, value)| Label { key, value }).collect();
        let from = match input.optional("NextToken").filter(|token| !token.is_empty()) {
            None => Place::default(),
            Some(token) => Place::read(token, kind).ok_or_else(|| {
                ApiError::invalid("The parameter NextToken must be one that an answer gave.")
            })?,
        };
        let mut resources = resources(input, kind)?;
        resources.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        Ok(Self { kind, resources, labels, from, circumstances: None })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = match self.kind {
            ResourceType::Key => Arn::key_container(&asking.scope.region, &asking.scope.account),
            ResourceType::Secret => asking.container(),
        };
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn parts(&self, asking: &Asking<'_>) -> Vec<Item> {
        self.resources.iter().map(|resource| resource.part(asking, Self::SPEC.right)).collect()
    }

    fn meet(&mut self, circumstances: Circumstances) {
        self.circumstances = Some(circumstances);
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let kind = self.kind;
        let mut page = Page { kind, from: self.from.clone(), rows: Vec::new(), last: self.from.clone() };
        let is_full = if !self.resources.is_empty() {
            self.named(services, &mut page).await?
        } else if kind == ResourceType::Secret {
            self.secrets(services, caller, &mut page).await?
        } else {
            self.keys(services, caller, &mut page)?
        };
        let next_token = if is_full { page.last.token(kind) } else { String::new() };
        let rows = page.rows.len();
        let body = Body { request_id, next_token, tag_resources: Rows { tag_resource: page.rows } };
        Ok(Done::answer(Answer::list(&body, rows, &[])?))
    }
}

impl Resource {
    fn id(&self) -> &str {
        match self {
            Self::Key(id) => id.as_str(),
            Self::Secret(name) => name.as_str(),
        }
    }
}

impl ListTagResources {
    /// The resources that the call names.
    async fn named(&self, services: &Services, page: &mut Page) -> Result<bool, ApiError> {
        for resource in &self.resources {
            let tags = resource.tags(services).await?;
            let is_past = resource.id() < page.from.id.as_str();
            let is_meant = self.labels.iter().all(|label| label.is_in(&tags));
            if !is_past && is_meant && page.add(resource.id(), &tags) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All secrets that have tags.
    async fn secrets(&self, services: &Services, caller: &Caller, page: &mut Page) -> Result<bool, ApiError> {
        let vault = &services.vault;
        let circumstances = self.circumstances.as_ref().ok_or_else(ApiError::internal)?;
        let mut is_full = |record: &SecretRecord| {
            let resource = Arn::secret(vault.region(), vault.account(), &record.name);
            let question = Question { action: Self::SPEC.right, resource };
            let policy = vault.policy_of(record);
            !circumstances.hide(caller, &question, &record.tags, policy.as_deref())
                && page.add(record.name.as_str(), &record.tags)
        };
        // The rest of the one that the last page ended with.
        if let Ok(name) = SecretName::parse(&self.from.id)
            && let Ok(entry) = vault.find(&name).await
            && self.labels.iter().all(|label| label.is_in(&entry.record.tags))
            && is_full(&entry.record)
        {
            return Ok(true);
        }
        let mut after = self.from.id.clone();
        loop {
            let (records, more) = vault.tagged(&after, &self.labels).await?;
            if records.iter().any(&mut is_full) {
                return Ok(true);
            }
            match more {
                Some(name) => after = name,
                None => return Ok(false),
            }
        }
    }

    /// All keys that have tags.
    fn keys(&self, services: &Services, caller: &Caller, page: &mut Page) -> Result<bool, ApiError> {
        let circumstances = self.circumstances.as_ref().ok_or_else(ApiError::internal)?;
        let mut all: Vec<Arc<KeyRecord>> = services.keys.list();
        all.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        for key in all {
            let is_past = key.id.as_str() < page.from.id.as_str();
            if is_past || !self.labels.iter().all(|label| label.is_in(&key.tags)) {
                continue;
            }
            let resource = Arn::key(services.keys.region(), services.keys.account(), &key.id);
            let question = Question { action: Self::SPEC.right, resource };
            if !circumstances.hide(caller, &question, &key.tags, None) && page.add(key.id.as_str(), &key.tags)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_its_place_and_no_other_text_does() {
        let place = Place { id: "a/b.c".to_owned(), tags: 17 };
        let token = place.token(ResourceType::Secret);
        assert_eq!(Place::read(&token, ResourceType::Secret), Some(place.clone()));
        assert_eq!(Place::read(&token, ResourceType::Key), None);
        let wrong = |text: &str| Place::read(&BASE64URL_NOPAD.encode(text.as_bytes()), ResourceType::Secret);
        for text in [
            "",
            "1:",
            "1:secret:",
            "1:secret:1:",
            "1:secret:x:a",
            "1:secret:-1:a",
            "2:secret:1:a",
            "1:secret:1:a b",
        ] {
            assert_eq!(wrong(text), None, "{text}");
        }
        assert_eq!(Place::read("*", ResourceType::Secret), None);
    }
}
