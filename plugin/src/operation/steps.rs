//! What each of the six operations does.

use crate::credential::{Before, Credential, Failure, Known, Removal};
use crate::crypt::Field;
use crate::gate::{self, Gate};
use crate::journal::{Phase, Rotation};
use crate::note::Note;
use crate::operation::Operation;
use crate::public_key::Fingerprint;
use crate::report::{Code, Live, Refusal};
use crate::request::Kind;

impl Operation<'_> {
    pub(super) fn prepare(&mut self, credential: &dyn Credential) {
        if self.is_shut() {
            self.look(credential);
            return;
        }
        self.compare(credential);
        match self.check(credential) {
            Ok(()) if self.request.wants_pair => self.offer_pair(),
            Ok(()) => {}
            Err(refusal) => self.refuse(refusal),
        }
        self.look(credential);
    }

    pub(super) fn apply(&mut self, credential: &dyn Credential) {
        if self.is_shut() {
            self.look(credential);
            return;
        }
        let new = match self.unsealed() {
            Ok(new) => new,
            Err(refusal) => {
                self.fail(refusal);
                self.look(credential);
                return;
            }
        };
        let digest = self.request.digest_of(&new);
        // Whatever user and kind it was: a rotation has one credential.
        let last = self.journal.rotation.as_ref();
        if last.is_some_and(|last| last.rid == self.request.rid && last.payload_digest != digest) {
            let detail = "this rotation was begun with another credential";
            self.fail(Refusal::new(Code::BadRequest, detail));
            self.look(credential);
            return;
        }
        self.compare(credential);
        if let Err(refusal) = self.check(credential) {
            self.refuse(refusal);
            self.look(credential);
            return;
        }
        let known = self.known();
        // In the journal before it is done, like the change itself.
        if credential.has_surplus(&known) {
            self.note(Note::KeyDuplicatesRemoved);
        }
        match credential.observe(&known) {
            Ok(seen) if seen.live.has_new() => {
                self.begin(&new, digest, Phase::Applied, None);
                self.save_or_warn();
                self.report.set_code(Code::Already);
                self.show(seen);
                self.tidy(credential);
            }
            Ok(_) => self.change(credential, &new, digest, &known),
            Err(refusal) => {
                self.report.live = self.unseen();
                self.fail(refusal);
            }
        }
    }

    /// Writes down what is about to be done, does it, and looks.
    fn change(&mut self, credential: &dyn Credential, new: &Field, digest: String, known: &Known) {
        // What an attempt that was cut off has recorded is what stood there
        // before this rotation; what stands there now may be its wrong work.
        let recorded = self
            .journal
            .begun(self.request)
            .filter(|last| last.phase == Phase::Begun)
            .and_then(|last| last.prev.clone());
        let cut_off = recorded.is_some();
        let begun = credential.before(new).and_then(|before| {
            let prev = recorded.or(before.prev);
            let before = Before { prev: prev.clone(), ..before };
            self.begin(new, digest, Phase::Begun, Some(before));
            self.save().map(|()| prev)
        });
        let prev = match begun {
            Ok(prev) => prev,
            Err(refusal) => {
                self.fail(refusal);
                self.look(credential);
                return;
            }
        };
        let mut unchanged = false;
        match credential.set(new, prev.as_ref(), known, &self.locks) {
            Ok(()) => self.report.changed = true,
            Err(Failure::Unchanged(refusal)) => {
                self.fail(refusal);
                unchanged = true;
            }
            Err(Failure::Overtaken(refusal)) => {
                self.fail(refusal);
                self.note_at_once(Note::ChangedOutside);
                self.settle(Phase::Restored);
            }
            Err(Failure::Restored(refusal)) => {
                self.report.changed = true;
                self.fail(refusal);
                self.settle(Phase::Restored);
            }
            Err(Failure::RestoreFailed(refusal)) => {
                self.report.changed = true;
                self.fail(refusal);
            }
            Err(Failure::Undecided(refusal)) => {
                // What is read now may be true no longer in a moment.
                self.fail(refusal);
                return;
            }
        }
        let live = self.look(credential);
        if live.is_some_and(Live::has_new) {
            self.settle(Phase::Applied);
            self.tidy(credential);
            if let Some(word) = credential.remark() {
                self.report.warn(word);
            }
            if self.report.code().is_ok() {
                self.demand_usable(credential);
            }
        } else if unchanged && (!cut_off || live == Some(Live::Old)) {
            self.settle(Phase::Restored);
        } else if self.report.code().is_ok() {
            let detail = "the change is not to be seen";
            self.fail(Refusal::new(Code::VerifyFailed, detail));
        }
    }

    pub(super) fn verify(&mut self, credential: &dyn Credential) {
        let mut warnings = Vec::new();
        // Verification says what is in force; what a login meets beside the
        // credential is for the warnings.
        let known = self.known();
        if let Err(refusal) = credential.check(&known, &mut |word| warnings.push(word)) {
            warnings.push("check_failed");
            self.report = self.report.clone().with_detail(refusal.detail);
        }
        for word in warnings {
            self.report.warn(word);
        }
        match self.look(credential) {
            Some(live) if live.has_new() => {
                self.demand_usable(credential);
            }
            Some(_) => self.report.set_code(Code::VerifyFailed),
            None => {}
        }
    }

    /// Fails where nobody can log on with the new credential although it is
    /// in force. True if nothing is in the way.
    fn demand_usable(&mut self, credential: &dyn Credential) -> bool {
        match credential.usable(&self.known()) {
            Ok(()) => true,
            Err(refusal) => {
                self.fail(refusal);
                false
            }
        }
    }

    pub(super) fn finalize(&mut self, credential: &dyn Credential) {
        if self.journal.begun(self.request).is_none() {
            // Final where nothing of this number can be begun any more.
            let gone = gate::decide(&self.journal, self.request.generation, &self.request.rid);
            self.report.is_final = matches!(gone, Gate::Shut(_));
            self.fail(Refusal::new(Code::StaleGen, "this is not the last rotation begun here"));
            self.look(credential);
            return;
        }
        let Some(live) = self.look(credential) else {
            return;
        };
        // A key may go only while its successor is there. A password has no
        // predecessor left; one that was never set must stay open to apply.
        let needs_new = match self.request.kind() {
            Kind::SshKey => true,
            Kind::Password => {
                let phase = self.journal.begun(self.request).map(|last| last.phase);
                !matches!(phase, Some(Phase::Applied | Phase::Finalized))
            }
        };
        if needs_new && !live.has_new() {
            let detail = "the new credential is not in force";
            self.fail(Refusal::new(Code::VerifyFailed, detail));
            return;
        }
        if needs_new && !self.demand_usable(credential) {
            return;
        }
        if !self.request.remove.is_empty() {
            let removal = credential.remove(&self.request.remove, &self.known());
            self.account_for(&removal);
            if removal.repeated {
                self.note_at_once(Note::KeyDuplicatesRemoved);
            }
            if let Some(refusal) = removal.left {
                self.fail(refusal);
                self.look(credential);
                return;
            }
        }
        let gone = &self.request.remove;
        self.journal.managed_keys.retain(|key| !gone.contains(key));
        if let Some(last) = self.journal.rotation.as_mut() {
            last.prev = None;
        }
        self.journal.settle(Phase::Finalized);
        if let Err(refusal) = self.save() {
            self.fail(refusal);
        }
        self.look(credential);
    }

    pub(super) fn status(&mut self, credential: &dyn Credential) {
        self.compare(credential);
        let live = self.look(credential);
        let cut_off = self.journal.begun(self.request).is_some_and(|last| last.phase == Phase::Begun);
        match live {
            Some(live) if cut_off && live.has_new() => self.settle(Phase::Applied),
            Some(Live::Old) if cut_off => self.settle(Phase::Restored),
            Some(_) | None => {}
        }
    }

    pub(super) fn fence(&mut self, credential: &dyn Credential) {
        // Before looking, so that what is then seen stays.
        if !self.write_fence() {
            self.look(credential);
            return;
        }
        self.report.is_final = true;
        let live = self.look(credential);
        if live.is_none() {
            self.accept_unseen();
        }
        if self.request.choices.remove_added && live.is_some_and(Live::has_new) {
            self.take_back(credential);
        }
    }

    /// Takes the added key out again, if it is this rotation's to take and the
    /// user keeps another key of this secret.
    fn take_back(&mut self, credential: &dyn Credential) {
        let known = self.known();
        let ours = self
            .journal
            .begun(self.request)
            .filter(|last| last.added && last.times.finalized.is_none())
            .and_then(|last| Fingerprint::parse(last.new.expose()));
        let keeps = self.report.live == Live::Both || known.unrecorded;
        let Some(key) = ours.filter(|_| keeps) else {
            self.report.warn("added_key_kept");
            return;
        };
        let removal = credential.take_back(&key);
        self.account_for(&removal);
        if let Some(refusal) = removal.left {
            self.fail(refusal);
            self.report.is_final = false;
        } else {
            self.journal.managed_keys.retain(|managed| *managed != key);
            self.save_or_warn();
        }
        self.look(credential);
    }

    fn account_for(&mut self, removal: &Removal) {
        self.report.changed = removal.changed;
        if removal.skipped {
            self.report.warn("other_key_file_unsafe");
        }
    }

    /// Makes fence and tombstone durable. True if they are.
    pub(super) fn write_fence(&mut self) -> bool {
        let (generation, rid) = (self.request.generation, &self.request.rid);
        self.journal.fence_generation = self.journal.fence_generation.max(generation);
        self.journal.bury(rid);
        // What was committed stays committed.
        let open = |last: &Rotation| last.phase != Phase::Finalized;
        if self.journal.begun(self.request).is_some_and(open) {
            self.journal.settle(Phase::Fenced);
        }
        match self.save() {
            Ok(()) => true,
            Err(refusal) => {
                self.fail(refusal);
                false
            }
        }
    }
}
