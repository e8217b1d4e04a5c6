//! Roles of services (ram.md sections 2.4 and 3.2): the appliance gives them
//! their name, trust and policy, and they go only when the service has no use
//! for them.

use serde_json::json;

use super::{Action, Asking, Done, Input, Question, Services, Spec, answer, role_name, roles, spec, text};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, SERVICE_ROLES, ServiceRole};
use crate::model::{RequestId, RoleName, SecretType};

/// The condition key that policies restrict these actions by.
const SERVICE: &str = "ram:ServiceName";

fn service(input: &Input<'_>) -> Result<&'static ServiceRole, ApiError> {
    let name = input.required("ServiceName")?;
    SERVICE_ROLES
        .iter()
        .find(|role| role.service == name)
        .ok_or_else(|| ApiError::invalid("The parameter ServiceName must be a service that has a role here."))
}

/// Creates the role of a service, with its policy.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateServiceLinkedRole {
    service: &'static ServiceRole,
    description: String,
}

impl Action for CreateServiceLinkedRole {
    const SPEC: Spec = spec!(Ram, "CreateServiceLinkedRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        if input.optional("CustomSuffix").is_some_and(|suffix| !suffix.is_empty()) {
            return Err(ApiError::unsupported("A service has one role here: leave CustomSuffix out."));
        }
        Ok(Self { service: service(input)?, description: text(input, "Description") })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    fn conditions(&self) -> Vec<(&'static str, &str)> {
        vec![(SERVICE, self.service.service)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let role = services.identities.create_service_role(access, self.service, self.description).await?;
        Ok(answer(request_id, &json!({ "Role": roles::body(services, &role) }))?
            .telling(vec![("RoleName", role.name.to_string())]))
    }
}

/// Deletes the role of a service if the service has no use for it.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteServiceLinkedRole(RoleName);

impl Action for DeleteServiceLinkedRole {
    const SPEC: Spec = spec!(Ram, "DeleteServiceLinkedRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        role_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    fn conditions(&self) -> Vec<(&'static str, &str)> {
        let role = SERVICE_ROLES.iter().find(|role| role.role.eq_ignore_ascii_case(self.0.as_str()));
        role.map(|role| (SERVICE, role.service)).into_iter().collect()
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let used = is_used(services).await?;
        let reason =
            used.then_some("There are secrets of type ECS, which the role is for: delete them first.");
        let task = services.identities.delete_service_role(access, &self.0, reason).await?;
        Ok(answer(request_id, &json!({ "DeletionTaskId": task }))?.telling(vec![("DeletionTaskId", task)]))
    }
}

/// Secrets that are looked at in one go.
const AT_ONCE: u32 = 500;

/// Whether there is a secret of an ECS instance.
async fn is_used(services: &Services) -> Result<bool, ApiError> {
    let mut from = Some(String::new());
    while let Some(start) = from {
        let (secrets, next) = services.vault.page(&start, AT_ONCE).await?;
        if secrets.iter().any(|secret| secret.kind == SecretType::Ecs) {
            return Ok(true);
        }
        from = next;
    }
    Ok(false)
}

/// What came of the deletion of a service's role.
#[derive(Debug)]
pub(in crate::api::actions) struct GetServiceLinkedRoleDeletionStatus(String);

impl Action for GetServiceLinkedRoleDeletionStatus {
    const SPEC: Spec = spec!(Ram, "GetServiceLinkedRoleDeletionStatus");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self(input.required("DeletionTaskId")?.to_owned()))
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
        match services.identities.deletion_of_service_role(&self.0)? {
            None => answer(request_id, &json!({ "Status": "SUCCEEDED" })),
            Some(reason) => {
                answer(request_id, &json!({ "Status": "FAILED", "Reason": { "Message": reason } }))
            }
        }
    }
}

/// What the role of a service is like.
#[derive(Debug)]
pub(in crate::api::actions) struct GetServiceLinkedRoleTemplate(&'static ServiceRole);

impl Action for GetServiceLinkedRoleTemplate {
    const SPEC: Spec = spec!(Ram, "GetServiceLinkedRoleTemplate");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        service(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "*")
    }

    fn conditions(&self) -> Vec<(&'static str, &str)> {
        vec![(SERVICE, self.0.service)]
    }

    async fn run(
        self,
        _services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let template = json!({
            "ServiceName": self.0.service,
            "RoleNamePrefix": self.0.role,
            "SystemPolicyName": self.0.policy,
            "MultipleRolesAllowed": false,
            "RoleDescriptions": { "RoleDescription": [
                { "Language": "en", "Description": self.0.description },
            ]},
        });
        answer(request_id, &json!({ "ServiceLinkedRoleTemplate": template }))
    }
}
