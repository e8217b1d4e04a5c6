//! What keeps plaintext in the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// No core dumps, and no reading of the memory by other processes of the same
/// user: for every command, since all may hold secrets. What cannot be had is
/// named in the log.
pub fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(error = %error, "core dumps could not be switched off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(error = %error, "the process could not be made undumpable");
    }
}

/// As [`keep_memory_private`], and, where the limit permits, no swapping: for
/// what runs long.
pub(super) fn harden() {
    keep_memory_private();
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
