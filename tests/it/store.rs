//! Stories about the rows of the vault, told through the `Store` trait: what
//! one commit promises, what happens to several at once, and what is left when
//! the process ends between two instructions.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use strongroom::model::rotation::{RotationRecord, State, Trigger};
use strongroom::model::{
    AccountId, Guarded, InstanceId, OsFamily, OsUser, RegionId, RotationId, Schedule, SecretDataType,
    SecretFilter, SecretId, SecretName, SecretRecord, SecretSubType, SecretType, Timestamp, VersionId,
    VersionMeta, VersionStage,
};
use strongroom::runtime::Blocking;
use strongroom::store::sqlite::SqliteStore;
use strongroom::store::{Change, DueSecret, IdentityTable, Store, StoreError};
use tempfile::TempDir;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("db"), Blocking::new(4)).unwrap())
}

fn version_id(text: &str) -> VersionId {
    VersionId::parse(text).unwrap()
}

/// A secret with one current version `v1`; the number makes its id and name.
pub(crate) fn secret(number: u8) -> SecretRecord {
    SecretRecord {
        id: SecretId::from_random(&[number; 16]),
        account: AccountId::parse("1").unwrap(),
        region: RegionId::parse("cn-hangzhou").unwrap(),
        name: SecretName::parse(&format!("s{number:03}")).unwrap(),
        kind: SecretType::Generic,
        description: String::new(),
        encryption_key: None,
        created: at(0),
        updated: at(0),
        planned_delete: None,
        ecs: None,
        schedule: Schedule::OFF,
        generation: 0,
        versions: vec![VersionMeta {
            id: version_id("v1"),
            created: at(0),
            data_type: SecretDataType::Text,
            stages: vec![VersionStage::Current],
            key_fingerprint: None,
        }],
        tags: Vec::new(),
        dkms_instance: String::new(),
        policy: None,
        revision: 1,
    }
}

pub(crate) fn guarded(value: &impl serde::Serialize) -> Guarded {
    Guarded { body: serde_json::to_string(value).unwrap(), mac: vec![7; 32] }
}

pub(crate) fn put_secret(record: &SecretRecord, expect: Option<u64>) -> Change {
    Change::PutSecret { record: Box::new(record.clone()), row: guarded(record), expect }
}

fn put_version(record: &SecretRecord, version: &str, sealed: &[u8]) -> Change {
    Change::PutVersion { secret: record.id.clone(), version: version_id(version), sealed: sealed.to_vec() }
}

fn created(record: &SecretRecord) -> Vec<Change> {
    vec![put_secret(record, None), put_version(record, "v1", b"sealed-1")]
}

fn changed(record: &SecretRecord, change: impl FnOnce(&mut SecretRecord)) -> SecretRecord {
    let mut next = record.clone();
    change(&mut next);
    next.revision += 1;
    next
}

fn rotation(number: u8, of: &SecretRecord, instance: &str) -> RotationRecord {
    RotationRecord {
        id: RotationId::from_random(&[number; 16]),
        secret: of.id.clone(),
        secret_name: of.name.clone(),
        version: version_id("v2"),
        kind: SecretSubType::Password,
        instance: InstanceId::parse(instance).unwrap(),
        user: OsUser::parse("root").unwrap(),
        generation: 1,
        trigger: Trigger::Manual,
        state: State::Staged,
        apply_sent: false,
        attempt: 0,
        tries: 0,
        asks: 0,
        invoke_id: None,
        since: at(0),
        doubt_since: None,
        next_try: at(i64::from(number)),
        started: at(i64::from(number)),
        ended: None,
        trouble: None,
        troubles: Vec::new(),
        warnings: Vec::new(),
        steps: Vec::new(),
        os: OsFamily::Linux,
        rotated_before: false,
        given_up: false,
        custom: false,
        secret_material: false,
        sealing_key: None,
        payload: None,
        material: Vec::new(),
        proof: String::new(),
        seen_generation: 0,
        revision: 1,
    }
}

fn put_rotation(record: &RotationRecord, expect: Option<u64>) -> Change {
    Change::PutRotation { record: Box::new(record.clone()), row: guarded(record), expect }
}

fn put_identity(key: &str, replace: bool) -> Change {
    let row = Guarded { body: format!("{{\"key\":\"{key}\"}}"), mac: vec![1; 32] };
    Change::PutIdentity { table: IdentityTable::Users, key: key.to_owned(), row, replace }
}

#[tokio::test]
async fn what_was_committed_is_found_by_name_and_id_with_its_current_value() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let one = secret(1);
    assert!(store.secret(&one.name).await.unwrap().is_none());
    store.commit(created(&one)).await.unwrap();
    for found in [store.secret(&one.name).await.unwrap(), store.secret_by_id(&one.id).await.unwrap()] {
        let found = found.unwrap();
        assert_eq!(found.id, one.id);
        assert_eq!(found.row, guarded(&one));
        assert_eq!(found.current.as_deref(), Some(&b"sealed-1"[..]));
    }
    let next = changed(&one, |secret| {
        let second = VersionMeta { id: version_id("v2"), stages: Vec::new(), ..secret.versions[0].clone() };
        secret.versions.push(second);
        secret.make_current(&version_id("v2"));
    });
    store.commit(vec![put_secret(&next, Some(1)), put_version(&next, "v2", b"sealed-2")]).await.unwrap();
    assert_eq!(store.secret(&one.name).await.unwrap().unwrap().current.as_deref(), Some(&b"sealed-2"[..]));
    assert_eq!(store.version(&one.id, &version_id("v1")).await.unwrap().as_deref(), Some(&b"sealed-1"[..]));
    assert!(store.version(&one.id, &version_id("v3")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_happens_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let (one, two) = (secret(1), secret(2));
    store.commit(created(&one)).await.unwrap();
    let next = changed(&one, |secret| secret.description = "next".to_owned());
    let setting = || Change::PutSetting { name: "x", row: guarded(&"y") };
    for (changes, conflict) in [
        (vec![put_secret(&next, Some(1)), put_version(&one, "v1", b"again")], false),
        (vec![put_secret(&two, None), put_secret(&one, None)], false),
        (vec![setting(), put_secret(&next, Some(9))], true),
        (vec![put_identity("a", false), put_identity("a", false)], false),
        (vec![put_identity("a", true)], true),
        (vec![setting(), Change::DropVersion { secret: one.id.clone(), version: version_id("v9") }], true),
        (
            vec![setting(), Change::DropIdentity { table: IdentityTable::Users, key: "nobody".to_owned() }],
            true,
        ),
        (vec![put_version(&two, "v1", b"of no secret")], false),
    ] {
        let shown = format!("{changes:?}");
        let error = store.commit(changes).await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Conflict), conflict, "{shown}: {error:?}");
        assert_eq!(matches!(error, StoreError::Exists), !conflict, "{shown}: {error:?}");
    }
    assert_eq!(store.secret(&one.name).await.unwrap().unwrap().row, guarded(&one));
    assert!(store.secret(&two.name).await.unwrap().is_none());
    assert!(store.setting("x").await.unwrap().is_none());
    assert!(store.identities(IdentityTable::Users).await.unwrap().is_empty());
    assert_eq!(store.version(&one.id, &version_id("v1")).await.unwrap().as_deref(), Some(&b"sealed-1"[..]));
}

#[tokio::test]
async fn of_two_changes_from_one_revision_one_is_a_conflict() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let one = secret(1);
    store.commit(created(&one)).await.unwrap();
    let (a, b) = (
        changed(&one, |s| s.description = "a".to_owned()),
        changed(&one, |s| s.description = "b".to_owned()),
    );
    let (a_done, b_done) = tokio::join!(
        store.commit(vec![put_secret(&a, Some(1))]),
        store.commit(vec![put_secret(&b, Some(1))])
    );
    let winner = match (a_done, b_done) {
        (Ok(()), Err(StoreError::Conflict)) => a,
        (Err(StoreError::Conflict), Ok(())) => b,
        other => panic!("{other:?}"),
    };
    assert_eq!(store.secret(&one.name).await.unwrap().unwrap().row, guarded(&winner));
    let drop_old = Change::DropSecret { id: one.id.clone(), expect: 1 };
    assert!(matches!(store.commit(vec![drop_old]).await, Err(StoreError::Conflict)));
    store.commit(vec![Change::DropSecret { id: one.id.clone(), expect: 2 }]).await.unwrap();
    assert!(store.secret(&one.name).await.unwrap().is_none());
    assert!(store.version(&one.id, &version_id("v1")).await.unwrap().is_none(), "its values go with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_at_once_share_a_flush_and_each_gets_its_own_answer() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        for twin in 0..2 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut record = secret(number);
                record.description = format!("twin {twin}");
                (number, store.commit(created(&record)).await)
            });
        }
    }
    let mut won = vec![0; 100];
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (number, Ok(())) => won[usize::from(number)] += 1,
            (_, Err(StoreError::Exists)) => {}
            (number, other) => panic!("{number}: {other:?}"),
        }
    }
    assert!(won.iter().all(|count| *count == 1), "{won:?}");
    assert_eq!(store.secrets(&SecretFilter::ALL, 0, 1_000).await.unwrap().total, 100);
}

#[tokio::test]
async fn secrets_come_in_pages_by_name() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for number in [5, 3, 1, 4, 2] {
        store.commit(created(&secret(number))).await.unwrap();
    }
    let page = async |offset, limit| {
        let page = store.secrets(&SecretFilter::ALL, offset, limit).await.unwrap();
        assert_eq!(page.total, 5);
        page.rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let ids = |numbers: &[u8]| numbers.iter().map(|n| secret(*n).id).collect::<Vec<_>>();
    assert_eq!(page(0, 2).await, ids(&[1, 2]));
    assert_eq!(page(4, 2).await, ids(&[5]));
    assert!(page(5, 2).await.is_empty());
    assert!(page(u64::MAX, 2).await.is_empty());
}

#[tokio::test]
async fn what_is_due_comes_the_most_overdue_first_and_never_twice() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!(store.next_due().await.unwrap(), None);
    for (number, next) in [(1, Some(300)), (2, Some(100)), (3, None), (4, Some(200)), (5, Some(900))] {
        let mut record = secret(number);
        record.schedule.next = next.map(at);
        store.commit(created(&record)).await.unwrap();
    }
    let ids = |numbers: &[u8]| numbers.iter().map(|n| secret(*n).id).collect::<Vec<_>>();
    let due = async |now, after: Option<&DueSecret>, limit| store.due(at(now), after, limit).await.unwrap();
    let named = |due: Vec<DueSecret>| due.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(named(due(300, None, 10).await), ids(&[2, 4, 1]));
    let page = due(300, None, 2).await;
    assert_eq!(named(due(300, page.last(), 2).await), ids(&[1]));
    assert_eq!(named(page), ids(&[2, 4]));
    assert!(due(99, None, 10).await.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(at(100)));

    // One that is being rotated is not due, and one that is to be deleted neither.
    store.commit(vec![put_rotation(&rotation(1, &secret(2), "i-2"), None)]).await.unwrap();
    let mut leaving = changed(&secret(4), |s| s.planned_delete = Some(at(1_000)));
    leaving.schedule.next = Some(at(200));
    store.commit(vec![put_secret(&leaving, Some(1))]).await.unwrap();
    assert_eq!(named(due(300, None, 10).await), ids(&[1]));
    assert!(store.expired(at(999), 10).await.unwrap().is_empty());
    assert_eq!(store.expired(at(1_000), 10).await.unwrap(), ids(&[4]));
}

#[tokio::test]
async fn a_secret_and_a_user_of_an_instance_have_one_open_rotation() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let (one, two) = (secret(1), secret(2));
    store.commit(created(&one)).await.unwrap();
    store.commit(created(&two)).await.unwrap();
    let first = rotation(1, &one, "i-1");
    store.commit(vec![put_rotation(&first, None)]).await.unwrap();
    for other in [rotation(2, &one, "i-2"), rotation(3, &two, "i-1"), rotation(1, &two, "i-3")] {
        assert!(
            matches!(store.commit(vec![put_rotation(&other, None)]).await, Err(StoreError::Exists)),
            "{other:?}"
        );
    }
    store.commit(vec![put_rotation(&rotation(4, &two, "i-2"), None)]).await.unwrap();
    let open_ids =
        async || store.open_rotations().await.unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(open_ids().await, [first.id.clone(), RotationId::from_random(&[4; 16])]);

    let over = RotationRecord { state: State::Failed, revision: 2, ..first.clone() };
    let stale = put_rotation(&over, Some(9));
    assert!(matches!(store.commit(vec![stale]).await, Err(StoreError::Conflict)));
    store.commit(vec![put_rotation(&over, Some(1))]).await.unwrap();
    assert_eq!(open_ids().await, [RotationId::from_random(&[4; 16])]);
    store.commit(vec![put_rotation(&rotation(5, &one, "i-1"), None)]).await.unwrap();
    let newest = store.rotations(&one.id, 10).await.unwrap();
    assert_eq!(
        newest.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        [RotationId::from_random(&[5; 16]), first.id]
    );
    assert_eq!(store.rotations(&one.id, 1).await.unwrap().len(), 1);
    assert_eq!(store.rotations_since(at(4)).await.unwrap(), 2);
}

#[tokio::test]
async fn rotations_that_are_over_go_when_there_are_more_than_fifty_newer_ones() {
    const HOUR: i64 = 3_600_000;
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let (one, two) = (secret(1), secret(2));
    for record in [&one, &two] {
        store.commit(created(record)).await.unwrap();
    }
    let begun = |number: u8, of: &SecretRecord, hours: i64| {
        let open = rotation(number, of, &format!("i-{}", of.name));
        RotationRecord { started: at(hours * HOUR), ..open }
    };
    let over = |number, of, hours| RotationRecord { state: State::Done, ..begun(number, of, hours) };
    let numbers = async |of: &SecretRecord| {
        let rows = store.rotations(&of.id, 1_000).await.unwrap();
        rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    // The oldest of all is still going on, and stays.
    store.commit(vec![put_rotation(&begun(0, &one, 0), None)]).await.unwrap();
    for number in 1..=60 {
        store.commit(vec![put_rotation(&over(number, &one, 2 * i64::from(number)), None)]).await.unwrap();
    }
    let newest: Vec<_> = (11..=60).rev().chain([0]).map(|n| RotationId::from_random(&[n; 16])).collect();
    assert_eq!(numbers(&one).await, newest);
    // Those of the last hour stay, whatever their number: by them the limit is counted.
    for number in 101..=160 {
        let record = RotationRecord { started: at(i64::from(number) * 1_000), ..over(number, &two, 0) };
        store.commit(vec![put_rotation(&record, None)]).await.unwrap();
    }
    assert_eq!(numbers(&two).await.len(), 60);
    store.commit(vec![put_rotation(&begun(161, &two, 3), None)]).await.unwrap();
    assert_eq!(numbers(&two).await.len(), 51);
    assert_eq!(numbers(&one).await, newest, "those of another secret are left alone");
}

#[tokio::test]
async fn identities_and_settings_are_kept_by_key() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.commit(vec![put_identity("b", false), put_identity("a", false)]).await.unwrap();
    let keys = async || {
        let rows = store.identities(IdentityTable::Users).await.unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, ["a", "b"]);
    store.commit(vec![put_identity("a", true)]).await.unwrap();
    store
        .commit(vec![Change::DropIdentity { table: IdentityTable::Users, key: "b".to_owned() }])
        .await
        .unwrap();
    assert_eq!(keys().await, ["a"]);
    for table in IdentityTable::ALL {
        assert_eq!(store.identities(table).await.unwrap().is_empty(), table != IdentityTable::Users);
    }
    for value in ["one", "two"] {
        store.commit(vec![Change::PutSetting { name: "s", row: guarded(&value) }]).await.unwrap();
        assert_eq!(store.setting("s").await.unwrap(), Some(guarded(&value)));
    }
}

/// The part of the next story that is killed: it commits, and says which
/// commits were answered.
#[tokio::test]
async fn commits_until_it_is_killed() {
    let Some(folder) = std::env::var_os("STRONGROOM_STORE_STORY") else { return };
    let folder = std::path::PathBuf::from(folder);
    let store = open(&folder);
    for number in 0..=u8::MAX {
        store.commit(created(&secret(number))).await.unwrap();
        std::fs::write(folder.join("answered"), [number]).unwrap();
    }
    std::future::pending::<()>().await;
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::commits_until_it_is_killed"])
        .env("STRONGROOM_STORE_STORY", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let answered =
        || std::fs::read(folder.path().join("answered")).ok().and_then(|bytes| bytes.first().copied());
    let since = std::time::Instant::now();
    while answered().is_none_or(|number| number < 20) {
        assert!(since.elapsed() < crate::harness::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let answered = answered().unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(folder.path());
        for number in 0..=answered {
            let found = store.secret_by_id(&secret(number).id).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("commit {number} was answered and is lost"));
            assert_eq!(found.current.as_deref(), Some(&b"sealed-1"[..]));
        }
        let total = store.secrets(&SecretFilter::ALL, 0, 1).await.unwrap().total;
        assert!(total <= u64::from(answered) + 2, "{total} are there, {answered} were answered");
    });
}

#[tokio::test]
async fn a_file_of_a_later_program_is_left_alone() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let file = folder.path().join("db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&file, Blocking::new(1)).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
}
