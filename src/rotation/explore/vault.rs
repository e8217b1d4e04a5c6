//! The vault's side of the search: it goes by the very functions that the
//! worker goes by.

use std::cell::RefCell;
use std::collections::HashMap;

use super::super::decide::{Clocked, Deed, Look, NoAnswer, Seen, Then, Verdict, judge, plan};
use super::model::{
    Asked, FIRST, Key, Kind, Message, Mistake, OpKind, Question, Said, Set, Settings, World, candidate,
};
use crate::cloud_assistant::plugin::{Code, Facts, Op, Proof, Report, UserFacts, Word};
use crate::model::rotation::{Entered, Event, RotationRecord, State, Trigger, Trouble};
use crate::model::{
    InstanceId, OsFamily, OsUser, RotationId, SecretId, SecretName, SecretSubType, Timestamp, VersionId,
};

/// What was seen, as far as it matters: [`Seen`] with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Heard {
    Accepted,
    Finished(Said),
    Lost,
    Missing,
    NoWord,
    NotYet,
    OtherSystem,
    Repeat,
    Running,
    Silence,
    Spoke(Said),
    Untaken,
}

/// What a verdict depends on.
type Case = (Kind, Mistake, State, [u8; 2], [bool; 2], Clocked, Deed, Heard);

thread_local! {
    /// The same few thousand questions are put again and again.
    static JUDGED: RefCell<HashMap<Case, Verdict>> = RefCell::new(HashMap::new());
}

const PROOF: &str = "the proof";
const NOW: Timestamp = Timestamp::from_millis(0);

/// What is on the vault's disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vault {
    pub(super) state: State,
    /// Which rotation of the secret it is: 1 or 2.
    pub(super) rotation: u8,
    /// Sendings: none, one before the last, or all that are tried.
    attempt: u8,
    tries: u8,
    accepted: bool,
    /// The last trouble was the instance's, before anything was sent.
    unfit: bool,
    pub(super) key: Option<Key>,
    pub(super) payload: Option<Key>,
    /// Versions that can be read.
    pub(super) held: Set,
    /// Candidates that were destroyed.
    pub(super) destroyed: Set,
    /// The version labelled current.
    pub(super) current: Set,
    /// The last report proved the candidate.
    pub(super) proved: bool,
    /// It was given up.
    given_up: bool,
    /// It said that the old key stays.
    pub(super) old_key_left: bool,
}

impl Vault {
    pub(super) fn start() -> Self {
        Self {
            state: State::Staged,
            rotation: 1,
            attempt: 0,
            tries: 0,
            accepted: false,
            unfit: false,
            key: None,
            payload: None,
            held: FIRST | candidate(1),
            destroyed: 0,
            current: FIRST,
            proved: false,
            given_up: false,
            old_key_left: false,
        }
    }

    /// A second rotation of the same secret begins.
    pub(super) fn second(&self) -> Self {
        Self {
            rotation: 2,
            held: self.held | candidate(2),
            destroyed: self.destroyed,
            current: self.current,
            old_key_left: self.old_key_left,
            ..Self::start()
        }
    }

    fn record(&self, kind: Kind) -> RotationRecord {
        let trouble = self.unfit.then(|| Trouble {
            step: super::super::decide::PREFLIGHT.to_owned(),
            code: String::new(),
            text: String::new(),
            at: NOW,
        });
        RotationRecord {
            id: RotationId::from_random(&[self.rotation; 16]),
            secret: SecretId::from_random(&[1; 16]),
            secret_name: SecretName::parse("acs/ecs/a").unwrap(),
            version: VersionId::parse("v").unwrap(),
            kind: if kind == Kind::Key { SecretSubType::SshKey } else { SecretSubType::Password },
            instance: InstanceId::parse("i-a").unwrap(),
            user: OsUser::parse("u").unwrap(),
            generation: u64::from(self.rotation),
            trigger: Trigger::Manual,
            state: self.state,
            apply_sent: self.attempt > 0,
            // Two sendings stand for six: only "the last" makes a difference.
            attempt: if self.attempt == 0 { 0 } else { u32::from(self.attempt) + 4 },
            tries: u32::from(self.tries),
            asks: 0,
            invoke_id: self.accepted.then(|| "t-1".to_owned()),
            since: NOW,
            doubt_since: None,
            next_try: NOW,
            started: NOW,
            ended: None,
            trouble,
            troubles: Vec::new(),
            warnings: Vec::new(),
            steps: vec![Entered { state: State::Staged, at: NOW }],
            os: if kind == Kind::Windows { OsFamily::Windows } else { OsFamily::Linux },
            rotated_before: false,
            given_up: self.given_up,
            custom: kind == Kind::Chosen,
            secret_material: kind.is_sealed(),
            sealing_key: None,
            payload: None,
            material: Vec::new(),
            proof: PROOF.to_owned(),
            seen_generation: 0,
            revision: 1,
        }
    }

    /// What the protocol makes of what was heard.
    fn verdict(&self, settings: Settings, clocked: &Clocked, deed: Deed, heard: Heard) -> Verdict {
        let Settings { kind, mistake } = settings;
        let (counts, marks) = ([self.attempt, self.tries], [self.accepted, self.unfit]);
        let case = (kind, mistake, self.state, counts, marks, *clocked, deed, heard);
        let known = JUDGED.with_borrow(|judged| judged.get(&case).cloned());
        known.unwrap_or_else(|| {
            let asked = match deed {
                Deed::Ask(op) => op,
                Deed::Commit | Deed::Look | Deed::Poll | Deed::RecordSuccess | Deed::Submit => Op::Apply,
            };
            let seen = match heard {
                Heard::Accepted => Seen::Accepted,
                Heard::Finished(said) => Seen::Finished(Ok(report(said, asked, kind, mistake))),
                Heard::Lost => Seen::Finished(Err(silence())),
                Heard::Missing => Seen::Instance(Look::Missing),
                Heard::NoWord => Seen::Instance(Look::NoAnswer(silence())),
                Heard::NotYet => Seen::NotYet(None),
                Heard::OtherSystem => Seen::Instance(Look::OtherSystem),
                Heard::Repeat => Seen::Repeat(silence()),
                Heard::Running => Seen::Instance(Look::Running),
                Heard::Silence => Seen::Answer(Err(silence())),
                Heard::Spoke(said) => Seen::Answer(Ok(report(said, asked, kind, mistake))),
                Heard::Untaken => Seen::Untaken(silence()),
            };
            let verdict = judge(&self.record(kind), clocked, deed, seen);
            JUDGED.with_borrow_mut(|judged| judged.insert(case, verdict.clone()));
            verdict
        })
    }

    /// One form for what makes no difference in the present state.
    pub(super) fn tidy(&mut self) {
        let state = self.state;
        if !matches!(state, State::Staged | State::Finalizing) {
            self.tries = 0;
        }
        if state != State::Staged {
            self.unfit = false;
        }
        if state != State::Sent {
            self.accepted = false;
        }
        if state != State::Sending {
            self.payload = None;
        }
        if matches!(state, State::Committed | State::Finalizing | State::Done | State::Failed) {
            self.attempt = 0;
        }
        if !matches!(state, State::Applied | State::Verified | State::Committed) {
            self.proved = false;
        }
    }

    /// All that the clock may say, as far as it matters in this state.
    fn clocks(&self) -> Vec<Clocked> {
        let both = |matters: bool| if matters { &[false, true][..] } else { &[false][..] };
        let state = self.state;
        let mut clocks = Vec::new();
        for token_expired in both(state == State::Sending) {
            for result_overdue in both(state == State::Sent) {
                for fresh in both(matches!(state, State::Sent | State::Unknown | State::Verified)) {
                    for doubt_over in both(matches!(state, State::Unknown | State::Applied | State::Fencing))
                    {
                        for lingers in
                            both(matches!(state, State::Staged | State::Verified | State::Finalizing))
                        {
                            for key_good in both(self.key.is_some()) {
                                clocks.push(Clocked {
                                    token_expired: *token_expired,
                                    result_overdue: *result_overdue,
                                    fresh: *fresh,
                                    doubt_over: *doubt_over,
                                    lingers: *lingers,
                                    key_good: *key_good,
                                });
                            }
                        }
                    }
                }
            }
        }
        clocks
    }
}

fn silence() -> NoAnswer {
    NoAnswer { code: String::new(), text: String::new(), again: None }
}

fn word(text: &str) -> Word {
    serde_json::from_value(serde_json::Value::from(text)).unwrap()
}

fn report(said: Said, op: Op, kind: Kind, mistake: Mistake) -> Report {
    let code = match said {
        Said { ok: true, .. } => Code::Ok,
        Said { shut: true, .. } if op == Op::Finalize => Code::StaleGen,
        Said { shut: true, .. } => Code::Fenced,
        Said { key_gone: true, .. } => Code::KeyExpired,
        Said { is_final: true, .. } => Code::UserMissing,
        Said { .. } => Code::Busy,
    };
    let proof = (said.proved || mistake == Mistake::BelieveWithoutProof).then(|| word(PROOF));
    let proof = match kind {
        Kind::Password | Kind::Chosen => {
            // The digest of whatever stands there is always shown.
            Proof { field_sha256: proof.or_else(|| Some(word("of another"))), ..Proof::default() }
        }
        Kind::Key => Proof { key_sha256: proof, ..Proof::default() },
        Kind::Windows => Proof { token_sha256: proof, ..Proof::default() },
    };
    Report {
        op,
        ok: said.ok,
        code,
        changed: false,
        is_final: said.is_final,
        live: said.live,
        phase: said.known.then(|| word(if said.restored { "restored" } else { "applied" })),
        proof,
        facts: Facts {
            user: UserFacts { state: Some(word("hash")), ..UserFacts::default() },
            ..Facts::default()
        },
        warnings: if said.key_gone { vec![word("candidate_not_opened")] } else { Vec::new() },
        detail: None,
        key: said.key.map(|key| (String::new(), format!("{key:?}"))),
        plugin: Some(word("1")),
    }
}

impl World {
    /// What the vault may do next: go on, hear something, or die and start anew.
    pub(super) fn vault_moves(&self, settings: Settings) -> Vec<(&'static str, Self)> {
        let mut next = Vec::new();
        if let Some(question) = self.question {
            let heard = Self { question: None, ..self.clone() };
            let op = question.op.op();
            for clocked in self.vault.clocks() {
                if let Some(said) = question.answer {
                    let (world, spoke) = (heard.having_heard(said), Heard::Spoke(said));
                    next.extend(world.judged(settings, &clocked, Deed::Ask(op), spoke, "heard the answer"));
                }
                next.extend(heard.judged(settings, &clocked, Deed::Ask(op), Heard::Silence, "no answer"));
            }
            next.push(("the vault dies while it waits", heard.with_late_question(question)));
            return next;
        }
        if self.is_over() {
            return next;
        }
        let record = self.vault.record(settings.kind);
        for clocked in self.vault.clocks() {
            match plan(&record, &clocked) {
                Err(verdict) => next.extend(self.follow(settings, *verdict, "decided")),
                Ok(deed) => next.extend(self.perform(settings, &clocked, deed)),
            }
        }
        if settings.mistake == Mistake::FinalizeBeforeCommit && self.vault.state == State::Verified {
            let mut world = self.clone();
            let rotation = self.vault.rotation;
            world.network.push(Message { op: OpKind::Finalize, rotation, present: false, sealed_to: None });
            next.push(("finalize is sent too early", world));
        }
        next
    }

    fn perform(&self, settings: Settings, clocked: &Clocked, deed: Deed) -> Vec<(&'static str, Self)> {
        let judged = |world: &Self, heard, what| world.judged(settings, clocked, deed, heard, what);
        match deed {
            Deed::Ask(op) => vec![("asks", self.asking(op, clocked))],
            Deed::Commit | Deed::RecordSuccess => judged(self, Heard::Accepted, "goes on"),
            Deed::Look => [Heard::Running, Heard::Missing, Heard::OtherSystem, Heard::NoWord]
                .into_iter()
                .flat_map(|look| judged(self, look, "looked"))
                .collect(),
            Deed::Submit => {
                let mut taken = self.clone();
                taken.network.push(Message {
                    op: OpKind::Apply,
                    rotation: self.vault.rotation,
                    present: true,
                    sealed_to: self.vault.payload,
                });
                let mut next = vec![("the vault dies after sending", taken.clone())];
                let mut accepted = taken.clone();
                accepted.vault.accepted = true;
                if settings.mistake == Mistake::LabelBeforeVerify {
                    accepted.vault.state = State::Verified;
                    let verdict =
                        Verdict { then: Then::Commit, trouble: None, rest: super::super::decide::Rest::None };
                    return accepted.follow(settings, verdict, "labels move at once").into_iter().collect();
                }
                next.extend(judged(&accepted, Heard::Accepted, "accepted"));
                for world in [&taken, self] {
                    next.extend(judged(world, Heard::Repeat, "no reply"));
                    next.extend(judged(world, Heard::Untaken, "refused"));
                }
                next
            }
            Deed::Poll => {
                if settings.mistake == Mistake::DropPendingOnTimeout && clocked.result_overdue {
                    return vec![("gives up on a timeout", self.failed())];
                }
                let mut next = judged(self, Heard::NotYet, "no result yet");
                next.extend(judged(self, Heard::Lost, "the result is lost"));
                if let Some(said) = self.result {
                    let world = self.having_heard(said);
                    next.extend(judged(&world, Heard::Finished(said), "read the result"));
                }
                next
            }
        }
    }

    fn asking(&self, op: Op, clocked: &Clocked) -> Self {
        let sealed_to = self.vault.key.filter(|_| clocked.key_good && op.compares());
        let question = Asked::of(op).map(|op| Question { op, sealed_to, answer: None });
        let mut world = Self { question, ..self.clone() };
        if op.compares() {
            world.vault.key = sealed_to;
        }
        world
    }

    /// What is notable of a report whatever follows from it.
    fn having_heard(&self, said: Said) -> Self {
        let mut world = self.clone();
        world.vault.proved |= said.proved;
        if said.key_gone {
            world.vault.key = None;
        }
        world
    }

    /// A question whose answer nobody waits for any more may still act.
    fn with_late_question(&self, question: Question) -> Self {
        let mut world = self.clone();
        let op = match question.op {
            Asked::Fence => OpKind::Fence,
            Asked::Finalize => OpKind::Finalize,
            Asked::Prepare | Asked::Status | Asked::Verify => return world,
        };
        let rotation = self.vault.rotation;
        world.network.push(Message { op, rotation, present: false, sealed_to: question.sealed_to });
        world
    }

    fn judged(
        &self,
        settings: Settings,
        clocked: &Clocked,
        deed: Deed,
        heard: Heard,
        what: &'static str,
    ) -> Vec<(&'static str, Self)> {
        let late = match (deed, heard) {
            (Deed::Ask(op), Heard::Silence) => Asked::of(op).map(|op| {
                let sealed_to = self.vault.key.filter(|_| op.op().compares());
                self.with_late_question(Question { op, sealed_to, answer: None })
            }),
            _ => None,
        };
        let world = late.unwrap_or_else(|| self.clone());
        let verdict = self.vault.verdict(settings, clocked, deed, heard);
        if let Then::Go(Deed::Ask(op)) = verdict.then {
            return vec![(what, world.asking(op, clocked))];
        }
        world.follow(settings, verdict, what).into_iter().collect()
    }

    fn follow(
        &self,
        settings: Settings,
        verdict: Verdict,
        what: &'static str,
    ) -> Option<(&'static str, Self)> {
        let mut world = self.clone();
        let vault = &mut world.vault;
        if let Some((step, ..)) = &verdict.trouble {
            let unfit = matches!(*step, "preflight" | "prepare");
            if unfit != vault.unfit {
                vault.tries = 0;
            }
            vault.unfit = unfit;
        }
        match verdict.then {
            Then::PollAgain => return None,
            Then::Go(_) | Then::TryAgain => vault.tries = (vault.tries + 1).min(3),
            Then::NoteKey(_, key) => {
                vault.key = Some(if key == "Alive" { Key::Alive } else { Key::Dead });
            }
            Then::Commit => {
                world.take(Event::Commit, settings.kind);
                world.vault.current = candidate(self.vault.rotation);
            }
            Then::Fail(event) => {
                world.take(event, settings.kind);
                world.drop_candidate();
            }
            Then::KeepOldKey => {
                world.take(Event::Finish, settings.kind);
                world.vault.old_key_left = true;
            }
            Then::Stick(event) | Then::Take(event) => world.take(event, settings.kind),
            Then::Send => {
                if settings.mistake == Mistake::NewCandidateInDoubt
                    && self.vault.state == State::Unknown
                    && self.vault.rotation == 1
                {
                    world.drop_candidate();
                    return Some(("takes another candidate", world.begin_second()));
                }
                if settings.kind.is_sealed() {
                    world.vault.payload = world.vault.key;
                }
                world.take(Event::Send, settings.kind);
                world.vault.attempt = (world.vault.attempt + 1).min(2);
                world.vault.accepted = false;
                // From now on only the new run's result is read.
                world.result = None;
                world.network.iter_mut().for_each(|message| message.present = false);
            }
        }
        Some((what, world))
    }

    fn take(&mut self, event: Event, kind: Kind) {
        let mut record = self.vault.record(kind);
        record.take(event, NOW).unwrap();
        self.vault.state = record.state;
        self.vault.given_up = record.given_up && !record.state.is_over();
        self.vault.tries = 0;
        if record.state.is_over() {
            self.vault.key = None;
            self.vault.payload = None;
        }
        if !matches!(record.state, State::Applied | State::Verified | State::Committed) {
            self.vault.proved = false;
        }
    }

    fn drop_candidate(&mut self) {
        self.vault.held &= !candidate(self.vault.rotation);
        self.vault.destroyed |= candidate(self.vault.rotation);
    }

    fn failed(&self) -> Self {
        let mut world = self.clone();
        world.vault.state = State::Failed;
        world.drop_candidate();
        world
    }
}
