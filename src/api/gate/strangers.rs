//! Keeps callers whom nobody knows from filling the journal: so many records
//! for each address, the rest is counted (audit.md section 1.1).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::Timestamp;

/// Records that an address may cause at once, and how many a second later.
const BURST: u32 = 2_000;
const PER_SECOND: i64 = 50;
/// Addresses that are told apart; the others share one account.
const ADDRESSES: usize = 10_000;

#[derive(Debug)]
struct Account {
    left: u32,
    since: Timestamp,
    suppressed: u64,
}

/// The accounts of all addresses.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    accounts: Mutex<HashMap<Option<IpAddr>, Account>>,
}

impl Strangers {
    /// Whether one more failed call of this address gets a record of its own:
    /// then the number of those that had none since its last one.
    pub(super) fn admit(&self, address: IpAddr, now: Timestamp) -> Option<u64> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ADDRESSES && !accounts.contains_key(&Some(address)) {
            accounts.retain(|_, account| account.suppressed > 0 || account.refilled(now) < BURST);
        }
        let known = accounts.len() < ADDRESSES || accounts.contains_key(&Some(address));
        let account = accounts.entry(known.then_some(address)).or_insert(Account {
            left: BURST,
            since: now,
            suppressed: 0,
        });
        account.left = account.refilled(now);
        account.since = now;
        if account.left == 0 {
            account.suppressed = account.suppressed.saturating_add(1);
            return None;
        }
        account.left -= 1;
        Some(std::mem::take(&mut account.suppressed))
    }
}

impl Account {
    fn refilled(&self, now: Timestamp) -> u32 {
        let millis = now.millis().saturating_sub(self.since.millis()).clamp(0, 3_600_000);
        let more = u32::try_from(millis * PER_SECOND / 1_000).unwrap_or(BURST);
        self.left.saturating_add(more).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_the_burst_is_counted_and_told_later() {
        let strangers = Strangers::default();
        let (address, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let now = Timestamp::from_millis(1_000_000);
        for _ in 0..BURST {
            assert_eq!(strangers.admit(address, now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(strangers.admit(address, now), None);
        }
        assert_eq!(strangers.admit(other, now), Some(0));
        assert_eq!(strangers.admit(address, now.plus_seconds(1)), Some(7));
        assert_eq!(strangers.admit(address, now.plus_seconds(1)), Some(0));
    }
}
