//! ListAliases and ListAliasesByKeyId (kms-secrets.md section 8.1).

use serde::Serialize;

use super::super::input::Page;
use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Named, Paging, cut};
use crate::api::ApiError;
use crate::api::gate::Circumstances;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::key::{AliasRecord, KeyName};
use crate::model::{AliasName, Arn, KeyId, RequestId};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    #[serde(flatten)]
    paging: Paging,
    aliases: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    alias: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    alias_name: &'a AliasName,
    alias_arn: Arn,
    key_id: &'a KeyId,
}

fn answer<'a>(
    aliases: impl Iterator<Item = (&'a AliasRecord, Arn)>,
    page: Page,
    request_id: &RequestId,
) -> Result<Done, ApiError> {
    let all =
        aliases.map(|(alias, alias_arn)| One { alias_name: &alias.name, alias_arn, key_id: &alias.key });
    let (alias, paging) = cut(all.collect(), page);
    let body = Body { request_id, paging, aliases: List { alias } };
    Ok(Done::answer(Answer::json(&body, &[])?))
}

/// A page of all aliases, in the order of their names.
#[derive(Debug)]
pub(in crate::api::actions) struct ListAliases {
    page: Page,
    circumstances: Option<Circumstances>,
}

impl Action for ListAliases {
    const SPEC: Spec = spec!(Kms, "ListAliases");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { page: input.page()?, circumstances: None })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::alias_container(&asking.scope.region, &asking.scope.account);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn meet(&mut self, circumstances: Circumstances) {
        self.circumstances = Some(circumstances);
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let circumstances = self.circumstances.as_ref().ok_or_else(ApiError::internal)?;
        let keys = &services.keys;
        let aliases = keys.aliases();
        let shown = aliases.iter().filter_map(|alias| {
            let resource = Arn::alias(keys.region(), keys.account(), &alias.name);
            let question = Question { action: Self::SPEC.right, resource };
            (!circumstances.hide(caller, &question, &[], None)).then_some((alias, question.resource))
        });
        answer(shown, self.page, request_id)
    }
}

/// A page of the aliases of one key, in the order of their names.
#[derive(Debug)]
pub(in crate::api::actions) struct ListAliasesByKeyId {
    key: Named,
    page: Page,
}

impl Action for ListAliasesByKeyId {
    const SPEC: Spec = spec!(Kms, "ListAliasesByKeyId");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { key: Named::managed(input)?, page: input.page()? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let keys = &services.keys;
        let key = keys.find(&KeyName::Id(self.key.id()?.clone()))?;
        let aliases = keys.aliases();
        let its = aliases.iter().filter(|alias| alias.key == key.id);
        let its = its.map(|alias| (alias, Arn::alias(keys.region(), keys.account(), &alias.name)));
        answer(its, self.page, request_id)
    }
}
