//! Named points around every durable write of a rotation, at which a test
//! build can be made to die. In other builds they are nothing.

use crate::model::rotation::State;

/// On which side of a durable write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The write has not happened.
    Before,
    /// The write is durable, and nobody knows.
    After,
}

/// Dies here if the test asked for it: environment variable
/// `STRONGROOM_CRASH_AT` names a state and a side, such as `Sending/after`.
#[cfg(feature = "crash-points")]
pub fn point(state: State, side: Side) {
    let side = match side {
        Side::Before => "before",
        Side::After => "after",
    };
    let here = format!("{}/{side}", state.as_str());
    if std::env::var("STRONGROOM_CRASH_AT").is_ok_and(|at| at == here) {
        // As `kill -9` would: no destructor, no flush, no handler.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    }
}

/// Nothing, in builds without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn point(_state: State, _side: Side) {}
