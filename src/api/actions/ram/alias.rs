//! The name by which the account is called instead of its number (ram.md section 3.2).

use serde_json::json;

use super::{Action, Asking, Done, Input, Question, Services, Spec, answer, empty, spec};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::RequestId;

/// Gives the account an alias.
#[derive(Debug)]
pub(in crate::api::actions) struct SetAccountAlias(String);

impl Action for SetAccountAlias {
    const SPEC: Spec = spec!(Ram, "SetAccountAlias");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let alias = input.required("AccountAlias")?;
        let letters = alias.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !letters || alias.starts_with('-') || alias.ends_with('-') || alias.contains("--") {
            return Err(ApiError::new(
                "InvalidParameter.AccountAlias.Format",
                400,
                "The parameter AccountAlias must be of a-z, 0-9 and single - that stand between others.",
            ));
        }
        Ok(Self(alias.to_owned()))
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.set_account_alias(access, Some(self.0)).await?;
        empty(request_id)
    }
}

/// Tells the alias.
#[derive(Debug)]
pub(in crate::api::actions) struct GetAccountAlias;

impl Action for GetAccountAlias {
    const SPEC: Spec = spec!(Ram, "GetAccountAlias");

    fn parse(_input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let alias = services.identities.account_alias().await?;
        answer(request_id, &json!({ "AccountAlias": alias.unwrap_or_default() }))
    }
}

/// Takes the alias away.
#[derive(Debug)]
pub(in crate::api::actions) struct ClearAccountAlias;

impl Action for ClearAccountAlias {
    const SPEC: Spec = spec!(Ram, "ClearAccountAlias");

    fn parse(_input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.set_account_alias(access, None).await?;
        empty(request_id)
    }
}
