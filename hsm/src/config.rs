//! Which token, and which program speaks to it.

use std::path::PathBuf;
use std::time::Duration;

/// Where the token is and how it is used.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The vendor's PKCS#11 library, an absolute path. The file and its folder
    /// must belong to root or to the worker's own user and be writable by
    /// nobody else, since the library receives the PIN.
    pub module: PathBuf,
    /// `CKA_LABEL` of the token; slot numbers change and are not used.
    pub token_label: String,
    /// Serial number of the token. Without it the label must be unique.
    pub token_serial: Option<String>,
    /// How many sessions do the work, each with a thread of its own. One more
    /// stays idle and keeps the login.
    pub sessions: u16,
    /// Configuration file of SoftHSM, given to the worker as `SOFTHSM2_CONF`;
    /// the worker's environment holds nothing else.
    pub softhsm_conf: Option<PathBuf>,
    /// How long a caller waits for one call.
    pub call_deadline: Duration,
    /// How many calls may be under way at once; one more is refused as busy.
    pub queue: usize,
    /// File that remembers, as serial number and salted slow hash, which PIN a
    /// token has refused, so that no restart tries it again.
    pub pin_marker: Option<PathBuf>,
}

impl TokenConfig {
    /// The token labelled `token_label` behind `module`, with the defaults:
    /// 4 sessions, 5 seconds a call, 1024 calls at once.
    #[must_use]
    pub fn new(module: impl Into<PathBuf>, token_label: impl Into<String>) -> Self {
        Self {
            module: module.into(),
            token_label: token_label.into(),
            token_serial: None,
            sessions: 4,
            softhsm_conf: None,
            call_deadline: Duration::from_secs(5),
            queue: 1024,
            pin_marker: None,
        }
    }
}

/// The program that runs [`worker_main`](crate::worker_main).
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    /// Path of the program; for the appliance its own.
    pub program: PathBuf,
    /// Arguments, `["hsm-worker"]` for the appliance. They never carry
    /// anything secret.
    pub args: Vec<String>,
}
