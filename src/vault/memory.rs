//! The secrets that lie in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

use super::Entry;
use crate::model::SecretName;

/// A bounded memory of secrets by name. A row that was read before a change
/// and arrives after it is not kept.
#[derive(Debug)]
pub(super) struct Memory {
    entries: Cache<SecretName, Arc<Entry>>,
    changes: AtomicU64,
    order: Mutex<()>,
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: Cache::new(capacity), changes: AtomicU64::new(0), order: Mutex::new(()) }
    }

    pub(super) fn get(&self, name: &SecretName) -> Option<Arc<Entry>> {
        self.entries.get(name)
    }

    /// To be taken before a row is read from the store.
    pub(super) fn ticket(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Keeps what was read, unless anything changed since the ticket.
    pub(super) fn keep(&self, ticket: u64, entry: &Arc<Entry>) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ticket() == ticket {
            self.entries.insert(entry.record.name.clone(), Arc::clone(entry));
        }
    }

    /// Forgets a secret after a change, before the change is answered.
    pub(super) fn forget(&self, name: &SecretName) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.entries.remove(name);
    }
}
