//! Many secrets at once, without their values.

use super::{Vault, VaultError};
use crate::audit::Access;
use crate::model::{Guarded, SecretFilter, SecretId, SecretRecord, Tag};
use crate::seal::RowAltered;

/// Secrets that are read at once when those with tags are looked for.
const TAGGED_AT_ONCE: u32 = 200;

/// A condition on tags: that key, and that value if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Option<String>,
}

impl Label {
    /// Whether one of the tags is meant.
    #[must_use]
    pub fn is_in(&self, tags: &[Tag]) -> bool {
        tags.iter().any(|tag| tag.key == self.key && self.value.as_ref().is_none_or(|v| tag.value == *v))
    }
}

impl Vault {
    /// The secrets that a filter takes, from the `offset`th on in the order of
    /// their names, and how many there are in all.
    ///
    /// # Errors
    ///
    /// The store's trouble. A row that was altered is left out, and named in the log.
    pub async fn list(
        &self,
        _access: &Access,
        filter: &SecretFilter,
        offset: u64,
        limit: u32,
    ) -> Result<(u64, Vec<SecretRecord>), VaultError> {
        let page = self.store.secrets(filter, offset, limit).await?;
        // The store chose by copies; what a secret is, its own row says.
        let records = page.rows.iter().filter_map(|(id, row)| self.listed(id, row, |r| filter.takes(r)));
        Ok((page.total, records.collect()))
    }

    /// Up to `limit` secrets whose names stand at `from` or after it, and where
    /// the next page begins, if there is one. Whoever asks has yet to decide
    /// which of them the caller may know of.
    ///
    /// # Errors
    ///
    /// The store's trouble. A row that was altered is left out, and named in the log.
    pub async fn page(
        &self,
        from: &str,
        limit: u32,
    ) -> Result<(Vec<SecretRecord>, Option<String>), VaultError> {
        let rows = self.store.secrets_from(from, limit).await?;
        let is_last = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        // The smallest text after a name: that name with the smallest letter behind it.
        let next = rows.last().filter(|_| !is_last).map(|(name, _, _)| format!("{name}\0"));
        let records = rows.iter().filter_map(|(_, id, row)| self.listed(id, row, |_| true));
        Ok((records.collect(), next))
    }

    /// Secrets that have tags, and those that `labels` ask for, all of them: a
    /// bounded number of those whose names stand behind `after`, in the order of
    /// their names, and the name behind which to look for more, if there may be
    /// some. Whoever asks has yet to decide which of them the caller may know of.
    ///
    /// # Errors
    ///
    /// The store's trouble. A row that was altered is left out, and named in the log.
    pub async fn tagged(
        &self,
        after: &str,
        labels: &[Label],
    ) -> Result<(Vec<SecretRecord>, Option<String>), VaultError> {
        let first = labels.first().map(|label| (label.key.as_str(), label.value.as_deref()));
        let rows = self.store.tagged(after, first, TAGGED_AT_ONCE).await?;
        let is_last = rows.len() < usize::try_from(TAGGED_AT_ONCE).unwrap_or(usize::MAX);
        let more = rows.last().filter(|_| !is_last).map(|(name, _, _)| name.clone());
        let copied = |record: &SecretRecord| {
            !record.tags.is_empty() && labels.first().is_none_or(|label| label.is_in(&record.tags))
        };
        let mut records: Vec<SecretRecord> =
            rows.iter().filter_map(|(_, id, row)| self.listed(id, row, copied)).collect();
        records.retain(|record| labels.iter().all(|label| label.is_in(&record.tags)));
        Ok((records, more))
    }

    /// The secret of a row in a list, if the row may be believed and is what the
    /// store took it for.
    fn listed(
        &self,
        id: &SecretId,
        row: &Guarded,
        is_meant: impl Fn(&SecretRecord) -> bool,
    ) -> Option<SecretRecord> {
        let record = self.record(id, row).and_then(|record| {
            if is_meant(&record) { Ok(record) } else { Err(RowAltered { table: super::SECRETS }.into()) }
        });
        record
            .inspect_err(
                |error| tracing::error!(secret = %id, error = ?error, "a secret is left out of a list"),
            )
            .ok()
    }
}
