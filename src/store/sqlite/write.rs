//! The writer thread: takes what is waiting, makes one transaction of it, and
//! answers all once it is on disk. A job that fails is rolled back alone.

use std::thread;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Savepoint, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{keys, labels, names, unavailable};
use crate::model::rotation::RotationRecord;
use crate::model::{Guarded, KeyId, SecretRecord, VersionStage};
use crate::store::{Change, Counted, KEPT_ROTATIONS, StoreError};

/// Jobs waiting at most; more wait in their callers.
const QUEUE: usize = 1024;
/// Jobs in one transaction at most.
const GROUP: usize = 256;
/// Characters of a description that a filter can name (kms-secrets.md section 5.6).
const FILTERED: usize = 256;
/// Events removed by one change at most, for each reason.
const PRUNED: u32 = 1_000;

#[derive(Debug)]
struct Job {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The front of the writer thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug, thiserror::Error)]
#[error("the database writer has stopped")]
struct WriterStopped;

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, waiting))
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { jobs })
    }

    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError::Unavailable(Box::new(WriterStopped));
        self.jobs.send(Job { changes, done }).await.ok().ok_or_else(stopped)?;
        answer.await.ok().ok_or_else(stopped)?
    }
}

fn run(mut connection: Connection, mut waiting: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        commit(&mut connection, &mut group);
    }
}

fn commit(connection: &mut Connection, group: &mut Vec<Job>) {
    let mut results = Vec::with_capacity(group.len());
    let outcome = (|| {
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unavailable)?;
        for job in group.iter() {
            let mut savepoint = transaction.savepoint().map_err(unavailable)?;
            let result = job.changes.iter().try_for_each(|change| apply(&mut savepoint, change));
            match result {
                Ok(()) => savepoint.commit().map_err(unavailable)?,
                Err(_) => savepoint.finish().map_err(unavailable)?,
            }
            results.push(result);
        }
        transaction.commit().map_err(unavailable)
    })();
    if let Err(error) = &outcome {
        tracing::error!(error = ?error, jobs = group.len(), "a group commit failed");
    }
    let failed = outcome.is_err();
    let mut results = results.into_iter();
    for job in group.drain(..) {
        let result = if failed { None } else { results.next() };
        let result = result.unwrap_or_else(|| Err(StoreError::Unavailable(Box::new(WriterStopped))));
        // The caller may have gone away; its change stands all the same.
        job.done.send(result).ok();
    }
}

fn apply(transaction: &mut Savepoint<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::AddEvent { event, row } => {
            let sql = "INSERT INTO events (id, at_ms, name, secret_name, body, mac) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING";
            let (name, secret) = (event.name.as_str(), event.secret_name.as_str());
            execute(transaction, sql, params![event.id, event.at.millis(), name, secret, row.body, row.mac])
                .map(drop)
        }
        Change::AtMost { table, rows } => {
            let sql = match table {
                Counted::Secrets => "SELECT coalesce(sum(members), 0) FROM name_blocks",
            };
            let count: i64 = transaction
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map_err(unavailable)?;
            if count > integer(*rows) { Err(StoreError::Full) } else { Ok(()) }
        }
        Change::NoteOverdue { secret, promised } => {
            let sql = "UPDATE secrets SET overdue_told_ms = ?2 WHERE id = ?1 AND promised_ms = ?2";
            one_row(execute(transaction, sql, params![secret.as_str(), promised.millis()])?)
        }
        Change::PruneEvents { before, keep } => {
            let sql = "DELETE FROM events WHERE seq IN \
                       (SELECT seq FROM events WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
            execute(transaction, sql, params![before.millis(), PRUNED])?;
            let sql = "DELETE FROM events WHERE seq IN \
                       (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?1 ORDER BY seq LIMIT ?2)";
            execute(transaction, sql, params![integer(*keep), PRUNED]).map(drop)
        }
        Change::PutSink { name, row } => {
            let sql = "INSERT INTO sinks (name, body, mac) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (name) DO UPDATE SET body = ?2, mac = ?3";
            one_row(execute(transaction, sql, params![name, row.body, row.mac])?)
        }
        Change::DropIdentity { table, key } => {
            let sql = format!("DELETE FROM {} WHERE key = ?1", table.as_str());
            one_row(execute(transaction, &sql, params![key])?)
        }
        Change::DropKeyRow { table, key } => keys::drop_row(transaction, *table, key),
        Change::DropSecret { id, expect } => {
            execute(transaction, "DELETE FROM rotations WHERE secret_id = ?1", params![id.as_str()])?;
            let sql = "DELETE FROM secrets WHERE id = ?1 AND revision = ?2 RETURNING name";
            let name: Option<String> = transaction
                .prepare_cached(sql)
                .and_then(|mut s| {
                    s.query_row(params![id.as_str(), integer(*expect)], |row| row.get(0)).optional()
                })
                .map_err(unavailable)?;
            names::removed(transaction, &name.ok_or(StoreError::Conflict)?)
        }
        Change::DropVersion { secret, version } => {
            let sql = "DELETE FROM versions WHERE secret_id = ?1 AND version_id = ?2";
            one_row(execute(transaction, sql, params![secret.as_str(), version.as_str()])?)
        }
        Change::PutCampaign { record, row, expect } => {
            let (id, over) = (record.id.as_str(), record.state.is_over() && !record.settling);
            let revision = integer(record.revision);
            let done = match expect {
                None => execute(
                    transaction,
                    "INSERT INTO campaigns (id, over, created_ms, revision, body, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![id, over, record.created.millis(), revision, row.body, row.mac],
                )?,
                Some(expect) => execute(
                    transaction,
                    "UPDATE campaigns SET over = ?2, revision = ?3, body = ?4, mac = ?5 WHERE id = ?1 AND revision = ?6",
                    params![id, over, revision, row.body, row.mac, integer(*expect)],
                )?,
            };
            one_row(done)
        }
        Change::PutMember { record, row, expect } => {
            let (campaign, position) = (record.campaign.as_str(), record.position);
            let revision = integer(record.revision);
            let done = match expect {
                None => execute(
                    transaction,
                    "INSERT INTO campaign_members (campaign_id, position, revision, body, mac) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![campaign, position, revision, row.body, row.mac],
                )?,
                Some(expect) => execute(
                    transaction,
                    "UPDATE campaign_members SET revision = ?3, body = ?4, mac = ?5 \
                     WHERE campaign_id = ?1 AND position = ?2 AND revision = ?6",
                    params![campaign, position, revision, row.body, row.mac, integer(*expect)],
                )?,
            };
            one_row(done)
        }
        Change::PutKeyRow { table, key, row, replace } => keys::put(transaction, *table, key, row, *replace),
        Change::RequireUnused { key } => keys::require_unused(transaction, key),
        Change::PutIdentity { table, key, row, replace } => {
            let name = table.as_str();
            let sql = if *replace {
                format!("UPDATE {name} SET body = ?2, mac = ?3 WHERE key = ?1")
            } else {
                format!("INSERT INTO {name} (key, body, mac) VALUES (?1, ?2, ?3)")
            };
            one_row(execute(transaction, &sql, params![key, row.body, row.mac])?)
        }
        Change::PutRotation { record, row, expect } => {
            let target = format!("{}/{}", record.instance, record.user);
            let over = record.state.is_over();
            let (id, next) = (record.id.as_str(), record.next_try.millis());
            let revision = integer(record.revision);
            let done = match expect {
                None => execute(
                    transaction,
                    "INSERT INTO rotations (id, secret_id, target, over, next_try_ms, started_ms, revision, body, mac) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        id,
                        record.secret.as_str(),
                        target,
                        over,
                        next,
                        record.started.millis(),
                        revision,
                        row.body,
                        row.mac
                    ],
                )?,
                Some(expect) => execute(
                    transaction,
                    "UPDATE rotations SET over = ?2, next_try_ms = ?3, revision = ?4, body = ?5, mac = ?6 \
                     WHERE id = ?1 AND revision = ?7",
                    params![id, over, next, revision, row.body, row.mac, integer(*expect)],
                )?,
            };
            one_row(done)?;
            if expect.is_none() { prune_rotations(transaction, record) } else { Ok(()) }
        }
        Change::PutSecret { record, row, expect } => put_secret(transaction, record, row, *expect),
        Change::PutSetting { name, row } => {
            let sql = "INSERT INTO settings (name, body, mac) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (name) DO UPDATE SET body = ?2, mac = ?3";
            one_row(execute(transaction, sql, params![name, row.body, row.mac])?)
        }
        Change::PutVersion { secret, version, sealed } => {
            let sql = "INSERT INTO versions (secret_id, version_id, sealed) VALUES (?1, ?2, ?3)";
            one_row(execute(transaction, sql, params![secret.as_str(), version.as_str(), sealed])?)
        }
    }
}

/// Adds a secret's row, or replaces it, with all copies of its members.
fn put_secret(
    transaction: &Savepoint<'_>,
    record: &SecretRecord,
    row: &Guarded,
    expect: Option<u64>,
) -> Result<(), StoreError> {
    let (id, name, revision) = (record.id.as_str(), record.name.as_str(), integer(record.revision));
    let next = record.due().map(|t| t.millis());
    let planned = record.planned_delete.map(|t| t.millis());
    let promised = record.promised().map(|t| t.millis());
    let current = record.at_stage(&VersionStage::Current).map(|v| v.created.millis());
    let kind = record.kind.as_str();
    let description = (1..=FILTERED).contains(&record.description.chars().count());
    let description = description.then_some(&record.description);
    let instance = Some(&record.dkms_instance).filter(|instance| !instance.is_empty());
    let done = match expect {
        None => {
            let first_key = record.versions.first().and_then(|v| v.key_fingerprint.as_deref()).unwrap_or("");
            let target = record
                .ecs
                .as_ref()
                .map(|ecs| format!("{}/{}/{}/{first_key}", ecs.instance, ecs.user, ecs.sub_type.as_str()));
            execute(
                transaction,
                "INSERT INTO secrets (id, name, revision, next_rotation_ms, planned_delete_ms, promised_ms, \
                 current_ms, kind, description, dkms_instance, target, body, mac, encryption_key) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                params![
                    id,
                    name,
                    revision,
                    next,
                    planned,
                    promised,
                    current,
                    kind,
                    description,
                    instance,
                    target,
                    row.body,
                    row.mac,
                    record.encryption_key.as_ref().map(KeyId::as_str)
                ],
            )?
        }
        Some(expect) => execute(
            transaction,
            "UPDATE secrets SET revision = ?2, next_rotation_ms = ?3, planned_delete_ms = ?4, promised_ms = ?5, \
             current_ms = ?6, kind = ?7, description = ?8, dkms_instance = ?9, body = ?10, mac = ?11 \
             WHERE id = ?1 AND revision = ?12",
            params![
                id,
                revision,
                next,
                planned,
                promised,
                current,
                kind,
                description,
                instance,
                row.body,
                row.mac,
                integer(expect)
            ],
        )?,
    };
    one_row(done)?;
    if expect.is_none() {
        names::added(transaction, name)?;
    }
    labels::put(transaction, record)
}

/// Removes rotations of the secret that are over and older than the newest of
/// them, in the transaction that begins another.
///
/// Those of the last hour stay whatever their number, since the limit of manual
/// rotations is counted by them.
fn prune_rotations(transaction: &Savepoint<'_>, begun: &RotationRecord) -> Result<(), StoreError> {
    const HOUR_SECONDS: i64 = 3_600;
    let sql = "DELETE FROM rotations WHERE secret_id = ?1 AND over = 1 AND started_ms < ?2 AND id NOT IN \
               (SELECT id FROM rotations WHERE secret_id = ?1 AND over = 1 \
                ORDER BY started_ms DESC, rowid DESC LIMIT ?3)";
    let counted = begun.started.plus_seconds(-HOUR_SECONDS).millis();
    execute(transaction, sql, params![begun.secret.as_str(), counted, KEPT_ROTATIONS]).map(drop)
}

/// SQLite's integers are signed; a revision never comes near their end.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn execute(
    transaction: &Savepoint<'_>,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters)).map_err(|error| {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => StoreError::Exists,
            Some(_) | None => unavailable(error),
        }
    })
}

/// A change that names a row nobody has, or an old revision of it, is a conflict.
pub(super) fn one_row(count: usize) -> Result<(), StoreError> {
    if count == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}
