//! RestoreSecret (kms-secrets.md section 5.10).

use super::rotate_secret::NameBody;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName};

/// Takes a secret back that is scheduled for deletion.
#[derive(Debug)]
pub(super) struct RestoreSecret {
    name: SecretName,
}

impl Action for RestoreSecret {
    const SPEC: Spec = spec!(Kms, "RestoreSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: input.secret_name()? })
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
        let record = services.vault.restore(access, &self.name).await?;
        services.rotations.wake();
        let body = NameBody { request_id, secret_name: &record.name };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
