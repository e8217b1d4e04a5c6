//! A key in the files that sshd reads for one user.
//!
//! The new key is added first and the old one taken out later, in a second
//! step, so that there is no moment without a key that works. The old one goes
//! only while sshd, as far as it can be asked, lets the new one in.
//!
//! The new key goes into the first file that sshd names; the old ones are taken
//! out of all. A further file may be one that is not safe for us to change,
//! a link for instance. It is then left alone, with a warning. If sshd finds a
//! key in it, or might, no rotation is begun: which of its keys are this
//! secret's is known for certain only when they have to go, and then one that
//! stays would keep the rotation from ever ending.

use crate::accounts::Shadow;
use crate::authorized_keys::{self, Entry, KeyFile, entries, frozen_file};
use crate::clock;
use crate::credential::{Before, Credential, Failure, Known, Removal, Seen};
use crate::crypt::Field;
use crate::host::Host;
use crate::locks::Locks;
use crate::note::Note;
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
        Ok(paths.iter().map(move |path| KeyFile::new(self.host, account, groups, path)))
    }

    fn first_file(&self) -> Result<KeyFile<'_>, Refusal> {
        self.files()?.next().ok_or_else(|| Refusal::new(Code::KeysDisabled, "sshd names no key file"))
    }

    /// Reads all files; only the first, where the new key goes, must be sound.
    fn keys(&self) -> Result<Keys, Refusal> {
        let now = clock::unix_seconds();
        let mut keys = Keys::default();
        for (number, file) in self.files()?.enumerate() {
            let content = match file.read() {
                Ok(content) => content.unwrap_or_default(),
                Err(refusal) if number == 0 => return Err(refusal),
                Err(_) => continue,
            };
            let found: Vec<Entry<'_>> = entries(&content).filter_map(|(_, key)| key).collect();
            let accepted = found.iter().filter(|key| key.is_accepted(now));
            keys.accepted.extend(accepted.map(|key| key.fingerprint.clone()));
            keys.all.extend(found.into_iter().map(|key| key.fingerprint));
        }
        Ok(keys)
    }

    fn key(&self) -> Option<&PublicKey> {
        match &self.request.subject {
            Subject::SshKey(key) => key.as_ref(),
            Subject::Password(_) => None,
        }
    }

    /// Whether sshd can read a file that lets the new key in; where none does,
    /// the one into which the key would go.
    fn is_readable(&self, known: &Known) -> Result<bool, Refusal> {
        let now = clock::unix_seconds();
        let mut holders = Vec::new();
        for file in self.files()? {
            let content = file.read().ok().flatten().unwrap_or_default();
            let lets_in = |key: &Entry<'_>| is_new(known, &key.fingerprint) && key.is_accepted(now);
            let mut keys = entries(&content).filter_map(|(_, key)| key);
            if keys.any(|key| lets_in(&key)) {
                holders.push(file);
            }
        }
        if holders.is_empty() {
            holders.push(self.first_file()?);
        }
        Ok(holders.iter().any(KeyFile::is_readable_to_sshd))
    }

    /// The new key: that of the request, else as it stands in a file.
    fn new_key(&self, known: &Known) -> Result<Option<PublicKey>, Refusal> {
        if let Some(key) = self.key() {
            return Ok(Some(key.clone()));
        }
        for file in self.files()? {
            let content = file.read().ok().flatten().unwrap_or_default();
            let mut keys = entries(&content).filter_map(|(_, key)| key);
            if let Some(entry) = keys.find(|key| is_new(known, &key.fingerprint)) {
                return Ok(PublicKey::from_blob(&entry.blob));
            }
        }
        Ok(None)
    }

    /// The place among the files of the one whose line for the new key stays:
    /// the first that lets it in and that sshd can read.
    fn keeper(&self, known: &Known) -> Result<Option<usize>, Refusal> {
        let now = clock::unix_seconds();
        for (number, file) in self.files()?.enumerate() {
            let content = file.read().ok().flatten().unwrap_or_default();
            let mut keys = entries(&content).filter_map(|(_, key)| key);
            let lets_in = keys.any(|key| is_new(known, &key.fingerprint) && key.is_accepted(now));
            if lets_in && file.is_readable_to_sshd() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Leaves one line for `key`, which is the new one.
    fn keep_one(&self, key: &Fingerprint, known: &Known) -> Result<bool, Refusal> {
        let Some(keeper) = self.keeper(known)? else {
            return Ok(false);
        };
        let now = clock::unix_seconds();
        let mut changed = false;
        for (number, file) in self.files()?.enumerate() {
            changed |= file.change(&self.request.rid, &|content| {
                if number == keeper {
                    authorized_keys::keep_one(content, key, now)
                } else {
                    authorized_keys::remove(content, std::slice::from_ref(key))
                }
            })?;
        }
        Ok(changed)
    }

    /// Whether one of `keys` stands there more than once.
    fn are_repeated(&self, keys: &[Fingerprint]) -> bool {
        let all = self.keys().map(|keys| keys.all).unwrap_or_default();
        keys.iter().any(|key| all.iter().filter(|found| *found == key).count() > 1)
    }

    /// Takes `keys` out of every file, and looks whether they are gone.
    fn remove_everywhere(&self, keys: &[Fingerprint]) -> Removal {
        let mut removal = Removal { repeated: self.are_repeated(keys), ..Removal::default() };
        let files = match self.files() {
            Ok(files) => files,
            Err(refusal) => {
                removal.left = Some(refusal);
                return removal;
            }
        };
        for (number, file) in files.enumerate() {
            let edit = |content: &[u8]| authorized_keys::remove(content, keys);
            let has_none =
                || file.visible_keys().is_some_and(|found| !found.iter().any(|key| keys.contains(key)));
            match file.change(&self.request.rid, &edit) {
                Ok(changed) => removal.changed |= changed,
                Err(_) if number > 0 && has_none() => removal.skipped = true,
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

fn is_new(known: &Known, key: &Fingerprint) -> bool {
    let new = known.new.as_ref();
    new.is_some_and(|new| new.expose() == key.as_str())
}

impl Credential for SshKey<'_> {
    fn check(&self, known: &Known, warn: &mut dyn FnMut(&'static str)) -> Result<(), Refusal> {
        let target = self.target;
        target.check_open()?;
        // sshd asks PAM, and PAM stops a key as well.
        let inactive = |shadow: &Shadow| shadow.is_inactive(clock::unix_days());
        if target.sshd.value("usepam") != Some("no") && target.shadow.as_ref().is_some_and(inactive) {
            let detail = "the password expired too long ago, which closes the account";
            return Err(Refusal::new(Code::AccountExpired, detail));
        }
        // The password is not set here, so that its time goes on.
        target.warn_of_ageing(None, warn);
        if !target.sshd.installed {
            warn("sshd_not_found");
        }
        for (number, file) in self.files()?.enumerate() {
            let Err(refusal) = file.read() else {
                continue;
            };
            let has_none = || file.visible_keys().is_some_and(|found| found.is_empty());
            if number == 0 || !has_none() {
                return Err(refusal);
            }
            warn("other_key_file_unsafe");
        }
        self.usable(known)?;
        let first = self.first_file()?;
        if first.is_frozen() && !self.keys()?.accepted.iter().any(|key| is_new(known, key)) {
            return Err(frozen_file());
        }
        if first.is_loose() {
            warn("key_file_group_writable");
        }
        let (_, way) = target.ways(self.host, self.key());
        if way == Way::Blocked {
            warn("key_login_blocked");
        }
        Ok(())
    }

    fn usable(&self, known: &Known) -> Result<(), Refusal> {
        let disabled = |detail| Refusal::new(Code::KeysDisabled, detail);
        let key = self.new_key(known)?;
        if let Some(obstacle) = self.target.key_obstacle(key.as_ref()) {
            return Err(disabled(obstacle));
        }
        if !self.is_readable(known)? {
            return Err(disabled("sshd, with the rights of the user, cannot read the key file"));
        }
        Ok(())
    }

    fn observe(&self, known: &Known) -> Result<Seen, Refusal> {
        let keys = self.keys()?;
        let new = keys.accepted.iter().find(|key| is_new(known, key));
        let old = keys.accepted.iter().any(|key| known.old.iter().any(|old| old.expose() == key.as_str()));
        // A key that opens nothing proves nothing.
        let proof = new.filter(|_| self.usable(known).is_ok());
        Ok(Seen {
            live: known.judge(new.is_some(), old),
            proof: proof.map(|key| Proof::Key(key.as_str().to_owned())),
        })
    }

    fn missing(&self, left: &[Field]) -> Result<Option<Note>, Refusal> {
        let keys = self.keys()?;
        let is_left = |key: &Fingerprint| left.iter().any(|left| left.expose() == key.as_str());
        let gone = !left.is_empty() && !keys.all.iter().any(is_left);
        Ok(gone.then_some(Note::ManagedKeyMissing))
    }

    fn has_surplus(&self, known: &Known) -> bool {
        let Ok(keys) = self.keys() else {
            return false;
        };
        let count = |keys: &[Fingerprint]| keys.iter().filter(|key| is_new(known, key)).count();
        count(&keys.all) > count(&keys.accepted).min(1)
    }

    fn tidy(&self, known: &Known) -> Removal {
        let key = known.new.as_ref().and_then(|new| Fingerprint::parse(new.expose()));
        let done = key.map_or(Ok(false), |key| self.keep_one(&key, known));
        Removal { changed: done == Ok(true), left: done.err(), ..Removal::default() }
    }

    fn remark(&self) -> Option<&'static str> {
        None
    }

    fn before(&self, new: &Field) -> Result<Before, Refusal> {
        let keys = self.keys()?;
        Ok(Before { prev: None, absent: !keys.all.iter().any(|key| key.as_str() == new.expose()) })
    }

    fn set(&self, _new: &Field, _prev: Option<&Field>, known: &Known, _locks: &Locks) -> Result<(), Failure> {
        let key = self
            .key()
            .ok_or_else(|| Failure::Unchanged(Refusal::new(Code::BadRequest, "apply needs a key")))?;
        let former: Vec<Fingerprint> =
            known.old.iter().filter_map(|old| Fingerprint::parse(old.expose())).collect();
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
        let going: Vec<Fingerprint> = keys.iter().filter(|key| !is_new(known, key)).cloned().collect();
        self.remove_everywhere(&going)
    }

    fn take_back(&self, key: &Fingerprint) -> Removal {
        self.remove_everywhere(std::slice::from_ref(key))
    }
}
