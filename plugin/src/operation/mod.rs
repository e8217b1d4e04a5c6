//! The six operations (contract section 5.6), alike for both kinds of
//! credential.
//!
//! What is about to be done is in the journal before it is done, and what is
//! answered was read from the system after it was done. So every operation may
//! be cut off anywhere and sent again.

mod foreign;
mod record;
mod sealing;
mod steps;

use std::io;

use crate::arguments::Run;
use crate::clock;
use crate::credential::Credential;
use crate::crypt::Field;
use crate::gate::{self, Gate};
use crate::host::Host;
use crate::journal::{Cabinet, Journal, Phase};
use crate::key_pair::Keyring;
use crate::locks::{self, LockError, Locks};
use crate::note::Note;
use crate::password::Password;
use crate::report::{self, Code, Refusal, Report};
use crate::request::{Kind, Op, Request, Subject};
use crate::ssh_key::SshKey;
use crate::target::{Facts, Target};

/// Reads the request, carries it out, and says how it ended.
pub(crate) fn answer(run: &Run) -> Report {
    let request = match Request::parse(&run.request, &run.instance) {
        Ok(request) => request,
        Err(bad) => {
            let mut report = Report::unreadable(bad.detail).about(bad.op, bad.rid);
            if bad.wrong_instance {
                report.set_code(Code::WrongInstance);
            }
            return report;
        }
    };
    report::expect_answer_to(&request);
    if !rustix::process::geteuid().is_root() {
        return Report::new(&request, Code::NotRoot);
    }
    let host = Host::new(run.root.clone());
    locked(&host, &request)
        .unwrap_or_else(|refusal| Report::new(&request, refusal.code).with_detail(refusal.detail))
}

/// Takes the locks, reads the journal, and carries the request out.
fn locked(host: &Host, request: &Request) -> Result<Report, Refusal> {
    let failed = |what: &'static str| move |e: io::Error| refusal_of(&e, request.kind(), what);
    let cabinet = Cabinet::open(host).map_err(failed("the journal's folder cannot be used"))?;
    let locks =
        Locks::take(cabinet.folder(), &request.sid, &request.user, locks::PATIENCE).map_err(|e| match e {
            LockError::Busy => Refusal::new(Code::Busy, "another run holds the lock"),
            LockError::File(e) => failed("a lock cannot be taken")(e),
        })?;
    let (journal, damaged) = cabinet.read(request).map_err(failed("the journal cannot be read"))?;
    let doubtful = damaged || cabinet.lost_one(&request.sid);
    let mut run = Operation {
        host,
        request,
        cabinet,
        locks,
        journal,
        damaged,
        doubtful,
        keyring: Keyring::new(host, clock::unix_seconds()),
        credential: request.credential(),
        notes: Vec::new(),
        report: Report::new(request, Code::Ok),
    };
    if damaged {
        run.report.warn("journal_damaged");
    }
    run.carry_out();
    Ok(run.report)
}

struct Operation<'a> {
    host: &'a Host,
    request: &'a Request,
    cabinet: Cabinet,
    locks: Locks,
    journal: Journal,
    /// The journal's file is damaged and still in place.
    damaged: bool,
    /// The journal may not know all that was begun here.
    doubtful: bool,
    keyring: Keyring,
    /// The new credential: that of the request, also if it came sealed.
    credential: Option<Field>,
    /// What this run found that somebody else did.
    notes: Vec<Note>,
    report: Report,
}

impl Operation<'_> {
    fn carry_out(&mut self) {
        let (host, request) = (self.host, self.request);
        // Before all else, since it may be room on a disk that is needed.
        let swept = self.keyring.sweep(&request.sid);
        let target = Target::find(host, &request.user);
        match &target {
            Ok(target) => match request.subject {
                Subject::Password(_) => self.dispatch(&Password::new(host, request, target)),
                Subject::SshKey(_) => self.dispatch(&SshKey::new(host, request, target)),
            },
            Err(refusal) => self.without_user(refusal.clone()),
        }
        if swept.and_then(|()| self.discard_pair()).is_err() {
            self.report.warn("key_pair_not_removed");
        }
        for note in self.journal.notes(request) {
            self.report.warn(note.word());
        }
        let key = match &request.subject {
            Subject::SshKey(key) => key.as_ref(),
            Subject::Password(_) => None,
        };
        self.report.phase = self.journal.begun(request).map(|last| last.phase);
        self.report.facts = Some(Facts::of(host, target.as_ref(), key, &self.journal));
    }

    fn dispatch(&mut self, credential: &dyn Credential) {
        match self.request.op {
            Op::Prepare => self.prepare(credential),
            Op::Apply => self.apply(credential),
            Op::Verify => self.verify(credential),
            Op::Finalize => self.finalize(credential),
            Op::Status => self.status(credential),
            Op::Fence => self.fence(credential),
        }
    }

    /// Removes the key pair of a rotation that can change nothing any more.
    fn discard_pair(&self) -> io::Result<()> {
        let (generation, rid) = (self.request.generation, &self.request.rid);
        match gate::decide(&self.journal, generation, rid) {
            Gate::Open => Ok(()),
            Gate::Finished | Gate::Shut(_) => self.keyring.discard(&self.request.sid, rid),
        }
    }

    /// There is no user whose credential could be in force.
    fn without_user(&mut self, refusal: Refusal) {
        self.report.live = self.unseen();
        match self.request.op {
            Op::Prepare | Op::Apply => {
                if !self.is_shut() {
                    self.refuse(refusal);
                }
            }
            Op::Fence => {
                let durable = self.write_fence();
                self.fail(refusal);
                self.report.is_final = durable;
                if durable {
                    self.accept_unseen();
                }
            }
            Op::Verify | Op::Finalize | Op::Status => self.fail(refusal),
        }
    }

    /// Asks the gate; true if nothing may be changed, which then is answered.
    fn is_shut(&mut self) -> bool {
        match gate::decide(&self.journal, self.request.generation, &self.request.rid) {
            Gate::Open => return false,
            Gate::Finished => self.report.set_code(Code::Already),
            Gate::Shut(code) => self.report.set_code(code),
        }
        self.report.is_final = true;
        true
    }

    fn check(&mut self, credential: &dyn Credential) -> Result<(), Refusal> {
        let known = self.known();
        let report = &mut self.report;
        credential.check(&known, &mut |word| report.warn(word))
    }

    /// Answers that nothing was done. If the cause will stand, and this
    /// rotation never began, it is buried, so that the answer can be final.
    fn refuse(&mut self, refusal: Refusal) {
        if refusal.code.is_lasting() && self.journal.begun(self.request).is_none() {
            self.journal.bury(&self.request.rid);
            // Tombstones are few; the fence outlasts them.
            let fence = self.journal.fence_generation.max(self.request.generation);
            self.journal.fence_generation = fence;
            self.report.is_final = self.save().is_ok();
        }
        self.fail(refusal);
    }

    fn fail(&mut self, refusal: Refusal) {
        self.report.set_code(refusal.code);
        self.report = self.report.clone().with_detail(refusal.detail);
    }

    /// Moves the journal on after the deed. Where it cannot be written the
    /// deed stands all the same: the next `status` mends the journal.
    fn settle(&mut self, phase: Phase) {
        if self.journal.settle(phase) {
            self.save_or_warn();
        }
    }

    fn save_or_warn(&mut self) {
        if self.save().is_err() {
            self.report.warn("journal_not_written");
        }
    }

    fn save(&mut self) -> Result<(), Refusal> {
        let kind = self.request.kind();
        let failed = |e: io::Error| refusal_of(&e, kind, "the journal cannot be written");
        let sid = &self.request.sid;
        if self.damaged {
            self.cabinet.put_aside(sid).map_err(failed)?;
            self.damaged = false;
        }
        self.cabinet.write(sid, &self.journal).map_err(failed)
    }
}

/// The refusal that a failed call for one of our own files means.
fn refusal_of(e: &io::Error, kind: Kind, what: &str) -> Refusal {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let read_only = e.kind() == io::ErrorKind::ReadOnlyFilesystem;
    match kind {
        _ if full.contains(&e.kind()) => Refusal::new(Code::DiskFull, format!("{what}: no room left")),
        // What holds for our files will hold for those beside them.
        Kind::Password if read_only => {
            Refusal::new(Code::ShadowReadonly, format!("{what}: the file system is read-only"))
        }
        Kind::SshKey if read_only => {
            Refusal::new(Code::Internal, format!("{what}: the file system is read-only"))
        }
        Kind::Password | Kind::SshKey => Refusal::new(Code::Internal, what),
    }
}
