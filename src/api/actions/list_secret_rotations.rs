//! ListSecretRotations, an extension of the imitated API: what the rotations of
//! a secret went through, each failed attempt with what to do about it.

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::rotation::RotationRecord;
use crate::model::{InstanceId, RequestId, RotationId, SecretName, VersionId, VersionStage};
use crate::rotation::{RotationError, warning_in_words, what_to_do};

/// The rotations of a secret, newest first.
#[derive(Debug)]
pub(super) struct ListSecretRotations {
    name: SecretName,
    max_results: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    /// The version that GetSecretValue gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version_id: Option<&'a VersionId>,
    rotations: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    rotation_id: &'a RotationId,
    version_id: &'a VersionId,
    trigger: &'static str,
    state: &'static str,
    kind: &'static str,
    instance_id: &'a InstanceId,
    started_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_time: Option<String>,
    custom_value: bool,
    attempts: u32,
    steps: Vec<Step>,
    troubles: Vec<Trouble<'a>>,
    warnings: Vec<Warning<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Step {
    state: &'static str,
    time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Trouble<'a> {
    step: &'a str,
    code: &'a str,
    message: &'a str,
    time: String,
    advice: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Warning<'a> {
    code: &'a str,
    message: &'static str,
}

impl<'a> One<'a> {
    fn of(rotation: &'a RotationRecord) -> Self {
        let troubles = rotation.troubles.iter().map(|trouble| Trouble {
            step: &trouble.step,
            code: &trouble.code,
            message: &trouble.text,
            time: trouble.at.to_string(),
            advice: what_to_do(&trouble.code),
        });
        let warnings = rotation.warnings.iter();
        Self {
            rotation_id: &rotation.id,
            version_id: &rotation.version,
            trigger: rotation.trigger.as_str(),
            state: rotation.state.as_str(),
            kind: rotation.kind.as_str(),
            instance_id: &rotation.instance,
            started_time: rotation.started.to_string(),
            ended_time: rotation.ended.map(|ended| ended.to_string()),
            custom_value: rotation.custom,
            attempts: rotation.attempt,
            steps: rotation
                .steps
                .iter()
                .map(|step| Step { state: step.state.as_str(), time: step.at.to_string() })
                .collect(),
            troubles: troubles.collect(),
            warnings: warnings.map(|word| Warning { code: word, message: warning_in_words(word) }).collect(),
        }
    }
}

impl Action for ListSecretRotations {
    const SPEC: Spec = spec!(Kms, "ListSecretRotations");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: input.secret_name()?, max_results: input.number("MaxResults")? })
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
        let secret = services.vault.find(&self.name).await?;
        let record = &secret.record;
        if record.ecs.is_none() {
            return Err(RotationError::NotManaged.into());
        }
        let rotations = services.rotations.history(record, self.max_results).await?;
        let body = Body {
            request_id,
            secret_name: &record.name,
            current_version_id: record.at_stage(&VersionStage::Current).map(|version| &version.id),
            rotations: rotations.iter().map(One::of).collect(),
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
