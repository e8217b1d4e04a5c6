//! ListSecrets (kms-secrets.md section 5.6).

use serde::Serialize;

use super::describe_secret::Tags;
use super::filters::conditions;
use super::input::Page;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretFilter, SecretName, SecretRecord, SecretType, VersionStage};
use crate::vault::VaultError;

/// A page of secrets, without values.
#[derive(Debug)]
pub(super) struct ListSecrets {
    page: Page,
    filter: SecretFilter,
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

/// The keys of `Filters`, and how long their values may be.
const KEYS: [(&str, usize); 7] = [
    ("SecretName", 192),
    ("Description", 256),
    ("TagKey", 256),
    ("TagValue", 256),
    ("DKMSInstanceId", 256),
    ("SecretType", 256),
    ("Creator", 256),
];

/// Types that secrets of this vault do not have.
const OTHER_TYPES: [&str; 4] = ["RDS", "Redis", "RAMCredentials", "PolarDB"];

/// `Filters`. The values of two conditions on the same thing are values of one.
fn filter(input: &Input<'_>) -> Result<SecretFilter, ApiError> {
    let mut filter = SecretFilter::default();
    let (mut types, mut creators) = (Vec::new(), Vec::new());
    for condition in conditions(input, &KEYS)? {
        let values = match condition.key.as_str() {
            "SecretName" => &mut filter.names,
            "Description" => &mut filter.descriptions,
            "TagKey" => &mut filter.tag_keys,
            "TagValue" => &mut filter.tag_values,
            "SecretType" => &mut types,
            "DKMSInstanceId" => &mut filter.instances,
            _ => &mut creators,
        };
        values.extend(condition.values);
    }
    for text in &types {
        let own = [SecretType::Ecs, SecretType::Generic];
        match own.into_iter().find(|own| own.as_str().eq_ignore_ascii_case(text)) {
            Some(own) if filter.kinds.contains(&own) => {}
            Some(own) => filter.kinds.push(own),
            None if OTHER_TYPES.iter().any(|other| other.eq_ignore_ascii_case(text)) => {}
            None => {
                return Err(ApiError::invalid(
                    "A SecretType in Filters must be Generic, ECS, RDS, Redis, RAMCredentials or PolarDB.",
                ));
            }
        }
    }
    // The account is the creator of every secret.
    let is_creator = creators.iter().any(|creator| creator == input.scope.account.as_str());
    filter.none |= !types.is_empty() && filter.kinds.is_empty() || !creators.is_empty() && !is_creator;
    Ok(filter)
}

impl Action for ListSecrets {
    const SPEC: Spec = spec!(Kms, "ListSecrets");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            page: input.page()?,
            filter: filter(input)?,
            fetch_tags: input.boolean("FetchTags")?.unwrap_or(false),
        })
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
        let (total_count, records) =
            services.vault.list(access, &self.filter, self.page.offset(), self.page.size).await?;
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
