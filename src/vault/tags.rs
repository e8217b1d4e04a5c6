//! Tags of secrets.

use super::{CONFLICTS, SECRETS, Vault, VaultError};
use crate::audit::Access;
use crate::model::{SecretName, SecretRecord, Tag};
use crate::store::{Change, StoreError};

/// Tags of a secret or key at most (kms-secrets.md sections 5.1 and 7).
pub const MAX_TAGS: usize = 20;

/// Which tags are taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untag {
    /// All.
    All,
    /// Those with these keys; the others, and keys that are not there, do not matter.
    Keys(Vec<String>),
}

impl Untag {
    /// Takes them off.
    pub fn apply(&self, tags: &mut Vec<Tag>) {
        match self {
            Self::All => tags.clear(),
            Self::Keys(keys) => tags.retain(|tag| !keys.contains(&tag.key)),
        }
    }
}

/// Adds tags to others; one whose key is there gets the new value. `None` when
/// there would be more than [`MAX_TAGS`]; the tags are as they were then.
#[must_use]
pub fn with_tags(tags: &[Tag], more: &[Tag]) -> Option<Vec<Tag>> {
    let mut all = tags.to_vec();
    for tag in more {
        match all.iter_mut().find(|present| present.key == tag.key) {
            Some(present) => present.value.clone_from(&tag.value),
            None => all.push(tag.clone()),
        }
    }
    (all.len() <= MAX_TAGS).then_some(all)
}

impl Vault {
    /// Gives all these secrets the tags, or none of them anything.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`], [`VaultError::InDeleteWindow`], and
    /// [`VaultError::TooManyTags`] when one of them would have too many.
    pub async fn tag(&self, access: &Access, names: &[SecretName], tags: &[Tag]) -> Result<(), VaultError> {
        self.change_all(access, names, |record| {
            record.tags = with_tags(&record.tags, tags).ok_or(VaultError::TooManyTags)?;
            Ok(())
        })
        .await
    }

    /// Takes tags off all these secrets, or off none of them.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`] and [`VaultError::InDeleteWindow`].
    pub async fn untag(
        &self,
        access: &Access,
        names: &[SecretName],
        which: &Untag,
    ) -> Result<(), VaultError> {
        self.change_all(access, names, |record| {
            which.apply(&mut record.tags);
            Ok(())
        })
        .await
    }

    /// Changes the rows of several secrets in one transaction; a row that stays
    /// as it is is not written.
    async fn change_all(
        &self,
        _access: &Access,
        names: &[SecretName],
        change: impl Fn(&mut SecretRecord) -> Result<(), VaultError> + Send + Sync,
    ) -> Result<(), VaultError> {
        for _ in 0..CONFLICTS {
            let mut changes = Vec::with_capacity(names.len());
            for name in names {
                let entry = self.find(name).await?;
                if let Some(until) = entry.record.planned_delete {
                    return Err(VaultError::InDeleteWindow { until });
                }
                let mut record = entry.record.clone();
                change(&mut record)?;
                if record != entry.record {
                    let expect = Some(record.revision);
                    record.revision = record.revision.saturating_add(1);
                    record.updated = self.clock.now();
                    let row = self.integrity.guard(SECRETS, record.id.as_str(), &record)?;
                    changes.push(Change::PutSecret { record: Box::new(record), row, expect });
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            let done = self.store.commit(changes).await;
            names.iter().for_each(|name| self.memory.forget(name));
            match done {
                Err(StoreError::Conflict) => {}
                other => return Ok(other?),
            }
        }
        Err(VaultError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_key_that_is_there_gets_the_new_value_and_keeps_its_place() {
        let tags = with_tags(&[tag("a", "1"), tag("b", "2")], &[tag("a", "3"), tag("c", "4")]).unwrap();
        assert_eq!(tags, [tag("a", "3"), tag("b", "2"), tag("c", "4")]);
    }

    #[test]
    fn twenty_tags_are_all_that_fit() {
        let many: Vec<Tag> = (0..20).map(|n| tag(&format!("k{n}"), "v")).collect();
        assert_eq!(with_tags(&[], &many).unwrap().len(), 20);
        assert!(with_tags(&many, &[tag("k7", "w")]).is_some());
        assert!(with_tags(&many, &[tag("k20", "v")]).is_none());
    }

    #[test]
    fn what_is_not_there_can_be_taken_off() {
        let mut tags = vec![tag("a", "1"), tag("b", "2")];
        Untag::Keys(vec!["b".to_owned(), "x".to_owned()]).apply(&mut tags);
        assert_eq!(tags, [tag("a", "1")]);
        Untag::All.apply(&mut tags);
        assert!(tags.is_empty());
    }
}
