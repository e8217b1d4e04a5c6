//! The way to a key file, one folder at a time.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::accounts::Account;
use crate::authorized_keys::refused;
use crate::crash;
use crate::host::Host;
use crate::report::{Code, Refusal};

/// Largest key file, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// Most links of root's that are followed on one way.
const MAX_LINKS: u32 = 8;

/// The folder of a key file, held open, and the file's name in it.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder; open for reading.
    pub(super) folder: OwnedFd,
    /// The file's name.
    pub(super) name: OsString,
    /// A folder on the way can be written by the user's own group.
    pub(super) is_loose: bool,
    /// Such a group is as good as the user, to us and to sshd.
    trusts_own_group: bool,
}

/// A key file as it was when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    /// Open for reading.
    pub(super) file: OwnedFd,
    /// What fstat(2) said.
    pub(super) stat: Stat,
    /// All of it.
    pub(super) content: Vec<u8>,
}

impl Place {
    /// Walks to the folder of `path`.
    ///
    /// None if the last folder is missing; with `make` it is made, for its
    /// owner only, if it lies in the user's home folder.
    ///
    /// # Errors
    ///
    /// `home_unsafe` if a folder is missing before the last, belongs to a
    /// stranger, can be written by others, or is a link that is not root's.
    pub(super) fn find(
        host: &Host,
        account: &Account,
        path: &str,
        make: bool,
    ) -> Result<Option<Self>, Refusal> {
        let mut names = split(path).ok_or_else(|| unsafe_home("the path is not plain"))?;
        let name = names.pop_back().ok_or_else(|| unsafe_home("the path is empty"))?;
        let home: Vec<OsString> = split(&account.home).unwrap_or_default().into();
        let in_home = names.len() == home.len() + 1 && names.iter().zip(&home).all(|(a, b)| a == b);

        let trusts_own_group = account.has_own_group && host.is_debian();
        let mut folder = open_root(host)?;
        let (mut links, mut made, mut is_loose) = (0, false, false);
        while let Some(next) = names.pop_front() {
            match open_folder(&folder, &next) {
                Ok(below) => {
                    is_loose |= check_folder(&below, account, trusts_own_group)?;
                    folder = below;
                }
                Err(Errno::NOENT) if !names.is_empty() => {
                    return Err(unsafe_home("a folder on the way to the key file is missing"));
                }
                Err(Errno::NOENT) if make && in_home && !made => {
                    made = true;
                    make_folder(&folder, &next)
                        .map_err(|e| refused(e, "the folder of the key file cannot be made"))?;
                    names.push_front(next);
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    links += 1;
                    let target = follow(&folder, &next).filter(|_| links <= MAX_LINKS);
                    let (absolute, steps) =
                        target.ok_or_else(|| unsafe_home("a link or file stands where a folder should"))?;
                    for step in steps.into_iter().rev() {
                        names.push_front(step);
                    }
                    if absolute {
                        folder = open_root(host)?;
                    }
                }
                Err(e) => return Err(refused(e, "a folder on the way cannot be opened")),
            }
        }
        // What was walked through could only be searched; this one is read.
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&folder, ".", readable, Mode::empty())
            .map_err(|e| refused(e, "the folder of the key file cannot be read"))?;
        Ok(Some(Self { folder, name, is_loose, trusts_own_group }))
    }

    /// Whether the folder, one above it or the file itself can be written by
    /// the user's own group.
    pub(super) fn is_loose(&self, account: &Account) -> bool {
        let file = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let loose = |stat: &Stat| writers(stat, account, self.trusts_own_group) == Writers::OwnGroup;
        self.is_loose || file.is_ok_and(|stat| loose(&stat))
    }

    /// The user id of the file's owner, if there is a file or a link.
    pub(super) fn owner(&self) -> Option<u32> {
        rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_uid)
    }

    /// Opens and reads the file; none if there is none.
    ///
    /// # Errors
    ///
    /// `authorized_keys_symlink`; `authorized_keys_unsafe` if it is no regular
    /// file, belongs to a stranger, can be written by others, has a second
    /// name, or is larger than 1 MiB.
    pub(super) fn open_file(&self, account: &Account) -> Result<Option<Found>, Refusal> {
        // Not blocking: the name could be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(Refusal::new(Code::AuthorizedKeysSymlink, "the key file is a symbolic link"));
            }
            Err(Errno::NXIO) => return Err(unsafe_file("the key file is not a regular file")),
            Err(e) => return Err(refused(e, "the key file cannot be opened")),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| refused(e, "the key file is not readable"))?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(unsafe_file("the key file is not a regular file"));
        }
        if stat.st_uid != 0 && stat.st_uid != account.uid {
            return Err(unsafe_file("the key file belongs to another user"));
        }
        if writers(&stat, account, self.trusts_own_group) == Writers::Others {
            return Err(unsafe_file("the key file can be written by others"));
        }
        if stat.st_nlink > 1 {
            return Err(unsafe_file("the key file has more than one name"));
        }
        if size > MAX_FILE_BYTES {
            return Err(unsafe_file("the key file is larger than 1 MiB"));
        }
        let content = read(&file, size).map_err(|e| refused(e, "the key file cannot be read"))?;
        Ok(Some(Found { file, stat, content }))
    }
}

/// The folder names of a path; none if it could leave its way.
fn split(path: &str) -> Option<VecDeque<OsString>> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .map(|name| (name != "." && name != "..").then(|| name.into()))
        .collect()
}

fn open_root(host: &Host) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(host.root(), flags, Mode::empty())
        .map_err(|e| refused(e, "the root folder cannot be opened"))
}

/// Opens a folder to search it, which needs no right to list it.
fn open_folder(folder: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Who may write, beside the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Nobody.
    None,
    /// A group in which there is only the user.
    OwnGroup,
    /// Somebody else.
    Others,
}

/// Who may write to a file or folder. Debian's sshd takes no offence at the
/// user's own group, which is how new users there are set up with a umask of
/// 002; every other sshd does, and would not read the file.
pub(super) fn writers(stat: &Stat, account: &Account, trusts_own_group: bool) -> Writers {
    match (stat.st_mode & 0o002 != 0, stat.st_mode & 0o020 != 0) {
        (false, false) => Writers::None,
        (false, true) if trusts_own_group && stat.st_gid == account.gid => Writers::OwnGroup,
        (true, _) | (false, true) => Writers::Others,
    }
}

/// Demands of a folder what sshd's StrictModes demands: root's or the user's,
/// and nobody else may put names into it. A folder of root's with the sticky
/// bit, such as `/tmp`, keeps names apart by itself.
///
/// True if the user's own group may write.
fn check_folder(folder: &OwnedFd, account: &Account, trusts_own_group: bool) -> Result<bool, Refusal> {
    let stat = rustix::fs::fstat(folder).map_err(|e| refused(e, "a folder cannot be examined"))?;
    if stat.st_uid != 0 && stat.st_uid != account.uid {
        return Err(unsafe_home("a folder on the way belongs to another user"));
    }
    let sticky = stat.st_uid == 0 && stat.st_mode & 0o1000 != 0;
    let writers = writers(&stat, account, trusts_own_group);
    if writers == Writers::Others && !sticky {
        return Err(unsafe_home("a folder on the way can be written by others"));
    }
    Ok(writers == Writers::OwnGroup)
}

/// Where a link leads, if only root can have put it there: such links are how
/// `/home` is moved to another disk.
fn follow(folder: &OwnedFd, name: &OsString) -> Option<(bool, VecDeque<OsString>)> {
    let around = rustix::fs::fstat(folder).ok()?;
    let link = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_link = FileType::from_raw_mode(link.st_mode) == FileType::Symlink;
    if !is_link || link.st_uid != 0 || around.st_uid != 0 || around.st_mode & 0o022 != 0 {
        return None;
    }
    let target = rustix::fs::readlinkat(folder, name, Vec::new()).ok()?;
    let target = OsString::from_vec(target.into_bytes());
    let absolute = Path::new(&target).is_absolute();
    Some((absolute, split(std::str::from_utf8(target.as_bytes()).ok()?)?))
}

fn make_folder(folder: &OwnedFd, name: &OsString) -> Result<(), Errno> {
    crash::point();
    match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
        // Made by somebody else meanwhile: the walk goes on and checks it.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    crash::point();
    let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(folder, ".", readable, Mode::empty())?;
    rustix::fs::fsync(&parent)
}

/// All of a file, whose size is said to be `size` bytes.
pub(super) fn read(file: &OwnedFd, size: u64) -> Result<Vec<u8>, Errno> {
    let room = usize::try_from(size).unwrap_or(0);
    let mut content = Vec::with_capacity(room);
    let mut part = [0_u8; 8_192];
    loop {
        match rustix::io::read(file, &mut part) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend(part.iter().take(length)),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(Errno::FBIG);
        }
    }
}

fn unsafe_home(detail: &str) -> Refusal {
    Refusal::new(Code::HomeUnsafe, detail)
}

fn unsafe_file(detail: &str) -> Refusal {
    Refusal::new(Code::AuthorizedKeysUnsafe, detail)
}
