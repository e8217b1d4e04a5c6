//! Keeps callers from filling the journal with calls that are refused before
//! anything is decided: so many records for each source, the rest is counted
//! (audit.md section 1.1).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::model::Timestamp;

/// Sources that are told apart; the others share one account.
const SOURCES: usize = 10_000;

#[derive(Debug)]
struct Account {
    left: u32,
    since: Timestamp,
    suppressed: u64,
}

/// The records that each source may still cause.
#[derive(Debug)]
pub(super) struct Ration<K> {
    /// How many at once.
    burst: u32,
    /// How many more in a second.
    per_second: u32,
    accounts: Mutex<HashMap<Option<K>, Account>>,
}

impl<K: Eq + Hash> Ration<K> {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, accounts: Mutex::default() }
    }

    /// Whether one more call of this source gets a record of its own: then the
    /// number of those that had none since its last one.
    pub(super) fn admit(&self, source: K, now: Timestamp) -> Option<u64> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = Some(source);
        if accounts.len() >= SOURCES && !accounts.contains_key(&source) {
            accounts.retain(|_, account| account.suppressed > 0 || self.refilled(account, now) < self.burst);
            if accounts.len() >= SOURCES {
                source = None;
            }
        }
        let account =
            accounts.entry(source).or_insert(Account { left: self.burst, since: now, suppressed: 0 });
        let left = self.refilled(account, now);
        if left == self.burst || left > account.left || account.since > now {
            account.since = now;
        }
        account.left = left;
        if account.left == 0 {
            account.suppressed = account.suppressed.saturating_add(1);
            return None;
        }
        account.left -= 1;
        Some(std::mem::take(&mut account.suppressed))
    }

    fn refilled(&self, account: &Account, now: Timestamp) -> u32 {
        let millis = now.millis().saturating_sub(account.since.millis()).clamp(0, 3_600_000);
        let more = u32::try_from(millis * i64::from(self.per_second) / 1_000).unwrap_or(self.burst);
        account.left.saturating_add(more).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = 20;

    #[test]
    fn what_goes_beyond_the_burst_is_counted_and_told_later() {
        let ration = Ration::new(BURST, 2);
        let now = Timestamp::from_millis(1_000_000);
        for _ in 0..BURST {
            assert_eq!(ration.admit("one", now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(ration.admit("one", now), None);
        }
        assert_eq!(ration.admit("another", now), Some(0));
        assert_eq!(ration.admit("one", now.plus_seconds(1)), Some(7));
        assert_eq!(ration.admit("one", now.plus_seconds(1)), Some(0));
        assert_eq!(ration.admit("one", now.plus_seconds(1)), None);
    }

    #[test]
    fn calls_in_quick_succession_do_not_keep_the_ration_from_growing() {
        let ration = Ration::new(1, 2);
        let admitted = (0..100_u32)
            .filter(|n| ration.admit("one", Timestamp::from_millis(i64::from(*n) * 100)).is_some())
            .count();
        assert!((19..=21).contains(&admitted), "{admitted}");
    }

    #[test]
    fn sources_beyond_those_that_are_told_apart_share_one_account() {
        let ration = Ration::new(1, 1);
        let now = Timestamp::from_millis(1_000_000);
        let admitted = (0..SOURCES + 50).filter(|n| ration.admit(*n, now).is_some()).count();
        assert_eq!(admitted, SOURCES + 1);
        assert!(ration.accounts.lock().unwrap().len() <= SOURCES + 1);
        // Those that have their whole ration again make room.
        assert!(ration.admit(SOURCES + 50, now.plus_seconds(10)).is_some());
    }
}
