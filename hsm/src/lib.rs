//! Keys in a PKCS#11 token, and [`SecretBytes`].
//!
//! The vendor's module is foreign code that hangs, crashes and loses sessions.
//! It is therefore loaded by a process of its own, the **key worker**
//! ([`worker_main`]), which alone holds the sessions. The appliance speaks to
//! it through [`KeyService`]: calls multiplexed over a private socket pair,
//! each with a deadline, answered at once while the worker is down. The worker
//! is killed and started again without any client connection being dropped.
//!
//! Nothing of `cryptoki` shows outside this package.

#![deny(unsafe_code)]

mod buffer;
mod config;
mod error;
mod key;
mod protocol;
mod report;
mod secret;
mod service;
mod worker;

pub use config::{TokenConfig, WorkerProgram};
pub use error::HsmError;
pub use key::{KeyKind, KeyRef, KnownKey, Wrapped};
pub use report::{IvMode, MechanismReport, SelfTest, State, Status, TokenReport};
pub use secret::SecretBytes;
pub use service::{KeyService, initialize_token};
pub use worker::worker_main;
