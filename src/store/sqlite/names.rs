//! Where in the order of all names a page begins, without walking there.
//!
//! `name_blocks` cuts the order into pieces of up to [`BLOCK`] names and says of
//! each how many it has; it is kept in the transactions that add and remove
//! secrets, so that every reader finds it true of the rows that it sees. The
//! first block begins with the empty text and is always there.

use rusqlite::{Connection, OptionalExtension, Savepoint, params};

use super::unavailable;
use crate::store::StoreError;

/// Names in a block at most; one that grows beyond is cut in two.
const BLOCK: i64 = 1_024;

/// A place in the order of all names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many names there are in all.
    pub(super) total: u64,
    /// A text at which or before which the place lies.
    pub(super) from: String,
    /// How many names lie between the two.
    pub(super) skip: i64,
}

/// The place before which `offset` names lie; the end when there are not so many.
pub(super) fn at(connection: &Connection, offset: u64) -> Result<Place, StoreError> {
    let sql = "SELECT first_name, members FROM name_blocks ORDER BY first_name";
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut blocks = statement.query([]).map_err(unavailable)?;
    let (mut total, mut found) = (0_u64, None);
    while let Some(block) = blocks.next().map_err(unavailable)? {
        let members = u64::try_from(block.get::<_, i64>(1).map_err(unavailable)?).unwrap_or(0);
        let rest = offset.saturating_sub(total);
        if found.is_none() && rest < members {
            found = Some((block.get(0).map_err(unavailable)?, i64::try_from(rest).unwrap_or(i64::MAX)));
        }
        total = total.saturating_add(members);
    }
    let (from, skip) = found.unwrap_or_default();
    Ok(Place { total, from, skip })
}

/// The name of a secret was added.
pub(super) fn added(transaction: &Savepoint<'_>, name: &str) -> Result<(), StoreError> {
    let Some((first, members)) = count(transaction, name, 1)? else { return Ok(()) };
    if members > BLOCK { cut(transaction, &first) } else { Ok(()) }
}

/// The name of a secret was removed.
pub(super) fn removed(transaction: &Savepoint<'_>, name: &str) -> Result<(), StoreError> {
    let Some((first, members)) = count(transaction, name, -1)? else { return Ok(()) };
    if members <= 0 && !first.is_empty() {
        let sql = "DELETE FROM name_blocks WHERE first_name = ?1";
        let mut statement = transaction.prepare_cached(sql).map_err(unavailable)?;
        statement.execute([&first]).map_err(unavailable)?;
    }
    Ok(())
}

/// Adds to the count of the block that holds `name`; gives how it begins and
/// how many it has now.
fn count(transaction: &Savepoint<'_>, name: &str, more: i64) -> Result<Option<(String, i64)>, StoreError> {
    let sql = "UPDATE name_blocks SET members = max(0, members + ?2) WHERE first_name = \
               (SELECT max(first_name) FROM name_blocks WHERE first_name <= ?1) RETURNING first_name, members";
    transaction
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row(params![name, more], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(unavailable)
}

/// Cuts a block in two. It is counted anew for that, so that a count that was
/// wrong does not stay so.
fn cut(transaction: &Savepoint<'_>, first: &str) -> Result<(), StoreError> {
    let one = |sql: &str, given: &[&dyn rusqlite::ToSql]| -> Result<Option<String>, StoreError> {
        let mut statement = transaction.prepare_cached(sql).map_err(unavailable)?;
        statement.query_row(given, |row| row.get(0)).optional().map_err(unavailable)
    };
    let next = one(
        "SELECT first_name FROM name_blocks WHERE first_name > ?1 ORDER BY first_name LIMIT 1",
        &[&first],
    )?;
    let members: i64 = transaction
        .prepare_cached("SELECT count(*) FROM secrets WHERE name >= ?1 AND (?2 IS NULL OR name < ?2)")
        .and_then(|mut s| s.query_row(params![first, next], |row| row.get(0)))
        .map_err(unavailable)?;
    let put = "INSERT INTO name_blocks (first_name, members) VALUES (?1, ?2) \
               ON CONFLICT (first_name) DO UPDATE SET members = ?2";
    let mut put = transaction.prepare_cached(put).map_err(unavailable)?;
    let half = BLOCK / 2;
    let middle = "SELECT name FROM secrets WHERE name >= ?1 ORDER BY name LIMIT 1 OFFSET ?2";
    let middle = if members > BLOCK { one(middle, &[&first, &half])? } else { None };
    match middle {
        Some(middle) => {
            put.execute(params![first, half]).map_err(unavailable)?;
            put.execute(params![middle, members - half]).map_err(unavailable)?;
        }
        None => {
            put.execute(params![first, members]).map_err(unavailable)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let database = Connection::open_in_memory().unwrap();
        database
            .execute_batch(
                "CREATE TABLE secrets (name TEXT PRIMARY KEY); \
                 CREATE TABLE name_blocks (first_name TEXT PRIMARY KEY, members INTEGER NOT NULL) WITHOUT ROWID; \
                 INSERT INTO name_blocks VALUES ('', 0)",
            )
            .unwrap();
        database
    }

    fn change(database: &mut Connection, add: bool, name: &str) {
        let savepoint = database.savepoint().unwrap();
        if add {
            savepoint.execute("INSERT INTO secrets VALUES (?1)", [name]).unwrap();
            added(&savepoint, name).unwrap();
        } else {
            savepoint.execute("DELETE FROM secrets WHERE name = ?1", [name]).unwrap();
            removed(&savepoint, name).unwrap();
        }
        savepoint.commit().unwrap();
    }

    fn blocks(database: &Connection) -> Vec<i64> {
        let mut statement = database.prepare("SELECT members FROM name_blocks ORDER BY first_name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The name at every 97th place, found in both ways.
    fn compare(database: &Connection) {
        let all: Vec<String> = {
            let mut statement = database.prepare("SELECT name FROM secrets ORDER BY name").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for (offset, expected) in all.iter().enumerate().step_by(97) {
            let place = at(database, u64::try_from(offset).unwrap()).unwrap();
            assert_eq!(place.total, u64::try_from(all.len()).unwrap());
            assert!(place.skip <= BLOCK);
            let sql = "SELECT name FROM secrets WHERE name >= ?1 ORDER BY name LIMIT 1 OFFSET ?2";
            let found: String =
                database.query_row(sql, params![place.from, place.skip], |row| row.get(0)).unwrap();
            assert_eq!(found, *expected);
        }
        let end = at(database, u64::try_from(all.len()).unwrap()).unwrap();
        assert_eq!(end.total, u64::try_from(all.len()).unwrap());
    }

    #[test]
    fn places_are_found_while_names_come_and_go_in_any_order() {
        let mut database = database();
        compare(&database);
        // A walk through all numbers that is not in their order.
        let names: Vec<String> = (0..5_000_u64).map(|n| format!("{:04}", n * 2_741 % 5_000)).collect();
        for name in &names {
            change(&mut database, true, name);
        }
        assert!(blocks(&database).len() >= 5 && blocks(&database).iter().all(|count| *count <= BLOCK));
        compare(&database);
        for name in names.iter().filter(|name| name.as_str() < "2500") {
            change(&mut database, false, name);
        }
        compare(&database);
        assert!(!blocks(&database).iter().skip(1).any(|count| *count == 0), "empty blocks go");
        for name in names.iter().filter(|name| name.as_str() >= "2500") {
            change(&mut database, false, name);
        }
        assert_eq!(blocks(&database), [0]);
        compare(&database);
    }

    #[test]
    fn a_count_that_is_wrong_is_set_right_when_the_block_is_cut() {
        let mut database = database();
        for number in 0..10 {
            change(&mut database, true, &format!("{number}"));
        }
        database.execute("UPDATE name_blocks SET members = ?1", [BLOCK]).unwrap();
        change(&mut database, true, "x");
        assert_eq!(blocks(&database), [11]);
        compare(&database);
    }
}
