//! Short texts encrypted by the token itself under a customer master key.

use aws_lc_rs::digest;
use strongroom_hsm::{SecretBytes, Wrapped};

use super::ring::KeyRefusal;
use super::{SealError, Sealer};
use crate::model::key::EncryptionContext;
use crate::model::{Ciphertext, KeyId, KeyVersionId};

/// Domain word of these ciphertexts, so that no value of the vault's own opens
/// as one of them, nor the other way round.
const CIPHERTEXT_DOMAIN: &[u8] = b"strongroom customer ciphertext v1";

impl Sealer {
    /// Encrypts under the newest version of a customer master key, bound to the
    /// key, the version and `context`.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] when the key may not or cannot be used,
    /// [`SealError::Token`] when the token is away.
    pub async fn encrypt(
        &self,
        key: &KeyId,
        plain: &SecretBytes,
        context: &EncryptionContext,
    ) -> Result<Ciphertext, SealError> {
        let found = self.ring.key(key)?;
        let version = found.primary()?;
        let aad = aad(key, &version.id, context);
        let wrapped =
            self.keys.wrap(&version.master.key, &aad, plain).await.map_err(SealError::of_customer)?;
        Ok(Ciphertext {
            key: key.clone(),
            version: version.id.clone(),
            iv: wrapped.iv,
            ciphertext: wrapped.ciphertext,
        })
    }

    /// Decrypts what [`encrypt`](Self::encrypt) made, with whichever version it was.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAuthentic`] when it was altered, or `context` is
    /// another one; otherwise as [`encrypt`](Self::encrypt).
    pub async fn decrypt(
        &self,
        ciphertext: &Ciphertext,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, SealError> {
        let key = self.ring.key(&ciphertext.key)?;
        key.usable()?;
        let version = key.versions.iter().find(|version| version.id == ciphertext.version);
        let version = version.ok_or(KeyRefusal::NotFound)?;
        let aad = aad(&ciphertext.key, &ciphertext.version, context);
        let wrapped = Wrapped { iv: ciphertext.iv.clone(), ciphertext: ciphertext.ciphertext.clone() };
        self.keys.unwrap(&version.master.key, &aad, &wrapped).await.map_err(SealError::of_customer)
    }

    /// A fresh key of `length` bytes, 1 to 1,024, as good as one that values of
    /// the vault are encrypted with.
    ///
    /// # Errors
    ///
    /// [`SealError::Token`] when the token is away.
    pub async fn fresh(&self, length: usize) -> Result<SecretBytes, SealError> {
        self.derived_key(CIPHERTEXT_DOMAIN, length).await
    }
}

fn aad(key: &KeyId, version: &KeyVersionId, context: &EncryptionContext) -> [u8; 32] {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(CIPHERTEXT_DOMAIN);
    digest.update(&key.to_bytes());
    digest.update(&version.to_bytes());
    digest.update(&context.encode());
    let mut out = [0; 32];
    out.copy_from_slice(digest.finish().as_ref());
    out
}
