//! States and properties of keys.

use std::sync::Arc;

use super::labels::changeable;
use super::{KeyError, Keys};
use crate::audit::Access;
use crate::model::key::{KeyName, KeyRecord, KeyState, ProtectionLevel};
use crate::model::{KeyId, RotationInterval, Tag, Timestamp};

/// A day in seconds.
const DAY_SECONDS: i64 = 86_400;
/// The shortest period in which a key gets new versions (kms-secrets.md
/// section 8.1, `RotationInterval`).
const SHORTEST_SECONDS: u32 = 7 * 86_400;

/// A key to be created: AES with 256 bits, in the token, for encrypting and
/// decrypting.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Free text.
    pub description: String,
    /// Who makes it: an account id.
    pub creator: String,
    /// What it asks to guard it.
    pub protection: ProtectionLevel,
    /// In which period it gets new versions by itself, if it does.
    pub interval: Option<RotationInterval>,
    /// Its labels.
    pub tags: Vec<Tag>,
}

impl Keys {
    /// Has a key used again.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::State`] while it is to be deleted.
    pub async fn enable(&self, _access: &Access, key: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        self.change(key, |record| switch(record, KeyState::Enabled)).await
    }

    /// Has a key not used until it is enabled. Holds for all calls that begin
    /// once this has returned; what is encrypted under the key stays as it is.
    ///
    /// # Errors
    ///
    /// As [`enable`](Self::enable).
    pub async fn disable(&self, _access: &Access, key: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        self.change(key, |record| switch(record, KeyState::Disabled)).await
    }

    /// Sets the description.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::PendingDeletion`].
    pub async fn update_description(
        &self,
        _access: &Access,
        key: &KeyId,
        description: String,
    ) -> Result<Arc<KeyRecord>, KeyError> {
        self.change(key, |record| {
            changeable(record)?;
            record.description = description;
            Ok(())
        })
        .await
    }

    /// Has a key destroyed in `days` days, 7 to 366. It cannot be used until
    /// then, and all that is encrypted under it is lost afterwards.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::State`] when it is scheduled
    /// already, [`KeyError::Protected`], and, by the settings,
    /// [`KeyError::InUse`] while secrets are encrypted under it.
    pub async fn schedule_deletion(
        &self,
        _access: &Access,
        key: &KeyId,
        days: u32,
    ) -> Result<Arc<KeyRecord>, KeyError> {
        if !(7..=366).contains(&days) {
            return Err(KeyError::Invalid("PendingWindowInDays must be from 7 to 366"));
        }
        let at = self.clock.now().plus_seconds(i64::from(days) * DAY_SECONDS);
        let unused = self.while_unused(key, |record| {
            if record.state == KeyState::PendingDeletion {
                return Err(KeyError::State);
            }
            if record.deletion_protection {
                return Err(KeyError::Protected);
            }
            record.state = KeyState::PendingDeletion;
            record.delete_at = Some(at);
            Ok(())
        });
        unused.await?;
        self.find(&KeyName::Id(key.clone()))
    }

    /// Takes a key back that was to be deleted; it is enabled then.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::State`] when it was not.
    pub async fn cancel_deletion(&self, _access: &Access, key: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        self.change(key, |record| {
            if record.state != KeyState::PendingDeletion {
                return Err(KeyError::State);
            }
            record.state = KeyState::Enabled;
            record.delete_at = None;
            Ok(())
        })
        .await
    }

    /// Sets whether the deletion of a key can be scheduled.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::PendingDeletion`].
    pub async fn set_deletion_protection(
        &self,
        _access: &Access,
        key: &KeyId,
        protect: bool,
        description: String,
    ) -> Result<Arc<KeyRecord>, KeyError> {
        self.change(key, |record| {
            changeable(record)?;
            record.deletion_protection = protect;
            record.deletion_protection_description = if protect { description } else { String::new() };
            Ok(())
        })
        .await
    }

    /// Sets whether, and in which period, a key gets new versions by itself. The
    /// first comes a period after the last version; at once when that is past.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::PendingDeletion`],
    /// [`KeyError::Invalid`] for a period under 7 days, or none.
    pub async fn update_rotation_policy(
        &self,
        _access: &Access,
        key: &KeyId,
        automatic: bool,
        interval: Option<RotationInterval>,
    ) -> Result<Arc<KeyRecord>, KeyError> {
        let now = self.clock.now();
        self.change(key, |record| {
            changeable(record)?;
            let interval = interval.or(record.rotation.interval).filter(|_| automatic);
            if automatic {
                record.rotation.interval =
                    Some(period(interval.ok_or(KeyError::Invalid("RotationInterval is required"))?)?);
            }
            record.rotation.automatic = automatic;
            record.rotation.next = next_version(record, now);
            Ok(())
        })
        .await
    }
}

/// A period in which a key may get new versions.
pub(super) const fn period(interval: RotationInterval) -> Result<RotationInterval, KeyError> {
    if interval.seconds() < SHORTEST_SECONDS {
        return Err(KeyError::Invalid("RotationInterval of a key must be from 7 to 365 days"));
    }
    Ok(interval)
}

/// When a key gets its next version by itself.
pub(super) fn next_version(record: &KeyRecord, now: Timestamp) -> Option<Timestamp> {
    let interval = record.rotation.interval.filter(|_| record.rotation.automatic)?;
    let from = record.rotation.last.unwrap_or(record.created);
    Some(from.plus_seconds(interval.seconds().into()).max(now))
}

const fn switch(record: &mut KeyRecord, state: KeyState) -> Result<(), KeyError> {
    match record.state {
        KeyState::Disabled | KeyState::Enabled => {
            record.state = state;
            Ok(())
        }
        KeyState::Creating | KeyState::Destroying | KeyState::PendingDeletion => Err(KeyError::State),
    }
}
