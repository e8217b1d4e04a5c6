//! Data keys that stay in memory for a while, by configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use quick_cache::sync::Cache;
use strongroom_hsm::SecretBytes;

use crate::model::Recipient;

#[derive(Debug)]
struct Kept {
    key: SecretBytes,
    until: Instant,
}

/// Keeps unwrapped data keys, never values, for at most a time to live and in
/// a bounded number (hsm.md section 8). Permission and audit are decided before
/// it is asked. [`clear`](Self::clear) empties it when a key or secret goes or
/// the token is lost.
#[derive(Debug)]
pub struct DataKeyCache {
    kept: Cache<[u8; 32], Arc<Kept>>,
    time_to_live: Duration,
}

impl DataKeyCache {
    /// A cache of at most `entries` keys, each kept for `time_to_live`.
    #[must_use]
    pub fn new(entries: usize, time_to_live: Duration) -> Self {
        Self { kept: Cache::new(entries), time_to_live }
    }

    pub(super) fn key(&self, recipient: &Recipient) -> Option<KeptKey> {
        let kept = self.kept.get(&name(recipient))?;
        (kept.until > Instant::now()).then_some(KeptKey(kept))
    }

    pub(super) fn keep(&self, recipient: &Recipient, key: SecretBytes) {
        // The clock that never steps: setting the time does not keep keys longer.
        if let Some(until) = Instant::now().checked_add(self.time_to_live) {
            self.kept.insert(name(recipient), Arc::new(Kept { key, until }));
        }
    }

    /// Forgets every key at once; the bytes are wiped.
    pub fn clear(&self) {
        self.kept.clear();
    }

    /// Forgets the keys whose time is over. To be called now and then, so that
    /// an idle vault does not keep what nobody asks for.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.kept.retain(|_, kept| kept.until > now);
    }
}

/// A key found in the cache; it reads like the [`SecretBytes`] it holds.
pub(super) struct KeptKey(Arc<Kept>);

impl std::ops::Deref for KeptKey {
    type Target = SecretBytes;

    fn deref(&self) -> &SecretBytes {
        &self.0.key
    }
}

/// A replaced row never hits an old entry: the name covers the wrapped key itself.
fn name(recipient: &Recipient) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&recipient.key_id);
    context.update(&recipient.key_version.to_be_bytes());
    context.update(&recipient.iv);
    context.update(&recipient.wrapped);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
