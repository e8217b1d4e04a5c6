//! Connections to one host: TLS, a few kept open, and deadlines.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::response::Parts;
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use strongroom_hsm::SecretBytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{CallError, MAX_ANSWER_BYTES, Timeouts};

/// How many idle connections are kept.
const MAX_IDLE: usize = 8;

/// How long an idle connection is kept. Services close theirs after a minute or
/// so; one that is closed under a request leaves its fate unknown.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// Where systems keep the certificates that they trust: Debian and Alpine,
/// Red Hat and Alibaba Cloud Linux, SUSE.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Which certification authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of this PEM file and no others.
    File(PathBuf),
    /// Those that the system trusts.
    System,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is not `host` or `host:port`.
    #[error("the endpoint {host:?} is not of the form host or host:port")]
    Host {
        /// What was configured.
        host: String,
    },
    /// The endpoint's name cannot be in a certificate.
    #[error("the endpoint {host:?} is neither a DNS name nor an address")]
    Name {
        /// What was configured.
        host: String,
        /// The rule it breaks.
        source: InvalidDnsNameError,
    },
    /// The file holds no certificate that can be trusted.
    #[error("there is no usable certificate in {path}")]
    NoRoots {
        /// The file.
        path: PathBuf,
    },
    /// The file of trusted certificates cannot be read.
    #[error("could not read the trusted certificates in {path}")]
    ReadRoots {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The cryptographic library offers no protocol version.
    #[error("could not set TLS up")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
}

/// How a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Resolving the name or connecting failed.
    #[error("could not connect to {host}")]
    Connect {
        /// `host:port`.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The connection took longer than it may.
    #[error("connecting took longer than {limit:?}")]
    ConnectDeadline {
        /// The configured limit.
        limit: Duration,
    },
    /// The answer took longer than it may.
    #[error("the call took longer than {limit:?}")]
    Deadline {
        /// The configured limit.
        limit: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange over HTTP failed")]
    Http {
        /// Why.
        source: hyper::Error,
    },
    /// The TLS handshake failed, often because the certificate is not trusted.
    #[error("the TLS handshake with {host} failed")]
    Tls {
        /// `host:port`.
        host: String,
        /// Why.
        source: io::Error,
    },
}

/// The body of a request; its buffer is wiped when the last reader is done.
pub(super) type Body = Full<Bytes>;

pub(super) fn body_of(bytes: Zeroizing<Vec<u8>>) -> Body {
    Full::new(Bytes::from_owner(bytes))
}

/// A response that was read to its end.
pub(super) struct Whole {
    pub(super) parts: Parts,
    /// `None` when it was longer than [`MAX_ANSWER_BYTES`].
    pub(super) body: Option<SecretBytes>,
}

pub(super) struct Pool {
    address: (String, u16),
    name: ServerName<'static>,
    tls: TlsConnector,
    timeouts: Timeouts,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(host: &str, roots: &Roots, timeouts: Timeouts) -> Result<Self, ClientError> {
        let malformed = || ClientError::Host { host: host.to_owned() };
        let authority: Authority = host.parse().ok().ok_or_else(malformed)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 443,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(malformed)?,
            None => return Err(malformed()),
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone())
            .map_err(|source| ClientError::Name { host: host.to_owned(), source })?;
        Ok(Self {
            address: (bare, port),
            name,
            tls: connector(roots)?,
            timeouts,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Sends a request and reads its response, within the time of a call.
    pub(super) async fn exchange(&self, request: Request<Body>) -> Result<Whole, CallError> {
        let deadline = Instant::now() + self.timeouts.call;
        let mut request = request;
        // Each turn uses up one idle connection, until a new one is made.
        loop {
            let (mut sender, is_new) = match self.take_idle() {
                Some(mut sender) => match timeout_at(deadline, sender.ready()).await {
                    Ok(Ok(())) => (sender, false),
                    Ok(Err(_)) | Err(_) => continue,
                },
                None => (self.connect(deadline).await?, true),
            };
            let sent = timeout_at(deadline, sender.try_send_request(request)).await;
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !is_new => {
                        request = unsent;
                        continue;
                    }
                    unsent => {
                        return Err(CallError::Transport {
                            sent: unsent.is_none(),
                            source: TransportError::Http { source: error.into_error() },
                        });
                    }
                },
                Err(_) => return Err(self.too_late()),
            };
            return match timeout_at(deadline, read(response)).await {
                Ok(Ok(whole)) => {
                    // After a body that was cut off the connection is of no more use.
                    if whole.body.is_some() {
                        self.keep(sender);
                    }
                    Ok(whole)
                }
                Ok(Err(source)) => {
                    Err(CallError::Transport { sent: true, source: TransportError::Http { source } })
                }
                Err(_) => Err(self.too_late()),
            };
        }
    }

    fn too_late(&self) -> CallError {
        let source = TransportError::Deadline { limit: self.timeouts.call };
        CallError::Transport { sent: true, source }
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Idle { sender, since }) = idle.pop() {
            if since.elapsed() < IDLE_LIMIT && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<SendRequest<Body>, CallError> {
        let limit = self.timeouts.connect;
        let until = deadline.min(Instant::now() + limit);
        timeout_at(until, self.open())
            .await
            .unwrap_or(Err(TransportError::ConnectDeadline { limit }))
            .map_err(|source| CallError::Transport { sent: false, source })
    }

    async fn open(&self) -> Result<SendRequest<Body>, TransportError> {
        let (host, port) = &self.address;
        let shown = || format!("{host}:{port}");
        let tcp = TcpStream::connect((host.as_str(), *port))
            .await
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| TransportError::Connect { host: shown(), source })?;
        let tls = self
            .tls
            .connect(self.name.clone(), tcp)
            .await
            .map_err(|source| TransportError::Tls { host: shown(), source })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|source| TransportError::Http { source })?;
        // It ends with its sender, and its error is told to the request in flight.
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}

/// TLS for clients that speak HTTP/1.1.
///
/// # Errors
///
/// [`ClientError`] when the trusted certificates cannot be used.
pub(crate) fn connector(roots: &Roots) -> Result<TlsConnector, ClientError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError::Tls { source })?
        .with_root_certificates(trusted(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusted(roots: &Roots) -> Result<RootCertStore, ClientError> {
    let path = match roots {
        Roots::File(path) => path.clone(),
        Roots::System => SYSTEM_ROOTS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())
            .unwrap_or_else(|| PathBuf::from(SYSTEM_ROOTS[0])),
    };
    let unreadable = |source| ClientError::ReadRoots { path: path.clone(), source };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(unreadable)? {
        // Systems trust some roots in forms that are not accepted here; the others still count.
        store.add_parsable_certificates([certificate.map_err(unreadable)?]);
    }
    if store.is_empty() {
        return Err(ClientError::NoRoots { path });
    }
    Ok(store)
}

/// Reads the body; the pieces are gathered first so that the secret buffer is
/// made once, of the final size.
async fn read(response: Response<Incoming>) -> Result<Whole, hyper::Error> {
    let (parts, mut body) = response.into_parts();
    let mut pieces = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            length += piece.len();
            if length > MAX_ANSWER_BYTES {
                return Ok(Whole { parts, body: None });
            }
            pieces.push(piece);
        }
    }
    let mut whole = Vec::with_capacity(length);
    for piece in &pieces {
        whole.extend_from_slice(piece);
    }
    Ok(Whole { parts, body: Some(SecretBytes::from_vec(whole)) })
}
