//! The store on SQLite: one file, one writer thread that groups concurrent
//! commits into one transaction and one flush, and a pool of readers.

mod events;
mod fleet;
mod keys;
mod labels;
mod list;
mod migrate;
mod names;
mod read;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{
    Ages, Answer, Change, DueSecret, EventQuery, EventRow, FoundSecret, IdentityTable, KeyTable,
    OpenRotation, SecretPage, Standing, Store, StoreError,
};
use crate::model::{
    CampaignId, Guarded, KeyId, RotationId, SecretFilter, SecretId, SecretName, Timestamp, VersionId,
};
use crate::runtime::Blocking;

/// How many readers there are at most.
const READERS: usize = 4;

/// A SQLite file as a [`Store`].
#[derive(Debug)]
pub struct SqliteStore {
    readers: Arc<Mutex<Vec<Connection>>>,
    path: Arc<Path>,
    blocking: Blocking,
    writer: write::Writer,
}

fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Without it the bundled STAT4 prepares a statement anew for each binding.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

impl SqliteStore {
    /// Opens the file, makes it when it is missing, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] when a later version of the program wrote it,
    /// [`StoreError::Unavailable`] when it cannot be opened or is no database.
    pub fn open(path: &Path, blocking: Blocking) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags).map_err(unavailable)?;
        for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "FULL"), ("secure_delete", "ON")] {
            connection.pragma_update(None, pragma, value).map_err(unavailable)?;
        }
        migrate::up(&mut connection)?;
        Ok(Self {
            readers: Arc::new(Mutex::new(Vec::new())),
            path: Arc::from(path),
            blocking,
            writer: write::Writer::start(connection)?,
        })
    }

    fn read<'a, T: Send + 'static>(
        &'a self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'a, T> {
        let readers = Arc::clone(&self.readers);
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            let work = move || {
                let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = match idle {
                    Some(connection) => connection,
                    None => connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(unavailable)?,
                };
                let result = query(&connection);
                let mut idle = readers.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < READERS {
                    idle.push(connection);
                }
                result
            };
            match self.blocking.run(work).await {
                Ok(result) => result,
                Err(error) => Err(StoreError::Unavailable(Box::new(error))),
            }
        })
    }
}

impl Store for SqliteStore {
    fn commit(&self, changes: Vec<Change>) -> Answer<'_, ()> {
        Box::pin(self.writer.commit(changes))
    }

    fn secret<'a>(&'a self, name: &'a SecretName) -> Answer<'a, Option<FoundSecret>> {
        let name = name.clone();
        self.read(move |c| read::secret(c, read::SecretKey::Name(&name)))
    }

    fn secret_by_id<'a>(&'a self, id: &'a SecretId) -> Answer<'a, Option<FoundSecret>> {
        let id = id.clone();
        self.read(move |c| read::secret(c, read::SecretKey::Id(&id)))
    }

    fn secrets<'a>(&'a self, filter: &'a SecretFilter, offset: u64, limit: u32) -> Answer<'a, SecretPage> {
        let filter = filter.clone();
        self.read(move |c| list::secrets(c, &filter, offset, limit))
    }

    fn tagged<'a>(
        &'a self,
        after: &'a str,
        label: Option<(&'a str, Option<&'a str>)>,
        limit: u32,
    ) -> Answer<'a, Vec<(String, SecretId, Guarded)>> {
        let after = after.to_owned();
        let label = label.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        self.read(move |c| {
            let label = label.as_ref().map(|(key, value)| (key.as_str(), value.as_deref()));
            labels::tagged(c, &after, label, limit)
        })
    }

    fn secrets_from<'a>(&'a self, from: &'a str, limit: u32) -> Answer<'a, Vec<(String, SecretId, Guarded)>> {
        let from = from.to_owned();
        self.read(move |c| list::secrets_from(c, &from, limit))
    }

    fn due<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DueSecret>,
        limit: u32,
    ) -> Answer<'a, Vec<DueSecret>> {
        let after = after.cloned();
        self.read(move |c| fleet::due(c, now, after.as_ref(), limit))
    }

    fn next_due(&self) -> Answer<'_, Option<Timestamp>> {
        self.read(read::next_due)
    }

    fn expired(&self, now: Timestamp, limit: u32) -> Answer<'_, Vec<SecretId>> {
        self.read(move |c| read::expired(c, now, limit))
    }

    fn version<'a>(&'a self, secret: &'a SecretId, version: &'a VersionId) -> Answer<'a, Option<Vec<u8>>> {
        let (secret, version) = (secret.clone(), version.clone());
        self.read(move |c| read::version(c, secret.as_str(), version.as_str()))
    }

    fn workable(&self, now: Timestamp, horizon: Timestamp) -> Answer<'_, Vec<OpenRotation>> {
        self.read(move |c| fleet::workable(c, now, horizon))
    }

    fn next_workable(&self, now: Timestamp) -> Answer<'_, Option<Timestamp>> {
        self.read(move |c| fleet::next_workable(c, now))
    }

    fn rotation<'a>(&'a self, id: &'a RotationId) -> Answer<'a, Option<Guarded>> {
        let id = id.clone();
        self.read(move |c| fleet::rotation(c, &id))
    }

    fn campaign<'a>(&'a self, id: &'a CampaignId) -> Answer<'a, Option<Guarded>> {
        let id = id.clone();
        self.read(move |c| fleet::campaign(c, &id))
    }

    fn campaigns(&self, open: bool, limit: u32) -> Answer<'_, Vec<(CampaignId, Guarded)>> {
        self.read(move |c| fleet::campaigns(c, open, limit))
    }

    fn members<'a>(
        &'a self,
        campaign: &'a CampaignId,
        from: u32,
        limit: u32,
    ) -> Answer<'a, Vec<(u32, Guarded)>> {
        let campaign = campaign.clone();
        self.read(move |c| fleet::members(c, &campaign, from, limit))
    }

    fn open_rotations(&self) -> Answer<'_, Vec<(RotationId, Guarded)>> {
        self.read(read::open_rotations)
    }

    fn rotations<'a>(&'a self, secret: &'a SecretId, limit: u32) -> Answer<'a, Vec<(RotationId, Guarded)>> {
        let secret = secret.clone();
        self.read(move |c| read::rotations(c, &secret, limit))
    }

    fn open_rotation<'a>(&'a self, secret: &'a SecretId) -> Answer<'a, Option<(RotationId, Guarded)>> {
        let secret = secret.clone();
        self.read(move |c| read::open_rotation(c, &secret))
    }

    fn rotations_since(&self, since: Timestamp) -> Answer<'_, u64> {
        self.read(move |c| read::rotations_since(c, since))
    }

    fn identities(&self, table: IdentityTable) -> Answer<'_, Vec<(String, Guarded)>> {
        self.read(move |c| read::identities(c, table))
    }

    fn key_rows(&self, table: KeyTable) -> Answer<'_, Vec<(String, Guarded)>> {
        self.read(move |c| keys::rows(c, table))
    }

    fn secrets_under<'a>(&'a self, key: &'a KeyId) -> Answer<'a, u64> {
        let key = key.clone();
        self.read(move |c| keys::secrets_under(c, &key))
    }

    fn setting<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Guarded>> {
        let name = name.to_owned();
        self.read(move |c| read::setting(c, &name))
    }

    fn events_after(&self, seq: u64, limit: u32) -> Answer<'_, Vec<EventRow>> {
        self.read(move |c| events::after(c, seq, limit))
    }

    fn events(&self, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        self.read(move |c| events::newest(c, &query))
    }

    fn last_event(&self) -> Answer<'_, u64> {
        self.read(events::last)
    }

    fn count_events_after(&self, seq: u64) -> Answer<'_, u64> {
        self.read(move |c| events::count_after(c, seq))
    }

    fn sink<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Guarded>> {
        let name = name.to_owned();
        self.read(move |c| events::sink(c, &name))
    }

    fn missed(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<SecretId>> {
        self.read(move |c| events::missed(c, before, limit))
    }

    fn rotation_states(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.read(events::states)
    }

    fn ages(
        &self,
        now: Timestamp,
        missed_before: Timestamp,
        bounds_seconds: &'static [i64],
    ) -> Answer<'_, Ages> {
        self.read(move |c| events::ages(c, now, missed_before, bounds_seconds))
    }

    fn standings(&self) -> Answer<'_, Vec<Standing>> {
        self.read(events::standings)
    }
}
