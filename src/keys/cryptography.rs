//! What keys are for.

use std::sync::Arc;

use strongroom_hsm::SecretBytes;

use super::{KeyError, Keys};
use crate::audit::Access;
use crate::model::key::{EncryptionContext, KeyName};
use crate::model::{Ciphertext, KeyId};
use crate::seal::SealError;

impl Keys {
    /// Encrypts a short text under the newest version of a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], or [`KeyError::Seal`] when the key may not or
    /// cannot be used, or the token is away.
    pub async fn encrypt(
        &self,
        _access: &Access,
        key: &KeyId,
        plain: &SecretBytes,
        context: &EncryptionContext,
    ) -> Result<Ciphertext, KeyError> {
        self.sealer.encrypt(key, plain, context).await.map_err(in_words_of_keys)
    }

    /// Decrypts a ciphertext under the key and version that it names.
    ///
    /// # Errors
    ///
    /// [`KeyError::Damaged`] when it was altered or `context` is another one;
    /// otherwise as [`encrypt`](Self::encrypt).
    pub async fn decrypt(
        &self,
        _access: &Access,
        ciphertext: &Ciphertext,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, KeyError> {
        let key = self.find(&KeyName::Id(ciphertext.key.clone()))?;
        if key.version(&ciphertext.version).is_none() {
            return Err(KeyError::Damaged);
        }
        self.sealer.decrypt(ciphertext, context).await.map_err(in_words_of_keys)
    }

    /// A fresh key of `length` bytes, 1 to 1,024, and the same encrypted.
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt).
    pub async fn generate_data_key(
        &self,
        access: &Access,
        key: &KeyId,
        length: usize,
        context: &EncryptionContext,
    ) -> Result<(SecretBytes, Ciphertext), KeyError> {
        if !(1..=1_024).contains(&length) {
            return Err(KeyError::Invalid("NumberOfBytes must be from 1 to 1024"));
        }
        let plain = self.sealer.fresh(length).await?;
        let ciphertext = self.encrypt(access, key, &plain, context).await?;
        Ok((plain, ciphertext))
    }

    /// Whether a key may be used now: what a dry run is told.
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt), without asking the token.
    pub fn usable(&self, name: &KeyName) -> Result<Arc<crate::model::key::KeyRecord>, KeyError> {
        let key = self.find(name)?;
        self.sealer.may_use(&key.id)?;
        Ok(key)
    }
}

fn in_words_of_keys(error: SealError) -> KeyError {
    match error {
        SealError::NotAuthentic => KeyError::Damaged,
        SealError::Key(refusal) => refusal.into(),
        other @ (SealError::Format(_) | SealError::Token(_) | SealError::Local | SealError::UnknownKey) => {
            KeyError::Seal(other)
        }
    }
}
