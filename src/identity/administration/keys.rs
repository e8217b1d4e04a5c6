//! Access keys.

use strongroom_hsm::SecretBytes;

use super::{Edit, IdentityError, random_text};
use crate::audit::Access;
use crate::identity::{Directory, Identities};
use crate::model::{AccessKeyId, AccessKeyRecord, AccessKeyStatus, UserName};
use crate::seal::SealError;
use crate::store::IdentityTable;

/// Access keys of a user at most (ram.md section 3.3).
const MAX_ACCESS_KEYS: usize = 2;

/// An access key just made; its secret is shown this once.
#[derive(Debug)]
pub struct NewAccessKey {
    /// The key without its secret.
    pub record: AccessKeyRecord,
    /// The secret: 30 letters and digits.
    pub secret: SecretBytes,
}

impl Identities {
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
