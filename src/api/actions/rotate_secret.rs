//! RotateSecret (kms-secrets.md section 5.11).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Service, Services, Spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::{Access, EventAccess};
use crate::identity::Caller;
use crate::model::rotation::Trigger;
use crate::model::{Arn, RequestId, SecretName, VersionId};

/// Begins a rotation; it goes on after the answer.
#[derive(Debug)]
pub(super) struct RotateSecret {
    name: SecretName,
    version: VersionId,
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

impl Action for RotateSecret {
    const SPEC: Spec = Spec {
        name: "RotateSecret",
        service: Service::Kms,
        access: EventAccess::Write,
        right: "kms:RotateSecret",
        clear: &["SecretName", "VersionId"],
    };

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.optional("SecretData").is_some() {
            return Err(ApiError::unsupported(
                "A value of one's own cannot be set by a rotation: leave SecretData out.",
            ));
        }
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
        let record =
            services.rotations.begin(access, &self.name, self.version.clone(), Trigger::Manual, None).await?;
        let body = Body {
            request_id,
            arn: Arn::secret(&record.region, &record.account, &record.name),
            secret_name: &record.name,
            version_id: &self.version,
        };
        let answer = Answer::json(&body, &[])?;
        let stages = record.version(&self.version).map(|v| v.stages.clone()).unwrap_or_default();
        Ok(Done { answer, version: Some((self.version, stages)), elements: Vec::new() })
    }
}
