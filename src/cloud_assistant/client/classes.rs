//! What to make of refusals, statuses and time: the tables of
//! cloud-assistant.md sections 1.7, 1.10, 1.11 and 5.9.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cloud_assistant::{Cause, CommandError};
use crate::rpc::client::CallError;

/// Whether a command may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It did not and will not.
    No,
    /// That cannot be said.
    Perhaps,
    /// It did, and may still be running.
    Yes,
}

/// Whether the script of a run that ended with this `ErrorCode` may have run
/// (section 1.7).
///
/// `ClientNotRunning` counts as "perhaps": that it excludes a late start is
/// unconfirmed, and a credential must not be dropped on such a word. So does
/// every code that is not in the table.
#[must_use]
pub fn whether_it_ran(error_code: &str) -> Ran {
    match error_code {
        "InstanceNotExists"
        | "CommandNotApplicable"
        | "AccountNotExists"
        | "DirectoryNotExists"
        | "BadCronExpression"
        | "ClientNeedUpgrade"
        | "SecurityGroupRuleDenied" => Ran::No,
        "ExecutionTimeout" | "ExitCodeNonzero" => Ran::Yes,
        _ => Ran::Perhaps,
    }
}

/// How long to wait before asking after a run for the `polls`-th time, counted
/// from 0 (section 5.9): 1, 1, 2, 2, 3, 5, 5, ... in units of the pace.
#[must_use]
pub const fn poll_pause(polls: u32) -> u32 {
    match polls {
        0 | 1 => 1,
        2 | 3 => 2,
        4 => 3,
        _ => 5,
    }
}

/// How long after its acceptance a run with this time limit is given up
/// (section 5.9): a minute for delivery and a minute of slack.
#[must_use]
pub const fn poll_deadline(timeout: Duration) -> Duration {
    timeout.saturating_add(Duration::from_secs(120))
}

/// Throttled actions become usable again in the next minute (section 1.11).
#[must_use]
pub fn until_next_minute(now: SystemTime) -> Duration {
    const MINUTE: u128 = 60_000_000_000;
    let nanoseconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let rest = u64::try_from(MINUTE - nanoseconds % MINUTE).unwrap_or_default();
    Duration::from_nanos(rest)
}

/// What to do about a call that failed (section 1.10).
pub(super) fn classify(action: &'static str, source: CallError, now: SystemTime) -> CommandError {
    let class = match &source {
        CallError::Transport { .. } => Class::Again { after: None },
        CallError::Unsendable { .. } => Class::Definitive("Unsendable".to_owned()),
        // Not the service itself: some proxy. Repeating is safe, concluding is not.
        CallError::Malformed { .. } => Class::Again { after: None },
        CallError::Refused { status, code, retry_after_ms, .. } => {
            let told = retry_after_ms.map(Duration::from_millis);
            if *status == 429 || code.starts_with("Throttling") || code == "Rejected.Throttling" {
                Class::Again { after: Some(until_next_minute(now).max(told.unwrap_or_default())) }
            } else if code == "IdempotentParameterMismatch" {
                Class::Unknown(code.clone())
            } else if !(400..500).contains(status)
                || code.starts_with("ServiceUnavailable")
                || code.starts_with("InternalError")
                || code == "IdempotentProcessing"
            {
                Class::Again { after: told }
            } else {
                Class::Definitive(code.clone())
            }
        }
    };
    let cause = Box::new(Cause::Call { action, source });
    match class {
        Class::Again { after } => CommandError::Again { after, cause },
        Class::Definitive(code) => CommandError::Definitive { code, cause },
        Class::Unknown(code) => CommandError::Unknown { code, cause },
    }
}

enum Class {
    Again { after: Option<Duration> },
    Definitive(String),
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::client::TransportError;

    fn class_of(status: u16, code: &str, retry_after_ms: Option<u64>) -> CommandError {
        let refused = CallError::Refused {
            status,
            code: code.to_owned(),
            message: String::new(),
            request_id: String::new(),
            retry_after_ms,
        };
        classify("RunCommand", refused, UNIX_EPOCH + Duration::from_secs(50))
    }

    #[test]
    fn refusals_fall_into_the_classes_of_the_contract() {
        for (status, code) in [
            (500, "InternalError"),
            (500, "InternalError.Dispatch"),
            (503, "ServiceUnavailable"),
            (502, "Anything"),
            (403, "IdempotentProcessing"),
            (400, "ServiceUnavailable"),
        ] {
            assert!(
                matches!(class_of(status, code, None), CommandError::Again { after: None, .. }),
                "{code}"
            );
        }
        for (status, code) in [
            (404, "InvalidInstance.NotFound"),
            (403, "Forbidden.RAM"),
            (400, "InvalidInstance.NotMatch"),
            (400, "SignatureDoesNotMatch"),
            (403, "Invocation.ExceedQuota"),
        ] {
            let CommandError::Definitive { code: told, .. } = class_of(status, code, None) else {
                panic!("{code}");
            };
            assert_eq!(told, code);
        }
        assert!(matches!(class_of(403, "IdempotentParameterMismatch", None), CommandError::Unknown { .. }));
    }

    #[test]
    fn a_throttled_action_waits_for_the_next_minute_or_longer() {
        for (status, code) in [(400, "Throttling"), (400, "Throttling.User"), (429, "Rejected.Throttling")] {
            for (told, seconds) in [(None, 10), (Some(1_000), 10), (Some(30_000), 30)] {
                let CommandError::Again { after, .. } = class_of(status, code, told) else {
                    panic!("{code}")
                };
                assert_eq!(after, Some(Duration::from_secs(seconds)));
            }
        }
    }

    #[test]
    fn without_an_answer_the_same_request_is_repeated() {
        let late = TransportError::Deadline { limit: Duration::from_secs(1) };
        for error in [
            CallError::Transport { sent: true, source: late },
            CallError::Malformed { status: 200, what: "" },
            CallError::Malformed { status: 404, what: "" },
        ] {
            assert!(matches!(classify("X", error, UNIX_EPOCH), CommandError::Again { after: None, .. }));
        }
    }

    #[test]
    fn whatever_does_not_exclude_a_run_counts_as_a_possible_one() {
        for (code, ran) in [
            ("", Ran::Perhaps),
            ("InstanceNotExists", Ran::No),
            ("InstanceReleased", Ran::Perhaps),
            ("InstanceNotRunning", Ran::Perhaps),
            ("CommandNotApplicable", Ran::No),
            ("AccountNotExists", Ran::No),
            ("DirectoryNotExists", Ran::No),
            ("BadCronExpression", Ran::No),
            ("ClientNotRunning", Ran::Perhaps),
            ("ClientNotResponse", Ran::Perhaps),
            ("ClientIsUpgrading", Ran::Perhaps),
            ("ClientNeedUpgrade", Ran::No),
            ("DeliveryTimeout", Ran::Perhaps),
            ("ExecutionTimeout", Ran::Yes),
            ("ExecutionException", Ran::Perhaps),
            ("ExecutionInterrupted", Ran::Perhaps),
            ("ExitCodeNonzero", Ran::Yes),
            ("SecurityGroupRuleDenied", Ran::No),
            ("SomethingNew", Ran::Perhaps),
        ] {
            assert_eq!(whether_it_ran(code), ran, "{code}");
        }
    }

    #[test]
    fn polls_thin_out() {
        let pauses: Vec<_> = (0..8).map(poll_pause).collect();
        assert_eq!(pauses, [1, 1, 2, 2, 3, 5, 5, 5]);
        assert_eq!(poll_deadline(Duration::from_secs(60)), Duration::from_secs(180));
    }

    #[test]
    fn the_next_minute_is_at_most_a_minute_away() {
        for (seconds, left) in [(0, 60), (59, 1), (60, 60), (61, 59)] {
            assert_eq!(
                until_next_minute(UNIX_EPOCH + Duration::from_secs(seconds)),
                Duration::from_secs(left)
            );
        }
    }
}
