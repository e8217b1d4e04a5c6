//! Changes of the directory, one at a time, each one transaction.

mod alias;
mod assume;
mod attachments;
mod groups;
mod keys;
mod policies;
mod roles;
mod service_roles;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand;
use strongroom_hsm::SecretBytes;

use super::directory::digest_change;
use super::{Directory, DirectoryError, Identities};
use crate::model::Guarded;
use crate::ram::PolicyError;
use crate::seal::{RowAltered, SealError};
use crate::store::{Change, IdentityTable, StoreError};

pub use assume::{NewSession, SessionCredentials};
pub use keys::NewAccessKey;
pub use policies::WhenFull;
pub use roles::RoleChange;
pub use users::{NewUser, UserChange};

/// Why the directory was not changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Something of that name exists.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// Nothing of that name exists.
    #[error("{0} does not exist")]
    Missing(&'static str),
    /// Something else hangs on it.
    #[error("it still has {0}")]
    InUse(&'static str),
    /// The role belongs to a service, whose actions alone change it.
    #[error("the role belongs to a service")]
    ServiceRole,
    /// A limit is reached.
    #[error("the limit of {0} is reached")]
    Limit(&'static str),
    /// The session is to last longer than it may.
    #[error("a session may last {longest} seconds at most")]
    SessionSeconds {
        /// How long it may last, in seconds.
        longest: u32,
    },
    /// The session's token would be longer than what comes along with calls may be.
    #[error("the token of the session is too long")]
    TokenLength,
    /// The policy's document is not valid.
    #[error("the policy document is not valid")]
    Policy(#[source] PolicyError),
    /// The secret of a new key could not be sealed.
    #[error("seal the secret of an access key")]
    Seal(#[from] SealError),
    /// A row was altered outside Strongroom.
    #[error("a row of the directory was altered")]
    Altered(#[from] RowAltered),
    /// The database's trouble.
    #[error("store the directory")]
    Store(#[from] StoreError),
    /// The changed directory does not load, so it was not stored.
    #[error("the changed directory would not load")]
    Directory(#[source] Box<DirectoryError>),
}

type Rows = BTreeMap<(IdentityTable, String), Guarded>;

/// One row to be put (with whether it may replace another) or dropped.
enum Edit {
    Put { table: IdentityTable, key: String, row: Guarded, replace: bool },
    Drop { table: IdentityTable, key: String },
}

impl Identities {
    async fn edit(
        &self,
        plan: impl AsyncFnOnce(&Directory) -> Result<Vec<Edit>, IdentityError>,
    ) -> Result<(), IdentityError> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.directory();
        let edits = plan(&before).await?;
        let mut rows: Rows = before.rows.clone();
        let mut changes = Vec::with_capacity(edits.len() + 1);
        for edit in edits {
            match edit {
                Edit::Put { table, key, row, replace } => {
                    rows.insert((table, key.clone()), row.clone());
                    changes.push(Change::PutIdentity { table, key, row, replace });
                }
                Edit::Drop { table, key } => {
                    rows.remove(&(table, key.clone()));
                    changes.push(Change::DropIdentity { table, key });
                }
            }
        }
        changes.push(digest_change(&self.integrity, &rows)?);
        let version = before.version.saturating_add(1);
        let after = Directory::build(&self.account, &self.integrity, rows, version, Some(&before))
            .map_err(|error| IdentityError::Directory(Box::new(error)))?;
        self.store.commit(changes).await?;
        self.directory.store(Arc::new(after));
        Ok(())
    }

    fn put<T: serde::Serialize>(
        &self,
        table: IdentityTable,
        key: String,
        value: &T,
        replace: bool,
    ) -> Result<Edit, RowAltered> {
        let row = self.integrity.guard(table.as_str(), &key, value)?;
        Ok(Edit::Put { table, key, row, replace })
    }

    /// A row in the place of the one under `old`, which may be the same place.
    fn moved<T: serde::Serialize>(
        &self,
        table: IdentityTable,
        old: String,
        new: String,
        value: &T,
    ) -> Result<Vec<Edit>, RowAltered> {
        let same = old == new;
        let put = self.put(table, new, value, same)?;
        Ok((!same).then_some(Edit::Drop { table, key: old }).into_iter().chain([put]).collect())
    }
}

const LETTERS_AND_DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Uniform letters and digits, as a secret and, for ids, as text.
fn random_text(length: usize) -> Result<(SecretBytes, zeroize::Zeroizing<String>), SealError> {
    let secret = SecretBytes::filled(length, |out| {
        let mut at = 0;
        while at < out.len() {
            let mut byte = [0_u8];
            rand::fill(&mut byte)?;
            // 248 is the largest multiple of 62 in a byte: what lies above is drawn again.
            let [byte] = byte;
            if byte < 248
                && let (Some(slot), Some(letter)) =
                    (out.get_mut(at), LETTERS_AND_DIGITS.get(usize::from(byte % 62)))
            {
                *slot = *letter;
                at += 1;
            }
        }
        Ok::<(), aws_lc_rs::error::Unspecified>(())
    });
    let secret = secret.ok().ok_or(SealError::Local)?;
    let text = zeroize::Zeroizing::new(secret.expose().iter().map(|b| char::from(*b)).collect());
    Ok((secret, text))
}

/// The id of a user, group or role: 18 digits, the first of them a 2 (ram.md section 4.5).
fn random_digits() -> Result<String, SealError> {
    let mut bytes = [0_u8; 8];
    rand::fill(&mut bytes).ok().ok_or(SealError::Local)?;
    let number = u64::from_be_bytes(bytes) % 100_000_000_000_000_000;
    Ok(format!("2{number:017}"))
}
