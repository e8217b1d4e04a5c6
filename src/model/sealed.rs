//! A value as it is kept: ciphertext, wrapped data key, and what both are bound to.

use super::{AccountId, RegionId};

/// A stored blob that does not read as a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedFormatError {
    /// Cut off, too long, or not begun with the magic letters.
    #[error("a stored value is damaged: it does not have the form of a sealed value")]
    Damaged,
    /// Made by a later version of the program, or with a suite this one lacks.
    #[error("a stored value uses format {format}, algorithm {algorithm}, which this program does not know")]
    Unknown {
        /// The format version found.
        format: u8,
        /// The algorithm id found.
        algorithm: u16,
    },
}

/// What a sealed value belongs to. It is not stored with the value: whoever
/// opens it says where it was found, so that a row moved, renamed or copied
/// elsewhere does not open (hsm.md section 11).
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// What the value is used as, such as `secret-version` or `access-key`.
    pub purpose: &'a str,
    /// The account that owns it.
    pub account: &'a AccountId,
    /// The region it lives in.
    pub region: &'a RegionId,
    /// The thing it belongs to; for a secret its id, not only its name.
    pub owner: &'a str,
    /// The part of that thing; for a secret the version id.
    pub part: &'a str,
}

impl Binding<'_> {
    /// An unambiguous encoding: each field behind its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = [self.purpose, self.account.as_str(), self.region.as_str(), self.owner, self.part];
        let mut out = Vec::with_capacity(fields.iter().map(|f| f.len() + 4).sum());
        for field in fields {
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(field.as_bytes());
        }
        out
    }
}

/// The data key of a value, encrypted under one master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// `CKA_ID` of the master key in the token.
    pub key_id: [u8; 16],
    /// Version of the logical key that it is.
    pub key_version: u32,
    /// The initialisation vector that came back from the token.
    pub iv: Vec<u8>,
    /// The encrypted data key with its tag.
    pub wrapped: Vec<u8>,
}

/// Algorithm id of a data key wrapped by AES-256-GCM through `C_Encrypt` (hsm.md section 11).
const WRAP_AES_256_GCM: u16 = 1;
/// Algorithm id of a value encrypted with AES-256-GCM in process.
const VALUE_AES_256_GCM: u8 = 1;
const MAGIC: [u8; 2] = *b"SR";
const FORMAT: u8 = 1;

/// A value as it is kept: encrypted with AES-256-GCM under a data key that was
/// used once, the data key wrapped for one or more master keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Who can unwrap the data key; at least one.
    pub recipients: Vec<Recipient>,
    /// The initialisation vector of the value.
    pub nonce: [u8; 12],
    /// The encrypted value with its tag.
    pub ciphertext: Vec<u8>,
}

impl Sealed {
    /// The header with all recipients, which the value's associated data covers.
    ///
    /// # Errors
    ///
    /// [`SealedFormatError::Damaged`] when a part is longer than the format can say.
    pub fn header(recipients: &[Recipient]) -> Result<Vec<u8>, SealedFormatError> {
        let count = u8::try_from(recipients.len()).ok().filter(|n| *n > 0);
        let count = count.ok_or(SealedFormatError::Damaged)?;
        let mut out = Vec::with_capacity(8 + recipients.len() * 96);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FORMAT, VALUE_AES_256_GCM, count]);
        for recipient in recipients {
            let iv_length = u8::try_from(recipient.iv.len()).ok();
            let wrapped_length = u16::try_from(recipient.wrapped.len()).ok();
            let (Some(iv_length), Some(wrapped_length)) = (iv_length, wrapped_length) else {
                return Err(SealedFormatError::Damaged);
            };
            out.extend_from_slice(&WRAP_AES_256_GCM.to_be_bytes());
            out.extend_from_slice(&recipient.key_id);
            out.extend_from_slice(&recipient.key_version.to_be_bytes());
            out.push(iv_length);
            out.extend_from_slice(&recipient.iv);
            out.extend_from_slice(&wrapped_length.to_be_bytes());
            out.extend_from_slice(&recipient.wrapped);
        }
        Ok(out)
    }

    /// The bytes that are stored.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn encode(&self) -> Result<Vec<u8>, SealedFormatError> {
        let mut out = Self::header(&self.recipients)?;
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.ciphertext);
        Ok(out)
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    ///
    /// [`SealedFormatError`] when they are damaged or of an unknown suite.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealedFormatError> {
        let mut rest = Reader(bytes);
        if rest.take::<2>()? != MAGIC {
            return Err(SealedFormatError::Damaged);
        }
        let [format, value_algorithm, count] = rest.take::<3>()?;
        if format != FORMAT || value_algorithm != VALUE_AES_256_GCM {
            return Err(SealedFormatError::Unknown { format, algorithm: value_algorithm.into() });
        }
        if count == 0 {
            return Err(SealedFormatError::Damaged);
        }
        let mut recipients = Vec::with_capacity(count.into());
        for _ in 0..count {
            let algorithm = u16::from_be_bytes(rest.take()?);
            if algorithm != WRAP_AES_256_GCM {
                return Err(SealedFormatError::Unknown { format, algorithm });
            }
            let key_id = rest.take()?;
            let key_version = u32::from_be_bytes(rest.take()?);
            let [iv_length] = rest.take()?;
            let iv = rest.slice(iv_length.into())?.to_vec();
            let wrapped_length = u16::from_be_bytes(rest.take()?);
            let wrapped = rest.slice(wrapped_length.into())?.to_vec();
            recipients.push(Recipient { key_id, key_version, iv, wrapped });
        }
        let nonce = rest.take()?;
        let ciphertext = rest.0.to_vec();
        if ciphertext.len() < 16 {
            return Err(SealedFormatError::Damaged);
        }
        Ok(Self { recipients, nonce, ciphertext })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], SealedFormatError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(SealedFormatError::Damaged)?;
        self.0 = tail;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SealedFormatError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(SealedFormatError::Damaged)?;
        self.0 = tail;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sealed {
        let recipient = Recipient { key_id: [7; 16], key_version: 3, iv: vec![1; 12], wrapped: vec![2; 48] };
        Sealed { recipients: vec![recipient.clone(), recipient], nonce: [9; 12], ciphertext: vec![5; 40] }
    }

    #[test]
    fn what_is_encoded_reads_back_and_every_cut_is_damaged() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Sealed::decode(&bytes).unwrap(), sample());
        for end in 0..bytes.len() - 24 {
            assert!(Sealed::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_unknown_suite_is_named_and_never_guessed() {
        let mut bytes = sample().encode().unwrap();
        bytes[2] = 9;
        assert_eq!(Sealed::decode(&bytes), Err(SealedFormatError::Unknown { format: 9, algorithm: 1 }));
    }

    #[test]
    fn bindings_that_differ_only_in_where_a_field_ends_differ() {
        let account = AccountId::parse("1").unwrap();
        let region = RegionId::parse("r").unwrap();
        let of =
            |owner, part| Binding { purpose: "p", account: &account, region: &region, owner, part }.encode();
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }
}
