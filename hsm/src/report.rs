//! What is told about the token and its worker.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Who makes the initialisation vector of AES-GCM, found out at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IvMode {
    /// The token uses the one it is given (SoftHSM, kryoptic).
    Caller,
    /// The token writes its own into the caller's buffer (AWS CloudHSM).
    Returned,
    /// The token appends its own to the ciphertext (Luna in FIPS mode).
    Appended {
        /// Length of what is appended: 12 or 16 bytes.
        iv_bytes: u8,
    },
}

/// How the key service stands; asking costs no call.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether calls are served.
    pub state: State,
    /// Process id of the worker, while there is one.
    pub worker_pid: Option<u32>,
    /// How often the worker was started again.
    pub restarts: u64,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token.
    pub token_serial: String,
    /// Who makes the initialisation vectors.
    pub iv_mode: IvMode,
    /// Sessions that do the work; fewer than configured if the token refused
    /// to open more.
    pub sessions: u16,
    /// Calls under way.
    pub in_flight: usize,
}

/// Whether calls are served.
#[derive(Clone, Debug)]
pub enum State {
    /// Calls are served.
    Ready,
    /// The worker is being started again; calls are refused at once.
    Down {
        /// Since when.
        since: Instant,
        /// What happened.
        why: String,
    },
    /// The token refused the PIN. It is not tried again in this process.
    PinRefused {
        /// The refusal in full.
        why: String,
    },
    /// [`KeyService::stop`](crate::KeyService::stop) was called.
    Stopped,
}

/// The token and its library in detail, for a person who looks for a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenReport {
    /// Description that the library gives of itself.
    pub library: String,
    /// Version of the library.
    pub library_version: String,
    /// Version of PKCS#11 that the library speaks.
    pub cryptoki_version: String,
    /// Maker of the token.
    pub manufacturer: String,
    /// Model of the token.
    pub model: String,
    /// Serial number of the token.
    pub serial: String,
    /// Label of the token.
    pub label: String,
    /// Version of the token's hardware.
    pub hardware: String,
    /// Version of the token's firmware.
    pub firmware: String,
    /// Whether the token says that a wrong PIN was entered since the last
    /// right one.
    pub pin_count_low: bool,
    /// Sessions that do the work.
    pub sessions: u16,
    /// Who makes the initialisation vectors.
    pub iv_mode: IvMode,
    /// The mechanisms that Strongroom uses.
    pub mechanisms: Vec<MechanismReport>,
    /// What was tried just now, one line a key among them.
    pub self_tests: Vec<SelfTest>,
}

/// One mechanism that Strongroom uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MechanismReport {
    /// Name in PKCS#11: `CKM_AES_GCM`.
    pub name: String,
    /// What it is needed for.
    pub purpose: String,
    /// Whether the token lists it.
    pub present: bool,
}

/// One operation that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfTest {
    /// What was tried.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What went wrong, if anything.
    pub failure: Option<String>,
}
