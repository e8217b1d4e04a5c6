//! Looking into a key file that is not safe to change.

use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::authorized_keys::refused;
use crate::authorized_keys::walk::{MAX_FILE_BYTES, read};
use crate::report::{Code, Refusal};

/// What sshd would read at `path`, along links as it does; nothing where it
/// would find no file that it could read.
///
/// To be called with the rights of the user, which are sshd's then. Whether
/// StrictModes keeps sshd from the file is not judged: that may change at any
/// moment.
///
/// # Errors
///
/// Where the file is too large, or cannot be read for a reason that sshd need
/// not meet.
pub(super) fn peek(path: &Path) -> Result<Vec<u8>, Refusal> {
    // Not blocking: the name could be a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(refused(e, "the key file cannot be opened")),
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| refused(e, "the key file is not readable"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MAX_FILE_BYTES {
        return Err(Refusal::new(Code::AuthorizedKeysUnsafe, "the key file is larger than 1 MiB"));
    }
    read(&file, size).map_err(|e| refused(e, "the key file cannot be read"))
}
