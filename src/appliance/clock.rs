//! The clock of the machine.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Clock, Timestamp};
use crate::rpc::client::Now;

/// The time of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is no clock; requests are refused as expired then.
        let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The same for clients that sign.
pub(super) fn for_clients() -> Now {
    Arc::new(now)
}
