//! Doing file work as somebody else.

use std::thread;

use rustix::process::{Gid, Uid};

use crate::accounts::{Account, Group};
use crate::report::{Code, Refusal};

/// Runs `work` in a thread that has the rights of `account`, and no others.
///
/// On Linux user and groups belong to a thread, and rustix sets them for the
/// calling thread alone. Only the *effective* user changes, which takes all
/// capabilities from the thread and makes the kernel check every file access
/// as the user's; real and saved user stay root, so that the user can neither
/// signal nor trace us. A process of its own would do the same, but could
/// outlive us, and would need its instructions passed and checked once more.
///
/// # Errors
///
/// `internal` if the rights cannot be given up; `work` has not run then.
pub(super) fn as_user<T: Send>(
    account: &Account,
    groups: &[Group],
    work: &(dyn Fn() -> Result<T, Refusal> + Sync),
) -> Result<T, Refusal> {
    let become_user = || {
        let ids: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(group.gid)).collect();
        rustix::thread::set_thread_groups(&ids)?;
        rustix::thread::set_thread_res_gid(None, Gid::from_raw(account.gid), None)?;
        rustix::thread::set_thread_res_uid(None, Uid::from_raw(account.uid), None)
    };
    let done = thread::scope(|scope| {
        scope
            .spawn(|| match become_user() {
                Ok(()) => work(),
                Err(_) => Err(Refusal::new(Code::Internal, "the rights of root cannot be given up")),
            })
            .join()
    });
    done.unwrap_or_else(|_| Err(Refusal::new(Code::Internal, "the file work failed")))
}
