//! What to do next, and what an answer means: the protocol of
//! cloud-assistant.md section 5 without I/O, clock or chance.
//!
//! [`plan`] looks at a rotation's row and says the next [`Deed`]; the worker
//! does it; [`judge`] says what follows from what was seen. The worker in
//! `step`, the recovery after a crash, and the model that explores every
//! course of events in `explore` all go by these two functions.

use std::time::Duration;

use super::advice::advice;
use super::belief::{never_began, proves, recognised, untried};
use super::schedule::pause;
use crate::cloud_assistant::plugin::{Code, Op, Report};
use crate::model::rotation::{Event, Live, RotationRecord, State};
use crate::model::{OsFamily, SecretSubType};

/// How often an instance is looked at before an unsent rotation is given up.
const UNSENT_TRIES: u32 = 3;
/// The step in which an instance is looked at.
pub(super) const PREFLIGHT: &str = "preflight";
/// The step in which the instance makes a key to seal to.
const PREPARE: &str = "prepare";
/// The step in which the cloud is asked for an instance.
const CLOUD: &str = "cloud";
/// The pause between two looks at an instance, in units of the pace: three
/// tries take five minutes (cloud-assistant.md section 5.9).
const UNFIT_UNITS: u32 = 150;
/// How often the candidate is sent before the rotation is given up, if it still can be.
const ATTEMPTS: u32 = 6;
/// How long to wait after a contradiction: as if so many tries had failed.
const CONTRADICTED_TRIES: u32 = 3;
/// How often a refusal to remove an old key is met that repetition will not cure.
const LASTING_TRIES: u32 = 3;

/// What an operator has to know when a stranger's credential is in force.
const NEITHER: &str = "neither the current version nor the new one is in force on the instance: rotate again, which needs no old value";

/// What the clock says of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Clocked {
    /// The ClientToken may be forgotten by now.
    pub(super) token_expired: bool,
    /// The result should have come by now.
    pub(super) result_overdue: bool,
    /// What was proven or reported is recent.
    pub(super) fresh: bool,
    /// Nobody has known what is in force for an hour.
    pub(super) doubt_over: bool,
    /// The present state has lasted an hour.
    pub(super) lingers: bool,
    /// The instance still has the key to seal to.
    pub(super) key_good: bool,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    /// Put a question to the plug-in, and wait for its report.
    Ask(Op),
    /// Move the labels.
    Commit,
    /// Ask the cloud how the instance is.
    Look,
    /// Ask after the run that was accepted.
    Poll,
    /// Put the success on record.
    RecordSuccess,
    /// Hand over the request, under its ClientToken.
    Submit,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoAnswer {
    pub(super) code: String,
    pub(super) text: String,
    /// Cloud Assistant wants the same request again, not before this.
    pub(super) again: Option<Duration>,
}

/// What was seen when a deed was done.
#[derive(Debug)]
pub(super) enum Seen {
    /// Cloud Assistant took the request.
    Accepted,
    /// It took a question, and the plug-in answered or not.
    Answer(Result<Report, NoAnswer>),
    /// The run is over; the plug-in's report, or why there is none.
    Finished(Result<Report, NoAnswer>),
    /// The cloud's view of the instance.
    Instance(Look),
    /// The run goes on, or could not be asked after; not again before.
    NotYet(Option<Duration>),
    /// The request was not taken; it may be repeated as it is.
    Repeat(NoAnswer),
    /// The request was not taken, and a repetition makes no sense. Whether an
    /// earlier sending of it was taken is not known.
    Untaken(NoAnswer),
}

/// How the cloud sees an instance.
#[derive(Debug)]
pub(super) enum Look {
    /// There is none.
    Missing,
    /// It cannot be said.
    NoAnswer(NoAnswer),
    /// It is stopped, or so.
    NotRunning(String),
    /// It has another operating system than it had.
    OtherSystem,
    /// It runs.
    Running,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is done about it.
    pub(super) then: Then,
    /// What went wrong: step, code and words.
    pub(super) trouble: Option<(&'static str, String, String)>,
    /// How long the rotation then rests.
    pub(super) rest: Rest,
}

/// What is done about what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// The labels move.
    Commit,
    /// The candidate is destroyed, and that is said.
    Fail(Event),
    /// Another deed, at once.
    Go(Deed),
    /// The old key stays for now, that is said, and the rotation is over.
    KeepOldKey,
    /// The key to seal to is noted: its public half, and its name.
    NoteKey(String, String),
    /// Nothing but another look. What is counted is not worth a durable write.
    PollAgain,
    /// The request is fixed and about to go out.
    Send,
    /// Nobody knows: the secret is marked, both versions stay.
    Stick(Event),
    /// The state changes, and nothing else does.
    Take(Event),
    /// Everything stays as it is, to be tried again.
    TryAgain,
}

/// How long a rotation rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Until the old key may go.
    Grace,
    /// Not at all.
    None,
    /// As long as a stuck rotation rests.
    Stuck,
    /// So many units of the pace, and at least this.
    Units(u32, Option<Duration>),
}

/// The pause before the `tries`th repetition, in units of the pace.
pub(super) fn units(tries: u32) -> u32 {
    u32::try_from(pause(tries).as_secs()).unwrap_or(300)
}

impl Verdict {
    const fn of(then: Then) -> Self {
        Self { then, trouble: None, rest: Rest::None }
    }

    fn because(self, step: &'static str, code: &str, text: &str) -> Self {
        Self { trouble: Some((step, code.to_owned(), text.to_owned())), ..self }
    }

    fn rest(self, rest: Rest) -> Self {
        Self { rest, ..self }
    }
}

/// Whether the plug-in needs a key pair of its own for that step, and the
/// credential along with it: a sealed one can only be put in force or compared
/// where it is known. On Linux the plug-in compares with its journal.
fn travels_sealed(rotation: &RotationRecord, op: Op) -> bool {
    let compares = rotation.os == OsFamily::Windows && op.compares();
    rotation.secret_material && (op == Op::Apply || compares)
}

/// The next deed of a rotation that is not over, or at once what follows.
pub(super) fn plan(rotation: &RotationRecord, clocked: &Clocked) -> Result<Deed, Box<Verdict>> {
    let ask = |op| {
        let key_first = travels_sealed(rotation, op) && !clocked.key_good;
        Ok(Deed::Ask(if key_first { Op::Prepare } else { op }))
    };
    match rotation.state {
        State::Staged => {
            // Tries that the token spoiled say nothing of the instance.
            let unfit = |t: &crate::model::rotation::Trouble| t.step == PREFLIGHT || t.step == PREPARE;
            if rotation.trouble.as_ref().is_some_and(unfit) && rotation.tries >= UNSENT_TRIES {
                return Err(Box::new(Verdict::of(Then::Fail(Event::Unfit))));
            }
            Ok(Deed::Look)
        }
        State::Sending if clocked.token_expired => {
            let verdict = Verdict::of(Then::Take(Event::OutcomeUnknown));
            let text = "the request could not be handed over in time";
            Err(Box::new(verdict.because("apply", "token_expired", text)))
        }
        State::Sending => Ok(Deed::Submit),
        State::Sent if rotation.invoke_id.is_none() => {
            Err(Box::new(Verdict::of(Then::Take(Event::OutcomeUnknown))))
        }
        State::Sent => Ok(Deed::Poll),
        // It was given up before it got stuck.
        State::Unknown if rotation.given_up => Err(Box::new(Verdict::of(Then::Take(Event::GiveUp)))),
        State::Unknown | State::Stuck => ask(Op::Status),
        State::Applied => ask(Op::Verify),
        // Proven; unless that was long ago, the labels move.
        State::Verified if clocked.fresh => Ok(Deed::Commit),
        State::Verified => ask(Op::Verify),
        // The success goes on record before the rotation is over, so that a crash
        // between the two repeats the record instead of losing it.
        State::Committed => Ok(Deed::RecordSuccess),
        State::Finalizing => Ok(Deed::Ask(Op::Finalize)),
        State::Fencing => ask(Op::Fence),
        State::Done | State::Failed => Err(Box::new(Verdict::of(Then::TryAgain))),
    }
}

/// What follows from what was seen.
pub(super) fn judge(rotation: &RotationRecord, clocked: &Clocked, deed: Deed, seen: Seen) -> Verdict {
    let seen = match seen {
        Seen::Answer(Ok(report)) => {
            Seen::Answer(Ok(recognised(rotation, untried(rotation, clocked, report))))
        }
        Seen::Finished(Ok(report)) => {
            Seen::Finished(Ok(recognised(rotation, untried(rotation, clocked, report))))
        }
        other @ (Seen::Accepted
        | Seen::Answer(Err(_))
        | Seen::Finished(Err(_))
        | Seen::Instance(_)
        | Seen::NotYet(_)
        | Seen::Repeat(_)
        | Seen::Untaken(_)) => other,
    };
    match (deed, seen) {
        (Deed::Look, Seen::Instance(look)) => looked(rotation, clocked, look),
        (Deed::Submit, Seen::Accepted) => Verdict::of(Then::Take(Event::Accepted)),
        (Deed::Submit, Seen::Repeat(why)) => try_again(rotation, "apply", why),
        (Deed::Submit, Seen::Untaken(why)) => {
            // An earlier sending of the same request may have been taken: only the instance can say.
            Verdict::of(Then::Take(Event::OutcomeUnknown)).because("apply", &why.code, &why.text)
        }
        (Deed::Poll, Seen::Finished(report)) => finished(rotation, clocked, report),
        (Deed::Poll, Seen::NotYet(_)) if clocked.result_overdue => {
            let text = "no result came in time: the instance is asked what is in force";
            Verdict::of(Then::Take(Event::OutcomeUnknown)).because("apply", "no_result", text)
        }
        (Deed::Poll, Seen::NotYet(again)) => {
            let units = crate::cloud_assistant::client::poll_pause(rotation.tries);
            Verdict::of(Then::PollAgain).rest(Rest::Units(units, again))
        }
        (Deed::Ask(op), Seen::Answer(answer)) => match op {
            Op::Prepare => prepared(rotation, clocked, answer),
            Op::Status if rotation.state == State::Stuck => still_stuck(answer),
            Op::Status => said(rotation, clocked, answer),
            Op::Verify => verified(rotation, clocked, answer),
            Op::Finalize => finalized(rotation, clocked, answer),
            Op::Fence => fenced(rotation, clocked, answer),
            Op::Apply => Verdict::of(Then::TryAgain),
        },
        (Deed::RecordSuccess, _) => match rotation.kind {
            SecretSubType::Password if rotation.secret_material => Verdict::of(Then::Take(Event::RemoveOld)),
            SecretSubType::Password => Verdict::of(Then::Take(Event::Finish)),
            SecretSubType::SshKey => Verdict::of(Then::Take(Event::RemoveOld)).rest(Rest::Grace),
        },
        (Deed::Commit, _) => Verdict::of(Then::Commit),
        // A deed that showed nothing is done again.
        (Deed::Look | Deed::Submit | Deed::Poll | Deed::Ask(_), _) => Verdict::of(Then::TryAgain),
    }
}

/// Nothing was sent: the instance is looked at before anything is.
fn looked(rotation: &RotationRecord, clocked: &Clocked, look: Look) -> Verdict {
    let (code, text) = match look {
        Look::Running if travels_sealed(rotation, Op::Apply) && !clocked.key_good => {
            return Verdict::of(Then::Go(Deed::Ask(Op::Prepare)));
        }
        Look::Running => return Verdict::of(Then::Send),
        Look::OtherSystem => {
            let text = "the instance has another operating system now: create a new secret for it";
            return Verdict::of(Then::Fail(Event::Unfit)).because(PREFLIGHT, "os_changed", text);
        }
        Look::NotRunning(status) => {
            ("instance_not_running".to_owned(), format!("the instance is {status}: start it"))
        }
        Look::Missing => {
            ("instance_missing".to_owned(), "there is no such instance in the region any more".to_owned())
        }
        // That the cloud does not answer says nothing of the instance.
        Look::NoAnswer(why) if clocked.lingers => {
            return Verdict::of(Then::Fail(Event::Unfit)).because(CLOUD, &why.code, &why.text);
        }
        Look::NoAnswer(why) => return try_again(rotation, CLOUD, why),
    };
    unfit(rotation, PREFLIGHT, &code, &text)
}

/// The last try is counted on disk before the failure goes on record: a crash
/// between the two must not let a later look decide otherwise.
fn unfit(rotation: &RotationRecord, step: &'static str, code: &str, text: &str) -> Verdict {
    let last = rotation.tries.saturating_add(1) >= UNSENT_TRIES;
    let rest = if last { Rest::None } else { Rest::Units(UNFIT_UNITS, None) };
    Verdict::of(Then::TryAgain).rest(rest).because(step, code, text)
}

/// The instance was asked for a key to seal to.
fn prepared(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let staged = rotation.state == State::Staged;
    let why = match answer {
        Ok(report) => {
            let (code, text) = advice(report.code);
            if staged && report.is_final && !report.ok {
                return Verdict::of(Then::Fail(Event::Unfit)).because(PREPARE, code, text);
            }
            if let Some((public, kid)) = report.key.clone() {
                return Verdict::of(Then::NoteKey(public, kid));
            }
            if rotation.state == State::Unknown && rotation.os == OsFamily::Linux && report.is_final {
                // The candidate cannot be put in force any more: let that be confirmed.
                return Verdict::of(Then::Take(Event::GiveUp)).because(PREPARE, code, text);
            }
            if rotation.os == OsFamily::Windows && !staged && report.plugin.is_some() {
                // Without a key it can still say what its journal knows.
                let op = match rotation.state {
                    State::Fencing => Op::Fence,
                    State::Applied | State::Verified => Op::Verify,
                    State::Committed
                    | State::Done
                    | State::Failed
                    | State::Finalizing
                    | State::Sending
                    | State::Sent
                    | State::Staged
                    | State::Stuck
                    | State::Unknown => Op::Status,
                };
                return Verdict::of(Then::Go(Deed::Ask(op)));
            }
            NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None }
        }
        Err(why) => why,
    };
    match rotation.state {
        State::Staged => unfit(rotation, PREPARE, &why.code, &why.text),
        State::Stuck => stay_stuck(&why.code, &why.text),
        State::Verified => still_proven(rotation, clocked, PREPARE, why),
        State::Applied
        | State::Committed
        | State::Done
        | State::Failed
        | State::Fencing
        | State::Finalizing
        | State::Sending
        | State::Sent
        | State::Unknown => doubt(rotation, clocked, PREPARE, why),
    }
}

/// The run of an `apply` is over.
fn finished(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let report = match answer {
        Ok(report) => report,
        Err(why) => {
            let verdict = Verdict::of(Then::Take(Event::OutcomeUnknown));
            return verdict.because("apply", &why.code, &why.text);
        }
    };
    if matches!(report.live, Live::New | Live::Both) {
        return new_is_live(rotation, clocked, &report);
    }
    let (code, text) = advice(report.code);
    let not_live = match report.live {
        Live::Old | Live::Other => true,
        Live::Unknown => never_began(rotation, &report),
        Live::Both | Live::New => false,
    };
    if report.is_final && not_live {
        let text = if report.live == Live::Other { format!("{text}. {NEITHER}") } else { text.to_owned() };
        return Verdict::of(Then::Fail(Event::Refused)).because("apply", code, &text);
    }
    // Where it said so itself, there is no hurry to ask the same again.
    let calm = report.live == Live::Old || rotation.attempt > 1;
    let rest = if calm { Rest::Units(units(rotation.attempt), None) } else { Rest::None };
    Verdict::of(Then::Take(Event::OutcomeUnknown)).rest(rest).because("apply", code, text)
}

fn new_is_live(rotation: &RotationRecord, clocked: &Clocked, report: &Report) -> Verdict {
    // What was said long ago, while the vault was away, is checked again.
    let proved = clocked.fresh && proves(rotation, report);
    Verdict::of(Then::Take(Event::NewIsLive { proved }))
}

/// Old or new: the instance was asked. If the new one is not in force, the
/// same candidate is sent again.
fn said(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let report = match answer {
        Ok(report) => report,
        Err(why) => return doubt(rotation, clocked, "status", why),
    };
    if matches!(report.live, Live::New | Live::Both) {
        return new_is_live(rotation, clocked, &report);
    }
    let (code, text) = advice(report.code);
    if report.plugin.is_none() || !report.ok {
        let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
        return doubt(rotation, clocked, "status", why);
    }
    let worn_out = rotation.attempt >= ATTEMPTS;
    if worn_out && report.live != Live::Unknown {
        return Verdict::of(Then::Take(Event::GiveUp));
    }
    if worn_out {
        // A fence would leave it unknown for good: as long as the candidate can
        // be put in force at all, that is the way to know.
        let text = "the instance cannot say which credential is in force".to_owned();
        let why = NoAnswer { code: "not_observed".to_owned(), text, again: None };
        if clocked.doubt_over {
            return doubt(rotation, clocked, "status", why);
        }
    }
    if !travels_sealed(rotation, Op::Apply) || clocked.key_good {
        return Verdict::of(Then::Send);
    }
    match (rotation.os, report.live) {
        (OsFamily::Linux, _) => Verdict::of(Then::Go(Deed::Ask(Op::Prepare))),
        // On Windows a key was asked for just now, and refused.
        (OsFamily::Windows, Live::Unknown) => {
            let text = "the instance makes no key to seal the password to".to_owned();
            doubt(rotation, clocked, PREPARE, NoAnswer { code: "no_key".to_owned(), text, again: None })
        }
        (OsFamily::Windows, _) => Verdict::of(Then::Take(Event::GiveUp)),
    }
}

/// Nobody could say what is in force. That counts as stuck only after a
/// question within this run of the vault: it may itself have been away for
/// longer than an instance may be.
fn doubt(rotation: &RotationRecord, clocked: &Clocked, step: &'static str, why: NoAnswer) -> Verdict {
    if !clocked.doubt_over {
        return try_again(rotation, step, why);
    }
    Verdict::of(Then::Stick(Event::Overdue)).because(step, &why.code, &why.text)
}

fn try_again(rotation: &RotationRecord, step: &'static str, why: NoAnswer) -> Verdict {
    let rest = Rest::Units(units(rotation.tries.saturating_add(1)), why.again);
    Verdict::of(Then::TryAgain).rest(rest).because(step, &why.code, &why.text)
}

/// In force by the instance's word, or proven long ago: a check has to prove it.
fn verified(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let was_proven = rotation.state == State::Verified;
    let report = match answer {
        Ok(report) => report,
        Err(why) if was_proven => return still_proven(rotation, clocked, "verify", why),
        Err(why) => return doubt(rotation, clocked, "verify", why),
    };
    let live = matches!(report.live, Live::New | Live::Both);
    if live && proves(rotation, &report) {
        return Verdict::of(if was_proven { Then::Commit } else { Then::Take(Event::Proved) });
    }
    if report.ok || matches!(report.live, Live::Old | Live::Other) {
        let text = if was_proven {
            "what was proven is not in force any more"
        } else {
            "what is in force is not what the instance had reported"
        };
        // A plug-in that never proves what it says must not be asked without end at full pace.
        return Verdict::of(Then::Take(Event::Contradicted))
            .rest(Rest::Units(units(CONTRADICTED_TRIES), None))
            .because("verify", "verify_failed", text);
    }
    let (code, text) = advice(report.code);
    let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
    if was_proven {
        still_proven(rotation, clocked, "verify", why)
    } else {
        doubt(rotation, clocked, "verify", why)
    }
}

/// It was proven, but too long ago to move the labels by it, and now nobody
/// answers: after an hour both versions have to be within reach.
fn still_proven(rotation: &RotationRecord, clocked: &Clocked, step: &'static str, why: NoAnswer) -> Verdict {
    if !clocked.lingers {
        return try_again(rotation, step, why);
    }
    Verdict::of(Then::Stick(Event::Overdue)).because(step, &why.code, &why.text)
}

/// The old key goes, however long that takes: the rotation itself has succeeded.
fn finalized(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let is_key = rotation.kind == SecretSubType::SshKey;
    let why = match answer {
        Ok(report) if report.ok => return Verdict::of(Then::Take(Event::Finish)),
        Ok(report) => {
            let (code, text) = advice(report.code);
            let text =
                if is_key { format!("the old key is not removed yet: {text}") } else { text.to_owned() };
            let lasting = matches!(report.code, Code::StaleGen | Code::WrongRid | Code::VerifyFailed);
            if lasting && rotation.tries >= LASTING_TRIES {
                return leave(is_key, code, &text);
            }
            NoAnswer { code: code.to_owned(), text, again: None }
        }
        Err(why) => why,
    };
    // A password that was replaced is gone: what is left are the plug-in's own
    // notes, and its key dies by itself.
    if clocked.lingers || (!is_key && rotation.tries >= LASTING_TRIES) {
        return leave(is_key, &why.code, &why.text);
    }
    try_again(rotation, "finalize", why)
}

/// The old key stays for now, and that is said: the next rotation, which must
/// not be kept waiting, removes the keys of all earlier versions.
fn leave(is_key: bool, code: &str, text: &str) -> Verdict {
    if !is_key {
        return Verdict::of(Then::Take(Event::Finish)).because("finalize", code, text);
    }
    let text = format!("OldKeyNotRemoved ({code}): rotate again to have it removed. {text}");
    Verdict::of(Then::KeepOldKey).because("finalize", "OldKeyNotRemoved", &text)
}

/// Given up, once the instance has confirmed that nothing of it will act any more.
fn fenced(rotation: &RotationRecord, clocked: &Clocked, answer: Result<Report, NoAnswer>) -> Verdict {
    let report = match answer {
        Ok(report) => report,
        Err(why) => return doubt(rotation, clocked, "fence", why),
    };
    // A fence that is durable there counts also when the plug-in could not look.
    let acknowledged = report.ok || (report.is_final && report.plugin.is_some());
    if !acknowledged {
        let (code, text) = advice(report.code);
        let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
        return doubt(rotation, clocked, "fence", why);
    }
    let event = Event::Fenced { live: report.live };
    if report.live == Live::Other {
        return Verdict::of(Then::Fail(event)).because("fence", "CurrentNotLive", NEITHER);
    }
    Verdict::of(match report.live {
        Live::Old | Live::Other => Then::Fail(event),
        Live::New | Live::Both => Then::Take(event),
        Live::Unknown => Then::Stick(event),
    })
}

/// Asked now and then whether the instance is back.
fn still_stuck(answer: Result<Report, NoAnswer>) -> Verdict {
    match answer {
        Ok(report) if report.plugin.is_some() && report.ok => Verdict::of(Then::Take(Event::Answered)),
        Ok(report) => {
            let (code, text) = advice(report.code);
            stay_stuck(code, text)
        }
        Err(why) => stay_stuck(&why.code, &why.text),
    }
}

fn stay_stuck(code: &str, text: &str) -> Verdict {
    Verdict::of(Then::TryAgain).rest(Rest::Stuck).because("status", code, text)
}
