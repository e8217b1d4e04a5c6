//! When a rotation is due, and how long to wait before trying again.

use std::time::Duration;

use crate::model::{RotationInterval, SecretId, Timestamp};

/// After a failed scheduled rotation: an hour, four hours, then the next
/// regular date (cloud-assistant.md section 5.9).
const RETRY_SECONDS: [i64; 2] = [3_600, 4 * 3_600];

/// When a secret rotates next after a rotation that ended well at `now`: one
/// interval later, less up to a tenth of it, so that secrets made together do
/// not stay together. The share is fixed for a secret, so that the date is the
/// same however often it is computed.
#[must_use]
pub fn next_after_success(id: &SecretId, interval: RotationInterval, now: Timestamp) -> Timestamp {
    let seconds = i64::from(interval.seconds());
    let digits = id.as_str().get(..4).unwrap_or("0");
    let share = i64::from(u16::from_str_radix(digits, 16).unwrap_or(0));
    now.plus_seconds(seconds - seconds * share / (10 * 65_536))
}

/// When a secret rotates next after its `failures`th failed scheduled rotation in a row.
#[must_use]
pub fn next_after_failure(
    id: &SecretId,
    interval: RotationInterval,
    failures: u32,
    now: Timestamp,
) -> Timestamp {
    let lane = usize::try_from(failures.saturating_sub(1)).ok().and_then(|n| RETRY_SECONDS.get(n));
    match lane {
        Some(seconds) => now.plus_seconds(*seconds),
        None => next_after_success(id, interval, now),
    }
}

/// How long to wait before the `tries`th repetition: 10, 20, 40 … seconds, at
/// most five minutes; at once for the first.
#[must_use]
pub fn pause(tries: u32) -> Duration {
    match tries {
        0 => Duration::ZERO,
        n => Duration::from_secs((10_u64 << u64::from((n - 1).min(5))).min(300)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_date_lies_within_the_last_tenth_of_the_interval() {
        let interval = RotationInterval::parse("10d").unwrap();
        let now = Timestamp::from_millis(0);
        let mut dates = std::collections::HashSet::new();
        for byte in 0..=255_u8 {
            let id = SecretId::from_random(&[byte; 16]);
            let next = next_after_success(&id, interval, now);
            assert_eq!(next, next_after_success(&id, interval, now));
            let seconds = next.seconds_since(now);
            assert!((777_600..=864_000).contains(&seconds), "{seconds}");
            dates.insert(seconds);
        }
        assert!(dates.len() > 200);
    }

    #[test]
    fn a_failed_rotation_is_retried_and_never_forgotten() {
        let interval = RotationInterval::parse("30d").unwrap();
        let (id, now) = (SecretId::from_random(&[0; 16]), Timestamp::from_millis(0));
        let after = |n| next_after_failure(&id, interval, n, now).seconds_since(now);
        assert_eq!([after(1), after(2)], [3_600, 14_400]);
        assert_eq!(after(3), 30 * 86_400);
        assert_eq!(after(u32::MAX), 30 * 86_400);
    }

    #[test]
    fn pauses_grow_and_stay_within_five_minutes() {
        let seconds: Vec<u64> = (0..8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(u32::MAX).as_secs(), 300);
    }
}
