//! What others do to a token behind the service's back.
//!
//! SoftHSM reads its configuration from the environment once in a process, so
//! each deed runs in a process of its own: this test program, asked to run
//! [`hand`].

use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use strongroom_hsm::{KeyKind, KeyRef, Wrapped};

use crate::stand::{MODULE, PIN, Stand};

const DEED: &str = "STRONGROOM_TEST_DEED";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// Makes the object count of an id the exit of the process.
    Count(KeyRef),
    /// Deletes every object of that id.
    Destroy(KeyRef),
    /// Makes a key of the strict template, whatever exists.
    Make(KeyRef),
    /// Makes a key as SoftHSM's own defaults have it.
    MakeLax(KeyRef),
    /// Makes a key of the strict template but for one attribute.
    MakeModifiable(KeyRef),
    /// Decrypts as fast as it can with so many threads; the count of objects is
    /// then that of decryptions a second.
    Measure { key: KeyRef, wrapped: Wrapped, threads: u16 },
    /// Changes the user's PIN.
    SetPin { old: String, new: String },
}

/// Does it, and returns how many objects of the key's id there are then.
pub(crate) fn perform(stand: &Stand, deed: &Deed) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outside::hand", "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", stand.conf())
        .env(DEED, serde_json::to_string(deed).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{deed:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let (_, count) = text.split_once("objects: ").unwrap();
    count.split_whitespace().next().unwrap().parse().unwrap()
}

/// Decryptions a second without any worker in between.
pub(crate) fn measure(stand: &Stand, key: &KeyRef, wrapped: &Wrapped, threads: u16) -> usize {
    perform(stand, &Deed::Measure { key: key.clone(), wrapped: wrapped.clone(), threads })
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn hand() {
    let deed: Deed = serde_json::from_str(&std::env::var(DEED).unwrap()).unwrap();
    let context = Pkcs11::new(MODULE).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let session = context.open_rw_session(slot).unwrap();
    let pin = |text: &str| AuthPin::new(text.to_owned().into_boxed_str());
    let user = match &deed {
        Deed::SetPin { old, .. } => pin(old),
        Deed::Count(_)
        | Deed::Destroy(_)
        | Deed::Make(_)
        | Deed::MakeLax(_)
        | Deed::MakeModifiable(_)
        | Deed::Measure { .. } => pin(std::str::from_utf8(PIN).unwrap()),
    };
    session.login(UserType::User, Some(&user)).unwrap();
    let key = match deed {
        Deed::SetPin { new, .. } => {
            session.set_pin(&user, &pin(&new)).unwrap();
            println!("objects: 0");
            return;
        }
        Deed::Measure { key, wrapped, threads } => {
            println!("objects: {}", decrypt(&context, slot, &key, &wrapped, threads));
            return;
        }
        Deed::Count(key) => key,
        Deed::Destroy(key) => {
            for object in session.find_objects(&[Attribute::Id(key.id.to_vec())]).unwrap() {
                session.destroy_object(object).unwrap();
            }
            key
        }
        Deed::Make(key) => {
            make(&session, &key, false);
            key
        }
        Deed::MakeModifiable(key) => {
            make(&session, &key, true);
            key
        }
        Deed::MakeLax(key) => {
            let template = [
                Attribute::Token(true),
                Attribute::ValueLen(32.into()),
                Attribute::Label(key.label.clone().into_bytes()),
                Attribute::Id(key.id.to_vec()),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
            key
        }
    };
    println!("objects: {}", session.find_objects(&[Attribute::Id(key.id.to_vec())]).unwrap().len());
}

fn decrypt(context: &Pkcs11, slot: Slot, key: &KeyRef, wrapped: &Wrapped, threads: u16) -> u64 {
    const ROUND: Duration = Duration::from_secs(2);
    let end = Instant::now() + ROUND;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let session = context.open_ro_session(slot).unwrap();
                scope.spawn(move || {
                    let object = session.find_objects(&[Attribute::Id(key.id.to_vec())]).unwrap()[0];
                    let mut calls = 0;
                    while Instant::now() < end {
                        let mut iv = wrapped.iv.clone();
                        let params = GcmParams::new(&mut iv, b"context", 128.into()).unwrap();
                        session.decrypt(&Mechanism::AesGcm(params), object, &wrapped.ciphertext).unwrap();
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>() / ROUND.as_secs()
    })
}

/// The strict templates, written down a second time on purpose.
fn make(session: &Session, key: &KeyRef, modifiable: bool) {
    let shared = [
        Attribute::Token(true),
        Attribute::Modifiable(modifiable),
        Attribute::Copyable(false),
        Attribute::Label(key.label.clone().into_bytes()),
        Attribute::Id(key.id.to_vec()),
        Attribute::Derive(false),
    ];
    let secret = |mechanism, encrypts: bool| {
        let mut template = shared.to_vec();
        template.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Unwrap(false),
            Attribute::Decrypt(encrypts),
            Attribute::Sign(!encrypts),
            Attribute::AllowedMechanisms(vec![mechanism]),
        ]);
        template
    };
    let symmetric = |mechanism, key_type, encrypts: bool| {
        let mut template = secret(mechanism, encrypts);
        template.extend([
            Attribute::KeyType(key_type),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(encrypts),
            Attribute::Verify(!encrypts),
            Attribute::Wrap(false),
        ]);
        template
    };
    match key.kind {
        KeyKind::CustomerMaster => {
            let template = symmetric(MechanismType::AES_GCM, KeyType::AES, true);
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        }
        KeyKind::Integrity => {
            let template = symmetric(MechanismType::SHA256_HMAC, KeyType::GENERIC_SECRET, false);
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
        }
        KeyKind::AuditSigning => {
            let mut private = secret(MechanismType::ECDSA, false);
            private.extend([Attribute::KeyType(KeyType::EC), Attribute::SignRecover(false)]);
            let mut public = shared.to_vec();
            public.extend([
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::EC),
                Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
                Attribute::Private(false),
                Attribute::Encrypt(false),
                Attribute::Verify(true),
                Attribute::VerifyRecover(false),
                Attribute::Wrap(false),
            ]);
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
        }
    }
}
