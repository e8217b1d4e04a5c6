//! What clients ask at their start: DescribeRegions, DescribeAccountKmsStatus
//! and ListKmsInstances (kms-secrets.md section 8.3).

use serde::Serialize;
use serde::de::IgnoredAny;

use super::super::input::Page;
use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Paging, cut};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{Arn, RequestId};

/// Which regions there are: this one.
#[derive(Debug)]
pub(in crate::api::actions) struct DescribeRegions;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegionsBody<'a> {
    request_id: &'a RequestId,
    regions: Regions<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Regions<'a> {
    region: [Region<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Region<'a> {
    region_id: &'a str,
}

impl Action for DescribeRegions {
    const SPEC: Spec = spec!(Kms, "DescribeRegions");

    fn parse(_input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn questions(&self, _asking: &Asking<'_>) -> Vec<Question> {
        Vec::new()
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let region = [Region { region_id: services.keys.region().as_str() }];
        let body = RegionsBody { request_id, regions: Regions { region } };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}

/// Whether the account may use the service: it may.
#[derive(Debug)]
pub(in crate::api::actions) struct DescribeAccountKmsStatus;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatusBody<'a> {
    request_id: &'a RequestId,
    account_status: &'static str,
}

impl Action for DescribeAccountKmsStatus {
    const SPEC: Spec = spec!(Kms, "DescribeAccountKmsStatus");

    fn parse(_input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::any_kms(&asking.scope.region, &asking.scope.account);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    async fn run(
        self,
        _services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let body = StatusBody { request_id, account_status: "Enabled" };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}

/// Which dedicated instances there are: none.
#[derive(Debug)]
pub(in crate::api::actions) struct ListKmsInstances {
    page: Page,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstancesBody<'a> {
    request_id: &'a RequestId,
    #[serde(flatten)]
    paging: Paging,
    kms_instances: Instances,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Instances {
    kms_instance: Vec<&'static str>,
}

impl Action for ListKmsInstances {
    const SPEC: Spec = spec!(Kms, "ListKmsInstances");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let filters = input.optional("Filters").filter(|text| !text.is_empty());
        if filters.is_some_and(|text| serde_json::from_str::<Vec<IgnoredAny>>(text).is_err()) {
            return Err(ApiError::invalid("The parameter Filters must be a JSON array."));
        }
        Ok(Self { page: input.page()? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::any_kms(&asking.scope.region, &asking.scope.account);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    async fn run(
        self,
        _services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (kms_instance, paging) = cut(Vec::new(), self.page);
        let body = InstancesBody { request_id, paging, kms_instances: Instances { kms_instance } };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
