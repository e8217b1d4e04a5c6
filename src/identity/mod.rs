//! Who signed a request: users, their groups and access keys, roles, and the
//! policies attached to them.
//!
//! The whole directory lies in memory as one immutable snapshot, replaced when
//! a change has been committed. Its rows carry MACs, and the set of them a
//! digest of its own, so that neither an edited nor a removed row gives access.

mod administration;
mod authenticate;
mod directory;
mod nonces;
mod policy_view;
mod service_roles;
mod session;
mod system_policies;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::model::{AccountId, Binding, Clock, RegionId, RoleName};
use crate::rpc::signature::SigningKey;
use crate::seal::{Integrity, RowAltered, SealError, Sealer, Tickets};
use crate::store::{Store, StoreError};

pub use administration::{
    IdentityError, NewAccessKey, NewSession, NewUser, RoleChange, SessionCredentials, UserChange, WhenFull,
};
pub use authenticate::{AuthError, Caller};
pub use directory::Directory;
pub use policy_view::{AttachedPolicy, PolicyView};
pub use service_roles::{SERVICE_ROLES, ServiceRole};
pub use session::Session;
pub use system_policies::SYSTEM_POLICIES;

use nonces::Nonces;
use session::Sessions;

/// How far a request's time may lie from the present, in seconds, either way
/// (kms-secrets.md section 2.8).
pub const CLOCK_WINDOW_SECONDS: i64 = 15 * 60;

/// Why the directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A row was edited, added or removed outside Strongroom.
    #[error("the directory of users and policies was altered")]
    Altered(#[from] RowAltered),
    /// The database's trouble.
    #[error("read the directory of users and policies")]
    Store(#[from] StoreError),
    /// A policy in it does not parse.
    #[error("policy {name} does not parse")]
    Policy {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: crate::ram::PolicyError,
    },
}

/// The directory and what is needed to check signatures against it.
#[derive(Debug)]
pub struct Identities {
    account: AccountId,
    region: RegionId,
    store: Arc<dyn Store>,
    integrity: Arc<Integrity>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    directory: ArcSwap<Directory>,
    nonces: Nonces,
    sessions: Sessions,
    /// The key of nobody, so that an unknown access key costs as much as a known one.
    nobody: SigningKey,
    changing: Mutex<()>,
}

impl Identities {
    /// Reads the directory.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] when the database cannot be read or was altered; the
    /// appliance does not start then.
    pub async fn load(
        account: AccountId,
        region: RegionId,
        store: Arc<dyn Store>,
        integrity: Arc<Integrity>,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DirectoryError> {
        let directory = Directory::load(&account, &*store, &integrity).await?;
        let tickets = Tickets::new(&integrity).ok().ok_or(RowAltered { table: "roles" })?;
        let mut nobody = zeroize::Zeroizing::new([0_u8; 30]);
        let filled = aws_lc_rs::rand::fill(nobody.as_mut());
        filled.ok().ok_or(RowAltered { table: "access_keys" })?;
        Ok(Self {
            account,
            region,
            store,
            integrity,
            sealer,
            clock,
            directory: ArcSwap::from_pointee(directory),
            nonces: Nonces::new(),
            sessions: Sessions::new(tickets),
            nobody: SigningKey::new(nobody.as_ref()),
            changing: Mutex::new(()),
        })
    }

    /// The directory as it is now.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The ARN of a role as principals are named, in lower case (ram.md section 3.3).
    #[must_use]
    pub fn role_arn(&self, role: &RoleName) -> String {
        format!("acs:ram::{}:role/{}", self.account, role.as_str().to_ascii_lowercase())
    }

    fn key_binding<'a>(&'a self, access_key_id: &'a str) -> Binding<'a> {
        Binding {
            purpose: "access-key",
            account: &self.account,
            region: &self.region,
            owner: access_key_id,
            part: "secret",
        }
    }

    async fn open_key(&self, entry: &directory::KeyEntry) -> Result<Arc<SigningKey>, SealError> {
        if let Some(key) = entry.signing.get() {
            return Ok(Arc::clone(key));
        }
        let sealed = crate::model::Sealed::decode(&entry.record.sealed)?;
        let secret = self.sealer.open(&self.key_binding(entry.record.id.as_str()), &sealed).await?;
        let key = Arc::new(SigningKey::new(secret.expose()));
        Ok(Arc::clone(entry.signing.get_or_init(|| key)))
    }
}
