//! MACs over rows that decide access, labels and rotations.

use aws_lc_rs::{digest, hmac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_hsm::{HsmError, KeyRef, KeyService};
use zeroize::Zeroizing;

use crate::model::Guarded;

/// A row whose MAC does not fit: the file was edited, or a row was copied elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of table {table} was altered outside strongroom")]
pub struct RowAltered {
    /// The table.
    pub table: &'static str,
}

/// Makes and checks the MACs of rows. Its key is derived in the token at
/// start: HMAC-SHA-256 of a constant and the vault's origin under the token's
/// integrity key, which never leaves it.
#[derive(Debug)]
pub struct Integrity {
    key: hmac::Key,
}

const DERIVATION: &[u8] = b"strongroom row integrity v1\0";

impl Integrity {
    /// Derives the key for the vault with this origin.
    ///
    /// # Errors
    ///
    /// The token's error when it cannot be asked.
    pub async fn derive(keys: &KeyService, key: &KeyRef, origin: &str) -> Result<Self, HsmError> {
        let mut input = DERIVATION.to_vec();
        input.extend_from_slice(origin.as_bytes());
        let derived = zeroize::Zeroizing::new(keys.mac(key, &input).await?);
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) })
    }

    /// A key for another purpose, which `label` tells apart. Rows begin with a
    /// length, of which the first byte is zero, and labels do not: no MAC of a row
    /// is such a key.
    pub(super) fn subkey(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        for (to, from) in key.iter_mut().zip(hmac::sign(&self.key, label).as_ref()) {
            *to = *from;
        }
        key
    }

    #[cfg(test)]
    pub(super) fn of(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    fn context(&self, table: &str, key: &str, body: &str) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [table, key, body] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part.as_bytes());
        }
        context
    }

    /// The row that keeps `value` under `key` in `table`.
    ///
    /// # Errors
    ///
    /// [`RowAltered`] when the value cannot be written as JSON, which no type
    /// of the model does.
    pub fn guard<T: Serialize>(
        &self,
        table: &'static str,
        key: &str,
        value: &T,
    ) -> Result<Guarded, RowAltered> {
        let body = serde_json::to_string(value).ok().ok_or(RowAltered { table })?;
        let mac = self.context(table, key, &body).sign().as_ref().to_vec();
        Ok(Guarded { body, mac })
    }

    /// The value of a row found under `key` in `table`.
    ///
    /// # Errors
    ///
    /// [`RowAltered`] when the MAC does not fit.
    pub fn check<T: DeserializeOwned>(
        &self,
        table: &'static str,
        key: &str,
        row: &Guarded,
    ) -> Result<T, RowAltered> {
        let expected = self.context(table, key, &row.body).sign();
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref(), &row.mac)
            .ok()
            .ok_or(RowAltered { table })?;
        serde_json::from_str(&row.body).ok().ok_or(RowAltered { table })
    }
}

/// The digest of a whole set of rows, kept under a MAC of its own: a row that
/// was removed (a deny, say) is noticed as well as one that was changed.
pub struct SetDigest {
    context: digest::Context,
}

impl std::fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetDigest").finish_non_exhaustive()
    }
}

impl Default for SetDigest {
    fn default() -> Self {
        Self { context: digest::Context::new(&digest::SHA256) }
    }
}

impl SetDigest {
    /// Takes in a row; the order of the rows counts.
    pub fn add(&mut self, table: &str, key: &str, row: &Guarded) {
        for part in [table.as_bytes(), key.as_bytes(), &row.mac] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.context.update(&length.to_be_bytes());
            self.context.update(part);
        }
    }

    /// The digest in hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        data_encoding::HEXLOWER.encode(self.context.finish().as_ref())
    }
}
