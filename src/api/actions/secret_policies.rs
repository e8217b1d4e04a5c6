//! SetSecretPolicy and GetSecretPolicy (kms-secrets.md section 5.13).
//!
//! A policy is kept byte for byte as it was submitted. How it is weighed
//! against those of the caller is said in ram.md, rules E5 and E9: a deny on
//! either side wins, else one allow is enough.

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::error::sentence;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{AccountId, RequestId, SecretName};
use crate::ram::{Policy, PolicyKind};
use crate::vault::VaultError;

/// A policy document of a secret, once it has been found to be one.
pub(super) fn checked(text: &str) -> Result<String, ApiError> {
    match Policy::parse(PolicyKind::Resource, text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(ApiError::invalid(format!(
            "The parameter Policy is no policy of a secret: {}",
            sentence(&error)
        ))),
    }
}

/// The only name that there is.
fn check_name(input: &Input<'_>) -> Result<(), ApiError> {
    match input.optional("PolicyName") {
        None | Some("default") => Ok(()),
        Some(_) => Err(ApiError::invalid("The parameter PolicyName must be default.")),
    }
}

/// What holds where no policy is set: it names the account itself, and so
/// grants nothing to its users and roles (ram.md, rule E9).
fn default_policy(account: &AccountId) -> String {
    format!(
        r#"{{"Version":"1","Statement":[{{"Sid":"kms default secret policy","Effect":"Allow","Principal":{{"RAM":["acs:ram::{account}:*"]}},"Action":["kms:*"],"Resource":["*"]}}]}}"#
    )
}

/// Replaces the policy of a secret. It holds from the next call on, also for
/// whoever set it: a policy that shuts out its own author is taken.
#[derive(Debug)]
pub(super) struct SetSecretPolicy {
    name: SecretName,
    policy: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SetBody<'a> {
    request_id: &'a RequestId,
}

impl Action for SetSecretPolicy {
    const SPEC: Spec = spec!(Kms, "SetSecretPolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        check_name(input)?;
        Ok(Self { name: input.secret_name()?, policy: checked(input.required("Policy")?)? })
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
        let set = services.vault.change(access, &self.name, |record| {
            if let Some(until) = record.planned_delete {
                return Err(VaultError::InDeleteWindow { until });
            }
            record.policy = Some(self.policy.clone());
            Ok(())
        });
        set.await?;
        Ok(Done::answer(Answer::json(&SetBody { request_id }, &[])?))
    }
}

/// The policy of a secret.
#[derive(Debug)]
pub(super) struct GetSecretPolicy {
    name: SecretName,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetBody<'a> {
    request_id: &'a RequestId,
    policy: &'a str,
}

impl Action for GetSecretPolicy {
    const SPEC: Spec = spec!(Kms, "GetSecretPolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        check_name(input)?;
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
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let entry = services.vault.find(&self.name).await?;
        let default;
        let policy = match &entry.record.policy {
            Some(policy) => policy,
            None => {
                default = default_policy(&entry.record.account);
                &default
            }
        };
        Ok(Done::answer(Answer::json(&GetBody { request_id, policy }, &[policy])?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_one_that_could_be_set() {
        let text = default_policy(&AccountId::parse("1234567890123456").unwrap());
        assert_eq!(checked(&text).unwrap(), text);
    }
}
