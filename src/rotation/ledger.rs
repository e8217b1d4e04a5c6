//! The durable steps of a rotation: each one transaction.

use strongroom_hsm::SecretBytes;

use super::Rotations;
use super::crash::{self, Side, Write};
use super::schedule;
use crate::model::rotation::{Event, IllegalEvent, RotationRecord, State, Trigger};
use crate::model::{
    AutomaticRotation, Binding, KeyId, RotationEvent, RotationId, Sealed, SecretId, SecretRecord, Timestamp,
};
use crate::notify;
use crate::seal::SealError;
use crate::store::{Change, StoreError};
use crate::vault::VaultError;

/// The table name that the MACs of rotations cover.
const ROTATIONS: &str = "rotations";
/// How often a step that also changes the secret is made anew from a fresher row.
const CONFLICTS: usize = 16;

/// Makes the event that tells of a step.
type Told = fn(&SecretRecord, &RotationRecord, Timestamp) -> RotationEvent;

/// Why a step could not be stored. The row on disk is as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    #[error("record a step of a rotation")]
    Audit(#[from] crate::audit::AuditError),
    #[error("a step that the state machine does not have")]
    Illegal(#[from] IllegalEvent),
    #[error("store a step of a rotation")]
    Vault(#[from] VaultError),
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

impl Rotations {
    fn material_binding<'a>(&'a self, id: &'a RotationId) -> Binding<'a> {
        Binding {
            purpose: "rotation-material",
            account: self.vault.account(),
            region: self.vault.region(),
            owner: id.as_str(),
            part: "told",
        }
    }

    /// Seals what the instance is to be told, under the key of the secret.
    pub(super) async fn seal_material(
        &self,
        id: &RotationId,
        key: Option<&KeyId>,
        told: &SecretBytes,
    ) -> Result<Vec<u8>, VaultError> {
        let sealed = self.vault.sealer().seal_under(key, &self.material_binding(id), told).await?;
        Ok(sealed.encode().map_err(SealError::from)?)
    }

    /// What the instance is to be told, the same in every attempt.
    pub(super) async fn material(&self, rotation: &RotationRecord) -> Result<SecretBytes, VaultError> {
        let sealed = Sealed::decode(&rotation.material).map_err(SealError::from)?;
        Ok(self.vault.sealer().open(&self.material_binding(&rotation.id), &sealed).await?)
    }

    pub(super) fn rotation_change(
        &self,
        record: &RotationRecord,
        expect: Option<u64>,
    ) -> Result<Change, VaultError> {
        let row = self.vault.integrity().guard(ROTATIONS, record.id.as_str(), record)?;
        Ok(Change::PutRotation { record: Box::new(record.clone()), row, expect })
    }

    /// A rotation, as it is on disk.
    pub(super) async fn rotation(&self, id: &RotationId) -> Result<Option<RotationRecord>, VaultError> {
        let Some(row) = self.vault.store().rotation(id).await? else { return Ok(None) };
        Ok(Some(self.vault.integrity().check(ROTATIONS, id.as_str(), &row)?))
    }

    /// The rotation of a secret that is not over.
    pub(super) async fn open_rotation_of(
        &self,
        secret: &SecretId,
    ) -> Result<Option<RotationRecord>, VaultError> {
        let Some((id, row)) = self.vault.store().open_rotation(secret).await? else { return Ok(None) };
        Ok(Some(self.vault.integrity().check(ROTATIONS, id.as_str(), &row)?))
    }

    /// Whether a rotation of the secret is going on of which nobody can say
    /// whether old or new is in force: then both must be readable
    /// (cloud-assistant.md section 5.7).
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub async fn is_in_doubt(&self, secret: &SecretRecord) -> Result<bool, VaultError> {
        let Some(rotation) = self.open_rotation(secret).await? else { return Ok(false) };
        Ok(matches!(
            rotation.state,
            State::Unknown | State::Applied | State::Verified | State::Fencing | State::Stuck
        ))
    }

    /// The rotation of a secret that is going on.
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub async fn open_rotation(&self, secret: &SecretRecord) -> Result<Option<RotationRecord>, VaultError> {
        self.open_rotation_of(&secret.id).await
    }

    /// The newest rotations of a secret, newest first.
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub async fn history(
        &self,
        secret: &SecretRecord,
        limit: u32,
    ) -> Result<Vec<RotationRecord>, VaultError> {
        let rows = self.vault.store().rotations(&secret.id, limit).await?;
        rows.iter().map(|(id, row)| Ok(self.vault.integrity().check(ROTATIONS, id.as_str(), row)?)).collect()
    }

    /// Stores the row as it is, without a step: a trouble, a later try.
    async fn keep(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        let expect = rotation.revision;
        rotation.revision = expect.saturating_add(1);
        let change = self.rotation_change(rotation, Some(expect))?;
        Ok(self.vault.store().commit(vec![change]).await?)
    }

    /// As [`keep`](Self::keep), as one of the writes at which a test can stop.
    pub(super) async fn keep_at(
        &self,
        write: Write,
        rotation: &mut RotationRecord,
    ) -> Result<(), LedgerError> {
        crash::point(write, Side::Before);
        self.keep(rotation).await?;
        crash::point(write, Side::After);
        Ok(())
    }

    /// Takes a step that changes nothing but the rotation's own row.
    pub(super) async fn advance(
        &self,
        rotation: &mut RotationRecord,
        event: Event,
    ) -> Result<(), LedgerError> {
        let mut next = rotation.clone();
        next.take(event, self.vault.now())?;
        crash::point(Write::Enter(next.state), Side::Before);
        self.keep(&mut next).await?;
        crash::point(Write::Enter(next.state), Side::After);
        *rotation = next;
        Ok(())
    }

    /// Takes a step together with a change of the secret and the event that
    /// tells operators of it, in one transaction.
    async fn advance_with(
        &self,
        rotation: &mut RotationRecord,
        event: Event,
        told: Told,
        change: impl Fn(&mut SecretRecord, &RotationRecord) -> Vec<Change> + Send + Sync,
    ) -> Result<(), LedgerError> {
        for _ in 0..CONFLICTS {
            let mut next = rotation.clone();
            next.take(event, self.vault.now())?;
            let mut secret = self.vault.find_by_id(&rotation.secret).await?.record.clone();
            let mut changes = change(&mut secret, &next);
            next.revision = rotation.revision.saturating_add(1);
            changes.push(self.rotation_change(&next, Some(rotation.revision))?);
            let told = told(&secret, &next, next.since);
            changes.push(notify::change(self.vault.integrity(), told).map_err(VaultError::from)?);
            crash::point(Write::Enter(next.state), Side::Before);
            match self.vault.write(secret, changes).await {
                Ok(_) => {
                    crash::point(Write::Enter(next.state), Side::After);
                    *rotation = next;
                    return Ok(());
                }
                Err(VaultError::Store(StoreError::Conflict)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(VaultError::Contended.into())
    }

    /// The labels move: the pending version becomes current.
    pub(super) async fn commit(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        let now = self.vault.now();
        self.advance_with(rotation, Event::Commit, RotationEvent::success, |secret, rotation| {
            secret.make_current(&rotation.version);
            let schedule = &mut secret.schedule;
            schedule.last = Some(now);
            schedule.failures = 0;
            if schedule.automatic != AutomaticRotation::Disabled {
                schedule.automatic = AutomaticRotation::Enabled;
                schedule.next = schedule.interval.map(|i| schedule::next_after_success(&secret.id, i, now));
            }
            Vec::new()
        })
        .await
    }

    /// The candidate is destroyed, in the transaction that stores why it may be.
    pub(super) async fn abandon(
        &self,
        rotation: &mut RotationRecord,
        event: Event,
    ) -> Result<(), LedgerError> {
        let now = self.vault.now();
        self.advance_with(rotation, event, RotationEvent::failure, |secret, rotation| {
            secret.versions.retain(|v| v.id != rotation.version);
            // An instance that has seen later rotations (the database was
            // restored from a backup) accepts only later ones still.
            secret.generation = secret.generation.max(rotation.seen_generation);
            let schedule = &mut secret.schedule;
            if schedule.automatic != AutomaticRotation::Disabled {
                schedule.automatic = AutomaticRotation::Invalid;
                if rotation.trigger == Trigger::Scheduled {
                    schedule.failures = schedule.failures.saturating_add(1);
                    let (failures, id) = (schedule.failures, &secret.id);
                    schedule.next =
                        schedule.interval.map(|i| schedule::next_after_failure(id, i, failures, now));
                }
            }
            vec![Change::DropVersion { secret: secret.id.clone(), version: rotation.version.clone() }]
        })
        .await
    }

    /// Nobody answers: the secret is marked, both versions stay.
    pub(super) async fn get_stuck(
        &self,
        rotation: &mut RotationRecord,
        event: Event,
    ) -> Result<(), LedgerError> {
        self.advance_with(rotation, event, RotationEvent::failure, |secret, _| {
            if secret.schedule.automatic != AutomaticRotation::Disabled {
                secret.schedule.automatic = AutomaticRotation::Invalid;
            }
            Vec::new()
        })
        .await
    }

    /// The rotation is over, and the old key stays on the instance for now.
    pub(super) async fn keep_old_key(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        let told = RotationEvent::old_key_not_removed;
        self.advance_with(rotation, Event::Finish, told, |_, _| Vec::new()).await
    }

    /// Fingerprints of the keys of all other versions of the secret: those
    /// that `finalize` removes, and by which `apply` finds the line whose options
    /// the new key takes over (cloud-assistant.md sections 4.3 and 5.7).
    pub(super) async fn other_keys(&self, rotation: &RotationRecord) -> Result<Vec<String>, VaultError> {
        let entry = self.vault.find_by_id(&rotation.secret).await?;
        let versions = entry.record.versions.iter();
        Ok(versions
            .filter(|v| v.id != rotation.version)
            .filter_map(|v| v.key_fingerprint.clone())
            .filter(|f| *f != rotation.proof)
            .collect())
    }
}
