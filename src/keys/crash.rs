//! Named points behind every durable step of making and destroying keys, at
//! which a test build can be made to die. In other builds they are nothing.

/// A durable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The row says that an object will be made.
    Announced,
    /// The object is made.
    Made,
    /// The row says that it is there.
    Told,
    /// The row says that the objects will be destroyed.
    Condemned,
    /// The objects are destroyed.
    Destroyed,
    /// The row is gone.
    Forgotten,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Announced, Self::Made, Self::Told, Self::Condemned, Self::Destroyed, Self::Forgotten];

    /// The word in `STRONGROOM_CRASH_AT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "Key/announced",
            Self::Made => "Key/made",
            Self::Told => "Key/told",
            Self::Condemned => "Key/condemned",
            Self::Destroyed => "Key/destroyed",
            Self::Forgotten => "Key/forgotten",
        }
    }
}

/// Dies here if the test asked for it by the environment variable
/// `STRONGROOM_CRASH_AT`.
#[cfg(feature = "crash-points")]
pub(super) fn point(step: Step) {
    if std::env::var("STRONGROOM_CRASH_AT").is_ok_and(|at| at == step.as_str()) {
        // As `kill -9` would: no destructor, no flush, no handler.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    }
}

/// Nothing, in builds without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(super) const fn point(_step: Step) {}
