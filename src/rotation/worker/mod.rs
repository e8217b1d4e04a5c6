//! The loop: begins what is due, drives what is not over, destroys what is
//! past its recovery window. It keeps nothing that a crash could lose.
//!
//! Everything done on an instance waits in the [`Queue`](queue::Queue) for its
//! turn, and one turn is one command in flight: a rotation has it from its
//! beginning until the first result, and for each question later. While it
//! waits for a later try it has none.

mod queue;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::ledger::LedgerError;
use super::{RotationError, Rotations};
use crate::cloud_assistant::Commander;
use crate::model::rotation::{RotationRecord, State, Trigger};
use crate::model::{InstanceId, SecretId, SecretName, Timestamp, VersionId, error_chain};
use crate::store::{DueSecret, StoreError};
use crate::vault::VaultError;

use queue::{Bounds, Queue};
use turn::Turn;

pub(super) use queue::Job;

/// How long the loop sleeps at most, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// However often it is woken, a round takes so long: what wakes it comes in crowds.
const SHORTEST_ROUND: Duration = Duration::from_millis(50);
/// Between two looks at what is due while there is plenty to do.
const LOOK_SECONDS: i64 = 5;
/// With fewer jobs waiting to begin something than that, more are looked for at once.
const FEW: usize = 256;
/// Jobs waiting to begin something at most, and for one instance.
const MANY: usize = 20_000;
const MANY_OF_ONE: usize = 512;
/// Due secrets read at once, and in one look at most.
const PAGE: u32 = 1_000;
const PAGES: usize = 20;
/// Secrets destroyed in one round at most.
const PURGED: u32 = 64;
/// A rotation that waits longer than this is left to the database.
const SHORT_MILLIS: u64 = 5_000;
/// Nothing waits longer than that: a moment further away was written by a clock
/// that ran ahead and was set back.
const HORIZON_SECONDS: i64 = 3_600;
/// How long what the vault itself could not do rests, at first and at most.
const REST_SECONDS: [i64; 2] = [60, 3_600];

/// What the loop remembers between its rounds.
#[derive(Debug)]
pub(super) struct Work {
    queue: Mutex<Queue>,
    look: Mutex<Look>,
}

#[derive(Debug)]
struct Look {
    last: Option<Timestamp>,
    after: Option<DueSecret>,
    resting: HashMap<SecretId, (Timestamp, i64)>,
}

impl Work {
    pub(super) fn new(region: usize, instance: usize) -> Self {
        Self {
            queue: Mutex::new(Queue::new(Bounds { region, instance })),
            look: Mutex::new(Look { last: None, after: None, resting: HashMap::new() }),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> std::sync::MutexGuard<'_, Look> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rotations {
    /// Runs until the future is dropped. To be called once.
    pub async fn run(self: Arc<Self>) {
        loop {
            let began = tokio::time::Instant::now();
            if let Err(error) = self.round().await {
                tracing::error!(error = ?error, "a round of the rotation worker failed");
            }
            let sleep = self.until_due().await.min(LONGEST_SLEEP);
            tokio::select! {
                () = self.woken.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            tokio::time::sleep_until(began + SHORTEST_ROUND).await;
        }
    }

    async fn until_due(&self) -> Duration {
        let (now, store) = (self.vault.now(), self.vault.store());
        let moments = [store.next_due().await, store.next_workable(now).await];
        let soonest = moments.into_iter().filter_map(|moment| moment.ok().flatten()).min();
        let millis = soonest.map(|due| due.millis().saturating_sub(now.millis()));
        match millis {
            // Never a tight loop: what is due and cannot be begun waits a second.
            Some(millis) => {
                Duration::from_millis(u64::try_from(millis).unwrap_or(0)).max(Duration::from_secs(1))
            }
            None => LONGEST_SLEEP,
        }
    }

    async fn round(self: &Arc<Self>) -> Result<(), VaultError> {
        // What is past its window goes, whatever becomes of the rotations.
        if let Err(error) = self.destroy_expired().await {
            tracing::error!(error = ?error, "secrets past their recovery window are not destroyed");
        }
        if self.commander.is_some() {
            self.look_for_open().await?;
            self.look_for_due().await?;
            self.campaigns_round().await?;
            self.hand_out();
        }
        Ok(())
    }

    /// Destroys what is past its recovery window; each on record before and after.
    async fn destroy_expired(&self) -> Result<(), LedgerError> {
        for secret in self.vault.expired(PURGED).await? {
            let access = self.record_destroying(&secret).await?;
            let result = self.vault.destroy_expired(&access, &secret).await;
            self.record_destroyed(access, &secret, result.as_ref().err()).await?;
            match result {
                Ok(()) => tracing::info!(secret = %secret.name, "destroyed after its recovery window"),
                Err(error) => {
                    tracing::error!(secret = %secret.name, error = ?error, "a secret past its window is not destroyed")
                }
            }
        }
        Ok(())
    }

    /// Rotations that may be worked on and are not.
    async fn look_for_open(&self) -> Result<(), VaultError> {
        let now = self.vault.now();
        let open = self.vault.store().workable(now, now.plus_seconds(HORIZON_SECONDS)).await?;
        let mut queue = self.work.queue();
        for rotation in open {
            queue.add(Job::Drive(rotation.id), &rotation.instance, rotation.next_try, rotation.in_doubt);
        }
        Ok(())
    }

    /// Secrets that are due, from where the last look ended: however many an
    /// instance has, those of the others are found.
    async fn look_for_due(&self) -> Result<(), VaultError> {
        let now = self.vault.now();
        let mut after = {
            let mut look = self.work.look();
            let fresh = look.last.is_some_and(|last| (0..LOOK_SECONDS).contains(&now.seconds_since(last)));
            if fresh && self.work.queue().unbegun() >= FEW {
                return Ok(());
            }
            look.last = Some(now);
            look.resting.retain(|_, (until, _)| *until > now.plus_seconds(-HORIZON_SECONDS));
            look.after.take()
        };
        for _ in 0..PAGES {
            let page = self.vault.store().due(now, after.as_ref(), PAGE).await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            after = page.last().cloned();
            let look = self.work.look();
            let mut queue = self.work.queue();
            for secret in page {
                if queue.unbegun() >= MANY {
                    return Ok(());
                }
                let rests = look.resting.get(&secret.id).is_some_and(|(until, _)| *until > now);
                if !rests && queue.waiting_for(&secret.instance) < MANY_OF_ONE {
                    queue.add(Job::Begin(secret.id), &secret.instance, secret.due, false);
                }
            }
            if is_last {
                return Ok(());
            }
        }
        self.work.look().after = after;
        Ok(())
    }

    /// Has everything run that may.
    pub(super) fn hand_out(self: &Arc<Self>) {
        let Some(commander) = &self.commander else { return };
        loop {
            let granted = self.work.queue().next();
            let Some(granted) = granted else { return };
            let (rotations, commander) = (Arc::clone(self), Arc::clone(commander));
            tokio::spawn(async move {
                let turn = Turn::new(&rotations, granted);
                rotations.work_on(turn, &*commander).await;
                rotations.hand_out();
            });
        }
    }

    /// Waits for a job's turn with a job that is nobody's yet.
    pub(super) fn enqueue(&self, job: Job, instance: &InstanceId, due: Timestamp) -> bool {
        self.work.queue().add(job, instance, due, false)
    }

    /// Whether a job waits or runs.
    pub(super) fn is_enqueued(&self, job: &Job) -> bool {
        self.work.queue().knows(job)
    }

    async fn work_on(self: &Arc<Self>, turn: Turn<'_>, commander: &dyn Commander) {
        match turn.job().clone() {
            Job::Drive(id) => match self.rotation(&id).await {
                Ok(Some(rotation)) => self.drive(turn, rotation, commander).await,
                Ok(None) => {}
                // One row that was altered does not keep the others from their end.
                Err(error) => {
                    tracing::error!(rotation = %id, error = ?error, "a rotation is not driven");
                    turn.rest(Duration::from_secs(60));
                }
            },
            Job::Begin(id) => {
                if let Some(rotation) = self.begin_scheduled(&id).await {
                    self.drive_begun(turn, rotation, commander).await;
                }
            }
            Job::Member(campaign, position) => {
                if let Some(rotation) = self.begin_member(&campaign, position).await {
                    self.drive_begun(turn, rotation, commander).await;
                }
                self.wake();
            }
        }
    }

    /// Goes on with a rotation in the turn in which it was begun.
    async fn drive_begun(
        self: &Arc<Self>,
        turn: Turn<'_>,
        rotation: RotationRecord,
        commander: &dyn Commander,
    ) {
        if let Some(turn) = turn.becomes(Job::Drive(rotation.id.clone())) {
            self.drive(turn, rotation, commander).await;
        }
    }

    /// Begins the rotation of a secret that is due; gives the rotation.
    async fn begin_scheduled(&self, id: &SecretId) -> Option<RotationRecord> {
        let begun = async {
            let entry = self.vault.find_by_id(id).await?;
            let version = VersionId::from_random(self.vault.random_id()?);
            let access = self.record_beginning(&entry.record, id.as_str()).await?;
            let begun =
                self.begin(&access, &entry.record.name, version.clone(), Trigger::Scheduled, None).await;
            let mut fault = None;
            let failed = match begun {
                Ok(_) => None,
                Err(error @ RotationError::NotDue) => Some(error),
                // The vault's own trouble says nothing about the secret: its date stays.
                Err(error) if is_own_trouble(&error) => {
                    fault = Some(error_chain(&error));
                    Some(error)
                }
                Err(error) => {
                    tracing::warn!(secret = %entry.record.name, error = ?error, "a scheduled rotation was not begun");
                    self.put_off(&access, &entry.record.name).await?;
                    Some(error)
                }
            };
            let is_begun = failed.is_none();
            self.record_begun(access, &entry.record, id.as_str(), &version, failed.as_ref()).await?;
            if let Some(fault) = fault {
                tracing::warn!(secret = %entry.record.name, fault, "a scheduled rotation was not begun now");
                self.leave_alone(id);
            }
            Ok::<_, LedgerError>(if is_begun { self.open_rotation_of(id).await? } else { None })
        };
        match begun.await {
            Ok(rotation) => rotation,
            Err(error) => {
                tracing::error!(secret = %id, error = ?error, "begin a scheduled rotation");
                self.leave_alone(id);
                None
            }
        }
    }

    /// A secret whose rotation the vault itself could not begin is left alone
    /// for a minute, then for longer.
    fn leave_alone(&self, id: &SecretId) {
        let [first, most] = REST_SECONDS;
        let mut look = self.work.look();
        let seconds = look.resting.get(id).map_or(first, |(_, seconds)| (seconds * 2).min(most));
        look.resting.insert(id.clone(), (self.vault.now().plus_seconds(seconds), seconds));
    }

    /// What could not be begun is tried again in an hour, not at once.
    async fn put_off(&self, access: &crate::audit::Access, name: &SecretName) -> Result<(), VaultError> {
        let now = self.vault.now();
        self.vault
            .change(access, name, |record| {
                super::schedule::put_off(&mut record.schedule, now);
                Ok(())
            })
            .await
            .map(drop)
    }

    /// Works on a rotation until it is over, or has to wait: then it gives its
    /// turn back, and has another one when its time has come.
    async fn drive(
        self: &Arc<Self>,
        turn: Turn<'_>,
        mut rotation: RotationRecord,
        commander: &dyn Commander,
    ) {
        while !rotation.state.is_over() {
            // While Cloud Assistant has the command, the turn is kept.
            if rotation.state == State::Sent {
                self.wait_until(rotation.next_try).await;
            } else if let Some(wait) = self.left_until(rotation.next_try) {
                let doubt = rotation.doubt_since.is_some();
                return turn.later(wait, rotation.next_try, doubt);
            }
            let before = (rotation.state, rotation.tries);
            match self.step(&mut rotation, commander).await {
                Ok(()) => {
                    if rotation.state != before.0 {
                        tracing::info!(rotation = %rotation.id, secret = %rotation.secret_name,
                            from = before.0.as_str(), to = rotation.state.as_str(), "a rotation got on");
                    }
                    if let Some(silent) = silence(before, &rotation) {
                        turn.instance_is(silent);
                    }
                }
                // Somebody else wrote the row: what is there now counts.
                Err(LedgerError::Vault(VaultError::Store(StoreError::Conflict))) => return,
                Err(error) => {
                    tracing::error!(rotation = %rotation.id, state = rotation.state.as_str(), error = ?error,
                        "a step of a rotation could not be stored");
                    return turn.rest(Duration::from_secs(1));
                }
            }
        }
        self.campaign_rotation_ended(&rotation);
    }

    fn left_until(&self, moment: Timestamp) -> Option<Duration> {
        let millis = moment.millis().saturating_sub(self.vault.now().millis());
        let most = u64::try_from(HORIZON_SECONDS).unwrap_or(0).saturating_mul(1_000);
        u64::try_from(millis).ok().filter(|m| (1..=most).contains(m)).map(Duration::from_millis)
    }

    /// Waits in short slices by the vault's own clock, which may be set.
    async fn wait_until(&self, moment: Timestamp) {
        while let Some(left) = self.left_until(moment) {
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}

/// Whether it is the vault that cannot begin a rotation now: the token, the
/// database or its memory, not the secret.
const fn is_own_trouble(error: &RotationError) -> bool {
    matches!(
        error,
        RotationError::Material
            | RotationError::Vault(VaultError::Seal(_) | VaultError::Store(_) | VaultError::Contended)
    )
}

/// What a step says about an instance: that it leaves questions without an
/// answer, that it answers, or nothing.
fn silence(before: (State, u32), rotation: &RotationRecord) -> Option<bool> {
    let (state, tries) = before;
    if rotation.state == state {
        let asked = !matches!(state, State::Sending | State::Sent | State::Committed);
        return (asked && rotation.tries > tries).then_some(true);
    }
    match (state, rotation.state) {
        (State::Sent, State::Unknown) => Some(true),
        (_, State::Stuck) => Some(true),
        (State::Staged | State::Sending, _) | (_, State::Fencing | State::Sending) => None,
        _ => Some(false),
    }
}
