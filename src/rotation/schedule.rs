//! When a rotation is due, and how long to wait before trying again.

use std::time::Duration;

use crate::model::{RotationInterval, Schedule, SecretId, Timestamp};

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

/// What could not even be begun is tried again so much later.
const NOT_BEGUN_SECONDS: i64 = 3_600;

/// Sets the next date of a secret whose rotation was due and could not be
/// begun. That is no failure, and the secret is as overdue as before.
pub fn put_off(schedule: &mut Schedule, now: Timestamp) {
    if schedule.next.is_some_and(|next| next <= now) {
        schedule.next = Some(now.plus_seconds(NOT_BEGUN_SECONDS));
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
    use crate::model::{AccountId, AutomaticRotation, RegionId, SecretName, SecretRecord, SecretType};

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

    fn record(interval: &str, last: Option<i64>) -> SecretRecord {
        let at = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let interval = RotationInterval::parse(interval).unwrap();
        let last = last.map(at);
        SecretRecord {
            id: SecretId::from_random(&[7; 16]),
            account: AccountId::parse("1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
            name: SecretName::parse("a").unwrap(),
            kind: SecretType::Ecs,
            description: String::new(),
            encryption_key: None,
            created: at(0),
            updated: at(0),
            planned_delete: None,
            ecs: None,
            schedule: Schedule {
                automatic: AutomaticRotation::Enabled,
                interval: Some(interval),
                next: Some(last.unwrap_or(at(0)).plus_seconds(interval.seconds().into())),
                last,
                ..Schedule::OFF
            },
            generation: 0,
            versions: Vec::new(),
            tags: Vec::new(),
            dkms_instance: String::new(),
            policy: None,
            revision: 1,
        }
    }

    #[test]
    fn a_secret_is_overdue_from_its_date_on_whatever_retries_do_to_the_date() {
        let at = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let mut secret = record("6h", None);
        assert_eq!(secret.overdue_seconds(at(6)), None);
        assert_eq!(secret.overdue_seconds(at(7)), Some(3_600));
        // Could not be begun, twice.
        put_off(&mut secret.schedule, at(7));
        assert_eq!(secret.schedule.next, Some(at(8)));
        put_off(&mut secret.schedule, at(8));
        assert_eq!(secret.schedule.next, Some(at(9)));
        assert_eq!(secret.overdue_seconds(at(8)), Some(2 * 3_600));
        // Begun and failed: the next date is that of the lane.
        secret.schedule.automatic = AutomaticRotation::Invalid;
        secret.schedule.next = Some(at(13));
        assert_eq!(secret.overdue_seconds(at(10)), Some(4 * 3_600));
        // A good end clears it.
        secret.schedule.automatic = AutomaticRotation::Enabled;
        (secret.schedule.last, secret.schedule.next) = (Some(at(10)), Some(at(16)));
        assert_eq!(secret.overdue_seconds(at(15)), None);
        assert_eq!(secret.overdue_seconds(at(17)), Some(3_600));
    }

    #[test]
    fn what_is_not_to_rotate_is_never_overdue_and_is_not_put_off() {
        let at = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let mut off = record("6h", None);
        off.schedule.automatic = AutomaticRotation::Disabled;
        assert_eq!(off.overdue_seconds(at(100)), None);
        let mut going = record("6h", None);
        going.planned_delete = Some(at(200));
        assert_eq!(going.overdue_seconds(at(100)), None);
        let mut early = record("6h", None);
        let before = early.schedule.clone();
        put_off(&mut early.schedule, at(5));
        assert_eq!(early.schedule, before);
    }

    #[test]
    fn a_clock_that_jumps_makes_no_date_overflow() {
        let mut secret = record("365d", Some(1));
        let year = RotationInterval::parse("365d").unwrap();
        for (now, overdue) in [(i64::MIN, false), (-1, false), (0, false), (i64::MAX, true)] {
            let now = Timestamp::from_millis(now);
            assert_eq!(secret.overdue_seconds(now).is_some(), overdue, "{now:?}");
            put_off(&mut secret.schedule, now);
            assert!(next_after_failure(&secret.id, year, 9, now) >= now);
        }
    }

    #[test]
    fn pauses_grow_and_stay_within_five_minutes() {
        let seconds: Vec<u64> = (0..8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(u32::MAX).as_secs(), 300);
    }
}
