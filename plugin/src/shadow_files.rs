//! Why the password files cannot be changed, judged by the system and not by
//! the words of a tool.

use std::fs::File;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::process::{Flock, FlockType};

use crate::durable;
use crate::host::Host;
use crate::report::{Code, Refusal};

/// Finds what stands in the way of any change of `/etc/shadow` until a person
/// removes it.
///
/// # Errors
///
/// `shadow_readonly`.
pub(crate) fn check_writable(host: &Host) -> Result<(), Refusal> {
    let refuse = |detail: &str| Err(Refusal::new(Code::ShadowReadonly, detail));
    for place in ["/etc", "/etc/shadow"] {
        let place = host.path(place);
        let mounted = rustix::fs::statvfs(&place);
        if mounted.is_ok_and(|mounted| mounted.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            return refuse("/etc is on a file system that is mounted read-only");
        }
        if File::open(&place).is_ok_and(|place| durable::is_frozen(&place)) {
            return refuse("/etc or /etc/shadow is immutable: see lsattr(1)");
        }
    }
    Ok(())
}

/// Finds why a tool just failed to change `/etc/shadow`, if it can be seen.
pub(crate) fn obstacle(host: &Host) -> Option<Refusal> {
    if let Err(refusal) = check_writable(host) {
        return Some(refusal);
    }
    if is_full(host) {
        return Some(Refusal::new(Code::DiskFull, "no room left in /etc"));
    }
    if ["/etc/shadow.lock", "/etc/passwd.lock"].into_iter().any(|file| host.has(file)) {
        return Some(Refusal::new(
            Code::ShadowBusy,
            "the password files are locked by /etc/shadow.lock or /etc/passwd.lock",
        ));
    }
    if is_locked(&host.path("/etc/.pwd.lock")) {
        return Some(Refusal::new(Code::ShadowBusy, "another program holds /etc/.pwd.lock"));
    }
    None
}

/// Whether two more files of the size of `/etc/shadow` have no room: the new
/// one, and the tool's copy of the former. What a tool wrote before it failed
/// is gone by now, so that the disk need not be full to the last block.
fn is_full(host: &Host) -> bool {
    let Ok(disk) = rustix::fs::statvfs(host.path("/etc")) else {
        return false;
    };
    let size = host.path("/etc/shadow").metadata().map_or(0, |found| found.len());
    let blocks = size.div_ceil(disk.f_frsize.max(1)).saturating_add(1).saturating_mul(2);
    disk.f_bfree < blocks || (disk.f_files > 0 && disk.f_ffree < 2)
}

/// Whether a program holds the lock of lckpwdf(3).
fn is_locked(path: &Path) -> bool {
    let wanted = Flock::from(FlockType::WriteLock);
    File::open(path).is_ok_and(|file| matches!(rustix::process::fcntl_getlk(&file, &wanted), Ok(Some(_))))
}
