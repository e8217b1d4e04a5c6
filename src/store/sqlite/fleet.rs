//! The queries by which rotations are scheduled, and those of campaigns.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::read::{guarded, keyed, secret_id};
use super::unavailable;
use crate::model::{CampaignId, Guarded, InstanceId, RotationId, Timestamp};
use crate::store::{DueSecret, OpenRotation, StoreError};

/// The instance of a target `instance/user…`. This only orders the work: rows
/// without one share a name that no instance has, and fail by themselves.
fn instance(target: &str) -> Result<InstanceId, StoreError> {
    let named = target.split('/').next().and_then(|name| InstanceId::parse(name).ok());
    named.or_else(|| InstanceId::parse("-").ok()).ok_or(StoreError::Damaged("target"))
}

pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    after: Option<&DueSecret>,
    limit: u32,
) -> Result<Vec<DueSecret>, StoreError> {
    let sql = "SELECT id, next_rotation_ms, target FROM secrets \
               WHERE next_rotation_ms <= ?1 AND (next_rotation_ms, id) > (?2, ?3) AND NOT EXISTS \
               (SELECT 1 FROM rotations r WHERE r.secret_id = secrets.id AND r.over = 0) \
               ORDER BY next_rotation_ms, id LIMIT ?4";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let (from, id) = after.map_or((i64::MIN, ""), |after| (after.due.millis(), after.id.as_str()));
    let row = |row: &Row<'_>| -> rusqlite::Result<(String, i64, Option<String>)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    };
    let rows = statement.query_map(params![now.millis(), from, id, limit], row).map_err(unavailable)?;
    rows.map(|row| {
        let (id, due, target) = row.map_err(unavailable)?;
        Ok(DueSecret {
            id: secret_id(&id)?,
            due: Timestamp::from_millis(due),
            instance: instance(&target.unwrap_or_default())?,
        })
    })
    .collect()
}

fn rotation_id(text: &str) -> Result<RotationId, StoreError> {
    RotationId::parse(text).ok().ok_or(StoreError::Damaged("rotations.id"))
}

pub(super) fn workable(
    connection: &Connection,
    now: Timestamp,
    horizon: Timestamp,
) -> Result<Vec<OpenRotation>, StoreError> {
    let sql = "SELECT id, next_try_ms, target, body ->> '$.doubt_since' IS NOT NULL FROM rotations \
               WHERE over = 0 AND (next_try_ms <= ?1 OR next_try_ms > ?2) ORDER BY next_try_ms";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let row = |row: &Row<'_>| -> rusqlite::Result<(String, i64, String, bool)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    };
    let rows = statement.query_map(params![now.millis(), horizon.millis()], row).map_err(unavailable)?;
    rows.map(|row| {
        let (id, next_try, target, in_doubt) = row.map_err(unavailable)?;
        Ok(OpenRotation {
            id: rotation_id(&id)?,
            next_try: Timestamp::from_millis(next_try),
            instance: instance(&target)?,
            in_doubt,
        })
    })
    .collect()
}

pub(super) fn next_workable(
    connection: &Connection,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT min(next_try_ms) FROM rotations WHERE over = 0 AND next_try_ms > ?1";
    let millis: Option<i64> = connection
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row([now.millis()], |row| row.get(0)))
        .map_err(unavailable)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn rotation(connection: &Connection, id: &RotationId) -> Result<Option<Guarded>, StoreError> {
    connection
        .prepare_cached("SELECT body, mac FROM rotations WHERE id = ?1")
        .and_then(|mut s| s.query_row([id.as_str()], |row| guarded(row, 0)).optional())
        .map_err(unavailable)
}

pub(super) fn campaign(connection: &Connection, id: &CampaignId) -> Result<Option<Guarded>, StoreError> {
    connection
        .prepare_cached("SELECT body, mac FROM campaigns WHERE id = ?1")
        .and_then(|mut s| s.query_row([id.as_str()], |row| guarded(row, 0)).optional())
        .map_err(unavailable)
}

pub(super) fn campaigns(
    connection: &Connection,
    open: bool,
    limit: u32,
) -> Result<Vec<(CampaignId, Guarded)>, StoreError> {
    let sql = if open {
        "SELECT id, body, mac FROM campaigns WHERE over = 0 ORDER BY created_ms DESC LIMIT ?1"
    } else {
        "SELECT id, body, mac FROM campaigns ORDER BY created_ms DESC LIMIT ?1"
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map([limit], keyed).map_err(unavailable)?;
    rows.map(|row| {
        let (id, row) = row.map_err(unavailable)?;
        Ok((CampaignId::parse(&id).ok().ok_or(StoreError::Damaged("campaigns.id"))?, row))
    })
    .collect()
}

pub(super) fn members(
    connection: &Connection,
    campaign: &CampaignId,
    from: u32,
    limit: u32,
) -> Result<Vec<(u32, Guarded)>, StoreError> {
    let sql = "SELECT position, body, mac FROM campaign_members \
               WHERE campaign_id = ?1 AND position >= ?2 ORDER BY position LIMIT ?3";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let row = |row: &Row<'_>| -> rusqlite::Result<(u32, Guarded)> { Ok((row.get(0)?, guarded(row, 1)?)) };
    let rows = statement.query_map(params![campaign.as_str(), from, limit], row).map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}
