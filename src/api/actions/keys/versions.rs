//! CreateKeyVersion, ListKeyVersions and DescribeKeyVersion
//! (kms-secrets.md section 8.1).

use serde::Serialize;

use super::super::input::Page;
use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Named, Paging, cut};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::keys::KeyError;
use crate::model::key::{KeyName, KeyVersion};
use crate::model::{KeyId, KeyVersionId, RequestId};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    key_id: &'a KeyId,
    key_version_id: &'a KeyVersionId,
    creation_date: String,
}

impl<'a> One<'a> {
    fn of(key_id: &'a KeyId, version: &'a KeyVersion) -> Self {
        Self { key_id, key_version_id: &version.id, creation_date: version.created.to_string() }
    }
}

/// An answer about one version.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    key_version: One<'a>,
}

/// Makes a new version of a key.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateKeyVersion {
    key: Named,
}

impl Action for CreateKeyVersion {
    const SPEC: Spec = spec!(Kms, "CreateKeyVersion");

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
        let key = services.keys.create_version(access, self.key.id()?).await?;
        let version = key.primary().ok_or_else(ApiError::internal)?;
        let body = Body { request_id, key_version: One::of(&key.id, version) };
        Ok(Done {
            elements: vec![("KeyVersionId", version.id.to_string())],
            ..Done::answer(Answer::json(&body, &[])?)
        })
    }
}

/// Describes one version of a key.
#[derive(Debug)]
pub(in crate::api::actions) struct DescribeKeyVersion {
    key: Named,
    version: KeyVersionId,
}

impl Action for DescribeKeyVersion {
    const SPEC: Spec = spec!(Kms, "DescribeKeyVersion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { key: Named::managed(input)?, version: input.parsed("KeyVersionId", KeyVersionId::parse)? })
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
        let key = services.keys.find(&KeyName::Id(self.key.id()?.clone()))?;
        let version = key.version(&self.version).ok_or(KeyError::VersionNotFound)?;
        let body = Body { request_id, key_version: One::of(&key.id, version) };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}

/// Lists the versions of a key.
#[derive(Debug)]
pub(in crate::api::actions) struct ListKeyVersions {
    key: Named,
    page: Page,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListBody<'a> {
    request_id: &'a RequestId,
    #[serde(flatten)]
    paging: Paging,
    key_versions: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    key_version: Vec<One<'a>>,
}

impl Action for ListKeyVersions {
    const SPEC: Spec = spec!(Kms, "ListKeyVersions");

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
        let key = services.keys.find(&KeyName::Id(self.key.id()?.clone()))?;
        let all = key.versions.iter().rev().map(|version| One::of(&key.id, version)).collect();
        let (key_version, paging) = cut(all, self.page);
        let body = ListBody { request_id, paging, key_versions: List { key_version } };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
