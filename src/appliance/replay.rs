//! What the audit journal tells of the time before a restart: which nonces were
//! taken, and which changes were begun of which nobody heard how they ended.

use std::collections::BTreeMap;
use std::path::Path;

use crate::audit::{AuditError, Tail};
use crate::identity::{CLOCK_WINDOW_SECONDS, Identities};
use crate::model::Timestamp;

/// Records looked at first; when they do not reach back far enough, more are.
const FIRST: usize = 10_000;

#[derive(serde::Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    event: Event<'a>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    event_name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    request_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    user_identity: Identity<'a>,
    #[serde(borrow)]
    request_parameters: Option<Parameters<'a>>,
    additional_event_data: Additional,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    access_key_id: Option<std::borrow::Cow<'a, str>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameters<'a> {
    #[serde(borrow)]
    signature_nonce: Option<std::borrow::Cow<'a, str>>,
    signed_at: Option<i64>,
    #[serde(borrow)]
    begun_request_id: Option<std::borrow::Cow<'a, str>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Additional {
    event_time_ms: i64,
    phase: Option<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Started,
    Finished,
}

/// A change that was begun, by its request id and action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) request_id: String,
    pub(super) action: String,
}

/// The event by which a restart says of a change that its end is not known.
pub(super) const UNKNOWN_OUTCOME: &str = "OutcomeUnknown";

/// Takes every nonce that a request still acceptable at `now` has used, so
/// that a restart opens no window for replays; gives the changes that were begun
/// and have no outcome on record. Blocks.
pub(super) fn look_back(
    directory: &Path,
    identities: &Identities,
    now: Timestamp,
) -> Result<Vec<Begun>, AuditError> {
    // A request signed a window ahead stays acceptable for two.
    let since = now.plus_seconds(-2 * CLOCK_WINDOW_SECONDS).millis();
    let mut count = FIRST;
    loop {
        let mut tail = Tail::open(directory, count)?;
        let (mut seen, mut reaches, mut oldest) = (0_usize, false, now.millis());
        let mut begun: BTreeMap<String, String> = BTreeMap::new();
        while let Some(line) = tail.read()? {
            seen += 1;
            let Ok(record) = serde_json::from_slice::<Record<'_>>(line.as_bytes()) else { continue };
            let event = record.event;
            let told = event.request_parameters.as_ref().and_then(|p| p.begun_request_id.as_deref());
            match (event.additional_event_data.phase, told) {
                (Some(Phase::Started), _) => {
                    begun.insert(event.request_id.into_owned(), event.event_name.into_owned());
                }
                (Some(Phase::Finished), _) => drop(begun.remove(&*event.request_id)),
                (None, Some(told)) => drop(begun.remove(told)),
                (None, None) => {}
            }
            oldest = oldest.min(event.additional_event_data.event_time_ms);
            if event.additional_event_data.event_time_ms < since {
                reaches = true;
                continue;
            }
            if let Some(parameters) = event.request_parameters
                && let (Some(nonce), Some(signed), Some(key)) =
                    (parameters.signature_nonce, parameters.signed_at, event.user_identity.access_key_id)
            {
                identities.remember(&key, &nonce, signed);
            }
        }
        if reaches || seen < count {
            let begun = begun.into_iter().map(|(request_id, action)| Begun { request_id, action });
            return Ok(begun.collect());
        }
        // As many as the window holds at the pace of those that were seen, and some more.
        let covered = now.millis().saturating_sub(oldest).max(1);
        let window = now.millis().saturating_sub(since);
        let times = usize::try_from(window / covered).unwrap_or(usize::MAX).saturating_add(2);
        count = count.saturating_mul(times.saturating_mul(2));
    }
}
