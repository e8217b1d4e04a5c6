//! The queries.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::unavailable;
use crate::model::{Guarded, RotationId, SecretId, SecretName, Timestamp, VersionStage};
use crate::store::{FoundSecret, IdentityTable, StoreError};

/// How a secret is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum SecretKey<'a> {
    Id(&'a SecretId),
    Name(&'a SecretName),
}

pub(super) fn guarded(row: &Row<'_>, from: usize) -> rusqlite::Result<Guarded> {
    Ok(Guarded { body: row.get(from)?, mac: row.get(from + 1)? })
}

pub(super) fn keyed(row: &Row<'_>) -> rusqlite::Result<(String, Guarded)> {
    Ok((row.get(0)?, guarded(row, 1)?))
}

pub(super) fn secret_id(text: &str) -> Result<SecretId, StoreError> {
    SecretId::parse(text).ok().ok_or(StoreError::Damaged("secrets.id"))
}

pub(super) fn secret(connection: &Connection, key: SecretKey<'_>) -> Result<Option<FoundSecret>, StoreError> {
    let (sql, key) = match key {
        SecretKey::Id(id) => (
            "SELECT id, body, mac, next_rotation_ms, planned_delete_ms FROM secrets WHERE id = ?1",
            id.as_str(),
        ),
        SecretKey::Name(name) => (
            "SELECT id, body, mac, next_rotation_ms, planned_delete_ms FROM secrets WHERE name = ?1",
            name.as_str(),
        ),
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let moment = |row: &Row<'_>, column| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
    };
    let found = statement
        .query_row([key], |row| Ok((keyed(row)?, moment(row, 3)?, moment(row, 4)?)))
        .optional()
        .map_err(unavailable)?;
    let Some(((id, row), next_rotation, planned_delete)) = found else { return Ok(None) };
    let id = secret_id(&id)?;
    // The row is not believed here: it only says which value to fetch with it.
    let current = serde_json::from_str::<crate::model::SecretRecord>(&row.body)
        .ok()
        .and_then(|record| record.at_stage(&VersionStage::Current).map(|v| v.id.clone()));
    let current = match current {
        Some(current) => version(connection, id.as_str(), current.as_str())?,
        None => None,
    };
    Ok(Some(FoundSecret { id, row, next_rotation, planned_delete, current }))
}

fn ids(connection: &Connection, sql: &str, now: Timestamp, limit: u32) -> Result<Vec<SecretId>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement
        .query_map(params![now.millis(), limit], |row| row.get::<_, String>(0))
        .map_err(unavailable)?;
    rows.map(|row| secret_id(&row.map_err(unavailable)?)).collect()
}

pub(super) fn expired(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<SecretId>, StoreError> {
    let sql = "SELECT id FROM secrets WHERE planned_delete_ms <= ?1 ORDER BY planned_delete_ms LIMIT ?2";
    ids(connection, sql, now, limit)
}

pub(super) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT min(next_rotation_ms) FROM secrets WHERE next_rotation_ms IS NOT NULL";
    let millis: Option<i64> = connection
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row([], |row| row.get(0)))
        .map_err(unavailable)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn version(
    connection: &Connection,
    secret: &str,
    version: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .prepare_cached("SELECT sealed FROM versions WHERE secret_id = ?1 AND version_id = ?2")
        .and_then(|mut s| s.query_row([secret, version], |row| row.get(0)).optional())
        .map_err(unavailable)
}

fn rotation_rows(
    rows: impl Iterator<Item = rusqlite::Result<(String, Guarded)>>,
) -> Result<Vec<(RotationId, Guarded)>, StoreError> {
    rows.map(|row| {
        let (id, row) = row.map_err(unavailable)?;
        let id = RotationId::parse(&id).ok().ok_or(StoreError::Damaged("rotations.id"))?;
        Ok((id, row))
    })
    .collect()
}

pub(super) fn open_rotations(connection: &Connection) -> Result<Vec<(RotationId, Guarded)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, body, mac FROM rotations WHERE over = 0 ORDER BY next_try_ms")
        .map_err(unavailable)?;
    let rows = statement.query_map([], keyed).map_err(unavailable)?;
    rotation_rows(rows)
}

pub(super) fn rotations(
    connection: &Connection,
    secret: &SecretId,
    limit: u32,
) -> Result<Vec<(RotationId, Guarded)>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, body, mac FROM rotations WHERE secret_id = ?1 ORDER BY started_ms DESC, rowid DESC LIMIT ?2",
        )
        .map_err(unavailable)?;
    let rows = statement.query_map(params![secret.as_str(), limit], keyed).map_err(unavailable)?;
    rotation_rows(rows)
}

pub(super) fn open_rotation(
    connection: &Connection,
    secret: &SecretId,
) -> Result<Option<(RotationId, Guarded)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, body, mac FROM rotations WHERE secret_id = ?1 AND over = 0")
        .map_err(unavailable)?;
    let rows = statement.query_map([secret.as_str()], keyed).map_err(unavailable)?;
    Ok(rotation_rows(rows)?.pop())
}

pub(super) fn rotations_since(connection: &Connection, since: Timestamp) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM rotations WHERE started_ms >= ?1 AND body ->> '$.trigger' = 'manual'";
    let count: i64 = connection
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row([since.millis()], |row| row.get(0)))
        .map_err(unavailable)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) fn identities(
    connection: &Connection,
    table: IdentityTable,
) -> Result<Vec<(String, Guarded)>, StoreError> {
    let sql = format!("SELECT key, body, mac FROM {} ORDER BY key", table.as_str());
    let mut statement = connection.prepare_cached(&sql).map_err(unavailable)?;
    let rows = statement.query_map([], keyed).map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}

pub(super) fn setting(connection: &Connection, name: &str) -> Result<Option<Guarded>, StoreError> {
    connection
        .prepare_cached("SELECT body, mac FROM settings WHERE name = ?1")
        .and_then(|mut s| s.query_row([name], |row| guarded(row, 0)).optional())
        .map_err(unavailable)
}
