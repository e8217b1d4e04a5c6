//! DeleteSecret (kms-secrets.md section 5.9).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName};
use crate::vault::Deletion;

/// Deletes a secret, or schedules that.
#[derive(Debug)]
pub(super) struct DeleteSecret {
    name: SecretName,
    how: Deletion,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    planned_delete_time: String,
}

impl Action for DeleteSecret {
    const SPEC: Spec = spec!(Kms, "DeleteSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let how = if input.boolean("ForceDeleteWithoutRecovery")?.unwrap_or(false) {
            Deletion::Now
        } else {
            let days = input.number("RecoveryWindowInDays")?;
            Deletion::After { days: u8::try_from(days).unwrap_or(30) }
        };
        Ok(Self { name: input.secret_name()?, how })
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
        let at = services.vault.delete(access, &self.name, self.how).await?.to_string();
        let body = Body { request_id, secret_name: &self.name, planned_delete_time: at.clone() };
        Ok(Done::answer(Answer::json(&body, &[])?).telling(vec![("PlannedDeleteTime", at)]))
    }
}
