//! Files of our own that are whole after any crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{IFlags, OFlags};

use crate::crash;

/// Replaces the file at `path`, for root only, by `content`.
///
/// After a crash at any point the file holds the former content or the new
/// one, whole; when this returns it holds the new one, also after a loss of
/// power.
///
/// # Errors
///
/// Those of the file system; the former content then still stands.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    crash::point();
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let written = write_new(&draft, content).and_then(|()| {
        crash::point();
        fs::rename(&draft, path)
    });
    if let Err(e) = written {
        // The draft is of no use, and its rest may be what fills the disk.
        fs::remove_file(&draft).unwrap_or_default();
        return Err(e);
    }
    crash::point();
    sync_parent(path)?;
    crash::point();
    Ok(())
}

/// Gives a file another name in the same folder.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    crash::point();
    fs::rename(from, to)?;
    crash::point();
    sync_parent(to)
}

/// Removes the file at `path`; nothing to do if there is none.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    crash::point();
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => {
            crash::point();
            Ok(())
        }
    }
}

/// Makes sure that the folder at `path` is there, root's, and closed to
/// others; it is made where it is missing.
///
/// # Errors
///
/// Where it cannot be made, is not a folder of root's, or cannot be closed.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in path.ancestors() {
        match fs::symlink_metadata(folder) {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(folder),
            Err(e) => return Err(e),
        }
    }
    for folder in missing.into_iter().rev() {
        crash::point();
        DirBuilder::new().mode(0o700).create(folder)?;
        crash::point();
        sync_parent(folder)?;
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != 0 {
        return Err(io::Error::other("the folder is not root's"));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether a file or folder may not be replaced by anybody (chattr(1), `i` and
/// `a`); false where the file system knows no such thing.
pub(crate) fn is_frozen(file: impl AsFd) -> bool {
    let frozen = IFlags::IMMUTABLE | IFlags::APPEND;
    rustix::fs::ioctl_getflags(file).is_ok_and(|flags| flags.intersects(frozen))
}

/// Makes a new name in the folder of `path` outlast a loss of power.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_and_a_stale_draft_is_no_hindrance() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        fs::write(folder.path().join("a.new"), "half").expect("a draft");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
