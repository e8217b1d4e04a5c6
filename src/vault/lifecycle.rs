//! Creation, deletion and return of secrets.

use strongroom_hsm::SecretBytes;

use super::{CONFLICTS, SECRETS, Vault, VaultError};
use crate::audit::Access;
use crate::model::rotation::{RotationRecord, State};
use crate::model::{
    AutomaticRotation, EcsBinding, KeyId, Schedule, SecretDataType, SecretId, SecretName, SecretRecord,
    SecretType, Tag, Timestamp, VersionId, VersionMeta, VersionStage,
};
use crate::store::{Change, Counted, StoreError};

/// A secret to be created, with its first version.
#[derive(Debug)]
pub struct NewSecret {
    /// Its name.
    pub name: SecretName,
    /// Generic or ECS.
    pub kind: SecretType,
    /// Free text.
    pub description: String,
    /// The customer master key to encrypt it under; the vault's own without one.
    pub encryption_key: Option<KeyId>,
    /// For ECS secrets, where it logs on.
    pub ecs: Option<EcsBinding>,
    /// When it rotates by itself.
    pub schedule: Schedule,
    /// Its labels.
    pub tags: Vec<Tag>,
    /// The KMS instance that its creator names, for answers.
    pub dkms_instance: String,
    /// Its own policy, checked.
    pub policy: Option<String>,
    /// Id of the first version.
    pub version: VersionId,
    /// How the value is to be read.
    pub data_type: SecretDataType,
    /// The value.
    pub data: SecretBytes,
    /// For an SSH key the fingerprint of its public key.
    pub key_fingerprint: Option<String>,
}

/// How a secret is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// At once, beyond recovery.
    Now,
    /// After that many days, in which it can be restored.
    After {
        /// 7 to 30.
        days: u8,
    },
}

impl Vault {
    /// Creates a secret; its first version is current.
    ///
    /// # Errors
    ///
    /// [`VaultError::Exists`], or [`VaultError::InDeleteWindow`] when a secret
    /// of that name waits for its deletion; [`VaultError::TargetTaken`] when another
    /// secret holds the same credential; [`VaultError::Quota`]; [`VaultError::Seal`]
    /// when the token is away.
    pub async fn create(&self, _access: &Access, new: NewSecret) -> Result<SecretRecord, VaultError> {
        match self.find(&new.name).await {
            Ok(entry) => return Err(taken(&entry.record)),
            Err(VaultError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let now = self.clock.now();
        let record = SecretRecord {
            id: SecretId::from_random(&self.random_id()?),
            account: self.account.clone(),
            region: self.region.clone(),
            name: new.name,
            kind: new.kind,
            description: new.description,
            encryption_key: new.encryption_key,
            created: now,
            updated: now,
            planned_delete: None,
            ecs: new.ecs,
            schedule: new.schedule,
            generation: 0,
            versions: vec![VersionMeta {
                id: new.version,
                created: now,
                data_type: new.data_type,
                stages: vec![VersionStage::Current],
                key_fingerprint: new.key_fingerprint,
            }],
            tags: new.tags,
            dkms_instance: new.dkms_instance,
            policy: new.policy,
            revision: 1,
        };
        let mut changes = Vec::with_capacity(3);
        let row = self.integrity.guard(SECRETS, record.id.as_str(), &record)?;
        changes.push(Change::PutSecret { record: Box::new(record.clone()), row, expect: None });
        if self.quota > 0 {
            changes.push(Change::AtMost { table: Counted::Secrets, rows: self.quota });
        }
        for version in &record.versions {
            changes.push(self.seal_version(&record, &version.id, &new.data).await?);
        }
        match self.store.commit(changes).await {
            Ok(()) => {
                self.memory.forget(&record.name);
                Ok(record)
            }
            Err(StoreError::Full) => Err(VaultError::Quota { limit: self.quota }),
            Err(StoreError::Exists) => {
                self.memory.forget(&record.name);
                match self.find(&record.name).await {
                    Ok(entry) => Err(taken(&entry.record)),
                    Err(VaultError::NotFound) => Err(VaultError::TargetTaken),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a secret, or schedules that. What is on the instance stays as it is.
    /// Gives the moment at which it is destroyed. A rotation that is going on
    /// goes on in the recovery window, so that a restored secret logs on.
    ///
    /// # Errors
    ///
    /// [`VaultError::InDeleteWindow`] when it is scheduled already and is not to
    /// go at once, [`VaultError::Rotating`] when it is to go at once while a
    /// rotation is going on: its candidate may be what the instance accepts. A
    /// rotation that only waits for an instance that does not answer is no hindrance.
    pub async fn delete(
        &self,
        _access: &Access,
        name: &SecretName,
        how: Deletion,
    ) -> Result<Timestamp, VaultError> {
        for _ in 0..CONFLICTS {
            let mut record = self.find(name).await?.record.clone();
            let now = self.clock.now();
            let (at, result) = match (how, record.planned_delete) {
                (Deletion::Now, _) if self.is_rotating(&record).await? => return Err(VaultError::Rotating),
                (Deletion::Now, _) => (now, self.destroy(&record).await),
                (Deletion::After { .. }, Some(until)) => return Err(VaultError::InDeleteWindow { until }),
                (Deletion::After { days }, None) => {
                    let at = now.plus_seconds(i64::from(days) * 86_400);
                    record.planned_delete = Some(at);
                    (at, self.write(record, Vec::new()).await.map(drop))
                }
            };
            match result {
                Ok(()) => return Ok(at),
                Err(VaultError::Store(StoreError::Conflict)) => self.memory.forget(name),
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Contended)
    }

    /// Takes a secret back that was scheduled for deletion.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotInDeleteWindow`] when it was not.
    pub async fn restore(&self, access: &Access, name: &SecretName) -> Result<SecretRecord, VaultError> {
        let now = self.clock.now();
        self.change(access, name, |record| {
            match record.planned_delete {
                Some(until) if until > now => record.planned_delete = None,
                Some(_) => return Err(VaultError::NotFound),
                None => return Err(VaultError::NotInDeleteWindow),
            }
            if record.schedule.automatic != AutomaticRotation::Disabled {
                record.schedule.next = next_rotation(record, now);
                record.schedule.since = Some(now);
            }
            Ok(())
        })
        .await
    }

    /// Secrets that are past their recovery window and may be destroyed, up to
    /// `limit`. One with a rotation that goes on waits for its end.
    ///
    /// # Errors
    ///
    /// The store's trouble. A row that cannot be used does not keep the others.
    pub async fn expired(&self, limit: u32) -> Result<Vec<SecretRecord>, VaultError> {
        let now = self.clock.now();
        let mut expired = Vec::new();
        for id in self.store.expired(now, limit).await? {
            match self.expired_one(&id, now).await {
                Ok(record) => expired.extend(record),
                Err(error) => {
                    tracing::error!(secret = %id, error = ?error, "a secret past its window is not destroyed")
                }
            }
        }
        Ok(expired)
    }

    async fn expired_one(&self, id: &SecretId, now: Timestamp) -> Result<Option<SecretRecord>, VaultError> {
        let entry = self.find_by_id(id).await?;
        let due = entry.record.planned_delete.is_some_and(|at| at <= now);
        if !due || self.is_rotating(&entry.record).await? {
            return Ok(None);
        }
        Ok(Some(entry.record.clone()))
    }

    /// Destroys one of the [`expired`](Self::expired), beyond recovery.
    ///
    /// # Errors
    ///
    /// The store's trouble; [`StoreError::Conflict`] in it when the secret was
    /// changed in the meantime. Nothing has changed then.
    pub async fn destroy_expired(&self, _access: &Access, record: &SecretRecord) -> Result<(), VaultError> {
        self.destroy(record).await
    }

    /// Whether a rotation is going on that will end by itself.
    async fn is_rotating(&self, record: &SecretRecord) -> Result<bool, VaultError> {
        let Some((id, row)) = self.store.open_rotation(&record.id).await? else { return Ok(false) };
        let rotation: RotationRecord = self.integrity.check("rotations", id.as_str(), &row)?;
        Ok(!rotation.state.is_over() && !matches!(rotation.state, State::Finalizing | State::Stuck))
    }

    async fn destroy(&self, record: &SecretRecord) -> Result<(), VaultError> {
        let change = Change::DropSecret { id: record.id.clone(), expect: record.revision };
        self.store.commit(vec![change]).await?;
        self.memory.forget(&record.name);
        self.sealer.forget();
        Ok(())
    }
}

/// When a secret is next due: a period after its last rotation or its
/// creation, and at once when that is past (kms-secrets.md section 5.12).
#[must_use]
pub fn next_rotation(record: &SecretRecord, now: Timestamp) -> Option<Timestamp> {
    let interval = record.schedule.interval?;
    let from = record.schedule.last.unwrap_or(record.created);
    Some(from.plus_seconds(interval.seconds().into()).max(now))
}

fn taken(record: &SecretRecord) -> VaultError {
    match record.planned_delete {
        Some(until) => VaultError::InDeleteWindow { until },
        None => VaultError::Exists,
    }
}
