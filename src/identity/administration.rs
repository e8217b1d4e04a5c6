//! Changes of the directory, one at a time, each one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand;
use strongroom_hsm::SecretBytes;

use super::directory::{attachment_key, digest_change, folded};
use super::{Directory, DirectoryError, Identities};
use crate::audit::Access;
use crate::model::{
    AccessKeyId, AccessKeyRecord, AccessKeyStatus, Attachment, Guarded, PolicyName, PolicyRecord, PolicyType,
    UserName, UserRecord,
};
use crate::ram::{Policy, PolicyError, PolicyKind};
use crate::seal::{RowAltered, SealError};
use crate::store::{Change, IdentityTable, StoreError};

/// Access keys of a user at most (ram.md section 3.3).
const MAX_ACCESS_KEYS: usize = 2;
/// Policies of each kind attached to a user at most (ram.md section 1.2).
const MAX_CUSTOM_ATTACHED: usize = 10;
const MAX_SYSTEM_ATTACHED: usize = 20;
/// Users of an account at most (ram.md section 1.2).
const MAX_USERS: usize = 1_000;
/// Custom policies of an account at most (ram.md section 1.2).
const MAX_POLICIES: usize = 1_500;

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
    /// A limit is reached.
    #[error("the limit of {0} is reached")]
    Limit(&'static str),
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

/// An access key just made; its secret is shown this once.
#[derive(Debug)]
pub struct NewAccessKey {
    /// The key without its secret.
    pub record: AccessKeyRecord,
    /// The secret: 30 letters and digits.
    pub secret: SecretBytes,
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

    /// Creates a user without any rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`], also for a name that differs only in case.
    pub async fn create_user(
        &self,
        _access: &Access,
        name: UserName,
        display_name: String,
        comments: String,
    ) -> Result<UserRecord, IdentityError> {
        let record =
            UserRecord { id: random_digits()?, name, display_name, comments, created: self.clock.now() };
        self.edit(async |directory| {
            if directory.user(&record.name).is_some() {
                return Err(IdentityError::Exists("User"));
            }
            if directory.users.len() >= MAX_USERS {
                return Err(IdentityError::Limit("User"));
            }
            Ok(vec![self.put(IdentityTable::Users, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Deletes a user that has neither access keys nor policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`].
    pub async fn delete_user(&self, _access: &Access, name: &UserName) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            directory.user(name).ok_or(IdentityError::Missing("User"))?;
            if !directory.access_keys(name).is_empty() {
                return Err(IdentityError::InUse("User.AccessKey"));
            }
            if !directory.attached(name).is_empty() {
                return Err(IdentityError::InUse("User.Policy"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Users, key: folded(name.as_str()) }])
        })
        .await
    }

    /// Makes an access key for a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::Limit`] for a third key,
    /// [`IdentityError::Seal`] when the token is away.
    pub async fn create_access_key(
        &self,
        _access: &Access,
        user: &UserName,
    ) -> Result<NewAccessKey, IdentityError> {
        let (_, suffix) = random_text(20)?;
        let id = format!("LTAI{}", suffix.as_str());
        let id = AccessKeyId::parse(&id).ok().ok_or(SealError::Local)?;
        let (secret, _) = random_text(30)?;
        let sealed = self.sealer.seal(&self.key_binding(id.as_str()), &secret).await?;
        let sealed = sealed.encode().map_err(SealError::from)?;
        let mut record = AccessKeyRecord {
            id,
            user: user.clone(),
            status: AccessKeyStatus::Active,
            created: self.clock.now(),
            sealed,
        };
        self.edit(async |directory| {
            let owner = directory.user(user).ok_or(IdentityError::Missing("User"))?;
            if directory.access_keys(user).len() >= MAX_ACCESS_KEYS {
                return Err(IdentityError::Limit("User.AccessKey"));
            }
            record.user = owner.name.clone();
            Ok(vec![self.put(IdentityTable::AccessKeys, record.id.to_string(), &record, false)?])
        })
        .await?;
        Ok(NewAccessKey { record, secret })
    }

    /// Switches an access key of a user on or off.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`].
    pub async fn update_access_key(
        &self,
        _access: &Access,
        user: &UserName,
        id: &AccessKeyId,
        status: AccessKeyStatus,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let mut record = owned_key(directory, user, id)?.clone();
            record.status = status;
            Ok(vec![self.put(IdentityTable::AccessKeys, id.to_string(), &record, true)?])
        })
        .await
    }

    /// Deletes an access key of a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`].
    pub async fn delete_access_key(
        &self,
        _access: &Access,
        user: &UserName,
        id: &AccessKeyId,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            owned_key(directory, user, id)?;
            Ok(vec![Edit::Drop { table: IdentityTable::AccessKeys, key: id.to_string() }])
        })
        .await
    }

    /// Creates a custom policy.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`] when the document breaks a rule of ram.md
    /// section 1.2, [`IdentityError::Exists`], [`IdentityError::Limit`].
    pub async fn create_policy(
        &self,
        _access: &Access,
        name: PolicyName,
        description: String,
        document: String,
    ) -> Result<PolicyRecord, IdentityError> {
        Policy::parse(PolicyKind::Identity, &document).map_err(IdentityError::Policy)?;
        let now = self.clock.now();
        let record = PolicyRecord { name, description, document, created: now, updated: now };
        self.edit(async |directory| {
            let taken = [PolicyType::Custom, PolicyType::System];
            if taken.into_iter().any(|kind| directory.policy(kind, &record.name).is_some()) {
                return Err(IdentityError::Exists("Policy"));
            }
            if directory.policies.len() >= MAX_POLICIES {
                return Err(IdentityError::Limit("Policy"));
            }
            Ok(vec![self.put(IdentityTable::Policies, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Deletes a custom policy that is attached to nobody.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`].
    pub async fn delete_policy(&self, _access: &Access, name: &PolicyName) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let policy =
                directory.policy(PolicyType::Custom, name).ok_or(IdentityError::Missing("Policy"))?;
            if policy.attachments > 0 {
                return Err(IdentityError::InUse("Policy.User"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Policies, key: folded(name.as_str()) }])
        })
        .await
    }

    /// Attaches a policy to a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::Exists`] when it is
    /// attached already, [`IdentityError::Limit`].
    pub async fn attach(
        &self,
        _access: &Access,
        user: &UserName,
        kind: PolicyType,
        policy: &PolicyName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let user = directory.user(user).ok_or(IdentityError::Missing("User"))?.name.clone();
            let policy = directory.policy(kind, policy).ok_or(IdentityError::Missing("Policy"))?.name;
            let attached = directory.attached(&user);
            if attached.iter().any(|a| a.policy.kind == kind && a.policy.name == policy) {
                return Err(IdentityError::Exists("User.Policy"));
            }
            let limit = match kind {
                PolicyType::Custom => MAX_CUSTOM_ATTACHED,
                PolicyType::System => MAX_SYSTEM_ATTACHED,
            };
            if attached.iter().filter(|a| a.policy.kind == kind).count() >= limit {
                return Err(IdentityError::Limit("User.Policy"));
            }
            let key = attachment_key(&user, kind, &policy);
            let record = Attachment { user, policy, kind, attached: self.clock.now() };
            Ok(vec![self.put(IdentityTable::Attachments, key, &record, false)?])
        })
        .await
    }

    /// Detaches a policy from a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`] when it is not attached.
    pub async fn detach(
        &self,
        _access: &Access,
        user: &UserName,
        kind: PolicyType,
        policy: &PolicyName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let key = attachment_key(user, kind, policy);
            if !directory.attachments.contains_key(&key) {
                return Err(IdentityError::Missing("User.Policy"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Attachments, key }])
        })
        .await
    }
}

fn owned_key<'d>(
    directory: &'d Directory,
    user: &UserName,
    id: &AccessKeyId,
) -> Result<&'d AccessKeyRecord, IdentityError> {
    directory.user(user).ok_or(IdentityError::Missing("User"))?;
    directory
        .access_keys(user)
        .into_iter()
        .find(|key| key.id == *id)
        .ok_or(IdentityError::Missing("User.AccessKey"))
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

/// A user id: 18 digits, the first of them a 2 (ram.md section 4.5).
fn random_digits() -> Result<String, SealError> {
    let mut bytes = [0_u8; 8];
    rand::fill(&mut bytes).ok().ok_or(SealError::Local)?;
    let number = u64::from_be_bytes(bytes) % 100_000_000_000_000_000;
    Ok(format!("2{number:017}"))
}
