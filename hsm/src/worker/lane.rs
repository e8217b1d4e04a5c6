//! One session and the rules for its failures.

use std::sync::Arc;

use cryptoki::error::Error;
use cryptoki::session::Session;

use super::faults::{self, Class};
use super::token::{Key, Token};
use crate::error::HsmError;
use crate::protocol::Verb;

/// What a session thread works with. The session is replaced whenever its
/// state is in doubt.
pub(super) struct Lane {
    pub(super) token: Arc<Token>,
    session: Option<Session>,
}

impl Lane {
    pub(super) fn new(token: Arc<Token>, session: Session) -> Self {
        Self { token, session: Some(session) }
    }

    /// Runs `call`, which must have no side effects, and once more on a fresh
    /// session if the failure leaves room for hope.
    ///
    /// After a second failure that does not say whether the data or the device
    /// is to blame, the check value of `key` decides.
    pub(super) fn perform<T>(
        &mut self,
        verb: Verb,
        key: Option<&Key>,
        call: impl Fn(&Session) -> Result<T, Error>,
    ) -> Result<T, HsmError> {
        let first = match self.once(&call) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match faults::class(&first) {
            Class::Data => return Err(self.not_authentic(verb, key, &first)),
            Class::Configuration | Class::Pin | Class::Exhausted => {
                return Err(self.failure(verb, &first));
            }
            Class::Login | Class::Lost => return Err(self.give_up(verb, &first)),
            Class::Handle => {
                if let Some(key) = key {
                    self.relocate(verb, key)?;
                }
            }
            Class::Session | Class::Ambiguous => {}
        }
        let second = match self.once(&call) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match faults::class(&second) {
            Class::Data => Err(self.not_authentic(verb, key, &second)),
            Class::Configuration | Class::Pin | Class::Exhausted | Class::Handle => {
                Err(self.failure(verb, &second))
            }
            Class::Session | Class::Login | Class::Lost => Err(self.give_up(verb, &second)),
            Class::Ambiguous => Err(self.judge(verb, key, &second)),
        }
    }

    /// Gives the session that [`perform`](Self::perform) would use.
    pub(super) fn session(&mut self) -> Result<&Session, Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.token.session(false)?,
        };
        Ok(self.session.insert(session))
    }

    fn once<T>(&mut self, call: impl Fn(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let result = self.session().and_then(call);
        if let Err(error) = &result
            && faults::class(error) != Class::Data
        {
            // An operation may still be active on it.
            self.session = None;
        }
        result
    }

    fn relocate(&mut self, verb: Verb, key: &Key) -> Result<(), HsmError> {
        let token = Arc::clone(&self.token);
        match self.session() {
            Ok(session) => token.relocate(session, key),
            Err(error) => Err(self.give_up(verb, &error)),
        }
    }

    /// Data or device? The key is proven on a fresh session: if it answers as
    /// ever, the data are to blame.
    fn judge(&mut self, verb: Verb, key: Option<&Key>, error: &Error) -> HsmError {
        let token = Arc::clone(&self.token);
        let any = token.keys();
        let Some(witness) = key.or_else(|| any.first().map(Arc::as_ref)) else {
            return self.failure(verb, error);
        };
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => return self.give_up(verb, &error),
        };
        if witness.answers(session).is_ok() {
            return self.not_authentic(verb, key, error);
        }
        // Some tokens answer for a deleted key as for a broken device.
        match token.relocate(session, witness) {
            Ok(()) => self.failure(verb, error),
            Err(missing @ (HsmError::KeyMissing { .. } | HsmError::KeyAltered { .. })) => {
                self.session = None;
                missing
            }
            Err(_) => self.give_up(verb, error),
        }
    }

    fn not_authentic(&self, verb: Verb, key: Option<&Key>, error: &Error) -> HsmError {
        match key {
            Some(key) if verb == Verb::Unwrap => HsmError::NotAuthentic { key: key.known.key.label.clone() },
            Some(_) | None => self.failure(verb, error),
        }
    }

    fn failure(&self, verb: Verb, error: &Error) -> HsmError {
        faults::token_error(verb.deed(), &self.token.label, error)
    }

    fn give_up(&self, verb: Verb, error: &Error) -> HsmError {
        self.token.give_up(format!(
            "could not {} on token {:?}: {}",
            verb.deed(),
            self.token.label,
            faults::name(error)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::process::Command;
    use std::sync::Arc;

    use cryptoki::context::Function;
    use cryptoki::error::{Error, RvError};

    use super::Lane;
    use crate::error::HsmError;
    use crate::key::{KeyKind, KeyRef};
    use crate::protocol::{Address, NewToken, Opening, Verb};
    use crate::secret::SecretBytes;
    use crate::worker::token::{Key, Token};
    use crate::worker::{ceremony, gcm};

    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    const PIN: &[u8] = b"user pin of the test token";

    /// SoftHSM reads its configuration once in a process, from the
    /// environment, so the scenarios run in a process of their own.
    #[test]
    fn failures_are_treated_by_their_class_on_a_real_token() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\n", folder.path().display());
        std::fs::write(&conf, text).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker::lane::tests::scenarios", "--ignored", "--nocapture"])
            .env("SOFTHSM2_CONF", conf)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "run by another test, in a process of its own"]
    fn scenarios() {
        let label = "lane".to_owned();
        let new = NewToken { module: MODULE.into(), label: label.clone() };
        ceremony::initialize(&new, b"so pin of the test token", PIN).unwrap();
        let opening = Opening {
            module: MODULE.into(),
            token_label: label,
            token_serial: None,
            sessions: 1,
            queue: 1,
            call_deadline_millis: 1000,
            pin_marker: None,
            keys: Vec::new(),
        };
        let token = Arc::new(Token::open(&opening, &SecretBytes::copy_of(PIN)).unwrap());
        let name = KeyRef { label: "key".into(), id: [1; 16], kind: KeyKind::CustomerMaster };
        token.generate(&name).unwrap();
        let key = token.key(Address::of(&name)).unwrap();
        let mut lane = Lane::new(Arc::clone(&token), token.session(false).unwrap());

        // One failure that may pass: once more, on another session.
        for code in [
            RvError::SessionHandleInvalid,
            RvError::OperationActive,
            RvError::ObjectHandleInvalid,
            RvError::GeneralError,
            RvError::DeviceError,
        ] {
            let (answer, sessions) = run(&mut lane, Verb::Mac, &key, &[code]);
            assert_eq!(answer, Ok(()), "{code:?}");
            assert_eq!(sessions.len(), 2, "{code:?}");
            assert_ne!(sessions[0], sessions[1], "{code:?}");
        }

        // Twice without a reason, while the key answers: the data.
        let twice = [RvError::GeneralError, RvError::FunctionFailed];
        let (answer, sessions) = run(&mut lane, Verb::Unwrap, &key, &twice);
        assert!(matches!(answer, Err(HsmError::NotAuthentic { .. })), "{answer:?}");
        assert_eq!(sessions.len(), 2);
        let (answer, _) = run(&mut lane, Verb::Mac, &key, &twice);
        assert!(matches!(answer, Err(HsmError::Token { .. })), "{answer:?}");

        // No second try where it cannot help; a clean refusal of the data
        // leaves the session in place.
        let once = |lane: &mut Lane, code| {
            let (answer, sessions) = run(lane, Verb::Unwrap, &key, &[code]);
            assert_eq!(sessions.len(), 1, "{code:?}");
            answer
        };
        let answer = once(&mut lane, RvError::EncryptedDataInvalid);
        assert!(matches!(answer, Err(HsmError::NotAuthentic { .. })), "{answer:?}");
        let answer = once(&mut lane, RvError::MechanismInvalid);
        assert!(matches!(answer, Err(HsmError::Configuration { .. })), "{answer:?}");
        let answer = once(&mut lane, RvError::SessionCount);
        assert!(matches!(answer, Err(HsmError::Busy { .. })), "{answer:?}");
        assert!(token.lost().is_none());

        // A login that ended behind our back is the end of this worker.
        token.session(false).unwrap().logout().unwrap();
        let answer = lane.perform(Verb::Wrap, Some(&key), |session| {
            gcm::seal(session, key.handle(), token.iv_mode, b"", b"data key")
        });
        assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
        assert!(token.lost().is_some());
        let (answer, sessions) = run(&mut lane, Verb::Mac, &key, &[RvError::DeviceRemoved]);
        assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
        assert!(sessions.len() <= 1);
    }

    /// Performs a call that fails with `codes`, one after the other, and then
    /// succeeds; returns the sessions that it was tried on.
    fn run(lane: &mut Lane, verb: Verb, key: &Key, codes: &[RvError]) -> (Result<(), HsmError>, Vec<u64>) {
        let (sessions, mut codes) = (RefCell::new(Vec::new()), codes.iter());
        let codes = RefCell::new(&mut codes);
        let answer = lane.perform(verb, Some(key), |session| {
            sessions.borrow_mut().push(session.handle());
            match codes.borrow_mut().next() {
                Some(code) => Err(Error::Pkcs11(*code, Function::Decrypt)),
                None => Ok(()),
            }
        });
        (answer, sessions.into_inner())
    }
}
