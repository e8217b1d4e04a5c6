//! A fresh token, and a service on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use strongroom_hsm::{
    KeyKind, KeyRef, KeyService, KnownKey, SecretBytes, TokenConfig, WorkerProgram, initialize_token,
};

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const LABEL: &str = "strongroom-test";
pub(crate) const PIN: &[u8] = b"user pin of the test token";

/// A token in a temporary folder, which goes with it.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) serial: String,
}

impl Stand {
    pub(crate) async fn new() -> Self {
        assert!(
            Path::new(MODULE).exists(),
            "these tests need SoftHSM (package softhsm2): {MODULE} is missing"
        );
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            tokens.display()
        );
        fs::write(folder.path().join("softhsm2.conf"), text).unwrap();
        let mut stand = Self { folder, serial: String::new() };
        stand.serial = stand.initialize(LABEL).await.unwrap();
        stand
    }

    pub(crate) async fn initialize(&self, label: &str) -> Result<String, strongroom_hsm::HsmError> {
        let so_pin = SecretBytes::copy_of(b"so pin of the test token");
        let module = Path::new(MODULE);
        let conf = self.conf();
        initialize_token(program(), module, Some(&conf), label, so_pin, SecretBytes::copy_of(PIN)).await
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig { softhsm_conf: Some(self.conf()), ..TokenConfig::new(MODULE, LABEL) }
    }

    pub(crate) async fn service(&self, keys: &[KnownKey]) -> KeyService {
        self.try_service(keys).await.unwrap()
    }

    pub(crate) async fn try_service(
        &self,
        keys: &[KnownKey],
    ) -> Result<KeyService, strongroom_hsm::HsmError> {
        start(self.config(), keys).await
    }
}

pub(crate) async fn start(
    config: TokenConfig,
    keys: &[KnownKey],
) -> Result<KeyService, strongroom_hsm::HsmError> {
    KeyService::start(program(), config, SecretBytes::copy_of(PIN), keys.to_vec()).await
}

pub(crate) fn program() -> WorkerProgram {
    WorkerProgram { program: env!("CARGO_BIN_EXE_strongroom-hsm-worker").into(), args: Vec::new() }
}

/// A name that no other key of this process has.
pub(crate) fn key(kind: KeyKind) -> KeyRef {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    KeyRef { label: format!("strongroom/test/{kind:?}/{number}"), id: [number; 16], kind }
}

pub(crate) fn data_key() -> SecretBytes {
    SecretBytes::copy_of(&[0x42; 32])
}

pub(crate) fn send_signal(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

pub(crate) fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until `condition` holds; fails after half a minute.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < limit, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
