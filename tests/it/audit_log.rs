//! The audit journal on real files: what it survives, what it refuses, and that
//! two verifiers that share no code find the same damage at the same place.
#![cfg(test)]

#[path = "audit_damage.rs"]
mod damage;
#[path = "audit_disk.rs"]
mod disk;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use strongroom::audit::{
    self, AdditionalEventData, AuditError, Encoded, Event, EventAccess, EventError, EventId, EventType,
    Fault, Head, INTERNAL, Journal, Outcome, Report, RequestParameters, Settings, Status, Tail, UserIdentity,
    VerifyOptions,
};
use tempfile::TempDir;

const ORIGIN: &str = "strongroom/test-1";

fn event() -> Event<'static> {
    Event {
        id: EventId::new(1_772_352_930_120, [7; 10]),
        time_ms: 1_772_352_930_120,
        kind: EventType::ApiCall,
        name: "GetSecretValue",
        access: EventAccess::Read,
        source: "kms.vault.example.test",
        service: "Kms",
        api_version: Some("2016-01-20"),
        region: "cn-hangzhou",
        request_id: "7D1F6F0E-0B42-5B6B-8C0E-2B9D1E4A7731",
        parameters: RequestParameters::new(),
        response: None,
        error: None,
        identity: UserIdentity::unknown(),
        source_ip: INTERNAL,
        user_agent: None,
        resources: &[],
        recipient_account_id: "1234567890123456",
        vpc_id: None,
        additional: AdditionalEventData::default(),
    }
}

fn numbered(number: usize) -> Encoded {
    let name = format!("secret-{number}");
    let mut event = event();
    event.parameters.known("SecretName", name.as_str());
    event.encode().unwrap()
}

fn settings() -> Settings {
    Settings {
        block_free_percent: 0,
        alarm_free_percent: 0,
        ..Settings::new(EventId::new(1_772_352_930_000, [1; 10]))
    }
}

fn small_segments() -> Settings {
    Settings { segment_bytes: 4096, ..settings() }
}

fn fresh() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("audit");
    audit::create(&directory, ORIGIN).unwrap();
    (folder, directory)
}

/// A closed journal of `records` records and its last one.
async fn filled(records: usize, settings: &Settings) -> (TempDir, PathBuf, Head) {
    let (folder, directory) = fresh();
    let journal = Journal::open(&directory, settings).unwrap().journal;
    for number in 0..records {
        let recorded = journal.append(numbered(number)).await.unwrap();
        assert_eq!(recorded.seq(), number as u64 + 1);
    }
    let head = journal.head().unwrap();
    journal.close().await;
    (folder, directory, head)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    paths.sort();
    paths
}

/// The frames of a segment, taken apart without the code under test.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize + 8;
        frames.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    frames
}

fn replace(path: &Path, frames: &[Vec<u8>]) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, frames.concat()).unwrap();
}

fn reframed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    frame
}

/// Verifies with both verifiers and makes sure that they agree.
fn verified_against(directory: &Path, anchor: Option<Head>) -> Report {
    let options = VerifyOptions { anchor, ..VerifyOptions::default() };
    let report = audit::verify(directory, &options);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit-verify.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(directory);
    if let Some(anchor) = anchor {
        command.arg(anchor.seq.to_string()).arg(anchor.hash.to_string());
    }
    let output = command.output().unwrap();
    let other: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let mut ours = serde_json::to_value(&report).unwrap();
    ours.as_object_mut().unwrap().remove("clock_steps");
    let cannot = matches!(report.outcome, Outcome::CannotCheck { .. });
    if cannot {
        assert_eq!(other["result"], ours["result"]);
    } else {
        assert_eq!(other, ours);
    }
    assert_eq!(output.status.code(), Some(i32::from(report.outcome.exit_code())));
    report
}

fn verified(directory: &Path) -> Report {
    verified_against(directory, None)
}

fn broken(path: &Path, offset: usize, seq: u64, why: Fault) -> Outcome {
    Outcome::Broken {
        segment: path.file_name().unwrap().to_str().unwrap().to_owned(),
        offset: offset as u64,
        seq,
        why,
    }
}

fn length(frames: &[Vec<u8>]) -> usize {
    frames.iter().map(Vec::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_many_tasks_are_numbered_chained_and_verified() {
    let (_folder, directory) = fresh();
    let journal = Journal::open(&directory, &small_segments()).unwrap().journal;
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for number in 0..20 {
                    seqs.push(journal.append(numbered(task * 100 + number)).await.unwrap().seq());
                }
                assert!(seqs.is_sorted());
                seqs
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=1280).collect::<Vec<u64>>());
    let stats = journal.stats();
    assert!(stats.records == 1280 && stats.batches < 1280, "{stats:?}");
    journal.close().await;

    let report = verified(&directory);
    assert_eq!(report.outcome, Outcome::Intact);
    assert_eq!((report.first_seq, report.last_seq), (Some(1), Some(1280)));
    assert_eq!(report.last_hash, journal.head().map(|head| head.hash));
    assert_eq!(report.origin.as_deref(), Some(ORIGIN));
    let paths = segments(&directory);
    assert!(paths.len() > 3 && report.segments == paths.len() as u64);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (at, path) in paths.iter().enumerate() {
        let sealed = at + 1 < paths.len();
        assert_eq!(mode(path), if sealed { 0o440 } else { 0o600 });
    }
    assert_eq!(mode(&directory), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_goes_on_where_it_stopped() {
    let (_folder, directory, head) = filled(9, &small_segments()).await;
    for round in 1..=20 {
        let opened = Journal::open(&directory, &small_segments()).unwrap();
        assert_eq!(opened.head.seq, head.seq + round - 1);
        assert_eq!(opened.recovered, None);
        let recorded = opened.journal.append(numbered(0)).await.unwrap();
        assert_eq!(recorded.seq(), head.seq + round);
        opened.journal.close().await;
    }
    assert_eq!(verified(&directory).outcome, Outcome::Intact);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_writes_and_a_directory_is_made_once() {
    let (folder, directory) = fresh();
    let opened = Journal::open(&directory, &settings()).unwrap();
    assert!(matches!(Journal::open(&directory, &settings()), Err(AuditError::Locked(_))));
    opened.journal.close().await;
    assert!(Journal::open(&directory, &settings()).is_ok());
    assert!(matches!(audit::create(&directory, ORIGIN), Err(AuditError::NotEmpty(_))));
    for origin in ["", "two\nlines", " x", "caf\u{e9}"] {
        let other = folder.path().join("other");
        assert!(matches!(audit::create(&other, origin), Err(AuditError::Origin)));
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(Journal::open(&empty, &settings()), Err(AuditError::NotAJournal { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_starts_no_record_and_masked_values_appear_nowhere() {
    const MARKER: &str = "Marker-9f3c-Never-Written";
    let forged = "\"}}\n{\"v\":1,\"seq\":2,\"prev\":\"\u{0}\u{85}\u{2028}\u{1b}[2J\r\n";
    let hostile = format!("{forged}{}", "x".repeat(100_000));
    let (_folder, directory) = fresh();
    let journal = Journal::open(&directory, &settings()).unwrap().journal;
    let secret = format!("{MARKER}{hostile}");
    let resources = [("ACS::KMS::Secret", &[hostile.as_str()][..])];
    let mut event = event();
    event.name = &hostile;
    event.user_agent = Some(&hostile);
    event.source_ip = &hostile;
    event.request_id = &hostile;
    event.resources = &resources;
    event.error = Some(EventError { code: &hostile, message: &hostile });
    event.identity.access_key_id = Some(&hostile);
    event.parameters.known("SecretName", hostile.as_str());
    event.parameters.masked(&hostile);
    for name in ["SecretData", "securitytoken", "Plaintext", "Password", "Signature"] {
        event.parameters.known(name, secret.as_str());
        event.response.get_or_insert_default().known(name, secret.as_str());
    }
    assert!(!format!("{event:?}").contains(MARKER));
    for _ in 0..3 {
        journal.append(event.encode().unwrap()).await.unwrap();
    }
    journal.close().await;

    let report = verified(&directory);
    assert_eq!((report.outcome, report.records), (Outcome::Intact, 3));
    let path = segments(&directory).remove(0);
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()));
    let start = b"{\"v\":1,\"seq\":";
    assert_eq!(bytes.windows(start.len()).filter(|w| *w == start).count(), 3);
    for frame in frames(&path) {
        let body = std::str::from_utf8(&frame[4..frame.len() - 4]).unwrap();
        assert!(body.len() < 200_000);
        assert!(!body.chars().any(|c| c.is_control() || c == '\u{2028}'));
        let json: Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["event"]["requestParameters"]["SecretData"], "******");
        assert!(json["event"]["eventName"].as_str().unwrap().starts_with(forged));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_the_last_records_and_those_that_come() {
    let (_folder, directory) = fresh();
    let journal = Journal::open(&directory, &small_segments()).unwrap().journal;
    let mut early = Tail::open(&directory, 5).unwrap();
    assert_eq!(early.read().unwrap(), None);
    for number in 0..40 {
        journal.append(numbered(number)).await.unwrap();
    }
    for count in [0, 1, 3, 39, 40, 100] {
        let mut tail = Tail::open(&directory, count).unwrap();
        let mut seqs = Vec::new();
        while let Some(line) = tail.read().unwrap() {
            seqs.push(line.seq);
        }
        let first = 41_u64.saturating_sub(count as u64).max(1);
        assert_eq!(seqs, (first..=40).collect::<Vec<_>>());
    }
    for seq in 1..=40_u64 {
        let line = early.read().unwrap().unwrap();
        assert_eq!(line.seq, seq);
        let name = format!("secret-{}", seq - 1);
        assert_eq!(line.event().unwrap()["requestParameters"]["SecretName"], name.as_str());
        if seq == 40 {
            assert_eq!(Some(line.hash), journal.head().map(|head| head.hash));
        }
    }
    let follower = std::thread::spawn(move || early.wait(Duration::from_millis(5)).unwrap().seq);
    journal.append(numbered(40)).await.unwrap();
    assert_eq!(follower.join().unwrap(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_before_a_record_that_is_half_written() {
    let (_folder, directory, _) = filled(2, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    replace(&path, &whole[..1]);
    let mut tail = Tail::open(&directory, 1).unwrap();
    assert_eq!(tail.read().unwrap().unwrap().seq, 1);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole[1][..100]).unwrap();
    assert_eq!(tail.read().unwrap(), None);
    file.write_all(&whole[1][100..]).unwrap();
    assert_eq!(tail.read().unwrap().unwrap().seq, 2);
}

async fn status_becomes(journal: &Journal, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut watch = journal.watch();
    let wait = watch.wait_for(|status| wanted(status));
    let status = tokio::time::timeout(Duration::from_secs(20), wait).await;
    status.expect("status did not change").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_removed_replaced_or_changed_is_noticed() {
    for deed in 0..3 {
        let (_folder, directory) = fresh();
        let settings = Settings { check_interval: Duration::from_millis(20), ..settings() };
        let journal = Journal::open(&directory, &settings).unwrap().journal;
        journal.append(numbered(0)).await.unwrap();
        let path = segments(&directory).remove(0);
        match deed {
            0 => fs::remove_file(&path).unwrap(),
            1 => {
                let copy = directory.join("copy");
                fs::copy(&path, &copy).unwrap();
                fs::rename(&copy, &path).unwrap();
            }
            _ => File::options().write(true).open(&path).unwrap().set_len(10).unwrap(),
        }
        status_becomes(&journal, |status| matches!(status, Status::Failed { .. })).await;
        assert!(matches!(journal.append(numbered(1)).await, Err(AuditError::Failed)));
    }
}
