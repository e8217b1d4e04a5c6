//! The journal on a disk that fills up, and in a process that is killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use strongroom::audit::{self, AuditError, Journal, Outcome, Settings, Status, VerifyOptions};
use tempfile::TempDir;

use super::{ORIGIN, fresh, numbered, settings, small_segments, status_becomes, verified};

/// A file system of a few mebibytes, taken away again at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "a tmpfs is needed, and root to mount it");
        Self(folder)
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_space_blocks_and_the_block_itself_is_recorded() {
    let disk = SmallDisk::new(8);
    let directory = disk.0.path().join("audit");
    audit::create(&directory, ORIGIN).unwrap();
    let settings = Settings {
        segment_bytes: 256 * 1024,
        reserve_bytes: 128 * 1024,
        alarm_free_percent: 10,
        block_free_percent: 3,
        check_interval: Duration::from_millis(20),
        ..settings()
    };
    let journal = Journal::open(&directory, &settings).unwrap().journal;
    assert_eq!(journal.status(), Status::Running);
    journal.append(numbered(0)).await.unwrap();
    assert!(directory.join("reserve").exists());

    let ballast = disk.fill();
    status_becomes(&journal, |status| matches!(status, Status::Blocked { .. })).await;
    assert!(matches!(journal.append(numbered(1)).await, Err(AuditError::Blocked)));
    assert!(matches!(journal.usable(), Err(AuditError::Blocked)));
    assert!(!directory.join("reserve").exists());
    let recorded = journal.append_despite_block(numbered(2)).await.unwrap();
    assert_eq!(recorded.seq(), 2);

    fs::remove_file(&ballast).unwrap();
    status_becomes(&journal, |status| *status == Status::Running).await;
    assert_eq!(journal.append(numbered(3)).await.unwrap().seq(), 3);
    assert!(directory.join("reserve").exists());
    journal.close().await;
    assert_eq!(verified(&directory).outcome, Outcome::Intact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_closed_and_what_was_acknowledged_is_there() {
    let disk = SmallDisk::new(2);
    let directory = disk.0.path().join("audit");
    audit::create(&directory, ORIGIN).unwrap();
    let settings = Settings {
        segment_bytes: 64 * 1024,
        reserve_bytes: 4096,
        check_interval: Duration::from_secs(3600),
        ..settings()
    };
    let journal = Journal::open(&directory, &settings).unwrap().journal;
    let mut acknowledged = 0;
    let refused = loop {
        match journal.append(numbered(acknowledged)).await {
            Ok(recorded) => {
                acknowledged += 1;
                assert_eq!(recorded.seq(), acknowledged as u64);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AuditError::Failed));
    assert!(acknowledged > 100);
    assert!(matches!(journal.append(numbered(0)).await, Err(AuditError::Failed)));
    let Status::Failed { reason } = journal.status() else {
        panic!("{:?}", journal.status());
    };
    assert!(reason.contains("No space left"), "{reason}");
    journal.close().await;
    let report = audit::verify(&directory, &VerifyOptions::default());
    assert_eq!(report.last_seq, Some(acknowledged as u64));
}

/// Runs as a child of the next test: appends until it is killed, and says on
/// standard output which records were acknowledged.
#[test]
#[ignore = "started by the test that kills it"]
fn appender_that_will_be_killed() {
    let directory = PathBuf::from(std::env::var_os("AUDIT_LOG_DIRECTORY").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(&directory, &small_segments()).unwrap().journal;
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    for number in 0.. {
                        let seq = journal.append(numbered(number)).await.unwrap().seq();
                        let mut out = std::io::stdout().lock();
                        out.write_all(format!("ack {seq}\n").as_bytes()).unwrap();
                        out.flush().unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_acknowledged_before_a_kill_is_there() {
    let (_folder, directory) = fresh();
    let child_name = format!("{}::appender_that_will_be_killed", module_path!());
    let child_name = child_name.split_once("::").unwrap().1.to_owned();
    let mut last = 0;
    for wanted in (100..400).step_by(37) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([child_name.as_str(), "--exact", "--ignored", "--nocapture"])
            .env("AUDIT_LOG_DIRECTORY", &directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let mut seen = |line: String| {
            acknowledged.extend(line.split_once("ack ").and_then(|(_, n)| n.parse::<u64>().ok()));
            acknowledged.len()
        };
        while seen(lines.next().expect("the child ended early").unwrap()) < wanted {}
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| {
            seen(line);
        });
        child.wait().unwrap();

        let opened = Journal::open(&directory, &small_segments()).unwrap();
        let highest = acknowledged.iter().copied().max().unwrap();
        assert!(opened.head.seq >= highest, "{} < {highest}", opened.head.seq);
        assert!(acknowledged.iter().all(|seq| *seq > last));
        last = opened.head.seq;
        opened.journal.close().await;
    }
    let report = verified(&directory);
    assert_eq!((report.outcome, report.last_seq), (Outcome::Intact, Some(last)));
}
