//! The profile file: where a vault is and which key signs, under a name.
//!
//! ```toml
//! [default]
//! endpoint = "vault.example.test:8443"
//! ca_file = "/etc/strongroom/ca.pem"
//! region = "cn-hangzhou"
//! access_key_id = "LTAI…"
//! access_key_secret = "…"
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::wiped::{Exposed, SecretText, WipedBuffer};
use crate::model::RegionId;

/// The name that is meant when none is given.
pub(super) const DEFAULT: &str = "default";

/// A profile file of more bytes is not one.
const MAX_BYTES: u64 = 1024 * 1024;

/// What one profile sets; each member may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) endpoint: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) region: Option<RegionId>,
    pub(super) access_key_id: Option<String>,
    pub(super) access_key_secret: Option<SecretText>,
    pub(super) security_token: Option<SecretText>,
}

/// Why a profile was not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    /// It exists already, and may hold the only copy of a key.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Reading or writing failed.
    #[error("could not {deed} the profile file {}", path.display())]
    Io {
        /// What was attempted.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no profile of that name.
    #[error("there is no profile {name:?} in {}", path.display())]
    Missing {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read it.
    #[error("the profile file {} has mode {mode:04o}: others may read it", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user, who could put an endpoint of his own there.
    #[error("the profile file {} belongs to user {owner}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user's number.
        owner: u32,
    },
    /// It is not TOML of the known form. The cause is left out because it
    /// quotes the line, which may hold the secret.
    #[error("the profile file {} is malformed in line {line}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Reads one profile. A missing file is an empty profile unless `required`.
///
/// # Errors
///
/// [`ProfileError`]; the file is refused before it is read when it belongs to
/// another user than the caller or root, or when others may read it.
pub(super) fn load(path: &Path, name: &str, required: bool) -> Result<Profile, ProfileError> {
    let failed = |source| ProfileError::Io { deed: "read", path: path.to_owned(), source };
    let missing = || ProfileError::Missing { name: name.to_owned(), path: path.to_owned() };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(Profile::default()),
        Err(error) => return Err(failed(error)),
    };
    let facts = file.metadata().map_err(failed)?;
    let mode = facts.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ProfileError::Readable { path: path.to_owned(), mode });
    }
    let owner = facts.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(ProfileError::Owner { path: path.to_owned(), owner });
    }
    let length = usize::try_from(facts.len().min(MAX_BYTES)).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(length + 1));
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    let mut profiles: BTreeMap<String, Profile> = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
        let line = before.map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count()) + 1;
        ProfileError::Syntax { path: path.to_owned(), line }
    })?;
    match profiles.remove(name) {
        Some(profile) => Ok(profile),
        None if required => Err(missing()),
        None => Ok(Profile::default()),
    }
}

/// A new profile file, made before the key it is for, so that a key is never
/// issued that cannot be written down.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
}

/// What a new profile holds.
pub(super) struct Contents<'a> {
    pub(super) endpoint: Option<&'a str>,
    pub(super) ca_file: Option<&'a Path>,
    pub(super) region: Option<&'a str>,
    pub(super) access_key_id: &'a str,
    pub(super) access_key_secret: &'a SecretBytes,
}

impl NewFile {
    /// Makes the file with mode 0600; its folder must exist.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Exists`], or `Io`.
    pub(super) fn create(path: &Path) -> Result<Self, ProfileError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ProfileError::Exists(path.to_owned()))
            }
            Err(source) => Err(ProfileError::Io { deed: "create", path: path.to_owned(), source }),
        }
    }

    /// Writes the profile `default`, durably.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Io`].
    pub(super) fn write(mut self, contents: &Contents<'_>) -> Result<(), ProfileError> {
        let mut text = WipedBuffer::with_capacity(1024);
        let written = contents.write(&mut text);
        written
            .and_then(|()| self.file.write_all(text.bytes()))
            .and_then(|()| self.file.sync_all())
            .map_err(|source| ProfileError::Io { deed: "write", path: self.path.clone(), source })
    }

    /// Removes the file, because there is nothing to put into it.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Io`].
    pub(super) fn discard(self) -> Result<(), ProfileError> {
        std::fs::remove_file(&self.path).map_err(|source| ProfileError::Io {
            deed: "remove",
            path: self.path,
            source,
        })
    }
}

impl Contents<'_> {
    fn write(&self, text: &mut WipedBuffer) -> io::Result<()> {
        writeln!(text, "[{DEFAULT}]")?;
        member(text, "endpoint", &self.endpoint)?;
        member(text, "ca_file", &self.ca_file)?;
        member(text, "region", &self.region)?;
        member(text, "access_key_id", &Some(self.access_key_id))?;
        member(text, "access_key_secret", &Some(Exposed(self.access_key_secret)))
    }
}

/// A JSON string is a basic string of TOML: both use the same escapes.
fn member(text: &mut WipedBuffer, name: &str, value: &Option<impl Serialize>) -> io::Result<()> {
    let Some(value) = value else { return Ok(()) };
    write!(text, "{name} = ")?;
    serde_json::to_writer(&mut *text, value)?;
    writeln!(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644] {
            let (_folder, path) = file("[default]\n", mode);
            let refused = load(&path, DEFAULT, false);
            assert!(matches!(refused, Err(ProfileError::Readable { mode: m, .. }) if m == mode), "{mode:o}");
        }
        for mode in [0o600, 0o400] {
            let (_folder, path) = file("[default]\nendpoint = \"h:1\"\n", mode);
            assert_eq!(load(&path, DEFAULT, true).unwrap().endpoint.as_deref(), Some("h:1"));
        }
    }

    #[test]
    fn only_a_profile_that_was_asked_for_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.toml");
        assert!(load(&path, DEFAULT, false).unwrap().endpoint.is_none());
        assert!(matches!(load(&path, "bob", true), Err(ProfileError::Io { .. })));
        let (_folder, path) = file("[default]\n", 0o600);
        assert!(matches!(load(&path, "bob", true), Err(ProfileError::Missing { .. })));
    }

    #[test]
    fn a_malformed_file_is_named_by_its_line_without_quoting_it() {
        let (_folder, path) = file("[default]\naccess_key_id = \"a\"\naccess_key_secret = \"marker\n", 0o600);
        let error = load(&path, DEFAULT, true).unwrap_err();
        assert!(matches!(error, ProfileError::Syntax { line: 3, .. }), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("marker"));
    }

    #[test]
    fn a_written_profile_reads_back_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.toml");
        let secret = SecretBytes::copy_of(b"quote\" backslash\\");
        let contents = Contents {
            endpoint: Some("h:1"),
            ca_file: Some(Path::new("/ca.pem")),
            region: Some("cn-hangzhou"),
            access_key_id: "LTAI1",
            access_key_secret: &secret,
        };
        NewFile::create(&path).unwrap().write(&contents).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = load(&path, DEFAULT, true).unwrap();
        assert_eq!(read.ca_file.as_deref(), Some(Path::new("/ca.pem")));
        assert!(read.access_key_secret.unwrap().0.matches(secret.expose()));
        assert!(matches!(NewFile::create(&path), Err(ProfileError::Exists(_))));
    }
}
