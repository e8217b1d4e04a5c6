//! Notices missed dates, and removes events that are too old.

use std::sync::Arc;
use std::time::Duration;

use super::{change, secret};
use crate::model::{Clock, RotationEvent};
use crate::seal::Integrity;
use crate::store::{Change, Store, StoreError};

/// How often is looked for missed dates.
const LOOK: Duration = Duration::from_secs(5);
/// Every so many looks events are pruned.
const PRUNE_EVERY: u32 = 60;
/// Missed dates told in one look at most.
const ROUND: u32 = 256;
const DAY_SECONDS: i64 = 86_400;

/// What is kept, and when a date counts as missed.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// Events older than this go.
    pub days: u32,
    /// So many events stay at most.
    pub count: u64,
    /// A date counts as missed when it is past by more than this, in seconds.
    pub overdue_seconds: i64,
}

/// The housekeeping of events.
#[derive(Debug)]
pub struct Keeper {
    store: Arc<dyn Store>,
    integrity: Arc<Integrity>,
    clock: Arc<dyn Clock>,
    keeping: Keeping,
}

impl Keeper {
    /// Housekeeping by these rules, not yet running.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        integrity: Arc<Integrity>,
        clock: Arc<dyn Clock>,
        keeping: Keeping,
    ) -> Self {
        Self { store, integrity, clock, keeping }
    }

    /// Runs until the future is dropped. To be called once.
    pub async fn run(self) {
        for look in 0_u32.. {
            if let Err(error) = self.tell_missed().await {
                tracing::error!(error = ?error, "missed dates of rotations cannot be looked for");
            }
            if look % PRUNE_EVERY == 0
                && let Err(error) = self.prune().await
            {
                tracing::error!(error = ?error, "old events cannot be removed");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn prune(&self) -> Result<(), StoreError> {
        let before = self.clock.now().plus_seconds(-DAY_SECONDS.saturating_mul(self.keeping.days.into()));
        self.store.commit(vec![Change::PruneEvents { before, keep: self.keeping.count }]).await
    }

    /// Writes an event for each missed date that has none yet: event and note
    /// are one transaction, so that each date is told once.
    async fn tell_missed(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let before = now.plus_seconds(-self.keeping.overdue_seconds);
        for id in self.store.missed(before, ROUND).await? {
            let Some(record) = secret(&self.store, &self.integrity, &id).await? else { continue };
            let Some(promised) = record.promised().filter(|date| *date <= before) else { continue };
            let mut changes = vec![Change::NoteOverdue { secret: id.clone(), promised }];
            if let Some(event) = RotationEvent::overdue(&record, promised, now) {
                changes.push(change(&self.integrity, event).ok().ok_or(StoreError::Damaged("events"))?);
            }
            match self.store.commit(changes).await {
                Ok(()) => tracing::warn!(secret = %record.name, %promised, "a rotation is overdue"),
                // It was rotated just now, or its policy changed.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
