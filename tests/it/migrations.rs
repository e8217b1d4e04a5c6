//! A database that an earlier version of the program has filled is the same,
//! once it is opened, as one that this version fills.

use std::path::Path;

use rusqlite::{Connection, params};
use strongroom::model::{
    AutomaticRotation, RotationInterval, Schedule, SecretFilter, SecretId, SecretName, SecretRecord, Tag,
    Timestamp,
};
use strongroom::store::Change;
use tempfile::TempDir;

use crate::store::{guarded, open, put_secret, secret};

/// The files of the schema, in order.
const SCHEMA: [&str; 6] = [
    include_str!("../../schema/sqlite/0001_base.sql"),
    include_str!("../../schema/sqlite/0002_campaigns.sql"),
    include_str!("../../schema/sqlite/0003_events.sql"),
    include_str!("../../schema/sqlite/0004_keys.sql"),
    include_str!("../../schema/sqlite/0005_lists.sql"),
    include_str!("../../schema/sqlite/0006_groups_roles.sql"),
];

/// A database of the schema with that number.
fn at_schema(folder: &Path, number: usize) -> Connection {
    let database = Connection::open(folder.join("db")).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    for sql in &SCHEMA[..number] {
        database.execute_batch(sql).unwrap();
    }
    database.pragma_update(None, "user_version", number).unwrap();
    database
}

/// Writes a secret as every version before wrote it; what was added since stays empty.
fn write(database: &Connection, record: &SecretRecord) {
    let row = guarded(record);
    let due = record.due().map(Timestamp::millis);
    let planned = record.planned_delete.map(Timestamp::millis);
    let sql = "INSERT INTO secrets (id, name, revision, next_rotation_ms, planned_delete_ms, body, mac) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let given =
        params![record.id.as_str(), record.name.as_str(), record.revision, due, planned, row.body, row.mac];
    database.execute(sql, given).unwrap();
}

/// What a query gives, a text for each row.
fn rows(folder: &Path, sql: &str) -> Vec<String> {
    let database = Connection::open(folder.join("db")).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    let columns = statement.column_count();
    let found = statement.query_map([], |row| {
        let cells = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
        Ok(format!("{:?}", cells.collect::<Result<Vec<_>, _>>()?))
    });
    found.unwrap().map(Result::unwrap).collect()
}

/// The same secrets in a database that was filled by this version.
async fn anew(records: &[SecretRecord]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let changes: Vec<Change> = records.iter().map(|record| put_secret(record, None)).collect();
    store.commit(changes).await.unwrap();
    folder
}

#[tokio::test]
async fn what_monitoring_counts_is_filled_in_for_secrets_of_before() {
    let at = Timestamp::from_millis;
    let every = |text: &str| Some(RotationInterval::parse(text).unwrap());
    let on = |interval, last: Option<i64>, next: i64| Schedule {
        automatic: AutomaticRotation::Enabled,
        interval: every(interval),
        next: Some(at(next)),
        last: last.map(at),
        ..Schedule::OFF
    };
    let mut records: Vec<SecretRecord> = (1..=5).map(secret).collect();
    for record in &mut records {
        record.created = at(1_000);
        record.versions[0].created = at(2_000);
    }
    records[0].schedule = on("6h", None, 21_601_000);
    records[1].schedule = on("7d", Some(9_000), 604_809_000);
    records[2].schedule = Schedule { automatic: AutomaticRotation::Invalid, ..on("1d", Some(5_000), 77_000) };
    // One that rotates no more, and one that is to be deleted.
    records[3].schedule = Schedule { interval: every("7d"), last: Some(at(9_000)), ..Schedule::OFF };
    records[4].schedule = on("6h", None, 21_601_000);
    records[4].planned_delete = Some(at(99_000));

    let folder = TempDir::new().unwrap();
    let database = at_schema(folder.path(), 2);
    records.iter().for_each(|record| write(&database, record));
    drop(database);
    drop(open(folder.path()));
    let copies =
        "SELECT name, promised_ms, current_ms FROM secrets WHERE promised_ms IS NOT NULL ORDER BY name";
    let fresh = anew(&records).await;
    assert_eq!(rows(folder.path(), copies), rows(fresh.path(), copies));
    assert_eq!(rows(folder.path(), copies).len(), 3);
}

/// More secrets than a block of names has, with tags and descriptions of every sort.
fn many() -> Vec<SecretRecord> {
    let tag = |key: &str, value: String| Tag { key: key.to_owned(), value };
    let number = |n: u16| {
        let mut record = secret(0);
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        record.id = SecretId::from_random(&bytes);
        record.name = SecretName::parse(&format!("s/{}", u32::from(n) * 7_919 % 2_000)).unwrap();
        record.description = match n % 4 {
            0 => String::new(),
            1 => format!("of \"team\" {}", n % 10),
            2 => "ä".repeat(256),
            _ => "a".repeat(257),
        };
        record.dkms_instance = if n.is_multiple_of(5) { "kst-1".to_owned() } else { String::new() };
        record.tags = (0..n % 4).map(|k| tag(&format!("k{k}"), format!("v'{}", n % 7))).collect();
        record
    };
    (0..2_000).map(number).collect()
}

#[tokio::test]
async fn what_lists_are_found_by_is_filled_in_for_secrets_of_before() {
    let records = many();
    let fresh = anew(&records).await;
    for schema in [1, 4] {
        let folder = TempDir::new().unwrap();
        let database = at_schema(folder.path(), schema);
        records.iter().for_each(|record| write(&database, record));
        drop(database);
        let store = open(folder.path());
        for copies in [
            "SELECT id, name, kind, description, dkms_instance FROM secrets ORDER BY name",
            "SELECT secret_name, tag_key, tag_value FROM secret_tags ORDER BY 1, 2",
            "SELECT sum(members) FROM name_blocks",
            "SELECT count(*) FROM name_blocks WHERE first_name = ''",
        ] {
            assert_eq!(rows(folder.path(), copies), rows(fresh.path(), copies), "{schema}: {copies}");
        }
        assert!(rows(folder.path(), "SELECT * FROM name_blocks").len() > 2);
        // And all of it goes on from there.
        let mut names: Vec<_> = records.iter().map(|record| record.name.as_str()).collect();
        names.sort_unstable();
        let page = store.secrets(&SecretFilter::ALL, 1_500, 1).await.unwrap();
        assert_eq!(page.total, 2_000);
        assert!(page.rows[0].1.body.contains(&format!("\"name\":\"{}\"", names[1_500])));
        let gone = Change::DropSecret { id: records[0].id.clone(), expect: records[0].revision };
        store.commit(vec![gone]).await.unwrap();
        assert_eq!(store.secrets(&SecretFilter::ALL, 0, 1).await.unwrap().total, 1_999);
    }
}

#[tokio::test]
async fn an_empty_database_and_a_row_that_is_no_json_keep_no_migration_from_its_end() {
    let folder = TempDir::new().unwrap();
    let database = at_schema(folder.path(), 4);
    write(&database, &secret(1));
    write(&database, &secret(2));
    database.execute("UPDATE secrets SET body = 'x' WHERE name = 's001'", []).unwrap();
    drop(database);
    let store = open(folder.path());
    assert_eq!(store.secrets(&SecretFilter::ALL, 0, 10).await.unwrap().rows.len(), 2);
    assert_eq!(rows(folder.path(), "SELECT name FROM secrets WHERE kind IS NULL").len(), 1);

    let empty = TempDir::new().unwrap();
    drop(at_schema(empty.path(), 4));
    let store = open(empty.path());
    assert_eq!(store.secrets(&SecretFilter::ALL, 0, 10).await.unwrap().total, 0);
    store.commit(vec![put_secret(&secret(1), None)]).await.unwrap();
    assert_eq!(store.secrets(&SecretFilter::ALL, 0, 10).await.unwrap().total, 1);
}
