use std::sync::mpsc;
use std::task::Waker;
use std::time::Instant;

use super::*;
use crate::audit::{
    AdditionalEventData, Event, EventAccess, EventType, INTERNAL, RequestParameters, UserIdentity,
};

fn event() -> Encoded {
    Event {
        id: EventId::new(1, [0; 10]),
        time_ms: 1,
        kind: EventType::AliyunServiceEvent,
        name: "Test",
        access: EventAccess::Read,
        source: "test",
        service: "Kms",
        api_version: None,
        region: "test",
        request_id: "1",
        parameters: RequestParameters::new(),
        response: None,
        error: None,
        identity: UserIdentity::system(),
        source_ip: INTERNAL,
        user_agent: None,
        resources: &[],
        recipient_account_id: "1",
        vpc_id: None,
        additional: AdditionalEventData::default(),
    }
    .encode()
    .unwrap()
}

fn open(settings: &Settings) -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("audit");
    segment::create(&directory, "strongroom/test").unwrap();
    let opened = Journal::open(&directory, settings).unwrap();
    (folder, opened.journal)
}

/// Keeps the disk from answering until the sender is dropped.
fn hold_the_disk(journal: &Journal) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (held, holding) = mpsc::channel();
    let shared = Arc::clone(&journal.shared);
    std::thread::spawn(move || {
        let guard = lock(&shared.segments);
        held.send(()).unwrap();
        let _end = released.recv();
        drop(guard);
    });
    holding.recv().unwrap();
    release
}

fn settings() -> Settings {
    Settings {
        wait_limit: Duration::from_secs(2),
        check_interval: Duration::from_secs(3600),
        block_free_percent: 0,
        ..Settings::new(EventId::new(1, [1; 10]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_ends_in_refusals_and_recovers() {
    let (_folder, journal) = open(&settings());
    assert_eq!(journal.append(event()).await.unwrap().seq(), 1);
    let disk = hold_the_disk(&journal);

    let started = Instant::now();
    let waited = journal.append(event()).await;
    assert!(matches!(waited, Err(AuditError::Backpressure)));
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(journal.status(), Status::Stalled);

    let mut second = Box::pin(journal.append(event()));
    let mut context = Context::from_waker(Waker::noop());
    let refused = second.as_mut().poll(&mut context);
    assert!(matches!(refused, Poll::Ready(Err(AuditError::Backpressure))), "refused without waiting");

    let mut watch = journal.watch();
    drop(disk);
    watch.wait_for(|status| *status == Status::Running).await.unwrap();
    assert_eq!(journal.append(event()).await.unwrap().seq(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_what_waits_shares_a_flush() {
    let settings = Settings { queue_records: 3, wait_limit: Duration::from_secs(60), ..settings() };
    let (_folder, journal) = open(&settings);
    let disk = hold_the_disk(&journal);
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(journal.append(event()))).collect();
    for append in &mut waiting {
        let mut context = Context::from_waker(Waker::noop());
        assert!(append.as_mut().poll(&mut context).is_pending());
    }
    assert!(matches!(journal.append(event()).await, Err(AuditError::Backpressure)));
    drop(disk);
    for (append, seq) in waiting.into_iter().zip(1..) {
        assert_eq!(append.await.unwrap().seq(), seq);
    }
    assert_eq!(journal.stats(), Stats { records: 3, batches: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_that_was_dropped_leaves_its_record() {
    let (_folder, journal) = open(&settings());
    {
        let mut append = Box::pin(journal.append(event()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(append.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(journal.append(event()).await.unwrap().seq(), 2);
    journal.close().await;
    assert!(matches!(journal.append(event()).await, Err(AuditError::Closed)));
    assert!(matches!(journal.usable(), Err(AuditError::Closed)));
    assert_eq!(journal.status(), Status::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_final_and_named() {
    let (_folder, journal) = open(&settings());
    let cause = AuditError::io("flush", Path::new("segment"))(std::io::Error::other("broken disk"));
    journal.shared.fail(&cause);
    assert!(matches!(journal.append(event()).await, Err(AuditError::Failed)));
    assert!(matches!(journal.append_despite_block(event()).await, Err(AuditError::Failed)));
    assert_eq!(journal.status(), Status::Failed { reason: "flush segment: broken disk".to_owned() });
}

/// A file system of 8 MiB with an empty journal; `None` where none may be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        if !mounted.success() {
            eprintln!("not tested: no tmpfs may be mounted here");
            return None;
        }
        let disk = Self(folder);
        segment::create(&disk.journal(), "strongroom/test").unwrap();
        Some(disk)
    }

    fn journal(&self) -> std::path::PathBuf {
        self.0.path().join("audit")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_whole_segment_takes_records() {
    let Some(disk) = SmallDisk::new() else { return };
    let settings = Settings { segment_bytes: 4096, ..settings() };
    let large = Settings { segment_bytes: 64 * 1024 * 1024, ..settings.clone() };
    let journal = Journal::open(&disk.journal(), &large).unwrap().journal;
    assert_eq!(journal.append(event()).await.unwrap().seq(), 1);
    journal.close().await;
    let journal = Journal::open(&disk.journal(), &settings).unwrap().journal;
    for seq in 2..40 {
        assert_eq!(journal.append(event()).await.unwrap().seq(), seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_the_start_blocks_and_the_start_is_recorded() {
    let Some(disk) = SmallDisk::new() else { return };
    let settings = Settings { block_free_percent: 3, ..settings() };
    let journal = Journal::open(&disk.journal(), &settings).unwrap().journal;
    journal.append(event()).await.unwrap();
    journal.close().await;
    let mut ballast = std::fs::File::create(disk.0.path().join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[1; 4096]).is_ok() {}

    let journal = Journal::open(&disk.journal(), &settings).unwrap().journal;
    assert!(matches!(journal.status(), Status::Blocked { .. }));
    assert!(matches!(journal.append(event()).await, Err(AuditError::Blocked)));
    let started = journal.append_despite_block(event()).await.unwrap();
    assert_eq!(started.seq(), 2);
    assert!(matches!(journal.status(), Status::Blocked { .. }));
}
