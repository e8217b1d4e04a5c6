//! What the process gives up before it reads anything.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Turns core dumps off, and gives new files to their owner only.
///
/// Failures are ignored: a system without these calls still needs its
/// credential rotated, and what is read here is a salted hash or a public key.
pub(crate) fn apply() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).unwrap_or_default();
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    rustix::process::umask(Mode::from_raw_mode(0o077));
}
