//! Time as the vault uses it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that many milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment moved by whole seconds, stopping at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Seconds from `earlier` to this moment, rounded towards zero; negative when it lies after it.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// The form of `eventTime` in events, eight hours ahead of UTC:
    /// `20180816T135935.689+0800` (kms-secrets.md section 6.7).
    #[must_use]
    pub fn in_event(self) -> String {
        let seconds = self.0.div_euclid(1000).saturating_add(8 * 3_600);
        let date =
            time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}+0800",
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second(),
            self.0.rem_euclid(1000)
        )
    }

    /// The moment written as `yyyy-MM-ddTHH:mm:ssZ`
    /// (kms-secrets.md section 2.4, `Timestamp`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let date = time::PrimitiveDateTime::parse(text, format).ok()?;
        date.assume_utc().unix_timestamp().checked_mul(1000).map(Self)
    }
}

/// `yyyy-MM-ddTHH:mm:ssZ`, the form of all dates in answers (kms-secrets.md section 1).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = time::OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second()
        )
    }
}

/// Where the time comes from, so that tests can move it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at this moment.
    #[must_use]
    pub const fn at(moment: Timestamp) -> Self {
        Self(AtomicI64::new(moment.0))
    }

    /// Moves it forward, or back with a negative number.
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_event_has_milliseconds_and_an_offset() {
        let moment = Timestamp::from_millis(1_534_399_175_689);
        assert_eq!(moment.to_string(), "2018-08-16T05:59:35Z");
        assert_eq!(moment.in_event(), "20180816T135935.689+0800");
    }

    #[test]
    fn a_printed_time_reads_back_as_itself() {
        for text in ["2024-05-06T07:08:09Z", "1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z"] {
            assert_eq!(Timestamp::parse(text).map(|t| t.to_string()).as_deref(), Some(text));
        }
        for bad in ["2024-05-06 07:08:09", "2024-05-06T07:08:09+08:00", "2024-13-06T07:08:09Z", ""] {
            assert!(Timestamp::parse(bad).is_none(), "{bad}");
        }
    }
}
