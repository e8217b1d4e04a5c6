//! GetSecretValue (kms-secrets.md section 5.2).

use serde::Serialize;

use super::describe_secret::{RotationFields, extended_config};
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, SecretType, VersionId, VersionStage};
use crate::vault::{Pick, Value};

/// Reads a value.
#[derive(Debug)]
pub(super) struct GetSecretValue {
    wanted: Wanted,
    dry_run: bool,
}

/// Which value is wanted, and what is to be told with it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: SecretName,
    pub(super) version: Option<VersionId>,
    pub(super) stage: Option<VersionStage>,
    pub(super) fetch_extended_config: bool,
}

/// A value that was read, as it will be told.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) value: Value,
    extended_config: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    secret_type: &'static str,
    version_id: &'a VersionId,
    version_stages: Stages<'a>,
    secret_data: &'a str,
    secret_data_type: &'static str,
    create_time: String,
    #[serde(flatten)]
    rotation: Option<RotationFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_config: Option<&'a str>,
}

/// The stage that `VersionStage` names.
pub(super) fn stage(text: &str) -> Result<VersionStage, ApiError> {
    VersionStage::parse(text)
        .ok_or_else(|| ApiError::invalid("The parameter VersionStage must be 1 to 64 of A-Z a-z 0-9 _ -."))
}

impl Wanted {
    /// Reads it. Managed secrets show only what is or was in force, and ignore
    /// the version; what may be in force is shown too, while nobody can say
    /// which it is.
    pub(super) async fn read(self, services: &Services, access: &Access) -> Result<Read, ApiError> {
        let secret = services.vault.find(&self.name).await?;
        let managed = secret.record.kind == SecretType::Ecs;
        if managed {
            let shown = match &self.stage {
                None | Some(VersionStage::Current | VersionStage::Previous) => true,
                Some(VersionStage::Pending) => services.rotations.is_in_doubt(&secret.record).await?,
                Some(VersionStage::Custom(_)) => false,
            };
            if !shown {
                return Err(ApiError::not_found());
            }
        }
        let pick = match (self.version.filter(|_| !managed), self.stage) {
            (Some(id), Some(stage)) => Pick::Both(id, stage),
            (Some(id), None) => Pick::Version(id),
            (None, stage) => Pick::Stage(stage.unwrap_or(VersionStage::Current)),
        };
        let value = services.vault.read(access, &self.name, &pick).await?;
        let extended_config =
            if self.fetch_extended_config { extended_config(&value.secret.record) } else { None };
        Ok(Read { value, extended_config })
    }
}

impl Read {
    /// The answer, and those of its texts whose length is not limited.
    pub(super) fn body<'a>(
        &'a self,
        request_id: &'a RequestId,
    ) -> Result<(Body<'a>, [&'a str; 2]), ApiError> {
        let (record, version) = (&self.value.secret.record, &self.value.version);
        let text = str::from_utf8(self.value.data.expose()).ok().ok_or_else(ApiError::internal)?;
        let extended_config = self.extended_config.as_deref();
        let body = Body {
            request_id,
            secret_name: &record.name,
            secret_type: record.kind.as_str(),
            version_id: &version.id,
            version_stages: Stages { version_stage: &version.stages },
            secret_data: text,
            secret_data_type: version.data_type.as_str(),
            create_time: record.created.to_string(),
            rotation: RotationFields::of(record),
            extended_config,
        };
        Ok((body, [text, extended_config.unwrap_or("")]))
    }
}

/// `VersionStages`, wrapped as lists are (kms-secrets.md section 0, point 12).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stages<'a> {
    pub(super) version_stage: &'a [VersionStage],
}

impl Action for GetSecretValue {
    const SPEC: Spec = spec!(Kms, "GetSecretValue");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.optional("Recipient").is_some_and(|r| !r.is_empty()) {
            return Err(ApiError::unsupported("The parameter Recipient is not supported: leave it out."));
        }
        let version = match input.optional("VersionId") {
            Some(_) => Some(input.version_id()?),
            None => None,
        };
        let wanted = Wanted {
            name: input.secret_name()?,
            version,
            stage: input.optional("VersionStage").map(stage).transpose()?,
            fetch_extended_config: input.boolean("FetchExtendedConfig")?.unwrap_or(false),
        };
        Ok(Self { wanted, dry_run: input.boolean("DryRun")?.unwrap_or(false) })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = asking.secret(&self.wanted.name);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn secret(&self) -> Option<&SecretName> {
        Some(&self.wanted.name)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let read = self.wanted.read(services, access).await?;
        if self.dry_run {
            return Err(ApiError::new("DryRunOperationError", 400, "The call would have succeeded."));
        }
        let (body, long_texts) = read.body(request_id)?;
        let answer = Answer::json(&body, &long_texts)?;
        Ok(Done::answer(answer).of_version(read.value.version.id, read.value.version.stages))
    }
}
