//! What Encrypt gives out: a short text encrypted under a customer master key.

use super::{KeyId, KeyVersionId};

/// A ciphertext that says which key made it (kms-secrets.md section 8.1,
/// `CiphertextBlob`).
///
/// Its bytes are the letters `SRK`, the format (1), the key id (16 bytes), the
/// id of the key's version (16), the length of the initialisation vector (1),
/// the vector, and the encrypted text with its tag of 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// The key.
    pub key: KeyId,
    /// The version of the key.
    pub version: KeyVersionId,
    /// The initialisation vector that came back from the token.
    pub iv: Vec<u8>,
    /// The encrypted text with its tag.
    pub ciphertext: Vec<u8>,
}

/// Bytes that are no ciphertext of this vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes do not have the form of a ciphertext")]
pub struct NoCiphertext;

const MAGIC: [u8; 4] = *b"SRK\x01";
const TAG_BYTES: usize = 16;

impl Ciphertext {
    /// The bytes that are given out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 33 + self.iv.len() + self.ciphertext.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.version.to_bytes());
        out.push(u8::try_from(self.iv.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.iv);
        out.extend_from_slice(&self.ciphertext);
        out
    }

    /// Reads bytes that somebody sent. Whether they are authentic shows only
    /// when they are decrypted.
    ///
    /// # Errors
    ///
    /// [`NoCiphertext`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NoCiphertext> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(NoCiphertext)?;
        let (key, rest) = rest.split_first_chunk::<16>().ok_or(NoCiphertext)?;
        let (version, rest) = rest.split_first_chunk::<16>().ok_or(NoCiphertext)?;
        let (iv_length, rest) = rest.split_first().ok_or(NoCiphertext)?;
        let (iv, ciphertext) = rest.split_at_checked(usize::from(*iv_length)).ok_or(NoCiphertext)?;
        if !matches!(iv.len(), 12 | 16) || ciphertext.len() < TAG_BYTES {
            return Err(NoCiphertext);
        }
        Ok(Self {
            key: KeyId::from_bytes(*key),
            version: KeyVersionId::from_bytes(*version),
            iv: iv.to_vec(),
            ciphertext: ciphertext.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_reads_back_and_what_is_cut_does_not() {
        let made = Ciphertext {
            key: KeyId::from_random([1; 16]),
            version: KeyVersionId::from_random([2; 16]),
            iv: vec![3; 12],
            ciphertext: vec![4; 16],
        };
        let bytes = made.encode();
        assert_eq!(Ciphertext::decode(&bytes), Ok(made));
        for end in 0..bytes.len() {
            assert_eq!(Ciphertext::decode(&bytes[..end]), Err(NoCiphertext), "cut at {end}");
        }
        let mut other = bytes.clone();
        other[3] = 2;
        assert_eq!(Ciphertext::decode(&other), Err(NoCiphertext), "another format");
    }
}
