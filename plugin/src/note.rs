//! What somebody else did to a credential between two rotations.

use serde::{Deserialize, Serialize};

/// Kept with the rotation that found it, so that its answer can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The password in force is not the one that the last rotation set.
    ChangedOutside,
    /// The key that the last rotation put there is gone.
    ManagedKeyMissing,
    /// Earlier rotations left nothing here: the instance was rebuilt, or its
    /// system disk replaced.
    NoJournal,
    /// A key of this secret stood there more than once.
    KeyDuplicatesRemoved,
}

impl Note {
    /// The word of a result's `warn`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ChangedOutside => "changed_outside",
            Self::ManagedKeyMissing => "managed_key_missing",
            Self::NoJournal => "no_journal",
            Self::KeyDuplicatesRemoved => "key_duplicates_removed",
        }
    }
}
