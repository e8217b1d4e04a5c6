//! Brings the events to one receiver, in their order, from where it stood.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Outgoing, SendError, Sink, checked};
use crate::model::{Clock, Timestamp, error_chain};
use crate::seal::Integrity;
use crate::store::{Change, Store, StoreError};

/// The table name that the MACs of positions cover.
const SINKS: &str = "sinks";
/// How often is looked whether there is something new.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_PAUSE_SECONDS: u64 = 300;
/// How often an event is offered at least before it is given up.
const FEW_TRIES: u32 = 3;
/// For how long an event must have been refused before it is given up: time to
/// set right what makes a receiver refuse everything, such as a token that has run out.
const REFUSED_SECONDS: i64 = 3_600;

/// How far a receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Position {
    /// The number of the last event that it took, or that was put aside.
    seq: u64,
    /// Attempts for the one that follows.
    tries: u32,
    /// Since when each of them was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused_since: Option<Timestamp>,
}

impl Position {
    const fn after(seq: u64) -> Self {
        Self { seq, tries: 0, refused_since: None }
    }

    /// After one more attempt that failed.
    fn missed(self, error: &SendError, now: Timestamp) -> Self {
        let refused_since = match error {
            SendError::Later(_) => None,
            // A moment that a clock that ran ahead has written is not waited for.
            SendError::Refused(_) | SendError::Gone(_) => {
                Some(self.refused_since.map_or(now, |since| since.min(now)))
            }
        };
        Self { tries: self.tries.saturating_add(1), refused_since, ..self }
    }

    /// Whether the next event is given up after `error`.
    fn is_final(self, error: &SendError, too_old: bool, now: Timestamp) -> bool {
        let enough = match error {
            SendError::Gone(_) => true,
            SendError::Refused(_) => {
                self.refused_since.is_some_and(|since| now.seconds_since(since) >= REFUSED_SECONDS)
            }
            SendError::Later(_) => false,
        };
        self.tries >= FEW_TRIES && (enough || too_old)
    }
}

/// What became of a receiver's events since the start of the process.
#[derive(Debug)]
pub struct SinkStatus {
    name: String,
    seq: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    put_aside: AtomicU64,
}

impl SinkStatus {
    /// The receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the last event that is settled.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// Events that were taken.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Events that were given up.
    #[must_use]
    pub fn put_aside(&self) -> u64 {
        self.put_aside.load(Ordering::Relaxed)
    }
}

/// The way of events to one receiver.
#[derive(Debug)]
pub struct Delivery {
    store: Arc<dyn Store>,
    integrity: Arc<Integrity>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    status: Arc<SinkStatus>,
}

impl Delivery {
    /// The way to `sink`, not yet running.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        integrity: Arc<Integrity>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let status = SinkStatus {
            name: sink.name().to_owned(),
            seq: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            put_aside: AtomicU64::new(0),
        };
        Self { store, integrity, clock, sink, status: Arc::new(status) }
    }

    /// What becomes of its events.
    #[must_use]
    pub fn status(&self) -> Arc<SinkStatus> {
        Arc::clone(&self.status)
    }

    /// Has a new receiver begin with what happens from now on: its position is
    /// kept when this returns.
    ///
    /// # Errors
    ///
    /// The store's trouble.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.resume().await.map(drop)
    }

    async fn resume(&self) -> Result<Position, StoreError> {
        let name = self.sink.name();
        let position = match self.store.sink(name).await? {
            Some(row) => self.integrity.check::<Position>(SINKS, name, &row).unwrap_or_else(|error| {
                tracing::error!(sink = name, error = ?error, "the position is lost: all events are sent again");
                Position::default()
            }),
            None => {
                let position = Position::after(self.store.last_event().await?);
                self.keep(position).await?;
                position
            }
        };
        self.status.seq.store(position.seq, Ordering::Relaxed);
        Ok(position)
    }

    async fn keep(&self, position: Position) -> Result<(), StoreError> {
        let name = self.sink.name();
        let row = self.integrity.guard(SINKS, name, &position);
        let row = row.ok().ok_or(StoreError::Damaged("sinks"))?;
        self.store.commit(vec![Change::PutSink { name: name.to_owned(), row }]).await?;
        self.status.seq.store(position.seq, Ordering::Relaxed);
        Ok(())
    }

    /// Delivers until the future is dropped. To be called once.
    pub async fn run(self) {
        loop {
            match self.deliver().await {
                Ok(never) => match never {},
                // What is on disk counts: it goes on from there.
                Err(error) => {
                    tracing::error!(sink = self.sink.name(), error = ?error, "the events cannot be read or noted");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    async fn deliver(&self) -> Result<std::convert::Infallible, StoreError> {
        let mut position = self.resume().await?;
        loop {
            let rows = self.store.events_after(position.seq, self.sink.batch().max(1)).await?;
            let Some(last) = rows.last().map(|row| row.seq) else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let first = rows.first().map_or(last, |row| row.seq);
            let events: Vec<Outgoing> = rows
                .iter()
                .filter_map(|row| {
                    let event = checked(&self.integrity, row).inspect_err(
                        |error| tracing::error!(event = %row.id, error = ?error, "an event is not delivered"),
                    );
                    event.ok().map(|event| Outgoing::of(&event))
                })
                .collect();
            let sent = if events.is_empty() { Ok(()) } else { self.sink.send(&events).await };
            match sent {
                Ok(()) => {
                    let count = u64::try_from(events.len()).unwrap_or(0);
                    self.status.delivered.fetch_add(count, Ordering::Relaxed);
                    position = Position::after(last);
                    self.keep(position).await?;
                }
                Err(error) => {
                    position = self.missed(position, first, events.first(), &error).await?;
                }
            }
        }
    }

    /// After a failed attempt: gives the first event up, or waits.
    async fn missed(
        &self,
        before: Position,
        first: u64,
        event: Option<&Outgoing>,
        error: &SendError,
    ) -> Result<Position, StoreError> {
        let now = self.clock.now();
        let position = before.missed(error, now);
        self.status.failed.fetch_add(1, Ordering::Relaxed);
        let (name, id) = (self.sink.name(), event.map_or("", |event| event.id.as_str()));
        let age = event.map_or(0, |event| now.seconds_since(event.at));
        let too_old = self.sink.patience_seconds().is_some_and(|patience| age > patience);
        if position.is_final(error, too_old, now) {
            self.status.put_aside.fetch_add(1, Ordering::Relaxed);
            tracing::error!(sink = name, event = id, tries = position.tries, error = %error_chain(error),
                "an event is put aside: it is in the list of events, and is not sent to this receiver any more");
            let next = Position::after(first);
            self.keep(next).await?;
            return Ok(next);
        }
        self.keep(position).await?;
        let pause = pause(position.tries);
        tracing::warn!(sink = name, event = id, tries = position.tries, pause_seconds = pause.as_secs(),
            error = %error_chain(error), "an event is not delivered yet");
        tokio::time::sleep(pause).await;
        Ok(position)
    }
}

/// 1, 2, 4 … seconds, at most five minutes.
fn pause(tries: u32) -> Duration {
    let seconds = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(LONGEST_PAUSE_SECONDS);
    Duration::from_secs(if tries > 16 { LONGEST_PAUSE_SECONDS } else { seconds.min(LONGEST_PAUSE_SECONDS) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Box<dyn std::error::Error + Send + Sync> {
        "no".into()
    }

    #[test]
    fn an_event_is_given_up_after_an_hour_of_refusals_and_at_once_where_the_receiver_is_gone() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let (refused, gone, later) =
            (SendError::Refused(error()), SendError::Gone(error()), SendError::Later(error()));
        let three = (0..3).fold(Position::after(7), |position, n| position.missed(&refused, at(n)));
        assert!(!three.is_final(&refused, false, at(3_599)));
        assert!(three.is_final(&refused, false, at(3_600)));
        assert!(three.is_final(&gone, false, at(3)) && three.is_final(&later, true, at(3)));
        assert!(!Position::after(7).missed(&gone, at(0)).is_final(&gone, true, at(9_000)));
        // A receiver that only could not be reached in between has not refused for an hour.
        let again = three.missed(&later, at(3_000)).missed(&refused, at(3_001));
        assert!(!again.is_final(&refused, false, at(3_700)));
        assert!(again.is_final(&refused, false, at(6_601)));
        assert!(!again.is_final(&later, false, at(9_000)));
    }

    #[test]
    fn pauses_grow_and_stay_within_five_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 40, u32::MAX].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300]);
    }
}
