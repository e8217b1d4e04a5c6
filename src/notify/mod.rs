//! Tells operators what became of rotations: keeps events, and delivers them.
//!
//! An event is a row that its cause wrote in its own transaction
//! ([`change`]), so that none is lost or doubled by a crash. Each receiver has
//! its own task and its own position in the order of the events
//! ([`Delivery`]); a position moves only after the receiver has taken the
//! event, so that each event arrives at least once and in order, and a dead
//! receiver stands in nobody's way.

mod address;
mod delivery;
mod file;
mod keeper;
mod syslog;
mod webhook;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::{EventName, RotationEvent, SecretRecord, Timestamp};
use crate::seal::{Integrity, RowAltered};
use crate::store::{Change, EventQuery, EventRow, Store, StoreError};

pub use address::{AddressRange, is_public};
pub use delivery::{Delivery, SinkStatus};
pub use file::FileSink;
pub use keeper::{Keeper, Keeping};
pub use syslog::{SyslogSink, Target};
pub use webhook::{Webhook, WebhookError, WebhookSettings};

/// The table name that the MACs of events cover.
const EVENTS: &str = "events";
/// The table name that the MACs of secrets cover.
const SECRETS: &str = "secrets";

/// The change that keeps an event, for the transaction of its cause.
///
/// # Errors
///
/// [`RowAltered`] when it cannot be written as JSON, which no event does.
pub fn change(integrity: &Integrity, event: RotationEvent) -> Result<Change, RowAltered> {
    let row = integrity.guard(EVENTS, &event.id, &event)?;
    Ok(Change::AddEvent { event: Box::new(event), row })
}

/// The event of a row.
///
/// # Errors
///
/// [`RowAltered`] when the MAC does not fit, or the row is another event's.
pub fn checked(integrity: &Integrity, found: &EventRow) -> Result<RotationEvent, RowAltered> {
    let event: RotationEvent = integrity.check(EVENTS, &found.id, &found.row)?;
    if event.id == found.id { Ok(event) } else { Err(RowAltered { table: EVENTS }) }
}

/// The newest events that fit, with their numbers, newest first. A row that was
/// altered is left out, and named in the log.
///
/// # Errors
///
/// The store's trouble.
pub async fn list(
    store: &dyn Store,
    integrity: &Integrity,
    query: EventQuery,
) -> Result<Vec<(u64, Option<RotationEvent>)>, StoreError> {
    let rows = store.events(query).await?;
    let event = |found: &EventRow| {
        let checked = checked(integrity, found);
        let event = checked.inspect_err(
            |error| tracing::error!(event = %found.id, error = ?error, "an event is left out of a list"),
        );
        (found.seq, event.ok())
    };
    Ok(rows.iter().map(event).collect())
}

/// An event on its way to a receiver.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its id, the same in every attempt.
    pub id: String,
    /// What happened.
    pub name: EventName,
    /// When.
    pub at: Timestamp,
    /// The event in JSON, one line.
    pub body: String,
}

impl Outgoing {
    fn of(event: &RotationEvent) -> Self {
        Self { id: event.id.clone(), name: event.name, at: event.at, body: event.to_json().to_string() }
    }
}

/// Why a receiver did not take an event.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may take it later.
    #[error("the receiver did not take the event")]
    Later(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It says no, which may be a matter of its settings.
    #[error("the receiver refuses the event")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It says that it is gone for good.
    #[error("the receiver is gone")]
    Gone(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What sending gives: nothing once the receiver has the events, durably
/// where it can say so.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;

/// A receiver of events.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Its name: its position is kept under it.
    fn name(&self) -> &str;

    /// How many events it takes at once.
    fn batch(&self) -> u32 {
        1
    }

    /// How old an event may become, in seconds, before it is put aside; `None`
    /// waits for ever.
    fn patience_seconds(&self) -> Option<i64> {
        None
    }

    /// Hands events over, in their order; all of them again after an error.
    fn send<'a>(&'a self, events: &'a [Outgoing]) -> Sending<'a>;
}

/// A secret's row, checked.
async fn secret(
    store: &Arc<dyn Store>,
    integrity: &Integrity,
    id: &crate::model::SecretId,
) -> Result<Option<SecretRecord>, StoreError> {
    let Some(found) = store.secret_by_id(id).await? else { return Ok(None) };
    let checked = integrity.check::<SecretRecord>(SECRETS, id.as_str(), &found.row);
    Ok(checked
        .inspect_err(|error| tracing::error!(secret = %id, error = ?error, "a secret is not watched"))
        .ok())
}
