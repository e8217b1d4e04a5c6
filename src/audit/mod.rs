//! What was decided and done, on record before anybody hears of it.
//!
//! An [`Event`] is built and serialised by the task that serves a request, then
//! handed to the [`Journal`], which numbers it, chains it to the record before
//! and returns [`Recorded`] once it is durable. Without that proof no answer
//! leaves. Whatever goes wrong with the file ends in refusals, within
//! milliseconds and for a stated reason; there is no way to go on unrecorded.
//!
//! The records lie in segment files of a directory that one process writes
//! ([`create`] makes it, [`Journal::open`] scans and locks it), and that anyone
//! may read ([`Tail`]) or check ([`verify`]). `docs/audit.md` describes the
//! format and what it proves; `docs/audit-verify.py` is a second verifier that
//! shares no code with this one.
//!
//! Nothing here can hold plaintext: events are an allow-list of fields, and
//! [`RequestParameters`] writes in clear only what is declared harmless.

mod access;
mod additional;
mod error;
mod event;
mod frames;
mod journal;
mod parameters;
mod record;
mod segment;
mod tail;
mod text;
mod torn;
mod verify;
mod writer;

pub use access::{Access, Recorder};
pub use additional::{
    AdditionalEventData, Authorization, AuthorizationDecision, Check, CloudAssistant, ItemOutcome, Phase,
    Rotation, RotationPhase, RotationTrigger, Tls,
};
pub use error::AuditError;
pub use event::{
    Encoded, Event, EventAccess, EventError, EventId, EventType, INTERNAL, IdentityType, SessionContext,
    UserIdentity,
};
pub use frames::Fault;
pub use journal::{Append, Journal, Opened, Recorded, Settings, Stats, Status};
pub use parameters::{MASK, RequestParameters};
pub use record::{Hash, Head};
pub use segment::create;
pub use tail::{Line, Tail};
pub use torn::TailRecovered;
pub use verify::{Missing, Outcome, Report, VerifyOptions, verify};
