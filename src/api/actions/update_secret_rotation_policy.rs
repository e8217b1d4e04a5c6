//! UpdateSecretRotationPolicy (kms-secrets.md section 5.12).

use super::rotate_secret::NameBody;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{AutomaticRotation, RequestId, RotationInterval, SecretName, SecretType, VersionStage};
use crate::vault::{VaultError, next_rotation};

/// Turns automatic rotation on or off.
#[derive(Debug)]
pub(super) struct UpdateSecretRotationPolicy {
    name: SecretName,
    interval: Option<RotationInterval>,
}

impl Action for UpdateSecretRotationPolicy {
    const SPEC: Spec = spec!(Kms, "UpdateSecretRotationPolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let name = input.secret_name()?;
        let on = input.boolean("EnableAutomaticRotation")?;
        let interval = match on.ok_or_else(|| ApiError::missing("EnableAutomaticRotation"))? {
            false => None,
            true => Some(RotationInterval::parse(input.required("RotationInterval")?).map_err(|e| {
                ApiError::invalid(format!("The parameter RotationInterval is not valid: {e}."))
            })?),
        };
        Ok(Self { name, interval })
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
        let now = services.vault.now();
        let record = services
            .vault
            .change(access, &self.name, |record| {
                if record.kind != SecretType::Ecs {
                    return Err(VaultError::WrongType);
                }
                if let Some(until) = record.planned_delete {
                    return Err(VaultError::InDeleteWindow { until });
                }
                if record.at_stage(&VersionStage::Pending).is_some() {
                    return Err(VaultError::Rotating);
                }
                record.schedule.failures = 0;
                match self.interval {
                    None => {
                        record.schedule.automatic = AutomaticRotation::Disabled;
                        record.schedule.next = None;
                    }
                    Some(interval) => {
                        // The same policy once more makes nothing less overdue.
                        let is_new = record.schedule.automatic == AutomaticRotation::Disabled
                            || record.schedule.interval != Some(interval);
                        if is_new {
                            record.schedule.since = Some(now);
                        }
                        record.schedule.automatic = AutomaticRotation::Enabled;
                        record.schedule.interval = Some(interval);
                        record.schedule.next = next_rotation(record, now);
                    }
                }
                Ok(())
            })
            .await?;
        services.rotations.wake();
        let body = NameBody { request_id, secret_name: &record.name };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
