//! Events, their receivers, and the numbers of monitoring.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::unavailable;
use crate::model::{Guarded, SecretId, Timestamp};
use crate::store::{Ages, EventQuery, EventRow, Standing, StoreError};

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn event(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        seq: unsigned(row.get(0)?),
        id: row.get(1)?,
        row: Guarded { body: row.get(2)?, mac: row.get(3)? },
    })
}

pub(super) fn after(connection: &Connection, seq: u64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
    let sql = "SELECT seq, id, body, mac FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map(params![signed(seq), limit], event).map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}

pub(super) fn newest(connection: &Connection, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
    // Each has an index that gives its order; the others only narrow it.
    let sql = match (&query.secret, query.name) {
        (Some(_), _) => {
            "SELECT seq, id, body, mac FROM events WHERE secret_name = ?1 AND (?2 IS NULL OR name = ?2) \
             AND seq < ?3 AND at_ms BETWEEN ?4 AND ?5 ORDER BY seq DESC LIMIT ?6"
        }
        (None, Some(_)) => {
            "SELECT seq, id, body, mac FROM events WHERE name = ?2 AND ?1 IS NULL \
             AND seq < ?3 AND at_ms BETWEEN ?4 AND ?5 ORDER BY seq DESC LIMIT ?6"
        }
        (None, None) => {
            "SELECT seq, id, body, mac FROM events WHERE ?1 IS NULL AND ?2 IS NULL \
             AND seq < ?3 AND at_ms BETWEEN ?4 AND ?5 ORDER BY seq DESC LIMIT ?6"
        }
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let given = params![
        query.secret.as_ref().map(|name| name.as_str()),
        query.name.map(|name| name.as_str()),
        query.before.map_or(i64::MAX, signed),
        query.from.map_or(i64::MIN, Timestamp::millis),
        query.to.map_or(i64::MAX, Timestamp::millis),
        query.limit,
    ];
    let rows = statement.query_map(given, event).map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}

fn number(connection: &Connection, sql: &str, given: impl rusqlite::Params) -> Result<u64, StoreError> {
    let found: i64 = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(given, |row| row.get(0)))
        .map_err(unavailable)?;
    Ok(unsigned(found))
}

pub(super) fn last(connection: &Connection) -> Result<u64, StoreError> {
    // The last number ever given: also when all events have been pruned.
    number(connection, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)", [])
}

pub(super) fn count_after(connection: &Connection, seq: u64) -> Result<u64, StoreError> {
    number(connection, "SELECT count(*) FROM events WHERE seq > ?1", [signed(seq)])
}

pub(super) fn sink(connection: &Connection, name: &str) -> Result<Option<Guarded>, StoreError> {
    connection
        .prepare_cached("SELECT body, mac FROM sinks WHERE name = ?1")
        .and_then(|mut statement| {
            statement.query_row([name], |row| Ok(Guarded { body: row.get(0)?, mac: row.get(1)? })).optional()
        })
        .map_err(unavailable)
}

pub(super) fn missed(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<SecretId>, StoreError> {
    let sql = "SELECT id FROM secrets WHERE promised_ms <= ?1 \
               AND (overdue_told_ms IS NULL OR overdue_told_ms <> promised_ms) ORDER BY promised_ms LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement
        .query_map(params![before.millis(), limit], |row| row.get::<_, String>(0))
        .map_err(unavailable)?;
    rows.map(|row| SecretId::parse(&row.map_err(unavailable)?).ok().ok_or(StoreError::Damaged("secrets.id")))
        .collect()
}

pub(super) fn states(connection: &Connection) -> Result<Vec<(String, u64)>, StoreError> {
    let sql = "SELECT body ->> '$.state', count(*) FROM rotations WHERE over = 0 GROUP BY 1";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, unsigned(row.get(1)?))))
        .map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}

pub(super) fn ages(
    connection: &Connection,
    now: Timestamp,
    missed_before: Timestamp,
    bounds_seconds: &[i64],
) -> Result<Ages, StoreError> {
    let mut ages = Ages { up_to: vec![0; bounds_seconds.len()], ..Ages::default() };
    let sql = "SELECT count(*), min(promised_ms) FROM secrets WHERE promised_ms <= ?1";
    let (overdue, earliest): (i64, Option<i64>) = connection
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row([missed_before.millis()], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(unavailable)?;
    ages.overdue = unsigned(overdue);
    ages.earliest_missed = earliest.map(Timestamp::from_millis);
    // One pass over an index that holds both columns, without the rows.
    let sql = "SELECT current_ms FROM secrets WHERE promised_ms IS NOT NULL";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map([], |row| row.get::<_, Option<i64>>(0)).map_err(unavailable)?;
    for row in rows {
        ages.scheduled = ages.scheduled.saturating_add(1);
        let Some(current) = row.map_err(unavailable)?.map(Timestamp::from_millis) else { continue };
        ages.oldest_current = Some(ages.oldest_current.map_or(current, |oldest| oldest.min(current)));
        let age = now.seconds_since(current).max(0);
        ages.sum_seconds = ages.sum_seconds.saturating_add(unsigned(age));
        for (count, bound) in ages.up_to.iter_mut().zip(bounds_seconds) {
            *count = count.saturating_add(u64::from(age <= *bound));
        }
    }
    Ok(ages)
}

pub(super) fn standings(connection: &Connection) -> Result<Vec<Standing>, StoreError> {
    let sql = "SELECT name, current_ms, promised_ms FROM secrets WHERE promised_ms IS NOT NULL";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Standing {
                name: row.get(0)?,
                current: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
                promised: Timestamp::from_millis(row.get(2)?),
            })
        })
        .map_err(unavailable)?;
    rows.map(|row| row.map_err(unavailable)).collect()
}
