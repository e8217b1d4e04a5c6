//! How many data keys the token unwraps a second, on its own and through the
//! key worker, and how long its login takes. Prints one line of JSON.
//!
//! It makes a SoftHSM token of its own. SoftHSM reads its configuration from
//! the environment once in a process, so plain calls are made in a process of
//! their own: this program again, told so by [`PLAIN`].

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use strongroom_hsm::{
    KeyKind, KeyRef, KeyService, KnownKey, SecretBytes, TokenConfig, WorkerProgram, Wrapped, initialize_token,
};
use tokio::task::JoinSet;

const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];
const LABEL: &str = "unwrap-rate";
const PIN: &str = "the user pin of a token that is thrown away";

/// As long as what a data key of a secret is bound to.
const CONTEXT: &[u8] = &[0x63; 120];

/// Set for the process that makes plain calls, to what it is to do.
const PLAIN: &str = "STRONGROOM_BENCH_PLAIN";

const ROUND: Duration = Duration::from_secs(2);
const MOST: u16 = 4;
const CALLERS: usize = 64;
const STARTS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Serialize, Deserialize)]
struct Plain {
    module: PathBuf,
    id: [u8; 16],
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    threads: u16,
}

#[derive(Serialize)]
struct Measured {
    kind: &'static str,
    login_ms: f64,
    direct: Vec<f64>,
    worker: Vec<f64>,
}

fn main() -> Outcome<()> {
    let line = match std::env::var(PLAIN) {
        Ok(text) => format!("{}", plain(&serde_json::from_str(&text)?)?),
        Err(_) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            serde_json::to_string(&runtime.block_on(measure())?)?
        }
    };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

async fn measure() -> Outcome<Measured> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens)?;
    let conf = folder.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&conf, text)?;
    let module = MODULES.into_iter().find(|module| Path::new(module).exists());
    let module = PathBuf::from(module.ok_or("SoftHSM was not found: install the package softhsm2")?);
    let so_pin = SecretBytes::copy_of(b"the so pin of a token that is thrown away");
    initialize_token(program(), &module, Some(&conf), LABEL, so_pin, pin()).await?;
    let config = TokenConfig { softhsm_conf: Some(conf.clone()), ..TokenConfig::new(&module, LABEL) };

    let service = start(&config, &[]).await?;
    let mut known = Vec::new();
    for (number, kind) in (1..).zip([KeyKind::CustomerMaster, KeyKind::Integrity, KeyKind::AuditSigning]) {
        known.push(
            service.generate(&KeyRef { label: format!("bench/{number}"), id: [number; 16], kind }).await?,
        );
    }
    let master = known.first().ok_or("no key was made")?.key.clone();
    let wrapped = service.wrap(&master, CONTEXT, &SecretBytes::copy_of(&[0x42; 32])).await?;
    service.stop().await;

    let mut logins = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let service = start(&config, &known).await?;
        logins.push(begin.elapsed().as_secs_f64() * 1e3);
        service.stop().await;
    }
    logins.sort_by(f64::total_cmp);

    let (mut direct, mut worker) = (Vec::new(), Vec::new());
    for lanes in 1..=MOST {
        let task = Plain {
            module: module.clone(),
            id: master.id,
            iv: wrapped.iv.clone(),
            ciphertext: wrapped.ciphertext.clone(),
            threads: lanes,
        };
        direct.push(in_a_process(&conf, &task)?);
        let config = TokenConfig { sessions: lanes, ..config.clone() };
        worker.push(through_worker(&config, &known, &master, &wrapped).await?);
    }
    let login_ms = logins.get(STARTS / 2).copied().unwrap_or_default();
    Ok(Measured { kind: "token", login_ms, direct, worker })
}

async fn start(config: &TokenConfig, known: &[KnownKey]) -> Outcome<KeyService> {
    Ok(KeyService::start(program(), config.clone(), pin(), known.to_vec()).await?)
}

fn program() -> WorkerProgram {
    WorkerProgram { program: env!("CARGO_BIN_EXE_strongroom-hsm-worker").into(), args: Vec::new() }
}

fn pin() -> SecretBytes {
    SecretBytes::copy_of(PIN.as_bytes())
}

async fn through_worker(
    config: &TokenConfig,
    known: &[KnownKey],
    master: &KeyRef,
    wrapped: &Wrapped,
) -> Outcome<f64> {
    let service = start(config, known).await?;
    let end = Instant::now() + ROUND;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (service, master, wrapped) = (service.clone(), master.clone(), wrapped.clone());
        callers.spawn(async move {
            let mut calls = 0_u32;
            while Instant::now() < end {
                service.unwrap(&master, CONTEXT, &wrapped).await?;
                calls += 1;
            }
            Ok::<u32, strongroom_hsm::HsmError>(calls)
        });
    }
    let mut calls = 0;
    while let Some(ended) = callers.join_next().await {
        calls += ended??;
    }
    service.stop().await;
    Ok(f64::from(calls) / ROUND.as_secs_f64())
}

/// Plain calls a second, made by this program in a process of its own.
fn in_a_process(conf: &Path, task: &Plain) -> Outcome<f64> {
    let output = Command::new(std::env::current_exe()?)
        .env("SOFTHSM2_CONF", conf)
        .env(PLAIN, serde_json::to_string(task)?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn plain(task: &Plain) -> Outcome<f64> {
    let context = Pkcs11::new(&task.module)?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = context.get_slots_with_initialized_token()?.into_iter().next().ok_or("there is no token")?;
    let session = context.open_ro_session(slot)?;
    session.login(UserType::User, Some(&AuthPin::new(PIN.to_owned().into_boxed_str())))?;
    let end = Instant::now() + ROUND;
    let mut calls = 0;
    std::thread::scope(|scope| -> Outcome<()> {
        let mut lanes = Vec::new();
        for _ in 0..task.threads {
            let session = context.open_ro_session(slot)?;
            lanes.push(scope.spawn(move || decrypt_until(end, &session, task)));
        }
        for lane in lanes {
            calls += lane.join().ok().ok_or("a thread ended early")??;
        }
        Ok(())
    })?;
    Ok(f64::from(calls) / ROUND.as_secs_f64())
}

fn decrypt_until(end: Instant, session: &Session, task: &Plain) -> Outcome<u32> {
    let found = session.find_objects(&[Attribute::Id(task.id.to_vec())])?;
    let key = found.into_iter().next().ok_or("the key is not there")?;
    let mut calls = 0;
    while Instant::now() < end {
        let mut iv = task.iv.clone();
        let parameters = GcmParams::new(&mut iv, CONTEXT, 128.into())?;
        session.decrypt(&Mechanism::AesGcm(parameters), key, &task.ciphertext)?;
        calls += 1;
    }
    Ok(calls)
}
