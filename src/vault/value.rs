//! Values: read one, add one.

use std::sync::Arc;

use strongroom_hsm::SecretBytes;

use super::{CONFLICTS, Entry, Vault, VaultError, stages, version_binding};
use crate::audit::Access;
use crate::model::{
    Binding, Sealed, SecretDataType, SecretName, SecretRecord, SecretType, VersionId, VersionMeta,
    VersionStage,
};
use crate::seal::{KeyRefusal, RowAltered, SealError};
use crate::store::{Change, StoreError};

/// Which version is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The one a stage points to.
    Stage(VersionStage),
    /// The one with that id.
    Version(VersionId),
    /// The one with that id, if it carries that stage.
    Both(VersionId, VersionStage),
}

/// A value that was read.
#[derive(Debug)]
pub struct Value {
    /// The secret.
    pub secret: Arc<Entry>,
    /// The version.
    pub version: VersionMeta,
    /// The plaintext.
    pub data: SecretBytes,
}

/// A version to be added.
#[derive(Debug)]
pub struct NewVersion {
    /// Its id.
    pub id: VersionId,
    /// How the value is to be read.
    pub data_type: SecretDataType,
    /// The value.
    pub data: SecretBytes,
    /// The stages it gets; empty means current.
    pub stages: Vec<VersionStage>,
}

/// What adding a version came to.
#[derive(Debug)]
pub struct Put {
    /// The secret's row afterwards.
    pub record: SecretRecord,
    /// The version, with the stages it has now.
    pub version: VersionMeta,
}

impl Vault {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`] for a missing secret, version or stage,
    /// [`VaultError::InDeleteWindow`], [`VaultError::Seal`] when the token is
    /// away or the row was altered.
    pub async fn read(&self, _access: &Access, name: &SecretName, pick: &Pick) -> Result<Value, VaultError> {
        let secret = self.find(name).await?;
        if let Some(until) = secret.record.planned_delete {
            return Err(VaultError::InDeleteWindow { until });
        }
        let version = match pick {
            Pick::Stage(stage) => secret.record.at_stage(stage),
            Pick::Version(id) => secret.record.version(id),
            Pick::Both(id, stage) => secret.record.version(id).filter(|v| v.stages.contains(stage)),
        };
        let version = version.ok_or(VaultError::NotFound)?.clone();
        let data = self.open(&secret, &version).await?;
        Ok(Value { secret, version, data })
    }

    /// Opens a version of a secret, whatever its stage: for the rotation, and
    /// for comparing. Callers from outside come through [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn open(&self, secret: &Entry, version: &VersionMeta) -> Result<SecretBytes, VaultError> {
        let record = &secret.record;
        let binding = version_binding(&record.account, &record.region, &record.id, &version.id);
        if version.stages.contains(&VersionStage::Current)
            && let Some(sealed) = &secret.current
        {
            return self.opened(record, &binding, sealed).await;
        }
        let bytes = self.store.version(&record.id, &version.id).await?;
        let bytes = bytes.ok_or(VaultError::Altered(RowAltered { table: "versions" }))?;
        let sealed = Sealed::decode(&bytes).map_err(SealError::from)?;
        self.opened(record, &binding, &sealed).await
    }

    /// A value under a customer master key that is gone is not damaged: it is
    /// as unreadable as under one that the token has lost.
    async fn opened(
        &self,
        record: &SecretRecord,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<SecretBytes, VaultError> {
        let opened = self.sealer.open(binding, sealed).await;
        if matches!(opened, Err(SealError::UnknownKey)) && record.encryption_key.is_some() {
            return Err(SealError::Key(KeyRefusal::Unavailable).into());
        }
        Ok(opened?)
    }

    /// The change that stores a sealed version.
    ///
    /// # Errors
    ///
    /// [`VaultError::Seal`] when the token is away.
    pub async fn seal_version(
        &self,
        record: &SecretRecord,
        version: &VersionId,
        data: &SecretBytes,
    ) -> Result<Change, VaultError> {
        let binding = version_binding(&record.account, &record.region, &record.id, version);
        let key = record.encryption_key.as_ref();
        let sealed = self.sealer.seal_under(key, &binding, data).await?;
        let sealed = sealed.encode().map_err(SealError::from)?;
        Ok(Change::PutVersion { secret: record.id.clone(), version: version.clone(), sealed })
    }

    /// Adds a version to a Generic secret (kms-secrets.md section 5.3). The
    /// same id with the same value changes nothing and succeeds.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongType`] for managed secrets, [`VaultError::VersionExists`]
    /// for an id that holds another value, [`VaultError::Full`] when no old
    /// version may be dropped for it, and as [`read`](Self::read).
    pub async fn put(
        &self,
        _access: &Access,
        name: &SecretName,
        new: &NewVersion,
    ) -> Result<Put, VaultError> {
        for _ in 0..CONFLICTS {
            let secret = self.find(name).await?;
            if secret.record.kind != SecretType::Generic {
                return Err(VaultError::WrongType);
            }
            if let Some(until) = secret.record.planned_delete {
                return Err(VaultError::InDeleteWindow { until });
            }
            if let Some(version) = secret.record.version(&new.id) {
                let present = self.open(&secret, version).await?;
                if version.data_type != new.data_type || !present.matches(new.data.expose()) {
                    return Err(VaultError::VersionExists);
                }
                return Ok(Put { record: secret.record.clone(), version: version.clone() });
            }
            let (record, changes) = self.with_version(&secret.record, new).await?;
            match self.write(record, changes).await {
                Ok(record) => {
                    let version = record.version(&new.id).cloned().ok_or(VaultError::Contended)?;
                    return Ok(Put { record, version });
                }
                Err(VaultError::Store(StoreError::Conflict | StoreError::Exists)) => self.memory.forget(name),
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Contended)
    }

    async fn with_version(
        &self,
        before: &SecretRecord,
        new: &NewVersion,
    ) -> Result<(SecretRecord, Vec<Change>), VaultError> {
        let mut record = before.clone();
        record.versions.push(VersionMeta {
            id: new.id.clone(),
            created: self.clock.now(),
            data_type: new.data_type,
            stages: Vec::new(),
            key_fingerprint: None,
        });
        if new.stages.is_empty() {
            record.make_current(&new.id);
        }
        for stage in &new.stages {
            if *stage == VersionStage::Current {
                record.make_current(&new.id);
            } else {
                record.move_stage(stage, &new.id);
            }
        }
        stages::count(&record)?;
        let dropped = self.prune(&mut record)?;
        if record.version(&new.id).is_none() {
            return Err(VaultError::Full { limit: self.versions });
        }
        let mut changes = vec![self.seal_version(&record, &new.id, &new.data).await?];
        changes.extend(
            dropped.into_iter().map(|version| Change::DropVersion { secret: record.id.clone(), version }),
        );
        Ok((record, changes))
    }
}
