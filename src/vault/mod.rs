//! Secrets and their versions; the only place that turns a sealed version into plaintext.
//!
//! Reads find the hot state in memory. Every change is one transaction of the
//! store, made from a named revision of the secret's row and tried again when
//! somebody else was faster; the memory forgets the row before the change is
//! answered, so that everybody reads their own writes.

mod error;
mod lifecycle;
mod lists;
mod memory;
mod policy;
mod stages;
mod tags;
mod value;

use std::sync::Arc;

use crate::audit::Access;
use crate::model::{
    AccountId, Clock, Guarded, RegionId, Sealed, SecretId, SecretName, SecretRecord, Timestamp, VersionId,
    VersionStage,
};
use crate::ram::Policy;
use crate::seal::{Integrity, Sealer};
use crate::store::{Change, FoundSecret, Store, StoreError};

pub use error::VaultError;
pub use lifecycle::{Deletion, NewSecret, next_rotation};
pub use lists::Label;
pub use stages::StageMove;
pub use value::{NewVersion, Pick, Put, Value};

use memory::Memory;

/// How often a change is made anew from a fresher row before it is given up.
const CONFLICTS: usize = 16;
/// Versions of a secret at most unless it is set otherwise (kms-secrets.md
/// sections 5.3 and 6.5).
pub const USUAL_VERSIONS: usize = 10;

/// Stages of the owner's own that a secret may have (kms-secrets.md section 5.3).
pub const MAX_CUSTOM_STAGES: usize = 8;

/// A secret as it lies in memory: its checked row, its policy ready to be
/// asked, and the sealed value of its current version.
#[derive(Debug)]
pub struct Entry {
    /// Everything but values.
    pub record: SecretRecord,
    current: Option<Sealed>,
    policy: Option<Arc<Policy>>,
}

/// The secrets of one account in one region.
#[derive(Debug)]
pub struct Vault {
    account: AccountId,
    region: RegionId,
    store: Arc<dyn Store>,
    sealer: Sealer,
    integrity: Arc<Integrity>,
    clock: Arc<dyn Clock>,
    memory: Memory,
    /// Secrets at most; 0 is no limit.
    quota: u64,
    /// Versions of each at most.
    versions: usize,
}

/// The table name that the MACs of secrets cover.
const SECRETS: &str = "secrets";

impl Vault {
    /// A vault over this store, with up to `remembered` secrets in memory.
    #[must_use]
    pub fn new(
        account: AccountId,
        region: RegionId,
        store: Arc<dyn Store>,
        sealer: Sealer,
        integrity: Arc<Integrity>,
        clock: Arc<dyn Clock>,
        remembered: usize,
    ) -> Self {
        Self {
            account,
            region,
            store,
            sealer,
            integrity,
            clock,
            memory: Memory::new(remembered),
            quota: 0,
            versions: USUAL_VERSIONS,
        }
    }

    /// The same vault with at most so many secrets, 0 for no limit, and
    /// versions of each.
    #[must_use]
    pub fn with_quotas(self, secrets: u64, versions: usize) -> Self {
        Self { quota: secrets, versions, ..self }
    }

    /// Drops the oldest versions without a stage while there are more than
    /// there may be, and gives their ids.
    ///
    /// # Errors
    ///
    /// [`VaultError::Full`] when too many have one.
    pub fn prune(&self, record: &mut SecretRecord) -> Result<Vec<VersionId>, VaultError> {
        record.prune(self.versions).ok_or(VaultError::Full { limit: self.versions })
    }

    /// The account all secrets belong to.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The region all secrets live in.
    #[must_use]
    pub const fn region(&self) -> &RegionId {
        &self.region
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Makes and checks the MACs of rows.
    #[must_use]
    pub fn integrity(&self) -> &Integrity {
        &self.integrity
    }

    /// Seals values for other owners than secrets.
    #[must_use]
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The secret of that name without its values. A lookup that memory
    /// answers makes no call that waits.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotFound`], or the store's trouble.
    pub async fn find(&self, name: &SecretName) -> Result<Arc<Entry>, VaultError> {
        if let Some(entry) = self.memory.get(name) {
            return Ok(entry);
        }
        let ticket = self.memory.ticket();
        let found = self.store.secret(name).await?.ok_or(VaultError::NotFound)?;
        let entry = Arc::new(self.checked(&found)?);
        if entry.record.name != *name {
            return Err(VaultError::Altered(crate::seal::RowAltered { table: SECRETS }));
        }
        self.memory.keep(ticket, &entry);
        Ok(entry)
    }

    /// The secret with that id.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn find_by_id(&self, id: &SecretId) -> Result<Arc<Entry>, VaultError> {
        let found = self.store.secret_by_id(id).await?.ok_or(VaultError::NotFound)?;
        Ok(Arc::new(self.checked(&found)?))
    }

    fn record(&self, id: &SecretId, row: &Guarded) -> Result<SecretRecord, VaultError> {
        let record: SecretRecord = self.integrity.check(SECRETS, id.as_str(), row)?;
        if record.id != *id || record.account != self.account || record.region != self.region {
            return Err(VaultError::Altered(crate::seal::RowAltered { table: SECRETS }));
        }
        Ok(record)
    }

    fn checked(&self, found: &FoundSecret) -> Result<Entry, VaultError> {
        let record = self.record(&found.id, &found.row)?;
        // The copies by which the store finds what is due are not under the MAC.
        if found.next_rotation != record.due() || found.planned_delete != record.planned_delete {
            return Err(VaultError::Altered(crate::seal::RowAltered { table: SECRETS }));
        }
        let current = match (&found.current, record.at_stage(&VersionStage::Current)) {
            (Some(bytes), Some(_)) => Some(Sealed::decode(bytes).map_err(crate::seal::SealError::from)?),
            (None, None) => None,
            _ => return Err(VaultError::Altered(crate::seal::RowAltered { table: "versions" })),
        };
        let policy = policy::compiled(&record);
        Ok(Entry { record, current, policy })
    }

    /// Stores a changed row with other changes in one transaction. The record
    /// comes with the revision it was read at, and leaves with the next one.
    ///
    /// # Errors
    ///
    /// [`VaultError::Store`] with [`StoreError::Conflict`] when the row was
    /// changed in the meantime; nothing has changed then.
    pub async fn write(
        &self,
        mut record: SecretRecord,
        mut others: Vec<Change>,
    ) -> Result<SecretRecord, VaultError> {
        let expect = record.revision;
        record.revision = expect.saturating_add(1);
        record.updated = self.clock.now();
        let row = self.integrity.guard(SECRETS, record.id.as_str(), &record)?;
        others.insert(0, Change::PutSecret { record: Box::new(record.clone()), row, expect: Some(expect) });
        self.store.commit(others).await?;
        self.memory.forget(&record.name);
        Ok(record)
    }

    /// Changes a secret's row by `change`, which may be called again with a
    /// fresher row when somebody else was faster.
    ///
    /// # Errors
    ///
    /// What `change` refuses with, or the store's trouble; nothing has changed then.
    pub async fn change(
        &self,
        _access: &Access,
        name: &SecretName,
        mut change: impl FnMut(&mut SecretRecord) -> Result<(), VaultError> + Send,
    ) -> Result<SecretRecord, VaultError> {
        for _ in 0..CONFLICTS {
            let mut record = self.find(name).await?.record.clone();
            change(&mut record)?;
            match self.write(record, Vec::new()).await {
                Err(VaultError::Store(StoreError::Conflict)) => self.memory.forget(name),
                other => return other,
            }
        }
        Err(VaultError::Contended)
    }

    /// A random id or seed of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`VaultError::Seal`] when the system has no random numbers.
    pub fn random_id(&self) -> Result<[u8; 16], VaultError> {
        use aws_lc_rs::rand::SecureRandom;
        let mut bytes = [0; 16];
        let filled = aws_lc_rs::rand::SystemRandom::new().fill(&mut bytes).ok();
        filled.ok_or(VaultError::Seal(crate::seal::SealError::Local))?;
        Ok(bytes)
    }
}

/// How a version of a secret is bound to its place.
pub(crate) fn version_binding<'a>(
    account: &'a AccountId,
    region: &'a RegionId,
    secret: &'a SecretId,
    version: &'a VersionId,
) -> crate::model::Binding<'a> {
    crate::model::Binding {
        purpose: "secret-version",
        account,
        region,
        owner: secret.as_str(),
        part: version.as_str(),
    }
}
