//! What was begun on this instance for one secret, kept over crashes.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::crypt::Field;
use crate::durable;
use crate::host::Host;
use crate::note::Note;
use crate::public_key::Fingerprint;
use crate::request::{Id, Kind, Request};

/// Where the journals are; for root only.
const FOLDER: &str = "/var/lib/strongroom/rotator";

/// Most rotations that are remembered as given up.
const MAX_TOMBSTONES: usize = 32;

/// Most keys that are remembered as this secret's.
const MAX_MANAGED: usize = 256;

/// How far a rotation got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// A change is about to be made, or was cut off.
    Begun,
    /// The new credential is in force.
    Applied,
    /// The change did not happen, or was put back.
    Restored,
    /// The vault has committed, and what came before is gone.
    Finalized,
    /// Given up.
    Fenced,
}

/// The last rotation that changed, or was about to change, something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// Whose credential.
    pub(crate) user: String,
    /// Which kind.
    pub(crate) kind: Kind,
    /// Its number.
    #[serde(rename = "gen")]
    pub(crate) generation: u64,
    /// Its identifier.
    pub(crate) rid: Id,
    /// How far it got.
    pub(crate) phase: Phase,
    /// The shadow field from before; none for keys, and none once finalized.
    pub(crate) prev: Option<Field>,
    /// The hash, or the key's fingerprint.
    pub(crate) new: Field,
    /// Keys: it was this rotation that added the key, so it may take it back.
    pub(crate) added: bool,
    /// Digest of user, kind and credential.
    pub(crate) payload_digest: String,
    /// What somebody else was found to have done before it; absent from
    /// journals of older versions.
    #[serde(default)]
    pub(crate) notes: Vec<Note>,
    /// When each phase was reached.
    pub(crate) times: Times,
}

/// A rotation whose credential travels sealed, before it is begun.
///
/// Such a credential is not in the requests that ask after it, so that only
/// the journal can tell that it never took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// Its identifier.
    pub(crate) rid: Id,
    /// What somebody else was found to have done before it.
    pub(crate) notes: Vec<Note>,
}

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// First begun.
    pub(crate) begun: u64,
    /// Last change of phase.
    pub(crate) settled: Option<u64>,
    /// The vault committed.
    pub(crate) finalized: Option<u64>,
}

/// All that is kept for one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The instance that it was written on: an image may carry it elsewhere,
    /// where it means nothing.
    pub(crate) inst: String,
    /// No rotation up to this number may change anything any more.
    #[serde(rename = "fence_gen")]
    pub(crate) fence_generation: u64,
    /// Rotations that may not change anything any more.
    pub(crate) tombstones: VecDeque<Id>,
    /// Keys that this secret put into the user's files.
    pub(crate) managed_keys: Vec<Fingerprint>,
    /// The last rotation.
    pub(crate) rotation: Option<Rotation>,
    /// The last one for which a key pair was made; absent from journals of
    /// older versions.
    #[serde(default)]
    pub(crate) prepared: Option<Prepared>,
}

impl Journal {
    /// The journal of a secret that was never rotated on `instance`.
    pub(crate) fn empty(instance: &str) -> Self {
        Self {
            inst: instance.to_owned(),
            fence_generation: 0,
            tombstones: VecDeque::new(),
            managed_keys: Vec::new(),
            rotation: None,
            prepared: None,
        }
    }

    /// Never again: remembers a rotation as given up.
    pub(crate) fn bury(&mut self, rid: &Id) {
        if self.tombstones.contains(rid) {
            return;
        }
        if self.tombstones.len() >= MAX_TOMBSTONES {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back(rid.clone());
    }

    /// Remembers a key as this secret's.
    pub(crate) fn manage(&mut self, key: &Fingerprint) {
        self.managed_keys.retain(|known| known != key);
        if self.managed_keys.len() >= MAX_MANAGED {
            self.managed_keys.remove(0);
        }
        self.managed_keys.push(key.clone());
    }

    /// The last rotation, if it is of the user and kind of `request`.
    pub(crate) fn last(&self, request: &Request) -> Option<&Rotation> {
        self.rotation
            .as_ref()
            .filter(|last| last.user == request.user.as_str() && last.kind == request.kind())
    }

    /// The rotation of `request`, if it was begun here.
    pub(crate) fn begun(&self, request: &Request) -> Option<&Rotation> {
        self.last(request).filter(|last| last.rid == request.rid && last.generation == request.generation)
    }

    /// The rotation of `request`, if a key pair was made for it here.
    pub(crate) fn prepared(&self, request: &Request) -> Option<&Prepared> {
        self.prepared.as_ref().filter(|prepared| prepared.rid == request.rid)
    }

    /// What somebody else was found to have done before `request`'s rotation.
    pub(crate) fn notes(&self, request: &Request) -> Vec<Note> {
        let begun = self.begun(request).map(|last| &last.notes);
        let prepared = self.prepared(request).map(|prepared| &prepared.notes);
        let mut notes: Vec<Note> = Vec::new();
        for note in begun.into_iter().chain(prepared).flatten() {
            if !notes.contains(note) {
                notes.push(*note);
            }
        }
        notes
    }

    /// Whether nothing of `request`'s rotation was ever begun here. Not to be
    /// told once a later rotation has taken the place of the last.
    pub(crate) fn never_began(&self, request: &Request) -> bool {
        self.rotation
            .as_ref()
            .is_none_or(|last| last.rid != request.rid && last.generation <= request.generation)
    }

    /// Whether nothing was ever written here: no rotation, and none refused.
    pub(crate) fn is_blank(&self) -> bool {
        *self == Self::empty(&self.inst)
    }

    /// Moves the rotation on to `phase`; true if that is news.
    pub(crate) fn settle(&mut self, phase: Phase) -> bool {
        match self.rotation.as_mut() {
            Some(last) if last.phase != phase => {
                let now = Some(clock::unix_seconds());
                last.phase = phase;
                last.times.settled = now;
                if phase == Phase::Finalized {
                    last.times.finalized = now;
                }
                true
            }
            Some(_) | None => false,
        }
    }
}

/// The folder of journals and locks.
#[derive(Debug)]
pub(crate) struct Cabinet {
    folder: PathBuf,
}

impl Cabinet {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, is not a folder of root's, or cannot be closed
    /// to others.
    pub(crate) fn open(host: &Host) -> io::Result<Self> {
        let folder = host.path(FOLDER);
        durable::private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// The folder, for locks.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the journal of `request`'s secret.
    ///
    /// Absent, from another instance, or damaged: an empty one. The second
    /// value says that it is damaged; it then is kept beside the new one.
    ///
    /// # Errors
    ///
    /// Where the file is there and cannot be read.
    pub(crate) fn read(&self, request: &Request) -> io::Result<(Journal, bool)> {
        let empty = Journal::empty(&request.instance);
        let content = match fs::read(self.file(&request.sid)) {
            Ok(content) => zeroize::Zeroizing::new(content),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((empty, false)),
            Err(e) => return Err(e),
        };
        Ok(match serde_json::from_slice::<Journal>(&content) {
            Ok(journal) if journal.inst == request.instance => (journal, false),
            Ok(_) => (empty, false),
            Err(_) => (empty, true),
        })
    }

    /// Writes the journal; when this returns it outlasts a loss of power.
    ///
    /// # Errors
    ///
    /// Where it could not be written; then the former one still stands.
    pub(crate) fn write(&self, sid: &Id, journal: &Journal) -> io::Result<()> {
        let text = zeroize::Zeroizing::new(serde_json::to_vec(journal)?);
        durable::replace(&self.file(sid), &text)
    }

    /// Puts a damaged journal aside, where a person can look at it.
    ///
    /// # Errors
    ///
    /// Where it cannot be renamed.
    pub(crate) fn put_aside(&self, sid: &Id) -> io::Result<()> {
        durable::rename(&self.file(sid), &self.damaged_file(sid))
    }

    /// Whether a journal of this secret was ever put aside, so that the one
    /// there is now does not tell the whole story.
    pub(crate) fn lost_one(&self, sid: &Id) -> bool {
        self.damaged_file(sid).exists()
    }

    fn damaged_file(&self, sid: &Id) -> PathBuf {
        self.file(sid).with_extension("json.damaged")
    }

    fn file(&self, sid: &Id) -> PathBuf {
        self.folder.join(format!("{}.json", sid.as_str()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// A rotation of root's password, for tests.
    pub(crate) fn rotation(generation: u64, rid: &str, phase: Phase) -> Rotation {
        Rotation {
            user: "root".to_owned(),
            kind: Kind::Password,
            generation,
            rid: Id::parse(&rid.repeat(32)).expect("an id"),
            phase,
            prev: Some(Field::new("$6$old")),
            new: Field::new("$6$new"),
            added: false,
            payload_digest: String::new(),
            notes: Vec::new(),
            times: Times::default(),
        }
    }

    fn request(instance: &str) -> Request {
        use data_encoding::BASE64URL_NOPAD;
        let json = format!(
            r#"{{"v":1,"op":"status","sid":"{}","rid":"{}","gen":1,"att":1,"inst":"{instance}","user":"root","kind":"password"}}"#,
            "0".repeat(32),
            "a".repeat(32)
        );
        Request::parse(&BASE64URL_NOPAD.encode(json.as_bytes()), instance).expect("a request")
    }

    fn cabinet() -> (tempfile::TempDir, Cabinet) {
        let folder = tempfile::tempdir().expect("a folder");
        let cabinet = Cabinet::open(&Host::new(folder.path().to_owned())).expect("a cabinet");
        (folder, cabinet)
    }

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let (_folder, cabinet) = cabinet();
        let mut journal = Journal::empty("i-1");
        journal.rotation = Some(rotation(3, "a", Phase::Applied));
        journal.manage(&Fingerprint::of(b"key"));
        journal.bury(&Id::parse(&"b".repeat(32)).expect("an id"));
        cabinet.write(&request("i-1").sid, &journal).expect("written");
        assert_eq!(cabinet.read(&request("i-1")).expect("read"), (journal, false));
    }

    #[test]
    fn the_journal_of_another_instance_is_no_journal() {
        let (_folder, cabinet) = cabinet();
        let mut journal = Journal::empty("i-1");
        journal.fence_generation = 9;
        cabinet.write(&request("i-1").sid, &journal).expect("written");
        let (read, damaged) = cabinet.read(&request("i-2")).expect("read");
        assert_eq!((read, damaged), (Journal::empty("i-2"), false));
    }

    #[test]
    fn a_damaged_journal_is_reported_and_kept() {
        let (_folder, cabinet) = cabinet();
        let sid = request("i-1").sid;
        fs::write(cabinet.file(&sid), "{").expect("written");
        assert_eq!(cabinet.read(&request("i-1")).expect("read"), (Journal::empty("i-1"), true));
        cabinet.put_aside(&sid).expect("put aside");
        assert!(cabinet.lost_one(&sid));
        assert!(cabinet.folder().join(format!("{}.json.damaged", sid.as_str())).exists());
    }

    #[test]
    fn folder_and_file_are_for_root_only() {
        let (_folder, cabinet) = cabinet();
        let sid = request("i-1").sid;
        cabinet.write(&sid, &Journal::empty("i-1")).expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(cabinet.folder()), 0o700);
        assert_eq!(mode(&cabinet.file(&sid)), 0o600);
    }

    #[test]
    fn a_rotation_never_began_unless_it_or_a_later_one_is_the_last() {
        let mut journal = Journal::empty("i-1");
        assert!(journal.never_began(&request("i-1")));
        for (generation, rid, never) in [(0, "b", true), (1, "b", true), (1, "a", false), (2, "b", false)] {
            journal.rotation = Some(rotation(generation, rid, Phase::Begun));
            assert_eq!(journal.never_began(&request("i-1")), never, "{generation} {rid}");
        }
    }

    #[test]
    fn the_last_32_tombstones_are_kept() {
        let mut journal = Journal::empty("i-1");
        for number in 0..40 {
            journal.bury(&Id::parse(&format!("{number:032x}")).expect("an id"));
        }
        assert_eq!(journal.tombstones.len(), 32);
        assert_eq!(journal.tombstones[0].as_str(), format!("{:032x}", 8));
    }
}
