//! Stages moved by hand (kms-secrets.md section 5.8).

use super::{MAX_CUSTOM_STAGES, Vault, VaultError};
use crate::audit::Access;
use crate::model::{SecretName, SecretRecord, SecretType, VersionId, VersionStage};

/// Where a stage is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageMove {
    /// To a version, from wherever it is.
    To(VersionId),
    /// Off a version.
    Off(VersionId),
    /// From one version to another.
    Between {
        /// The version that has it.
        from: VersionId,
        /// The version that gets it.
        to: VersionId,
    },
}

impl Vault {
    /// Moves a stage of a Generic secret. When the current one moves, the
    /// version that had it becomes the previous one.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongType`] for managed secrets, whose stages follow their
    /// rotations; [`VaultError::NotFound`] for a version that there is not;
    /// [`VaultError::StageElsewhere`] and [`VaultError::StagesFull`].
    pub async fn move_stage(
        &self,
        access: &Access,
        name: &SecretName,
        stage: &VersionStage,
        how: &StageMove,
    ) -> Result<SecretRecord, VaultError> {
        self.change(access, name, |record| moved(record, stage, how)).await
    }
}

fn moved(record: &mut SecretRecord, stage: &VersionStage, how: &StageMove) -> Result<(), VaultError> {
    if record.kind != SecretType::Generic {
        return Err(VaultError::WrongType);
    }
    if let Some(until) = record.planned_delete {
        return Err(VaultError::InDeleteWindow { until });
    }
    let (from, to) = match how {
        StageMove::To(to) => (None, Some(to)),
        StageMove::Off(from) => (Some(from), None),
        StageMove::Between { from, to } => (Some(from), Some(to)),
    };
    if let Some(to) = to {
        record.version(to).ok_or(VaultError::NotFound)?;
    }
    if let Some(from) = from {
        let version = record.version(from).ok_or(VaultError::NotFound)?;
        if !version.stages.contains(stage) {
            return Err(VaultError::StageElsewhere);
        }
    }
    match to {
        Some(to) if *stage == VersionStage::Current => record.make_current(to),
        Some(to) => record.move_stage(stage, to),
        None => record.versions.iter_mut().for_each(|version| version.stages.retain(|s| s != stage)),
    }
    count(record)
}

/// Refuses more stages of the owner's own than a secret may have.
pub(super) fn count(record: &SecretRecord) -> Result<(), VaultError> {
    let stages = record.versions.iter().flat_map(|version| &version.stages);
    match stages.filter(|stage| matches!(stage, VersionStage::Custom(_))).count() {
        0..=MAX_CUSTOM_STAGES => Ok(()),
        _ => Err(VaultError::StagesFull),
    }
}
