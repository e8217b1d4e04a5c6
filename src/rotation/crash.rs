//! Named points around every durable write of a rotation, at which a test
//! build can be made to die. In other builds they are nothing.

use crate::model::rotation::State;

/// A durable write of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The state that it enters; for a change of labels, with the secret.
    Enter(State),
    /// The number of a question, before it is put.
    Question,
    /// When it is tried again, and what went wrong.
    Rest,
    /// The key on the instance to which the credential is sealed.
    SealingKey,
}

impl Write {
    /// Every durable write that is not a change of state.
    pub const WITHIN_A_STATE: [Self; 3] = [Self::Question, Self::Rest, Self::SealingKey];

    /// The word in `STRONGROOM_CRASH_AT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enter(state) => state.as_str(),
            Self::Question => "Question",
            Self::Rest => "Rest",
            Self::SealingKey => "SealingKey",
        }
    }
}

/// On which side of a durable write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The write has not happened.
    Before,
    /// The write is durable, and nobody knows.
    After,
}

/// Dies here if the test asked for it: environment variable
/// `STRONGROOM_CRASH_AT` names a write and a side, such as `Sending/after`.
#[cfg(feature = "crash-points")]
pub fn point(write: Write, side: Side) {
    let side = match side {
        Side::Before => "before",
        Side::After => "after",
    };
    let here = format!("{}/{side}", write.as_str());
    if std::env::var("STRONGROOM_CRASH_AT").is_ok_and(|at| at == here) {
        // As `kill -9` would: no destructor, no flush, no handler.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    }
}

/// Nothing, in builds without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn point(_write: Write, _side: Side) {}
