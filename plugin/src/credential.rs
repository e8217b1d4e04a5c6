//! What an operation asks of either kind of credential.

use crate::crypt::Field;
use crate::locks::Locks;
use crate::note::Note;
use crate::public_key::Fingerprint;
use crate::report::{Live, Proof, Refusal};

/// What is known beforehand of the credentials that may be in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// That of this rotation.
    pub(crate) new: Option<Field>,
    /// Those from before it.
    pub(crate) old: Vec<Field>,
    /// Nothing was ever recorded of what was there before this rotation.
    pub(crate) unrecorded: bool,
}

impl Known {
    /// What is in force, given whether the new one and an old one were found.
    ///
    /// Neither found means that somebody else changed it; but if nothing ever
    /// was recorded here, then nothing of this rotation ever took effect, and
    /// what stands there is what stood before it.
    pub(crate) fn judge(&self, new_found: bool, old_found: bool) -> Live {
        match (new_found, old_found) {
            (true, true) => Live::Both,
            (true, false) => Live::New,
            (false, true) => Live::Old,
            (false, false) if self.new.is_none() && self.old.is_empty() => Live::Unknown,
            (false, false) if self.unrecorded => Live::Old,
            (false, false) => Live::Other,
        }
    }
}

/// What was read from the system.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What is in force.
    pub(crate) live: Live,
    /// What shows it.
    pub(crate) proof: Option<Proof>,
}

/// What is about to be overwritten or added, for the journal.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// The credential that will be replaced.
    pub(crate) prev: Option<Field>,
    /// The new credential is not there yet, so it will be ours to take back.
    pub(crate) absent: bool,
}

/// Why a change is not in force.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Nothing changed.
    Unchanged(Refusal),
    /// Somebody else changed the credential at the same time; we did not.
    Overtaken(Refusal),
    /// Something else than the new credential took effect, and was put back.
    Restored(Refusal),
    /// Something else than the new credential took effect, and stands.
    RestoreFailed(Refusal),
    /// The change is perhaps still being made.
    Undecided(Refusal),
}

/// What became of keys that had to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removal {
    /// At least one was there and is gone.
    pub(crate) changed: bool,
    /// One of them stood there more than once.
    pub(crate) repeated: bool,
    /// A file was left alone that is not safe and holds none of them.
    pub(crate) skipped: bool,
    /// Why perhaps not all are gone.
    pub(crate) left: Option<Refusal>,
}

/// A password or a key of one user.
pub(crate) trait Credential {
    /// Checks all that can be checked without changing anything.
    ///
    /// # Errors
    ///
    /// The reason why a change would fail or do harm.
    fn check(&self, known: &Known, warn: &mut dyn FnMut(&'static str)) -> Result<(), Refusal>;

    /// Whether somebody can log on with the new credential where it is in
    /// force, as far as can be seen.
    ///
    /// # Errors
    ///
    /// What certainly stands in the way.
    fn usable(&self, known: &Known) -> Result<(), Refusal>;

    /// Reads what is in force.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    fn observe(&self, known: &Known) -> Result<Seen, Refusal>;

    /// What somebody else did, if none of `left` is in force any more, which
    /// are the credentials of which an earlier rotation left one. Nothing is
    /// said where there are none.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    fn missing(&self, left: &[Field]) -> Result<Option<Note>, Refusal>;

    /// Whether the new credential stands there oftener than it has to, or in a
    /// form in which it opens nothing.
    fn has_surplus(&self, known: &Known) -> bool;

    /// Takes the surplus of the new credential out.
    fn tidy(&self, known: &Known) -> Removal;

    /// What still stands in the way of a logon after the change, in one word.
    fn remark(&self) -> Option<&'static str>;

    /// Reads what a change would overwrite.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    fn before(&self, new: &Field) -> Result<Before, Refusal>;

    /// Puts `new` in force. `known.old` names the earlier credentials, and
    /// `prev` is the one to put back if something else takes effect.
    ///
    /// # Errors
    ///
    /// [`Failure`], which says what then stands.
    fn set(&self, new: &Field, prev: Option<&Field>, known: &Known, locks: &Locks) -> Result<(), Failure>;

    /// Takes `keys` out, but never the new one.
    fn remove(&self, keys: &[Fingerprint], known: &Known) -> Removal;

    /// Takes out a key that this rotation added and that is not wanted.
    fn take_back(&self, key: &Fingerprint) -> Removal;
}
