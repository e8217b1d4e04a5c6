//! A whole appliance for one test: a vault made by `strongroom init` in a
//! folder of its own, served by the real program, and clients of it.
//!
//! Each appliance listens on a loopback address that no other has, so that
//! tests may run side by side and a restart finds its port free.

pub(crate) mod client;
pub(crate) mod described;
pub(crate) mod wire;

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use strongroom::audit::Tail;
use tempfile::TempDir;

pub(crate) use self::client::{AccessKey, Client};
pub(crate) use self::wire::{Connection, Reply, Request};

/// How long anything that has to happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The account of every appliance of the tests.
pub(crate) const ACCOUNT: &str = "1234567890123456";
/// Its region.
pub(crate) const REGION: &str = "cn-hangzhou";

/// A policy document that allows (or denies) actions on resources.
pub(crate) fn policy(effect: &str, actions: &[&str], resources: &[&str]) -> String {
    let statement = serde_json::json!({ "Effect": effect, "Action": actions, "Resource": resources });
    serde_json::json!({ "Version": "1", "Statement": [statement] }).to_string()
}

/// A policy of a secret that allows (or denies) these principals actions on
/// it; `*` is the whole account.
pub(crate) fn secret_policy(effect: &str, principals: &[&str], actions: &[&str]) -> String {
    let names: Vec<_> = principals.iter().map(|name| format!("acs:ram::{ACCOUNT}:{name}")).collect();
    let statement = serde_json::json!({ "Effect": effect, "Principal": { "RAM": names }, "Action": actions,
        "Resource": "*" });
    serde_json::json!({ "Version": "1", "Statement": [statement] }).to_string()
}

/// The ARN of a secret.
pub(crate) fn secret_arn(name: &str) -> String {
    format!("acs:kms:{REGION}:{ACCOUNT}:secret/{name}")
}

/// Waits until `condition` gives something; fails the test when it never does.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs the program with these arguments, and waits for its end.
pub(crate) fn strongroom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strongroom")).args(arguments).output().unwrap()
}

/// A loopback address and a port of it that belong to this test alone.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let [.., count] = (number % 250 + 1).to_be_bytes();
    let address = Ipv4Addr::new(127, high | 0x80, low, count);
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap()
}

/// A vault, and the process that serves it while there is one. Dropping it
/// ends the process and removes every file.
pub(crate) struct Appliance {
    dir: TempDir,
    address: SocketAddr,
    admin: AccessKey,
    process: Option<Child>,
    users: AtomicU32,
    environment: Vec<(String, String)>,
    clock_ahead: i64,
}

impl Appliance {
    /// A vault that is not served yet, made by `strongroom init` with SoftHSM.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let address = own_address();
        let (data, credentials) = (dir.path().join("vault"), dir.path().join("admin.toml"));
        let made = strongroom(&[
            "init",
            "--data-dir",
            data.to_str().unwrap(),
            "--listen",
            &address.to_string(),
            "--account",
            ACCOUNT,
            "--region",
            REGION,
            "--credentials-file",
            credentials.to_str().unwrap(),
        ]);
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(
            !said.contains("find SoftHSM"),
            "the tests need SoftHSM: install the Debian package softhsm2"
        );
        assert!(made.status.success(), "init failed: {said}");
        let profile: toml::Table = fs::read_to_string(&credentials).unwrap().parse().unwrap();
        let text = |name: &str| profile["default"][name].as_str().unwrap().to_owned();
        let admin = AccessKey { id: text("access_key_id"), secret: text("access_key_secret") };
        Self {
            dir,
            address,
            admin,
            process: None,
            users: AtomicU32::new(0),
            environment: Vec::new(),
            clock_ahead: 0,
        }
    }

    /// A vault that is served.
    pub(crate) async fn running() -> Self {
        let mut appliance = Self::new();
        appliance.start().await;
        appliance
    }

    /// Changes the text of the configuration file, for the next start.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut String)) {
        let mut text = fs::read_to_string(self.config()).unwrap();
        change(&mut text);
        fs::write(self.config(), text).unwrap();
    }

    /// Replaces what is added to the environment of the program, for the next start.
    pub(crate) fn environment(&mut self, variables: Vec<(String, String)>) {
        self.environment = variables;
    }

    /// Tells how far the program's clock is ahead of this machine's, so that new
    /// clients sign by it.
    pub(crate) const fn clock_is_ahead(&mut self, seconds: i64) {
        self.clock_ahead = seconds;
    }

    /// Serves, and waits until it does.
    pub(crate) async fn start(&mut self) {
        if let Err(status) = self.try_start().await {
            panic!("the appliance ended with {status}: {}", self.log());
        }
    }

    /// Serves; when the program ends instead, gives how.
    pub(crate) async fn try_start(&mut self) -> Result<(), ExitStatus> {
        assert!(self.process.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["serve", "--config", self.config().to_str().unwrap()])
            .env("STRONGROOM_LOG", "debug")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(self.dir.path().join("stdout")).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.as_mut().and_then(|child| child.try_wait().unwrap()) {
                self.process = None;
                return Err(status);
            }
            if self.is_healthy().await {
                return Ok(());
            }
            assert!(since.elapsed() < PATIENCE, "it does not serve: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether `/healthz` says that all is well.
    pub(crate) async fn is_healthy(&self) -> bool {
        let Ok(mut connection) = Connection::try_open(self).await else { return false };
        let probe = Request::new("GET", "/healthz");
        connection.try_send(&probe).await.is_ok_and(|reply| reply.status == 200)
    }

    /// Ends the appliance as an operator does, and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends the appliance between two instructions.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.process.take().expect("it does not run");
        let since = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops and starts.
    pub(crate) async fn restart(&mut self) {
        assert!(self.stop().success(), "it did not end well: {}", self.log());
        self.start().await;
    }

    /// Whether the process lives.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("it does not run"))
    }

    /// Its key worker.
    pub(crate) fn worker_pid(&self) -> Option<Pid> {
        let pid = self.pid().as_raw_nonzero();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        // A child belongs to the thread that made it.
        let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        let children: String = children.collect();
        children.split_whitespace().find_map(|child| Pid::from_raw(child.parse().ok()?))
    }

    /// A client with the administrator's key.
    pub(crate) fn admin(&self) -> Client {
        self.client(&self.admin)
    }

    /// The administrator's key.
    pub(crate) const fn admin_key(&self) -> &AccessKey {
        &self.admin
    }

    /// A client with that key.
    pub(crate) fn client(&self, key: &AccessKey) -> Client {
        Client::new(&self.endpoint(), &self.ca_file(), key, self.clock_ahead)
    }

    /// A client with the key of a new user, who has these policies and no others.
    pub(crate) async fn user_with(&self, documents: &[String]) -> Client {
        let name = format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed));
        self.named_user_with(&name, documents).await
    }

    /// As [`user_with`](Self::user_with), with a name that the test chooses.
    pub(crate) async fn named_user_with(&self, name: &str, documents: &[String]) -> Client {
        let admin = self.admin();
        admin.ok("CreateUser", &[("UserName", name)]).await;
        for (number, document) in documents.iter().enumerate() {
            let policy = format!("{name}-{number}");
            admin.ok("CreatePolicy", &[("PolicyName", &policy), ("PolicyDocument", document)]).await;
            let pair = [("UserName", name), ("PolicyName", &policy), ("PolicyType", "Custom")];
            admin.ok("AttachPolicyToUser", &pair).await;
        }
        let made = admin.ok("CreateAccessKey", &[("UserName", name)]).await;
        let text = |member: &str| made["AccessKey"][member].as_str().unwrap().to_owned();
        self.client(&AccessKey { id: text("AccessKeyId"), secret: text("AccessKeySecret") })
    }

    /// Every event of the audit journal, in order.
    pub(crate) fn audit_events(&self) -> Vec<Value> {
        let mut tail = Tail::open(&self.audit_folder(), usize::MAX).unwrap();
        let mut events = Vec::new();
        while let Some(line) = tail.read().unwrap() {
            events.push(line.event().unwrap());
        }
        events
    }

    /// The events that belong to one request.
    pub(crate) fn audit_of(&self, request_id: &str) -> Vec<Value> {
        self.audit_events().into_iter().filter(|event| event["requestId"] == request_id).collect()
    }

    /// Everything in the database, in the order of the tables and keys.
    pub(crate) fn rows(&self) -> Vec<String> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let tables = [
            "settings",
            "secrets",
            "secret_tags",
            "name_blocks",
            "versions",
            "rotations",
            "users",
            "access_keys",
            "policies",
            "attachments",
            "keys",
            "key_aliases",
            "user_groups",
            "group_members",
            "roles",
        ];
        let mut rows = Vec::new();
        for table in tables {
            let mut statement = database.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
            let columns = statement.column_count();
            let found = statement.query_map([], |row| {
                let cells = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
                Ok(format!("{table} {:?}", cells.collect::<Result<Vec<_>, _>>()?))
            });
            rows.extend(found.unwrap().map(Result::unwrap));
        }
        rows
    }

    /// Everything that the program has logged, over all starts.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// `host:port`.
    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of the vault.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// A folder for other files of the test, removed with the appliance.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.data_folder().join("strongroom.toml")
    }

    /// The CA to believe.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.data_folder().join("tls/ca.pem")
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data_folder().join("strongroom.db")
    }

    /// The folder of the audit journal.
    pub(crate) fn audit_folder(&self) -> PathBuf {
        self.data_folder().join("audit")
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            // The captured output of a failed test is where the log is looked for.
            println!("--- log of the appliance\n{}", self.log());
        }
    }
}
