//! What the vault refuses, and why.

use crate::model::Timestamp;
use crate::seal::{RowAltered, SealError};
use crate::store::StoreError;

/// Why the vault did not do what was asked. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A row was edited outside Strongroom.
    #[error("a row of the database was altered")]
    Altered(#[from] RowAltered),
    /// Others changed the secret again and again.
    #[error("the secret is being changed by others")]
    Contended,
    /// A secret of that name exists.
    #[error("a secret of that name exists")]
    Exists,
    /// The secret is scheduled for deletion.
    #[error("the secret is scheduled for deletion at {until}")]
    InDeleteWindow {
        /// When it will be destroyed.
        until: Timestamp,
    },
    /// A limit of the number of versions is reached.
    #[error("the secret has {limit} versions, all of them with a stage")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// There are as many secrets as there may be.
    #[error("there are {limit} secrets, as many as there may be")]
    Quota {
        /// How many there may be.
        limit: u64,
    },
    /// There is no such secret, or no such version or stage of it.
    #[error("no such secret, version or stage")]
    NotFound,
    /// The secret is not scheduled for deletion.
    #[error("the secret is not scheduled for deletion")]
    NotInDeleteWindow,
    /// A rotation of the secret is going on.
    #[error("the secret is being rotated")]
    Rotating,
    /// The value could not be sealed or opened.
    #[error("seal or open a value")]
    Seal(#[from] SealError),
    /// The stage is not on the version from which it is to be taken.
    #[error("the stage is not on that version")]
    StageElsewhere,
    /// A limit of the number of stages is reached.
    #[error("the secret has {limit} stages of its owner's own", limit = super::MAX_CUSTOM_STAGES)]
    StagesFull,
    /// The store's trouble.
    #[error("use the database")]
    Store(#[from] StoreError),
    /// Another secret is for the same credential of the same user and instance.
    #[error("another secret is for the same credential")]
    TargetTaken,
    /// A secret would have more tags than it may.
    #[error("a secret has {limit} tags at most", limit = crate::model::MAX_TAGS)]
    TooManyTags,
    /// A version of that id exists and holds another value.
    #[error("a version of that id holds another value")]
    VersionExists,
    /// The action is not for secrets of this type.
    #[error("not for secrets of this type")]
    WrongType,
}
