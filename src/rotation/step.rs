//! What is done in each state: one step at a time, each ending in a durable
//! change of the rotation's row.

use std::time::Duration;

use strongroom_hsm::SecretBytes;

use super::Rotations;
use super::advice::advice;
use super::ask::{NoAnswer, proves};
use super::ledger::LedgerError;
use super::schedule::pause;
use crate::cloud_assistant::client::{poll_deadline, poll_pause};
use crate::cloud_assistant::plugin::{Code, Op, Report};
use crate::cloud_assistant::{CommandError, Commander, Finished, InvokeId, Outcome};
use crate::model::rotation::{Event, Live, RotationRecord, State};
use crate::model::{OsFamily, SecretSubType};

/// How long Cloud Assistant is relied on to remember a ClientToken
/// (cloud-assistant.md section 1.11).
const TOKEN_SECONDS: i64 = 600;
/// How often an instance is looked at before an unsent rotation is given up.
const UNSENT_TRIES: u32 = 3;
/// The step in which an instance is looked at.
const PREFLIGHT: &str = "preflight";
/// How often the candidate is sent before the rotation is given up, if it still can be.
const ATTEMPTS: u32 = 6;
/// How long to wait after a contradiction: as if so many tries had failed.
const CONTRADICTED_TRIES: u32 = 3;
/// How long an answer is waited for before the rotation counts as stuck.
const DOUBT_SECONDS: i64 = 3_600;
/// How long a proof counts before it is asked for again.
const FRESH_SECONDS: i64 = 300;
/// How often a refusal to remove an old key is met that repetition will not cure.
const LASTING_TRIES: u32 = 3;
/// How often a stuck rotation asks again.
const STUCK_SECONDS: u64 = 1_800;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a check stopped the rotation before it began. The instance may be
/// unable to look then, as where the user is missing; but by its journal nothing
/// of this rotation was ever begun, so its candidate is not in force.
fn never_began(report: &Report) -> bool {
    let shut = matches!(report.code, Code::Already | Code::Fenced | Code::StaleGen | Code::WrongRid);
    let damaged = report.warnings.iter().any(|word| word.as_str() == "journal_damaged");
    report.phase.is_none() && !shut && !damaged
}

impl Rotations {
    /// Works on a rotation once. What it comes to is on disk when this returns.
    pub(super) async fn step(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        match rotation.state {
            State::Staged => self.staged(rotation, commander).await,
            State::Sending => self.sending(rotation, commander).await,
            State::Sent => self.sent(rotation, commander).await,
            State::Unknown => self.unknown(rotation, commander).await,
            State::Applied => self.applied(rotation, commander).await,
            State::Verified => self.verified(rotation, commander).await,
            State::Committed => self.committed(rotation).await,
            State::Finalizing => self.finalizing(rotation, commander).await,
            State::Fencing => self.fencing(rotation, commander).await,
            State::Stuck => self.stuck(rotation, commander).await,
            State::Done | State::Failed => Ok(()),
        }
    }

    /// Leaves the state as it is, to be tried again later.
    async fn later(&self, rotation: &mut RotationRecord, wait: Duration) -> Result<(), LedgerError> {
        rotation.tries = rotation.tries.saturating_add(1);
        let wait = millis(wait).max(millis(self.settings.pace));
        rotation.next_try =
            crate::model::Timestamp::from_millis(self.vault.now().millis().saturating_add(wait));
        self.keep(rotation).await
    }

    /// The pause before the next try, in the units that polls are spaced by.
    fn pause(&self, tries: u32) -> Duration {
        let seconds = u32::try_from(pause(tries).as_secs()).unwrap_or(300);
        self.settings.pace.saturating_mul(seconds)
    }

    async fn no_answer(
        &self,
        rotation: &mut RotationRecord,
        step: &str,
        why: NoAnswer,
    ) -> Result<(), LedgerError> {
        let wait = self.pause(rotation.tries.saturating_add(1)).max(why.again.unwrap_or_default());
        self.trouble(rotation, step, &why.code, &why.text);
        self.later(rotation, wait).await
    }

    async fn told(&self, rotation: &mut RotationRecord) -> Result<Option<SecretBytes>, LedgerError> {
        match self.material(rotation).await {
            Ok(told) => Ok(Some(told)),
            Err(error) => {
                let text = "the candidate cannot be opened: is the hardware security module there?";
                tracing::error!(rotation = %rotation.id, error = ?error, "open a candidate");
                self.trouble(rotation, rotation.state.as_str(), "hsm_unavailable", text);
                let wait = self.pause(rotation.tries.saturating_add(1));
                self.later(rotation, wait).await?;
                Ok(None)
            }
        }
    }

    /// Nothing was sent: the instance is looked at before anything is.
    async fn staged(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        // Tries that the token spoiled say nothing of the instance.
        let unfit = rotation.trouble.as_ref().is_some_and(|trouble| trouble.step == PREFLIGHT);
        if unfit && rotation.tries >= UNSENT_TRIES {
            return self.failed(rotation, Event::Unfit).await;
        }
        let (code, text) = match commander.instance(&rotation.instance).await {
            Ok(Some(facts)) if facts.os == Some(OsFamily::Windows) => {
                self.trouble(
                    rotation,
                    PREFLIGHT,
                    "os_changed",
                    "the instance runs Windows now: create a new secret for it",
                );
                return self.failed(rotation, Event::Unfit).await;
            }
            Ok(Some(facts)) if facts.is_running() => {
                if self.told(rotation).await?.is_none() {
                    return Ok(());
                }
                self.record_intent(rotation).await?;
                return self.advance(rotation, Event::Send).await;
            }
            Ok(Some(facts)) => {
                ("instance_not_running".to_owned(), format!("the instance is {}: start it", facts.status))
            }
            Ok(None) => {
                ("instance_missing".to_owned(), "there is no such instance in the region any more".to_owned())
            }
            Err(error) => {
                let why = NoAnswer::of(&error);
                (why.code, why.text)
            }
        };
        self.trouble(rotation, PREFLIGHT, &code, &text);
        // The last try is counted on disk before the failure goes on record:
        // a crash between the two must not let a later look decide otherwise.
        let last = rotation.tries.saturating_add(1) >= UNSENT_TRIES;
        let wait = if last { Duration::ZERO } else { self.pause(rotation.tries.saturating_add(2)) };
        self.later(rotation, wait).await
    }

    /// The request may have been sent: it is sent again under the same token.
    async fn sending(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        if self.age(rotation) > TOKEN_SECONDS {
            self.trouble(rotation, "apply", "token_expired", "the request could not be handed over in time");
            return self.advance(rotation, Event::OutcomeUnknown).await;
        }
        let Some(told) = self.told(rotation).await? else { return Ok(()) };
        let remove = self.other_keys(rotation).await?;
        let request = self.request(rotation, Op::Apply, rotation.attempt, Some(&told), remove);
        match self.invoke(commander, &request).await {
            Ok(id) => {
                rotation.invoke_id = Some(id.as_str().to_owned());
                self.advance(rotation, Event::Accepted).await
            }
            Err(error @ CommandError::Again { .. }) => {
                self.no_answer(rotation, "apply", NoAnswer::of(&error)).await
            }
            Err(error) => {
                // An earlier sending of the same request may have been taken:
                // only the instance can say.
                let why = NoAnswer::of(&error);
                self.trouble(rotation, "apply", &why.code, &why.text);
                self.advance(rotation, Event::OutcomeUnknown).await
            }
        }
    }

    /// Cloud Assistant has it: its result is polled for.
    async fn sent(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        let Some(invoke_id) = rotation.invoke_id.as_deref().and_then(InvokeId::parse) else {
            return self.advance(rotation, Event::OutcomeUnknown).await;
        };
        let asked = crate::cloud_assistant::plugin::Asked { rid: rotation.id.clone(), op: Op::Apply };
        let deadline = poll_deadline(self.settings.command_timeout).as_secs();
        match commander.outcome(&invoke_id, &rotation.instance, &asked).await {
            Ok(Outcome::Finished(finished)) => self.result(rotation, &finished).await,
            Ok(Outcome::NotYet) | Err(_)
                if self.age(rotation) > i64::try_from(deadline).unwrap_or(i64::MAX) =>
            {
                self.trouble(
                    rotation,
                    "apply",
                    "no_result",
                    "no result came in time: the instance is asked what is in force",
                );
                self.advance(rotation, Event::OutcomeUnknown).await
            }
            Ok(Outcome::NotYet) => self.poll_again(rotation, Duration::ZERO),
            Err(error) => self.poll_again(rotation, NoAnswer::of(&error).again.unwrap_or_default()),
        }
    }

    /// The next poll is not worth a durable write: after a crash it is made at once.
    fn poll_again(&self, rotation: &mut RotationRecord, at_least: Duration) -> Result<(), LedgerError> {
        let wait = self.settings.pace.saturating_mul(poll_pause(rotation.tries)).max(at_least);
        rotation.tries = rotation.tries.saturating_add(1);
        rotation.next_try =
            crate::model::Timestamp::from_millis(self.vault.now().millis().saturating_add(millis(wait)));
        Ok(())
    }

    async fn result(&self, rotation: &mut RotationRecord, finished: &Finished) -> Result<(), LedgerError> {
        let report = match &finished.report {
            Ok(report) => report,
            Err(_) => {
                let why = NoAnswer::of_run(finished);
                self.trouble(rotation, "apply", &why.code, &why.text);
                return self.advance(rotation, Event::OutcomeUnknown).await;
            }
        };
        if matches!(report.live, Live::New | Live::Both) {
            return self.new_is_live(rotation, report).await;
        }
        if let Some(journal) = &report.facts.journal {
            rotation.seen_generation = rotation.seen_generation.max(journal.generation.unwrap_or(0));
        }
        let (code, text) = advice(report.code);
        self.trouble(rotation, "apply", code, text);
        let not_live = match report.live {
            Live::Old | Live::Other => true,
            Live::Unknown => never_began(report),
            Live::Both | Live::New => false,
        };
        if report.is_final && not_live {
            return self.failed(rotation, Event::Refused).await;
        }
        self.advance(rotation, Event::OutcomeUnknown).await?;
        if report.live == Live::Old {
            // It said so itself: there is no hurry to ask the same again.
            let wait = self.pause(rotation.attempt);
            self.later(rotation, wait).await?;
        }
        Ok(())
    }

    async fn new_is_live(&self, rotation: &mut RotationRecord, report: &Report) -> Result<(), LedgerError> {
        // What was said long ago, while the vault was away, is checked again.
        let proved = self.is_fresh(rotation) && proves(rotation, report);
        self.advance(rotation, Event::NewIsLive { proved }).await
    }

    /// Old or new: the instance is asked. If the new one is not in force, the
    /// same candidate is sent again.
    async fn unknown(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        match self.ask(commander, rotation, Op::Status).await? {
            Ok(report) if matches!(report.live, Live::New | Live::Both) => {
                self.new_is_live(rotation, &report).await
            }
            Ok(report) if report.plugin.is_none() || !report.ok => {
                let (code, text) = advice(report.code);
                let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
                self.doubt(rotation, "status", why).await
            }
            Ok(_) if rotation.attempt >= ATTEMPTS => self.advance(rotation, Event::GiveUp).await,
            Ok(_) => {
                self.record_intent(rotation).await?;
                self.advance(rotation, Event::Send).await
            }
            Err(why) => self.doubt(rotation, "status", why).await,
        }
    }

    /// Nobody could say what is in force. That counts as stuck only after a
    /// question within this run of the vault: it may itself have been away for
    /// longer than an instance may be.
    async fn doubt(
        &self,
        rotation: &mut RotationRecord,
        step: &str,
        why: NoAnswer,
    ) -> Result<(), LedgerError> {
        let since = rotation.doubt_since.unwrap_or(rotation.since);
        let seconds = self.vault.now().seconds_since(since);
        if (0..=DOUBT_SECONDS).contains(&seconds) {
            return self.no_answer(rotation, step, why).await;
        }
        self.trouble(rotation, step, &why.code, &why.text);
        self.record_doubt(rotation).await?;
        self.get_stuck(rotation, Event::Overdue).await
    }

    /// In force by the instance's word: a check has to prove it.
    async fn applied(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        match self.ask(commander, rotation, Op::Verify).await? {
            Ok(report) if proves(rotation, &report) && matches!(report.live, Live::New | Live::Both) => {
                self.advance(rotation, Event::Proved).await
            }
            Ok(report) if report.ok || matches!(report.live, Live::Old | Live::Other) => {
                self.trouble(
                    rotation,
                    "verify",
                    "verify_failed",
                    "what is in force is not what the instance had reported",
                );
                self.advance(rotation, Event::Contradicted).await?;
                // A plug-in that never proves what it says must not be asked without end at full pace.
                let wait = self.pause(CONTRADICTED_TRIES);
                self.later(rotation, wait).await
            }
            Ok(report) => {
                let (code, text) = advice(report.code);
                let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
                self.doubt(rotation, "verify", why).await
            }
            Err(why) => self.doubt(rotation, "verify", why).await,
        }
    }

    /// Proven; unless that was long ago, the labels move.
    async fn verified(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        if self.is_fresh(rotation) {
            return self.commit(rotation).await;
        }
        match self.ask(commander, rotation, Op::Verify).await? {
            Ok(report) if proves(rotation, &report) && matches!(report.live, Live::New | Live::Both) => {
                self.commit(rotation).await
            }
            Ok(report) if report.ok || matches!(report.live, Live::Old | Live::Other) => {
                self.trouble(rotation, "verify", "verify_failed", "what was proven is not in force any more");
                self.advance(rotation, Event::Contradicted).await
            }
            Ok(report) => {
                let (code, text) = advice(report.code);
                let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
                self.no_answer(rotation, "verify", why).await
            }
            Err(why) => self.no_answer(rotation, "verify", why).await,
        }
    }

    /// The success goes on record before the rotation is over, so that a crash
    /// between the two repeats the record instead of losing it.
    async fn committed(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        self.record_committed(rotation).await?;
        match rotation.kind {
            SecretSubType::Password => self.finish(rotation).await,
            SecretSubType::SshKey => self.advance(rotation, Event::RemoveOld).await,
        }
    }

    /// The old key goes, however long that takes: the rotation itself has succeeded.
    async fn finalizing(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        let why = match self.ask(commander, rotation, Op::Finalize).await? {
            Ok(report) if report.ok => return self.finish(rotation).await,
            Ok(report) => {
                let (code, text) = advice(report.code);
                let text = format!("the old key is not removed yet: {text}");
                let lasting = matches!(report.code, Code::StaleGen | Code::WrongRid | Code::VerifyFailed);
                if lasting && rotation.tries >= LASTING_TRIES {
                    return self.keep_old_key(rotation, code, &text).await;
                }
                NoAnswer { code: code.to_owned(), text, again: None }
            }
            Err(why) => why,
        };
        if self.age(rotation) > DOUBT_SECONDS {
            return self.keep_old_key(rotation, &why.code, &why.text).await;
        }
        self.no_answer(rotation, "finalize", why).await
    }

    /// The old key stays for now, and that is said: the next rotation, which
    /// must not be kept waiting, removes the keys of all earlier versions.
    async fn keep_old_key(
        &self,
        rotation: &mut RotationRecord,
        code: &str,
        text: &str,
    ) -> Result<(), LedgerError> {
        let text = format!("OldKeyNotRemoved ({code}): rotate again to have it removed. {text}");
        self.trouble(rotation, "finalize", "OldKeyNotRemoved", &text);
        self.record_old_key(rotation).await?;
        self.finish(rotation).await
    }

    /// How long the present state has lasted, in seconds. A clock that was set
    /// back counts as long.
    fn age(&self, rotation: &RotationRecord) -> i64 {
        let age = self.vault.now().seconds_since(rotation.since);
        if age < 0 { i64::MAX } else { age }
    }

    fn is_fresh(&self, rotation: &RotationRecord) -> bool {
        self.age(rotation) <= FRESH_SECONDS
    }

    async fn finish(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        self.advance(rotation, Event::Finish).await
    }

    /// Given up, once the instance has confirmed that nothing of it will act any more.
    async fn fencing(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        match self.ask(commander, rotation, Op::Fence).await? {
            // A fence that is durable there counts also when the plug-in could not look.
            Ok(report) if report.ok || (report.is_final && report.plugin.is_some()) => {
                let event = Event::Fenced { live: report.live };
                match report.live {
                    Live::Old | Live::Other => self.failed(rotation, event).await,
                    Live::New | Live::Both => self.advance(rotation, event).await,
                    Live::Unknown => self.get_stuck(rotation, event).await,
                }
            }
            Ok(report) => {
                let (code, text) = advice(report.code);
                let why = NoAnswer { code: code.to_owned(), text: text.to_owned(), again: None };
                self.doubt(rotation, "fence", why).await
            }
            Err(why) => self.doubt(rotation, "fence", why).await,
        }
    }

    /// Asks now and then whether the instance is back.
    async fn stuck(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        match self.ask(commander, rotation, Op::Status).await? {
            Ok(report) if report.plugin.is_some() && report.ok => {
                rotation.doubt_since = None;
                self.advance(rotation, Event::Answered).await
            }
            Ok(report) => {
                let (code, text) = advice(report.code);
                self.trouble(rotation, "status", code, text);
                self.later(rotation, Duration::from_secs(STUCK_SECONDS)).await
            }
            Err(why) => {
                self.trouble(rotation, "status", &why.code, &why.text);
                self.later(rotation, Duration::from_secs(STUCK_SECONDS)).await
            }
        }
    }

    /// On record first, as in [`committed`](Self::committed).
    async fn failed(&self, rotation: &mut RotationRecord, event: Event) -> Result<(), LedgerError> {
        self.record_failed(rotation).await?;
        self.abandon(rotation, event).await
    }
}
