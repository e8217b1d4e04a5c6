//! BatchGetSecretValue (kms-secrets.md section 5.15): up to 20 values with one
//! call, each allowed or refused by itself, as if it were asked for alone.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::get_secret_value::{self, Read, Wanted};
use super::{Action, Asking, Done, Input, Item, Question, Services, Spec, Verdict, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::{Access, ItemOutcome};
use crate::identity::Caller;
use crate::model::{RequestId, VersionId};

/// Secrets of one call at most.
const MAX_SECRETS: usize = 20;
/// The right that is asked for each of them.
const RIGHT: &str = "kms:GetSecretValue";

/// Reads several values.
#[derive(Debug)]
pub(super) struct BatchGetSecretValue {
    entries: Vec<Entry>,
    verdicts: Vec<Verdict>,
}

/// One that is wanted, and the name by which the caller knows it. A name of
/// elsewhere is none that can be wanted here.
#[derive(Debug)]
struct Entry {
    named: String,
    wanted: Option<Wanted>,
}

/// A member of `SecretsList`. Whether the extended configuration is wanted is
/// written as a text by some clients.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneSecret<'a> {
    #[serde(borrow)]
    secret_name: Cow<'a, str>,
    #[serde(borrow)]
    version_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version_stage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    fetch_extended_config: Option<Flag<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Flag<'a> {
    Bool(bool),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl Flag<'_> {
    fn read(&self) -> Result<bool, ApiError> {
        match self {
            Self::Bool(flag) => Ok(*flag),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::Text(_) => {
                Err(ApiError::invalid("FetchExtendedConfig in SecretsList must be true or false."))
            }
        }
    }
}

fn entry(input: &Input<'_>, one: &OneSecret<'_>) -> Result<Entry, ApiError> {
    let version = one.version_id.as_deref().map(VersionId::parse).transpose();
    let version = version
        .map_err(|error| ApiError::invalid(format!("VersionId in SecretsList is not valid: {error}.")))?;
    let stage = one.version_stage.as_deref().map(get_secret_value::stage).transpose()?;
    let fetch_extended_config =
        one.fetch_extended_config.as_ref().map(Flag::read).transpose()?.unwrap_or(false);
    let wanted = match input.secret_named(&one.secret_name) {
        Ok(name) => Some(Wanted { name, version, stage, fetch_extended_config }),
        Err(error) if error.status == 404 => None,
        Err(error) => return Err(error),
    };
    Ok(Entry { named: one.secret_name.clone().into_owned(), wanted })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_values: Vec<get_secret_value::Body<'a>>,
    errors: Vec<Failure<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure<'a> {
    secret_name: &'a str,
    code: &'a str,
    message: &'a str,
    http_status: u16,
}

impl Action for BatchGetSecretValue {
    const SPEC: Spec = spec!(Kms, "BatchGetSecretValue");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let rule = "The parameter SecretsList must be a JSON array of 1 to 20 objects {\"SecretName\":\"…\",\"VersionId\":\"…\",\"VersionStage\":\"…\",\"FetchExtendedConfig\":\"…\"} with different SecretName; the others may be left out.";
        let list: Option<Vec<OneSecret<'_>>> = serde_json::from_str(input.required("SecretsList")?).ok();
        let list = list.filter(|list| (1..=MAX_SECRETS).contains(&list.len()));
        let list = list.ok_or_else(|| ApiError::invalid(rule))?;
        let entries = list.iter().map(|one| entry(input, one)).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&str> = entries
            .iter()
            .map(|entry| entry.wanted.as_ref().map_or(entry.named.as_str(), |wanted| wanted.name.as_str()))
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(ApiError::invalid(rule));
        }
        Ok(Self { entries, verdicts: Vec::new() })
    }

    /// The right of its own is not asked: who may read a value may read it so.
    fn questions(&self, _asking: &Asking<'_>) -> Vec<Question> {
        Vec::new()
    }

    fn items(&self, asking: &Asking<'_>) -> Vec<Item> {
        let item = |entry: &Entry| {
            let secret = entry.wanted.as_ref().map(|wanted| wanted.name.clone());
            let resource = secret.as_ref().map(|name| asking.secret(name));
            let questions =
                resource.into_iter().map(|resource| Question { action: RIGHT, resource }).collect();
            Item { secret, questions }
        };
        self.entries.iter().map(item).collect()
    }

    fn settle(&mut self, verdicts: Vec<Verdict>) {
        self.verdicts = verdicts;
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        // INVARIANT: nothing is read without a verdict, whatever was settled.
        if self.verdicts.len() != self.entries.len() {
            return Err(ApiError::internal());
        }
        let mut read: Vec<(RequestId, Read)> = Vec::new();
        let mut refused: Vec<(String, ApiError)> = Vec::new();
        let mut items = Vec::with_capacity(self.entries.len());
        for (Entry { named, wanted }, verdict) in self.entries.into_iter().zip(self.verdicts) {
            let result = match (verdict.refusal, wanted) {
                (Some(refusal), _) => Err(refusal),
                (None, Some(wanted)) => wanted.read(services, access).await,
                (None, None) => Err(ApiError::not_found()),
            };
            let mut outcome = ItemOutcome {
                secret_name: named.clone(),
                request_id: verdict.request_id.to_string(),
                secret_version_id: None,
                error_code: None,
            };
            match result {
                Ok(value) => {
                    outcome.secret_version_id = Some(value.value.version.id.to_string());
                    read.push((verdict.request_id, value));
                }
                Err(error) => {
                    if let Some(cause) = &error.cause {
                        tracing::error!(%request_id, item = %verdict.request_id, code = %error.code,
                            %cause, "an item of a call failed");
                    }
                    outcome.error_code = Some(error.code.to_string());
                    refused.push((named, error));
                }
            }
            items.push(outcome);
        }
        let mut secret_values = Vec::with_capacity(read.len());
        let mut long_texts = Vec::with_capacity(read.len() * 2);
        for (id, value) in &read {
            let (body, texts) = value.body(id)?;
            secret_values.push(body);
            long_texts.extend(texts);
        }
        long_texts.extend(refused.iter().map(|(named, _)| named.as_str()));
        let errors = refused.iter().map(|(named, error)| Failure {
            secret_name: named,
            code: &error.code,
            message: &error.message,
            http_status: error.status,
        });
        let body = Body { request_id, secret_values, errors: errors.collect() };
        let answer = Answer::list(&body, items.len(), &long_texts)?;
        Ok(Done { items, ..Done::answer(answer) })
    }
}
