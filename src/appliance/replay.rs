//! Which nonces were taken before a restart: the audit journal tells.

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
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Additional {
    event_time_ms: i64,
}

/// Takes every nonce that a request still acceptable at `now` has used, so
/// that a restart opens no window for replays. Blocks.
pub(super) fn remember_nonces(directory: &Path, identities: &Identities, now: Timestamp) -> Result<usize, AuditError> {
    // A request signed a window ahead stays acceptable for two.
    let since = now.plus_seconds(-2 * CLOCK_WINDOW_SECONDS).millis();
    let mut count = FIRST;
    loop {
        let mut tail = Tail::open(directory, count)?;
        let (mut seen, mut taken, mut reaches) = (0_usize, 0_usize, false);
        while let Some(line) = tail.read()? {
            seen += 1;
            let Ok(record) = serde_json::from_slice::<Record<'_>>(line.as_bytes()) else { continue };
            let event = record.event;
            if event.additional_event_data.event_time_ms < since {
                reaches = true;
                continue;
            }
            if let Some(parameters) = event.request_parameters
                && let (Some(nonce), Some(signed), Some(key)) =
                    (parameters.signature_nonce, parameters.signed_at, event.user_identity.access_key_id)
            {
                identities.remember(&key, &nonce, signed);
                taken += 1;
            }
        }
        if reaches || seen < count {
            return Ok(taken);
        }
        count = count.saturating_mul(16);
    }
}
