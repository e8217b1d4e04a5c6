//! The nonces of accepted requests, so that none is accepted twice.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::CLOCK_WINDOW_SECONDS;

const SHARDS: u64 = 16;
const BUCKET_SECONDS: i64 = 900;

/// Remembers each nonce for as long as its request's time would be accepted.
/// Kept are 64-bit keyed hashes, in buckets by the quarter of an hour of the
/// request: few enough to look into all of them, and what is too old is dropped
/// a bucket at a time.
#[derive(Debug)]
pub(super) struct Nonces {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<i64, HashSet<u64>>>>,
}

impl Nonces {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { hasher: RandomState::new(), shards }
    }

    /// Takes the nonce of a request signed at `signed` (seconds since the
    /// epoch); `false` when it was taken before.
    pub(super) fn take(&self, access_key_id: &str, nonce: &str, signed: i64, now: i64) -> bool {
        let hash = self.hasher.hash_one((access_key_id, nonce));
        let index = usize::try_from(hash % SHARDS).unwrap_or(0);
        let Some(shard) = self.shards.get(index) else { return false };
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let quarter = signed.div_euclid(BUCKET_SECONDS);
        if !buckets.contains_key(&quarter) {
            let oldest = (now - CLOCK_WINDOW_SECONDS).div_euclid(BUCKET_SECONDS);
            buckets.retain(|quarter, _| *quarter >= oldest);
        }
        // The same nonce under another time is the same nonce.
        if buckets.values().any(|bucket| bucket.contains(&hash)) {
            return false;
        }
        buckets.entry(quarter).or_default().insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_taken_once_for_each_key_whatever_time_it_claims() {
        let nonces = Nonces::new();
        assert!(nonces.take("a", "n", 1_000, 1_000));
        assert!(!nonces.take("a", "n", 1_000, 1_000));
        assert!(!nonces.take("a", "n", 1_300, 1_000));
        assert!(nonces.take("b", "n", 1_000, 1_000));
    }

    #[test]
    fn what_is_too_old_to_be_accepted_is_forgotten() {
        let nonces = Nonces::new();
        for minute in 0..120 {
            for nonce in 0..50 {
                let now = minute * 60;
                assert!(nonces.take("a", &format!("{minute}-{nonce}"), now, now));
            }
        }
        let kept: usize =
            nonces.shards.iter().map(|s| s.lock().unwrap().values().map(HashSet::len).sum::<usize>()).sum();
        assert!(kept <= 30 * 50, "{kept} nonces kept");
    }
}
