//! The driver around `decide`: does the next deed of a rotation, and makes
//! durable what follows. What a step comes to is on disk when it returns.

use std::time::Duration;

use strongroom_hsm::SecretBytes;

use super::Rotations;
use super::belief::could_not_open;
use super::crash::Write;
use super::decide::{self, Clocked, Deed, Look, NoAnswer, Rest, Seen, Then, Verdict};
use super::ledger::LedgerError;
use crate::cloud_assistant::client::poll_deadline;
use crate::cloud_assistant::plugin::{self, Asked, Op, Report};
use crate::cloud_assistant::{CommandError, Commander, InvokeId, Outcome};
use crate::model::Timestamp;
use crate::model::rotation::{Event, Live, RotationRecord};
use crate::seal::{KeyRefusal, SealError};
use crate::vault::VaultError;

/// How long Cloud Assistant is relied on to remember a ClientToken
/// (cloud-assistant.md section 1.11).
const TOKEN_SECONDS: i64 = 600;
/// How long an answer is waited for before the rotation counts as stuck.
const DOUBT_SECONDS: i64 = 3_600;
/// How long a proof counts before it is asked for again.
const FRESH_SECONDS: i64 = 300;
/// How often a stuck rotation asks again.
const STUCK_SECONDS: u64 = 1_800;
/// How far ahead of the vault an instance's count is believed to be.
const FARTHEST_GENERATION: u64 = 1_000_000;
/// Deeds that may follow one another within a step: a look, a key, a question.
const DEEDS: usize = 4;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Rotations {
    /// Works on a rotation once.
    pub(super) async fn step(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<(), LedgerError> {
        if rotation.state.is_over() {
            return Ok(());
        }
        let mut deed = match decide::plan(rotation, &self.clocked(rotation)) {
            Ok(deed) => deed,
            Err(verdict) => return self.follow(rotation, *verdict).await,
        };
        for _ in 0..DEEDS {
            let Some(seen) = self.perform(rotation, commander, deed).await? else { return Ok(()) };
            self.absorb(rotation, &seen);
            let verdict = decide::judge(rotation, &self.clocked(rotation), deed, seen);
            match verdict.then {
                Then::Go(next) => deed = next,
                Then::Commit
                | Then::Fail(_)
                | Then::KeepOldKey
                | Then::NoteKey(..)
                | Then::PollAgain
                | Then::Send
                | Then::Stick(_)
                | Then::Take(_)
                | Then::TryAgain => return self.follow(rotation, verdict).await,
            }
        }
        self.later(rotation, self.settings.pace).await
    }

    /// What the clock says of it now.
    fn clocked(&self, rotation: &RotationRecord) -> Clocked {
        let age = self.age(rotation);
        let deadline = poll_deadline(self.settings.command_timeout).as_secs();
        let grace = i64::try_from(self.settings.key_grace.as_secs()).unwrap_or(i64::MAX);
        let in_doubt = self.vault.now().seconds_since(rotation.doubt_since.unwrap_or(rotation.since));
        Clocked {
            token_expired: age > TOKEN_SECONDS,
            result_overdue: age > i64::try_from(deadline).unwrap_or(i64::MAX),
            fresh: age <= FRESH_SECONDS,
            doubt_over: !(0..=DOUBT_SECONDS).contains(&in_doubt),
            lingers: age.saturating_sub(grace) > DOUBT_SECONDS,
            key_good: rotation.sealing_key.as_ref().is_some_and(|key| key.expires > self.vault.now()),
        }
    }

    /// How long the present state has lasted, in seconds. A clock that was set
    /// back counts as long.
    fn age(&self, rotation: &RotationRecord) -> i64 {
        let age = self.vault.now().seconds_since(rotation.since);
        if age < 0 { i64::MAX } else { age }
    }

    /// Does a deed. `None` when the token is away and the deed waits for it.
    async fn perform(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
        deed: Deed,
    ) -> Result<Option<Seen>, LedgerError> {
        Ok(Some(match deed {
            Deed::Look => Seen::Instance(self.look(rotation, commander).await),
            Deed::Ask(op) => {
                Seen::Answer(self.ask(commander, rotation, op).await?.and_then(|r| self.keyed(r)))
            }
            Deed::Submit => match self.submit(rotation, commander).await? {
                Some(seen) => seen,
                None => return Ok(None),
            },
            Deed::Poll => self.poll(rotation, commander).await,
            Deed::RecordSuccess => {
                self.record_committed(rotation).await?;
                Seen::Accepted
            }
            Deed::Commit => Seen::Accepted,
        }))
    }

    /// A key that cannot be sealed to is no answer.
    fn keyed(&self, report: Report) -> Result<Report, NoAnswer> {
        let usable =
            |(public, kid): &(String, String)| plugin::sealing_key(public, kid, self.vault.now()).is_some();
        if report.key.as_ref().is_none_or(usable) {
            return Ok(report);
        }
        let text = "the instance's key cannot be sealed to: is the plug-in the present one?".to_owned();
        Err(NoAnswer { code: "bad_key".to_owned(), text, again: None })
    }

    async fn look(&self, rotation: &RotationRecord, commander: &dyn Commander) -> Look {
        match commander.instance(&rotation.instance).await {
            Ok(Some(facts)) if facts.os.is_some_and(|os| os != rotation.os) => Look::OtherSystem,
            Ok(Some(facts)) if facts.is_running() => Look::Running,
            Ok(Some(facts)) => Look::NotRunning(facts.status),
            Ok(None) => Look::Missing,
            Err(error) => Look::NoAnswer(NoAnswer::of(&error)),
        }
    }

    async fn submit(
        &self,
        rotation: &mut RotationRecord,
        commander: &dyn Commander,
    ) -> Result<Option<Seen>, LedgerError> {
        let told = if rotation.secret_material {
            None
        } else {
            let Some(told) = self.told(rotation).await? else { return Ok(None) };
            Some(told)
        };
        let remove = self.other_keys(rotation).await?;
        let mut request = self.request(rotation, Op::Apply, rotation.attempt, told.as_ref(), remove);
        request.payload.clone_from(&rotation.payload);
        Ok(Some(match self.invoke(commander, &request, rotation.os).await {
            Ok(id) => {
                rotation.invoke_id = Some(id.as_str().to_owned());
                Seen::Accepted
            }
            Err(error @ CommandError::Again { .. }) => Seen::Repeat(NoAnswer::of(&error)),
            Err(error) => Seen::Untaken(NoAnswer::of(&error)),
        }))
    }

    async fn poll(&self, rotation: &RotationRecord, commander: &dyn Commander) -> Seen {
        let Some(invoke_id) = rotation.invoke_id.as_deref().and_then(InvokeId::parse) else {
            return Seen::NotYet(None);
        };
        let asked = Asked { rid: rotation.id.clone(), op: Op::Apply };
        match commander.outcome(&invoke_id, &rotation.instance, &asked).await {
            Ok(Outcome::Finished(finished)) => Seen::Finished(match finished.report {
                Ok(report) => Ok(report),
                Err(_) => Err(NoAnswer::of_run(&finished)),
            }),
            Ok(Outcome::NotYet) => Seen::NotYet(None),
            Err(error) => Seen::NotYet(NoAnswer::of(&error).again),
        }
    }

    /// Notes what a report says besides its answer.
    fn absorb(&self, rotation: &mut RotationRecord, seen: &Seen) {
        let (Seen::Answer(Ok(report)) | Seen::Finished(Ok(report))) = seen else { return };
        for word in &report.warnings {
            // No notes are no news where none of the rotations before had an effect.
            if word.as_str() != "no_journal" || rotation.rotated_before {
                rotation.note_warning(word.as_str());
            }
        }
        if let Some(journal) = &report.facts.journal {
            // What an instance says must not push the count out of reach.
            let known =
                [journal.generation, journal.fence_generation].into_iter().flatten().max().unwrap_or(0);
            if known <= rotation.generation.saturating_add(FARTHEST_GENERATION) {
                rotation.seen_generation = rotation.seen_generation.max(known);
            }
        }
        if could_not_open(report) {
            rotation.sealing_key = None;
        }
        if report.ok && report.live == Live::Other && rotation.apply_sent {
            rotation.note_warning("changed_outside");
        }
        if is_foreign(rotation, report) {
            rotation.note_warning("foreign_rotation");
        }
    }

    /// Makes durable what follows.
    async fn follow(&self, rotation: &mut RotationRecord, verdict: Verdict) -> Result<(), LedgerError> {
        if let Some((step, code, text)) = &verdict.trouble {
            if rotation.trouble.as_ref().is_none_or(|before| before.step != *step) {
                // Tries that were spoiled by something else say nothing of this.
                rotation.tries = 0;
            }
            self.trouble(rotation, step, code, text);
        }
        let wait = self.rest(verdict.rest);
        match verdict.then {
            Then::Commit => self.commit(rotation).await,
            Then::Fail(event) => {
                // On record first, so that a crash between the two repeats the record.
                self.record_failed(rotation).await?;
                self.abandon(rotation, event).await
            }
            Then::Go(_) | Then::TryAgain => self.later(rotation, wait).await,
            Then::KeepOldKey => {
                self.record_old_key(rotation).await?;
                self.keep_old_key(rotation).await
            }
            Then::NoteKey(public, kid) => self.note_key(rotation, &public, &kid).await,
            Then::PollAgain => {
                // Not worth a durable write: after a crash it is made at once.
                rotation.tries = rotation.tries.saturating_add(1);
                rotation.next_try = self.in_a_while(wait);
                Ok(())
            }
            Then::Send => self.send(rotation).await,
            Then::Stick(event) => {
                self.record_doubt(rotation).await?;
                self.get_stuck(rotation, event).await
            }
            Then::Take(event) => {
                self.advance(rotation, event).await?;
                if verdict.rest == Rest::None { Ok(()) } else { self.later(rotation, wait).await }
            }
        }
    }

    fn rest(&self, rest: Rest) -> Duration {
        match rest {
            Rest::None => Duration::ZERO,
            Rest::Grace => self.settings.key_grace,
            Rest::Stuck => Duration::from_secs(STUCK_SECONDS),
            Rest::Units(units, at_least) => {
                self.settings.pace.saturating_mul(units).max(at_least.unwrap_or_default())
            }
        }
    }

    fn in_a_while(&self, wait: Duration) -> Timestamp {
        Timestamp::from_millis(self.vault.now().millis().saturating_add(millis(wait)))
    }

    /// Leaves the state as it is, to be tried again later.
    async fn later(&self, rotation: &mut RotationRecord, wait: Duration) -> Result<(), LedgerError> {
        rotation.tries = rotation.tries.saturating_add(1);
        rotation.next_try = self.in_a_while(wait.max(self.settings.pace));
        self.keep_at(Write::Rest, rotation).await
    }

    /// The instance made a key to seal to.
    async fn note_key(
        &self,
        rotation: &mut RotationRecord,
        public: &str,
        kid: &str,
    ) -> Result<(), LedgerError> {
        rotation.sealing_key = plugin::sealing_key(public, kid, self.vault.now());
        self.keep_at(Write::SealingKey, rotation).await
    }

    /// The request is fixed, durably, before it goes out.
    async fn send(&self, rotation: &mut RotationRecord) -> Result<(), LedgerError> {
        let Some(told) = self.told(rotation).await? else { return Ok(()) };
        if rotation.secret_material {
            let Some(payload) = self.sealed_for(rotation, Op::Apply, &told) else {
                rotation.sealing_key = None;
                return self.later(rotation, self.settings.pace).await;
            };
            rotation.payload = Some(payload);
        }
        self.record_intent(rotation).await?;
        self.advance(rotation, Event::Send).await
    }

    async fn told(&self, rotation: &mut RotationRecord) -> Result<Option<SecretBytes>, LedgerError> {
        match self.material(rotation).await {
            Ok(told) => Ok(Some(told)),
            Err(error) => {
                let (code, text) = unopened(&error);
                tracing::error!(rotation = %rotation.id, error = ?error, "open a candidate");
                self.trouble(rotation, rotation.state.as_str(), code, text);
                let units = decide::units(rotation.tries.saturating_add(1));
                self.later(rotation, self.rest(Rest::Units(units, None))).await?;
                Ok(None)
            }
        }
    }
}

/// Why a candidate cannot be opened, as a code and in words. It waits.
const fn unopened(error: &VaultError) -> (&'static str, &'static str) {
    let VaultError::Seal(SealError::Key(refusal)) = error else {
        return ("hsm_unavailable", "the candidate cannot be opened: is the hardware security module there?");
    };
    match refusal {
        KeyRefusal::Disabled => {
            ("key_disabled", "the candidate cannot be opened: the key of the secret is disabled")
        }
        KeyRefusal::PendingDeletion => {
            ("key_pending_deletion", "the candidate cannot be opened: the key of the secret is to be deleted")
        }
        KeyRefusal::NotFound | KeyRefusal::Unavailable => (
            "key_unavailable",
            "the candidate cannot be opened: the hardware security module does not have the key of the secret",
        ),
    }
}

/// Whether the instance's notes are of a rotation that this vault has not made:
/// its database was set back, or another vault manages the same user
/// (cloud-assistant.md section 5.7).
fn is_foreign(rotation: &RotationRecord, report: &Report) -> bool {
    report.facts.journal.as_ref().is_some_and(|journal| {
        let later = journal.generation.is_some_and(|seen| seen >= rotation.generation);
        later && journal.rid.as_ref().is_some_and(|rid| *rid != rotation.id)
    })
}
