//! What keeps plaintext in the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// No core dumps, no reading of the memory by other processes of the same
/// user, and, where the limit permits, no swapping. What cannot be had is
/// named in the log.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(error = %error, "core dumps could not be switched off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(error = %error, "the process could not be made undumpable");
    }
    // With a limit, every later allocation beyond it would fail.
    if getrlimit(Resource::Memlock).current.is_none() {
        let all = rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE;
        if let Err(error) = rustix::mm::mlockall(all) {
            tracing::warn!(error = %error, "memory could not be locked: set LimitMEMLOCK=infinity, or encrypt the swap space");
        }
    } else {
        tracing::info!("memory is not locked: set LimitMEMLOCK=infinity, or encrypt the swap space");
    }
}
