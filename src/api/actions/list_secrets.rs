//! ListSecrets (kms-secrets.md section 5.6).

use serde::Serialize;

use super::describe_secret::Tags;
use super::input::Page;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, SecretRecord, VersionStage};
use crate::vault::VaultError;

/// A page of secrets, without values.
#[derive(Debug)]
pub(super) struct ListSecrets {
    page: Page,
    fetch_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    page_number: u32,
    page_size: u32,
    total_count: u64,
    secret_list: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    secret: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    secret_name: &'a SecretName,
    secret_type: &'static str,
    create_time: String,
    update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_delete_time: Option<String>,
    /// An extension: nobody knows which of two versions is in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rotation_in_doubt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags<'a>>,
}

/// Whether nobody knows which version is in force: also where the row that
/// would say it was altered, which keeps none of the other secrets.
async fn doubt(services: &Services, record: &SecretRecord) -> Result<bool, ApiError> {
    if record.at_stage(&VersionStage::Pending).is_none() {
        return Ok(false);
    }
    match services.rotations.is_in_doubt(record).await {
        Ok(doubt) => Ok(doubt),
        Err(error @ VaultError::Altered(_)) => {
            tracing::error!(secret = %record.name, error = ?error, "the rotation of a secret cannot be read");
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

impl Action for ListSecrets {
    const SPEC: Spec = spec!(Kms, "ListSecrets");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.optional("Filters").is_some_and(|f| !f.is_empty() && f != "[]") {
            return Err(ApiError::unsupported(
                "The parameter Filters is not supported: list all, and choose at the client.",
            ));
        }
        Ok(Self { page: input.page()?, fetch_tags: input.boolean("FetchTags")?.unwrap_or(false) })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = asking.container();
        vec![Question { action: Self::SPEC.right, resource }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (total_count, records) = services.vault.list(access, self.page.offset(), self.page.size).await?;
        let mut secret = Vec::with_capacity(records.len());
        for record in &records {
            secret.push(One {
                secret_name: &record.name,
                secret_type: record.kind.as_str(),
                create_time: record.created.to_string(),
                update_time: record.updated.to_string(),
                planned_delete_time: record.planned_delete.map(|t| t.to_string()),
                rotation_in_doubt: doubt(services, record).await?,
                tags: self.fetch_tags.then(|| Tags::of(&record.tags)),
            });
        }
        let body = Body {
            request_id,
            page_number: self.page.number,
            page_size: self.page.size,
            total_count,
            secret_list: List { secret },
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
