//! The state machine of a rotation (cloud-assistant.md section 5.7) as one pure
//! function, and the row in which a rotation is kept.

use serde::{Deserialize, Serialize};

use super::{
    InstanceId, OsFamily, OsUser, RotationId, SecretId, SecretName, SecretSubType, Timestamp, VersionId,
};

/// Where a rotation stands. What each state means must be durable before it is entered.
///
/// ```text
///  Staged ──Send──▶ Sending ──Accepted──▶ Sent ──NewIsLive──▶ Applied ─Proved─▶ Verified
///    │                 │                   │  └──────(with proof)──────────────────▲  │
///    │ Unfit           └──OutcomeUnknown───┤                                       │  │ Commit
///    ▼                                     ▼                                       │  ▼
///  Failed ◀──Refused (final)──────────── Unknown ──NewIsLive───────────────────────┘ Committed
///    ▲                                   │ ▲ │ └──Send (same candidate)──▶ Sending    │
///    │                            Overdue│ │ │GiveUp              key: RemoveOld│     │password: Finish
///    │                                   ▼ │ ▼                                  ▼     ▼
///    └──────────Fenced (old)─────────── Stuck │ Fencing                  Finalizing ▶ Done
///                                        (Answered)
///  A password that travelled sealed takes RemoveOld as well, so that the key
///  pair on the instance goes. From Applied, Verified and Fencing, too, Overdue leads to Stuck; from Verified, when
///  it was long ago, Contradicted leads back to Unknown.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// The candidate is stored as the pending version; nothing was sent.
    Staged,
    /// The request and its ClientToken are fixed; it may have been sent.
    Sending,
    /// Cloud Assistant took it; its run is pending, going on, over, or will never be.
    Sent,
    /// Old or new may be in force; the instance has to be asked.
    Unknown,
    /// The instance said that the new credential is in force.
    Applied,
    /// That was proven.
    Verified,
    /// The labels have moved: the new version is current.
    Committed,
    /// The old SSH key is being removed.
    Finalizing,
    /// Only the new credential is in force.
    Done,
    /// Given up, if the instance confirms that it will never be applied.
    Fencing,
    /// Given up: the old credential is in force, the candidate is destroyed.
    Failed,
    /// No answer for long; both credentials are kept, and asking goes on.
    Stuck,
}

/// What moved a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The request is about to go out.
    Send,
    /// Cloud Assistant answered with an InvokeId.
    Accepted,
    /// It cannot be known whether the request took effect.
    OutcomeUnknown,
    /// The instance reports the new credential in force.
    NewIsLive {
        /// The report carries a proof that equals what the vault expects.
        proved: bool,
    },
    /// The instance guarantees that this candidate never will be in force.
    Refused,
    /// The instance cannot be rotated now, found out before anything was sent.
    Unfit,
    /// A check on the instance proved the new credential.
    Proved,
    /// A check on the instance contradicted the report.
    Contradicted,
    /// The labels move, in the transaction that stores this event's result.
    Commit,
    /// What is left on the instance is to be removed: the old key, or the key
    /// pair and the notes of a password that went sealed.
    RemoveOld,
    /// Nothing is left to do.
    Finish,
    /// The rotation is to be given up, if it still can be.
    GiveUp,
    /// The instance acknowledged the fence and said what is in force.
    Fenced {
        /// What is in force then.
        live: Live,
    },
    /// Nobody answered for an hour.
    Overdue,
    /// The instance answers again.
    Answered,
}

/// Which credential an instance says is in force (cloud-assistant.md section 5.5, `live`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Live {
    /// SSH keys: old and new.
    Both,
    /// The candidate of this rotation.
    New,
    /// The one from before.
    Old,
    /// Neither.
    Other,
    /// It cannot tell.
    Unknown,
}

/// An event for which the table has no arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rotation in state {state:?} cannot take {event:?}")]
pub struct IllegalEvent {
    /// The state it was in.
    pub state: State,
    /// The event.
    pub event: Event,
}

impl State {
    /// Every state, in the order of the specification.
    pub const ALL: [Self; 12] = [
        Self::Staged,
        Self::Sending,
        Self::Sent,
        Self::Unknown,
        Self::Applied,
        Self::Verified,
        Self::Committed,
        Self::Finalizing,
        Self::Done,
        Self::Fencing,
        Self::Failed,
        Self::Stuck,
    ];

    /// The state that follows `self` when `event` happens.
    ///
    /// A candidate is destroyed only in `Failed`, and no arrow leads there from
    /// a state in which it may still come into force: from `Staged` nothing was
    /// sent, `Refused` is the instance's own guarantee, and `Fenced` its
    /// acknowledgement that nothing of this rotation will act any more.
    ///
    /// # Errors
    ///
    /// [`IllegalEvent`] where the table has no such arrow; the caller keeps the
    /// state that it has.
    pub fn after(self, event: Event) -> Result<Self, IllegalEvent> {
        Ok(match (self, event) {
            (Self::Staged | Self::Unknown, Event::Send) => Self::Sending,
            (Self::Staged, Event::Unfit) => Self::Failed,
            (Self::Sending, Event::Accepted) => Self::Sent,
            (Self::Sending | Self::Sent, Event::OutcomeUnknown) => Self::Unknown,
            (Self::Sent | Self::Unknown, Event::NewIsLive { proved: true }) => Self::Verified,
            (Self::Sent | Self::Unknown, Event::NewIsLive { proved: false }) => Self::Applied,
            (Self::Sent, Event::Refused) => Self::Failed,
            (Self::Unknown | Self::Stuck, Event::GiveUp) => Self::Fencing,
            (Self::Unknown | Self::Applied | Self::Verified | Self::Fencing, Event::Overdue) => Self::Stuck,
            (Self::Applied, Event::Proved) => Self::Verified,
            (Self::Applied | Self::Verified, Event::Contradicted) => Self::Unknown,
            (Self::Verified, Event::Commit) => Self::Committed,
            (Self::Committed, Event::RemoveOld) => Self::Finalizing,
            (Self::Committed | Self::Finalizing, Event::Finish) => Self::Done,
            (Self::Fencing, Event::Fenced { live: Live::New | Live::Both }) => Self::Applied,
            (Self::Fencing, Event::Fenced { live: Live::Old | Live::Other }) => Self::Failed,
            (Self::Fencing, Event::Fenced { live: Live::Unknown }) => Self::Stuck,
            (Self::Stuck, Event::Answered) => Self::Unknown,
            (state, event) => return Err(IllegalEvent { state, event }),
        })
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    /// The word in audit records and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "Staged",
            Self::Sending => "Sending",
            Self::Sent => "Sent",
            Self::Unknown => "Unknown",
            Self::Applied => "Applied",
            Self::Verified => "Verified",
            Self::Committed => "Committed",
            Self::Finalizing => "Finalizing",
            Self::Done => "Done",
            Self::Fencing => "Fencing",
            Self::Failed => "Failed",
            Self::Stuck => "Stuck",
        }
    }
}

/// Why a rotation was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A campaign had come to it.
    Campaign,
    /// Somebody asked for it.
    Manual,
    /// It was due.
    Scheduled,
}

impl Trigger {
    /// The word in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
        }
    }
}

/// What went wrong last, kept with the rotation for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The step, such as `apply`.
    pub step: String,
    /// The code of the plug-in or of Cloud Assistant.
    pub code: String,
    /// What it means and what to do, in words; never a secret.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// When a rotation came into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// The state.
    pub state: State,
    /// When it was entered.
    pub at: Timestamp,
}

/// The public half of a key pair that the plug-in made for one rotation
/// (cloud-assistant.md section 5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKey {
    /// Its name: the first 16 hexadecimal digits of the SHA-256 of `public`.
    pub kid: String,
    /// `SubjectPublicKeyInfo`, DER in base64.
    pub public: String,
    /// From then on the instance does not have it any more.
    pub expires: Timestamp,
}

/// A credential sealed to a [`SealingKey`] (cloud-assistant.md section 5.4).
/// Only the instance can open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPayload {
    /// The key's name.
    pub kid: String,
    /// The content key under RSA-OAEP, base64url.
    pub ek: String,
    /// The nonce of AES-256-GCM, base64url.
    pub iv: String,
    /// Ciphertext and tag, base64url.
    pub ct: String,
}

/// Most steps, troubles and warnings that are kept with a rotation.
const MOST_NOTES: usize = 48;

const fn linux() -> OsFamily {
    OsFamily::Linux
}

/// A rotation as it is kept. The store holds it as one row under a MAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationRecord {
    /// The id.
    pub id: RotationId,
    /// The secret.
    pub secret: SecretId,
    /// Its name, for records and messages.
    pub secret_name: SecretName,
    /// The version that is to become current.
    pub version: VersionId,
    /// Password or key.
    pub kind: SecretSubType,
    /// The instance.
    pub instance: InstanceId,
    /// The user on the instance.
    pub user: OsUser,
    /// Counts the rotations of the secret (`gen`).
    pub generation: u64,
    /// Why it was begun.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: State,
    /// The request was, or may have been, handed to Cloud Assistant. Never cleared.
    pub apply_sent: bool,
    /// Counts the requests of the present step (`att`).
    pub attempt: u32,
    /// How often the present state was worked on without getting on.
    pub tries: u32,
    /// Counts the questions put to the instance, so that no two of them share
    /// a ClientToken and an old answer is never taken for a new one.
    pub asks: u32,
    /// What Cloud Assistant calls the run in progress.
    pub invoke_id: Option<String>,
    /// When the present state was entered.
    pub since: Timestamp,
    /// When the doubt began that `Unknown` and `Stuck` are in.
    pub doubt_since: Option<Timestamp>,
    /// Not to be worked on before.
    pub next_try: Timestamp,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
    /// All that went wrong, oldest first; repetitions of the same are one.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// Words of the plug-in on what it found besides, such as `changed_outside`
    /// (cloud-assistant.md section 5.5, `warn`).
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The states it went through, oldest first.
    #[serde(default)]
    pub steps: Vec<Entered>,
    /// The instance's operating system when it was begun.
    #[serde(default = "linux")]
    pub os: OsFamily,
    /// An earlier rotation of the secret was successful.
    #[serde(default)]
    pub rotated_before: bool,
    /// It was given up: once the instance answers, that is carried out.
    #[serde(default)]
    pub given_up: bool,
    /// The value was chosen by the caller.
    #[serde(default)]
    pub custom: bool,
    /// What the instance is told must travel sealed.
    #[serde(default)]
    pub secret_material: bool,
    /// The key on the instance to which it is sealed, once there is one.
    #[serde(default)]
    pub sealing_key: Option<SealingKey>,
    /// The sealed credential of the present attempt: a repetition under the same
    /// ClientToken has to be the same byte for byte.
    #[serde(default)]
    pub payload: Option<SealedPayload>,
    /// What the instance is to be told, sealed: the crypt(3) hash or the public
    /// key, the same in every attempt. Empty once it is over.
    pub material: Vec<u8>,
    /// What the instance must prove: the SHA-256 of that hash, or the key's
    /// fingerprint. With it the labels can move while the token is away.
    pub proof: String,
    /// The highest generation that the instance says it has seen.
    pub seen_generation: u64,
    /// Counts the changes of this row.
    pub revision: u64,
}

impl RotationRecord {
    /// Takes an event: the new state, and the marks that go with it.
    ///
    /// # Errors
    ///
    /// As [`State::after`]; then nothing has changed.
    pub fn take(&mut self, event: Event, now: Timestamp) -> Result<(), IllegalEvent> {
        let next = self.state.after(event)?;
        self.enter(next, now);
        if next == State::Sending {
            self.apply_sent = true;
            self.attempt = self.attempt.saturating_add(1);
            self.invoke_id = None;
        }
        match next {
            State::Unknown | State::Stuck | State::Fencing => {
                self.doubt_since.get_or_insert(now);
            }
            State::Applied | State::Verified => self.doubt_since = None,
            State::Done | State::Failed => {
                self.ended = Some(now);
                self.material.clear();
                self.sealing_key = None;
                self.payload = None;
            }
            State::Staged | State::Sending | State::Sent | State::Committed | State::Finalizing => {}
        }
        if event == Event::GiveUp {
            self.given_up = true;
        }
        if event == Event::Answered {
            // The hour of doubt begins anew with each answer.
            self.doubt_since = Some(now);
        }
        self.state = next;
        self.since = now;
        self.tries = 0;
        self.next_try = now;
        Ok(())
    }

    fn enter(&mut self, state: State, at: Timestamp) {
        if self.steps.len() >= MOST_NOTES {
            // How it began and how it ends is what is looked at.
            self.steps.remove(MOST_NOTES / 2);
        }
        self.steps.push(Entered { state, at });
    }

    /// Remembers what went wrong.
    pub fn note_trouble(&mut self, trouble: Trouble) {
        let same = |known: &Trouble| known.step == trouble.step && known.code == trouble.code;
        match self.troubles.last_mut().filter(|known| same(known)) {
            Some(known) => *known = trouble.clone(),
            None => {
                if self.troubles.len() >= MOST_NOTES {
                    self.troubles.remove(MOST_NOTES / 2);
                }
                self.troubles.push(trouble.clone());
            }
        }
        self.trouble = Some(trouble);
    }

    /// Remembers a word of the plug-in, once.
    pub fn note_warning(&mut self, word: &str) {
        if self.warnings.len() < MOST_NOTES && !self.warnings.iter().any(|known| known == word) {
            self.warnings.push(word.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 20] = [
        Event::Send,
        Event::Accepted,
        Event::OutcomeUnknown,
        Event::NewIsLive { proved: true },
        Event::NewIsLive { proved: false },
        Event::Refused,
        Event::Unfit,
        Event::Proved,
        Event::Contradicted,
        Event::Commit,
        Event::RemoveOld,
        Event::Finish,
        Event::GiveUp,
        Event::Fenced { live: Live::New },
        Event::Fenced { live: Live::Both },
        Event::Fenced { live: Live::Old },
        Event::Fenced { live: Live::Other },
        Event::Fenced { live: Live::Unknown },
        Event::Overdue,
        Event::Answered,
    ];

    #[test]
    fn failed_is_reached_only_unsent_refused_or_fenced() {
        for state in State::ALL {
            for event in EVENTS {
                if state.after(event) == Ok(State::Failed) {
                    assert!(
                        matches!(
                            (state, event),
                            (State::Staged, Event::Unfit)
                                | (State::Sent, Event::Refused)
                                | (State::Fencing, Event::Fenced { live: Live::Old | Live::Other })
                        ),
                        "{state:?} {event:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_labels_move_only_after_proof() {
        for state in State::ALL {
            let commits = state.after(Event::Commit) == Ok(State::Committed);
            assert_eq!(commits, state == State::Verified, "{state:?}");
        }
        for state in State::ALL {
            for event in EVENTS {
                if state.after(event) == Ok(State::Verified) {
                    assert!(matches!(event, Event::Proved | Event::NewIsLive { proved: true }));
                }
            }
        }
    }

    #[test]
    fn every_state_that_is_not_over_has_a_way_to_done() {
        for start in State::ALL {
            if start.is_over() {
                assert!(EVENTS.iter().all(|e| start.after(*e).is_err()), "{start:?} ends");
                continue;
            }
            let mut reached = vec![start];
            let mut at = 0;
            while let Some(state) = reached.get(at).copied() {
                for event in EVENTS {
                    if let Ok(next) = state.after(event)
                        && !reached.contains(&next)
                    {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            assert!(reached.contains(&State::Done), "{start:?}");
        }
    }
}
