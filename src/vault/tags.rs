//! Tags of secrets.

use super::{CONFLICTS, SECRETS, Vault, VaultError};
use crate::audit::Access;
use crate::model::{SecretName, SecretRecord, Tag, Untag, with_tags};
use crate::store::{Change, StoreError};

impl Vault {
    /// Gives all these secrets the tags, or none of them anything.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`], [`VaultError::InDeleteWindow`], and
    /// [`VaultError::TooManyTags`] when one of them would have too many.
    pub async fn tag(&self, access: &Access, names: &[SecretName], tags: &[Tag]) -> Result<(), VaultError> {
        self.change_all(access, names, |record| {
            record.tags = with_tags(&record.tags, tags).ok_or(VaultError::TooManyTags)?;
            Ok(())
        })
        .await
    }

    /// Takes tags off all these secrets, or off none of them.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`] and [`VaultError::InDeleteWindow`].
    pub async fn untag(
        &self,
        access: &Access,
        names: &[SecretName],
        which: &Untag,
    ) -> Result<(), VaultError> {
        self.change_all(access, names, |record| {
            which.apply(&mut record.tags);
            Ok(())
        })
        .await
    }

    /// Changes the rows of several secrets in one transaction; a row that stays
    /// as it is is not written.
    async fn change_all(
        &self,
        _access: &Access,
        names: &[SecretName],
        change: impl Fn(&mut SecretRecord) -> Result<(), VaultError> + Send + Sync,
    ) -> Result<(), VaultError> {
        for _ in 0..CONFLICTS {
            let mut changes = Vec::with_capacity(names.len());
            for name in names {
                let entry = self.find(name).await?;
                if let Some(until) = entry.record.planned_delete {
                    return Err(VaultError::InDeleteWindow { until });
                }
                let mut record = entry.record.clone();
                change(&mut record)?;
                if record != entry.record {
                    let expect = Some(record.revision);
                    record.revision = record.revision.saturating_add(1);
                    record.updated = self.clock.now();
                    let row = self.integrity.guard(SECRETS, record.id.as_str(), &record)?;
                    changes.push(Change::PutSecret { record: Box::new(record), row, expect });
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            let done = self.store.commit(changes).await;
            names.iter().for_each(|name| self.memory.forget(name));
            match done {
                Err(StoreError::Conflict) => {}
                other => return Ok(other?),
            }
        }
        Err(VaultError::Contended)
    }
}
