//! Customer master keys: each is an object in the token, and its state, names
//! and labels are rows of the store.
//!
//! All rows lie in memory as one immutable snapshot, replaced when a change has
//! been committed; they carry MACs, and the set of them a digest of its own, so
//! that neither an edited nor a removed row is believed. With each change the
//! sealer learns which keys may be used, so that disabling a key holds from the
//! answer on.
//!
//! A key that the token has lost keeps nothing else from being served: it is
//! looked for when it is used, and refused while it is not there.

mod administration;
pub mod crash;
mod cryptography;
mod error;
mod labels;
mod objects;
mod record;
mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::model::key::{AliasRecord, KeyName, KeyRecord};
use crate::model::{AccountId, AliasName, Clock, Guarded, KeyId, RegionId};
use crate::seal::{Integrity, RowAltered, SealError, Sealer};
use crate::store::{Change, KeyTable, Store};

pub use administration::NewKey;
pub use error::{KeyError, KeysError};
pub use objects::Lost;
pub use record::Record;

use snapshot::{Snapshot, digest_change};

/// Limits and choices.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a key is kept from deletion while secrets are encrypted under it.
    pub protect_used: bool,
    /// Keys at most, those included that wait for their deletion.
    pub max_keys: usize,
    /// Aliases at most.
    pub max_aliases: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { protect_used: true, max_keys: 200, max_aliases: 300 }
    }
}

/// The customer master keys of a vault.
#[derive(Debug)]
pub struct Keys {
    account: AccountId,
    region: RegionId,
    /// The vault's own name, with which the labels of objects begin.
    origin: String,
    store: Arc<dyn Store>,
    integrity: Arc<Integrity>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    settings: Settings,
    snapshot: ArcSwap<Snapshot>,
    /// One change of rows at a time.
    changing: Mutex<()>,
    /// One object of the token is made or destroyed at a time, from the row
    /// that announces it to the row that tells of it.
    making: Mutex<()>,
    work: objects::Work,
}

/// One row to be put (with whether it may replace another) or dropped.
enum Edit {
    Put { table: KeyTable, key: String, row: Guarded, replace: bool },
    Drop { table: KeyTable, key: String },
}

/// What a change of rows consists of.
#[derive(Default)]
struct Plan {
    edits: Vec<Edit>,
    /// What must hold in the same transaction.
    conditions: Vec<Change>,
}

impl Keys {
    /// Reads the keys, and names them to the token and the sealer.
    ///
    /// # Errors
    ///
    /// [`KeysError`] when the database cannot be read or was altered, or the
    /// token is away; the appliance does not start then. A key that the token
    /// does not have is no error.
    #[expect(clippy::too_many_arguments, reason = "the parts of an appliance, put together in one place")]
    pub async fn load(
        account: AccountId,
        region: RegionId,
        origin: String,
        store: Arc<dyn Store>,
        integrity: Arc<Integrity>,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self, KeysError> {
        let snapshot = Snapshot::load(&*store, &integrity).await?;
        let objects = snapshot.objects();
        if !objects.is_empty() {
            sealer.keys().introduce(objects).await?;
        }
        sealer.set_customer_keys(snapshot.ring());
        Ok(Self {
            account,
            region,
            origin,
            store,
            integrity,
            sealer,
            clock,
            settings,
            snapshot: ArcSwap::from_pointee(snapshot),
            changing: Mutex::new(()),
            making: Mutex::new(()),
            work: objects::Work::default(),
        })
    }

    /// The account all keys belong to.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The region all keys live in.
    #[must_use]
    pub const fn region(&self) -> &RegionId {
        &self.region
    }

    /// The key of that id or alias. Makes no call that waits.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], or [`KeyError::AliasNotFound`].
    pub fn find(&self, name: &KeyName) -> Result<Arc<KeyRecord>, KeyError> {
        self.snapshot.load().find(name).cloned().ok_or(match name {
            KeyName::Alias(_) => KeyError::AliasNotFound,
            KeyName::Id(_) => KeyError::KeyNotFound,
        })
    }

    /// All keys, in the order of their creation.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<KeyRecord>> {
        let snapshot = self.snapshot.load();
        let mut keys: Vec<_> = snapshot.keys.values().filter(|key| key.state.is_shown()).cloned().collect();
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        keys
    }

    /// All aliases, in the order of their names.
    #[must_use]
    pub fn aliases(&self) -> Vec<AliasRecord> {
        self.snapshot.load().aliases.values().cloned().collect()
    }

    /// The alias of that name.
    ///
    /// # Errors
    ///
    /// [`KeyError::AliasNotFound`].
    pub fn alias(&self, name: &AliasName) -> Result<AliasRecord, KeyError> {
        self.snapshot.load().aliases.get(name).cloned().ok_or(KeyError::AliasNotFound)
    }

    /// Changes rows as `plan` says, in one transaction; everybody sees the
    /// change before this returns.
    async fn edit(&self, plan: impl FnOnce(&Snapshot) -> Result<Plan, KeyError>) -> Result<(), KeyError> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.snapshot.load_full();
        let Plan { edits, mut conditions } = plan(&before)?;
        let mut rows = before.rows.clone();
        for edit in edits {
            conditions.push(match edit {
                Edit::Put { table, key, row, replace } => {
                    rows.insert((table, key.clone()), row.clone());
                    Change::PutKeyRow { table, key, row, replace }
                }
                Edit::Drop { table, key } => {
                    rows.remove(&(table, key.clone()));
                    Change::DropKeyRow { table, key }
                }
            });
        }
        conditions.push(digest_change(&self.integrity, &rows)?);
        let after = Snapshot::build(&self.integrity, rows)?;
        self.store.commit(conditions).await?;
        self.sealer.set_customer_keys(after.ring());
        self.snapshot.store(Arc::new(after));
        Ok(())
    }

    /// Changes one key by `change`; gives its row afterwards.
    async fn change(
        &self,
        id: &KeyId,
        change: impl FnOnce(&mut KeyRecord) -> Result<(), KeyError>,
    ) -> Result<Arc<KeyRecord>, KeyError> {
        self.edit(|snapshot| {
            let found = snapshot.find(&KeyName::Id(id.clone())).ok_or(KeyError::KeyNotFound)?;
            let mut record = KeyRecord::clone(found);
            change(&mut record)?;
            Ok(Plan { edits: vec![self.put_key(&mut record, true)?], ..Plan::default() })
        })
        .await?;
        self.find(&KeyName::Id(id.clone()))
    }

    fn put_key(&self, record: &mut KeyRecord, replace: bool) -> Result<Edit, RowAltered> {
        record.revision = record.revision.saturating_add(1);
        let (table, key) = (KeyTable::Keys, record.id.to_string());
        let row = self.integrity.guard(table.as_str(), &key, record)?;
        Ok(Edit::Put { table, key, row, replace })
    }

    fn put_alias(&self, record: &AliasRecord, replace: bool) -> Result<Edit, RowAltered> {
        let (table, key) = (KeyTable::Aliases, record.name.to_string());
        let row = self.integrity.guard(table.as_str(), &key, record)?;
        Ok(Edit::Put { table, key, row, replace })
    }
}

/// Sixteen random bytes.
fn random() -> Result<[u8; 16], SealError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok().ok_or(SealError::Local)?;
    Ok(bytes)
}
