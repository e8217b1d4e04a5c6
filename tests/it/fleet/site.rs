//! A served vault and a Cloud Assistant with many scripted instances.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use strongroom_fixtures::emulator::{Config, Emulator, Instance, Os};
use tempfile::TempDir;

use crate::harness::{Appliance, Client, strongroom};
use crate::rotation::Credential;

/// How long a crowd may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// All parts.
pub(crate) struct Site {
    pub(crate) appliance: Appliance,
    pub(super) emulator: Arc<Emulator>,
    clock: PathBuf,
    ahead: i64,
    folder: TempDir,
}

/// The name of an instance.
pub(super) fn instance(number: usize) -> String {
    format!("i-{number:03}")
}

/// The name of a secret of an instance's user.
pub(crate) fn secret(number: usize, user: usize) -> String {
    format!("acs/ecs/{}-u{user}", instance(number))
}

impl Site {
    /// A vault with these settings below `[rotation]`, and so many instances,
    /// whose commands take that long.
    pub(crate) async fn new(rotation: &str, instances: usize, delay_millis: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cloud = Config::in_dir(&folder.path().join("cloud"));
        cloud.timing.delivery_millis = 2;
        cloud.timing.abort_millis = 60;
        for number in 0..instances {
            let scripted = Instance::scripted(instance(number), Os::Linux).with_address("10.0.0.1");
            cloud.instances.push(Instance { delay_millis, ..scripted });
        }
        let emulator = Arc::new(Emulator::start(cloud).unwrap());
        let mut site = Self {
            appliance: Appliance::new(),
            emulator,
            clock: folder.path().join("clock"),
            ahead: 0,
            folder,
        };
        site.join(rotation);
        site.put_forward(0);
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
        let pairs = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", site.clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            // Nothing may depend on the zone of the machine.
            ("TZ", "Pacific/Chatham"),
        ];
        site.appliance.environment(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
        site.appliance.start().await;
        site
    }

    fn join(&self, rotation: &str) {
        let secret = self.folder.path().join("cloud-key");
        fs::write(&secret, Config::TEST_KEY_SECRET).unwrap();
        self.appliance.configure(|text| {
            *text = text.replace("key_type = \"rsa2048\"\n", "key_type = \"ed25519\"\n");
            for line in ["concurrency = 10\n", "per_instance = 2\n"] {
                *text = text.replace(line, "");
            }
            *text = text.replace("[rotation]\n", &format!("[rotation]\n{rotation}\n"));
            let (endpoint, ca) = (self.emulator.endpoint(), self.emulator.ca_file());
            text.push_str(&format!("\n[cloud]\nendpoint = \"{endpoint}\"\nca_file = {ca:?}\npace_ms = 20\n"));
        });
        let stored = strongroom(&[
            "cloud",
            "credentials",
            "--config",
            self.appliance.config().to_str().unwrap(),
            "--access-key-id",
            Config::TEST_KEY_ID,
            "--secret-file",
            secret.to_str().unwrap(),
        ]);
        assert!(stored.status.success(), "{}", String::from_utf8_lossy(&stored.stderr));
    }

    /// Sets the clock of vault and cloud forward, or back; clients have to be made anew.
    pub(crate) fn put_forward(&mut self, seconds: i64) {
        self.ahead += seconds;
        let new = self.clock.with_extension("new");
        fs::write(&new, format!("{:+}\n", self.ahead)).unwrap();
        fs::rename(&new, &self.clock).unwrap();
        self.appliance.clock_is_ahead(self.ahead);
        self.emulator.set_clock_skew(self.ahead);
    }

    /// A client of the administrator, by the present clock.
    pub(crate) fn admin(&self) -> Client {
        self.appliance.admin()
    }

    /// Creates the secrets of `users` users on each of these instances.
    pub(crate) async fn create(
        &self,
        instances: std::ops::Range<usize>,
        users: usize,
        more: &[(&str, &str)],
    ) {
        let (admin, key) = (self.admin(), Credential::key("u"));
        for number in instances {
            let config = json!({ "SecretSubType": "SSHKey", "InstanceId": instance(number),
                "RegionId": "cn-hangzhou", "CustomData": {} });
            let config = config.to_string();
            for user in 0..users {
                let mut value: Value = serde_json::from_str(&key.text()).unwrap();
                value["UserName"] = json!(format!("u{user}"));
                let (name, data) = (secret(number, user), value.to_string());
                let parameters = [
                    ("SecretName", name.as_str()),
                    ("VersionId", "v1"),
                    ("SecretType", "ECS"),
                    ("ExtendedConfig", &config),
                    ("SecretData", &data),
                ];
                admin.ok("CreateSecret", &[&parameters[..], more].concat()).await;
            }
        }
    }

    /// How many rotations there are of each secret, and in which state the last one is.
    pub(super) fn rotations(&self) -> HashMap<String, (usize, String)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(self.appliance.database(), flags).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        let sql =
            "SELECT body ->> '$.secret_name', body ->> '$.state' FROM rotations ORDER BY started_ms, rowid";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let mut found: HashMap<String, (usize, String)> = HashMap::new();
        for (name, state) in rows.unwrap().map(Result::unwrap) {
            let entry = found.entry(name).or_insert((0, String::new()));
            *entry = (entry.0 + 1, state);
        }
        found
    }

    /// Waits until `condition` holds of the rotations.
    pub(crate) async fn until(
        &self,
        what: &str,
        condition: impl Fn(&HashMap<String, (usize, String)>) -> bool,
    ) -> HashMap<String, (usize, String)> {
        let since = Instant::now();
        loop {
            let rotations = self.rotations();
            if condition(&rotations) {
                return rotations;
            }
            assert!(since.elapsed() < PATIENCE, "waited in vain: {what}: {rotations:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A campaign as the API describes it, once it is as it should be.
    pub(super) async fn campaign_that(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let campaign = self.admin().ok("DescribeRotationCampaign", &[("CampaignId", id)]).await;
            if fits(&campaign) {
                return campaign;
            }
            assert!(since.elapsed() < PATIENCE, "waited in vain: {what}: {campaign}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// Looks at the emulator all the time, and keeps the most commands that it had
/// going on at once.
pub(super) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, HashMap<String, usize>)>,
}

impl Watcher {
    pub(super) fn start(emulator: &Arc<Emulator>) -> Self {
        let (stop, emulator) = (Arc::new(AtomicBool::new(false)), Arc::clone(emulator));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut most, mut most_of) = (0, HashMap::<String, usize>::new());
            while !stopped.load(Ordering::Relaxed) {
                let mut now = HashMap::<String, usize>::new();
                let records = emulator.records();
                for row in records.invocations.iter().flat_map(|i| &i.rows) {
                    if !row.status.is_terminal() {
                        *now.entry(row.instance_id.clone()).or_insert(0) += 1;
                    }
                }
                most = most.max(now.values().sum());
                for (id, count) in now {
                    let entry = most_of.entry(id).or_insert(0);
                    *entry = count.max(*entry);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (most, most_of)
        });
        Self { stop, thread }
    }

    /// The most at once, and of each instance.
    pub(super) fn end(self) -> (usize, HashMap<String, usize>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
