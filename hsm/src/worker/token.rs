//! The open token: login, keys, and what is known about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

use super::check::{self, Mismatch};
use super::pin_marker::PinMarker;
use super::{faults, gcm, module, template};
use crate::error::HsmError;
use crate::key::{KeyKind, KeyRef, KnownKey};
use crate::protocol::{Address, Opening};
use crate::report::IvMode;
use crate::secret::SecretBytes;

/// A token that is logged in to.
pub(super) struct Token {
    pub(super) context: Pkcs11,
    pub(super) slot: Slot,
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) iv_mode: IvMode,
    /// Keeps the login: it ends when the last session closes.
    anchor: Mutex<Session>,
    keys: RwLock<HashMap<Address, Arc<Key>>>,
    /// Keys that nobody has used yet.
    later: RwLock<HashMap<Address, KnownKey>>,
    /// One key is created at a time.
    creating: Mutex<()>,
    /// Set once when only another worker can help.
    lost: OnceLock<String>,
}

/// A key that was found and proven.
pub(super) struct Key {
    pub(super) known: KnownKey,
    /// Uncompressed public point; empty but for a signing key.
    pub(super) point: Vec<u8>,
    handle: RwLock<ObjectHandle>,
    /// Set once the token was seen to hold something else under this name;
    /// only a key that is proven anew takes its place.
    altered: OnceLock<String>,
    /// One check at a time, so that a flood of damaged rows cannot keep every
    /// session busy with canaries.
    checking: Mutex<()>,
}

impl Key {
    pub(super) fn handle(&self) -> ObjectHandle {
        *self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the key still answers as it did when it was made.
    pub(super) fn answers(&self, session: &Session) -> Result<(), Mismatch> {
        match self.altered.get() {
            Some(what) => Err(Mismatch::Deviates(what.clone())),
            None => self.answers_as(session, self.handle()),
        }
    }

    /// Whether the object of that handle answers as the key did when it was
    /// made.
    fn answers_as(&self, session: &Session, handle: ObjectHandle) -> Result<(), Mismatch> {
        let _one = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        check::verify(session, handle, &self.known.key, &self.point, &self.known.check)
    }
}

impl Token {
    /// Loads the module, finds the token, logs in once, tries AES-GCM and the
    /// random generator, and proves every key.
    pub(super) fn open(opening: &Opening, pin: &SecretBytes) -> Result<Self, HsmError> {
        let label = &opening.token_label;
        let context = module::load(&opening.module, label)?;
        let (slot, info) = module::find_token(&context, label, opening.token_serial.as_deref())?;
        let marker = PinMarker::at(opening.pin_marker.clone());
        let anchor = log_in(&context, slot, &info, pin, &marker)?;
        check_random(&anchor, label)?;
        let iv_mode = gcm::detect_mode(&anchor, label)?;
        let token = Self {
            context,
            slot,
            label: label.clone(),
            serial: info.serial_number().to_owned(),
            iv_mode,
            anchor: Mutex::new(anchor),
            keys: RwLock::default(),
            later: RwLock::default(),
            creating: Mutex::new(()),
            lost: OnceLock::new(),
        };
        for known in &opening.keys {
            let anchor = token.anchor.lock().unwrap_or_else(PoisonError::into_inner);
            token.admit(&anchor, known)?;
        }
        Ok(token)
    }

    /// Opens a session that is logged in; read-only unless keys are made.
    pub(super) fn session(&self, writing: bool) -> Result<Session, Error> {
        let session = if writing {
            self.context.open_rw_session(self.slot)?
        } else {
            self.context.open_ro_session(self.slot)?
        };
        match session.get_session_info()?.session_state() {
            SessionState::RoUser | SessionState::RwUser => Ok(session),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {
                Err(Error::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo))
            }
        }
    }

    /// The key of that address, if it was named to this worker.
    pub(super) fn key(&self, address: Address) -> Option<Arc<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    /// The key of that address, located now if nobody has used it yet.
    ///
    /// One that is missing or another is looked for again at the next call: it
    /// may have been brought back.
    pub(super) fn introduced(&self, address: Address) -> Result<Option<Arc<Key>>, HsmError> {
        if let Some(key) = self.key(address) {
            return Ok(Some(key));
        }
        let known = self.later.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        let Some(known) = known else { return Ok(None) };
        self.admit_anew(&known)?;
        self.later.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        Ok(self.key(address))
    }

    /// Takes in keys that are located when they are first used.
    pub(super) fn introduce(&self, keys: Vec<KnownKey>) {
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        later.extend(keys.into_iter().map(|known| (Address::of(&known.key), known)));
    }

    /// Every key that was located, in no particular order.
    pub(super) fn keys(&self) -> Vec<Arc<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Locates and proves a key, and serves it from then on.
    pub(super) fn admit(&self, session: &Session, known: &KnownKey) -> Result<(), HsmError> {
        let (handle, point) = self.locate(session, &known.key)?;
        let key = Key {
            known: known.clone(),
            point,
            handle: RwLock::new(handle),
            altered: OnceLock::new(),
            checking: Mutex::new(()),
        };
        key.answers(session).map_err(|mismatch| self.mismatch(&known.key, mismatch))?;
        self.keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(Address::of(&known.key), Arc::new(key));
        Ok(())
    }

    /// As [`admit`](Self::admit), with a session of its own.
    pub(super) fn admit_anew(&self, known: &KnownKey) -> Result<(), HsmError> {
        let session =
            self.session(false).map_err(|error| faults::token_error("locate a key", &self.label, &error))?;
        self.admit(&session, known)
    }

    /// Destroys a customer master key, and nothing else; one that is not there
    /// is success.
    ///
    /// An object of that id under another name was put there by somebody else,
    /// and two of them are nobody's to choose from: both stay.
    pub(super) fn destroy(&self, key: &KeyRef) -> Result<(), HsmError> {
        if key.kind != KeyKind::CustomerMaster {
            return Err(HsmError::protocol("keys of this kind are never destroyed"));
        }
        let failed = |error: &Error| faults::token_error("destroy a key", &self.label, error);
        let _one = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let address = Address::of(key);
        let session = self.session(true).map_err(|error| failed(&error))?;
        match self.find(&session, template::class(key.kind), key)?.as_slice() {
            [] => {}
            [only] => {
                if !template::has_label(&session, *only, key) {
                    return Err(self.altered(key, "an object of its id has another name"));
                }
                if let Err(error) = session.destroy_object(*only) {
                    // The session's state is unknown now, so the search uses another.
                    drop(session);
                    let session = self.session(true).map_err(|error| failed(&error))?;
                    if !self.find(&session, template::class(key.kind), key)?.is_empty() {
                        return Err(failed(&error));
                    }
                }
            }
            several => return Err(self.altered(key, &format!("{} objects have its id", several.len()))),
        }
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        self.later.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        Ok(())
    }

    /// Looks a key up again whose handle stopped working, and proves it anew:
    /// a handle number may by now stand for another object.
    ///
    /// What is found is used only once it is proven; anything else than the key
    /// ends the service of that name.
    pub(super) fn relocate(&self, session: &Session, key: &Key) -> Result<(), HsmError> {
        self.check_unaltered(key)?;
        let proven = self.proven_handle(session, key);
        if let Err(HsmError::KeyAltered { what, .. }) = &proven {
            key.altered.get_or_init(|| what.clone());
        }
        *key.handle.write().unwrap_or_else(PoisonError::into_inner) = proven?;
        Ok(())
    }

    fn proven_handle(&self, session: &Session, key: &Key) -> Result<ObjectHandle, HsmError> {
        let (handle, point) = self.locate(session, &key.known.key)?;
        if point != key.point {
            return Err(self.altered(&key.known.key, "its public point differs"));
        }
        key.answers_as(session, handle).map_err(|mismatch| self.mismatch(&key.known.key, mismatch))?;
        Ok(handle)
    }

    /// Refuses a key that was seen to be another one.
    pub(super) fn check_unaltered(&self, key: &Key) -> Result<(), HsmError> {
        match key.altered.get() {
            Some(what) => Err(self.altered(&key.known.key, what)),
            None => Ok(()),
        }
    }

    /// Makes a key, or finds the one that an earlier attempt made, and serves
    /// it from then on.
    ///
    /// The id is looked up before and after: an answer may have been lost, and
    /// a second object of the same id would make both unusable.
    pub(super) fn generate(&self, key: &KeyRef) -> Result<KnownKey, HsmError> {
        let failed = |error: &Error| faults::token_error("generate a key", &self.label, error);
        let _one = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = self.key(Address::of(key)) {
            self.check_unaltered(&served)?;
        }
        let session = self.session(true).map_err(|error| failed(&error))?;
        if self.find(&session, template::class(key.kind), key)?.is_empty()
            && let Err(error) = create(&session, key)
        {
            if faults::refuses_template(&error) {
                return Err(HsmError::Configuration {
                    operation: format!("generate key {:?}", key.label),
                    token: self.label.clone(),
                    ckr: faults::name(&error),
                    hint: "the token refuses an attribute of the strict template; the ones that tokens lack most often are CKA_ALLOWED_MECHANISMS, CKA_COPYABLE and CKA_MODIFIABLE".into(),
                });
            }
            // The session's state is unknown now, so the search uses another.
            drop(session);
            let session = self.session(true).map_err(|error| failed(&error))?;
            if self.find(&session, template::class(key.kind), key)?.is_empty() {
                return Err(failed(&error));
            }
            return self.adopt(&session, key);
        }
        self.adopt(&session, key)
    }

    /// Asserts the template of a key that was just made and makes its check
    /// value.
    fn adopt(&self, session: &Session, key: &KeyRef) -> Result<KnownKey, HsmError> {
        let (handle, point) = self.locate(session, key)?;
        let check = check::make(session, handle, key, &point, self.iv_mode)
            .map_err(|error| faults::token_error("make a key check value", &self.label, &error))?;
        let known = KnownKey { key: key.clone(), check };
        self.admit(session, &known)?;
        Ok(known)
    }

    /// Says that only another worker can help; the first reason stands.
    pub(super) fn give_up(&self, why: String) -> HsmError {
        HsmError::unavailable(self.lost.get_or_init(|| why).clone())
    }

    /// Why the token is lost, if it is.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Ends the login and the library; only for when no other session is left.
    pub(super) fn close(self) {
        drop(self.anchor);
        // The process ends next, whatever the library answers.
        drop(self.context.finalize());
    }

    fn locate(&self, session: &Session, key: &KeyRef) -> Result<(ObjectHandle, Vec<u8>), HsmError> {
        let handle = self.find_one(session, template::class(key.kind), key)?;
        template::assert_secret(session, handle, key, &self.label)?;
        let point = match key.kind {
            KeyKind::CustomerMaster | KeyKind::Integrity => Vec::new(),
            KeyKind::AuditSigning => {
                let public = self.find_one(session, ObjectClass::PUBLIC_KEY, key)?;
                template::assert_public(session, public, key, &self.label)?;
                template::point(session, public)
                    .ok_or_else(|| self.altered(key, "its public point cannot be read"))?
            }
        };
        Ok((handle, point))
    }

    fn find_one(
        &self,
        session: &Session,
        class: ObjectClass,
        key: &KeyRef,
    ) -> Result<ObjectHandle, HsmError> {
        match self.find(session, class, key)?.as_slice() {
            [only] => Ok(*only),
            [] => Err(HsmError::KeyMissing { key: key.label.clone(), token: self.label.clone() }),
            several => Err(self.altered(key, &format!("{} objects have its id", several.len()))),
        }
    }

    /// Searches by class and id only, so that a second object of the same id
    /// shows whatever its label and type.
    fn find(
        &self,
        session: &Session,
        class: ObjectClass,
        key: &KeyRef,
    ) -> Result<Vec<ObjectHandle>, HsmError> {
        session
            .find_objects(&[Attribute::Class(class), Attribute::Id(key.id.to_vec())])
            .map_err(|error| faults::token_error("locate a key", &self.label, &error))
    }

    fn mismatch(&self, key: &KeyRef, mismatch: Mismatch) -> HsmError {
        match mismatch {
            Mismatch::Deviates(what) => self.altered(key, &what),
            Mismatch::Failed(error) => faults::token_error("prove a key", &self.label, &error),
        }
    }

    fn altered(&self, key: &KeyRef, what: &str) -> HsmError {
        HsmError::KeyAltered { key: key.label.clone(), token: self.label.clone(), what: what.to_owned() }
    }
}

fn create(session: &Session, key: &KeyRef) -> Result<(), Error> {
    let mechanism = template::generator(key.kind);
    let secret = template::secret_template(key);
    match key.kind {
        KeyKind::CustomerMaster | KeyKind::Integrity => {
            session.generate_key(&mechanism, &secret).map(|_handle| ())
        }
        KeyKind::AuditSigning => {
            session.generate_key_pair(&mechanism, &template::public_template(key), &secret).map(|_handles| ())
        }
    }
}

/// Logs in, once. Nothing in this process tries the PIN a second time.
fn log_in(
    context: &Pkcs11,
    slot: Slot,
    info: &TokenInfo,
    pin: &SecretBytes,
    marker: &PinMarker,
) -> Result<Session, HsmError> {
    let refused = |ckr: String, hint: &str| HsmError::PinRefused {
        token: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        ckr,
        hint: hint.to_owned(),
    };
    let unusable = |error: &std::io::Error| {
        HsmError::Configuration {
        operation: "read and write the record of refused PINs".into(),
        token: info.label().to_owned(),
        ckr: error.to_string(),
        hint: "without it a restart could try a wrong PIN again: check the file of pin_marker and the rights on its folder".into(),
    }
    };
    if marker.refused(info.serial_number(), pin).map_err(|error| unusable(&error))? {
        return Err(refused(
            "not tried, since the token refused this PIN before".into(),
            "give another PIN, or delete the record of refused PINs if the token's PIN was changed to this one",
        ));
    }
    if info.user_pin_locked() {
        return Err(refused(
            "not tried, since the PIN is locked".into(),
            "the security officer can set a new PIN",
        ));
    }
    if info.user_pin_final_try() {
        return Err(refused(
            "not tried, since one more wrong PIN locks the token".into(),
            "log in once with the vendor's tool and the right PIN, which resets the count",
        ));
    }
    marker.probe().map_err(|error| unusable(&error))?;
    let session = context
        .open_ro_session(slot)
        .map_err(|error| faults::token_error("open a session", info.label(), &error))?;
    let pad = info.protected_authentication_path();
    let login = if pad {
        session.login(UserType::User, None)
    } else {
        session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.expose().to_vec())))
    };
    match login {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            marker.forget(info.serial_number()).map_err(|error| unusable(&error))?;
            Ok(session)
        }
        Err(error) if faults::class(&error) == faults::Class::Pin => {
            let name = faults::name(&error);
            let wrong = matches!(
                error,
                Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)
            );
            if wrong
                && !pad
                && let Err(failure) = marker.remember(info.serial_number(), pin)
            {
                return Err(refused(
                    name,
                    &format!(
                        "and this could not be recorded ({failure}): do not restart before the PIN is corrected"
                    ),
                ));
            }
            Err(refused(name, "give the right PIN; this one is not tried again"))
        }
        Err(error) => Err(faults::token_error("log in", info.label(), &error)),
    }
}

/// Two draws that agree, or bytes that are all alike, come from a generator
/// that must not make keys or initialisation vectors.
fn check_random(session: &Session, token: &str) -> Result<(), HsmError> {
    let mut draws = [[0_u8; 32]; 2];
    for draw in &mut draws {
        session
            .generate_random_slice(draw)
            .map_err(|error| faults::token_error("draw random bytes", token, &error))?;
    }
    let [first, second] = &draws;
    let constant = |draw: &[u8; 32]| draw.iter().all(|byte| Some(byte) == draw.first());
    if first == second || constant(first) || constant(second) {
        return Err(HsmError::Configuration {
            operation: "draw random bytes".into(),
            token: token.into(),
            ckr: "the token's random generator repeats itself".into(),
            hint: "the token is broken or a test device; it must not be used".into(),
        });
    }
    Ok(())
}
