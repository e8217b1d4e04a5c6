//! GiveUpSecretRotation, an extension of the imitated API: an administrator's
//! word that a rotation in doubt is not worth waiting for
//! (cloud-assistant.md section 5.7, `Fencing`).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, VersionId};

/// Has a rotation end without effect, once the instance has confirmed that
/// nothing of it will act any more; where the new credential turns out to be in
/// force, it ends as a success. Nothing is destroyed before that answer.
#[derive(Debug)]
pub(super) struct GiveUpSecretRotation {
    name: SecretName,
    version: VersionId,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    version_id: &'a VersionId,
}

impl Action for GiveUpSecretRotation {
    const SPEC: Spec = spec!(Kms, "GiveUpSecretRotation");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: input.secret_name()?, version: input.version_id()? })
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
        services.rotations.give_up(access, &self.name, &self.version).await?;
        let secret = services.vault.find(&self.name).await?;
        let stages = secret.record.version(&self.version).map(|v| v.stages.clone()).unwrap_or_default();
        let body = Body { request_id, secret_name: &secret.record.name, version_id: &self.version };
        let answer = Answer::json(&body, &[])?;
        Ok(Done::answer(answer).of_version(self.version, stages))
    }
}
