//! DescribeSecret (kms-secrets.md section 5.5), and the fields that other answers share with it.

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{
    Arn, AutomaticRotation, KeyId, RequestId, SecretName, SecretRecord, Tag, Timestamp, VersionStage,
};

/// The metadata of a secret.
#[derive(Debug)]
pub(super) struct DescribeSecret {
    name: SecretName,
    fetch_tags: bool,
}

/// What answers say of rotation, for managed secrets only
/// (kms-secrets.md section 6.3).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RotationFields {
    automatic_rotation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_rotation_date: Option<String>,
    /// An extension: for how long a rotation has been due without having ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_overdue_seconds: Option<u64>,
}

impl RotationFields {
    pub(super) fn of(record: &SecretRecord) -> Option<Self> {
        record.ecs.as_ref()?;
        let schedule = &record.schedule;
        let on = schedule.automatic != AutomaticRotation::Disabled;
        Some(Self {
            automatic_rotation: schedule.automatic.as_str(),
            rotation_interval: schedule.interval.filter(|_| on).map(|i| i.to_string()),
            next_rotation_date: schedule.next.filter(|_| on).map(|t| t.to_string()),
            last_rotation_date: schedule.last.map(|t| t.to_string()),
            rotation_overdue_seconds: None,
        })
    }

    /// The same, and how long a rotation has been due.
    fn described(record: &SecretRecord, now: Timestamp) -> Option<Self> {
        let fields = Self::of(record)?;
        Some(Self { rotation_overdue_seconds: record.overdue_seconds(now), ..fields })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExtendedConfig<'a> {
    secret_sub_type: &'static str,
    instance_id: &'a str,
    custom_data: &'a serde_json::Map<String, serde_json::Value>,
    command_id: &'static str,
    region_id: &'a str,
}

/// `ExtendedConfig`, a string that holds JSON (kms-secrets.md section 0, point 13).
pub(super) fn extended_config(record: &SecretRecord) -> Option<String> {
    let ecs = record.ecs.as_ref()?;
    serde_json::to_string(&ExtendedConfig {
        secret_sub_type: ecs.sub_type.as_str(),
        instance_id: ecs.instance.as_str(),
        custom_data: &ecs.custom_data,
        command_id: ecs.os.command_id(),
        region_id: ecs.region.as_str(),
    })
    .ok()
}

/// Whether a rotation of the secret is going on of which nobody can say which
/// version is in force.
async fn is_in_doubt(services: &Services, record: &SecretRecord) -> Result<bool, ApiError> {
    // Only then can there be one, and only then is the store asked.
    let pending = record.at_stage(&VersionStage::Pending).is_some();
    Ok(pending && services.rotations.is_in_doubt(record).await?)
}

/// `Tags`, wrapped as lists are.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tags<'a> {
    tag: Vec<OneTag<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OneTag<'a> {
    tag_key: &'a str,
    tag_value: &'a str,
}

impl<'a> Tags<'a> {
    pub(super) fn of(tags: &'a [Tag]) -> Self {
        Self { tag: tags.iter().map(|t| OneTag { tag_key: &t.key, tag_value: &t.value }).collect() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    arn: Arn,
    secret_name: &'a SecretName,
    secret_type: &'static str,
    description: &'a str,
    encryption_key_id: &'a str,
    #[serde(rename = "DKMSInstanceId")]
    dkms_instance_id: &'a str,
    create_time: String,
    update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_delete_time: Option<String>,
    #[serde(flatten)]
    rotation: Option<RotationFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_config: Option<String>,
    /// An extension: nobody knows which of two versions is in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rotation_in_doubt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags<'a>>,
}

impl Action for DescribeSecret {
    const SPEC: Spec = spec!(Kms, "DescribeSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: input.secret_name()?, fetch_tags: input.boolean("FetchTags")?.unwrap_or(false) })
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
        let record = &entry.record;
        let body = Body {
            request_id,
            arn: Arn::secret(&record.region, &record.account, &record.name),
            secret_name: &record.name,
            secret_type: record.kind.as_str(),
            description: &record.description,
            encryption_key_id: record.encryption_key.as_ref().map_or("", KeyId::as_str),
            dkms_instance_id: &record.dkms_instance,
            create_time: record.created.to_string(),
            update_time: record.updated.to_string(),
            planned_delete_time: record.planned_delete.map(|t| t.to_string()),
            rotation: RotationFields::described(record, services.vault.now()),
            extended_config: extended_config(record),
            rotation_in_doubt: is_in_doubt(services, record).await?,
            tags: self.fetch_tags.then(|| Tags::of(&record.tags)),
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
