//! Users of the RAM API 2015-05-01 (ram.md section 3).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{Arn, RequestId, UserName, UserRecord};

/// `UserName`, required.
///
/// # Errors
///
/// `MissingParameter` or `InvalidParameter`.
pub(super) fn user_name(input: &Input<'_>) -> Result<UserName, ApiError> {
    input.parsed("UserName", UserName::parse)
}

/// `UserName` where it may be left out and then means the caller (ram.md section 3.3).
///
/// # Errors
///
/// As [`user_name`].
pub(super) fn user_name_or_self(input: &Input<'_>) -> Result<Option<UserName>, ApiError> {
    input.optional("UserName").map(|_| user_name(input)).transpose()
}

/// The answer that says nothing but its id.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Empty<'a> {
    pub(super) request_id: &'a RequestId,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserBody<'a> {
    user_id: &'a str,
    user_name: &'a UserName,
    display_name: &'a str,
    comments: &'a str,
    create_date: String,
}

impl<'a> UserBody<'a> {
    fn of(user: &'a UserRecord) -> Self {
        Self {
            user_id: &user.id,
            user_name: &user.name,
            display_name: &user.display_name,
            comments: &user.comments,
            create_date: user.created.to_string(),
        }
    }
}

/// Creates a user without rights.
#[derive(Debug)]
pub(super) struct CreateUser {
    name: UserName,
    display_name: String,
    comments: String,
}

impl Action for CreateUser {
    const SPEC: Spec = spec!(Ram, "CreateUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: user_name(input)?,
            display_name: input.optional("DisplayName").unwrap_or("").to_owned(),
            comments: input.optional("Comments").unwrap_or("").to_owned(),
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: Arn::ram(&asking.scope.account, "user/*") }]
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
            user: UserBody<'a>,
        }
        let user =
            services.identities.create_user(access, self.name, self.display_name, self.comments).await?;
        let answer = Answer::json(&Body { request_id, user: UserBody::of(&user) }, &[])?;
        Ok(Done::answer(answer).telling(vec![("UserId", user.id)]))
    }
}

/// Deletes a user that has neither keys nor policies.
#[derive(Debug)]
pub(super) struct DeleteUser {
    name: UserName,
}

impl Action for DeleteUser {
    const SPEC: Spec = spec!(Ram, "DeleteUser");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: user_name(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, Some(&self.name))
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.identities.delete_user(access, &self.name).await?;
        Ok(Done::answer(Answer::json(&Empty { request_id }, &[])?))
    }
}

/// All users, by name.
#[derive(Debug)]
pub(super) struct ListUsers {
    marker: Option<UserName>,
    max_items: usize,
}

impl Action for ListUsers {
    const SPEC: Spec = spec!(Ram, "ListUsers");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let marker = match input.optional("Marker").filter(|m| !m.is_empty()) {
            Some(_) => Some(input.parsed("Marker", UserName::parse)?),
            None => None,
        };
        let max_items = input.number("MaxItems")?;
        Ok(Self { marker, max_items: usize::try_from(max_items).unwrap_or(100) })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: Arn::ram(&asking.scope.account, "user/*") }]
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
            marker: Option<&'a UserName>,
            users: List<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct List<'a> {
            user: Vec<UserBody<'a>>,
        }
        let directory = services.identities.directory();
        let folded = |name: &UserName| name.as_str().to_ascii_lowercase();
        // The marker is the last name of the page before.
        let after = self.marker.as_ref().map(folded);
        let mut rest = directory.users().filter(|u| after.as_ref().is_none_or(|m| folded(&u.name) > *m));
        let page: Vec<&UserRecord> = rest.by_ref().take(self.max_items).collect();
        let is_truncated = rest.next().is_some();
        let marker = page.last().filter(|_| is_truncated).map(|u| &u.name);
        let users = List { user: page.iter().map(|u| UserBody::of(u)).collect() };
        Ok(Done::answer(Answer::json(&Body { request_id, is_truncated, marker, users }, &[])?))
    }
}
