//! The policies of secrets, ready to be asked.
//!
//! A policy is compiled once, when its secret is read into memory, and lies
//! there with it. What cannot be compiled denies everything (ram.md section 1.2).

use std::sync::Arc;

use super::{Entry, Vault};
use crate::model::SecretRecord;
use crate::ram::{Policy, PolicyKind};

impl Entry {
    /// The secret's own policy; none is the default one, which grants nothing
    /// to anybody but the account itself (ram.md, rule E9).
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }
}

impl Vault {
    /// The policy of a secret whose row was just read, for deciding many: from
    /// memory if the secret lies there as it is in that row.
    #[must_use]
    pub fn policy_of(&self, record: &SecretRecord) -> Option<Arc<Policy>> {
        record.policy.as_ref()?;
        match self.memory.get(&record.name) {
            Some(entry) if entry.record.id == record.id && entry.record.revision == record.revision => {
                entry.policy.clone()
            }
            Some(_) | None => compiled(record),
        }
    }
}

pub(super) fn compiled(record: &SecretRecord) -> Option<Arc<Policy>> {
    let text = record.policy.as_deref()?;
    Some(Arc::new(Policy::parse(PolicyKind::Resource, text).unwrap_or_else(|error| {
        tracing::error!(secret = %record.name, error = ?error, "the policy of a secret does not parse");
        Policy::unusable(PolicyKind::Resource)
    })))
}
