//! Pages of secrets, found in the indexes alone: rows are read only for what is
//! on the page.

use rusqlite::{Connection, Row, params, params_from_iter};

use super::names;
use super::read::{guarded, keyed, secret_id};
use super::unavailable;
use crate::model::{Guarded, SecretFilter, SecretId};
use crate::store::{SecretPage, StoreError};

/// Pairs of key and value that are looked up one by one at most; with more,
/// the values are compared among all that have the key.
const PAIRS: usize = 16;

/// A query for names in their order, with the texts that it is given.
#[derive(Debug)]
struct Names {
    sql: String,
    given: Vec<String>,
}

pub(super) fn secrets(
    connection: &Connection,
    filter: &SecretFilter,
    offset: u64,
    limit: u32,
) -> Result<SecretPage, StoreError> {
    if filter.none {
        return Ok(SecretPage { total: 0, rows: Vec::new() });
    }
    // All its statements see the same rows.
    let snapshot = connection.unchecked_transaction().map_err(unavailable)?;
    match query(filter) {
        Some(query) => chosen(&snapshot, &query, offset, limit),
        None => any(&snapshot, offset, limit),
    }
}

/// A page of all secrets.
fn any(connection: &Connection, offset: u64, limit: u32) -> Result<SecretPage, StoreError> {
    let place = names::at(connection, offset)?;
    let mut page = SecretPage { total: place.total, rows: Vec::new() };
    if offset >= place.total {
        return Ok(page);
    }
    let sql = "SELECT id, body, mac FROM secrets WHERE name >= ?1 ORDER BY name LIMIT ?2 OFFSET ?3";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map(params![place.from, limit, place.skip], keyed).map_err(unavailable)?;
    for row in rows {
        let (id, row) = row.map_err(unavailable)?;
        page.rows.push((secret_id(&id)?, row));
    }
    Ok(page)
}

/// A page of those that a query names: it is gone through to its end, since the
/// number of all is part of the answer.
fn chosen(connection: &Connection, query: &Names, offset: u64, limit: u32) -> Result<SecretPage, StoreError> {
    let mut on_page: Vec<String> = Vec::new();
    let mut total: u64 = 0;
    {
        let mut statement = connection.prepare_cached(&query.sql).map_err(unavailable)?;
        let mut rows = statement.query(params_from_iter(&query.given)).map_err(unavailable)?;
        let end = offset.saturating_add(u64::from(limit));
        while let Some(row) = rows.next().map_err(unavailable)? {
            if (offset..end).contains(&total) {
                on_page.push(row.get(0).map_err(unavailable)?);
            }
            total += 1;
        }
    }
    let rows = by_name(connection, &on_page)?.into_iter().map(|(_, id, row)| (id, row)).collect();
    Ok(SecretPage { total, rows })
}

/// The rows of secrets with these names, in that order, without those that are not there.
pub(super) fn by_name(
    connection: &Connection,
    names: &[String],
) -> Result<Vec<(String, SecretId, Guarded)>, StoreError> {
    let sql = "SELECT name, id, body, mac FROM secrets WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let rows = statement.query_map([name], named).map_err(unavailable)?;
        for row in rows {
            let (name, id, row) = row.map_err(unavailable)?;
            found.push((name, secret_id(&id)?, row));
        }
    }
    Ok(found)
}

fn named(row: &Row<'_>) -> rusqlite::Result<(String, String, Guarded)> {
    Ok((row.get(0)?, row.get(1)?, guarded(row, 2)?))
}

pub(super) fn secrets_from(
    connection: &Connection,
    from: &str,
    limit: u32,
) -> Result<Vec<(String, SecretId, Guarded)>, StoreError> {
    let sql = "SELECT name, id, body, mac FROM secrets WHERE name >= ?1 ORDER BY name LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let rows = statement.query_map(params![from, limit], named).map_err(unavailable)?;
    rows.map(|row| {
        let (name, id, row) = row.map_err(unavailable)?;
        Ok((name, secret_id(&id)?, row))
    })
    .collect()
}

/// The query for what a filter takes; `None` when it takes every secret.
///
/// One condition gives the order, by an index that has the names in it: the one
/// that is likely to hold for the fewest. The others are looked up for each name
/// that it gives. Several values of it are merged, so that no name comes twice
/// and nothing is sorted.
fn query(filter: &SecretFilter) -> Option<Names> {
    let mut given = Vec::new();
    let mut among = |column: &str, values: &[String]| {
        let marks: Vec<String> = values.iter().map(|value| mark(&mut given, value)).collect();
        (!values.is_empty()).then(|| format!("{column} IN ({})", marks.join(", ")))
    };
    let named = among("s.name", &filter.names);
    let described = among("s.description", &filter.descriptions);
    let placed = among("s.dkms_instance", &filter.instances);
    let kinds: Vec<String> = filter.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    let typed = among("s.kind", &kinds);
    let label: Vec<String> = [among("t.tag_key", &filter.tag_keys), among("t.tag_value", &filter.tag_values)]
        .into_iter()
        .flatten()
        .collect();
    let is_tagged = !label.is_empty();

    let of_secret: Vec<String> =
        [&named, &described, &placed, &typed].into_iter().flatten().cloned().collect();
    if is_tagged && named.is_none() {
        let rest = (!of_secret.is_empty()).then(|| {
            format!(
                " AND EXISTS (SELECT 1 FROM secrets s WHERE s.name = t.secret_name AND {})",
                of_secret.join(" AND ")
            )
        });
        let rest = rest.unwrap_or_default();
        let arms: Vec<String> = arms(filter)
            .into_iter()
            .map(|(key, values)| {
                let key = key.map(|key| format!("t.tag_key = {}", mark(&mut given, key)));
                let marks: Vec<String> = values.iter().map(|value| mark(&mut given, value)).collect();
                let value = match marks.as_slice() {
                    [] => None,
                    [one] => Some(format!("t.tag_value = {one}")),
                    several => Some(format!("t.tag_value IN ({})", several.join(", "))),
                };
                // A secret has a key once, but may have a value under several.
                let distinct = if key.is_none() { "DISTINCT " } else { "" };
                let both: Vec<String> = [key, value].into_iter().flatten().collect();
                let both = both.join(" AND ");
                format!("SELECT {distinct}t.secret_name AS name FROM secret_tags t WHERE {both}{rest}")
            })
            .collect();
        return Some(Names { sql: format!("{} ORDER BY name", arms.join(" UNION ")), given });
    }
    let mut conditions = of_secret;
    if is_tagged {
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM secret_tags t WHERE t.secret_name = s.name AND {})",
            label.join(" AND ")
        ));
    }
    (!conditions.is_empty()).then(|| Names {
        sql: format!("SELECT s.name FROM secrets s WHERE {} ORDER BY s.name", conditions.join(" AND ")),
        given,
    })
}

/// Takes a text in, and gives the mark that stands for it.
fn mark(given: &mut Vec<String>, text: &str) -> String {
    given.push(text.to_owned());
    format!("?{}", given.len())
}

/// Keys and values of tags in pieces of which each comes in the order of names:
/// one key with all values, one pair, or one value with any key.
fn arms(filter: &SecretFilter) -> Vec<(Option<&String>, &[String])> {
    let mut keys: Vec<&String> = filter.tag_keys.iter().collect();
    keys.sort_unstable();
    keys.dedup();
    let values = filter.tag_values.as_slice();
    if keys.is_empty() {
        return values.chunks(1).map(|value| (None, value)).collect();
    }
    // A key with values that are few is faster looked up pair by pair.
    let size = if keys.len() * values.len() <= PAIRS { 1 } else { values.len() };
    let of_key = |key| -> Vec<(Option<&String>, &[String])> {
        if values.is_empty() {
            vec![(Some(key), values)]
        } else {
            values.chunks(size).map(|some| (Some(key), some)).collect()
        }
    };
    keys.into_iter().flat_map(of_key).collect()
}
