//! Versions of policies (ram.md section 3.3).

use serde_json::{Value, json};

use super::{
    Action, Asking, Done, Input, Question, Services, Spec, answer, empty, policy_name, policy_type, spec,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError, PolicyView, WhenFull};
use crate::model::{PolicyName, PolicyType, PolicyVersion, RequestId};

/// A version, with or without its document.
pub(super) fn version_body(policy: &PolicyView, version: &PolicyVersion, with_document: bool) -> Value {
    let mut body = json!({
        "VersionId": PolicyVersion::id_of(version.number),
        "IsDefaultVersion": version.number == policy.default_version,
        "CreateDate": version.created.to_string(),
    });
    if let Some(members) = body.as_object_mut().filter(|_| with_document) {
        members.insert("PolicyDocument".to_owned(), version.document.as_str().into());
    }
    body
}

/// `VersionId`, such as `v1`.
fn version_number(input: &Input<'_>) -> Result<u32, ApiError> {
    let text = input.required("VersionId")?;
    let digits = text.strip_prefix('v').filter(|digits| {
        (1..=9).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        let message = "The parameter VersionId must be v and a number, such as v1.";
        ApiError::new("InvalidParameter.VersionId.Format", 400, message)
    })
}

fn policy(services: &Services, kind: PolicyType, name: &PolicyName) -> Result<PolicyView, ApiError> {
    Ok(services.identities.directory().policy(kind, name).ok_or(IdentityError::Missing("Policy"))?)
}

/// Adds a version to a custom policy.
#[derive(Debug)]
pub(in crate::api::actions) struct CreatePolicyVersion {
    name: PolicyName,
    document: String,
    as_default: bool,
    when_full: WhenFull,
}

impl Action for CreatePolicyVersion {
    const SPEC: Spec = spec!(Ram, "CreatePolicyVersion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let when_full = match input.optional("RotateStrategy") {
            Some("DeleteOldestNonDefaultVersionWhenLimitExceeded") => WhenFull::DropOldest,
            Some(_) | None => WhenFull::Refuse,
        };
        Ok(Self {
            name: policy_name(input)?,
            document: input.required("PolicyDocument")?.to_owned(),
            as_default: input.boolean("SetAsDefault")?.unwrap_or(false),
            when_full,
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_policy(Self::SPEC.right, PolicyType::Custom, &self.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let Self { name, document, as_default, when_full } = self;
        let made =
            services.identities.create_policy_version(access, &name, document, as_default, when_full).await?;
        let id = PolicyVersion::id_of(made.number);
        let body = json!({ "PolicyVersion": {
            "VersionId": id,
            "IsDefaultVersion": as_default,
            "CreateDate": made.created.to_string(),
            "PolicyDocument": made.document,
        }});
        Ok(answer(request_id, &body)?.telling(vec![("VersionId", id)]))
    }
}

/// One version with its document.
#[derive(Debug)]
pub(in crate::api::actions) struct GetPolicyVersion {
    name: PolicyName,
    kind: PolicyType,
    number: u32,
}

impl Action for GetPolicyVersion {
    const SPEC: Spec = spec!(Ram, "GetPolicyVersion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: policy_name(input)?, kind: policy_type(input)?, number: version_number(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_policy(Self::SPEC.right, self.kind, &self.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let view = policy(services, self.kind, &self.name)?;
        let version = view.version(self.number).ok_or(IdentityError::Missing("Policy.Version"))?;
        answer(request_id, &json!({ "PolicyVersion": version_body(&view, version, true) }))
    }
}

/// All versions of a policy, with their documents.
#[derive(Debug)]
pub(in crate::api::actions) struct ListPolicyVersions {
    name: PolicyName,
    kind: PolicyType,
}

impl Action for ListPolicyVersions {
    const SPEC: Spec = spec!(Ram, "ListPolicyVersions");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: policy_name(input)?, kind: policy_type(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_policy(Self::SPEC.right, self.kind, &self.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let view = policy(services, self.kind, &self.name)?;
        let versions: Vec<Value> =
            view.versions.iter().map(|version| version_body(&view, version, true)).collect();
        answer(request_id, &json!({ "PolicyVersions": { "PolicyVersion": versions } }))
    }
}

/// Which version of which custom policy.
#[derive(Debug)]
struct One {
    name: PolicyName,
    number: u32,
}

impl One {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: policy_name(input)?, number: version_number(input)? })
    }
}

/// Makes a version the one that decides.
#[derive(Debug)]
pub(in crate::api::actions) struct SetDefaultPolicyVersion(One);

impl Action for SetDefaultPolicyVersion {
    const SPEC: Spec = spec!(Ram, "SetDefaultPolicyVersion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        One::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_policy(Self::SPEC.right, PolicyType::Custom, &self.0.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.set_default_policy_version(access, &self.0.name, self.0.number).await?;
        empty(request_id)
    }
}

/// Deletes a version that is not the default.
#[derive(Debug)]
pub(in crate::api::actions) struct DeletePolicyVersion(One);

impl Action for DeletePolicyVersion {
    const SPEC: Spec = spec!(Ram, "DeletePolicyVersion");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        One::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_policy(Self::SPEC.right, PolicyType::Custom, &self.0.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_policy_version(access, &self.0.name, self.0.number).await?;
        empty(request_id)
    }
}
