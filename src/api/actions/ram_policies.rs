//! Policies of the RAM API 2015-05-01 (ram.md section 3). Documents come back byte for byte.

use serde::Serialize;

use super::ram_users::{Empty, user_name};
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError, PolicyView};
use crate::model::{Arn, PolicyName, PolicyType, RequestId, UserName};

fn policy_name(input: &Input<'_>) -> Result<PolicyName, ApiError> {
    input.parsed("PolicyName", PolicyName::parse)
}

fn kind_of(text: &str) -> Result<PolicyType, ApiError> {
    match text {
        "Custom" => Ok(PolicyType::Custom),
        "System" => Ok(PolicyType::System),
        _ => Err(ApiError::new(
            "InvalidParameter.PolicyType",
            400,
            "The parameter PolicyType must be Custom or System.",
        )),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyBody<'a> {
    policy_name: &'a PolicyName,
    policy_type: &'static str,
    description: &'a str,
    default_version: &'static str,
    create_date: String,
    update_date: String,
    attachment_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_document: Option<&'a str>,
}

impl<'a> PolicyBody<'a> {
    fn of(policy: &'a PolicyView, with_document: bool) -> Self {
        Self {
            policy_name: &policy.name,
            policy_type: policy.kind.as_str(),
            description: &policy.description,
            default_version: "v1",
            create_date: policy.created.to_string(),
            update_date: policy.updated.to_string(),
            attachment_count: policy.attachments,
            policy_document: with_document.then_some(policy.document.as_str()),
        }
    }
}

/// Creates a custom policy.
#[derive(Debug)]
pub(super) struct CreatePolicy {
    name: PolicyName,
    description: String,
    document: String,
}

impl Action for CreatePolicy {
    const SPEC: Spec = spec!(Ram, "CreatePolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: policy_name(input)?,
            description: input.optional("Description").unwrap_or("").to_owned(),
            document: input.required("PolicyDocument")?.to_owned(),
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: Arn::ram(&asking.scope.account, "policy/*") }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            policy: PolicyBody<'a>,
        }
        let made =
            services.identities.create_policy(access, self.name, self.description, self.document).await?;
        let view = services.identities.directory().policy(PolicyType::Custom, &made.name);
        let view = view.ok_or_else(ApiError::internal)?;
        let answer = Answer::json(&Body { request_id, policy: PolicyBody::of(&view, false) }, &[])?;
        Ok(Done::answer(answer).telling(vec![("PolicyName", made.name.to_string())]))
    }
}

/// Deletes a custom policy that is attached to nobody.
#[derive(Debug)]
pub(super) struct DeletePolicy {
    name: PolicyName,
}

impl Action for DeletePolicy {
    const SPEC: Spec = spec!(Ram, "DeletePolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.boolean("CascadingDelete")?.unwrap_or(false) {
            return Err(ApiError::unsupported("CascadingDelete is not supported: detach the policy first."));
        }
        Ok(Self { name: policy_name(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.policy(PolicyType::Custom, &self.name) }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_policy(access, &self.name).await?;
        Ok(Done::answer(Answer::json(&Empty { request_id }, &[])?))
    }
}

/// One policy with its document.
#[derive(Debug)]
pub(super) struct GetPolicy {
    name: PolicyName,
    kind: PolicyType,
}

impl Action for GetPolicy {
    const SPEC: Spec = spec!(Ram, "GetPolicy");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: policy_name(input)?, kind: kind_of(input.required("PolicyType")?)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.policy(self.kind, &self.name) }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            policy: PolicyBody<'a>,
            default_policy_version: Version<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Version<'a> {
            version_id: &'static str,
            is_default_version: bool,
            create_date: String,
            policy_document: &'a str,
        }
        let view = services.identities.directory().policy(self.kind, &self.name);
        let view = view.ok_or(IdentityError::Missing("Policy"))?;
        let body = Body {
            request_id,
            policy: PolicyBody::of(&view, true),
            default_policy_version: Version {
                version_id: "v1",
                is_default_version: true,
                create_date: view.created.to_string(),
                policy_document: &view.document,
            },
        };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}

/// All policies, by name.
#[derive(Debug)]
pub(super) struct ListPolicies {
    kind: Option<PolicyType>,
    marker: Option<PolicyName>,
    max_items: usize,
}

impl Action for ListPolicies {
    const SPEC: Spec = spec!(Ram, "ListPolicies");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let marker = match input.optional("Marker").filter(|m| !m.is_empty()) {
            Some(_) => Some(input.parsed("Marker", PolicyName::parse)?),
            None => None,
        };
        let kind = input.optional("PolicyType").map(kind_of).transpose()?;
        let max_items = input.number("MaxItems")?;
        Ok(Self { kind, marker, max_items: usize::try_from(max_items).unwrap_or(100) })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: Arn::ram(&asking.scope.account, "policy/*") }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            is_truncated: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            marker: Option<&'a PolicyName>,
            policies: List<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct List<'a> {
            policy: Vec<PolicyBody<'a>>,
        }
        let all = services.identities.directory().policies(self.kind);
        let mut rest = all.iter().filter(|p| self.marker.as_ref().is_none_or(|m| p.name > *m));
        let page: Vec<&PolicyView> = rest.by_ref().take(self.max_items).collect();
        let is_truncated = rest.next().is_some();
        let marker = page.last().filter(|_| is_truncated).map(|p| &p.name);
        let policies = List { policy: page.iter().map(|p| PolicyBody::of(p, false)).collect() };
        Ok(Done::answer(Answer::json(&Body { request_id, is_truncated, marker, policies }, &[])?))
    }
}

/// The policies attached to a user.
#[derive(Debug)]
pub(super) struct ListPoliciesForUser {
    user: UserName,
}

impl Action for ListPoliciesForUser {
    const SPEC: Spec = spec!(Ram, "ListPoliciesForUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { user: user_name(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, Some(&self.user))
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            policies: List<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct List<'a> {
            policy: Vec<One<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct One<'a> {
            policy_name: &'a PolicyName,
            policy_type: &'static str,
            description: &'a str,
            default_version: &'static str,
            attach_date: String,
        }
        let directory = services.identities.directory();
        directory.user(&self.user).ok_or(IdentityError::Missing("User"))?;
        let attached = directory.attached(&self.user);
        let policy = attached
            .iter()
            .map(|a| One {
                policy_name: &a.policy.name,
                policy_type: a.policy.kind.as_str(),
                description: &a.policy.description,
                default_version: "v1",
                attach_date: a.attached.to_string(),
            })
            .collect();
        Ok(Done::answer(Answer::json(&Body { request_id, policies: List { policy } }, &[])?))
    }
}

/// Which policy and which user.
#[derive(Debug)]
struct Pair {
    user: UserName,
    kind: PolicyType,
    policy: PolicyName,
}

impl Pair {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.optional("ResourceGroupId").is_some_and(|g| !g.is_empty()) {
            return Err(ApiError::unsupported(
                "Resource groups are not supported: leave ResourceGroupId out.",
            ));
        }
        Ok(Self {
            user: user_name(input)?,
            kind: kind_of(input.required("PolicyType")?)?,
            policy: policy_name(input)?,
        })
    }

    /// Both the user and the policy (ram.md section 3.4).
    fn questions(&self, right: &'static str, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = asking.on_user(right, Some(&self.user));
        questions.push(Question { action: right, resource: asking.policy(self.kind, &self.policy) });
        questions
    }
}

/// Attaches a policy to a user.
#[derive(Debug)]
pub(super) struct AttachPolicyToUser(Pair);

impl Action for AttachPolicyToUser {
    const SPEC: Spec = spec!(Ram, "AttachPolicyToUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Pair::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        self.0.questions(Self::SPEC.right, asking)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.attach(access, &self.0.user, self.0.kind, &self.0.policy).await?;
        Ok(Done::answer(Answer::json(&Empty { request_id }, &[])?))
    }
}

/// Detaches a policy from a user.
#[derive(Debug)]
pub(super) struct DetachPolicyFromUser(Pair);

impl Action for DetachPolicyFromUser {
    const SPEC: Spec = spec!(Ram, "DetachPolicyFromUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Pair::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        self.0.questions(Self::SPEC.right, asking)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.detach(access, &self.0.user, self.0.kind, &self.0.policy).await?;
        Ok(Done::answer(Answer::json(&Empty { request_id }, &[])?))
    }
}
