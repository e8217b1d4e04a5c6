//! The world of the search: one secret, its instance, and what is under way.

use super::instance::{Instance, Run};
use super::vault::Vault;
use crate::cloud_assistant::plugin::Op;
use crate::model::rotation::{Live, State};

/// What is rotated, by how it travels and how it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A Linux password that the vault made: its hash goes openly.
    Password,
    /// A Linux password that a person chose: its hash goes sealed.
    Chosen,
    /// An SSH key.
    Key,
    /// A Windows password: goes sealed, and cannot be read back.
    Windows,
}

impl Kind {
    pub(super) const fn is_sealed(self) -> bool {
        matches!(self, Self::Chosen | Self::Windows)
    }
}

/// A deliberate mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mistake {
    None,
    /// The labels move as soon as Cloud Assistant has taken the request.
    LabelBeforeVerify,
    /// No result in time counts as failure, and the candidate goes.
    DropPendingOnTimeout,
    /// A doubt is answered by another candidate.
    NewCandidateInDoubt,
    /// The old key is removed before the labels have moved.
    FinalizeBeforeCommit,
    /// The plug-in lets an earlier rotation act.
    GateForgets,
    /// What the plug-in says counts without proof.
    BelieveWithoutProof,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) kind: Kind,
    pub(super) mistake: Mistake,
}

/// A key to seal to, as vault and messages know it: the one that the instance
/// has, or one that it has not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Alive,
    Dead,
}

/// Credentials as a set: bit 0 the one from the beginning, bits 1 and 2 the
/// candidates of two rotations, bit 3 somebody else's.
pub(super) type Set = u8;
pub(super) const FIRST: Set = 1;
pub(super) const FOREIGN: Set = 8;

/// The candidate of a rotation.
pub(super) const fn candidate(rotation: u8) -> Set {
    1 << rotation
}

/// A command that Cloud Assistant has taken and may deliver never, late, or
/// any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) op: OpKind,
    pub(super) rotation: u8,
    /// Of the present attempt: its result can still be read.
    pub(super) present: bool,
    /// The key that its content is sealed to.
    pub(super) sealed_to: Option<Key>,
}

/// The operations that may act when they come late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum OpKind {
    Apply,
    Fence,
    Finalize,
}

impl OpKind {
    pub(super) const fn op(self) -> Op {
        match self {
            Self::Apply => Op::Apply,
            Self::Fence => Op::Fence,
            Self::Finalize => Op::Finalize,
        }
    }
}

/// What the plug-in said, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) is_final: bool,
    pub(super) live: Live,
    pub(super) proved: bool,
    /// It refused because of its notes.
    pub(super) shut: bool,
    /// Its notes know this rotation.
    pub(super) known: bool,
    /// Its notes say that the change was found not to have happened.
    pub(super) restored: bool,
    /// The key on the instance is not the one that was sealed to.
    pub(super) key_gone: bool,
    /// The key that it made.
    pub(super) key: Option<Key>,
}

/// A question that the vault waits for an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) op: Asked,
    pub(super) sealed_to: Option<Key>,
    pub(super) answer: Option<Said>,
}

impl Question {
    /// Of an answer only what the vault goes by.
    fn tidy(&mut self) {
        let Some(said) = &mut self.answer else { return };
        said.known = said.restored;
        if matches!(self.op, Asked::Prepare | Asked::Finalize) {
            said.live = Live::Unknown;
            said.proved = false;
        }
    }
}

/// [`Op`], as far as it is asked; with an order and a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Fence,
    Finalize,
    Prepare,
    Status,
    Verify,
}

impl Asked {
    pub(super) const fn of(op: Op) -> Option<Self> {
        match op {
            Op::Apply => None,
            Op::Fence => Some(Self::Fence),
            Op::Finalize => Some(Self::Finalize),
            Op::Prepare => Some(Self::Prepare),
            Op::Status => Some(Self::Status),
            Op::Verify => Some(Self::Verify),
        }
    }

    pub(super) const fn op(self) -> Op {
        match self {
            Self::Fence => Op::Fence,
            Self::Finalize => Op::Finalize,
            Self::Prepare => Op::Prepare,
            Self::Status => Op::Status,
            Self::Verify => Op::Verify,
        }
    }
}

/// Everything that can differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) vault: Vault,
    pub(super) question: Option<Question>,
    /// What was taken, in order.
    pub(super) network: Vec<Message>,
    /// The result of the present attempt that will be read. Of several runs any
    /// may be it: each takes the place of the one before, or is lost.
    pub(super) result: Option<Said>,
    pub(super) instance: Instance,
    /// Somebody else changed the credential; it may happen once.
    pub(super) meddled: bool,
    /// The plug-in's notes were lost; it may happen once, while no command is
    /// under way, for nothing would keep one of a rotation that was given up from
    /// acting. No candidate may be destroyed by it that is in force.
    pub(super) lost: bool,
}

impl World {
    pub(super) fn start() -> Self {
        Self {
            vault: Vault::start(),
            question: None,
            network: Vec::new(),
            result: None,
            instance: Instance::start(),
            meddled: false,
            lost: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.vault.state.is_over()
    }

    /// What may happen next, and how the world then is.
    pub(super) fn successors(&self, settings: Settings) -> Vec<(&'static str, Self)> {
        let mut next = self.vault_moves(settings);
        for message in &self.network {
            let op = message.op.op();
            for Run { instance, said } in self.instance.run(settings, op, message.rotation, message.sealed_to)
            {
                let world = Self { instance, ..self.clone() };
                if message.present && said.is_some() {
                    next.push(("delivered", Self { result: said, ..world.clone() }));
                }
                next.push(("delivered, the result is lost", world));
            }
        }
        if let Some(question) = self.question.filter(|question| question.answer.is_none()) {
            let (op, rotation) = (question.op.op(), self.vault.rotation);
            for Run { instance, said } in self.instance.run(settings, op, rotation, question.sealed_to) {
                let question = said.map(|said| Question { answer: Some(said), ..question });
                next.push(("answered", Self { instance, question, ..self.clone() }));
            }
        }
        if self.instance.key.is_some() {
            next.push(("the key on the instance expires", self.without_key()));
        }
        if !self.meddled && !self.lost {
            let instance = self.instance.meddled_with();
            next.push(("somebody else changes it", Self { instance, meddled: true, ..self.clone() }));
        }
        if !self.lost && !self.meddled {
            let instance = self.instance.without_notes();
            let network = Vec::new();
            let world = Self { instance, network, result: None, lost: true, ..self.clone() };
            next.push(("the plug-in's notes are lost", world));
        }
        if self.is_over() && self.vault.rotation == 1 {
            next.push(("a second rotation begins", self.begin_second()));
        }
        for (_, world) in &mut next {
            world.tidy(settings);
        }
        next
    }

    /// The key on the instance is gone: what is sealed to it opens no more.
    fn without_key(&self) -> Self {
        let mut world = Self { instance: self.instance.without_key(), ..self.clone() };
        let die = |key: &mut Option<Key>| *key = key.map(|_| Key::Dead);
        die(&mut world.vault.key);
        die(&mut world.vault.payload);
        world.network.iter_mut().for_each(|message| die(&mut message.sealed_to));
        if let Some(question) = &mut world.question {
            die(&mut question.sealed_to);
            if let Some(said) = &mut question.answer {
                die(&mut said.key);
            }
        }
        world
    }

    /// Another rotation takes the place of the first.
    pub(super) fn begin_second(&self) -> Self {
        let network = self.network.iter().map(|m| Message { present: false, ..*m }).collect();
        Self { vault: self.vault.second(), question: None, network, result: None, ..self.clone() }
    }

    /// One form for what makes no difference: results that nobody reads any
    /// more, commands that can do nothing any more, the order of either.
    fn tidy(&mut self, settings: Settings) {
        self.vault.tidy();
        if let Some(question) = &mut self.question {
            question.tidy();
        }
        if !matches!(self.vault.state, State::Sending | State::Sent) {
            self.result = None;
            self.network.iter_mut().for_each(|message| message.present = false);
        }
        let (instance, sealed) = (&self.instance, settings.kind.is_sealed());
        let rises = settings.mistake != Mistake::GateForgets;
        self.network.retain(|m| {
            let opens = !sealed || m.op != OpKind::Apply || m.sealed_to == Some(Key::Alive);
            let beyond = rises && instance.is_beyond(m.op.op(), m.rotation);
            m.present || (opens && !beyond)
        });
        self.network.sort_unstable();
        self.network.dedup();
    }

    /// Which invariant of section 5.7 does not hold.
    pub(super) fn violation(&self, before: &Self, settings: Settings) -> Option<&'static str> {
        let (vault, live) = (&self.vault, self.instance.live);
        let undisturbed = !self.meddled && !self.lost;
        if undisturbed && live & vault.held == 0 {
            return Some("1: no version that the vault holds logs on");
        }
        if !self.lost && live & vault.destroyed != 0 {
            return Some("3: a candidate that was destroyed came into force");
        }
        let destroyed = vault.destroyed & !before.vault.destroyed;
        if destroyed & live != 0 {
            return Some("3: a candidate was destroyed that is in force");
        }
        let moved = vault.current != before.vault.current;
        if moved && undisturbed && live & vault.current == 0 {
            return Some("2: a version became current that does not log on");
        }
        if moved && !vault.proved {
            return Some("2: a version became current without a proof");
        }
        if settings.kind == Kind::Key && undisturbed && live & vault.current == 0 {
            return Some("2: the current key does not log on");
        }
        let done = vault.state == State::Done && before.vault.state != State::Done;
        if done && undisturbed && live != vault.current && !vault.old_key_left {
            return Some("something else than the current version logs on when all is done");
        }
        None
    }
}
