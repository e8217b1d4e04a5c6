//! The customer master keys as the sealer knows them: which objects of the
//! token they are, and whether they may be used now.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::MasterKey;
use crate::model::{KeyId, KeyVersionId};

/// Why a customer master key is not used (kms-secrets.md section 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// It was disabled.
    #[error("the customer master key is disabled")]
    Disabled,
    /// There is no such key, or no such version of it.
    #[error("there is no such customer master key")]
    NotFound,
    /// It is to be destroyed.
    #[error("the customer master key is scheduled for deletion")]
    PendingDeletion,
    /// The token does not have it, or has another in its place.
    #[error("the token does not have the customer master key")]
    Unavailable,
}

/// A version of a customer master key.
#[derive(Debug, Clone)]
pub struct RingVersion {
    /// Its id.
    pub id: KeyVersionId,
    /// Its object in the token.
    pub master: MasterKey,
}

/// A customer master key.
#[derive(Debug, Clone)]
pub struct RingKey {
    /// Its id.
    pub id: KeyId,
    /// Why it is not used now, if so.
    pub refusal: Option<KeyRefusal>,
    /// Its versions, oldest first; the last one seals.
    pub versions: Vec<RingVersion>,
}

impl RingKey {
    /// Whether it may be used now.
    pub(super) fn usable(&self) -> Result<(), KeyRefusal> {
        self.refusal.map_or(Ok(()), Err)
    }

    pub(super) fn primary(&self) -> Result<&RingVersion, KeyRefusal> {
        self.usable()?;
        self.versions.last().ok_or(KeyRefusal::NotFound)
    }
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<KeyId, Arc<RingKey>>,
    /// By the id of each version's object in the token.
    by_object: HashMap<[u8; 16], Arc<RingKey>>,
}

/// All customer master keys at one moment, replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Ring(ArcSwap<Keys>);

impl Ring {
    /// Replaces them; tells whether one that could be used cannot be any more.
    pub(super) fn set(&self, keys: Vec<RingKey>) -> bool {
        let mut all = Keys::default();
        for key in keys.into_iter().map(Arc::new) {
            for version in &key.versions {
                all.by_object.insert(version.master.key.id, Arc::clone(&key));
            }
            all.by_id.insert(key.id.clone(), key);
        }
        let now = Arc::new(all);
        let before = self.0.swap(Arc::clone(&now));
        let usable = |key: Option<&Arc<RingKey>>| key.is_some_and(|key| key.usable().is_ok());
        before.by_id.values().any(|key| usable(Some(key)) && !usable(now.by_id.get(&key.id)))
    }

    pub(super) fn key(&self, id: &KeyId) -> Result<Arc<RingKey>, KeyRefusal> {
        self.0.load().by_id.get(id).cloned().ok_or(KeyRefusal::NotFound)
    }

    /// The key that has a version with that object.
    pub(super) fn of_object(&self, id: &[u8; 16]) -> Option<Arc<RingKey>> {
        self.0.load().by_object.get(id).cloned()
    }
}
