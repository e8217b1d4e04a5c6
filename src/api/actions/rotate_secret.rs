//! RotateSecret (kms-secrets.md section 5.11), with an extension: `SecretData`,
//! a value of one's own for an ECS secret.

use serde::Serialize;
use strongroom_hsm::SecretBytes;

use super::chosen_value::ChosenValue;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::rotation::Trigger;
use crate::model::{Arn, RequestId, SecretName, SecretRecord, VersionId, VersionStage};
use crate::rotation::RotationError;
use crate::vault::VaultError;

/// Begins a rotation; it goes on after the answer.
#[derive(Debug)]
pub(super) struct RotateSecret {
    name: SecretName,
    version: VersionId,
    data: Option<SecretBytes>,
}

/// The answer of actions that say no more than the name.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameBody<'a> {
    pub(super) request_id: &'a RequestId,
    pub(super) secret_name: &'a SecretName,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    arn: Arn,
    secret_name: &'a SecretName,
    version_id: &'a VersionId,
}

impl RotateSecret {
    /// Begins with the value that was given. The same value for the same
    /// version is the same rotation; another one is refused.
    async fn with_value(
        &self,
        services: &Services,
        access: &Access,
        data: &SecretBytes,
    ) -> Result<SecretRecord, ApiError> {
        let secret = services.vault.find(&self.name).await?;
        let ecs = secret.record.ecs.as_ref().ok_or(RotationError::NotManaged)?;
        let value = ChosenValue::read(ecs, data)?;
        if let Some(current) = secret.record.at_stage(&VersionStage::Current)
            && secret.record.version(&self.version).is_none()
            && value.is_that_of(&services.vault, &secret, current).await?
        {
            return Err(ApiError::invalid(
                "SecretData is the value that is in force already: a rotation needs a new one.",
            ));
        }
        let chosen = Some(value.chosen());
        let record = services
            .rotations
            .begin(access, &self.name, self.version.clone(), Trigger::Manual, chosen)
            .await?;
        // A version of that id may have been there before, or a caller at the same time was faster.
        let secret = services.vault.find(&self.name).await?;
        match secret.record.version(&self.version) {
            Some(version) if !value.is_that_of(&services.vault, &secret, version).await? => {
                Err(VaultError::VersionExists.into())
            }
            Some(_) | None => Ok(record),
        }
    }
}

impl Action for RotateSecret {
    const SPEC: Spec = spec!(Kms, "RotateSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let data = match input.optional("SecretData") {
            Some(_) => Some(input.secret_data()?),
            None => None,
        };
        Ok(Self { name: input.secret_name()?, version: input.version_id()?, data })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = vec![Question { action: Self::SPEC.right, resource: asking.secret(&self.name) }];
        // Who may have a value made up may not therefore set one that they know.
        if self.data.is_some() {
            questions.push(Question { action: "kms:PutSecretValue", resource: asking.secret(&self.name) });
        }
        questions
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
        let record = match &self.data {
            Some(data) => self.with_value(services, access, data).await?,
            None => {
                let (version, rotations) = (self.version.clone(), &services.rotations);
                rotations.begin(access, &self.name, version, Trigger::Manual, None).await?
            }
        };
        let body = Body {
            request_id,
            arn: Arn::secret(&record.region, &record.account, &record.name),
            secret_name: &record.name,
            version_id: &self.version,
        };
        let answer = Answer::json(&body, &[])?;
        let stages = record.version(&self.version).map(|v| v.stages.clone()).unwrap_or_default();
        Ok(Done::answer(answer).of_version(self.version, stages))
    }
}
