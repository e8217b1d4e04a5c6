//! Runs commands on instances through Cloud Assistant (ECS API 2014-05-26,
//! cloud-assistant.md section 1), and speaks with the rotation plug-in there
//! (section 5).
//!
//! Nothing promises that a command runs exactly once: it may run never, once
//! or rarely twice, late, or longer than its limit, and its result may be lost
//! for good (section 1.12). [`Commander`] therefore says only what is certain,
//! and leaves it to the rotation to ask the instance again.
//!
//! What is sent and what comes back is kept by Cloud Assistant for weeks and
//! shown to whoever may look (section 1.5): no secret value may stand in a
//! command, in its parameters, or in its output.

pub mod client;
pub mod install;
pub mod plugin;

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::model::{InstanceId, OsFamily};
use crate::rpc::client::CallError;

/// What a method of [`Commander`] gives: boxed, so that the trait can be an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CommandError>> + Send + 'a>>;

/// Runs the plug-in on an instance, and asks after a run.
///
/// Each method makes one attempt; repeating, waiting and remembering are the
/// caller's, because only the caller keeps state over a restart.
pub trait Commander: Send + Sync + fmt::Debug {
    /// Has the plug-in run with this request.
    ///
    /// Repeating a call with the same request, client token and timeout within
    /// ten minutes does not start a second run (section 1.11).
    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> Answer<'a, InvokeId>;

    /// What became of a run. `asked` is what was sent: a report for anything
    /// else is not believed.
    fn outcome<'a>(
        &'a self,
        invoke_id: &'a InvokeId,
        instance: &'a InstanceId,
        asked: &'a plugin::Asked,
    ) -> Answer<'a, Outcome>;

    /// What the cloud knows of an instance; `None` when there is no such one.
    fn instance<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Option<InstanceFacts>>;
}

/// One run of the plug-in.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Where.
    pub instance: &'a InstanceId,
    /// What runs there.
    pub os: OsFamily,
    /// What the plug-in is told.
    pub request: &'a plugin::Request,
    /// Makes repetitions of this call one: see [`plugin::client_token`].
    pub client_token: &'a str,
    /// When Cloud Assistant ends the run; at least 10 s, in whole seconds.
    pub timeout: Duration,
}

/// What Cloud Assistant calls a run: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvokeId(String);

impl InvokeId {
    /// The id, as answered by Cloud Assistant or as stored.
    ///
    /// `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, or never will be.
    Finished(Box<Finished>),
    /// It goes on, or its result is not there yet; ask again.
    NotYet,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What the plug-in said, or why there is nothing to believe.
    pub report: Result<plugin::Report, plugin::NoReport>,
    /// Whether the plug-in may have run, or may still (section 1.7).
    pub possibly_ran: bool,
    /// Cloud Assistant's own words on the run.
    pub trouble: RunTrouble,
}

/// Cloud Assistant's own words on a run that is over; empty after a success.
/// Not to be decided upon: for messages and records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTrouble {
    /// `InvocationStatus`, such as `Failed`.
    pub status: String,
    /// `ErrorCode`, such as `ExitCodeNonzero`.
    pub code: String,
    /// `ErrorInfo`, a sentence.
    pub info: String,
    /// Exit code of the script, if it ended by itself.
    pub exit_code: Option<i64>,
}

/// What the vault reads of an instance (section 1.9, `DescribeInstances`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFacts {
    /// Its id.
    pub id: InstanceId,
    /// Its name; for messages.
    pub name: String,
    /// `Status` as the cloud spells it: `Pending`, `Running`, `Starting`, `Stopping`, `Stopped`.
    pub status: String,
    /// The operating system, if it is one that can be rotated.
    pub os: Option<OsFamily>,
    /// Its long name, such as `Alibaba Cloud Linux 3.2104 LTS 64 bit`.
    pub os_name: String,
    /// All its addresses: private ones first, then public ones.
    pub addresses: Vec<IpAddr>,
    /// Why operations are locked (`financial`, `security`, ...); empty usually.
    pub locks: Vec<String>,
}

impl InstanceFacts {
    /// Whether commands can be delivered to it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == "Running"
    }
}

/// Why a call of Cloud Assistant gave no answer, by what to do about it
/// (cloud-assistant.md section 1.10).
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Send the same request again, with the same client token.
    #[error("Cloud Assistant gave no answer; the same request may be repeated")]
    Again {
        /// Not before this time has passed, where the service or its rule for
        /// throttled actions says so; otherwise at the caller's pace.
        after: Option<Duration>,
        /// What happened.
        #[source]
        cause: Box<Cause>,
    },
    /// Refused for good; nothing was done.
    #[error("Cloud Assistant refused with {code}")]
    Definitive {
        /// The service's code, such as `InvalidInstance.NotFound`.
        code: String,
        /// What happened.
        #[source]
        cause: Box<Cause>,
    },
    /// Neither can be said: ask the instance.
    #[error("it is unknown what Cloud Assistant did: {code}")]
    Unknown {
        /// The service's code, such as `IdempotentParameterMismatch`.
        code: String,
        /// What happened.
        #[source]
        cause: Box<Cause>,
    },
}

/// What happened to a call.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The answer lacks what it should hold.
    #[error("the answer to {action} is malformed: {what}")]
    Answer {
        /// The action called.
        action: &'static str,
        /// What is wrong, as a clause.
        what: &'static str,
    },
    /// There was none.
    #[error("the call of {action} failed")]
    Call {
        /// The action called.
        action: &'static str,
        /// Why.
        #[source]
        source: CallError,
    },
    /// The request cannot be written in the protocol of the plug-in.
    #[error("the request to the plug-in cannot be written")]
    Request {
        /// Why.
        #[source]
        source: plugin::RequestError,
    },
}
