//! The one template of each kind of key, and its verification.
//!
//! Every attribute is stated, since the defaults of tokens differ wildly
//! (SoftHSM makes keys readable and fit for every use), and every attribute is
//! read back, since a module may ignore what it was told.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::error::HsmError;
use crate::key::{KeyKind, KeyRef};

/// Length of the two secret keys.
const SECRET_BYTES: u64 = 32;

/// OID 1.2.840.10045.3.1.7, P-256, in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Length of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// The mechanism that makes keys of this kind.
pub(super) fn generator(kind: KeyKind) -> Mechanism<'static> {
    match kind {
        KeyKind::CustomerMaster => Mechanism::AesKeyGen,
        KeyKind::Integrity => Mechanism::GenericSecretKeyGen,
        KeyKind::AuditSigning => Mechanism::EccKeyPairGen,
    }
}

/// The class of the object that holds the secret part.
pub(super) fn class(kind: KeyKind) -> ObjectClass {
    match kind {
        KeyKind::CustomerMaster | KeyKind::Integrity => ObjectClass::SECRET_KEY,
        KeyKind::AuditSigning => ObjectClass::PRIVATE_KEY,
    }
}

/// What a secret or private key is made with.
pub(super) fn secret_template(key: &KeyRef) -> Vec<Attribute> {
    let mut template = common(key);
    template.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::AllowedMechanisms(vec![use_of(key.kind)]),
    ]);
    template.extend(match key.kind {
        KeyKind::CustomerMaster => vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(SECRET_BYTES.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
        ],
        KeyKind::Integrity => vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(SECRET_BYTES.into()),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Wrap(false),
            Attribute::Sign(true),
            Attribute::Verify(true),
        ],
        KeyKind::AuditSigning => vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::Decrypt(false),
            Attribute::Sign(true),
            Attribute::SignRecover(false),
        ],
    });
    template
}

/// What the public half of a key pair is made with.
pub(super) fn public_template(key: &KeyRef) -> Vec<Attribute> {
    let mut template = common(key);
    template.extend([
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Private(false),
        Attribute::Encrypt(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
    ]);
    template
}

fn common(key: &KeyRef) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Label(key.label.clone().into_bytes()),
        Attribute::Id(key.id.to_vec()),
    ]
}

/// The one mechanism that a key of this kind may be used with.
fn use_of(kind: KeyKind) -> MechanismType {
    match kind {
        KeyKind::CustomerMaster => MechanismType::AES_GCM,
        KeyKind::Integrity => MechanismType::SHA256_HMAC,
        KeyKind::AuditSigning => MechanismType::ECDSA,
    }
}

/// Compares a secret or private key with its template and with what the token
/// must say of a key that was made inside and never left.
pub(super) fn assert_secret(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    token: &str,
) -> Result<(), HsmError> {
    let mut expected = secret_template(key);
    expected.extend([
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
        Attribute::KeyGenMechanism(generator(key.kind).mechanism_type()),
    ]);
    assert_attributes(session, handle, &expected, key, token)
}

/// Whether an object carries the name of the key.
pub(super) fn has_label(session: &Session, handle: ObjectHandle, key: &KeyRef) -> bool {
    let wanted = Attribute::Label(key.label.clone().into_bytes());
    session.get_attributes(handle, &[AttributeType::Label]).is_ok_and(|found| found.first() == Some(&wanted))
}

/// Compares the public half of a key pair with its template.
pub(super) fn assert_public(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    token: &str,
) -> Result<(), HsmError> {
    let mut expected = public_template(key);
    expected.push(Attribute::Local(true));
    assert_attributes(session, handle, &expected, key, token)
}

fn assert_attributes(
    session: &Session,
    handle: ObjectHandle,
    expected: &[Attribute],
    key: &KeyRef,
    token: &str,
) -> Result<(), HsmError> {
    let mut deviations = Vec::new();
    for wanted in expected {
        // One at a time: a token that does not know one attribute must not
        // hide the others.
        let kind = wanted.attribute_type();
        match session.get_attributes(handle, &[kind]) {
            Ok(found) if found.first() == Some(wanted) => {}
            Ok(found) if found.is_empty() => deviations.push(format!("{kind} is not given")),
            Ok(_) => deviations.push(format!("{kind} differs")),
            Err(error) => deviations.push(format!("{kind} cannot be read: {}", super::faults::name(&error))),
        }
    }
    if deviations.is_empty() {
        return Ok(());
    }
    Err(HsmError::KeyAltered { key: key.label.clone(), token: token.to_owned(), what: deviations.join(", ") })
}

/// The uncompressed point of a public key; `None` if the token gives none that
/// has the right form.
pub(super) fn point(session: &Session, public: ObjectHandle) -> Option<Vec<u8>> {
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint]).ok()?;
    let Some(Attribute::EcPoint(encoded)) = attributes.first() else {
        return None;
    };
    // A DER octet string by the standard; some modules give the bare point.
    let bare = encoded.strip_prefix(&[0x04, 0x41]).filter(|point| point.len() == POINT_BYTES);
    let point = bare.unwrap_or(encoded);
    (point.len() == POINT_BYTES && point.first() == Some(&0x04)).then(|| point.to_vec())
}
