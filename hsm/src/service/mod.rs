//! The appliance's side: calls to keys, and the supervision of the worker.

mod link;
mod process;
mod supervisor;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::buffer::{Fields, WipingBuffer};
use crate::config::{TokenConfig, WorkerProgram};
use crate::error::HsmError;
use crate::key::{KeyRef, KnownKey, Wrapped};
use crate::protocol::{self, Address, MAX_CALL_BYTES, NewToken, Opened, Verb};
use crate::report::{State, Status, TokenReport};
use crate::secret::SecretBytes;

use link::Link;
use process::Worker;
use supervisor::Stop;

/// Room in a call for the address of a key and the lengths of its arguments.
const FIELD_BYTES: usize = 64;

/// Keys named in one call; a thousand bytes each leave room enough.
const INTRODUCED_AT_ONCE: usize = 500;

/// Keys in a token, reached through a worker process.
///
/// Handles are cheap to clone and speak to the same worker; the worker ends
/// with the last of them or with [`stop`](Self::stop). While the worker is down
/// every call is answered at once with [`HsmError::Unavailable`].
#[derive(Clone)]
pub struct KeyService {
    shared: Arc<Shared>,
    /// When the last sender is gone the supervisor ends.
    orders: mpsc::Sender<Stop>,
}

/// What handles and supervisor share.
struct Shared {
    program: WorkerProgram,
    token: TokenConfig,
    pin: SecretBytes,
    keys: RwLock<HashMap<Address, Served>>,
    link: RwLock<Arc<Link>>,
    standing: Mutex<Standing>,
}

/// A key that calls may name.
struct Served {
    known: KnownKey,
    /// Without it a worker does not serve at all: one that was named at the start.
    required: bool,
}

struct Standing {
    state: State,
    worker_pid: Option<u32>,
    restarts: u64,
    opened: Opened,
}

impl KeyService {
    /// Starts the worker, which logs in once, locates every key and asserts
    /// its template and check value. A later worker takes over only if it finds
    /// them all. Keys that are made or added later are not so important: each is
    /// located by a later worker when it is first used, and one that is gone by
    /// then keeps no other from being served.
    ///
    /// The PIN is kept to log in again when the worker has to be replaced.
    ///
    /// # Errors
    ///
    /// [`HsmError::PinRefused`] if the token refuses the PIN or has refused it
    /// before; [`HsmError::KeyMissing`] and [`HsmError::KeyAltered`] for the
    /// first key that is not as it was made; [`HsmError::Configuration`] for
    /// what has to be put right outside; otherwise what the token says.
    /// Nothing keeps running after an error.
    pub async fn start(
        program: WorkerProgram,
        token: TokenConfig,
        pin: SecretBytes,
        keys: Vec<KnownKey>,
    ) -> Result<Self, HsmError> {
        let (worker, opened) = Worker::open(&program, &token, &pin, keys.clone()).await?;
        // Another token of the same label must not take this one's place later.
        let token = TokenConfig { token_serial: Some(opened.serial.clone()), ..token };
        let standing = Standing { state: State::Ready, worker_pid: worker.pid(), restarts: 0, opened };
        let shared = Arc::new(Shared {
            program,
            token,
            pin,
            keys: RwLock::new(
                keys.into_iter()
                    .map(|known| (Address::of(&known.key), Served { known, required: true }))
                    .collect(),
            ),
            link: RwLock::new(Arc::clone(&worker.link)),
            standing: Mutex::new(standing),
        });
        let (orders, received) = mpsc::channel(1);
        tokio::spawn(supervisor::run(Arc::clone(&shared), worker, received));
        Ok(Self { shared, orders })
    }

    /// Encrypts `plain`, a data key, under a customer master key, bound to
    /// `aad`.
    ///
    /// # Errors
    ///
    /// [`HsmError::KeyMissing`] for a key that was not named at the start, made
    /// or added since, or that the token has lost; otherwise as for every call.
    pub async fn wrap(&self, key: &KeyRef, aad: &[u8], plain: &SecretBytes) -> Result<Wrapped, HsmError> {
        let address = self.shared.address(key)?;
        let reply = self
            .call(Verb::Wrap, aad.len() + plain.len() + FIELD_BYTES, |buffer| {
                address.write(buffer);
                buffer.push_sized(aad);
                buffer.push_sized(plain.expose());
            })
            .await?;
        let mut fields = Fields::new(reply.expose());
        Ok(Wrapped { iv: fields.sized()?.to_vec(), ciphertext: fields.sized()?.to_vec() })
    }

    /// Decrypts what [`wrap`](Self::wrap) made of the same key and `aad`.
    ///
    /// # Errors
    ///
    /// [`HsmError::NotAuthentic`] if ciphertext or `aad` were changed; the
    /// token was then proven to work. [`HsmError::KeyMissing`] as for `wrap`.
    pub async fn unwrap(&self, key: &KeyRef, aad: &[u8], wrapped: &Wrapped) -> Result<SecretBytes, HsmError> {
        let address = self.shared.address(key)?;
        let size = aad.len() + wrapped.iv.len() + wrapped.ciphertext.len() + FIELD_BYTES;
        self.call(Verb::Unwrap, size, |buffer| {
            address.write(buffer);
            buffer.push_sized(aad);
            buffer.push_sized(&wrapped.iv);
            buffer.push_sized(&wrapped.ciphertext);
        })
        .await
    }

    /// HMAC-SHA-256 of `data` under an integrity key.
    ///
    /// # Errors
    ///
    /// [`HsmError::KeyMissing`] as for [`wrap`](Self::wrap).
    pub async fn mac(&self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], HsmError> {
        let address = self.shared.address(key)?;
        let reply = self
            .call(Verb::Mac, data.len() + FIELD_BYTES, |buffer| {
                address.write(buffer);
                buffer.push_sized(data);
            })
            .await?;
        Ok(Fields::new(reply.expose()).array()?)
    }

    /// ECDSA signature over a SHA-256 digest: r ‖ s, 64 bytes.
    ///
    /// # Errors
    ///
    /// [`HsmError::KeyMissing`] as for [`wrap`](Self::wrap).
    pub async fn sign(&self, key: &KeyRef, digest: &[u8; 32]) -> Result<Vec<u8>, HsmError> {
        let address = self.shared.address(key)?;
        let reply = self
            .call(Verb::Sign, digest.len() + FIELD_BYTES, |buffer| {
                address.write(buffer);
                buffer.push(digest);
            })
            .await?;
        Ok(reply.expose().to_vec())
    }

    /// The public half of an audit signing key: an uncompressed P-256 point,
    /// 65 bytes.
    ///
    /// # Errors
    ///
    /// [`HsmError::KeyMissing`] as for [`wrap`](Self::wrap).
    pub async fn public_key(&self, key: &KeyRef) -> Result<Vec<u8>, HsmError> {
        let address = self.shared.address(key)?;
        let reply = self.call(Verb::PublicKey, FIELD_BYTES, |buffer| address.write(buffer)).await?;
        Ok(reply.expose().to_vec())
    }

    /// `len` random bytes from the token.
    ///
    /// # Errors
    ///
    /// [`HsmError::Protocol`] if `len` exceeds what one call may carry, about
    /// a million bytes.
    pub async fn random(&self, len: usize) -> Result<SecretBytes, HsmError> {
        let count = u32::try_from(len).ok().filter(|_| len <= MAX_CALL_BYTES).ok_or_else(|| {
            HsmError::protocol(format!("{len} random bytes are more than one call may carry"))
        })?;
        let bytes = self.call(Verb::Random, FIELD_BYTES, |buffer| buffer.push_u32(count)).await?;
        if bytes.len() != len {
            return Err(HsmError::protocol("fewer random bytes than asked for"));
        }
        Ok(bytes)
    }

    /// Makes a key with the strict template of its kind, reads the template
    /// back, makes the check value and serves the key from then on.
    ///
    /// May be repeated with the same `key` after any error: a key that an
    /// earlier attempt made is found by its id and never made twice. Store the
    /// result, it proves the key at each later start.
    ///
    /// # Errors
    ///
    /// [`HsmError::Configuration`] if the token refuses the template;
    /// [`HsmError::KeyAltered`] if the key it made, or the key found under that
    /// id, does not have it. The deadline is twelve times that of other calls.
    pub async fn generate(&self, key: &KeyRef) -> Result<KnownKey, HsmError> {
        let body = protocol::to_json(key)?;
        let allowed = self.shared.token.call_deadline * 12;
        let reply =
            self.call_within(Verb::Generate, allowed, body.len(), |buffer| buffer.push(&body)).await?;
        let known: KnownKey = protocol::read_json(reply.expose())?;
        self.shared.remember(known.clone());
        Ok(known)
    }

    /// Locates one more key, asserts its template and check value, and serves
    /// it from then on.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); the key is then not served.
    pub async fn add_key(&self, known: KnownKey) -> Result<(), HsmError> {
        let body = protocol::to_json(&known)?;
        self.call_within(Verb::AddKey, self.shared.token.call_deadline * 4, body.len(), |buffer| {
            buffer.push(&body);
        })
        .await?;
        self.shared.remember(known);
        Ok(())
    }

    /// Names more keys, which are served from then on: each is located and
    /// proven when it is first used, and [`add_key`](Self::add_key) does that at
    /// once. A call with one that is not there, or is another, fails with
    /// [`HsmError::KeyMissing`] or [`HsmError::KeyAltered`], until it is there.
    ///
    /// # Errors
    ///
    /// As for every call. The keys are then introduced to the next worker.
    pub async fn introduce(&self, keys: Vec<KnownKey>) -> Result<(), HsmError> {
        for known in &keys {
            self.shared.remember(known.clone());
        }
        for part in keys.chunks(INTRODUCED_AT_ONCE) {
            let body = protocol::to_json(&part)?;
            self.call(Verb::Introduce, body.len(), |buffer| buffer.push(&body)).await?;
        }
        Ok(())
    }

    /// Destroys a customer master key in the token for good, and serves it no
    /// more. May be repeated after any error: a key that is not there is success.
    ///
    /// # Errors
    ///
    /// [`HsmError::KeyAltered`] if what the token holds under that id is not
    /// plainly that key: nothing is destroyed then. [`HsmError::Protocol`] for
    /// keys of other kinds, and for those named at the start.
    pub async fn destroy(&self, key: &KeyRef) -> Result<(), HsmError> {
        if self.shared.is_required(key) {
            return Err(HsmError::protocol("a key that the service cannot do without is not destroyed"));
        }
        let body = protocol::to_json(key)?;
        let allowed = self.shared.token.call_deadline * 4;
        // Before it is gone, so that no later worker looks for it.
        self.shared.forget(key);
        self.call_within(Verb::Destroy, allowed, body.len(), |buffer| buffer.push(&body)).await?;
        Ok(())
    }

    /// How the service stands. Costs no call.
    #[must_use]
    pub fn status(&self) -> Status {
        let standing = self.shared.standing();
        Status {
            state: standing.state.clone(),
            worker_pid: standing.worker_pid,
            restarts: standing.restarts,
            token_label: self.shared.token.token_label.clone(),
            token_serial: standing.opened.serial.clone(),
            iv_mode: standing.opened.iv_mode,
            sessions: standing.opened.sessions,
            in_flight: self.shared.link().in_flight(),
        }
    }

    /// Whether calls are served now: [`status`](Self::status) for those who ask
    /// on every request.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.shared.standing().state, State::Ready)
    }

    /// Examines the token and tries every key; takes some milliseconds of one
    /// session.
    ///
    /// # Errors
    ///
    /// As for every call. What a self-test finds is part of the report.
    pub async fn report(&self) -> Result<TokenReport, HsmError> {
        let reply =
            self.call_within(Verb::Report, self.shared.token.call_deadline * 4, 0, |_nothing| {}).await?;
        let mut report: TokenReport = protocol::read_json(reply.expose())?;
        report.sessions = self.shared.standing().opened.sessions;
        Ok(report)
    }

    /// Ends the worker and waits until it is gone. Calls under way and later
    /// ones fail with [`HsmError::Unavailable`].
    pub async fn stop(&self) {
        let (done, gone) = oneshot::channel();
        if self.orders.send(done).await.is_ok() {
            // An error means that another handle's stop was the one answered.
            drop(gone.await);
        }
    }

    async fn call(
        &self,
        verb: Verb,
        size: usize,
        encode: impl FnOnce(&mut WipingBuffer),
    ) -> Result<SecretBytes, HsmError> {
        self.call_within(verb, self.shared.token.call_deadline, size, encode).await
    }

    async fn call_within(
        &self,
        verb: Verb,
        allowed: Duration,
        size: usize,
        encode: impl FnOnce(&mut WipingBuffer),
    ) -> Result<SecretBytes, HsmError> {
        let link = self.shared.link();
        link.call(verb, allowed, size, encode).await
    }
}

impl fmt::Debug for KeyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyService").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The address of a key that is served. The label counts too, so that a
    /// record that names another key under the same id finds nothing.
    fn address(&self, key: &KeyRef) -> Result<Address, HsmError> {
        let address = Address::of(key);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match keys.get(&address) {
            Some(served) if served.known.key.label == key.label => Ok(address),
            Some(_) | None => {
                Err(HsmError::KeyMissing { key: key.label.clone(), token: self.token.token_label.clone() })
            }
        }
    }

    fn remember(&self, known: KnownKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let address = Address::of(&known.key);
        let required = keys.get(&address).is_some_and(|served| served.required);
        keys.insert(address, Served { known, required });
    }

    fn forget(&self, key: &KeyRef) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&Address::of(key));
    }

    fn is_required(&self, key: &KeyRef) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&Address::of(key)).is_some_and(|served| served.required)
    }

    /// The keys that a worker must find before it serves, and the others.
    fn known_keys(&self) -> (Vec<KnownKey>, Vec<KnownKey>) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (required, later): (Vec<&Served>, Vec<&Served>) =
            keys.values().partition(|served| served.required);
        let known = |served: Vec<&Served>| served.into_iter().map(|served| served.known.clone()).collect();
        (known(required), known(later))
    }

    fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker serves.
    fn up(&self, worker: &Worker, opened: Opened) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&worker.link);
        let mut standing = self.standing();
        standing.state = State::Ready;
        standing.worker_pid = worker.pid();
        standing.restarts += 1;
        standing.opened = opened;
    }

    /// No worker serves; the link that callers still find is closed.
    fn down(&self, why: &HsmError) {
        let mut standing = self.standing();
        let since = match &standing.state {
            State::Down { since, .. } => *since,
            State::Ready | State::PinRefused { .. } | State::Stopped => Instant::now(),
        };
        standing.state = State::Down { since, why: why.to_string() };
        standing.worker_pid = None;
        drop(standing);
        self.link().close(&HsmError::unavailable(why.to_string()));
    }

    /// No worker will ever serve again; every call is answered with `error`.
    fn end(&self, state: State, error: &HsmError) {
        let mut standing = self.standing();
        standing.state = state;
        standing.worker_pid = None;
        drop(standing);
        self.link().close(error);
    }
}

/// Makes a token on the first free slot of `module` and sets its PINs; returns
/// its serial number.
///
/// # Errors
///
/// [`HsmError::Configuration`] if a token of that label exists, if no slot is
/// free, or if a PIN or the label does not have the token's form; nothing was
/// changed then.
pub async fn initialize_token(
    program: WorkerProgram,
    module: &Path,
    softhsm_conf: Option<&Path>,
    label: &str,
    so_pin: SecretBytes,
    user_pin: SecretBytes,
) -> Result<String, HsmError> {
    let new = NewToken { module: module.to_owned(), label: label.to_owned() };
    Worker::initialize(&program, softhsm_conf, &new, &so_pin, &user_pin).await
}
