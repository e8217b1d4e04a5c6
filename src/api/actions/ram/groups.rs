//! Groups of the RAM API (ram.md section 3.3).

use serde_json::{Value, json};

use super::{
    Action, Asking, Done, Input, Part, Question, Services, Spec, answer, empty, group_name, new_text,
    optional, spec, text,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError};
use crate::model::{Arn, GroupName, GroupRecord, RequestId};

fn body(group: &GroupRecord) -> Value {
    json!({
        "GroupId": group.id,
        "GroupName": group.name,
        "Comments": group.comments,
        "CreateDate": group.created.to_string(),
        "UpdateDate": group.updated.to_string(),
    })
}

/// Creates a group without members or rights.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateGroup {
    name: GroupName,
    comments: String,
}

impl Action for CreateGroup {
    const SPEC: Spec = spec!(Ram, "CreateGroup");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: group_name(input)?, comments: text(input, "Comments") })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "group/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let group = services.identities.create_group(access, self.name, self.comments).await?;
        Ok(answer(request_id, &json!({ "Group": body(&group) }))?.telling(vec![("GroupId", group.id)]))
    }
}

/// One group.
#[derive(Debug)]
pub(in crate::api::actions) struct GetGroup(GroupName);

impl Action for GetGroup {
    const SPEC: Spec = spec!(Ram, "GetGroup");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        group_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_group(Self::SPEC.right, &self.0)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        let group = directory.group(&self.0).ok_or(IdentityError::Missing("Group"))?;
        answer(request_id, &json!({ "Group": body(group) }))
    }
}

/// Changes a group, which keeps members and policies under another name.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateGroup {
    name: GroupName,
    new_name: Option<GroupName>,
    new_comments: Option<String>,
}

impl Action for UpdateGroup {
    const SPEC: Spec = spec!(Ram, "UpdateGroup");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: group_name(input)?,
            new_name: optional(input, "NewGroupName", GroupName::parse)?,
            new_comments: new_text(input, "NewComments"),
        })
    }

    /// Also the new name, as when a user is renamed.
    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = vec![asking.on_group(Self::SPEC.right, &self.name)];
        if let Some(new) = &self.new_name {
            let resource = Arn::ram(&asking.scope.account, &format!("group/{new}"));
            questions.push(Question { action: Self::SPEC.right, resource });
        }
        questions
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let identities = &services.identities;
        let group = identities.update_group(access, &self.name, self.new_name, self.new_comments).await?;
        answer(request_id, &json!({ "Group": body(&group) }))
    }
}

/// Deletes a group that has neither members nor policies.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteGroup(GroupName);

impl Action for DeleteGroup {
    const SPEC: Spec = spec!(Ram, "DeleteGroup");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        group_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_group(Self::SPEC.right, &self.0)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_group(access, &self.0).await?;
        empty(request_id)
    }
}

/// All groups, by name.
#[derive(Debug)]
pub(in crate::api::actions) struct ListGroups(Part);

impl Action for ListGroups {
    const SPEC: Spec = spec!(Ram, "ListGroups");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Part::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "group/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        let groups = directory.groups();
        self.0.answer(
            request_id,
            ("Groups", "Group"),
            groups,
            |group| group.name.as_str(),
            |group| body(group),
        )
    }
}
