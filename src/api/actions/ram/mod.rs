//! The RAM API 2015-05-01: users, groups, roles, policies and access keys
//! (ram.md section 3).

pub(super) mod alias;
pub(super) mod attachments;
pub(super) mod groups;
pub(super) mod keys;
pub(super) mod members;
pub(super) mod policies;
pub(super) mod roles;
pub(super) mod service_roles;
pub(super) mod users;
pub(super) mod versions;

use serde::Serialize;
use serde_json::Value;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::model::{Arn, GroupName, InvalidId, PolicyName, PolicyType, RequestId, RoleName, UserName};

/// The answer with these members besides its id.
fn answer(request_id: &RequestId, members: &Value) -> Result<Done, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "RequestId")]
        request_id: &'a RequestId,
        #[serde(flatten)]
        members: &'a Value,
    }
    Ok(Done::answer(Answer::json(&Body { request_id, members }, &[])?))
}

/// The answer that says nothing but its id.
fn empty(request_id: &RequestId) -> Result<Done, ApiError> {
    answer(request_id, &Value::Object(serde_json::Map::new()))
}

/// A parameter that may be left out, read by `parse`.
fn optional<T>(
    input: &Input<'_>,
    parameter: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<Option<T>, ApiError> {
    input.optional(parameter).map(|_| input.parsed(parameter, parse)).transpose()
}

fn user_name(input: &Input<'_>) -> Result<UserName, ApiError> {
    input.parsed("UserName", UserName::parse)
}

/// `UserName` where it may be left out and then means the caller (ram.md section 3.3).
fn user_name_or_self(input: &Input<'_>) -> Result<Option<UserName>, ApiError> {
    optional(input, "UserName", UserName::parse)
}

fn group_name(input: &Input<'_>) -> Result<GroupName, ApiError> {
    input.parsed("GroupName", GroupName::parse)
}

fn policy_name(input: &Input<'_>) -> Result<PolicyName, ApiError> {
    input.parsed("PolicyName", PolicyName::parse)
}

fn role_name(input: &Input<'_>) -> Result<RoleName, ApiError> {
    input.parsed("RoleName", RoleName::parse)
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

fn policy_type(input: &Input<'_>) -> Result<PolicyType, ApiError> {
    kind_of(input.required("PolicyType")?)
}

/// A free text, empty when it was not sent.
fn text(input: &Input<'_>, parameter: &str) -> String {
    input.optional(parameter).unwrap_or("").to_owned()
}

/// A free text that is to replace another.
fn new_text(input: &Input<'_>, parameter: &str) -> Option<String> {
    input.optional(parameter).map(str::to_owned)
}

impl Asking<'_> {
    /// A question about all users, groups, roles or policies, such as `user/*`.
    pub(super) fn on_all(&self, right: &'static str, of: &str) -> Vec<Question> {
        vec![Question { action: right, resource: Arn::ram(&self.scope.account, of) }]
    }

    /// A question about a group, by its stored name as in [`on_user`](Self::on_user).
    fn on_group(&self, right: &'static str, group: &GroupName) -> Question {
        let stored = self.directory.group(group).map_or(group, |record| &record.name);
        Question { action: right, resource: Arn::ram(&self.scope.account, &format!("group/{stored}")) }
    }

    /// A question about a role, by its stored name as in [`on_user`](Self::on_user).
    pub(super) fn on_role(&self, right: &'static str, role: &RoleName) -> Question {
        let stored = self.directory.role(role).map_or(role, |record| &record.name);
        Question { action: right, resource: Arn::ram(&self.scope.account, &format!("role/{stored}")) }
    }

    /// A question about a policy.
    fn on_policy(&self, right: &'static str, kind: PolicyType, name: &PolicyName) -> Question {
        Question { action: right, resource: self.policy(kind, name) }
    }
}

/// `Marker` and `MaxItems`: which part of a list is asked for. The marker is
/// the last name of the part before, so that it means the same whatever was
/// added or removed since.
#[derive(Debug)]
struct Part {
    after: Option<String>,
    max_items: usize,
}

impl Part {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let after = input.optional("Marker").filter(|marker| !marker.is_empty());
        Ok(Self {
            after: after.map(str::to_ascii_lowercase),
            max_items: usize::try_from(input.number("MaxItems")?).unwrap_or(usize::MAX),
        })
    }

    /// The answer with the part, under `list` and `one`, of items that stand in
    /// the order of their names in lower case.
    fn answer<T>(
        &self,
        request_id: &RequestId,
        (list, one): (&str, &str),
        items: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &str,
        body: impl FnMut(&T) -> Value,
    ) -> Result<Done, ApiError> {
        let is_later =
            |item: &T| self.after.as_ref().is_none_or(|after| name(item).to_ascii_lowercase() > *after);
        let mut rest = items.into_iter().filter(is_later);
        let part: Vec<T> = rest.by_ref().take(self.max_items).collect();
        let is_truncated = rest.next().is_some();
        let mut members = serde_json::json!({
            "IsTruncated": is_truncated,
            list: { one: part.iter().map(body).collect::<Vec<_>>() },
        });
        if let Some(last) = part.last().filter(|_| is_truncated)
            && let Some(members) = members.as_object_mut()
        {
            members.insert("Marker".to_owned(), name(last).into());
        }
        answer(request_id, &members)
    }
}
