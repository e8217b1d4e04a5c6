//! Policies of the RAM API (ram.md section 3.3). Documents come back byte for byte.

use serde_json::{Value, json};

use super::versions::version_body;
use super::{
    Action, Asking, Done, Input, Part, Question, Services, Spec, answer, empty, kind_of, policy_name,
    policy_type, spec, text,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError, PolicyView};
use crate::model::{PolicyName, PolicyType, PolicyVersion, RequestId};

fn body(policy: &PolicyView) -> Value {
    json!({
        "PolicyName": policy.name,
        "PolicyType": policy.kind.as_str(),
        "Description": policy.description,
        "DefaultVersion": PolicyVersion::id_of(policy.default_version),
        "CreateDate": policy.created.to_string(),
        "UpdateDate": policy.updated.to_string(),
        "AttachmentCount": policy.attachments,
    })
}

/// The answer with a custom policy that was just changed.
fn changed(services: &Services, name: &PolicyName, request_id: &RequestId) -> Result<Done, ApiError> {
    let view = services.identities.directory().policy(PolicyType::Custom, name);
    let view = view.ok_or(IdentityError::Missing("Policy"))?;
    answer(request_id, &json!({ "Policy": body(&view) }))
}

/// Creates a custom policy.
#[derive(Debug)]
pub(in crate::api::actions) struct CreatePolicy {
    name: PolicyName,
    description: String,
    document: String,
}

impl Action for CreatePolicy {
    const SPEC: Spec = spec!(Ram, "CreatePolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: policy_name(input)?,
            description: text(input, "Description"),
            document: input.required("PolicyDocument")?.to_owned(),
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "policy/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let made =
            services.identities.create_policy(access, self.name, self.description, self.document).await?;
        Ok(changed(services, &made.name, request_id)?.telling(vec![("PolicyName", made.name.to_string())]))
    }
}

/// Deletes a custom policy; with `CascadingDelete` also its versions and attachments.
#[derive(Debug)]
pub(in crate::api::actions) struct DeletePolicy {
    name: PolicyName,
    cascading: bool,
}

impl Action for DeletePolicy {
    const SPEC: Spec = spec!(Ram, "DeletePolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let cascading = input.boolean("CascadingDelete")?.unwrap_or(false);
        Ok(Self { name: policy_name(input)?, cascading })
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
        services.identities.delete_policy(access, &self.name, self.cascading).await?;
        empty(request_id)
    }
}

/// One policy with its document.
#[derive(Debug)]
pub(in crate::api::actions) struct GetPolicy {
    name: PolicyName,
    kind: PolicyType,
}

impl Action for GetPolicy {
    const SPEC: Spec = spec!(Ram, "GetPolicy");

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
        let view = services.identities.directory().policy(self.kind, &self.name);
        let view = view.ok_or(IdentityError::Missing("Policy"))?;
        let version = view.default().ok_or_else(ApiError::internal)?;
        let mut policy = body(&view);
        if let Some(members) = policy.as_object_mut() {
            members.insert("PolicyDocument".to_owned(), version.document.as_str().into());
        }
        let version = version_body(&view, version, true);
        answer(request_id, &json!({ "Policy": policy, "DefaultPolicyVersion": version }))
    }
}

/// Changes the description of a custom policy.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdatePolicyDescription {
    name: PolicyName,
    description: String,
}

impl Action for UpdatePolicyDescription {
    const SPEC: Spec = spec!(Ram, "UpdatePolicyDescription");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: policy_name(input)?, description: input.required("NewDescription")?.to_owned() })
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
        services.identities.describe_policy(access, &self.name, self.description).await?;
        changed(services, &self.name, request_id)
    }
}

/// All policies, by name.
#[derive(Debug)]
pub(in crate::api::actions) struct ListPolicies {
    kind: Option<PolicyType>,
    part: Part,
}

impl Action for ListPolicies {
    const SPEC: Spec = spec!(Ram, "ListPolicies");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let kind = input.optional("PolicyType").map(kind_of).transpose()?;
        Ok(Self { kind, part: Part::parse(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "policy/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let policies = services.identities.directory().policies(self.kind);
        self.part.answer(request_id, ("Policies", "Policy"), policies, |policy| policy.name.as_str(), body)
    }
}
