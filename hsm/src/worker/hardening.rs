//! What keeps the worker's memory to itself.

use std::io;
use std::panic;
use std::process;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getpid, getrlimit, kill_process, set_dumpable_behavior,
    setrlimit,
};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Forbids core dumps and being traced by equals, keeps memory out of swap
/// where there is no limit on that, lets a panic end the whole process, and
/// ignores the polite signals: systemd sends them to every process of a unit,
/// but the appliance needs its worker until it has served what is under way.
/// The worker's life ends with its socket.
pub(super) fn harden() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // Under a limit a later allocation could fail, in the middle of a call.
    if getrlimit(Resource::Memlock).current.is_none() {
        // A sandbox may still forbid it, which is no reason not to serve.
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).ok();
    }
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        // A missing thread would only show as calls that are never answered.
        process::abort();
    }));
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _context = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // Once registered, the default action stays replaced.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Ends the process at once, without running anything of the module's.
pub(super) fn vanish() -> ! {
    // Killing oneself cannot be refused; should it be delayed, abort follows.
    kill_process(getpid(), Signal::KILL).ok();
    process::abort();
}
