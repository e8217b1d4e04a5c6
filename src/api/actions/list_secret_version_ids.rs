//! ListSecretVersionIds (kms-secrets.md section 5.7).

use serde::Serialize;

use super::get_secret_value::Stages;
use super::input::Page;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, VersionId, VersionMeta};

/// The versions of a secret, newest first, without values.
#[derive(Debug)]
pub(super) struct ListSecretVersionIds {
    name: SecretName,
    include_deprecated: bool,
    page: Page,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    page_number: u32,
    page_size: u32,
    total_count: usize,
    version_ids: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    version_id: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    version_id: &'a VersionId,
    create_time: String,
    version_stages: Stages<'a>,
}

impl Action for ListSecretVersionIds {
    const SPEC: Spec = spec!(Kms, "ListSecretVersionIds");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: input.secret_name()?,
            include_deprecated: input.boolean("IncludeDeprecated")?.unwrap_or(false),
            page: input.page()?,
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = asking.secret(&self.name);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn secret(&self) -> Option<&SecretName> {
        Some(&self.name)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let entry = services.vault.find(&self.name).await?;
        let shown: Vec<&VersionMeta> = entry
            .record
            .versions
            .iter()
            .rev()
            .filter(|v| self.include_deprecated || !v.stages.is_empty())
            .collect();
        let offset = usize::try_from(self.page.offset()).unwrap_or(usize::MAX);
        let size = usize::try_from(self.page.size).unwrap_or(usize::MAX);
        let version_id = shown
            .iter()
            .skip(offset)
            .take(size)
            .map(|version| One {
                version_id: &version.id,
                create_time: version.created.to_string(),
                version_stages: Stages { version_stage: &version.stages },
            })
            .collect();
        let body = Body {
            request_id,
            secret_name: &entry.record.name,
            page_number: self.page.number,
            page_size: self.page.size,
            total_count: shown.len(),
            version_ids: List { version_id },
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
