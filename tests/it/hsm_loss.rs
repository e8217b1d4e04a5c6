//! The key worker killed or stopped while calls are under way: they are served
//! or refused in time, the appliance lives on, and nothing is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::harness::{Appliance, eventually};

/// How long a call may take: the deadline of the token, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(12);

/// What became of the calls of a load.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    refused: AtomicUsize,
}

/// Reads and writes until told to stop; gives the versions whose writing was
/// answered with success.
async fn load(appliance: &Appliance, number: usize, stop: &AtomicBool, tally: &Tally) -> Vec<String> {
    let client = appliance.admin();
    let name = format!("load-{number}");
    let mut stored = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let version = format!("w{round}");
        let stage = format!(r#"["S{round}"]"#);
        let write = [
            ("SecretName", name.as_str()),
            ("VersionId", version.as_str()),
            ("SecretData", version.as_str()),
            ("VersionStages", if stored.len() < 7 { stage.as_str() } else { r#"["ACSCurrent"]"# }),
        ];
        for (action, parameters) in [("PutSecretValue", &write[..]), ("GetSecretValue", &write[..1])] {
            let since = Instant::now();
            let result = client.call(action, parameters).await;
            assert!(since.elapsed() < LONGEST, "{action} took {:?}", since.elapsed());
            match result {
                Ok(_) => {
                    tally.done.fetch_add(1, Ordering::SeqCst);
                    if action == "PutSecretValue" {
                        stored.push(version.clone());
                    }
                }
                Err(refused) => {
                    let known = (refused.status, refused.code.as_str());
                    assert_eq!(known, (503, "ServiceUnavailableTemporary"), "{action}: {refused:?}");
                    assert!(refused.retry_after_ms.is_some());
                    tally.refused.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    stored
}

/// Loses the worker by `signal` again and again under load.
async fn lose(appliance: &mut Appliance, signal: Signal) {
    let admin = appliance.admin();
    for number in 0..4 {
        admin.create_secret(&format!("load-{number}"), "first").await;
    }
    let (stop, tally) = (AtomicBool::new(false), Tally::default());
    let worker = |number| load(appliance, number, &stop, &tally);
    let trouble = async {
        for _ in 0..2 {
            let before = tally.done.load(Ordering::SeqCst);
            eventually("calls are served", async || {
                (tally.done.load(Ordering::SeqCst) > before + 20).then_some(())
            })
            .await;
            let pid = eventually("there is a worker", async || appliance.worker_pid()).await;
            kill_process(pid, signal).unwrap();
            eventually("another worker takes over", async || {
                appliance.worker_pid().filter(|new| *new != pid)
            })
            .await;
        }
        let before = tally.done.load(Ordering::SeqCst);
        eventually("all works again", async || {
            (tally.done.load(Ordering::SeqCst) > before + 20).then_some(())
        })
        .await;
        stop.store(true, Ordering::SeqCst);
    };
    let (a, b, c, d, ()) = tokio::join!(worker(0), worker(1), worker(2), worker(3), trouble);

    eventually("the vault says that it is well", async || appliance.is_healthy().await.then_some(())).await;
    // Nothing that was answered with success is lost, and nothing else is current.
    for (number, stored) in [a, b, c, d].into_iter().enumerate() {
        let name = format!("load-{number}");
        assert!(!stored.is_empty());
        let listed = admin.ok("ListSecretVersionIds", &[("SecretName", &name), ("PageSize", "100")]).await;
        let current = admin.ok("GetSecretValue", &[("SecretName", &name)]).await;
        if stored.len() > 7 {
            assert_eq!(current["VersionId"], current["SecretData"]);
            let last = stored.last().unwrap();
            assert!(listed.to_string().contains(&format!("\"{last}\"")), "{listed}");
        }
        for version in stored.iter().take(7) {
            let read = admin.ok("GetSecretValue", &[("SecretName", &name), ("VersionId", version)]).await;
            assert_eq!(read["SecretData"], *version.as_str());
        }
    }
    assert!(appliance.is_running());
    assert!(!appliance.log().contains("panicked"));
}

fn quick(appliance: &Appliance, data_key_seconds: &str) {
    appliance.configure(|text| {
        *text = text
            .replace("call_deadline_seconds = 5", "call_deadline_seconds = 1")
            .replace("data_key_seconds = 0", &format!("data_key_seconds = {data_key_seconds}"));
    });
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_nothing_is_lost() {
    let mut appliance = Appliance::new();
    quick(&appliance, "0");
    appliance.start().await;
    lose(&mut appliance, Signal::KILL).await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced_and_nothing_is_lost() {
    let mut appliance = Appliance::new();
    quick(&appliance, "0");
    appliance.start().await;
    lose(&mut appliance, Signal::STOP).await;
}

#[tokio::test]
async fn data_keys_in_memory_change_nothing_about_it() {
    let mut appliance = Appliance::new();
    quick(&appliance, "60");
    appliance.start().await;
    lose(&mut appliance, Signal::KILL).await;
}

#[tokio::test]
async fn while_the_token_is_gone_calls_are_refused_at_once_and_cached_keys_are_forgotten() {
    let mut appliance = Appliance::new();
    quick(&appliance, "300");
    appliance.start().await;
    let admin = appliance.admin();
    admin.create_secret("db", "value").await;
    assert_eq!(admin.value("db").await, "value");
    // Without its token no worker comes up again.
    let (token, away) = (appliance.data_folder().join("token"), appliance.data_folder().join("token-away"));
    std::fs::rename(&token, &away).unwrap();
    kill_process(appliance.worker_pid().unwrap(), Signal::KILL).unwrap();
    eventually("it is noticed", async || {
        let refused = admin.call("GetSecretValue", &[("SecretName", "db")]).await.err()?;
        assert_eq!((refused.status, refused.code.as_str()), (503, "ServiceUnavailableTemporary"));
        Some(())
    })
    .await;
    let since = Instant::now();
    for _ in 0..20 {
        let create = [("SecretName", "x"), ("VersionId", "v1"), ("SecretData", "x")];
        assert_eq!(admin.refused("CreateSecret", &create).await.0, 503);
    }
    assert!(since.elapsed() < Duration::from_secs(5), "refusals take {:?}", since.elapsed() / 20);
    assert!(!appliance.is_healthy().await);
    // What needs no key is served.
    admin.ok("DescribeSecret", &[("SecretName", "db")]).await;
    std::fs::rename(&away, &token).unwrap();
    eventually("it works again", async || {
        let answer = admin.call("GetSecretValue", &[("SecretName", "db")]).await.ok()?;
        assert_eq!(answer["SecretData"], "value");
        Some(())
    })
    .await;
    assert_eq!(admin.refused("GetSecretValue", &[("SecretName", "x")]).await.0, 404);
}
