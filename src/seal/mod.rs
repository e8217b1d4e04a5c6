//! Encrypts values under master keys of the token, and guards rows with a MAC.
//!
//! Each value has its own data key, used once: the value is encrypted with
//! AES-256-GCM in process, the data key by the token (hsm.md sections 1 and 11).
//! Both are bound to what the value belongs to, so that a row moved elsewhere
//! does not open.

mod cache;
mod direct;
mod integrity;
mod ring;
mod tickets;

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use strongroom_hsm::{HsmError, KeyRef, KeyService, SecretBytes, Wrapped};

use crate::model::{Binding, KeyId, Recipient, Sealed, SealedFormatError};

pub use cache::DataKeyCache;
pub use integrity::{Integrity, RowAltered, SetDigest};
pub use ring::{KeyRefusal, RingKey, RingVersion};
pub use tickets::Tickets;

use ring::Ring;

/// Why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The stored bytes are no sealed value.
    #[error("read a sealed value")]
    Format(#[from] SealedFormatError),
    /// The token could not be asked; trying again may help.
    #[error("ask the token")]
    Token(#[source] HsmError),
    /// The value, its data key, or what they are bound to was altered. One
    /// variant for all causes: telling them apart would help an attacker.
    #[error("the stored value is not authentic for the place where it was found")]
    NotAuthentic,
    /// No random numbers could be had, or a length was out of range.
    #[error("prepare an encryption")]
    Local,
    /// It was sealed under a key that is not among those of this vault.
    #[error("the value was sealed under a master key that this vault does not have")]
    UnknownKey,
    /// The customer master key may not be used now, or is not there.
    #[error("use a customer master key")]
    Key(#[from] KeyRefusal),
}

impl SealError {
    /// What the token says of a call with a customer master key. That one such
    /// key is gone is no trouble of the token.
    fn of_customer(error: HsmError) -> Self {
        match error {
            HsmError::NotAuthentic { .. } => Self::NotAuthentic,
            HsmError::KeyMissing { .. } | HsmError::KeyAltered { .. } => {
                tracing::error!(%error, "a customer master key cannot be used");
                Self::Key(KeyRefusal::Unavailable)
            }
            other @ (HsmError::Unavailable { .. }
            | HsmError::Deadline { .. }
            | HsmError::Busy { .. }
            | HsmError::PinRefused { .. }
            | HsmError::Configuration { .. }
            | HsmError::Token { .. }
            | HsmError::Protocol { .. }) => Self::Token(other),
        }
    }
}

/// A master key, as the sealer names it.
#[derive(Debug, Clone)]
pub struct MasterKey {
    /// The key in the token.
    pub key: KeyRef,
    /// The version of the logical key that it is.
    pub version: u32,
}

/// Seals and opens values.
#[derive(Debug, Clone)]
pub struct Sealer {
    keys: KeyService,
    /// The newest last; it is the one that seals.
    masters: Arc<[MasterKey]>,
    /// The customer master keys, which come and go.
    ring: Arc<Ring>,
    cache: Option<Arc<DataKeyCache>>,
}

/// Domain word of the data-key wrap, so that no other use of the master key shares its associated data.
const WRAP_DOMAIN: &[u8] = b"strongroom data key v1";

impl Sealer {
    /// A sealer with these master keys, the newest last. With a cache, data
    /// keys of values that were read stay in memory for a while.
    #[must_use]
    pub fn new(keys: KeyService, masters: Vec<MasterKey>, cache: Option<Arc<DataKeyCache>>) -> Self {
        Self { keys, masters: masters.into(), ring: Arc::default(), cache }
    }

    /// The key service beneath, for its status.
    #[must_use]
    pub const fn keys(&self) -> &KeyService {
        &self.keys
    }

    /// Replaces what is known of the customer master keys, for all clones of
    /// this sealer. Data keys that are kept are forgotten when one of them may be
    /// used no more: none outlives the leave to use the key that it is encrypted under.
    pub fn set_customer_keys(&self, keys: Vec<RingKey>) {
        if self.ring.set(keys) {
            self.forget();
        }
    }

    /// Whether a customer master key may be used now. Does not ask the token.
    ///
    /// # Errors
    ///
    /// [`KeyRefusal`].
    pub fn may_use(&self, key: &KeyId) -> Result<(), KeyRefusal> {
        self.ring.key(key)?.usable()
    }

    /// Forgets every data key that is kept: after a secret was destroyed.
    pub fn forget(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// Encrypts a value for the place named by `binding`.
    ///
    /// # Errors
    ///
    /// [`SealError::Token`] when the token is away.
    pub async fn seal(&self, binding: &Binding<'_>, value: &SecretBytes) -> Result<Sealed, SealError> {
        let master = self.masters.last().ok_or(SealError::UnknownKey)?;
        self.seal_with(master, SealError::Token, binding, value).await
    }

    /// Encrypts a value under a customer master key, the vault's own where none
    /// is named. [`open`](Self::open) finds the key by itself.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] when the key may not or cannot be used,
    /// [`SealError::Token`] when the token is away.
    pub async fn seal_under(
        &self,
        key: Option<&KeyId>,
        binding: &Binding<'_>,
        value: &SecretBytes,
    ) -> Result<Sealed, SealError> {
        let Some(key) = key else { return self.seal(binding, value).await };
        let key = self.ring.key(key)?;
        let master = &key.primary()?.master;
        self.seal_with(master, SealError::of_customer, binding, value).await
    }

    async fn seal_with(
        &self,
        master: &MasterKey,
        failed: fn(HsmError) -> SealError,
        binding: &Binding<'_>,
        value: &SecretBytes,
    ) -> Result<Sealed, SealError> {
        let bound = binding.encode();
        let data_key = self.derived_key(&bound, 32).await?;
        let aad = wrap_aad(&master.key.id, master.version, &bound);
        let wrapped = self.keys.wrap(&master.key, &aad, &data_key).await.map_err(failed)?;
        let recipients = vec![Recipient {
            key_id: master.key.id,
            key_version: master.version,
            iv: wrapped.iv,
            wrapped: wrapped.ciphertext,
        }];
        let mut nonce = [0; 12];
        SystemRandom::new().fill(&mut nonce).ok().ok_or(SealError::Local)?;
        let ciphertext = encrypt(&data_key, nonce, &value_aad(&bound, &recipients)?, value)?;
        Ok(Sealed { recipients, nonce, ciphertext })
    }

    /// Decrypts a value found at the place named by `binding`.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAuthentic`] when it does not belong there or was
    /// altered, [`SealError::Token`] when the token is away,
    /// [`SealError::Key`] when its customer master key may not or cannot be used.
    pub async fn open(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let bound = binding.encode();
        let aad = value_aad(&bound, &sealed.recipients)?;
        let recipient = sealed.recipients.iter().find_map(|r| {
            Some((r, self.masters.iter().find(|m| m.key.id == r.key_id && m.version == r.key_version)?))
        });
        let Some((recipient, master)) = recipient else {
            return self.open_under_customer_key(&bound, &aad, sealed).await;
        };
        if let Some(cache) = &self.cache {
            // No token, no plaintext: what was unwrapped before does not outlive its loss.
            if !self.keys.is_ready() {
                cache.clear();
            } else if let Some(key) = cache.key(recipient) {
                return decrypt(&key, sealed, &aad);
            }
        }
        let wrapped = Wrapped { iv: recipient.iv.clone(), ciphertext: recipient.wrapped.clone() };
        let wrap_aad = wrap_aad(&recipient.key_id, recipient.key_version, &bound);
        let data_key = match self.keys.unwrap(&master.key, &wrap_aad, &wrapped).await {
            Ok(key) => key,
            Err(HsmError::NotAuthentic { .. }) => return Err(SealError::NotAuthentic),
            Err(error) => return Err(SealError::Token(error)),
        };
        let value = decrypt(&data_key, sealed, &aad)?;
        if let Some(cache) = &self.cache {
            cache.keep(recipient, data_key);
        }
        Ok(value)
    }

    /// As [`open`](Self::open), for a value that none of the vault's own keys opens.
    async fn open_under_customer_key(
        &self,
        bound: &[u8],
        aad: &[u8],
        sealed: &Sealed,
    ) -> Result<SecretBytes, SealError> {
        let found = sealed.recipients.iter().find_map(|r| Some((r, self.ring.of_object(&r.key_id)?)));
        let (recipient, key) = found.ok_or(SealError::UnknownKey)?;
        key.usable()?;
        let ready = self.cache.as_ref().filter(|_| self.keys.is_ready());
        if let Some(data_key) = ready.and_then(|cache| cache.key(recipient)) {
            return decrypt(&data_key, sealed, aad);
        }
        let version = key.versions.iter().find(|version| {
            version.master.key.id == recipient.key_id && version.master.version == recipient.key_version
        });
        let master = &version.ok_or(SealError::UnknownKey)?.master;
        let wrapped = Wrapped { iv: recipient.iv.clone(), ciphertext: recipient.wrapped.clone() };
        let wrap_aad = wrap_aad(&recipient.key_id, recipient.key_version, bound);
        let data_key =
            self.keys.unwrap(&master.key, &wrap_aad, &wrapped).await.map_err(SealError::of_customer)?;
        let value = decrypt(&data_key, sealed, aad)?;
        if let Some(cache) = &self.cache {
            cache.keep(recipient, data_key);
            // The key may have been disabled in the meantime, and the cache emptied.
            if self.ring.of_object(&recipient.key_id).is_none_or(|key| key.usable().is_err()) {
                cache.clear();
            }
        }
        Ok(value)
    }

    /// A fresh key that is as strong as the better of the token's and the
    /// operating system's random numbers (hsm.md section 12).
    async fn derived_key(&self, bound: &[u8], length: usize) -> Result<SecretBytes, SealError> {
        let token = self.keys.random(32).await.map_err(SealError::Token)?;
        let material = SecretBytes::filled(64, |buffer| {
            let (head, tail) = buffer.split_at_mut(32);
            head.copy_from_slice(token.expose());
            SystemRandom::new().fill(tail)
        });
        let material = material.ok().ok_or(SealError::Local)?;
        let info = [bound];
        let extracted = Salt::new(HKDF_SHA256, WRAP_DOMAIN).extract(material.expose());
        let expanded = extracted.expand(&info, Length(length)).ok().ok_or(SealError::Local)?;
        SecretBytes::filled(length, |buffer| expanded.fill(buffer)).ok().ok_or(SealError::Local)
    }
}

/// A length of key material.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn wrap_aad(key_id: &[u8; 16], key_version: u32, bound: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(WRAP_DOMAIN);
    context.update(key_id);
    context.update(&key_version.to_be_bytes());
    context.update(bound);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn value_aad(bound: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, SealError> {
    let mut aad = Sealed::header(recipients)?;
    aad.extend_from_slice(bound);
    Ok(aad)
}

fn cipher(key: &SecretBytes) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).ok().ok_or(SealError::Local)?;
    Ok(LessSafeKey::new(key))
}

fn encrypt(
    key: &SecretBytes,
    nonce: [u8; 12],
    aad: &[u8],
    value: &SecretBytes,
) -> Result<Vec<u8>, SealError> {
    // The final size at once: the copy is encrypted where it lies.
    let mut out = Vec::with_capacity(value.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(value.expose());
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out)
        .ok()
        .ok_or(SealError::Local)?;
    Ok(out)
}

fn decrypt(key: &SecretBytes, sealed: &Sealed, aad: &[u8]) -> Result<SecretBytes, SealError> {
    let length = sealed.ciphertext.len().checked_sub(AES_256_GCM.tag_len()).ok_or(SealError::NotAuthentic)?;
    let (text, tag) = sealed.ciphertext.split_at_checked(length).ok_or(SealError::NotAuthentic)?;
    let cipher = cipher(key)?;
    let nonce = Nonce::assume_unique_for_key(sealed.nonce);
    SecretBytes::filled(length, |out| cipher.open_separate_gather(nonce, Aad::from(aad), text, tag, out))
        .ok()
        .ok_or(SealError::NotAuthentic)
}
