//! TagResource, UntagResource and ListResourceTags: the tags of one resource.

use serde::Serialize;

use super::{Changed, Resource, is_key, tag, tags, untag};
use crate::api::ApiError;
use crate::api::actions::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{MAX_TAGS, RequestId, SecretName, Tag, Untag};

/// Gives a resource tags.
#[derive(Debug)]
pub(in crate::api::actions) struct TagResource {
    resource: Resource,
    tags: Vec<Tag>,
}

impl Action for TagResource {
    const SPEC: Spec = spec!(Kms, "TagResource");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        input.required("Tags")?;
        let tags = tags(input)?;
        if tags.is_empty() {
            return Err(ApiError::invalid("The parameter Tags must have at least one tag."));
        }
        Ok(Self { resource: Resource::read(input)?, tags })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.resource.question(asking, Self::SPEC.right)]
    }

    fn secret(&self) -> Option<&SecretName> {
        self.resource.secret()
    }

    fn request_tags(&self) -> &[Tag] {
        &self.tags
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        tag(services, access, &[self.resource], &self.tags).await?;
        Ok(Done::answer(Answer::json(&Changed { request_id }, &[])?))
    }
}

/// Takes tags off a resource.
#[derive(Debug)]
pub(in crate::api::actions) struct UntagResource {
    resource: Resource,
    which: Untag,
}

/// `TagKeys`: separated by commas, or a JSON array.
fn tag_keys(input: &Input<'_>) -> Result<Untag, ApiError> {
    let text = input.required("TagKeys")?;
    let keys: Option<Vec<String>> = if text.starts_with('[') {
        serde_json::from_str(text).ok()
    } else {
        Some(text.split(',').map(|key| key.trim().to_owned()).collect())
    };
    let keys = keys.filter(|keys| (1..=MAX_TAGS).contains(&keys.len()) && keys.iter().all(|key| is_key(key)));
    keys.map(Untag::Keys).ok_or_else(|| {
        ApiError::invalid(
            "The parameter TagKeys must be 1 to 20 keys of tags, separated by commas or as a JSON array.",
        )
    })
}

impl Action for UntagResource {
    const SPEC: Spec = spec!(Kms, "UntagResource");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { which: tag_keys(input)?, resource: Resource::read(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.resource.question(asking, Self::SPEC.right)]
    }

    fn secret(&self) -> Option<&SecretName> {
        self.resource.secret()
    }

    fn untags(&self) -> Option<&Untag> {
        Some(&self.which)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        untag(services, access, &[self.resource], &self.which).await?;
        Ok(Done::answer(Answer::json(&Changed { request_id }, &[])?))
    }
}

/// Lists the tags of a resource.
#[derive(Debug)]
pub(in crate::api::actions) struct ListResourceTags {
    resource: Resource,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    tags: Tags<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tags<'a> {
    tag: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    key_id: &'a str,
    tag_key: &'a str,
    tag_value: &'a str,
}

impl Action for ListResourceTags {
    const SPEC: Spec = spec!(Kms, "ListResourceTags");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { resource: Resource::read(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.resource.question(asking, Self::SPEC.right)]
    }

    fn secret(&self) -> Option<&SecretName> {
        self.resource.secret()
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let key_id = match &self.resource {
            Resource::Key(id) => id.as_str(),
            Resource::Secret(name) => name.as_str(),
        };
        let tags = self.resource.tags(services).await?;
        let tag = tags.iter().map(|tag| One { key_id, tag_key: &tag.key, tag_value: &tag.value }).collect();
        Ok(Done::answer(Answer::list(&Body { request_id, tags: Tags { tag } }, tags.len(), &[])?))
    }
}
