//! A key in the files that sshd reads for one user.
//!
//! The new key is added first and the old one taken out later, in a second
//! step, so that there is no moment without a key that works.

use crate::authorized_keys::{self, Entry, KeyFile, entries};
use crate::clock;
use crate::credential::{Before, Credential, Failure, Known, Removal, Seen};
use crate::crypt::{Field, FieldState};
use crate::host::Host;
use crate::locks::Locks;
use crate::public_key::{Fingerprint, PublicKey};
use crate::report::{Code, Proof, Refusal};
use crate::request::{Request, Subject};
use crate::sshd::Way;
use crate::target::Target;

/// The key of one user.
#[derive(Debug)]
pub(crate) struct SshKey<'a> {
    host: &'a Host,
    request: &'a Request,
    target: &'a Target,
    files: Result<Vec<String>, Refusal>,
}

/// What the files hold.
#[derive(Debug, Default)]
struct Keys {
    /// Keys that sshd would let in.
    accepted: Vec<Fingerprint>,
    /// All keys, also those whose time is over.
    all: Vec<Fingerprint>,
    /// A file after the first could not be read.
    incomplete: Option<Refusal>,
}

impl<'a> SshKey<'a> {
    /// A key of `target`.
    pub(crate) fn new(host: &'a Host, request: &'a Request, target: &'a Target) -> Self {
        let files = target.sshd.key_files(&target.account);
        Self {
            host,
            request,
            target,
            files: files.map_err(|detail| Refusal::new(Code::KeysDisabled, detail)),
        }
    }

    fn files(&self) -> Result<impl Iterator<Item = KeyFile<'_>>, Refusal> {
        let paths = self.files.as_ref().map_err(Clone::clone)?;
        let (account, groups) = (&self.target.account, self.target.groups.as_slice());
        Ok(paths
            .iter()
            .map(move |path| KeyFile::new(self.host, account, groups, path)))
    }

    fn first_file(&self) -> Result<KeyFile<'_>, Refusal> {
        self.files()?
            .next()
            .ok_or_else(|| Refusal::new(Code::KeysDisabled, "sshd names no key file"))
    }

    /// Reads all files; only the first, where the new key goes, must be sound.
    fn keys(&self) -> Result<Keys, Refusal> {
        let now = clock::unix_seconds();
        let mut keys = Keys::default();
        for (number, file) in self.files()?.enumerate() {
            let content = match file.read() {
                Ok(content) => content.unwrap_or_default(),
                Err(refusal) if number == 0 => return Err(refusal),
                Err(refusal) => {
                    keys.incomplete = Some(refusal);
                    continue;
                }
            };
            let found: Vec<Entry<'_>> = entries(&content).filter_map(|(_, key)| key).collect();
            let accepted = found.iter().filter(|key| key.is_accepted(now));
            keys.accepted
                .extend(accepted.map(|key| key.fingerprint.clone()));
            keys.all
                .extend(found.into_iter().map(|key| key.fingerprint));
        }
        Ok(keys)
    }

    fn key(&self) -> Option<&PublicKey> {
        match &self.request.subject {
            Subject::SshKey(key) => key.as_ref(),
            Subject::Password(_) => None,
        }
    }

    /// Takes `keys` out of every file, and looks whether they are gone.
    fn remove_everywhere(&self, keys: &[Fingerprint]) -> Removal {
        let mut removal = Removal::default();
        let files = match self.files() {
            Ok(files) => files,
            Err(refusal) => {
                removal.left = Some(refusal);
                return removal;
            }
        };
        for file in files {
            let edit = |content: &[u8]| authorized_keys::remove(content, keys);
            match file.change(&self.request.rid, &edit) {
                Ok(changed) => removal.changed |= changed,
                Err(refusal) => removal.left = Some(refusal),
            }
        }
        match self.keys() {
            Ok(left) if left.all.iter().any(|key| keys.contains(key)) => {
                let refusal = Refusal::new(Code::VerifyFailed, "a key is still there");
                removal.left.get_or_insert(refusal);
            }
            Ok(_) => {}
            Err(refusal) => removal.left = Some(refusal),
        }
        removal
    }
}

impl Credential for SshKey<'_> {
    fn check(&self, warn: &mut dyn FnMut(&'static str)) -> Result<(), Refusal> {
        let target = self.target;
        target.check_open()?;
        if let Some(shadow) = &target.shadow {
            // sshd asks PAM, and PAM stops a key as well.
            if shadow.must_change(clock::unix_days()) {
                warn("password_expired");
            }
            let locked = matches!(
                shadow.field.state(),
                FieldState::Locked | FieldState::NoPassword
            );
            if locked && target.sshd.value("usepam") == Some("no") {
                warn("locked_and_sshd_without_pam");
            }
        }
        if !target.sshd.installed {
            warn("sshd_not_found");
        } else if !target.sshd.is_known() {
            warn("sshd_settings_unknown");
        }
        if target.sshd.value("pubkeyauthentication") == Some("no") {
            warn("pubkeyauthentication_off");
        }
        let (_, way) = target.ways(self.host, self.key().map(PublicKey::kind));
        if way == Way::Blocked {
            warn("key_login_blocked");
        }
        if self.keys()?.incomplete.is_some() {
            warn("other_key_file_unsafe");
        }
        if !self.first_file()?.is_readable_to_sshd() {
            warn("key_file_unreadable_to_sshd");
        }
        Ok(())
    }

    fn observe(&self, known: &Known) -> Result<Seen, Refusal> {
        let keys = self.keys()?;
        let is_new = |key: &&Fingerprint| {
            known
                .new
                .as_ref()
                .is_some_and(|new| new.expose() == key.as_str())
        };
        let new = keys.accepted.iter().find(is_new);
        let old = keys
            .accepted
            .iter()
            .any(|key| known.old.iter().any(|old| old.expose() == key.as_str()));
        Ok(Seen {
            live: known.judge(new.is_some(), old),
            proof: new.map(|key| Proof::Key(key.as_str().to_owned())),
        })
    }

    fn before(&self, new: &Field) -> Result<Before, Refusal> {
        let keys = self.keys()?;
        Ok(Before {
            prev: None,
            absent: !keys.all.iter().any(|key| key.as_str() == new.expose()),
        })
    }

    fn set(&self, _new: &Field, known: &Known, _locks: &Locks) -> Result<(), Failure> {
        let key = self.key().ok_or_else(|| {
            Failure::Unchanged(Refusal::new(Code::BadRequest, "apply needs a key"))
        })?;
        let former: Vec<Fingerprint> = known
            .old
            .iter()
            .filter_map(|old| Fingerprint::parse(old.expose()))
            .collect();
        let sid = self.request.sid.as_str();
        let mark = format!("strongroom:{}", sid.get(..8).unwrap_or(sid));
        let (generation, now) = (self.request.generation, clock::unix_seconds());
        let file = self.first_file().map_err(Failure::Unchanged)?;
        file.change(&self.request.rid, &|content| {
            authorized_keys::add(content, key, &former, &mark, generation, now)
        })
        .map_err(Failure::Unchanged)?;
        Ok(())
    }

    fn remove(&self, keys: &[Fingerprint], known: &Known) -> Removal {
        let going: Vec<Fingerprint> = keys
            .iter()
            .filter(|key| {
                known
                    .new
                    .as_ref()
                    .is_none_or(|new| new.expose() != key.as_str())
            })
            .cloned()
            .collect();
        self.remove_everywhere(&going)
    }

    fn take_back(&self, key: &Fingerprint) -> Removal {
        self.remove_everywhere(std::slice::from_ref(key))
    }
}
