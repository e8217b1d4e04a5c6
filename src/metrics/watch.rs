//! Counts what the events tell, and the time that rotations took in each state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::text::Page;
use crate::model::rotation::RotationRecord;
use crate::model::{EventName, RotationId};
use crate::notify::checked;
use crate::seal::Integrity;
use crate::store::{Store, StoreError};

/// How often is looked for new events.
const LOOK: Duration = Duration::from_secs(1);
/// Events read at once.
const BATCH: u32 = 256;
/// Rotations that are waited for until they are over, to see their steps.
const WAITING: usize = 4_096;
/// Of these, looked at in one round.
const ROUND: usize = 64;
/// Different codes that are told apart; all others are one.
const CODES: usize = 256;
/// Bounds of the time in a state, in milliseconds.
const STEPS_MS: [u64; 10] = [100, 500, 1_000, 2_500, 5_000, 15_000, 60_000, 300_000, 1_800_000, 7_200_000];
/// The table name that the MACs of rotations cover.
const ROTATIONS: &str = "rotations";

#[derive(Debug, Default)]
struct Steps {
    /// For each bound those within it.
    up_to: [u64; STEPS_MS.len()],
    count: u64,
    sum_ms: u64,
}

/// What happened since the start of the process.
#[derive(Debug, Default)]
pub(super) struct Inner {
    results: BTreeMap<(&'static str, String), u64>,
    warnings: BTreeMap<&'static str, u64>,
    steps: BTreeMap<&'static str, Steps>,
}

impl Inner {
    fn result(&mut self, result: &'static str, code: &str) {
        let known = self.results.contains_key(&(result, code.to_owned()));
        let code = if known || self.results.len() < CODES { code } else { "other" };
        let count = self.results.entry((result, code.to_owned())).or_default();
        *count = count.saturating_add(1);
    }

    fn observe(&mut self, rotation: &RotationRecord) {
        for (entered, left) in rotation.steps.iter().zip(rotation.steps.iter().skip(1)) {
            let millis = left.at.millis().saturating_sub(entered.at.millis());
            let millis = u64::try_from(millis).unwrap_or(0);
            let steps = self.steps.entry(entered.state.as_str()).or_default();
            for (count, bound) in steps.up_to.iter_mut().zip(STEPS_MS) {
                *count = count.saturating_add(u64::from(millis <= bound));
            }
            steps.count = steps.count.saturating_add(1);
            steps.sum_ms = steps.sum_ms.saturating_add(millis);
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "strongroom_rotations_total";
        page.counter(
            name,
            "Rotations since the start, by result and code; stuck ones may count again when they end",
        );
        for ((result, code), count) in &self.results {
            page.value(name, &[("result", result), ("code", code)], count);
        }
        let name = "strongroom_rotation_warnings_total";
        page.counter(name, "Dates missed and old keys not removed since the start");
        for (kind, count) in &self.warnings {
            page.value(name, &[("event", kind)], count);
        }
        let name = "strongroom_rotation_step_seconds";
        page.histogram(name, "Time that rotations which ended since the start were in each state");
        for (state, steps) in &self.steps {
            let up_to = STEPS_MS.iter().zip(&steps.up_to).map(|(bound, count)| (seconds(*bound), *count));
            page.buckets(name, &[("state", state)], up_to, steps.count, &seconds(steps.sum_ms));
        }
    }
}

/// Milliseconds as seconds.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// What happened since the start of the process, shared.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) inner: Mutex<Inner>,
}

/// Follows the events and fills [`Counts`].
#[derive(Debug)]
pub struct Watcher {
    store: Arc<dyn Store>,
    integrity: Arc<Integrity>,
    counts: Arc<Counts>,
    waiting: VecDeque<RotationId>,
}

impl Watcher {
    /// A watcher that has seen nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, integrity: Arc<Integrity>, counts: Arc<Counts>) -> Self {
        Self { store, integrity, counts, waiting: VecDeque::new() }
    }

    /// Counts until the future is dropped. To be called once.
    pub async fn run(mut self) {
        let mut seq = None;
        loop {
            if let Err(error) = self.look(&mut seq).await {
                tracing::error!(error = ?error, "events cannot be read for monitoring");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, seq: &mut Option<u64>) -> Result<(), StoreError> {
        let mut last = match *seq {
            Some(last) => last,
            None => self.store.last_event().await?,
        };
        *seq = Some(last);
        loop {
            let rows = self.store.events_after(last, BATCH).await?;
            let Some(newest) = rows.last().map(|row| row.seq) else { break };
            for row in &rows {
                // One that was altered is named in the log where it is delivered or listed.
                let Ok(event) = checked(&self.integrity, row) else { continue };
                let code = event.failure.as_ref().map_or("", |failure| failure.code.as_str());
                let mut counts = self.counts.inner.lock().unwrap_or_else(PoisonError::into_inner);
                match event.name {
                    EventName::Success => counts.result("done", ""),
                    EventName::Failure if event.stuck => counts.result("stuck", code),
                    EventName::Failure => counts.result("failed", code),
                    EventName::Overdue | EventName::OldKeyNotRemoved => {
                        let count = counts.warnings.entry(event.name.result()).or_default();
                        *count = count.saturating_add(1);
                    }
                }
                drop(counts);
                if matches!(event.name, EventName::Success | EventName::Failure) && !event.stuck {
                    self.waiting.extend(event.rotation);
                    if self.waiting.len() > WAITING {
                        self.waiting.pop_front();
                    }
                }
            }
            last = newest;
            *seq = Some(last);
        }
        self.observe_ended().await
    }

    async fn observe_ended(&mut self) -> Result<(), StoreError> {
        for _ in 0..self.waiting.len().min(ROUND) {
            let Some(id) = self.waiting.pop_front() else { return Ok(()) };
            // Its secret was destroyed: nothing to see any more.
            let Some(row) = self.store.rotation(&id).await? else { continue };
            let Ok(rotation) = self.integrity.check::<RotationRecord>(ROTATIONS, id.as_str(), &row) else {
                continue;
            };
            if rotation.state.is_over() {
                self.counts.inner.lock().unwrap_or_else(PoisonError::into_inner).observe(&rotation);
            } else {
                self.waiting.push_back(id);
            }
        }
        Ok(())
    }
}
