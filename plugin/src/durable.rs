//! Files of our own that are whole after any crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

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
