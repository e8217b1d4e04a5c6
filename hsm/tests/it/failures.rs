//! The worker dies, hangs, or cannot start.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_hsm::{HsmError, KeyKind, KeyService, State, TokenConfig};
use tokio::task::JoinSet;

use crate::stand::{
    LABEL, MODULE, Stand, data_key, eventually, is_running, key, program, send_signal, start,
};

fn worker_of(service: &KeyService) -> u32 {
    service.status().worker_pid.unwrap()
}

fn serves(service: &KeyService) -> bool {
    matches!(service.status().state, State::Ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_replaced_and_nobody_waits() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    service.generate(&cmk).await.unwrap();
    let wrapped = service.wrap(&cmk, b"", &data_key()).await.unwrap();
    let worker = worker_of(&service);
    // Stopped first, so that calls are surely under way when it dies.
    send_signal(worker, "-STOP");
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (service, cmk, wrapped) = (service.clone(), cmk.clone(), wrapped.clone());
        calls.spawn(async move { service.unwrap(&cmk, b"", &wrapped).await });
    }
    eventually("64 calls under way", || service.status().in_flight == 64).await;
    let killed = Instant::now();
    send_signal(worker, "-KILL");
    while let Some(done) = calls.join_next().await {
        let answer = done.unwrap();
        assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
    }
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    eventually("a new worker", || service.status().restarts == 1 && serves(&service)).await;
    assert_ne!(worker_of(&service), worker);
    assert!(service.unwrap(&cmk, b"", &wrapped).await.unwrap().matches(data_key().expose()));
}

/// Traces a process, so that its parent learns of its end only when the tracer
/// has gone: a stand-in for a process that sleeps inside the kernel.
const TRACER: &str = "
import ctypes, sys
seize = 0x4206
traced = ctypes.CDLL(None).ptrace(seize, int(sys.argv[1]), ctypes.c_void_p(0), ctypes.c_void_p(0))
print(traced, flush=True)
sys.stdin.read()
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_that_does_not_end_is_left_behind_and_replaced() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let stuck = worker_of(&service);
    let mut tracer = Command::new("python3")
        .args(["-c", TRACER, &stuck.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answer = String::new();
    let mut output = BufReader::new(tracer.stdout.take().unwrap());
    output.read_line(&mut answer).unwrap();
    if answer.trim() == "0" {
        send_signal(stuck, "-KILL");
        eventually("a new worker", || service.status().restarts == 1 && serves(&service)).await;
        assert!(is_running(stuck), "it was to be still there");
    } else {
        eprintln!("not tested: tracing is not permitted here");
    }
    drop(tracer.stdin.take());
    tracer.wait().unwrap();
    if service.status().restarts == 1 {
        eventually("the end of the one left behind", || !is_running(stuck)).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_under_load_costs_its_callers_a_repetition() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    service.generate(&cmk).await.unwrap();
    let wrapped = service.wrap(&cmk, b"", &data_key()).await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let (service, cmk, wrapped) = (service.clone(), cmk.clone(), wrapped.clone());
        callers.spawn(async move {
            let (mut after_the_loss, mut refusals) = (0, 0);
            while after_the_loss < 20 {
                match service.unwrap(&cmk, b"", &wrapped).await {
                    Ok(plain) => {
                        assert!(plain.matches(data_key().expose()));
                        after_the_loss += service.status().restarts;
                    }
                    Err(HsmError::Unavailable { .. }) => {
                        refusals += 1;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            refusals
        });
    }
    eventually("load", || service.status().in_flight > 32).await;
    send_signal(worker_of(&service), "-KILL");
    let refusals: u64 = callers.join_all().await.iter().sum();
    assert!(refusals > 0);
    assert_eq!(service.status().restarts, 1);
}

#[tokio::test]
async fn a_second_loss_in_a_row_is_answered_at_once_while_the_restart_waits() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    send_signal(worker_of(&service), "-KILL");
    eventually("the first restart", || service.status().restarts == 1 && serves(&service)).await;
    send_signal(worker_of(&service), "-KILL");
    eventually("the loss", || !serves(&service)).await;
    let asked = Instant::now();
    let refused = service.random(8).await;
    assert!(matches!(refused, Err(HsmError::Unavailable { .. })), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_millis(500));
    let State::Down { why, .. } = service.status().state else { panic!("{:?}", service.status()) };
    assert!(why.contains("the worker ended"), "{why}");
    eventually("the second restart", || service.status().restarts == 2 && serves(&service)).await;
    assert!(service.random(8).await.is_ok());
}

#[tokio::test]
async fn a_hung_worker_costs_one_deadline_and_is_replaced() {
    let stand = Stand::new().await;
    let deadline = Duration::from_millis(400);
    let service = start(TokenConfig { call_deadline: deadline, ..stand.config() }, &[]).await.unwrap();
    let worker = worker_of(&service);
    send_signal(worker, "-STOP");
    let asked = Instant::now();
    let late = service.random(8).await;
    let waited = asked.elapsed();
    assert!(matches!(late, Err(HsmError::Deadline { .. })), "{late:?}");
    assert!(waited >= deadline && waited < deadline * 4, "{waited:?}");
    // From then on nobody waits for the hung one.
    let asked = Instant::now();
    match service.random(8).await {
        Ok(_) | Err(HsmError::Unavailable { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    assert!(asked.elapsed() < deadline, "{:?}", asked.elapsed());
    eventually("a new worker", || service.status().restarts == 1 && serves(&service)).await;
    assert!(!is_running(worker));
    assert!(service.random(8).await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_gone_at_the_restart_is_taken_up_when_it_returns() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let (conf, away) = (stand.conf(), stand.folder.path().join("away"));
    std::fs::rename(&conf, &away).unwrap();
    send_signal(worker_of(&service), "-KILL");
    eventually(
        "a failed restart",
        || matches!(service.status().state, State::Down { why, .. } if why.contains(LABEL)),
    )
    .await;
    let refused = service.random(8).await;
    assert!(matches!(refused, Err(HsmError::Unavailable { .. })), "{refused:?}");
    std::fs::rename(&away, &conf).unwrap();
    eventually("the return", || serves(&service)).await;
    assert!(service.random(8).await.is_ok());
}

#[tokio::test]
async fn the_polite_signals_do_not_end_a_worker() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let worker = worker_of(&service);
    for signal in ["-TERM", "-INT", "-HUP"] {
        send_signal(worker, signal);
    }
    assert!(service.random(8).await.is_ok());
    assert_eq!(worker_of(&service), worker);
}

#[tokio::test]
async fn a_worker_ends_with_the_last_handle() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let worker = worker_of(&service);
    let other = service.clone();
    drop(service);
    assert!(other.random(8).await.is_ok());
    drop(other);
    eventually("the end", || !is_running(worker)).await;
}

#[tokio::test]
async fn calls_after_stop_are_refused_and_the_worker_is_gone() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let worker = worker_of(&service);
    service.stop().await;
    assert!(!is_running(worker));
    let refused = service.random(8).await;
    assert!(matches!(refused, Err(HsmError::Unavailable { .. })), "{refused:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_worker_shows_nothing_and_dumps_no_core() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{}/{name}", worker_of(&service))).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert_eq!(read("environ"), format!("SOFTHSM2_CONF={}\0", stand.conf().display()));
    assert_eq!(read("cmdline"), format!("{}\0", program().program.display()));
    let limits = read("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
}

#[test]
fn a_worker_started_by_hand_says_who_starts_it() {
    let output = Command::new(program().program).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("started by the appliance"), "{text}");
}

#[test]
fn a_worker_whose_socket_closes_ends() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut worker = Command::new(program().program).stdin(OwnedFd::from(theirs)).spawn().unwrap();
    drop(ours);
    assert!(worker.wait().unwrap().success());
}

#[tokio::test]
async fn a_module_that_others_could_replace_is_not_loaded() {
    let stand = Stand::new().await;
    let module = stand.folder.path().join("module.so");
    std::fs::copy(MODULE, &module).unwrap();
    let config = || TokenConfig { module: module.clone(), ..stand.config() };
    std::fs::set_permissions(&module, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = start(config(), &[]).await.err();
    let Some(HsmError::Configuration { ckr, .. }) = &refused else { panic!("{refused:?}") };
    assert!(ckr.contains("written by others"), "{ckr}");
    std::fs::set_permissions(&module, std::fs::Permissions::from_mode(0o644)).unwrap();
    start(config(), &[]).await.unwrap();
    let refused = start(TokenConfig { module: "libsofthsm2.so".into(), ..stand.config() }, &[]).await.err();
    assert!(refused.unwrap().to_string().contains("absolute"));
}

#[tokio::test]
async fn what_cannot_work_is_said_in_words() {
    let stand = Stand::new().await;
    for (config, expected) in [
        (TokenConfig { token_label: "absent".into(), ..stand.config() }, "no token of that label"),
        (TokenConfig { token_serial: Some("0".into()), ..stand.config() }, "serial number 0"),
        (TokenConfig { module: "/usr/lib/missing.so".into(), ..stand.config() }, "cannot be found"),
    ] {
        let refused = start(config, &[]).await.err().unwrap();
        assert!(matches!(refused, HsmError::Configuration { .. }), "{refused:?}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    let missing = strongroom_hsm::WorkerProgram { program: "/usr/bin/missing".into(), args: Vec::new() };
    let refused = KeyService::start(missing, stand.config(), data_key(), Vec::new()).await.err().unwrap();
    assert!(refused.to_string().contains("/usr/bin/missing"), "{refused}");
    start(TokenConfig { token_serial: Some(stand.serial.clone()), ..stand.config() }, &[]).await.unwrap();
}

#[tokio::test]
async fn a_token_is_never_made_over_another_of_its_label() {
    let stand = Stand::new().await;
    let refused = stand.initialize(LABEL).await.unwrap_err();
    assert!(refused.to_string().contains("exists"), "{refused}");
    let second = stand.initialize("another token").await.unwrap();
    assert_ne!(second, stand.serial);
    assert!(stand.initialize("a label of far more than thirty-two bytes").await.is_err());
    stand.service(&[]).await;
}
