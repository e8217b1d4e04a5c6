//! TagResources and UntagResources: the tags of up to fifty resources at once.

use super::{Changed, Resource, ResourceType, are_sound, is_key, numbered, numbered_tags};
use super::{region, resources, tag, untag};
use crate::api::ApiError;
use crate::api::actions::{Action, Asking, Done, Input, Item, Question, Services, Spec, spec};
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{MAX_TAGS, RequestId, Tag, Untag};

/// `RegionId`, `ResourceType` and `ResourceId.N`, at least one of these.
fn meant(input: &Input<'_>) -> Result<Vec<Resource>, ApiError> {
    region(input)?;
    let all = resources(input, ResourceType::read(input)?)?;
    if all.is_empty() { Err(ApiError::missing("ResourceId.1")) } else { Ok(all) }
}

/// Gives resources tags.
#[derive(Debug)]
pub(in crate::api::actions) struct TagResources {
    resources: Vec<Resource>,
    tags: Vec<Tag>,
}

impl Action for TagResources {
    const SPEC: Spec = spec!(Kms, "TagResources");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let sent = numbered_tags(input)?;
        let tags = sent.into_iter().map(|(key, value)| Tag { key, value: value.unwrap_or_default() });
        let tags: Vec<Tag> = tags.collect();
        if tags.is_empty() {
            return Err(ApiError::missing("Tag.1.Key"));
        }
        if !are_sound(&tags) {
            return Err(ApiError::invalid(
                "The parameters Tag.N.Key and Tag.N.Value must be different keys and their values, up to 128 of letters, \
                 digits and / \\ _ - . + = : @; keys do not begin with aliyun or acs:.",
            ));
        }
        Ok(Self { resources: meant(input)?, tags })
    }

    fn questions(&self, _asking: &Asking<'_>) -> Vec<Question> {
        Vec::new()
    }

    fn parts(&self, asking: &Asking<'_>) -> Vec<Item> {
        self.resources.iter().map(|resource| resource.part(asking, Self::SPEC.right)).collect()
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
        tag(services, access, &self.resources, &self.tags).await?;
        Ok(Done::answer(Answer::json(&Changed { request_id }, &[])?))
    }
}

/// Takes tags off resources.
#[derive(Debug)]
pub(in crate::api::actions) struct UntagResources {
    resources: Vec<Resource>,
    which: Untag,
}

impl Action for UntagResources {
    const SPEC: Spec = spec!(Kms, "UntagResources");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let keys: Vec<String> =
            numbered(input, "TagKey", None, MAX_TAGS)?.into_values().map(str::to_owned).collect();
        if !keys.iter().all(|key| is_key(key)) {
            return Err(ApiError::invalid("The parameter TagKey.N must be a key that a tag can have."));
        }
        let all = input.boolean("All")?.unwrap_or(false);
        let which = match (keys.is_empty(), all) {
            (false, _) => Untag::Keys(keys),
            (true, true) => Untag::All,
            (true, false) => return Err(ApiError::missing("TagKey.1")),
        };
        Ok(Self { resources: meant(input)?, which })
    }

    fn questions(&self, _asking: &Asking<'_>) -> Vec<Question> {
        Vec::new()
    }

    fn parts(&self, asking: &Asking<'_>) -> Vec<Item> {
        self.resources.iter().map(|resource| resource.part(asking, Self::SPEC.right)).collect()
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
        untag(services, access, &self.resources, &self.which).await?;
        Ok(Done::answer(Answer::json(&Changed { request_id }, &[])?))
    }
}
