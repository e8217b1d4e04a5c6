//! One vault, one Cloud Assistant and one host, and what can be seen of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use strongroom::cloud_assistant::plugin::LINUX_PLUGIN;
use strongroom_fixtures::emulator::{Config, Emulator, Fault, Instance};
use strongroom_fixtures::hosts::{HostSpec, HostUser, TestHost, ssh_key_login, ssh_password_login};
use tempfile::TempDir;

use crate::harness::{Appliance, Client, strongroom};

/// The user on the host.
pub(super) const USER: &str = "deploy";
/// The secret.
pub(super) const NAME: &str = "acs/ecs/host/deploy";
/// How long a rotation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// Where the real plug-in lies while a wrapper stands in its place.
const ITSELF: &str = "/usr/local/lib/strongroom/itself";
/// Takes the proofs out of what the plug-in says of an `apply` or a `status`.
const PROOFLESS: &str = r#"#!/bin/sh
/usr/local/lib/strongroom/itself "$@" | sed '/"op":"\(apply\|status\)"/s/"proof":{[^}]*}/"proof":{}/'
"#;

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Password,
    Key,
}

impl Kind {
    pub(super) const BOTH: [Self; 2] = [Self::Password, Self::Key];

    const fn sub_type(self) -> &'static str {
        match self {
            Self::Password => "Password",
            Self::Key => "SSHKey",
        }
    }
}

/// The value of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential(Value);

impl Credential {
    /// A password.
    pub(super) fn password(user: &str, password: &str) -> Self {
        Self(json!({ "UserName": user, "Password": password }))
    }

    /// A new key pair.
    pub(crate) fn key(user: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "first", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let public = read(&file.with_extension("pub"));
        Self(json!({ "UserName": user, "PublicKey": public.trim(), "PrivateKey": read(&file) }))
    }

    /// From `SecretData`.
    pub(super) fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    /// As `SecretData`.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// The password, or the private key.
    pub(super) fn secret(&self) -> &str {
        let secret = self.0["Password"].as_str().or_else(|| self.0["PrivateKey"].as_str());
        secret.unwrap()
    }

    /// The public key.
    pub(super) fn public(&self) -> &str {
        self.0["PublicKey"].as_str().unwrap()
    }

    /// Whether it logs its user on.
    #[track_caller]
    pub(super) fn logs_on(&self, host: &TestHost) -> bool {
        let user = self.0["UserName"].as_str().unwrap();
        let answer = match self.0["Password"].as_str() {
            Some(password) => ssh_password_login(host.address(), user, password),
            None => ssh_key_login(host.address(), user, self.secret()),
        };
        answer.unwrap()
    }
}

/// A rotation's row, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) version: String,
    pub(super) state: String,
    pub(super) trouble: Option<String>,
    pub(super) over: bool,
}

/// All parts. What it is made of ends when it is dropped.
pub(super) struct World {
    pub(super) appliance: Appliance,
    emulator: Option<Emulator>,
    cloud: Config,
    pub(super) host: TestHost,
    first: Credential,
    clock: Option<PathBuf>,
    ahead: i64,
    folder: TempDir,
}

/// The plug-in as it is shipped, built once, in a folder of its own: what the
/// plug-in's own tests use beside it has features for tests.
pub(crate) fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_strongroom"));
        let target = program.ancestors().nth(2).unwrap().join("shipped");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "strongroom-plugin", "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("CARGO_TARGET_DIR")
            .status();
        assert!(built.unwrap().success(), "the plug-in cannot be built");
        target.join("debug/strongroom-rotator")
    })
}

impl World {
    /// A served vault with one secret, whose credential is in force on the host.
    pub(super) async fn new(kind: Kind) -> Self {
        Self::with(kind, "", false).await
    }

    /// As [`new`](Self::new), all of it on a clock that can be put forward.
    pub(super) async fn with_clock(kind: Kind) -> Self {
        Self::with(kind, "", true).await
    }

    /// As [`new`](Self::new), with other settings below `[rotation]`.
    pub(super) async fn with(kind: Kind, rotation: &str, clock: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "test hosts are made of namespaces: run this test as root"
        );
        let folder = tempfile::tempdir().unwrap();
        let first = match kind {
            Kind::Password => Credential::password(USER, &format!("Begin-{}", crate::harness::wire::nonce())),
            Kind::Key => Credential::key(USER),
        };
        let user = match kind {
            Kind::Password => HostUser::new(USER).password(first.secret()),
            Kind::Key => HostUser::new(USER).authorized_key(first.public()),
        };
        let name = format!("rot-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let host = TestHost::start(&HostSpec::new(name, folder.path().join("host")).user(user)).unwrap();
        let mut cloud = Config::in_dir(&folder.path().join("cloud"));
        cloud.timing.delivery_millis = 5;
        cloud.timing.abort_millis = 60;
        cloud
            .instances
            .push(Instance::namespace(host.instance_id(), host.pid_file()).with_address(host.address()));
        let emulator = Emulator::start(cloud.clone()).unwrap();
        cloud.listen = emulator.endpoint().parse().unwrap();
        let appliance = Appliance::new();
        let mut world =
            Self { appliance, emulator: Some(emulator), cloud, host, first, clock: None, ahead: 0, folder };
        // A wrong password would be answered two seconds later.
        world.shell("sed -i '/pam_unix.so/s/$/ nodelay/' /etc/pam.d/common-auth");
        world.install_plugin();
        world.join(rotation);
        if clock {
            world.put_clock_under_control();
        }
        world.appliance.start().await;
        let first = world.first.clone();
        world.create(NAME, kind, world.host.instance_id(), &first).await;
        world
    }

    /// Tells the vault where its cloud is.
    fn join(&self, rotation: &str) {
        let secret = self.folder.path().join("cloud-key");
        fs::write(&secret, Config::TEST_KEY_SECRET).unwrap();
        let (config, secret) = (self.appliance.config(), secret.to_str().unwrap().to_owned());
        self.appliance.configure(|text| {
            let (endpoint, ca) = (self.cloud().endpoint(), self.cloud().ca_file());
            *text = text.replace("manual_per_hour = 50\n", "");
            *text = text.replace("[rotation]\n", &format!("[rotation]\n{rotation}\n"));
            if !rotation.contains("manual_per_hour") {
                *text = text.replace("[rotation]\n", "[rotation]\nmanual_per_hour = 100000\n");
            }
            if rotation.contains("key_type") {
                *text = text.replace("key_type = \"rsa2048\"\n", "");
            }
            text.push_str(&format!("\n[cloud]\nendpoint = \"{endpoint}\"\nca_file = {ca:?}\npace_ms = 20\n"));
        });
        let stored = strongroom(&[
            "cloud",
            "credentials",
            "--config",
            config.to_str().unwrap(),
            "--access-key-id",
            Config::TEST_KEY_ID,
            "--secret-file",
            &secret,
        ]);
        assert!(stored.status.success(), "{}", String::from_utf8_lossy(&stored.stderr));
    }

    /// Puts the program under a clock of its own; to be called while it does not run.
    pub(super) fn put_clock_under_control(&mut self) {
        self.clock = Some(self.folder.path().join("clock"));
        self.put_forward(0);
        self.environment(&[]);
    }

    /// Sets the clock of vault and cloud forward; clients have to be made anew.
    pub(super) fn put_forward(&mut self, seconds: i64) {
        self.ahead += seconds;
        let file = self.clock.as_ref().expect("the clock is not under control");
        let new = file.with_extension("new");
        fs::write(&new, format!("{:+}\n", self.ahead)).unwrap();
        fs::rename(&new, file).unwrap();
        self.appliance.clock_is_ahead(self.ahead);
        self.cloud().set_clock_skew(self.ahead);
    }

    /// Sets what the program finds in its environment at its next start.
    pub(super) fn environment(&mut self, more: &[(&str, &str)]) {
        let mut all: Vec<(String, String)> = Vec::new();
        if let Some(clock) = &self.clock {
            let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
            let library = format!("{folder}/libfaketimeMT.so.1");
            assert!(
                Path::new(&library).exists(),
                "{library} is missing: install the Debian package faketime"
            );
            let pairs = [
                ("LD_PRELOAD", library.as_str()),
                ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ];
            all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.appliance.environment(all);
    }

    /// A client of the administrator, by the present clock.
    pub(super) fn admin(&self) -> Client {
        self.appliance.admin()
    }

    /// The Cloud Assistant.
    pub(super) fn cloud(&self) -> &Emulator {
        self.emulator.as_ref().expect("the cloud is away")
    }

    /// Takes the Cloud Assistant away.
    pub(super) fn cloud_goes(&mut self) {
        self.emulator.take().unwrap().stop();
    }

    /// Brings it back where it was.
    pub(super) fn cloud_returns(&mut self) {
        let emulator = Emulator::start(self.cloud.clone()).unwrap();
        emulator.set_clock_skew(self.ahead);
        self.emulator = Some(emulator);
    }

    /// Sets faults of the cloud.
    pub(super) fn suffer(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.cloud().set_fault(fault));
    }

    /// Runs a shell command on the host; it must succeed.
    #[track_caller]
    pub(super) fn shell(&self, command: &str) -> String {
        let output = self.host.exec(&["sh", "-c", command]).unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Puts the plug-in where it belongs.
    pub(super) fn install_plugin(&self) {
        self.host.install(plugin(), LINUX_PLUGIN, 0o755).unwrap();
    }

    /// Puts a wrapper there that takes the proofs away, except those of `verify`.
    pub(super) fn install_proofless_plugin(&self) {
        self.host.install(plugin(), ITSELF, 0o755).unwrap();
        let wrapper = self.folder.path().join("wrapper");
        fs::write(&wrapper, PROOFLESS).unwrap();
        self.host.install(&wrapper, LINUX_PLUGIN, 0o755).unwrap();
    }

    /// Creates a secret.
    pub(super) async fn create(&self, name: &str, kind: Kind, instance: &str, value: &Credential) {
        let config = extended_config(kind, instance);
        let parameters = create_parameters(name, &config);
        let data = value.text();
        self.admin().ok("CreateSecret", &[&parameters[..], &[("SecretData", &data)]].concat()).await;
    }

    /// Begins a rotation of the secret.
    pub(super) async fn rotate(&self, version: &str) {
        self.admin().ok("RotateSecret", &[("SecretName", NAME), ("VersionId", version)]).await;
    }

    /// Rotates, and waits for the end; gives it.
    pub(super) async fn rotate_to_the_end(&self, version: &str) -> Row {
        self.rotate(version).await;
        self.over(version).await
    }

    /// Waits until the rotation to that version is over; gives its row.
    pub(super) async fn over(&self, version: &str) -> Row {
        self.row_that(version, |row| row.over).await
    }

    /// Waits until the row of the rotation to that version is as it should be.
    pub(super) async fn row_that(&self, version: &str, fits: impl Fn(&Row) -> bool) -> Row {
        self.row_within(PATIENCE, version, fits).await
    }

    /// As [`row_that`](Self::row_that), with another patience.
    pub(super) async fn row_within(
        &self,
        patience: Duration,
        version: &str,
        fits: impl Fn(&Row) -> bool,
    ) -> Row {
        let since = Instant::now();
        loop {
            let row = self.rows().into_iter().find(|row| row.version == version);
            if let Some(row) = row.clone().filter(&fits) {
                return row;
            }
            assert!(since.elapsed() < patience, "waited in vain for {version}: {row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All rotations that the database knows, oldest first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let connection =
            Connection::open_with_flags(self.appliance.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        let sql = "SELECT id, body ->> '$.secret_name', body ->> '$.version', body ->> '$.state', \
                   body ->> '$.trouble.code', over FROM rotations ORDER BY started_ms, rowid";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            Ok(Row {
                id: row.get(0)?,
                secret: row.get(1)?,
                version: row.get(2)?,
                state: row.get(3)?,
                trouble: row.get(4)?,
                over: row.get(5)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The value with a stage; `None` when there is none.
    pub(super) async fn value_of(&self, name: &str, stage: &str) -> Option<Credential> {
        let parameters = [("SecretName", name), ("VersionStage", stage)];
        let answer = self.admin().call("GetSecretValue", &parameters).await.ok()?;
        Some(Credential::read(answer["SecretData"].as_str().unwrap()))
    }

    /// The current value.
    pub(super) async fn current(&self, name: &str) -> Credential {
        Credential::read(&self.admin().value(name).await)
    }

    /// The versions with the stages of each.
    pub(super) async fn stages(&self, name: &str) -> Vec<(String, Vec<String>)> {
        let answer =
            self.admin().ok("ListSecretVersionIds", &[("SecretName", name), ("PageSize", "100")]).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let versions = answer["VersionIds"]["VersionId"].as_array().unwrap();
        versions
            .iter()
            .map(|v| {
                let stages = v["VersionStages"]["VersionStage"].as_array().unwrap();
                (text(&v["VersionId"]), stages.iter().map(text).collect())
            })
            .collect()
    }

    /// The stages of a version; `None` when there is no such version.
    pub(super) async fn stages_of(&self, name: &str, version: &str) -> Option<Vec<String>> {
        self.stages(name).await.into_iter().find(|(id, _)| id == version).map(|(_, stages)| stages)
    }

    /// Checks what must hold while no rotation goes on, and gives the current
    /// value: it logs on, the one before does not, nothing is pending.
    pub(super) async fn at_rest(&self, context: &str) -> Credential {
        let stages = self.stages(NAME).await;
        let pending = stages.iter().any(|(_, stages)| stages.iter().any(|stage| stage == "ACSPending"));
        assert!(!pending, "{context}: a version is pending: {stages:?}");
        let current = self.current(NAME).await;
        assert!(current.logs_on(&self.host), "{context}: the current version does not log on");
        if let Some(previous) = self.value_of(NAME, "ACSPrevious").await {
            assert!(!previous.logs_on(&self.host), "{context}: the previous version logs on");
        }
        current
    }

    /// Waits until Cloud Assistant has no run going on.
    pub(super) async fn quiet(&self) {
        let since = Instant::now();
        while self
            .cloud()
            .records()
            .invocations
            .iter()
            .flat_map(|i| &i.rows)
            .any(|row| !row.status.is_terminal())
        {
            assert!(since.elapsed() < PATIENCE, "a run does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The outcomes of a rotation that the journal has.
    pub(super) fn outcomes(&self, rotation: &str) -> Vec<Value> {
        let is_outcome = |event: &Value| {
            let more = &event["additionalEventData"];
            let phase = more["rotation"]["phase"].as_str();
            more["correlationId"] == rotation && matches!(phase, Some("finished" | "failed"))
        };
        self.appliance.audit_events().into_iter().filter(is_outcome).collect()
    }

    /// Files of the test, the state of the cloud among them.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The parameter `ExtendedConfig`.
pub(super) fn extended_config(kind: Kind, instance: &str) -> String {
    json!({ "SecretSubType": kind.sub_type(), "InstanceId": instance, "RegionId": "cn-hangzhou", "CustomData": {} })
        .to_string()
}

/// Parameters of CreateSecret but for the value.
pub(super) fn create_parameters<'a>(name: &'a str, config: &'a str) -> [(&'a str, &'a str); 4] {
    [("SecretName", name), ("VersionId", "v1"), ("SecretType", "ECS"), ("ExtendedConfig", config)]
}
