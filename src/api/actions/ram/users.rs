//! Users of the RAM API (ram.md section 3.3).

use serde_json::{Value, json};

use super::{
    Action, Asking, Done, Input, Part, Question, Services, Spec, answer, empty, new_text, optional, spec,
    text, user_name,
};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError, NewUser, UserChange};
use crate::model::{Arn, RequestId, UserName, UserRecord};

fn body(user: &UserRecord) -> Value {
    json!({
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.display_name,
        "Comments": user.comments,
        "Email": user.email,
        "MobilePhone": user.mobile_phone,
        "CreateDate": user.created.to_string(),
        "UpdateDate": user.updated.unwrap_or(user.created).to_string(),
    })
}

/// Creates a user without rights.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateUser(NewUser);

impl Action for CreateUser {
    const SPEC: Spec = spec!(Ram, "CreateUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self(NewUser {
            name: user_name(input)?,
            display_name: text(input, "DisplayName"),
            comments: text(input, "Comments"),
            email: text(input, "Email"),
            mobile_phone: text(input, "MobilePhone"),
        }))
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "user/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let user = services.identities.create_user(access, self.0).await?;
        Ok(answer(request_id, &json!({ "User": body(&user) }))?.telling(vec![("UserId", user.id)]))
    }
}

/// One user.
#[derive(Debug)]
pub(in crate::api::actions) struct GetUser(UserName);

impl Action for GetUser {
    const SPEC: Spec = spec!(Ram, "GetUser");

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
        let user = directory.user(&self.0).ok_or(IdentityError::Missing("User"))?;
        answer(request_id, &json!({ "User": body(user) }))
    }
}

/// Changes a user, who keeps keys, policies and groups under another name.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateUser {
    name: UserName,
    change: UserChange,
}

impl Action for UpdateUser {
    const SPEC: Spec = spec!(Ram, "UpdateUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: user_name(input)?,
            change: UserChange {
                name: optional(input, "NewUserName", UserName::parse)?,
                display_name: new_text(input, "NewDisplayName"),
                comments: new_text(input, "NewComments"),
                email: new_text(input, "NewEmail"),
                mobile_phone: new_text(input, "NewMobilePhone"),
            },
        })
    }

    /// Also the new name: policies and trust policies speak of users by name,
    /// so that a name is a right.
    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = asking.on_user(Self::SPEC.right, Some(&self.name));
        if let Some(new) = &self.change.name {
            let resource = Arn::ram(&asking.scope.account, &format!("user/{new}"));
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
        let user = services.identities.update_user(access, &self.name, self.change).await?;
        Ok(answer(request_id, &json!({ "User": body(&user) }))?.telling(vec![("UserId", user.id)]))
    }
}

/// Deletes a user that has neither keys nor policies nor groups.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteUser(UserName);

impl Action for DeleteUser {
    const SPEC: Spec = spec!(Ram, "DeleteUser");

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
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_user(access, &self.0).await?;
        empty(request_id)
    }
}

/// All users, by name.
#[derive(Debug)]
pub(in crate::api::actions) struct ListUsers(Part);

impl Action for ListUsers {
    const SPEC: Spec = spec!(Ram, "ListUsers");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Part::parse(input).map(Self)
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_all(Self::SPEC.right, "user/*")
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let directory = services.identities.directory();
        let users = directory.users();
        self.0.answer(request_id, ("Users", "User"), users, |user| user.name.as_str(), |user| body(user))
    }
}
