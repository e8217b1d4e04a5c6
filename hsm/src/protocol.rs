//! What appliance and worker say to each other.
//!
//! A frame is a length (4 bytes, little endian, of what follows), a call id
//! (8 bytes), a tag (1 byte) and a body. Requests carry a [`Verb`] as tag,
//! replies [`OK`] or [`FAILED`] and the id of the request; they come in any
//! order. A reply with the id [`NOTICE`] answers no request: the worker says
//! that it has lost the token and wants to be replaced.
//!
//! What is called often is laid out by hand; what is called once is JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::buffer::{Fields, WipingBuffer};
use crate::error::HsmError;
use crate::key::{KeyKind, KeyRef, KnownKey};
use crate::report::IvMode;

/// Longest frame either side accepts.
pub(crate) const MAX_FRAME_BYTES: usize = 1 << 20;

/// Most bytes that the arguments of one call may have; leaves room for the
/// fields around them.
pub(crate) const MAX_CALL_BYTES: usize = MAX_FRAME_BYTES - 1024;

/// Id of a frame that answers no request.
pub(crate) const NOTICE: u64 = 0;

/// Tag of a reply that carries a result.
pub(crate) const OK: u8 = 0;

/// Tag of a reply that carries an [`HsmError`] as JSON.
pub(crate) const FAILED: u8 = 1;

/// A frame that breaks the rules above.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for HsmError {
    fn from(malformed: Malformed) -> Self {
        Self::protocol(malformed.0)
    }
}

/// What is asked of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verb {
    /// First frame: [`Opening`] and the PIN. Answered with [`Opened`].
    Open = 1,
    /// First and only frame: [`NewToken`], SO PIN, user PIN. Answered with
    /// the serial number.
    Initialize,
    /// Key, AAD, plaintext. Answered with IV and ciphertext.
    Wrap,
    /// Key, AAD, IV, ciphertext. Answered with the plaintext.
    Unwrap,
    /// Key, data. Answered with 32 bytes.
    Mac,
    /// Key, digest. Answered with the signature, r ‖ s.
    Sign,
    /// Key. Answered with the uncompressed point.
    PublicKey,
    /// A count. Answered with so many bytes.
    Random,
    /// [`KeyRef`]. Answered with [`KnownKey`].
    Generate,
    /// [`KnownKey`]. Answered with nothing.
    AddKey,
    /// [`KeyRef`]. Answered with nothing.
    Destroy,
    /// A list of [`KnownKey`]. Answered with nothing.
    Introduce,
    /// Answered with a [`TokenReport`](crate::report::TokenReport).
    Report,
}

impl Verb {
    /// What the verb attempts, for error texts: "could not ...".
    pub(crate) fn deed(self) -> &'static str {
        match self {
            Self::Open => "open the token",
            Self::Initialize => "initialise a token",
            Self::Wrap => "wrap a data key",
            Self::Unwrap => "unwrap a data key",
            Self::Mac => "compute a MAC",
            Self::Sign => "sign a digest",
            Self::PublicKey => "read a public key",
            Self::Random => "draw random bytes",
            Self::Generate => "generate a key",
            Self::AddKey => "locate a key",
            Self::Destroy => "destroy a key",
            Self::Introduce => "introduce keys",
            Self::Report => "examine the token",
        }
    }
}

impl TryFrom<u8> for Verb {
    type Error = Malformed;

    fn try_from(tag: u8) -> Result<Self, Malformed> {
        [
            Self::Open,
            Self::Initialize,
            Self::Wrap,
            Self::Unwrap,
            Self::Mac,
            Self::Sign,
            Self::PublicKey,
            Self::Random,
            Self::Generate,
            Self::AddKey,
            Self::Destroy,
            Self::Introduce,
            Self::Report,
        ]
        .into_iter()
        .find(|verb| *verb as u8 == tag)
        .ok_or(Malformed("an unknown verb"))
    }
}

/// Everything the worker is told at the start, except the PIN.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) module: PathBuf,
    pub(crate) token_label: String,
    pub(crate) token_serial: Option<String>,
    pub(crate) sessions: u16,
    pub(crate) queue: usize,
    pub(crate) call_deadline_millis: u64,
    pub(crate) pin_marker: Option<PathBuf>,
    /// Located before anything is served; without one of them nothing is.
    pub(crate) keys: Vec<KnownKey>,
}

/// What the worker found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) serial: String,
    pub(crate) sessions: u16,
    pub(crate) iv_mode: IvMode,
}

/// The token that is to be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewToken {
    pub(crate) module: PathBuf,
    pub(crate) label: String,
}

/// How a call names a key: the label is looked at when the key is located.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) kind: KeyKind,
    pub(crate) id: [u8; 16],
}

impl Address {
    pub(crate) fn of(key: &KeyRef) -> Self {
        Self { kind: key.kind, id: key.id }
    }

    pub(crate) fn write(self, buffer: &mut WipingBuffer) {
        buffer.push_u8(match self.kind {
            KeyKind::CustomerMaster => 1,
            KeyKind::Integrity => 2,
            KeyKind::AuditSigning => 3,
        });
        buffer.push(&self.id);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let kind = match fields.u8()? {
            1 => KeyKind::CustomerMaster,
            2 => KeyKind::Integrity,
            3 => KeyKind::AuditSigning,
            _ => return Err(Malformed("an unknown kind of key")),
        };
        Ok(Self { kind, id: fields.array()? })
    }
}

/// Writes a reply that carries a failure.
pub(crate) fn write_failure(buffer: &mut WipingBuffer, id: u64, error: &HsmError) {
    let start = buffer.begin_frame(id, FAILED);
    // An error of strings and numbers always has a JSON form; an empty body is
    // still read as a failure.
    buffer.push(&serde_json::to_vec(error).unwrap_or_default());
    buffer.end_frame(start);
}

/// Reads the body of a reply that carries a failure.
pub(crate) fn read_failure(body: &[u8]) -> HsmError {
    serde_json::from_slice(body).unwrap_or_else(|_| HsmError::protocol("a failure that cannot be read"))
}

/// Reads a value that travels as JSON.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, HsmError> {
    serde_json::from_slice(body)
        .map_err(|error| HsmError::protocol(format!("a message cannot be read: {error}")))
}

/// Writes a value that travels as JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, HsmError> {
    serde_json::to_vec(value)
        .map_err(|error| HsmError::protocol(format!("a message cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::{Address, FAILED, Verb, read_failure, write_failure};
    use crate::buffer::{Fields, WipingBuffer};
    use crate::error::HsmError;
    use crate::key::KeyKind;

    #[test]
    fn every_verb_is_read_back_and_others_are_refused() {
        for tag in 1..=13 {
            assert_eq!(Verb::try_from(tag).unwrap() as u8, tag);
        }
        assert!(Verb::try_from(0).is_err());
        assert!(Verb::try_from(14).is_err());
    }

    #[test]
    fn addresses_survive_the_wire() {
        for kind in [KeyKind::CustomerMaster, KeyKind::Integrity, KeyKind::AuditSigning] {
            let mut buffer = WipingBuffer::new();
            let address = Address { kind, id: [9; 16] };
            address.write(&mut buffer);
            assert_eq!(Address::read(&mut Fields::new(buffer.as_slice())).unwrap(), address);
        }
    }

    #[test]
    fn failures_survive_the_wire() {
        let mut buffer = WipingBuffer::new();
        let error = HsmError::KeyMissing { key: "k".into(), token: "t".into() };
        write_failure(&mut buffer, 5, &error);
        let mut fields = Fields::new(buffer.as_slice());
        fields.u32().unwrap();
        assert_eq!(fields.u64().unwrap(), 5);
        assert_eq!(fields.u8().unwrap(), FAILED);
        assert_eq!(read_failure(fields.rest()), error);
    }
}
