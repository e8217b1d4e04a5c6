//! AES-GCM inside the token, whoever makes the initialisation vector.
//!
//! Only encryption differs between tokens; decryption always takes vector and
//! ciphertext, so the mode is not recorded with what was wrapped.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::faults;
use crate::error::HsmError;
use crate::key::Wrapped;
use crate::report::IvMode;

const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TAG_BITS: u64 = 128;

/// Encrypts `plain` under a vector drawn from the token, and returns the
/// vector that was really used.
pub(super) fn seal(
    session: &Session,
    key: ObjectHandle,
    mode: IvMode,
    aad: &[u8],
    plain: &[u8],
) -> Result<Wrapped, Error> {
    let mut iv = vec![0; IV_BYTES];
    session.generate_random_slice(&mut iv)?;
    let output = encrypt(session, key, &mut iv, aad, plain)?;
    split(mode, iv, output, plain.len()).ok_or(Error::InvalidValue)
}

/// Whether these can be a vector and a ciphertext at all.
pub(super) fn has_form(iv: &[u8], ciphertext: &[u8]) -> bool {
    matches!(iv.len(), 12 | 16) && ciphertext.len() >= TAG_BYTES
}

/// Takes the token's output apart; `iv` is the buffer after the call. `None`
/// if the lengths are not those that the mode promises.
fn split(mode: IvMode, iv: Vec<u8>, mut output: Vec<u8>, plain_bytes: usize) -> Option<Wrapped> {
    let iv = match mode {
        IvMode::Caller | IvMode::Returned => iv,
        IvMode::Appended { .. } => output.split_off(output.len().min(plain_bytes + TAG_BYTES)),
    };
    let whole = output.len() == plain_bytes + TAG_BYTES && has_form(&iv, &output);
    whole.then_some(Wrapped { iv, ciphertext: output })
}

/// Who made the vector, judged by the buffer that held `given` before the call
/// and by the length of the output.
fn recognise(given: &[u8], after: &[u8], output: &[u8], plain_bytes: usize) -> Option<IvMode> {
    let surplus = output.len().checked_sub(plain_bytes + TAG_BYTES)?;
    match u8::try_from(surplus).ok()? {
        0 if given == after => Some(IvMode::Caller),
        0 => Some(IvMode::Returned),
        iv_bytes @ (12 | 16) => Some(IvMode::Appended { iv_bytes }),
        _ => None,
    }
}

/// Decrypts; the plaintext is wiped when dropped.
pub(super) fn open(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut iv = iv.to_vec();
    let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, aad, TAG_BITS.into())?);
    session.decrypt(&mechanism, key, ciphertext).map(Zeroizing::new)
}

fn encrypt(
    session: &Session,
    key: ObjectHandle,
    iv: &mut [u8],
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, Error> {
    let mechanism = Mechanism::AesGcm(GcmParams::new(iv, aad, TAG_BITS.into())?);
    session.encrypt(&mechanism, key, plain)
}

/// Finds out who makes the vectors, by encrypting zeros under a key that
/// exists for this only, and proves that the result can be decrypted.
pub(super) fn detect_mode(session: &Session, token: &str) -> Result<IvMode, HsmError> {
    let failed = |error: &Error| faults::token_error("try AES-GCM", token, error);
    let key = session
        .generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::ValueLen(32.into()),
                Attribute::Token(false),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
            ],
        )
        .map_err(|error| failed(&error))?;
    let mode = try_mode(session, key).map_err(|error| failed(&error));
    session.destroy_object(key).map_err(|error| failed(&error))?;
    mode?.ok_or_else(|| HsmError::Configuration {
        operation: "try AES-GCM".into(),
        token: token.into(),
        ckr: "what was encrypted does not decrypt".into(),
        hint: "the token treats initialisation vectors in a way that is not supported".into(),
    })
}

fn try_mode(session: &Session, key: ObjectHandle) -> Result<Option<IvMode>, Error> {
    const ZEROS: [u8; 32] = [0; 32];
    const GIVEN: [u8; IV_BYTES] = [0x5a; IV_BYTES];
    let aad = b"strongroom start-up test";
    let mut iv = GIVEN.to_vec();
    let output = encrypt(session, key, &mut iv, aad, &ZEROS)?;
    let Some(mode) = recognise(&GIVEN, &iv, &output, ZEROS.len()) else {
        return Ok(None);
    };
    let Some(wrapped) = split(mode, iv, output, ZEROS.len()) else {
        return Ok(None);
    };
    let plain = open(session, key, &wrapped.iv, aad, &wrapped.ciphertext)?;
    Ok((plain.as_slice() == ZEROS).then_some(mode))
}

#[cfg(test)]
mod tests {
    use super::{recognise, split};
    use crate::report::IvMode;

    const GIVEN: [u8; 12] = [0x5a; 12];
    const MADE: [u8; 12] = [0x11; 12];

    #[test]
    fn each_way_of_making_vectors_is_recognised() {
        let output = |surplus: usize| vec![0; 32 + 16 + surplus];
        for (after, surplus, expected) in [
            (GIVEN, 0, Some(IvMode::Caller)),
            (MADE, 0, Some(IvMode::Returned)),
            (GIVEN, 12, Some(IvMode::Appended { iv_bytes: 12 })),
            (GIVEN, 16, Some(IvMode::Appended { iv_bytes: 16 })),
            (GIVEN, 5, None),
            (GIVEN, 300, None),
        ] {
            assert_eq!(recognise(&GIVEN, &after, &output(surplus), 32), expected);
        }
        assert_eq!(recognise(&GIVEN, &GIVEN, &[0; 40], 32), None);
    }

    #[test]
    fn the_vector_that_was_really_used_is_kept() {
        let sealed = vec![7; 48];
        let kept = split(IvMode::Returned, MADE.to_vec(), sealed.clone(), 32).unwrap();
        assert_eq!((kept.iv, kept.ciphertext), (MADE.to_vec(), sealed.clone()));
        let output = [sealed.as_slice(), &[9; 16]].concat();
        let kept = split(IvMode::Appended { iv_bytes: 16 }, GIVEN.to_vec(), output, 32).unwrap();
        assert_eq!((kept.iv, kept.ciphertext), (vec![9; 16], sealed));
    }

    #[test]
    fn output_of_another_length_than_promised_is_refused() {
        assert!(split(IvMode::Caller, GIVEN.to_vec(), vec![7; 60], 32).is_none());
        let appended = IvMode::Appended { iv_bytes: 12 };
        assert!(split(appended, GIVEN.to_vec(), vec![7; 48], 32).is_none());
        assert!(split(appended, GIVEN.to_vec(), vec![7; 20], 32).is_none());
    }
}
