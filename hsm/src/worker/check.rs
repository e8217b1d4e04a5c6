//! Key check values: proof that a key is still the one that was made.
//!
//! For a customer master key the value is a canary, a known plaintext wrapped
//! at creation; being able to unwrap it also tells a broken token from a
//! damaged row. For an integrity key it is the MAC of a constant. For a signing
//! key it is the digest of the public point, and a signature proves that the
//! private half belongs to it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::faults::{self, Class};
use super::gcm;
use crate::buffer::Fields;
use crate::key::{KeyKind, KeyRef};
use crate::protocol::Malformed;
use crate::report::IvMode;

/// First byte of a canary.
const FORMAT: u8 = 1;

/// What every canary holds.
const CANARY: &[u8; 32] = b"strongroom customer master check";

/// What is authenticated, together with the key's id.
const CONTEXT: &[u8] = b"strongroom key check 1 ";

/// Why a check value was not confirmed.
pub(super) enum Mismatch {
    /// The key is another one.
    Deviates(String),
    /// The token failed in a way that says nothing about the key.
    Failed(Error),
}

impl Mismatch {
    fn because(text: &str) -> Self {
        Self::Deviates(text.to_owned())
    }

    /// An operation on a key that passed its template can fail with a code
    /// that blames the data only because the key is another one.
    fn from_error(error: Error) -> Self {
        match faults::class(&error) {
            Class::Data | Class::Ambiguous => {
                Self::Deviates(format!("its check value gives {}", faults::name(&error)))
            }
            Class::Session
            | Class::Handle
            | Class::Login
            | Class::Lost
            | Class::Exhausted
            | Class::Pin
            | Class::Configuration => Self::Failed(error),
        }
    }
}

/// Makes the check value of a key; `point` is empty but for a signing key.
pub(super) fn make(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    point: &[u8],
    mode: IvMode,
) -> Result<Vec<u8>, Error> {
    match key.kind {
        KeyKind::CustomerMaster => {
            let wrapped = gcm::seal(session, handle, mode, &context(key), CANARY)?;
            let mut check = vec![FORMAT, u8::try_from(wrapped.iv.len())?];
            check.extend_from_slice(&wrapped.iv);
            check.extend_from_slice(&wrapped.ciphertext);
            Ok(check)
        }
        KeyKind::Integrity => session.sign(&Mechanism::Sha256Hmac, handle, &context(key)),
        KeyKind::AuditSigning => Ok(digest(&SHA256, point).as_ref().to_vec()),
    }
}

/// Confirms that the key is the one that `check` was made with.
pub(super) fn verify(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    point: &[u8],
    check: &[u8],
) -> Result<(), Mismatch> {
    let agrees = match key.kind {
        KeyKind::CustomerMaster => {
            let (iv, ciphertext) = read_canary(check)
                .map_err(|malformed| Mismatch::Deviates(format!("its stored check value: {malformed}")))?;
            let plain =
                gcm::open(session, handle, iv, &context(key), ciphertext).map_err(Mismatch::from_error)?;
            verify_slices_are_equal(&plain, CANARY).is_ok()
        }
        KeyKind::Integrity => {
            let mac =
                session.sign(&Mechanism::Sha256Hmac, handle, &context(key)).map_err(Mismatch::from_error)?;
            verify_slices_are_equal(&mac, check).is_ok()
        }
        KeyKind::AuditSigning => {
            signs_for(session, handle, key, point)?;
            digest(&SHA256, point).as_ref() == check
        }
    };
    if agrees { Ok(()) } else { Err(Mismatch::because("its check value differs")) }
}

/// Proves that the private key belongs to the public point.
fn signs_for(session: &Session, handle: ObjectHandle, key: &KeyRef, point: &[u8]) -> Result<(), Mismatch> {
    let message = context(key);
    let signature = session
        .sign(&Mechanism::Ecdsa, handle, digest(&SHA256, &message).as_ref())
        .map_err(Mismatch::from_error)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(&message, &signature)
        .map_err(|_unspecified| Mismatch::because("private and public key are no pair"))
}

fn context(key: &KeyRef) -> Vec<u8> {
    [CONTEXT, &key.id].concat()
}

fn read_canary(check: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields::new(check);
    if fields.u8()? != FORMAT {
        return Err(Malformed("an unknown format"));
    }
    let iv_bytes = usize::from(fields.u8()?);
    fields.rest().split_at_checked(iv_bytes).ok_or(Malformed("a field is cut short"))
}
