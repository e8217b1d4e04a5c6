//! UpdateSecretVersionStage (kms-secrets.md section 5.8).

use super::get_secret_value::stage;
use super::rotate_secret::NameBody;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, VersionId, VersionStage};
use crate::vault::StageMove;

/// Moves a stage of a Generic secret from one version to another.
#[derive(Debug)]
pub(super) struct UpdateSecretVersionStage {
    name: SecretName,
    stage: VersionStage,
    how: StageMove,
}

impl Action for UpdateSecretVersionStage {
    const SPEC: Spec = spec!(Kms, "UpdateSecretVersionStage");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let name = input.secret_name()?;
        let stage = stage(input.required("VersionStage")?)?;
        if stage == VersionStage::Pending {
            return Err(ApiError::invalid(
                "The stage ACSPending belongs to rotations and cannot be moved by hand.",
            ));
        }
        let version = |name: &str| match input.optional(name) {
            Some(_) => input.parsed(name, VersionId::parse).map(Some),
            None => Ok(None),
        };
        let is_custom = matches!(stage, VersionStage::Custom(_));
        let how = match (version("RemoveFromVersion")?, version("MoveToVersion")?) {
            (None, Some(to)) => StageMove::To(to),
            (Some(from), Some(to)) => StageMove::Between { from, to },
            (Some(from), None) if is_custom => StageMove::Off(from),
            // A built-in stage can be moved, and not be taken away.
            (Some(_) | None, None) => return Err(ApiError::missing("MoveToVersion")),
        };
        Ok(Self { name, stage, how })
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
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let record = services.vault.move_stage(access, &self.name, &self.stage, &self.how).await?;
        let body = NameBody { request_id, secret_name: &record.name };
        let done = Done::answer(Answer::json(&body, &[])?);
        Ok(match record.at_stage(&self.stage) {
            Some(version) => done.of_version(version.id.clone(), version.stages.clone()),
            None => done,
        })
    }
}
