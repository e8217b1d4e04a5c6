//! Which policy is attached to whom (ram.md sections 3.2 to 3.4).

use serde_json::{Value, json};

use super::{
    Action, Asking, Done, Input, Question, Services, Spec, answer, empty, group_name, policy_name,
    policy_type, role_name, spec, user_name,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, Directory, IdentityError};
use crate::model::{Holder, PolicyName, PolicyType, RequestId};

impl Asking<'_> {
    fn on_holder(&self, right: &'static str, holder: &Holder) -> Vec<Question> {
        match holder {
            Holder::User(name) => self.on_user(right, Some(name)),
            Holder::Group(name) => vec![self.on_group(right, name)],
            Holder::Role(name) => vec![self.on_role(right, name)],
        }
    }
}

/// Which policy and whose.
#[derive(Debug)]
struct Pair {
    holder: Holder,
    kind: PolicyType,
    policy: PolicyName,
}

impl Pair {
    fn parse(input: &Input<'_>, holder: Holder) -> Result<Self, ApiError> {
        if input.optional("ResourceGroupId").is_some_and(|g| !g.is_empty()) {
            return Err(ApiError::unsupported(
                "Resource groups are not supported: leave ResourceGroupId out.",
            ));
        }
        Ok(Self { holder, kind: policy_type(input)?, policy: policy_name(input)? })
    }

    /// Both the holder and the policy (ram.md section 3.4).
    fn questions(&self, right: &'static str, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = asking.on_holder(right, &self.holder);
        questions.push(asking.on_policy(right, self.kind, &self.policy));
        questions
    }
}

/// An action that attaches a policy to, or detaches it from, one kind of holder.
macro_rules! change {
    ($(#[$doc:meta])* $name:ident, $text:literal, $deed:ident, $holder:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::api::actions) struct $name(Pair);

        impl Action for $name {
            const SPEC: Spec = spec!(Ram, $text);

            fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
                let holder: fn(&Input<'_>) -> Result<Holder, ApiError> = $holder;
                Pair::parse(input, holder(input)?).map(Self)
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
                services.identities.$deed(access, &self.0.holder, self.0.kind, &self.0.policy).await?;
                empty(request_id)
            }
        }
    };
}

fn user(input: &Input<'_>) -> Result<Holder, ApiError> {
    user_name(input).map(Holder::User)
}

fn group(input: &Input<'_>) -> Result<Holder, ApiError> {
    group_name(input).map(Holder::Group)
}

fn role(input: &Input<'_>) -> Result<Holder, ApiError> {
    role_name(input).map(Holder::Role)
}

change!(
    /// Attaches a policy to a user.
    AttachPolicyToUser, "AttachPolicyToUser", attach, user
);
change!(
    /// Attaches a policy to a group.
    AttachPolicyToGroup, "AttachPolicyToGroup", attach, group
);
change!(
    /// Attaches a policy to a role.
    AttachPolicyToRole, "AttachPolicyToRole", attach, role
);
change!(
    /// Detaches a policy from a user.
    DetachPolicyFromUser, "DetachPolicyFromUser", detach, user
);
change!(
    /// Detaches a policy from a group.
    DetachPolicyFromGroup, "DetachPolicyFromGroup", detach, group
);
change!(
    /// Detaches a policy from a role.
    DetachPolicyFromRole, "DetachPolicyFromRole", detach, role
);

/// The policies of a holder that exists.
fn policies_of(directory: &Directory, holder: &Holder) -> Value {
    let attached = directory.attached(holder);
    let policy = attached.iter().map(|a| {
        json!({
            "PolicyName": a.policy.name,
            "PolicyType": a.policy.kind.as_str(),
            "Description": a.policy.description,
            "DefaultVersion": crate::model::PolicyVersion::id_of(a.policy.default_version),
            "AttachDate": a.attached.to_string(),
        })
    });
    json!({ "Policies": { "Policy": policy.collect::<Vec<_>>() } })
}

/// An action that lists the policies of one kind of holder.
macro_rules! list {
    ($(#[$doc:meta])* $name:ident, $text:literal, $holder:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::api::actions) struct $name(Holder);

        impl Action for $name {
            const SPEC: Spec = spec!(Ram, $text);

            fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
                let holder: fn(&Input<'_>) -> Result<Holder, ApiError> = $holder;
                holder(input).map(Self)
            }

            fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
                asking.on_holder(Self::SPEC.right, &self.0)
            }

            async fn run(
                self,
                services: &Services,
                _caller: &Caller,
                _access: &Access,
                request_id: &RequestId,
            ) -> Result<Done, ApiError> {
                let directory = services.identities.directory();
                if !directory.has(&self.0) {
                    return Err(IdentityError::Missing(self.0.kind()).into());
                }
                answer(request_id, &policies_of(&directory, &self.0))
            }
        }
    };
}

list!(
    /// The policies attached to a user itself, without those of its groups.
    ListPoliciesForUser, "ListPoliciesForUser", user
);
list!(
    /// The policies attached to a group.
    ListPoliciesForGroup, "ListPoliciesForGroup", group
);
list!(
    /// The policies attached to a role.
    ListPoliciesForRole, "ListPoliciesForRole", role
);

/// Whom a policy is attached to.
#[derive(Debug)]
pub(in crate::api::actions) struct ListEntitiesForPolicy {
    name: PolicyName,
    kind: PolicyType,
}

impl Action for ListEntitiesForPolicy {
    const SPEC: Spec = spec!(Ram, "ListEntitiesForPolicy");

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
        let directory = services.identities.directory();
        let policy = directory.policy(self.kind, &self.name).ok_or(IdentityError::Missing("Policy"))?;
        let (mut users, mut groups, mut roles) = (Vec::new(), Vec::new(), Vec::new());
        for attachment in directory.attachments_of(self.kind, policy.name.as_str()) {
            let date = attachment.attached.to_string();
            match &attachment.holder {
                Holder::User(name) => users.extend(directory.user(name).map(|user| {
                    json!({
                        "UserId": user.id,
                        "UserName": user.name,
                        "DisplayName": user.display_name,
                        "AttachDate": date,
                    })
                })),
                Holder::Group(name) => groups.extend(directory.group(name).map(|group| {
                    json!({ "GroupName": group.name, "Comments": group.comments, "AttachDate": date })
                })),
                Holder::Role(name) => roles.extend(directory.role(name).map(|role| {
                    json!({
                        "RoleId": role.id,
                        "RoleName": role.name,
                        "Arn": services.identities.role_arn(&role.name),
                        "Description": role.description,
                        "AttachDate": date,
                    })
                })),
            }
        }
        answer(
            request_id,
            &json!({ "Users": { "User": users }, "Groups": { "Group": groups }, "Roles": { "Role": roles } }),
        )
    }
}
