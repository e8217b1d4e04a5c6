//! Why the appliance was not made, or does not run.

use std::io;
use std::path::{Path, PathBuf};

use strongroom_hsm::HsmError;

use super::ConfigError;
use crate::audit::AuditError;
use crate::identity::{DirectoryError, IdentityError};
use crate::keys::{KeyError, KeysError};
use crate::seal::{RowAltered, SealError};
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why the appliance was not made, or does not run; each with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// The configuration cannot be used.
    #[error("read the configuration")]
    Config(#[from] ConfigError),
    /// A file operation failed.
    #[error("{deed} {}", path.display())]
    File {
        /// What was attempted.
        deed: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The folder for the new vault is in use.
    #[error("{} is not empty: choose another --data-dir, or remove what is left of an earlier init", .0.display())]
    NotEmpty(PathBuf),
    /// A file with a secret may be read by others.
    #[error("{} may be read by others than its owner: run chmod 0400 on it", .0.display())]
    OpenFile(PathBuf),
    /// The token refused, is missing, or was altered.
    #[error("use the hardware security module")]
    Hsm(#[from] HsmError),
    /// The database cannot be used.
    #[error("use the database")]
    Store(#[from] StoreError),
    /// A row of the database was altered outside Strongroom.
    #[error("the database was altered outside strongroom: restore it from a backup, or find out who did it")]
    Altered(#[from] RowAltered),
    /// The database is of another vault than the configuration says.
    #[error("the database holds no vault, or one of another account or region than the configuration says")]
    OtherVault,
    /// The directory of users cannot be used.
    #[error("read users and policies")]
    Directory(#[from] DirectoryError),
    /// The customer master keys cannot be used.
    #[error("read the customer master keys")]
    Keys(#[from] KeysError),
    /// The customer master keys cannot be examined.
    #[error("examine the customer master keys")]
    Key(#[from] KeyError),
    /// The first administrator could not be made.
    #[error("make the first administrator")]
    Identity(#[from] IdentityError),
    /// The audit journal cannot be used.
    #[error("use the audit journal")]
    Audit(#[from] AuditError),
    /// A value could not be sealed or opened.
    #[error("seal or open a value of the appliance")]
    Seal(#[from] SealError),
    /// A certificate or key is not usable.
    #[error("{what}")]
    Tls {
        /// What is wrong.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}: is another program using it?")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A secret could not be changed.
    #[error("change the secret")]
    Vault(#[from] VaultError),
    /// The client for the cloud could not be made.
    #[error("prepare the client for Cloud Assistant")]
    Cloud(#[source] crate::rpc::client::ClientError),
    /// The limit of open files does not hold the connections.
    #[error(
        "the limit of open files is {current}, and {needed} are needed: set LimitNOFILE, or lower limits.connections"
    )]
    Files {
        /// Connections and what else is open.
        needed: u64,
        /// The limit.
        current: u64,
    },
    /// A webhook cannot be used as it is configured.
    #[error("use a webhook of [[events.webhook]]")]
    Webhook(#[from] crate::notify::WebhookError),
    /// No random numbers could be had.
    #[error("get random numbers from the system")]
    Random,
}

impl ApplianceError {
    pub(super) fn file(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { deed, path: path.to_owned(), source }
    }

    pub(super) fn tls<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Tls { what, source: source.into() }
    }
}
