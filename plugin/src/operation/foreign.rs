//! What somebody else did to the credential since the last rotation.

use crate::credential::Credential;
use crate::crypt::Field;
use crate::journal::{Phase, Rotation};
use crate::note::Note;
use crate::operation::Operation;
use crate::operation::record::earlier;
use crate::request::Kind;

impl Operation<'_> {
    /// Looks whether what the last rotation left is still there, and says so
    /// if it is not. What is found goes into the journal with the rotation
    /// that is begun next, so that a repeated answer says it as well.
    pub(super) fn compare(&mut self, credential: &dyn Credential) {
        let first = self.request.generation == 1;
        if self.journal.is_blank() && !self.doubtful {
            if !first {
                self.note(Note::NoJournal);
            }
            return;
        }
        let left = self.left_by_the_last();
        // Where it cannot be seen the operation itself will say so.
        if let Ok(Some(note)) = credential.missing(&left) {
            self.note(note);
        }
    }

    /// Remembers what was found, and says it.
    pub(super) fn note(&mut self, note: Note) {
        self.report.warn(note.word());
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Remembers it with the rotation that is under way, for the next time
    /// that the journal is written.
    pub(super) fn note_at_once(&mut self, note: Note) {
        self.note(note);
        if let Some(last) = self.journal.rotation.as_mut().filter(|last| !last.notes.contains(&note)) {
            last.notes.push(note);
        }
    }

    /// Takes out what stands beside the new credential without need.
    pub(super) fn tidy(&mut self, credential: &dyn Credential) {
        let known = self.known();
        if !credential.has_surplus(&known) {
            return;
        }
        if credential.tidy(&known).left.is_some() {
            let stays = |note: &Note| *note != Note::KeyDuplicatesRemoved;
            self.notes.retain(stays);
            if let Some(last) = self.journal.rotation.as_mut() {
                last.notes.retain(stays);
            }
            self.report.warn.retain(|word| *word != Note::KeyDuplicatesRemoved.word());
            self.report.warn("key_duplicates_left");
            self.save_or_warn();
        }
    }

    /// The credentials of which one should be in force, if nobody else has
    /// been at it; none if that cannot be told.
    fn left_by_the_last(&self) -> Vec<Field> {
        let Some(last) = self.journal.last(self.request) else {
            return Vec::new();
        };
        if last.phase == Phase::Begun {
            // What stands there may be the wrong work of a tool.
            return Vec::new();
        }
        match self.request.kind() {
            Kind::Password => earlier(last),
            Kind::SshKey => self.keys_left_by(last),
        }
    }

    fn keys_left_by(&self, last: &Rotation) -> Vec<Field> {
        match last.phase {
            Phase::Applied | Phase::Finalized => vec![last.new.clone()],
            Phase::Begun | Phase::Restored | Phase::Fenced => {
                let managed = self.journal.managed_keys.iter().map(|key| Field::new(key.as_str()));
                managed.filter(|key| *key != last.new).collect()
            }
        }
    }
}
