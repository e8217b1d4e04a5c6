//! The key pair that is made here for one rotation, and the file that keeps it
//! until the rotation is over.
//!
//! The private key lies where nothing outlasts a loss of power, for root only,
//! and for a quarter of an hour at most. When it ends stands in the name of its
//! file, so that a file that is past its time can be removed by any run: a pair
//! made anew has another name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use crate::durable;
use crate::host::Host;
use crate::request::Id;

/// Where private keys are; `/run` is in memory.
const FOLDER: &str = "/run/strongroom";

/// How long a pair is good, in seconds.
const LIFETIME_SECONDS: u64 = 15 * 60;

/// Most files of the folder that one run looks at.
const MAX_FILES: usize = 4_096;

/// An RSA key pair of 2048 bits.
#[derive(Debug)]
pub(crate) struct KeyPair {
    private: OaepPrivateDecryptingKey,
    secret: Pkcs8V1Der<'static>,
    public: PublicKeyX509Der<'static>,
    expires: u64,
}

impl KeyPair {
    /// A new pair that is good until `expires`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Where no random bytes can be had.
    pub(crate) fn generate(expires: u64) -> Result<Self, Unspecified> {
        Self::of(PrivateDecryptingKey::generate(KeySize::Rsa2048)?, expires)
    }

    /// The public key: SubjectPublicKeyInfo (RFC 5280 section 4.1) in base64.
    pub(crate) fn public(&self) -> String {
        BASE64.encode(self.public.as_ref())
    }

    /// The pair's name: the first 16 hexadecimal digits of the SHA-256 of the
    /// public key.
    pub(crate) fn kid(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.public.as_ref());
        HEXLOWER.encode(digest.as_ref()).chars().take(16).collect()
    }

    /// Until when it is good, in seconds since 1970.
    pub(crate) const fn expires(&self) -> u64 {
        self.expires
    }

    /// Opens what was sealed with RSA-OAEP, SHA-256 and no label; `None`
    /// whatever is wrong.
    pub(crate) fn decrypt(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut room = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, sealed, &mut room, None).ok()?.len();
        room.truncate(length);
        Some(room)
    }

    fn read(path: &Path, expires: u64) -> Option<Self> {
        let secret = Zeroizing::new(fs::read(path).ok()?);
        Self::of(PrivateDecryptingKey::from_pkcs8(&secret).ok()?, expires).ok()
    }

    fn of(private: PrivateDecryptingKey, expires: u64) -> Result<Self, Unspecified> {
        let secret = private.as_der()?;
        let public = private.public_key().as_der()?;
        Ok(Self { private: OaepPrivateDecryptingKey::new(private)?, secret, public, expires })
    }
}

/// The folder of private keys; made only when a key goes into it.
#[derive(Debug)]
pub(crate) struct Keyring {
    folder: PathBuf,
    now: u64,
}

/// A file of the folder, by its name.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    sid: Id,
    rid: Id,
    expires: u64,
    /// Not yet renamed to its name: the rest of a run that was cut off.
    draft: bool,
}

impl Keyring {
    /// The keys of the machine at the time `now`, in seconds since 1970.
    pub(crate) fn new(host: &Host, now: u64) -> Self {
        Self { folder: host.path(FOLDER), now }
    }

    /// The pair of a rotation, if there is one that is good.
    pub(crate) fn find(&self, sid: &Id, rid: &Id) -> Option<KeyPair> {
        let good = |kept: &Kept| !kept.draft && !self.is_over(kept) && kept.is_of(sid, rid);
        self.kept().into_iter().filter(good).find_map(|kept| KeyPair::read(&kept.path, kept.expires))
    }

    /// The pair of a rotation; made if there is none that is good.
    ///
    /// # Errors
    ///
    /// Where it cannot be made or kept.
    pub(crate) fn find_or_make(&self, sid: &Id, rid: &Id) -> io::Result<KeyPair> {
        if let Some(pair) = self.find(sid, rid) {
            return Ok(pair);
        }
        let pair = KeyPair::generate(self.now.saturating_add(LIFETIME_SECONDS)).map_err(io::Error::other)?;
        durable::private_folder(&self.folder)?;
        let name = format!("{}.{}.{}.key", sid.as_str(), rid.as_str(), pair.expires());
        durable::replace(&self.folder.join(name), pair.secret.as_ref())?;
        Ok(pair)
    }

    /// Removes the pairs of a rotation that is over.
    ///
    /// # Errors
    ///
    /// Where one cannot be removed.
    pub(crate) fn discard(&self, sid: &Id, rid: &Id) -> io::Result<()> {
        self.remove(|kept| kept.is_of(sid, rid))
    }

    /// Removes what is past its time, and what a run for the secret `sid` that
    /// was cut off has left; its lock must be held.
    ///
    /// # Errors
    ///
    /// Where one cannot be removed.
    pub(crate) fn sweep(&self, sid: &Id) -> io::Result<()> {
        self.remove(|kept| self.is_over(kept) || (kept.draft && kept.sid == *sid))
    }

    /// Whether its time is over, or further away than any time was ever set:
    /// then the clock was set back, and when it ends is not to be told.
    fn is_over(&self, kept: &Kept) -> bool {
        kept.expires <= self.now || kept.expires > self.now.saturating_add(LIFETIME_SECONDS)
    }

    fn remove(&self, goes: impl Fn(&Kept) -> bool) -> io::Result<()> {
        self.kept().iter().filter(|kept| goes(kept)).try_for_each(|kept| durable::remove(&kept.path))
    }

    fn kept(&self) -> Vec<Kept> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        names.take(MAX_FILES).filter_map(|entry| Kept::named(entry.path())).collect()
    }
}

impl Kept {
    fn named(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let parts: Vec<&str> = name.split('.').collect();
        let [sid, rid, expires, ending @ ("key" | "new")] = *parts.as_slice() else {
            return None;
        };
        let (sid, rid, expires) = (Id::parse(sid)?, Id::parse(rid)?, expires.parse().ok()?);
        let draft = ending == "new";
        Some(Self { path, sid, rid, expires, draft })
    }

    fn is_of(&self, sid: &Id, rid: &Id) -> bool {
        self.sid == *sid && self.rid == *rid
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn id(letter: &str) -> Id {
        Id::parse(&letter.repeat(32)).expect("an id")
    }

    fn names(keyring: &Keyring) -> usize {
        fs::read_dir(&keyring.folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_pair_is_kept_for_root_only_until_its_time_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::new(folder.path().to_owned());
        let at = |now| Keyring::new(&host, now);
        let (sid, rid) = (id("0"), id("a"));
        assert!(at(1_000).find(&sid, &rid).is_none() && names(&at(0)) == 0);
        let pair = at(1_000).find_or_make(&sid, &rid).expect("a pair");
        assert_eq!((pair.expires(), pair.kid().len()), (1_900, 16));
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&at(0).folder), 0o700);
        assert_eq!(mode(&at(0).kept()[0].path), 0o600);

        let again = at(1_899).find_or_make(&sid, &rid).expect("a pair");
        assert_eq!((again.kid(), again.expires()), (pair.kid(), 1_900));
        assert!(at(1_500).find(&sid, &id("b")).is_none() && at(1_500).find(&id("1"), &rid).is_none());
        for now in [1_900, 900] {
            assert!(at(now).find(&sid, &rid).is_none(), "{now}");
        }
        let later = at(1_900).find_or_make(&sid, &rid).expect("a pair");
        assert_ne!(later.kid(), pair.kid());
    }

    #[test]
    fn what_is_over_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::new(folder.path().to_owned());
        let keyring = Keyring::new(&host, 1_000);
        for (sid, rid) in [("0", "a"), ("0", "b"), ("1", "a")] {
            keyring.find_or_make(&id(sid), &id(rid)).expect("a pair");
        }
        let draft = |sid: &str, expires: u64| {
            let name = format!("{}.{}.{expires}.new", sid.repeat(32), "c".repeat(32));
            fs::write(keyring.folder.join(name), "").expect("a draft");
        };
        draft("0", 1_800);
        draft("1", 1_800);
        draft("1", 999);
        fs::write(keyring.folder.join("mine"), "").expect("a file");
        keyring.sweep(&id("0")).expect("swept");
        assert_eq!(names(&keyring), 5, "the rest of this secret's run, and what is past its time");
        keyring.discard(&id("0"), &id("a")).expect("discarded");
        keyring.discard(&id("0"), &id("a")).expect("nothing to do");
        assert!(keyring.find(&id("0"), &id("a")).is_none());
        assert!(keyring.find(&id("0"), &id("b")).is_some() && keyring.find(&id("1"), &id("a")).is_some());
        Keyring::new(&host, 1_900).sweep(&id("2")).expect("swept");
        assert_eq!(names(&keyring), 1, "only what is no key of ours");
    }
}
