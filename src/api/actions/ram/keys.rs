//! Access keys of the RAM API 2015-05-01 (ram.md section 3).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, empty, spec, user_name_or_self};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::{Caller, IdentityError};
use crate::model::{AccessKeyId, AccessKeyStatus, RequestId, UserName};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyBody<'a> {
    access_key_id: &'a AccessKeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<&'a str>,
    status: &'static str,
    create_date: String,
}

/// Whose keys a call is about. A session has none and must name a user.
fn owner<'a>(user: Option<&'a UserName>, caller: &'a Caller) -> Result<&'a UserName, ApiError> {
    user.or(caller.user.as_ref()).ok_or_else(|| ApiError::missing("UserName"))
}

/// Makes an access key; its secret is in this answer and nowhere else.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateAccessKey {
    user: Option<UserName>,
}

impl Action for CreateAccessKey {
    const SPEC: Spec = spec!(Ram, "CreateAccessKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { user: user_name_or_self(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, self.user.as_ref())
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            access_key: KeyBody<'a>,
        }
        let made = services.identities.create_access_key(access, owner(self.user.as_ref(), caller)?).await?;
        let secret = str::from_utf8(made.secret.expose()).ok().ok_or_else(ApiError::internal)?;
        let access_key = KeyBody {
            access_key_id: &made.record.id,
            access_key_secret: Some(secret),
            status: made.record.status.as_str(),
            create_date: made.record.created.to_string(),
        };
        let answer = Answer::json(&Body { request_id, access_key }, &[secret])?;
        Ok(Done::answer(answer).telling(vec![("AccessKeyId", made.record.id.to_string())]))
    }
}

/// The keys of a user, without secrets.
#[derive(Debug)]
pub(in crate::api::actions) struct ListAccessKeys {
    user: Option<UserName>,
}

impl Action for ListAccessKeys {
    const SPEC: Spec = spec!(Ram, "ListAccessKeys");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { user: user_name_or_self(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, self.user.as_ref())
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            request_id: &'a RequestId,
            access_keys: List<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct List<'a> {
            access_key: Vec<KeyBody<'a>>,
        }
        let directory = services.identities.directory();
        let user = owner(self.user.as_ref(), caller)?;
        directory.user(user).ok_or(IdentityError::Missing("User"))?;
        let access_key = directory
            .access_keys(user)
            .into_iter()
            .map(|key| KeyBody {
                access_key_id: &key.id,
                access_key_secret: None,
                status: key.status.as_str(),
                create_date: key.created.to_string(),
            })
            .collect();
        Ok(Done::answer(Answer::json(&Body { request_id, access_keys: List { access_key } }, &[])?))
    }
}

fn key_id(input: &Input<'_>) -> Result<AccessKeyId, ApiError> {
    input.parsed("UserAccessKeyId", AccessKeyId::parse)
}

/// Switches a key on or off.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateAccessKey {
    user: Option<UserName>,
    key: AccessKeyId,
    status: AccessKeyStatus,
}

impl Action for UpdateAccessKey {
    const SPEC: Spec = spec!(Ram, "UpdateAccessKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let status = match input.required("Status")? {
            "Active" => AccessKeyStatus::Active,
            "Inactive" => AccessKeyStatus::Inactive,
            _ => return Err(ApiError::invalid("The parameter Status must be Active or Inactive.")),
        };
        Ok(Self { user: user_name_or_self(input)?, key: key_id(input)?, status })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, self.user.as_ref())
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let user = owner(self.user.as_ref(), caller)?;
        services.identities.update_access_key(access, user, &self.key, self.status).await?;
        empty(request_id)
    }
}

/// Deletes a key.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteAccessKey {
    user: Option<UserName>,
    key: AccessKeyId,
}

impl Action for DeleteAccessKey {
    const SPEC: Spec = spec!(Ram, "DeleteAccessKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { user: user_name_or_self(input)?, key: key_id(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        asking.on_user(Self::SPEC.right, self.user.as_ref())
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let user = owner(self.user.as_ref(), caller)?;
        services.identities.delete_access_key(access, user, &self.key).await?;
        empty(request_id)
    }
}
