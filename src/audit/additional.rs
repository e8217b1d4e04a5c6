//! `additionalEventData`: what Strongroom adds to a vendor's event.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::event::Short;
use super::text;

/// Checks of one decision that are written; the rest is left out.
const MAX_CHECKS: usize = 64;

/// Members of `additionalEventData` besides `eventTimeMs`; what is absent is
/// not written.
#[derive(Debug, Clone, Default)]
pub struct AdditionalEventData<'a> {
    /// How the request was decided.
    pub authorization: Option<Authorization<'a>>,
    /// Version that was read or written.
    pub secret_version_id: Option<&'a str>,
    /// Stage labels of that version.
    pub secret_version_stages: &'a [&'a str],
    /// What became of the single things that one call asked for.
    pub items: &'a [ItemOutcome],
    /// For changes, which are recorded twice: before the deed or after it.
    pub phase: Option<Phase>,
    /// The rotation that the event belongs to.
    pub rotation: Option<Rotation<'a>>,
    /// The command on an instance that the event belongs to.
    pub cloud_assistant: Option<CloudAssistant<'a>>,
    /// Ties all events of one rotation together.
    pub correlation_id: Option<&'a str>,
    /// The connection.
    pub tls: Option<Tls<'a>>,
    /// From arrival to the making of this event, in milliseconds.
    pub latency_ms: Option<u64>,
    /// The appliance that served the request.
    pub node: Option<&'a str>,
    /// `false` for requests of nobody known.
    pub authenticated: Option<bool>,
    /// Failed authentications of the same source that were counted instead of
    /// recorded since its last record.
    pub suppressed_count: Option<u64>,
}

/// What became of one of several things that a call asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemOutcome {
    /// Whose secret, as the caller named it.
    #[serde(serialize_with = "text::short")]
    pub secret_name: String,
    /// The id under which it was answered.
    #[serde(serialize_with = "text::short")]
    pub request_id: String,
    /// The version that was read.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short_owned")]
    pub secret_version_id: Option<String>,
    /// The code of the error that was answered instead.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short_owned")]
    pub error_code: Option<String>,
}

fn short_owned<S: Serializer>(text: &Option<String>, out: S) -> Result<S::Ok, S::Error> {
    text::short_option(&text.as_deref(), out)
}

/// Which of the two records of a change an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The intent, durable before anything is changed.
    Started,
    /// What came of it.
    Finished,
}

/// How a request was decided.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization<'a> {
    /// The decision on the whole request.
    pub decision: AuthorizationDecision,
    /// The layer that decided: `identity`, `session`, `resource`, ...
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub layer: Option<&'a str>,
    /// The policy that decided, if one did.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub policy_name: Option<&'a str>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub policy_version: Option<&'a str>,
    /// Its statement, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement_index: Option<usize>,
    /// The change counter of the set of policies that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_set_version: Option<u64>,
    /// The single questions that were asked.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "some_checks")]
    pub checks: &'a [Check<'a>],
}

/// One question put to the policies.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Check<'a> {
    /// For example `kms:GetSecretValue`.
    #[serde(serialize_with = "text::short")]
    pub action: &'a str,
    /// The resource's ARN.
    #[serde(serialize_with = "text::short")]
    pub resource: &'a str,
    /// The answer.
    pub decision: AuthorizationDecision,
}

/// A decision of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AuthorizationDecision {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement allows it.
    ImplicitDeny,
}

/// The rotation that an event belongs to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation<'a> {
    /// The rotation's id.
    #[serde(serialize_with = "text::short")]
    pub task_id: &'a str,
    /// What set it off.
    pub trigger: RotationTrigger,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub phase: RotationPhase,
}

/// What set a rotation off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationTrigger {
    /// A campaign had come to it.
    Campaign,
    /// A caller asked for it.
    Manual,
    /// Its time had come.
    Scheduled,
    /// An earlier attempt had failed.
    Retry,
}

/// Where a rotation stands. `Started` is the intent, recorded before the first
/// side effect; `Finished`, `Failed` and `Unknown` are outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationPhase {
    /// About to act.
    Started,
    /// The candidate is kept as a pending version.
    Stored,
    /// The new version is in force.
    Finished,
    /// The old version is in force.
    Failed,
    /// A crash came between; recovery goes on.
    Unknown,
}

/// The command on an instance that an event belongs to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudAssistant<'a> {
    /// Id of the run.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub invoke_id: Option<&'a str>,
    /// Id of the command.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub command_id: Option<&'a str>,
    /// Id of the instance.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub instance_id: Option<&'a str>,
    /// What the command ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// The TLS connection of a request.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls<'a> {
    /// For example `TLSv1.3`.
    #[serde(serialize_with = "text::short")]
    pub version: &'a str,
    /// For example `TLS_AES_128_GCM_SHA256`.
    #[serde(serialize_with = "text::short")]
    pub cipher_suite: &'a str,
    /// Lower-case hexadecimal SHA-256 of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub client_cert_sha256: Option<&'a str>,
}

fn some_checks<S: Serializer>(checks: &&[Check<'_>], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(checks.iter().take(MAX_CHECKS))
}

/// [`AdditionalEventData`] together with the time of the event.
pub(super) struct Dated<'d, 'a> {
    data: &'d AdditionalEventData<'a>,
    time_ms: u64,
}

impl<'a> AdditionalEventData<'a> {
    pub(super) fn at(&self, time_ms: u64) -> Dated<'_, 'a> {
        Dated { data: self, time_ms }
    }
}

impl Serialize for Dated<'_, '_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let data = self.data;
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("eventTimeMs", &self.time_ms)?;
        some(&mut map, "authorization", data.authorization.as_ref())?;
        some(&mut map, "secretVersionId", data.secret_version_id.map(Short))?;
        if !data.secret_version_stages.is_empty() {
            map.serialize_entry("secretVersionStages", data.secret_version_stages)?;
        }
        if !data.items.is_empty() {
            map.serialize_entry("items", data.items)?;
        }
        some(&mut map, "phase", data.phase)?;
        some(&mut map, "rotation", data.rotation)?;
        some(&mut map, "cloudAssistant", data.cloud_assistant)?;
        some(&mut map, "correlationId", data.correlation_id.map(Short))?;
        some(&mut map, "tls", data.tls)?;
        some(&mut map, "latencyMs", data.latency_ms)?;
        some(&mut map, "node", data.node.map(Short))?;
        some(&mut map, "authenticated", data.authenticated)?;
        some(&mut map, "suppressedCount", data.suppressed_count)?;
        map.end()
    }
}

fn some<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, &value),
        None => Ok(()),
    }
}
