//! ListKeys (kms-secrets.md section 8.1).

use serde::Serialize;

use super::super::input::Page;
use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::filters::Filters;
use super::{Paging, cut};
use crate::api::ApiError;
use crate::api::gate::Circumstances;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{Arn, KeyId, RequestId};

/// A page of keys.
#[derive(Debug)]
pub(in crate::api::actions) struct ListKeys {
    page: Page,
    filters: Filters,
    circumstances: Option<Circumstances>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    #[serde(flatten)]
    paging: Paging,
    keys: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    key: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    key_id: &'a KeyId,
    key_arn: Arn,
}

impl Action for ListKeys {
    const SPEC: Spec = spec!(Kms, "ListKeys");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { page: input.page()?, filters: Filters::parse(input)?, circumstances: None })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::key_container(&asking.scope.region, &asking.scope.account);
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
        let (keys, aliases) = (services.keys.list(), services.keys.aliases());
        let shown = keys.iter().filter(|key| self.filters.fit(key, &aliases)).filter_map(|key| {
            let resource = Arn::key(&key.region, &key.account, &key.id);
            let question = Question { action: Self::SPEC.right, resource };
            let hidden = circumstances.hide(caller, &question, &key.tags, None);
            (!hidden).then_some(One { key_id: &key.id, key_arn: question.resource })
        });
        let (key, paging) = cut(shown.collect(), self.page);
        let body = Body { request_id, paging, keys: List { key } };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
