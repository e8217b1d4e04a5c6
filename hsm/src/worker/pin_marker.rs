//! Remembers which PIN a token has refused.
//!
//! Tokens lock after a few wrong PINs, and a service that is restarted by its
//! supervisor would try the same wrong PIN until they do. The file holds the
//! token's serial number and a salted slow hash of each refused PIN.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use aws_lc_rs::{pbkdf2, rand};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::secret::SecretBytes;

/// Rounds of PBKDF2-HMAC-SHA256 (OWASP's figure of 2023); a refused PIN is
/// often one character away from the right one.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};

/// Refusals remembered; older ones are forgotten.
const MOST_REFUSALS: usize = 16;

#[derive(Serialize, Deserialize)]
struct Refusal {
    serial: String,
    rounds: NonZeroU32,
    salt: String,
    hash: String,
}

/// The file, or the absence of one.
pub(super) struct PinMarker {
    path: Option<PathBuf>,
}

impl PinMarker {
    pub(super) fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Whether the token of that serial number has refused this PIN before.
    ///
    /// A file that cannot be understood is an error, not a no.
    pub(super) fn refused(&self, serial: &str, pin: &SecretBytes) -> io::Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        for refusal in read(path)?.iter().filter(|refusal| refusal.serial == serial) {
            let salt = HEXLOWER.decode(refusal.salt.as_bytes()).map_err(io::Error::other)?;
            let hash = HEXLOWER.decode(refusal.hash.as_bytes()).map_err(io::Error::other)?;
            let verdict =
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, refusal.rounds, &salt, pin.expose(), &hash);
            if verdict.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Proves, before a PIN is risked, that a refusal could be written down.
    ///
    /// The record itself is left as it is: who asks may be another user than
    /// the one whose service keeps it.
    pub(super) fn probe(&self) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let draft = write_draft(path, &read(path)?)?;
        fs::remove_file(draft)
    }

    /// Writes down, durably, that the token refused this PIN.
    pub(super) fn remember(&self, serial: &str, pin: &SecretBytes) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(io::Error::other)?;
        let mut hash = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, pin.expose(), &mut hash);
        let mut refusals = read(path)?;
        refusals.push(Refusal {
            serial: serial.to_owned(),
            rounds: ROUNDS,
            salt: HEXLOWER.encode(&salt),
            hash: HEXLOWER.encode(&hash),
        });
        let surplus = refusals.len().saturating_sub(MOST_REFUSALS);
        replace(path, refusals.get(surplus..).unwrap_or_default())
    }

    /// Forgets what a token refused, since it has accepted another PIN.
    pub(super) fn forget(&self, serial: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut refusals = read(path)?;
        let before = refusals.len();
        refusals.retain(|refusal| refusal.serial != serial);
        if refusals.len() == before { Ok(()) } else { replace(path, &refusals) }
    }
}

fn read(path: &Path) -> io::Result<Vec<Refusal>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file as a whole, so that a crash leaves the old or the new.
fn replace(path: &Path, refusals: &[Refusal]) -> io::Result<()> {
    let draft = write_draft(path, refusals)?;
    fs::rename(&draft, path).inspect_err(|_error| {
        // The failure that is told is the first one.
        fs::remove_file(&draft).ok();
    })?;
    File::open(folder_of(path)?)?.sync_all()
}

/// Writes a file of a name of its own beside `path`, durably. It belongs to
/// whom the folder belongs to, so that what root writes beside a service can be
/// read by the service.
fn write_draft(path: &Path, refusals: &[Refusal]) -> io::Result<PathBuf> {
    let owner = fs::metadata(folder_of(path)?)?;
    let mut number = [0; 8];
    rand::fill(&mut number).map_err(io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", HEXLOWER.encode(&number)));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut write = || {
        match fchown(&file, Some(owner.uid()), Some(owner.gid())) {
            // Only root may give a file away; nobody else needs to.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Ok(()) | Err(_) => {}
        }
        file.write_all(&serde_json::to_vec(refusals).map_err(io::Error::other)?)?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(draft),
        Err(error) => {
            fs::remove_file(&draft).ok();
            Err(error)
        }
    }
}

/// The folder of a file; of a bare name, the current one.
fn folder_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => Err(io::Error::other("the file has no folder")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    use super::PinMarker;
    use crate::secret::SecretBytes;

    #[test]
    fn a_refused_pin_is_known_again_only_on_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin-refused");
        let marker = PinMarker::at(Some(path.clone()));
        let (wrong, right) = (SecretBytes::copy_of(b"wrong"), SecretBytes::copy_of(b"right"));
        assert!(!marker.refused("1", &wrong).unwrap());
        marker.remember("1", &wrong).unwrap();
        assert!(marker.refused("1", &wrong).unwrap());
        assert!(!marker.refused("1", &right).unwrap());
        assert!(!marker.refused("2", &wrong).unwrap());
        assert!(!std::fs::read_to_string(&path).unwrap().contains("wrong"));
        marker.forget("1").unwrap();
        assert!(!marker.refused("1", &wrong).unwrap());
    }

    #[test]
    fn an_unreadable_marker_is_an_error_and_not_a_no() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin-refused");
        std::fs::write(&path, b"{").unwrap();
        let marker = PinMarker::at(Some(path));
        assert!(marker.refused("1", &SecretBytes::copy_of(b"pin")).is_err());
        assert!(marker.probe().is_err());
    }

    #[test]
    fn a_marker_that_cannot_be_written_shows_before_a_pin_is_risked() {
        let marker = PinMarker::at(Some("/nonexistent/folder/pin-refused".into()));
        assert!(marker.probe().is_err());
    }

    #[test]
    fn a_probe_leaves_the_record_and_its_folder_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin-refused");
        let marker = PinMarker::at(Some(path.clone()));
        marker.probe().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        marker.remember("1", &SecretBytes::copy_of(b"wrong")).unwrap();
        let before = fs::metadata(&path).unwrap();
        marker.probe().unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_root_records_beside_a_service_belongs_to_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let (uid, gid) = match chown(folder.path(), Some(4711), Some(4712)) {
            Ok(()) => (4711, 4712),
            // Whoever is not root is the service itself.
            Err(_) => {
                let ours = fs::metadata(folder.path()).unwrap();
                (ours.uid(), ours.gid())
            }
        };
        let path = folder.path().join("pin-refused");
        PinMarker::at(Some(path.clone())).remember("1", &SecretBytes::copy_of(b"wrong")).unwrap();
        let record = fs::metadata(&path).unwrap();
        assert_eq!((record.uid(), record.gid()), (uid, gid));
        assert_eq!(record.mode() & 0o777, 0o600);
    }
}
