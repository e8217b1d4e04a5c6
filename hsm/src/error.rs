//! What can go wrong between a call and a key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a call to the key service failed.
///
/// The texts name the operation, the token, the PKCS#11 return code and what
/// to look at; they hold no PIN and none of the bytes that were worked on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HsmError {
    /// The worker is down or starting again. Nothing was done, or what was
    /// done is unknown; every call but the creation of a key may be repeated.
    #[error("the key worker is not available: {why}")]
    Unavailable {
        /// What happened to it.
        why: String,
    },
    /// The token did not answer in time.
    #[error("{operation} was not answered within {after:?}")]
    Deadline {
        /// What was attempted.
        operation: String,
        /// The limit that passed.
        after: Duration,
    },
    /// Too many calls are under way, or the token has no session left.
    #[error("{operation} was refused because {what}")]
    Busy {
        /// What was attempted.
        operation: String,
        /// Which limit was reached.
        what: String,
    },
    /// The token refused the PIN, now or earlier. It is not tried again.
    #[error("the PIN of token {token:?} (serial {serial}) was refused: {ckr} ({hint})")]
    PinRefused {
        /// Label of the token.
        token: String,
        /// Serial number of the token.
        serial: String,
        /// Return code, or why the PIN was not tried.
        ckr: String,
        /// What to do.
        hint: String,
    },
    /// Something outside has to be put right first.
    #[error("could not {operation} on token {token:?}: {ckr} ({hint})")]
    Configuration {
        /// What was attempted.
        operation: String,
        /// Label of the token.
        token: String,
        /// Return code, or what was found.
        ckr: String,
        /// What to look at.
        hint: String,
    },
    /// The token holds no key of that id, or the appliance never named it.
    #[error("key {key:?} was not found on token {token:?}")]
    KeyMissing {
        /// Label of the key.
        key: String,
        /// Label of the token.
        token: String,
    },
    /// What the token holds under that id is not the key that was made:
    /// template or check value deviate, or there are two.
    #[error("key {key:?} on token {token:?} is not the key that was made: {what}")]
    KeyAltered {
        /// Label of the key.
        key: String,
        /// Label of the token.
        token: String,
        /// What deviates.
        what: String,
    },
    /// The wrapped bytes or their context were changed; the token itself was
    /// proven to work. Wrong tag, wrong context and wrong key are one case.
    #[error("what was to be unwrapped with key {key:?} is not authentic")]
    NotAuthentic {
        /// Label of the key.
        key: String,
    },
    /// The token failed; repeating may help.
    #[error("could not {operation} on token {token:?}: {ckr} ({hint})")]
    Token {
        /// What was attempted.
        operation: String,
        /// Label of the token.
        token: String,
        /// Return code and the function that gave it.
        ckr: String,
        /// What to look at.
        hint: String,
    },
    /// Appliance and worker misunderstood each other, or a call is too large.
    #[error("the key worker's protocol was not kept: {what}")]
    Protocol {
        /// In which way.
        what: String,
    },
}

impl HsmError {
    /// Whether the same call may succeed later without anyone's intervention.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Deadline { .. } | Self::Busy { .. } | Self::Token { .. }
        )
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into() }
    }
}
