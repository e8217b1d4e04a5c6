//! A client that signs each request with ACS3-HMAC-SHA256 and sends it over TLS.

mod answer;
mod connection;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use self::connection::{Body, Pool};
use super::encoding::{encode, encode_into, encoded_len};
use super::signature::{self, Outgoing, SigningKey};
use super::timestamp;

pub(crate) use self::answer::harmless;
pub(crate) use self::connection::connector;
pub use self::connection::{ClientError, Roots, TransportError};

/// The longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The longest request target that the HTTP library writes (kms-secrets.md
/// section 0, point 14).
const MAX_TARGET_BYTES: usize = 65_534;

/// Where the time comes from; the client needs the wall clock to sign.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// One service, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host` or `host:port`, an IPv6 address in brackets; the port is 443 otherwise.
    pub host: String,
    /// Whom to believe that it is that host.
    pub roots: Roots,
    /// Version of the API, such as `2014-05-26`.
    pub version: &'static str,
    /// Limits in time.
    pub timeouts: Timeouts,
}

/// How long one call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// For the whole call, the connection included, until the last byte of the answer.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), call: Duration::from_secs(20) }
    }
}

/// An access key, long-term or of an STS session. `Debug` shows its id only.
pub struct Credentials {
    access_key_id: String,
    key: SigningKey,
    security_token: Option<SecretBytes>,
}

impl Credentials {
    /// Prepares the key; the secret may be dropped afterwards.
    #[must_use]
    pub fn new(access_key_id: String, secret: &SecretBytes, security_token: Option<SecretBytes>) -> Self {
        let key = SigningKey::new(secret.expose());
        Self { access_key_id, key, security_token }
    }

    /// The id of the access key.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Why a call gave no answer.
///
/// No variant holds what was sent. The text of a refusal is the service's own,
/// made harmless for logs and cut to 1024 bytes.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Something answered, but not in the form of the protocol. The request was
    /// received and may have been carried out, unless `status` says otherwise.
    #[error("the answer with status {status} is malformed: {what}")]
    Malformed {
        /// HTTP status of the answer.
        status: u16,
        /// What is wrong, as a clause.
        what: &'static str,
    },
    /// The service answered with an error.
    #[error("the service refused the call with {status} {code} (request {request_id}): {message}")]
    Refused {
        /// HTTP status, 300 or more.
        status: u16,
        /// Error code of the service.
        code: String,
        /// Its explanation.
        message: String,
        /// Its id of the request; empty when it gave none.
        request_id: String,
        /// `x-acs-retry-after`, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The connection failed or took too long.
    #[error("the service could not be reached, request sent: {sent}")]
    Transport {
        /// False when no byte of the request can have reached the service.
        sent: bool,
        /// What failed.
        #[source]
        source: TransportError,
    },
    /// The request could not be written; nothing was sent.
    #[error("the request cannot be made: {what}")]
    Unsendable {
        /// What is wrong, as a clause.
        what: &'static str,
    },
}

/// A client of one service: keeps idle connections, may be shared and called
/// from many tasks at once.
pub struct Client {
    host: String,
    version: &'static str,
    pool: Pool,
    now: Now,
    random: SystemRandom,
}

impl Client {
    /// Reads the trusted certificates; connects to nothing yet.
    ///
    /// It reads a file and therefore belongs to the start of a program.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the host cannot be one, or the certificates cannot
    /// be read or hold none.
    pub fn new(endpoint: Endpoint, now: Now) -> Result<Self, ClientError> {
        let pool = Pool::new(&endpoint.host, &endpoint.roots, endpoint.timeouts)?;
        Ok(Self { host: endpoint.host, version: endpoint.version, pool, now, random: SystemRandom::new() })
    }

    /// Calls an action once, with a fresh nonce and date.
    ///
    /// Parameters of `query` go into the URL, which proxies and servers log:
    /// secrets belong into `form`, whose buffer is wiped once it was sent.
    /// The answer is the body of a response with status 200 to 299.
    ///
    /// A connection that the service closed while it was idle is replaced and
    /// the request sent again only if no byte of it had been written; nothing
    /// else is repeated here.
    ///
    /// # Errors
    ///
    /// [`CallError`]; only `Transport` with `sent: false`, `Unsendable` and a
    /// refusal prove that nothing was done.
    pub async fn call(
        &self,
        credentials: &Credentials,
        action: &str,
        query: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Result<SecretBytes, CallError> {
        let request = self.signed(credentials, action, query, form)?;
        let response = self.pool.exchange(request).await?;
        answer::read(response)
    }

    fn signed(
        &self,
        credentials: &Credentials,
        action: &str,
        query: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Result<Request<Body>, CallError> {
        let unsendable = |what| CallError::Unsendable { what };
        let mut sorted = query.to_vec();
        sorted.sort_unstable();
        let mut target = String::from("/");
        for (index, (name, value)) in sorted.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(&encode(name));
            target.push('=');
            target.push_str(&encode(value));
        }
        if target.len() > MAX_TARGET_BYTES {
            return Err(unsendable("its parameters are too long for a URL"));
        }
        let body = form_body(form);
        let content_hash = signature::content_sha256(&body);
        let date = (self.now)()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .and_then(timestamp::format)
            .ok_or(unsendable("the clock is out of range"))?;
        let mut nonce = [0; 16];
        self.random.fill(&mut nonce).ok().ok_or(unsendable("there is no randomness for a nonce"))?;
        let nonce = HEXLOWER.encode(&nonce);
        let token = credentials
            .security_token
            .as_ref()
            .map(|token| str::from_utf8(token.expose()))
            .transpose()
            .ok()
            .ok_or(unsendable("the security token is not text"))?;

        let mut headers = Vec::with_capacity(10);
        headers.push(("accept", "application/json"));
        if !form.is_empty() {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        headers.push(("host", self.host.as_str()));
        if token.is_some() {
            headers.push(("x-acs-accesskey-id", credentials.access_key_id.as_str()));
        }
        headers.push(("x-acs-action", action));
        headers.push(("x-acs-content-sha256", &content_hash));
        headers.push(("x-acs-date", &date));
        if let Some(token) = token {
            headers.push(("x-acs-security-token", token));
        }
        headers.push(("x-acs-signature-nonce", &nonce));
        headers.push(("x-acs-version", self.version));

        let authorization = signature::authorization(
            &credentials.key,
            &credentials.access_key_id,
            &Outgoing { method: "POST", query: &sorted, headers: &headers, body: &body },
        );
        let mut builder = Request::post(target);
        for (name, value) in headers {
            let value =
                HeaderValue::from_str(value).ok().ok_or(unsendable("a header holds control characters"))?;
            builder = builder.header(name, sensitive(value));
        }
        let value = HeaderValue::from_str(&authorization)
            .ok()
            .ok_or(unsendable("the access key id holds control characters"))?;
        builder
            .header(AUTHORIZATION, sensitive(value))
            .body(connection::body_of(body))
            .ok()
            .ok_or(unsendable("its parts are not those of an HTTP request"))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Keeps a value out of the `Debug` output of the request.
fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// The form body, in a buffer of the final size that is wiped on drop.
fn form_body(form: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let length = form
        .iter()
        .map(|(name, value)| 2 + encoded_len(name.as_bytes()) + encoded_len(value.as_bytes()))
        .sum();
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    for (index, (name, value)) in form.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        encode_into(&mut body, name.as_bytes());
        body.push(b'=');
        encode_into(&mut body, value.as_bytes());
    }
    body
}
