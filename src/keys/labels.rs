//! Aliases and tags.

use super::{Edit, KeyError, Keys, Plan};
use crate::audit::Access;
use crate::model::key::{AliasRecord, KeyName, KeyRecord, KeyState};
use crate::model::{AliasName, KeyId, Tag, with_tags};
use crate::store::KeyTable;

impl Keys {
    /// Gives a key another name.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::State`] for a key that is to be
    /// deleted, [`KeyError::AliasExists`], [`KeyError::Limit`].
    pub async fn create_alias(&self, _access: &Access, name: AliasName, key: &KeyId) -> Result<(), KeyError> {
        let now = self.clock.now();
        self.edit(|snapshot| {
            let target = snapshot.find(&KeyName::Id(key.clone())).ok_or(KeyError::KeyNotFound)?;
            if target.state == KeyState::PendingDeletion {
                return Err(KeyError::State);
            }
            if snapshot.aliases.contains_key(&name) {
                return Err(KeyError::AliasExists);
            }
            if snapshot.aliases.len() >= self.settings.max_aliases {
                return Err(KeyError::Limit("aliases"));
            }
            let record = AliasRecord { name, key: key.clone(), created: now, updated: now };
            Ok(Plan { edits: vec![self.put_alias(&record, false)?], ..Plan::default() })
        })
        .await
    }

    /// Has an alias stand for another key.
    ///
    /// # Errors
    ///
    /// [`KeyError::AliasNotFound`], [`KeyError::KeyNotFound`],
    /// [`KeyError::PendingDeletion`] for a key that is to be deleted.
    pub async fn update_alias(
        &self,
        _access: &Access,
        name: &AliasName,
        key: &KeyId,
    ) -> Result<(), KeyError> {
        let now = self.clock.now();
        self.edit(|snapshot| {
            let mut record = snapshot.aliases.get(name).cloned().ok_or(KeyError::AliasNotFound)?;
            let target = snapshot.find(&KeyName::Id(key.clone())).ok_or(KeyError::KeyNotFound)?;
            if target.state == KeyState::PendingDeletion {
                return Err(KeyError::PendingDeletion);
            }
            record.key = key.clone();
            record.updated = now;
            Ok(Plan { edits: vec![self.put_alias(&record, true)?], ..Plan::default() })
        })
        .await
    }

    /// Takes an alias away; the key stays as it is.
    ///
    /// # Errors
    ///
    /// [`KeyError::AliasNotFound`].
    pub async fn delete_alias(&self, _access: &Access, name: &AliasName) -> Result<(), KeyError> {
        self.edit(|snapshot| {
            snapshot.aliases.get(name).ok_or(KeyError::AliasNotFound)?;
            let edits = vec![Edit::Drop { table: KeyTable::Aliases, key: name.to_string() }];
            Ok(Plan { edits, ..Plan::default() })
        })
        .await
    }

    /// Sets tags of all these keys, or of none of them; tags of other names stay.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::PendingDeletion`],
    /// [`KeyError::Limit`] for more than 20 in all.
    pub async fn tag(&self, _access: &Access, keys: &[KeyId], tags: &[Tag]) -> Result<(), KeyError> {
        self.label(keys, |record| {
            record.tags = with_tags(&record.tags, tags).ok_or(KeyError::Limit("tags"))?;
            Ok(())
        })
        .await
    }

    /// Takes tags off all these keys, or off none of them; all tags when none is
    /// named. One that a key does not have is no error.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::PendingDeletion`].
    pub async fn untag(
        &self,
        _access: &Access,
        keys: &[KeyId],
        names: Option<&[String]>,
    ) -> Result<(), KeyError> {
        self.label(keys, |record| {
            record.tags.retain(|tag| names.is_some_and(|names| !names.contains(&tag.key)));
            Ok(())
        })
        .await
    }

    /// Changes the tags of keys in one transaction.
    async fn label(
        &self,
        keys: &[KeyId],
        change: impl Fn(&mut KeyRecord) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        self.edit(|snapshot| {
            let mut edits = Vec::with_capacity(keys.len());
            for key in keys {
                let found = snapshot.find(&KeyName::Id(key.clone())).ok_or(KeyError::KeyNotFound)?;
                changeable(found)?;
                let mut record = KeyRecord::clone(found);
                change(&mut record)?;
                edits.push(self.put_key(&mut record, true)?);
            }
            Ok(Plan { edits, ..Plan::default() })
        })
        .await
    }
}

/// Refuses a key that stays as it is until it is destroyed.
pub(super) const fn changeable(record: &KeyRecord) -> Result<(), KeyError> {
    match record.state {
        KeyState::PendingDeletion => Err(KeyError::PendingDeletion),
        KeyState::Creating | KeyState::Destroying | KeyState::Disabled | KeyState::Enabled => Ok(()),
    }
}
