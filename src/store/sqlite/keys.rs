//! Customer master keys: queries and changes.

use rusqlite::{Connection, Savepoint, params};

use super::read::keyed;
use super::unavailable;
use super::write::{execute, one_row};
use crate::model::{Guarded, KeyId};
use crate::store::{KeyTable, StoreError};

pub(super) fn rows(connection: &Connection, table: KeyTable) -> Result<Vec<(String, Guarded)>, StoreError> {
    let sql = match table {
        KeyTable::Aliases => "SELECT key, body, mac FROM key_aliases ORDER BY key",
        KeyTable::Keys => "SELECT key, body, mac FROM keys ORDER BY key",
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map([], keyed).map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}

pub(super) fn secrets_under(connection: &Connection, key: &KeyId) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM secrets WHERE encryption_key = ?1";
    let count: i64 = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([key.as_str()], |row| row.get(0)))
        .map_err(unavailable)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) fn put(
    transaction: &Savepoint<'_>,
    table: KeyTable,
    key: &str,
    row: &Guarded,
    replace: bool,
) -> Result<(), StoreError> {
    let sql = match (table, replace) {
        (KeyTable::Aliases, false) => "INSERT INTO key_aliases (key, body, mac) VALUES (?1, ?2, ?3)",
        (KeyTable::Aliases, true) => "UPDATE key_aliases SET body = ?2, mac = ?3 WHERE key = ?1",
        (KeyTable::Keys, false) => "INSERT INTO keys (key, body, mac) VALUES (?1, ?2, ?3)",
        (KeyTable::Keys, true) => "UPDATE keys SET body = ?2, mac = ?3 WHERE key = ?1",
    };
    one_row(execute(transaction, sql, params![key, row.body, row.mac])?)
}

pub(super) fn drop_row(transaction: &Savepoint<'_>, table: KeyTable, key: &str) -> Result<(), StoreError> {
    let sql = match table {
        KeyTable::Aliases => "DELETE FROM key_aliases WHERE key = ?1",
        KeyTable::Keys => "DELETE FROM keys WHERE key = ?1",
    };
    one_row(execute(transaction, sql, params![key])?)
}

pub(super) fn require_unused(transaction: &Savepoint<'_>, key: &KeyId) -> Result<(), StoreError> {
    if secrets_under(transaction, key)? == 0 { Ok(()) } else { Err(StoreError::Conflict) }
}
