//! Points at which tests end the process, one before and one after each
//! durable step. Without the feature `crash-points` they are nothing.

/// Counts one point, and ends the process as `kill -9` would if it is the one
/// that `STRONGROOM_CRASH_AT` names (counted from 1).
///
/// With `STRONGROOM_CRASH_PANIC` set it fails as a programming error would
/// instead. With `STRONGROOM_CRASH_COUNT` the number of points passed so far is kept in
/// the file of that name.
#[cfg(feature = "crash-points")]
#[expect(clippy::panic, reason = "a test asks for it, to see what is answered")]
pub(crate) fn point() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static PASSED: AtomicU32 = AtomicU32::new(0);

    let passed = PASSED.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    if let Some(file) = std::env::var_os("STRONGROOM_CRASH_COUNT") {
        std::fs::write(file, passed.to_string()).unwrap_or_default();
    }
    let here = std::env::var("STRONGROOM_CRASH_AT").is_ok_and(|at| at == passed.to_string());
    if here && std::env::var_os("STRONGROOM_CRASH_PANIC").is_some() {
        panic!("as a test demands");
    }
    if here {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .unwrap_or_default();
        std::process::abort();
    }
}

/// Nothing, outside tests.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn point() {}
