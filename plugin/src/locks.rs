//! One run at a time for each secret and for each user.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::FdFlags;

use crate::request::Id;
use crate::user_name::UserName;

/// How long a run waits for another to end (contract section 5.6).
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Both locks, held until dropped, and by each child that inherits them until
/// it has ended too.
#[derive(Debug)]
pub(crate) struct Locks {
    secret: File,
    user: File,
}

/// Why a lock is not held.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody else holds it, and did not let go in time.
    Busy,
    /// The lock's file could not be opened or locked.
    File(io::Error),
}

impl Locks {
    /// Takes both locks in `folder`, the secret's first, waiting up to
    /// `patience` for both together.
    ///
    /// Every run takes one lock of each sort in this order, so no two can wait
    /// for each other.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub(crate) fn take(
        folder: &Path,
        sid: &Id,
        user: &UserName,
        patience: Duration,
    ) -> Result<Self, LockError> {
        let deadline = Instant::now() + patience;
        let secret = lock(&folder.join(format!("{}.lock", sid.as_str())), deadline)?;
        let user = lock(&folder.join(format!("user-{user}.lock")), deadline)?;
        Ok(Self { secret, user })
    }

    /// Runs `spawn` with both locks open to the children that it starts.
    ///
    /// If the agent's time limit kills this process, such a child goes on; the
    /// next run then waits until it has ended too and its work can be judged.
    ///
    /// # Errors
    ///
    /// Where the flag of a file cannot be changed; nothing was started then.
    pub(crate) fn inherited<T>(&self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let flags = |flags| {
            rustix::io::fcntl_setfd(&self.secret, flags)?;
            rustix::io::fcntl_setfd(&self.user, flags)
        };
        flags(FdFlags::empty())?;
        let spawned = spawn();
        flags(FdFlags::CLOEXEC)?;
        spawned
    }
}

fn lock(path: &Path, deadline: Instant) -> Result<File, LockError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(LockError::File)?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(e) => return Err(LockError::File(e.into())),
        }
        if Instant::now() >= deadline {
            return Err(LockError::Busy);
        }
        thread::sleep(Duration::from_millis(25));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    fn take(folder: &Path, sid: &str, user: &str) -> Result<Locks, LockError> {
        let sid = Id::parse(&sid.repeat(32)).expect("an id");
        Locks::take(folder, &sid, &UserName::parse(user).expect("a name"), SHORT)
    }

    #[test]
    fn a_secret_and_a_user_are_locked_each_for_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = take(folder.path(), "a", "root").expect("free");
        assert!(matches!(take(folder.path(), "a", "www"), Err(LockError::Busy)));
        assert!(matches!(take(folder.path(), "b", "root"), Err(LockError::Busy)));
        assert!(take(folder.path(), "b", "www").is_ok());
        drop(held);
        assert!(take(folder.path(), "a", "root").is_ok());
    }

    #[test]
    fn a_child_that_inherits_the_locks_holds_them_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let locks = take(folder.path(), "a", "root").expect("free");
        let mut child = locks
            .inherited(|| std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn())
            .expect("a child");
        drop(locks);
        assert!(matches!(take(folder.path(), "a", "root"), Err(LockError::Busy)));
        drop(child.stdin.take());
        child.wait().expect("ended");
        assert!(take(folder.path(), "a", "root").is_ok());
    }
}
