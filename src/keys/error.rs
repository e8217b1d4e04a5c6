//! What the keys refuse, and why.

use crate::audit::AuditError;
use crate::seal::{KeyRefusal, RowAltered, SealError};
use crate::store::StoreError;

/// Why nothing was done with a key. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// An alias of that name exists.
    #[error("an alias of that name exists")]
    AliasExists,
    /// There is no such alias.
    #[error("there is no such alias")]
    AliasNotFound,
    /// A row was altered outside Strongroom.
    #[error("a row of the keys was altered")]
    Altered(#[from] RowAltered),
    /// What was to be done unasked could not be recorded.
    #[error("record what is done to a key")]
    Audit(#[from] AuditError),
    /// The ciphertext was altered, or the context is another one.
    #[error("the ciphertext is not authentic in that context")]
    Damaged,
    /// It must not be deleted.
    #[error("the key is protected against deletion")]
    Protected,
    /// Its secrets would be lost with it.
    #[error("{secrets} secrets are encrypted under the key")]
    InUse {
        /// How many, those included that wait for their deletion.
        secrets: u64,
    },
    /// A value is not what it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such key.
    #[error("there is no such key")]
    KeyNotFound,
    /// A limit is reached.
    #[error("the limit of {0} is reached")]
    Limit(&'static str),
    /// It is to be destroyed, and stays as it is until then.
    #[error("the key is scheduled for deletion")]
    PendingDeletion,
    /// The key may not or cannot be used, or the token is away.
    #[error("use a key")]
    Seal(#[from] SealError),
    /// Its state does not allow that.
    #[error("the state of the key does not allow that")]
    State,
    /// The store's trouble.
    #[error("use the database")]
    Store(#[from] StoreError),
    /// There is no such version of the key.
    #[error("there is no such version of the key")]
    VersionNotFound,
}

impl From<KeyRefusal> for KeyError {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::NotFound => Self::KeyNotFound,
            other @ (KeyRefusal::Disabled | KeyRefusal::PendingDeletion | KeyRefusal::Unavailable) => {
                Self::Seal(other.into())
            }
        }
    }
}

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A row was edited, added or removed outside Strongroom.
    #[error("the table of customer master keys was altered")]
    Altered(#[from] RowAltered),
    /// The token could not be told of them.
    #[error("introduce the customer master keys to the token")]
    Hsm(#[from] strongroom_hsm::HsmError),
    /// The database's trouble.
    #[error("read the customer master keys")]
    Store(#[from] StoreError),
}
