//! Who is in which group (ram.md sections 3.2 and 3.4).

use serde_json::json;

use super::{
    Action, Asking, Done, Input, Part, Question, Services, Spec, answer, empty, group_name, spec, user_name,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError};
use crate::model::{GroupName, RequestId, UserName};

/// Which user and which group.
#[derive(Debug)]
struct Pair {
    user: UserName,
    group: GroupName,
}

impl Pair {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { user: user_name(input)?, group: group_name(input)? })
    }

    /// Both the user and the group (ram.md section 3.4).
    fn questions(&self, right: &'static str, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = asking.on_user(right, Some(&self.user));
        questions.push(asking.on_group(right, &self.group));
        questions
    }
}

/// Puts a user into a group.
#[derive(Debug)]
pub(in crate::api::actions) struct AddUserToGroup(Pair);

impl Action for AddUserToGroup {
    const SPEC: Spec = spec!(Ram, "AddUserToGroup");

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
        services.identities.add_to_group(access, &self.0.group, &self.0.user).await?;
        empty(request_id)
    }
}

/// Takes a user out of a group.
#[derive(Debug)]
pub(in crate::api::actions) struct RemoveUserFromGroup(Pair);

impl Action for RemoveUserFromGroup {
    const SPEC: Spec = spec!(Ram, "RemoveUserFromGroup");

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
        services.identities.remove_from_group(access, &self.0.group, &self.0.user).await?;
        empty(request_id)
    }
}

/// The groups that a user is in.
#[derive(Debug)]
pub(in crate::api::actions) struct ListGroupsForUser(UserName);

impl Action for ListGroupsForUser {
    const SPEC: Spec = spec!(Ram, "ListGroupsForUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        user_name(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, Some(&self.0))
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        directory.user(&self.0).ok_or(IdentityError::Missing("User"))?;
        let memberships = directory.memberships(&self.0);
        let groups = memberships.iter().filter_map(|membership| {
            let group = directory.group(&membership.group)?;
            Some(json!({
                "GroupId": group.id,
                "GroupName": group.name,
                "Comments": group.comments,
                "JoinDate": membership.joined.to_string(),
            }))
        });
        answer(request_id, &json!({ "Groups": { "Group": groups.collect::<Vec<_>>() } }))
    }
}

/// The members of a group.
#[derive(Debug)]
pub(in crate::api::actions) struct ListUsersForGroup {
    group: GroupName,
    part: Part,
}

impl Action for ListUsersForGroup {
    const SPEC: Spec = spec!(Ram, "ListUsersForGroup");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { group: group_name(input)?, part: Part::parse(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![asking.on_group(Self::SPEC.right, &self.group)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        directory.group(&self.group).ok_or(IdentityError::Missing("Group"))?;
        let members = directory.members(&self.group);
        self.part.answer(
            request_id,
            ("Users", "User"),
            members,
            |member| member.user.as_str(),
            |member| {
                let display_name = directory.user(&member.user).map_or("", |user| &user.display_name);
                json!({
                    "UserName": member.user,
                    "DisplayName": display_name,
                    "JoinDate": member.joined.to_string(),
                })
            },
        )
    }
}
