//! The installation of the plug-in, against a stand-in that runs each script
//! with the system's shell, below a temporary folder.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use strongroom::cloud_assistant::CommandError;
use strongroom::cloud_assistant::client::Delivery;
use strongroom::cloud_assistant::install::{InstallError, Installed, PIECE};
use strongroom::cloud_assistant::plugin::WINDOWS_PLUGIN;
use strongroom::model::OsFamily;

use super::commands::{commander, instance};
use super::server::{Reply, Seen, Server};

/// An instance: where its files lie, and what goes wrong with it.
struct Machine {
    root: tempfile::TempDir,
    runs: Mutex<HashMap<String, String>>,
    tokens: Mutex<HashMap<String, String>>,
    /// Commands that it takes before it refuses all others.
    takes: AtomicUsize,
    /// Answers every first attempt of a call with 503 after having acted on it.
    stutters: AtomicBool,
    /// Changes a byte in what it is sent.
    damages: AtomicBool,
    /// Has no gzip.
    is_bare: AtomicBool,
}

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            root: tempfile::tempdir().unwrap(),
            runs: Mutex::default(),
            tokens: Mutex::default(),
            takes: AtomicUsize::new(usize::MAX),
            stutters: AtomicBool::new(false),
            damages: AtomicBool::new(false),
            is_bare: AtomicBool::new(false),
        })
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("strongroom")
    }

    fn program(&self) -> PathBuf {
        self.folder().join("strongroom-rotator")
    }

    async fn serve(self: &Arc<Self>) -> Server {
        let machine = Arc::clone(self);
        Server::start(move |seen| machine.answer(seen)).await
    }

    fn answer(&self, seen: &Seen) -> Reply {
        match seen.action.as_str() {
            "RunCommand" => {
                let token = seen.query["ClientToken"].clone();
                let known = self.tokens.lock().unwrap().get(&token).cloned();
                if let Some(id) = known {
                    return Reply::json(200, &format!(r#"{{"InvokeId":"{id}"}}"#));
                }
                if self.takes.load(Ordering::SeqCst) == 0 {
                    return Reply::json(
                        403,
                        r#"{"Code":"Invocation.ExceedQuota","Message":"m","RequestId":"R"}"#,
                    );
                }
                self.takes.fetch_sub(1, Ordering::SeqCst);
                let id = format!("t-{}", self.run(&seen.query["CommandContent"]));
                self.tokens.lock().unwrap().insert(token, id.clone());
                if self.stutters.load(Ordering::SeqCst) {
                    return Reply::json(
                        503,
                        r#"{"Code":"ServiceUnavailable","Message":"m","RequestId":"R"}"#,
                    );
                }
                Reply::json(200, &format!(r#"{{"InvokeId":"{id}"}}"#))
            }
            _ => {
                let id = &seen.query["InvokeId"];
                let row = self.runs.lock().unwrap()[id].replace("INVOKE", id);
                Reply::json(
                    200,
                    &format!(r#"{{"Invocation":{{"InvocationResults":{{"InvocationResult":[{row}]}}}}}}"#),
                )
            }
        }
    }

    /// Runs a script at once and keeps its result.
    fn run(&self, content: &str) -> usize {
        let mut script = String::from_utf8(BASE64.decode(content.as_bytes()).unwrap())
            .unwrap()
            .replace("/usr/local/lib", self.root.path().to_str().unwrap())
            .replace("chown 0:0", "chown $(id -u):$(id -g)");
        if self.is_bare.load(Ordering::SeqCst) {
            script = script.replace("gzip", "no-such-gzip");
        }
        if self.damages.load(Ordering::SeqCst) {
            script = script.replace("cat \"$D", "echo; cat \"$D");
            script = script.replace("echo; cat", "echo x >>\"$T\"; cat");
        }
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let written = [output.stdout, output.stderr].concat();
        let (status, code) =
            if output.status.success() { ("Success", "") } else { ("Failed", "ExitCodeNonzero") };
        let mut runs = self.runs.lock().unwrap();
        let number = runs.len();
        runs.insert(
            format!("t-{number}"),
            format!(
                r#"{{"InvokeId":"INVOKE","InstanceId":"i-1","InvocationStatus":"{status}","ExitCode":{},"Output":"{}","ErrorCode":"{code}"}}"#,
                output.status.code().unwrap(),
                BASE64.encode(&written)
            ),
        );
        number
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path != self.program())
            .collect()
    }
}

/// A program of five pieces, the last one short, that cannot be packed: noise
/// of a linear congruential generator.
fn program() -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..4 * PIECE + 1234).map(|_| noise()).collect()
}

async fn install(server: &Server, program: &[u8]) -> (Result<Installed, InstallError>, Vec<(usize, usize)>) {
    let mut steps = Vec::new();
    let result = commander(server, Delivery::Inline)
        .install(&instance(), OsFamily::Linux, program, |done, total| steps.push((done, total)))
        .await;
    (result, steps)
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_arrives_whole_and_a_second_time_is_nothing_to_do() {
    let machine = Machine::new();
    let server = machine.serve().await;
    let (result, steps) = install(&server, &program()).await;
    assert_eq!(result.unwrap(), Installed::Now);
    assert_eq!(steps, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    assert_eq!(std::fs::read(machine.program()).unwrap(), program());
    assert_eq!((mode(&machine.program()), mode(&machine.folder())), (0o755, 0o755));
    assert!(machine.leftovers().is_empty());

    let commands = machine.runs.lock().unwrap().len();
    let (result, steps) = install(&server, &program()).await;
    assert_eq!(result.unwrap(), Installed::AlreadyThere);
    assert_eq!(steps, [(5, 5)]);
    assert_eq!(machine.runs.lock().unwrap().len(), commands + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_travels_packed_where_the_instance_can_unpack_it() {
    let text: Vec<u8> = program().iter().map(|byte| byte % 8).collect();
    for is_bare in [false, true] {
        let machine = Machine::new();
        machine.is_bare.store(is_bare, Ordering::SeqCst);
        let server = machine.serve().await;
        let (result, steps) = install(&server, &text).await;
        assert_eq!(result.unwrap(), Installed::Now);
        let (_, pieces) = steps[0];
        assert!(if is_bare { pieces == 5 } else { pieces < 4 }, "{pieces} pieces");
        assert_eq!(std::fs::read(machine.program()).unwrap(), text);
        assert!(machine.leftovers().is_empty());
        assert_eq!(install(&server, &text).await.0.unwrap(), Installed::AlreadyThere);
    }
}

/// No PowerShell runs here: what is sent is put together as the scripts say.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_for_windows_is_sent_packed_in_powershell_and_put_together() {
    let sent = Arc::new(Mutex::new(Vec::<String>::new()));
    let scripts = Arc::clone(&sent);
    let server = Server::start(move |seen| {
        if seen.action == "RunCommand" {
            assert_eq!(seen.query["Type"], "RunPowerShellScript");
            let script = BASE64.decode(seen.query["CommandContent"].as_bytes()).unwrap();
            let mut scripts = scripts.lock().unwrap();
            scripts.push(String::from_utf8(script).unwrap());
            return Reply::json(200, &format!(r#"{{"InvokeId":"t-{}"}}"#, scripts.len()));
        }
        let id = &seen.query["InvokeId"];
        let output = BASE64.encode(b"SR-GZIP\r\nSR-DONE\r\n");
        let row = format!(r#"{{"InvokeId":"{id}","InstanceId":"i-1","InvocationStatus":"Success","ExitCode":0,"Output":"{output}"}}"#);
        Reply::json(200, &format!(r#"{{"Invocation":{{"InvocationResults":{{"InvocationResult":[{row}]}}}}}}"#))
    })
    .await;
    let installed = commander(&server, Delivery::Inline)
        .install(&instance(), OsFamily::Windows, WINDOWS_PLUGIN.as_bytes(), |_, _| ())
        .await;
    assert_eq!(installed.unwrap(), Installed::Now);
    let sent = sent.lock().unwrap();
    let mut packed = Vec::new();
    for script in sent.iter() {
        if let Some((_, rest)) = script.split_once("FromBase64String(@'\n") {
            let (text, _) = rest.split_once("\n'@").unwrap();
            packed.extend(BASE64.decode(text.replace('\n', "").as_bytes()).unwrap());
        }
    }
    assert!(sent.last().unwrap().contains("GZipStream"), "it is not unpacked");
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&packed).unwrap());
    let unpacked = gzip.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    assert_eq!(unpacked, WINDOWS_PLUGIN.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_broke_off_goes_on_where_it_stopped() {
    let machine = Machine::new();
    let server = machine.serve().await;
    machine.takes.store(4, Ordering::SeqCst);
    let (result, _) = install(&server, &program()).await;
    let InstallError::Service { step: "copying", source: CommandError::Definitive { code, .. } } =
        result.unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!(code, "Invocation.ExceedQuota");
    assert!(!machine.program().exists());
    let folder = machine.leftovers().pop().unwrap();
    assert_eq!(mode(&folder), 0o700);

    machine.takes.store(usize::MAX, Ordering::SeqCst);
    let (result, steps) = install(&server, &program()).await;
    assert_eq!(result.unwrap(), Installed::Now);
    assert_eq!(steps.first(), Some(&(3, 5)));
    assert_eq!(std::fs::read(machine.program()).unwrap(), program());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_program_replaces_the_older_one_at_once() {
    let machine = Machine::new();
    let server = machine.serve().await;
    std::fs::create_dir(machine.folder()).unwrap();
    std::fs::write(machine.program(), "old").unwrap();
    let before = std::fs::File::open(machine.program()).unwrap();
    let (result, _) = install(&server, &program()).await;
    assert_eq!(result.unwrap(), Installed::Now);
    assert_eq!(std::fs::read(machine.program()).unwrap(), program());
    // Who has the old one open, or runs it, keeps it whole.
    assert_eq!(std::io::read_to_string(before).unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_arrives_damaged_is_not_put_in_place() {
    let machine = Machine::new();
    let server = machine.serve().await;
    std::fs::create_dir(machine.folder()).unwrap();
    std::fs::write(machine.program(), "old").unwrap();
    machine.damages.store(true, Ordering::SeqCst);
    let (result, _) = install(&server, &program()).await;
    let error = result.unwrap_err();
    assert!(matches!(error, InstallError::Remote { exit_code: Some(23), .. }), "{error:?}");
    assert!(error.to_string().contains("the program arrived damaged"), "{error}");
    assert_eq!(std::fs::read(machine.program()).unwrap(), b"old");
    machine.damages.store(false, Ordering::SeqCst);
    assert_eq!(install(&server, &program()).await.0.unwrap(), Installed::Now);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_a_link_is_not_written_into() {
    let machine = Machine::new();
    let server = machine.serve().await;
    let elsewhere = machine.root.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, machine.folder()).unwrap();
    let error = install(&server, &program()).await.0.unwrap_err();
    assert!(matches!(error, InstallError::Remote { exit_code: Some(21), .. }), "{error:?}");
    assert!(!elsewhere.join("strongroom-rotator").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_answer_is_lost_are_repeated_without_a_second_run() {
    let machine = Machine::new();
    let server = machine.serve().await;
    machine.stutters.store(true, Ordering::SeqCst);
    assert_eq!(install(&server, &program()).await.0.unwrap(), Installed::Now);
    // To look, five pieces, to put in place.
    assert_eq!(machine.runs.lock().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_empty_or_too_long_is_refused_before_anything_is_sent() {
    let machine = Machine::new();
    let server = machine.serve().await;
    for program in [Vec::new(), vec![0; strongroom::cloud_assistant::install::MAX_PROGRAM + 1]] {
        assert!(matches!(install(&server, &program).await.0, Err(InstallError::Program { .. })));
    }
    assert!(server.seen().is_empty());
}
