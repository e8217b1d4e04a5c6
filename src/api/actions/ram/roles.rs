//! Roles of the RAM API (ram.md section 3.3).

use serde_json::{Value, json};

use super::{
    Action, Asking, Done, Input, Part, Question, Services, Spec, answer, empty, new_text, role_name, spec,
    text,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError, RoleChange};
use crate::model::{RequestId, RoleName, RoleRecord};

/// A role without its trust policy, which lists leave out.
fn short(services: &Services, role: &RoleRecord) -> Value {
    json!({
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": services.identities.role_arn(&role.name),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_seconds,
        "AllowConsoleLogin": false,
        "CreateDate": role.created.to_string(),
        "UpdateDate": role.updated.to_string(),
    })
}

/// A role with everything there is to it.
pub(super) fn body(services: &Services, role: &RoleRecord) -> Value {
    let mut body = short(services, role);
    if let Some(members) = body.as_object_mut() {
        members.insert("AssumeRolePolicyDocument".to_owned(), role.trust.as_str().into());
        members.insert("IsServiceLinkedRole".to_owned(), role.service.is_some().into());
        if let Some(deletion) = &role.deletion {
            let task = json!({ "CreateDate": deletion.at.to_string(), "DeletionTaskId": deletion.task });
            members.insert("LatestDeletionTask".to_owned(), task);
        }
    }
    body
}

/// Creates a role without rights.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateRole {
    name: RoleName,
    description: String,
    trust: String,
    max_session_seconds: u32,
}

impl Action for CreateRole {
    const SPEC: Spec = spec!(Ram, "CreateRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: role_name(input)?,
            description: text(input, "Description"),
            trust: input.required("AssumeRolePolicyDocument")?.to_owned(),
            max_session_seconds: input.number("MaxSessionDuration")?,
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "role/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let Self { name, description, trust, max_session_seconds } = self;
        let identities = &services.identities;
        let role = identities.create_role(access, name, description, trust, max_session_seconds).await?;
        Ok(answer(request_id, &json!({ "Role": body(services, &role) }))?.telling(vec![("RoleId", role.id)]))
    }
}

/// One role with its trust policy.
#[derive(Debug)]
pub(in crate::api::actions) struct GetRole(RoleName);

impl Action for GetRole {
    const SPEC: Spec = spec!(Ram, "GetRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        role_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_role(Self::SPEC.right, &self.0)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        let role = directory.role(&self.0).ok_or(IdentityError::Missing("Role"))?;
        answer(request_id, &json!({ "Role": body(services, role) }))
    }
}

/// Changes a role; a shorter session time holds for sessions that go on as well.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateRole {
    name: RoleName,
    change: RoleChange,
}

impl Action for UpdateRole {
    const SPEC: Spec = spec!(Ram, "UpdateRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let seconds = input.optional("NewMaxSessionDuration");
        Ok(Self {
            name: role_name(input)?,
            change: RoleChange {
                trust: new_text(input, "NewAssumeRolePolicyDocument"),
                description: new_text(input, "NewDescription"),
                max_session_seconds: seconds.map(|_| input.number("NewMaxSessionDuration")).transpose()?,
            },
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_role(Self::SPEC.right, &self.name)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let role = services.identities.update_role(access, &self.name, self.change).await?;
        answer(request_id, &json!({ "Role": body(services, &role) }))
    }
}

/// Deletes a role that has no policies, and with it all its sessions.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteRole(RoleName);

impl Action for DeleteRole {
    const SPEC: Spec = spec!(Ram, "DeleteRole");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        role_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_role(Self::SPEC.right, &self.0)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_role(access, &self.0).await?;
        empty(request_id)
    }
}

/// Ends all sessions of a role that were begun until now; an extension.
#[derive(Debug)]
pub(in crate::api::actions) struct RevokeRoleSessions(RoleName);

impl Action for RevokeRoleSessions {
    const SPEC: Spec = spec!(Ram, "RevokeRoleSessions");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        role_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_role(Self::SPEC.right, &self.0)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let moment = services.identities.revoke_sessions(access, &self.0).await?;
        answer(request_id, &json!({ "RevokedUntil": moment.to_string() }))
    }
}

/// All roles, by name.
#[derive(Debug)]
pub(in crate::api::actions) struct ListRoles(Part);

impl Action for ListRoles {
    const SPEC: Spec = spec!(Ram, "ListRoles");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Part::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "role/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        let roles = directory.roles();
        let body = |role: &&RoleRecord| short(services, role);
        self.0.answer(request_id, ("Roles", "Role"), roles, |role| role.name.as_str(), body)
    }
}
