//! The STS API 2015-04-01: taking roles on, and asking who one is (ram.md section 4).

use std::sync::Arc;

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::{Caller, NewSession};
use crate::model::{RequestId, RoleName};
use crate::ram::{Policy, PolicyError, PolicyKind};

/// Characters of a session policy at most (ram.md section 4.1).
const MAX_POLICY: usize = 2_048;

fn fault(parameter: &str, rule: &str) -> ApiError {
    let message = format!("The parameter {parameter} must be {rule}.");
    ApiError::new(format!("InvalidParameter.{parameter}"), 400, message)
}

/// Begins a session of a role.
#[derive(Debug)]
pub(super) struct AssumeRole {
    new: NewSession,
    external_id: Option<String>,
}

impl AssumeRole {
    /// `RoleArn`, of a role of this account.
    fn role(input: &Input<'_>) -> Result<RoleName, ApiError> {
        let prefix = format!("acs:ram::{}:role/", input.scope.account);
        let name = input.required("RoleArn")?.strip_prefix(&prefix);
        name.and_then(|name| RoleName::parse(name).ok())
            .ok_or_else(|| fault("RoleArn", &format!("{prefix} and the name of a role")))
    }

    fn policy(input: &Input<'_>) -> Result<Option<String>, ApiError> {
        let Some(text) = input.optional("Policy") else { return Ok(None) };
        match Policy::parse(PolicyKind::Session, text) {
            Ok(_) => Ok(Some(text.to_owned())),
            Err(_) if !(1..=MAX_POLICY).contains(&text.chars().count()) => Err(too_long()),
            Err(error) => Err(grammar(&error)),
        }
    }
}

fn grammar(error: &PolicyError) -> ApiError {
    let message = format!("The parameter Policy is no session policy: {error}.");
    ApiError::new("InvalidParameter.PolicyGrammar", 400, message)
}

fn too_long() -> ApiError {
    let message = "The parameter Policy must be 1 to 2048 characters long.";
    ApiError::new("InvalidParameter.PolicySize", 400, message)
}

impl Action for AssumeRole {
    const SPEC: Spec = spec!(Sts, "AssumeRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let seconds = input.optional("DurationSeconds").map(|_| input.number("DurationSeconds"));
        Ok(Self {
            new: NewSession {
                role: Self::role(input)?,
                name: input.required("RoleSessionName")?.to_owned(),
                seconds: seconds.transpose()?,
                policy: Self::policy(input)?,
                source_identity: input.optional("SourceIdentity").map(str::to_owned),
            },
            external_id: input.optional("ExternalId").map(str::to_owned),
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_role(Self::SPEC.right, &self.new.role)]
    }

    fn conditions(&self) -> Vec<(&'static str, &str)> {
        self.external_id.iter().map(|id| ("sts:ExternalId", id.as_str())).collect()
    }

    /// The trust policy. Of a role that does not exist only those learn who
    /// may take on all that there are: it is decided as if it let everybody.
    fn trust(&self, asking: &Asking<'_>) -> Option<Arc<Policy>> {
        asking.directory.trust(&self.new.role).or_else(|| {
            let everybody = format!(
                r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":"acs:ram::{}:root"}}}}]}}"#,
                asking.scope.account
            );
            Policy::parse(PolicyKind::Trust, &everybody).ok().map(Arc::new)
        })
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            credentials: Credentials<'a>,
            assumed_role_user: User<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            source_identity: Option<&'a str>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Credentials<'a> {
            access_key_id: &'a str,
            access_key_secret: &'a str,
            security_token: &'a str,
            expiration: String,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct User<'a> {
            arn: &'a str,
            assumed_role_id: &'a str,
        }
        let made = services.identities.assume_role(access, caller, self.new)?;
        let session = &made.session;
        let arn = format!("{}/{}", services.identities.role_arn(&made.role.name), session.name);
        let assumed_role_id = format!("{}:{}", made.role.id, session.name);
        let expiration = session.expires.to_string();
        let secret = str::from_utf8(made.secret.expose()).ok().ok_or_else(ApiError::internal)?;
        let body = Body {
            request_id,
            credentials: Credentials {
                access_key_id: session.access_key_id.as_str(),
                access_key_secret: secret,
                security_token: &made.token,
                expiration: expiration.clone(),
            },
            assumed_role_user: User { arn: &arn, assumed_role_id: &assumed_role_id },
            source_identity: session.source_identity.as_deref(),
        };
        let answer = Answer::json(&body, &[secret, &made.token])?;
        Ok(Done::answer(answer).telling(vec![
            ("AccessKeyId", session.access_key_id.to_string()),
            ("Arn", arn.clone()),
            ("AssumedRoleId", assumed_role_id.clone()),
            ("Expiration", expiration),
        ]))
    }
}

/// Who the caller is.
#[derive(Debug)]
pub(super) struct GetCallerIdentity;

impl Action for GetCallerIdentity {
    const SPEC: Spec = spec!(Sts, "GetCallerIdentity");

    fn parse(_input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn questions(&self, _asking: &Asking<'_>) -> Vec<Question> {
        Vec::new()
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            identity_type: &'static str,
            account_id: &'a str,
            principal_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            role_id: Option<&'a str>,
            arn: String,
        }
        let role_id = caller.session.as_ref().map(|session| session.role_id.as_str());
        let body = Body {
            request_id,
            identity_type: if role_id.is_some() { "AssumedRoleUser" } else { "RAMUser" },
            account_id: services.identities.account().as_str(),
            principal_id: &caller.id,
            user_id: role_id.is_none().then_some(&*caller.id),
            role_id,
            arn: caller.principal.to_string(),
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
