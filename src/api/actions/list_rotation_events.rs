//! ListRotationEvents, an extension of Strongroom: the events of kms-secrets.md
//! section 6.7, which the imitated service sends to another product.
//!
//! `SecretName`, `EventName`, `StartTime` and `EndTime` narrow the list, which
//! is newest first; `MaxResults` and `NextToken` give its pages. The right is
//! asked on the secret that is named, else on the container of all secrets; then
//! events of secrets on which it is denied are left out, so that a page may be
//! shorter than `MaxResults` while `NextToken` says that there is more.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::gate::Circumstances;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{Arn, EventName, RequestId, SecretName, Timestamp};
use crate::notify;
use crate::store::EventQuery;
use crate::vault::VaultError;

/// A page of events, newest first.
#[derive(Debug)]
pub(super) struct ListRotationEvents {
    query: EventQuery,
    circumstances: Option<Circumstances>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    /// Empty on the last page.
    next_token: String,
    max_results: u32,
    events: List,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    event: Vec<Value>,
}

fn moment(input: &Input<'_>, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = input.optional(name) else { return Ok(None) };
    let moment = Timestamp::parse(text);
    let rule =
        || ApiError::invalid(format!("The parameter {name} must be a time such as 2024-05-06T07:08:09Z."));
    moment.map(Some).ok_or_else(rule)
}

impl Action for ListRotationEvents {
    const SPEC: Spec = spec!(Kms, "ListRotationEvents");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let secret = input.optional("SecretName").map(|_| input.secret_name()).transpose()?;
        let name = match input.optional("EventName") {
            None => None,
            Some(text) => Some(EventName::parse(text).ok_or_else(|| {
                let known = EventName::ALL.map(EventName::as_str).join(", ");
                ApiError::invalid(format!("The parameter EventName must be one of {known}."))
            })?),
        };
        let before = match input.optional("NextToken") {
            None => None,
            Some(text) => {
                let plain = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                let number = if plain { text.parse().ok() } else { None };
                let rule = || ApiError::invalid("The parameter NextToken must be one that an answer gave.");
                Some(number.ok_or_else(rule)?)
            }
        };
        let query = EventQuery {
            secret,
            name,
            from: moment(input, "StartTime")?,
            // Answers give whole seconds: the last one counts whole.
            to: moment(input, "EndTime")?.map(|t| Timestamp::from_millis(t.millis().saturating_add(999))),
            before,
            limit: input.number("MaxResults")?,
        };
        Ok(Self { query, circumstances: None })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = match &self.query.secret {
            Some(name) => asking.secret(name),
            None => asking.container(),
        };
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn secret(&self) -> Option<&SecretName> {
        self.query.secret.as_ref()
    }

    fn meet(&mut self, circumstances: Circumstances) {
        self.circumstances = Some(circumstances);
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (vault, max_results) = (&services.vault, self.query.limit);
        let whole = self.query.secret.is_none();
        let found = notify::list(vault.store(), vault.integrity(), self.query).await?;
        let is_full = u32::try_from(found.len()).is_ok_and(|count| count >= max_results);
        let next_token = match found.last() {
            Some((seq, _)) if is_full => seq.to_string(),
            Some(_) | None => String::new(),
        };
        let circumstances = self.circumstances.as_ref().ok_or_else(ApiError::internal)?;
        let mut hidden: HashMap<SecretName, bool> = HashMap::new();
        let mut event = Vec::with_capacity(found.len());
        for found in found.into_iter().filter_map(|(_, event)| event) {
            let name = &found.secret_name;
            let hide = match hidden.get(name) {
                _ if !whole => false,
                Some(known) => *known,
                None => {
                    let resource = Arn::secret(vault.region(), vault.account(), name);
                    let question = Question { action: Self::SPEC.right, resource };
                    let hide = match vault.find(name).await {
                        Ok(entry) => {
                            circumstances.hide(caller, &question, &entry.record.tags, entry.policy())
                        }
                        // A secret that is gone has no tags, but its name may be denied.
                        Err(VaultError::NotFound) => circumstances.hide(caller, &question, &[], None),
                        Err(error @ VaultError::Altered(_)) => {
                            tracing::error!(secret = %name, error = ?error, "events are hidden: the secret cannot be read");
                            true
                        }
                        Err(error) => return Err(error.into()),
                    };
                    hidden.insert(name.clone(), hide);
                    hide
                }
            };
            if !hide {
                event.push(found.to_json());
            }
        }
        let body = Body { request_id, next_token, max_results, events: List { event } };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
