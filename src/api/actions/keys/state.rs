//! EnableKey, DisableKey, ScheduleKeyDeletion and CancelKeyDeletion
//! (kms-secrets.md sections 8.1 and 8.2).

use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Named, done};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::RequestId;

macro_rules! switch {
    ($(#[$doc:meta])* $name:ident, $text:literal, $deed:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::api::actions) struct $name {
            key: Named,
        }

        impl Action for $name {
            const SPEC: Spec = spec!(Kms, $text);

            fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
                Ok(Self { key: Named::managed(input)? })
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
                services.keys.$deed(access, self.key.id()?).await?;
                done(request_id)
            }
        }
    };
}

switch!(
    /// Takes back a scheduled deletion.
    CancelKeyDeletion, "CancelKeyDeletion", cancel_deletion
);
switch!(
    /// Stops all use of a key.
    DisableKey, "DisableKey", disable
);
switch!(
    /// Makes a key usable again.
    EnableKey, "EnableKey", enable
);

/// Plans the deletion of a key.
#[derive(Debug)]
pub(in crate::api::actions) struct ScheduleKeyDeletion {
    key: Named,
    days: u32,
}

impl Action for ScheduleKeyDeletion {
    const SPEC: Spec = spec!(Kms, "ScheduleKeyDeletion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { key: Named::managed(input)?, days: input.number("PendingWindowInDays")? })
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
        services.keys.schedule_deletion(access, self.key.id()?, self.days).await?;
        done(request_id)
    }
}
