//! Numbered migrations, each applied in one transaction.

use rusqlite::{Connection, TransactionBehavior};

use super::unavailable;
use crate::store::StoreError;

/// The files of `schema/sqlite`, in order; the first is number 1.
const MIGRATIONS: [&str; 6] = [
    include_str!("../../../schema/sqlite/0001_base.sql"),
    include_str!("../../../schema/sqlite/0002_campaigns.sql"),
    include_str!("../../../schema/sqlite/0003_events.sql"),
    include_str!("../../../schema/sqlite/0004_keys.sql"),
    include_str!("../../../schema/sqlite/0005_lists.sql"),
    include_str!("../../../schema/sqlite/0006_groups_roles.sql"),
];

/// Brings the schema to the last number this program knows.
///
/// # Errors
///
/// [`StoreError::Newer`] when the file is ahead of the program.
pub(super) fn up(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unavailable)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (number, sql) in (1_u32..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unavailable)?;
        transaction.execute_batch(sql).map_err(unavailable)?;
        transaction.pragma_update(None, "user_version", number).map_err(unavailable)?;
        transaction.commit().map_err(unavailable)?;
    }
    Ok(())
}
