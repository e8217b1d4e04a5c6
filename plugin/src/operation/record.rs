//! What the journal knows beforehand, what the system says, and what goes into
//! the journal.

use crate::clock;
use crate::credential::{Before, Credential, Known, Seen};
use crate::crypt::Field;
use crate::journal::{Phase, Rotation, Times};
use crate::note::Note;
use crate::operation::Operation;
use crate::public_key::Fingerprint;
use crate::report::{Code, Live};
use crate::request::{Kind, Op};

impl Operation<'_> {
    /// Looks what is in force, and puts it into the answer.
    pub(super) fn look(&mut self, credential: &dyn Credential) -> Option<Live> {
        match credential.observe(&self.known()) {
            Ok(seen) => {
                self.show(seen);
                Some(self.report.live)
            }
            Err(refusal) => {
                self.report.live = self.unseen();
                if self.report.code().is_ok() {
                    self.fail(refusal);
                }
                None
            }
        }
    }

    /// What is in force where it cannot be seen. To what would change it, or
    /// gives it up, that is the old one, if nothing of this rotation was ever
    /// begun here: nothing of it can have taken effect.
    pub(super) fn unseen(&self) -> Live {
        match self.request.op {
            Op::Prepare | Op::Apply | Op::Fence if self.never_began() => Live::Old,
            Op::Prepare | Op::Apply | Op::Verify | Op::Finalize | Op::Status | Op::Fence => Live::Unknown,
        }
    }

    /// Calls a durable fence a success although nothing could be seen, if
    /// there was nothing of this rotation to be seen.
    pub(super) fn accept_unseen(&mut self) {
        if self.never_began() {
            self.report.set_code(Code::Ok);
            self.report.warn("not_observed");
        }
    }

    fn never_began(&self) -> bool {
        !self.doubtful && self.journal.never_began(self.request)
    }

    pub(super) fn show(&mut self, seen: Seen) {
        self.report.live = match seen.live {
            Live::Unknown if self.cannot_be_new() => Live::Old,
            live @ (Live::New | Live::Old | Live::Other | Live::Both | Live::Unknown) => live,
        };
        self.report.proof = seen.proof;
    }

    /// Whether a credential that is not known here, since it travels sealed,
    /// certainly is not the one in force.
    ///
    /// To what would put it in force that is so as long as nothing was begun.
    /// To what asks after it, or gives it up, only if the journal shows that
    /// it is not lost: without it the new one may be in force already.
    fn cannot_be_new(&self) -> bool {
        let known = self.known();
        let shown = match self.request.op {
            Op::Prepare | Op::Apply => true,
            Op::Status | Op::Fence => self.journal.prepared(self.request).is_some(),
            Op::Verify | Op::Finalize => false,
        };
        known.new.is_none() && shown && self.never_began()
    }

    /// What may be in force, from the request and the journal.
    pub(super) fn known(&self) -> Known {
        let request = self.request;
        let begun = self.journal.begun(request);
        let new = self.credential.clone().or_else(|| begun.map(|last| last.new.clone()));
        let mut old: Vec<Field> = match request.kind() {
            Kind::Password => match (begun, self.journal.last(request)) {
                (Some(last), _) => last.prev.iter().cloned().collect(),
                (None, Some(last)) => earlier(last),
                (None, None) => Vec::new(),
            },
            Kind::SshKey => self
                .journal
                .managed_keys
                .iter()
                .chain(&request.remove)
                .map(|key| Field::new(key.as_str()))
                .collect(),
        };
        old.retain(|old| Some(old) != new.as_ref());
        let unrecorded = match (begun, self.journal.last(request)) {
            (Some(last), _) => last.times.finalized.is_none(),
            (None, last) => last.is_none(),
        };
        Known { unrecorded: unrecorded && old.is_empty(), new, old }
    }

    /// Enters this rotation into the journal, in memory.
    pub(super) fn begin(&mut self, new: &Field, digest: String, phase: Phase, before: Option<Before>) {
        let former = self.journal.begun(self.request).cloned();
        let now = clock::unix_seconds();
        let (prev, absent) = before.map_or((None, false), |before| (before.prev, before.absent));
        let kept = former.as_ref().and_then(|former| former.prev.clone());
        self.journal.rotation = Some(Rotation {
            user: self.request.user.as_str().to_owned(),
            kind: self.request.kind(),
            generation: self.request.generation,
            rid: self.request.rid.clone(),
            phase,
            prev: prev.or(kept),
            new: new.clone(),
            added: absent || former.as_ref().is_some_and(|former| former.added),
            payload_digest: digest,
            notes: self.all_notes(),
            times: Times {
                begun: former.map_or(now, |former| former.times.begun),
                settled: Some(now),
                finalized: None,
            },
        });
        if let Some(key) = Fingerprint::parse(new.expose()) {
            self.journal.manage(&key);
        }
    }

    /// What this run and those before it of the same rotation have found.
    pub(super) fn all_notes(&self) -> Vec<Note> {
        let mut notes = self.journal.notes(self.request);
        for note in &self.notes {
            if !notes.contains(note) {
                notes.push(*note);
            }
        }
        notes
    }
}

/// What an earlier rotation may have left in force.
pub(super) fn earlier(last: &Rotation) -> Vec<Field> {
    let (new, prev) = (last.new.clone(), last.prev.clone());
    match last.phase {
        Phase::Applied | Phase::Finalized => vec![new],
        Phase::Restored => prev.into_iter().collect(),
        Phase::Begun | Phase::Fenced => prev.into_iter().chain([new]).collect(),
    }
}
