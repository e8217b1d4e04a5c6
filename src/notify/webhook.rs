//! Events as signed requests to a configured URL.
//!
//! The URL comes from the configuration and never from a caller. Its name is
//! resolved once for each attempt, and the connection goes to an address that
//! was checked; redirects are answers like others and are not followed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use strongroom_hsm::SecretBytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{AddressRange, Outgoing, SendError, Sending, Sink, is_public};
use crate::model::Clock;
use crate::rpc::client::{ClientError, Roots, connector};

/// The event's id, the same in every attempt.
const EVENT_ID: &str = "strongroom-event-id";
/// When the request was made, in seconds since 1970.
const TIMESTAMP: &str = "strongroom-timestamp";
/// `v1=` and the HMAC-SHA-256, in hexadecimal, of timestamp, a dot and the body.
const SIGNATURE: &str = "strongroom-signature";
/// How old an event may become before it is put aside.
const PATIENCE_SECONDS: i64 = 86_400;
/// The shortest secret, in bytes.
const MIN_SECRET: usize = 16;

/// Why a webhook cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is none that events are sent to.
    #[error("the url of webhook {name} must be {rule}")]
    Url {
        /// The webhook's name.
        name: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The secret is too short to sign with.
    #[error("the secret of webhook {name} must have at least 16 bytes")]
    Secret {
        /// The webhook's name.
        name: String,
    },
    /// TLS cannot be set up.
    #[error("prepare the connection of webhook {name}")]
    Tls {
        /// The webhook's name.
        name: String,
        /// Why not.
        #[source]
        source: ClientError,
    },
}

/// What is configured.
#[derive(Debug)]
pub struct WebhookSettings {
    /// Its name, under which its position is kept.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// The key of the signatures.
    pub secret: SecretBytes,
    /// Whom to believe that it is that host.
    pub roots: Roots,
    /// Whether `http` will do.
    pub allow_http: bool,
    /// Addresses that may be reached although they are not public.
    pub allow_addresses: Vec<AddressRange>,
    /// How long an attempt may take.
    pub timeout: Duration,
}

/// A webhook.
pub struct Webhook {
    sink: String,
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    key: hmac::Key,
    allow_addresses: Vec<AddressRange>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The path may hold a token of the receiver's.
        f.debug_struct("Webhook").field("sink", &self.sink).field("host", &self.host).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("resolve {host}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{host} is {address}, which is not public: list its range in allow_addresses if that is meant")]
    Inside { host: String, address: IpAddr },
    #[error("connect to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("the TLS handshake with {host}")]
    Tls { host: String, source: io::Error },
    #[error("the exchange over HTTP")]
    Http(#[from] hyper::Error),
    #[error("make the request")]
    Request(#[from] hyper::http::Error),
    #[error("the attempt took longer than {0:?}")]
    TooLong(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl Webhook {
    /// A webhook with these settings.
    ///
    /// # Errors
    ///
    /// [`WebhookError`], which says what to change.
    pub fn new(settings: WebhookSettings, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        let name = settings.name;
        let url = |rule| WebhookError::Url { name: name.clone(), rule };
        let uri: Uri = settings.url.parse().map_err(|_may_hold_a_token| url("a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(url("a URL with https:// and a host"));
        };
        if authority.as_str().contains('@') || settings.url.contains('#') {
            return Err(url("without user, password and fragment"));
        }
        let secure = match scheme {
            "https" => true,
            "http" if settings.allow_http => false,
            _ => return Err(url("an https URL, or http with allow_http = true")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if secure {
            let server =
                ServerName::try_from(host.clone()).ok().ok_or_else(|| url("of a host with a valid name"))?;
            let connector = connector(&settings.roots)
                .map_err(|source| WebhookError::Tls { name: name.clone(), source })?;
            Some((connector, server))
        } else {
            None
        };
        if settings.secret.expose().len() < MIN_SECRET {
            return Err(WebhookError::Secret { name });
        }
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
            key: hmac::Key::new(hmac::HMAC_SHA256, settings.secret.expose()),
            sink: format!("webhook:{name}"),
            host,
            tls,
            allow_addresses: settings.allow_addresses,
            timeout: settings.timeout,
            clock,
        })
    }

    /// Whether a connection can be had, without sending anything.
    ///
    /// # Errors
    ///
    /// [`SendError::Later`] with the reason.
    pub async fn reach(&self) -> Result<(), SendError> {
        let connect = async {
            let tcp = self.connect().await?;
            if let Some((connector, server)) = &self.tls {
                let handshake = connector.connect(server.clone(), tcp).await;
                handshake.map_err(|source| AttemptError::Tls { host: self.host.clone(), source })?;
            }
            Ok(())
        };
        let reached = tokio::time::timeout(self.timeout, connect).await;
        reached
            .unwrap_or(Err(AttemptError::TooLong(self.timeout)))
            .map_err(|e: AttemptError| SendError::Later(Box::new(e)))
    }

    /// Connects to an address that was checked, and to no other: a name that
    /// is resolved anew could be another address by then.
    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let host = || self.host.clone();
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|source| AttemptError::Resolve { host: host(), source })?;
        let mut last = AttemptError::NoAddress { host: host() };
        for address in found {
            let ip = address.ip();
            if !is_public(ip) && !self.allow_addresses.iter().any(|range| range.contains(ip)) {
                last = AttemptError::Inside { host: host(), address: ip };
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(source) => last = AttemptError::Connect { address, source },
            }
        }
        Err(last)
    }

    fn request(&self, event: &Outgoing) -> Result<Request<Full<Bytes>>, AttemptError> {
        let timestamp = self.clock.now().millis().div_euclid(1000).to_string();
        let mut signing = hmac::Context::with_key(&self.key);
        for part in [timestamp.as_bytes(), b".", event.body.as_bytes()] {
            signing.update(part);
        }
        let signature = format!("v1={}", HEXLOWER.encode(signing.sign().as_ref()));
        Ok(Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(EVENT_ID, &event.id)
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signature)
            .body(Full::new(Bytes::from(event.body.clone())))?)
    }

    async fn attempt(&self, event: &Outgoing) -> Result<(), AttemptError> {
        let request = self.request(event)?;
        let tcp = self.connect().await?;
        let status = match &self.tls {
            None => exchange(tcp, request).await?,
            Some((connector, server)) => {
                let handshake = connector.connect(server.clone(), tcp).await;
                let tls =
                    handshake.map_err(|source| AttemptError::Tls { host: self.host.clone(), source })?;
                exchange(tls, request).await?
            }
        };
        if status.is_success() { Ok(()) } else { Err(AttemptError::Status(status)) }
    }
}

/// Sends a request on a connection of its own; the body of the answer is not read.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, AttemptError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender, and its error is told to the request.
    let driven = tokio::spawn(connection);
    let answered = sender.send_request(request).await;
    driven.abort();
    Ok(answered?.status())
}

/// Whether an answer means that the receiver does not want the event: a
/// redirect, or a client error that is no matter of load.
fn is_refusal(status: StatusCode) -> bool {
    status.is_redirection()
        || (status.is_client_error()
            && status != StatusCode::REQUEST_TIMEOUT
            && status != StatusCode::TOO_MANY_REQUESTS)
}

impl Sink for Webhook {
    fn name(&self) -> &str {
        &self.sink
    }

    fn patience_seconds(&self) -> Option<i64> {
        Some(PATIENCE_SECONDS)
    }

    fn send<'a>(&'a self, events: &'a [Outgoing]) -> Sending<'a> {
        Box::pin(async move {
            for event in events {
                let attempt = tokio::time::timeout(self.timeout, self.attempt(event)).await;
                match attempt.unwrap_or(Err(AttemptError::TooLong(self.timeout))) {
                    Ok(()) => {}
                    Err(AttemptError::Status(StatusCode::GONE)) => {
                        return Err(SendError::Gone(Box::new(AttemptError::Status(StatusCode::GONE))));
                    }
                    Err(AttemptError::Status(status)) if is_refusal(status) => {
                        return Err(SendError::Refused(Box::new(AttemptError::Status(status))));
                    }
                    Err(error) => return Err(SendError::Later(Box::new(error))),
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventName, ManualClock, Timestamp};

    fn webhook(url: &str, allow_http: bool, secret: &[u8]) -> Result<Webhook, WebhookError> {
        let settings = WebhookSettings {
            name: "ops".to_owned(),
            url: url.to_owned(),
            secret: SecretBytes::copy_of(secret),
            roots: Roots::System,
            allow_http,
            allow_addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        };
        Webhook::new(settings, Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000))))
    }

    const SECRET: &[u8] = b"0123456789abcdef";

    #[test]
    fn a_url_is_https_and_names_nobody() {
        for bad in [
            "http://a.test/x",
            "ftp://a.test",
            "https://u:p@a.test/",
            "/x",
            "a.test",
            "",
            "https://a.test/#x",
        ] {
            assert!(matches!(webhook(bad, false, SECRET), Err(WebhookError::Url { .. })), "{bad}");
        }
        assert!(matches!(webhook("http://a.test", true, b"short"), Err(WebhookError::Secret { .. })));
        let made = webhook("http://[::1]:8080/hook?t=1", true, SECRET).unwrap();
        assert_eq!((made.host.as_str(), made.port, made.path.as_str()), ("::1", 8080, "/hook?t=1"));
        assert!(!format!("{made:?}").contains("t=1"));
    }

    #[test]
    fn the_signature_covers_timestamp_and_body() {
        let made = webhook("http://a.test/hook", true, SECRET).unwrap();
        let event = Outgoing {
            id: "E".to_owned(),
            name: EventName::Success,
            at: Timestamp::from_millis(0),
            body: "{}".to_owned(),
        };
        let request = made.request(&event).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let expected = HEXLOWER.encode(hmac::sign(&key, b"1700000000.{}").as_ref());
        assert_eq!(header(SIGNATURE), format!("v1={expected}"));
        assert_eq!((header(TIMESTAMP).as_str(), header(EVENT_ID).as_str()), ("1700000000", "E"));
    }

    #[tokio::test]
    async fn an_address_inside_is_not_connected_to() {
        for url in
            ["http://127.0.0.1:9/", "http://localhost:9/", "http://169.254.169.254/", "http://[::1]:9/"]
        {
            let error = webhook(url, true, SECRET).unwrap().connect().await.unwrap_err();
            assert!(matches!(error, AttemptError::Inside { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn only_answers_that_time_may_change_are_worth_a_day() {
        for (status, refused) in
            [(301, true), (400, true), (404, true), (408, false), (429, false), (500, false)]
        {
            assert_eq!(is_refusal(StatusCode::from_u16(status).unwrap()), refused, "{status}");
        }
    }
}
