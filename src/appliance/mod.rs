//! The appliance as a whole: makes it ([`init`]), builds and runs it
//! ([`serve`]), says what is wrong with it ([`doctor`]).
//!
//! Only this module reads the clock of the machine and the configuration.

mod alarm;
mod certificate;
mod clock;
mod cloud;
mod config;
mod doctor;
mod error;
mod hardening;
mod init;
mod keys;
mod monitoring;
mod notes;
mod parts;
mod policies;
mod quotas;
mod replay;
mod serve;

pub use clock::SystemClock;
pub use cloud::set_cloud_credentials;
pub use config::{Config, ConfigError};
pub use doctor::{Finding, Level, doctor};
pub use error::ApplianceError;
pub use hardening::keep_memory_private;
pub use init::{InitOptions, InitReport, init};
pub use policies::reset_secret_policy;
pub use quotas::Quotas;
pub use serve::serve;
