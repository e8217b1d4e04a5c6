//! All keys and aliases at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_hsm::{KeyKind, KeyRef, KnownKey};

use crate::model::key::{AliasRecord, KeyName, KeyRecord, KeyState, TokenObject};
use crate::model::{AliasName, Guarded, KeyId};
use crate::seal::{Integrity, KeyRefusal, MasterKey, RingKey, RingVersion, RowAltered, SetDigest};
use crate::store::{Change, KeyTable, Store};

use super::KeysError;

/// The name of the setting that keeps the digest of all rows of keys.
const DIGEST: &str = "keys-digest";

pub(super) type Rows = BTreeMap<(KeyTable, String), Guarded>;

/// Everything the database says about keys, at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) rows: Rows,
    pub(super) keys: BTreeMap<KeyId, Arc<KeyRecord>>,
    pub(super) aliases: BTreeMap<AliasName, AliasRecord>,
}

impl Snapshot {
    pub(super) async fn load(store: &dyn Store, integrity: &Integrity) -> Result<Self, KeysError> {
        let mut rows = Rows::new();
        for table in KeyTable::ALL {
            for (key, row) in store.key_rows(table).await? {
                rows.insert((table, key), row);
            }
        }
        let expected: Option<String> = match store.setting(DIGEST).await? {
            Some(row) => Some(integrity.check("settings", DIGEST, &row)?),
            None => None,
        };
        // A database in which no key was ever made has neither rows nor digest.
        if expected != (!rows.is_empty() || expected.is_some()).then(|| digest(&rows)) {
            return Err(RowAltered { table: "keys or key_aliases" }.into());
        }
        Ok(Self::build(integrity, rows)?)
    }

    /// The snapshot that these rows make.
    pub(super) fn build(integrity: &Integrity, rows: Rows) -> Result<Self, RowAltered> {
        let (mut keys, mut aliases) = (BTreeMap::new(), BTreeMap::new());
        for ((table, key), row) in &rows {
            let name = table.as_str();
            match table {
                KeyTable::Aliases => {
                    let record: AliasRecord = integrity.check(name, key, row)?;
                    aliases.insert(record.name.clone(), record);
                }
                KeyTable::Keys => {
                    let record: KeyRecord = integrity.check(name, key, row)?;
                    keys.insert(record.id.clone(), Arc::new(record));
                }
            }
        }
        Ok(Self { rows, keys, aliases })
    }

    /// The key of that name, if anybody may know of it.
    pub(super) fn find(&self, name: &KeyName) -> Option<&Arc<KeyRecord>> {
        let id = match name {
            KeyName::Alias(alias) => &self.aliases.get(alias)?.key,
            KeyName::Id(id) => id,
        };
        self.keys.get(id).filter(|key| key.state.is_shown())
    }

    /// The keys as the sealer needs them.
    pub(super) fn ring(&self) -> Vec<RingKey> {
        let shown = self.keys.values().filter(|key| key.state.is_shown());
        shown
            .map(|key| RingKey {
                id: key.id.clone(),
                refusal: refusal(key.state),
                versions: key
                    .versions
                    .iter()
                    .map(|version| RingVersion {
                        id: version.id.clone(),
                        master: MasterKey { key: reference(&version.object), version: version.number },
                    })
                    .collect(),
            })
            .collect()
    }

    /// The objects of the token that belong to keys which are shown.
    pub(super) fn objects(&self) -> Vec<KnownKey> {
        let shown = self.keys.values().filter(|key| key.state.is_shown());
        let objects = shown.flat_map(|key| &key.versions).map(|version| &version.object);
        objects.map(|object| KnownKey { key: reference(object), check: object.check.clone() }).collect()
    }
}

const fn refusal(state: KeyState) -> Option<KeyRefusal> {
    match state {
        KeyState::Enabled => None,
        KeyState::Disabled => Some(KeyRefusal::Disabled),
        KeyState::PendingDeletion => Some(KeyRefusal::PendingDeletion),
        KeyState::Creating | KeyState::Destroying => Some(KeyRefusal::NotFound),
    }
}

/// The name of an object, for the token.
pub(super) fn reference(object: &TokenObject) -> KeyRef {
    KeyRef { label: object.label.clone(), id: object.id, kind: KeyKind::CustomerMaster }
}

fn digest(rows: &Rows) -> String {
    let mut set = SetDigest::default();
    for ((table, key), row) in rows {
        set.add(table.as_str(), key, row);
    }
    set.finish()
}

/// The change that keeps the digest of these rows.
pub(super) fn digest_change(integrity: &Integrity, rows: &Rows) -> Result<Change, RowAltered> {
    let row = integrity.guard("settings", DIGEST, &digest(rows))?;
    Ok(Change::PutSetting { name: DIGEST, row })
}
