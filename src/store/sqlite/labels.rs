//! The tags of secrets as the store finds them: copies of members of the rows.

use rusqlite::{Connection, Savepoint, params};

use super::list::by_name;
use super::unavailable;
use crate::model::{Guarded, SecretId, SecretRecord, Tag};
use crate::store::StoreError;

/// Puts the tags of a secret in the place of those that it had.
pub(super) fn put(transaction: &Savepoint<'_>, record: &SecretRecord) -> Result<(), StoreError> {
    let name = record.name.as_str();
    let present: Vec<Tag> = {
        let sql = "SELECT tag_key, tag_value FROM secret_tags WHERE secret_name = ?1";
        let mut statement = transaction.prepare_cached(sql).map_err(unavailable)?;
        let rows = statement
            .query_map([name], |row| Ok(Tag { key: row.get(0)?, value: row.get(1)? }))
            .map_err(unavailable)?;
        rows.collect::<Result<_, _>>().map_err(unavailable)?
    };
    // Most changes of a secret leave its tags alone.
    if present.len() == record.tags.len() && present.iter().all(|tag| record.tags.contains(tag)) {
        return Ok(());
    }
    let sql = "DELETE FROM secret_tags WHERE secret_name = ?1";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute([name])).map_err(unavailable)?;
    let sql = "INSERT INTO secret_tags (secret_name, tag_key, tag_value) VALUES (?1, ?2, ?3)";
    let mut statement = transaction.prepare_cached(sql).map_err(unavailable)?;
    for tag in &record.tags {
        statement.execute(params![name, tag.key, tag.value]).map_err(unavailable)?;
    }
    Ok(())
}

pub(super) fn tagged(
    connection: &Connection,
    after: &str,
    label: Option<(&str, Option<&str>)>,
    limit: u32,
) -> Result<Vec<(String, SecretId, Guarded)>, StoreError> {
    let (key, value) = label.map_or((None, None), |(key, value)| (Some(key), value));
    // Each has an index that gives its order.
    let sql = match (key, value) {
        (None, _) => {
            "SELECT DISTINCT secret_name FROM secret_tags \
             WHERE secret_name > ?1 AND ?3 IS NULL AND ?4 IS NULL ORDER BY secret_name LIMIT ?2"
        }
        (Some(_), None) => {
            "SELECT secret_name FROM secret_tags \
             WHERE tag_key = ?3 AND secret_name > ?1 AND ?4 IS NULL ORDER BY secret_name LIMIT ?2"
        }
        (Some(_), Some(_)) => {
            "SELECT secret_name FROM secret_tags \
             WHERE tag_value = ?4 AND secret_name > ?1 AND tag_key = ?3 ORDER BY secret_name LIMIT ?2"
        }
    };
    let snapshot = connection.unchecked_transaction().map_err(unavailable)?;
    let names: Vec<String> = {
        let mut statement = snapshot.prepare_cached(sql).map_err(unavailable)?;
        let rows =
            statement.query_map(params![after, limit, key, value], |row| row.get(0)).map_err(unavailable)?;
        rows.collect::<Result<_, _>>().map_err(unavailable)?
    };
    by_name(&snapshot, &names)
}
