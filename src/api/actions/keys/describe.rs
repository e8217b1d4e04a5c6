//! DescribeKey, and how a key is described (kms-secrets.md section 8.1, `KeyMetadata`).

use serde::Serialize;

use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::Named;
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::key::{KeyName, KeyRecord};
use crate::model::{Arn, KeyId, KeyVersionId, RequestId};

/// Everything about a key but the key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata<'a> {
    arn: Arn,
    key_id: &'a KeyId,
    key_spec: &'static str,
    key_state: &'static str,
    key_usage: &'static str,
    origin: &'static str,
    protection_level: &'static str,
    description: &'a str,
    creator: &'a str,
    creation_date: String,
    /// Empty unless deletion is scheduled.
    delete_date: String,
    /// Empty: keys that were made here do not expire.
    material_expire_time: &'static str,
    primary_key_version: Option<&'a KeyVersionId>,
    last_rotation_date: String,
    automatic_rotation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<String>,
    #[serde(rename = "DKMSInstanceId")]
    dkms_instance_id: &'static str,
    #[serde(flatten)]
    protection: Option<Protection<'a>>,
}

/// What only DescribeKey tells.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protection<'a> {
    deletion_protection: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    deletion_protection_description: &'a str,
}

impl<'a> Metadata<'a> {
    /// As CreateKey answers.
    pub(super) fn of(key: &'a KeyRecord) -> Self {
        let rotates = key.rotation.automatic;
        Self {
            arn: Arn::key(&key.region, &key.account, &key.id),
            key_id: &key.id,
            key_spec: key.spec.as_str(),
            key_state: key.state.as_str(),
            key_usage: key.usage.as_str(),
            origin: key.origin.as_str(),
            protection_level: key.protection.as_str(),
            description: &key.description,
            creator: &key.creator,
            creation_date: key.created.to_string(),
            delete_date: key.delete_at.map(|time| time.to_string()).unwrap_or_default(),
            material_expire_time: "",
            primary_key_version: key.primary().map(|version| &version.id),
            last_rotation_date: key.rotation.last.unwrap_or(key.created).to_string(),
            automatic_rotation: key.automatic_rotation(),
            rotation_interval: key.rotation.interval.filter(|_| rotates).map(|every| every.to_string()),
            next_rotation_date: key.rotation.next.filter(|_| rotates).map(|time| time.to_string()),
            dkms_instance_id: "",
            protection: None,
        }
    }

    /// As DescribeKey answers.
    fn whole(key: &'a KeyRecord) -> Self {
        let protection = Protection {
            deletion_protection: if key.deletion_protection { "Enabled" } else { "Disabled" },
            deletion_protection_description: &key.deletion_protection_description,
        };
        Self { protection: Some(protection), ..Self::of(key) }
    }
}

/// An answer that describes a key.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Body<'a> {
    pub(super) request_id: &'a RequestId,
    pub(super) key_metadata: Metadata<'a>,
}

/// Describes a key.
#[derive(Debug)]
pub(in crate::api::actions) struct DescribeKey {
    key: Named,
}

impl Action for DescribeKey {
    const SPEC: Spec = spec!(Kms, "DescribeKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { key: Named::any(input)? })
    }

    fn resolve(&mut self, services: &Services) {
        self.key.resolve(&services.keys);
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
        let body = Body { request_id, key_metadata: Metadata::whole(&key) };
        Ok(Done::answer(Answer::json(&body, &[&key.description, &key.deletion_protection_description])?))
    }
}
