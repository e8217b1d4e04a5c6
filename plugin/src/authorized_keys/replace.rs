//! Replacing a key file as a whole.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::accounts::Account;
use crate::authorized_keys::walk::{Found, Place};
use crate::crash;
use crate::request::Id;

/// Most names of a folder that are looked at for stale drafts.
const MAX_NAMES: usize = 4_096;

/// Writes `content` beside the file and renames it over the file.
///
/// False if the file is no longer the one that was read; then nothing was
/// done. Mode, owner, access list and label are those of the former file; a
/// new one is the user's and for him only, or root's in a folder of root's.
///
/// # Errors
///
/// Those of the system; the former file then still stands.
pub(super) fn replace(
    place: &Place,
    former: Option<&Found>,
    account: &Account,
    rid: &Id,
    content: &[u8],
) -> Result<bool, Errno> {
    remove_stale_drafts(place, account)?;
    let draft = draft_name(place, rid.as_str());
    crash::point();
    let written = write(place, &draft, former, account, content).and_then(|()| {
        crash::point();
        if !is_unchanged(place, former) {
            return Ok(false);
        }
        rustix::fs::renameat(&place.folder, &draft, &place.folder, &place.name)?;
        Ok(true)
    });
    match written {
        Ok(true) => {
            crash::point();
            rustix::fs::fsync(&place.folder)?;
            crash::point();
        }
        Ok(false) | Err(_) => {
            // The failure matters, not whether its rest could be cleared away;
            // the next change clears it.
            rustix::fs::unlinkat(&place.folder, &draft, AtFlags::empty()).unwrap_or_default();
        }
    }
    written
}

fn write(
    place: &Place,
    draft: &OsString,
    former: Option<&Found>,
    account: &Account,
    content: &[u8],
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&place.folder, draft, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    let own = rustix::fs::fstat(&file)?;
    match former {
        Some(former) => {
            let (uid, gid) = (former.stat.st_uid, former.stat.st_gid);
            if own.st_uid != uid {
                rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), None)?;
            }
            // A user cannot give a file to a group that is not his; then the
            // rights of that group go to none.
            let regrouped =
                own.st_gid == gid || rustix::fs::fchown(&file, None, Some(Gid::from_raw(gid))).is_ok();
            let kept = if regrouped { 0o755 } else { 0o705 };
            copy_attributes(&former.file, &file);
            // After the owner, whose change takes bits away.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(former.stat.st_mode & kept))?;
        }
        None => {
            let users = own.st_uid == account.uid || give_to_user(place, account, &file)?;
            // sshd reads with the rights of the user, so a file that stays
            // root's is for everybody to read; public keys are no secret.
            let mode = if users { 0o600 } else { 0o644 };
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        }
    }
    rustix::fs::fsync(&file)
}

/// Makes the new file the user's if the folder is. True if it now is.
fn give_to_user(place: &Place, account: &Account, file: &OwnedFd) -> Result<bool, Errno> {
    if rustix::fs::fstat(&place.folder)?.st_uid != account.uid {
        return Ok(false);
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    Ok(true)
}

/// Whether the name still stands for the file that was read, as it was read.
fn is_unchanged(place: &Place, former: Option<&Found>) -> bool {
    let now = rustix::fs::statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW);
    match (now, former) {
        (Err(Errno::NOENT), None) => true,
        (Ok(now), Some(former)) => {
            let mark = |stat: &rustix::fs::Stat| {
                (
                    stat.st_dev,
                    stat.st_ino,
                    stat.st_size,
                    stat.st_mtime,
                    stat.st_mtime_nsec,
                    stat.st_ctime,
                    stat.st_ctime_nsec,
                )
            };
            mark(&now) == mark(&former.stat)
        }
        (Ok(_) | Err(_), _) => false,
    }
}

/// Copies access list, label and all other extended attributes, as far as the
/// system lets us: where it does not, the policy gives the file a label, and
/// the mode alone rules, which is never wider than before.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) {
    let mut names = Vec::with_capacity(8_192);
    let spare = rustix::buffer::spare_capacity(&mut names);
    if rustix::fs::flistxattr(from, spare).is_err() {
        return;
    }
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value: Vec<u8> = Vec::with_capacity(65_536);
        let spare = rustix::buffer::spare_capacity(&mut value);
        if rustix::fs::fgetxattr(from, name, spare).is_ok() {
            rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()).unwrap_or_default();
        }
    }
}

/// `.<name>.strongroom.<rid>`
fn draft_name(place: &Place, rid: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(&place.name);
    name.push(".strongroom.");
    name.push(rid);
    name
}

/// Removes the drafts that runs which were cut off have left.
fn remove_stale_drafts(place: &Place, account: &Account) -> Result<(), Errno> {
    let prefix = draft_name(place, "").into_vec();
    let mut stale = Vec::new();
    for entry in Dir::read_from(&place.folder)?.take(MAX_NAMES) {
        let name = entry?.file_name().to_bytes().to_vec();
        let rid = name
            .strip_prefix(prefix.as_slice())
            .and_then(|rid| std::str::from_utf8(rid).ok())
            .and_then(Id::parse);
        if rid.is_some() {
            stale.push(OsString::from_vec(name));
        }
    }
    for name in stale {
        let stat = rustix::fs::statat(&place.folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let ours = stat.st_uid == 0 || stat.st_uid == account.uid;
        if ours && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            crash::point();
            rustix::fs::unlinkat(&place.folder, name.as_bytes(), AtFlags::empty())?;
            crash::point();
        }
    }
    Ok(())
}
