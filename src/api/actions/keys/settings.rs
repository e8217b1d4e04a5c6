//! UpdateKeyDescription, SetDeletionProtection and UpdateRotationPolicy
//! (kms-secrets.md section 8.1).

use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Named, done, rotation_interval};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, RotationInterval};

/// Changes what is said about a key.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateKeyDescription {
    key: Named,
    description: String,
}

impl Action for UpdateKeyDescription {
    const SPEC: Spec = spec!(Kms, "UpdateKeyDescription");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let description = input.required("Description")?.to_owned();
        Ok(Self { key: Named::managed(input)?, description })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.keys.update_description(access, self.key.id()?, self.description).await?;
        done(request_id)
    }
}

/// Protects a key from deletion, or no longer.
#[derive(Debug)]
pub(in crate::api::actions) struct SetDeletionProtection {
    key: Named,
    protected: bool,
    description: String,
}

impl Action for SetDeletionProtection {
    const SPEC: Spec = spec!(Kms, "SetDeletionProtection");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let name = ["ProtectedResourceArn", "KeyId"].into_iter().find(|name| input.optional(name).is_some());
        let name = name.ok_or_else(|| ApiError::missing("ProtectedResourceArn"))?;
        let protected = input.boolean("EnableDeletionProtection")?;
        Ok(Self {
            key: Named::managed_in(input.required(name)?, name, input.scope)?,
            protected: protected.ok_or_else(|| ApiError::missing("EnableDeletionProtection"))?,
            description: input.optional("DeletionProtectionDescription").unwrap_or("").to_owned(),
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (id, description) = (self.key.id()?, self.description);
        services.keys.set_deletion_protection(access, id, self.protected, description).await?;
        done(request_id)
    }
}

/// Has a key get new versions by itself, or not.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateRotationPolicy {
    key: Named,
    rotates: bool,
    interval: Option<RotationInterval>,
}

impl Action for UpdateRotationPolicy {
    const SPEC: Spec = spec!(Kms, "UpdateRotationPolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let rotates = input.boolean("EnableAutomaticRotation")?;
        let rotates = rotates.ok_or_else(|| ApiError::missing("EnableAutomaticRotation"))?;
        Ok(Self { key: Named::managed(input)?, rotates, interval: rotation_interval(input, rotates)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.keys.update_rotation_policy(access, self.key.id()?, self.rotates, self.interval).await?;
        done(request_id)
    }
}
