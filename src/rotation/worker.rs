//! The loop: begins what is due, drives what is not over, destroys what is
//! past its recovery window. It keeps nothing that a crash could lose.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::ledger::LedgerError;
use super::{RotationError, Rotations};
use crate::cloud_assistant::Commander;
use crate::model::rotation::{RotationRecord, State, Trigger};
use crate::model::{RotationId, SecretId, Timestamp, VersionId};
use crate::store::StoreError;
use crate::vault::VaultError;

/// How long the loop sleeps at most, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// Secrets begun or destroyed in one round at most.
const ROUND: u32 = 64;

impl Rotations {
    /// Runs until the future is dropped. To be called once.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.round().await {
                tracing::error!(error = ?error, "a round of the rotation worker failed");
            }
            let sleep = self.until_due().await.min(LONGEST_SLEEP);
            tokio::select! {
                () = self.woken.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    async fn until_due(&self) -> Duration {
        match self.vault.store().next_due().await {
            Ok(Some(due)) => {
                let millis = due.millis().saturating_sub(self.vault.now().millis());
                // Never a tight loop: what is due and cannot be begun waits a second.
                Duration::from_millis(u64::try_from(millis).unwrap_or(0)).max(Duration::from_secs(1))
            }
            Ok(None) | Err(_) => LONGEST_SLEEP,
        }
    }

    async fn round(self: &Arc<Self>) -> Result<(), VaultError> {
        if let Some(commander) = &self.commander {
            for id in self.vault.store().due(self.vault.now(), ROUND).await? {
                self.begin_scheduled(&id).await;
            }
            for rotation in self.open().await? {
                self.drive(rotation, commander);
            }
        }
        for name in self.vault.purge(ROUND).await? {
            tracing::info!(secret = %name, "destroyed after its recovery window");
        }
        Ok(())
    }

    async fn begin_scheduled(&self, id: &SecretId) {
        let begun = async {
            let entry = self.vault.find_by_id(id).await?;
            let version = VersionId::from_random(self.vault.random_id()?);
            let access = self.record_scheduled(&entry.record).await?;
            let begun =
                self.begin(&access, &entry.record.name, version.clone(), Trigger::Scheduled, None).await;
            if let Err(error) = &begun
                && !matches!(error, RotationError::NotDue)
            {
                tracing::warn!(secret = %entry.record.name, error = ?error, "a scheduled rotation was not begun");
                self.put_off(&access, &entry.record.name).await?;
            }
            self.record_begun(access, &entry.record, &version, begun.err()).await
        };
        if let Err(error) = begun.await {
            tracing::error!(secret = %id, error = ?error, "begin a scheduled rotation");
        }
    }

    /// What could not be begun is tried again in an hour, not at once.
    async fn put_off(
        &self,
        access: &crate::audit::Access,
        name: &crate::model::SecretName,
    ) -> Result<(), VaultError> {
        let now = self.vault.now();
        self.vault
            .change(access, name, |record| {
                // What was not begun has not failed: it stays due, an hour later.
                if record.schedule.next.is_some_and(|next| next <= now) {
                    record.schedule.next = Some(now.plus_seconds(super::HOUR_SECONDS));
                }
                Ok(())
            })
            .await
            .map(drop)
    }

    /// Drives a rotation in a task of its own, unless one does already.
    fn drive(self: &Arc<Self>, rotation: RotationRecord, commander: &Arc<dyn Commander>) {
        let fresh = self.driven.lock().unwrap_or_else(PoisonError::into_inner).insert(rotation.id.clone());
        if !fresh {
            return;
        }
        let (rotations, commander) = (Arc::clone(self), Arc::clone(commander));
        tokio::spawn(async move {
            let id = rotation.id.clone();
            let _driven = Driven { rotations: &rotations, id: &id };
            if let Err(error) = rotations.to_the_end(rotation, &*commander).await {
                // The row on disk says where it stands; the next round takes it up.
                tracing::warn!(rotation = %id, error = ?error, "a rotation pauses");
            }
        });
    }

    async fn to_the_end(
        &self,
        mut rotation: RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        let mut permit = None;
        while !rotation.state.is_over() {
            self.wait_until(rotation.next_try).await;
            // Counted from its beginning until its first result: an instance that
            // does not answer then stands in nobody's way.
            if !matches!(rotation.state, State::Staged | State::Sending | State::Sent)
                || rotation.doubt_since.is_some()
            {
                permit = None;
            } else if permit.is_none() {
                permit = self.permits.acquire().await.ok();
            }
            let before = rotation.clone();
            let result = self.step(&mut rotation, commander).await;
            match result {
                Ok(()) => {
                    if rotation.state != before.state {
                        tracing::info!(rotation = %rotation.id, secret = %rotation.secret_name,
                            from = before.state.as_str(), to = rotation.state.as_str(), "a rotation got on");
                    }
                }
                // Somebody else wrote the row: what is there now counts.
                Err(error @ LedgerError::Vault(VaultError::Store(StoreError::Conflict))) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(rotation = %rotation.id, state = rotation.state.as_str(), error = ?error,
                        "a step of a rotation could not be stored");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits in short slices by the vault's own clock, which may be set.
    async fn wait_until(&self, moment: Timestamp) {
        loop {
            let millis = moment.millis().saturating_sub(self.vault.now().millis());
            // Nothing waits longer than an hour: a moment further away was written
            // by a clock that ran ahead and was set back.
            let Some(left) = u64::try_from(millis).ok().filter(|m| (1..=3_600_000).contains(m)) else {
                return;
            };
            tokio::time::sleep(Duration::from_millis(left.min(1_000))).await;
        }
    }
}

struct Driven<'a> {
    rotations: &'a Rotations,
    id: &'a RotationId,
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.rotations.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id);
    }
}
