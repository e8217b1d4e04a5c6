//! A request as received: nothing in it is believed yet.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::{HeaderMap, Method, Uri};
use zeroize::Zeroizing;

use crate::model::{RequestId, Timestamp};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The address as audit records write it.
    pub address_text: Arc<str>,
    /// The TLS version, such as `TLSv1.3`.
    pub tls_version: &'static str,
    /// The cipher suite.
    pub cipher_suite: Arc<str>,
}

/// A request as received. `Debug` shows neither the target nor headers nor
/// body: secrets may be in any of them.
pub struct Call {
    /// The id that the answer and the record will carry.
    pub request_id: RequestId,
    /// When it arrived.
    pub arrived: Timestamp,
    /// Who sent it.
    pub peer: Arc<Peer>,
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, within the limit.
    pub body: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("request_id", &self.request_id)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// The host that was addressed, as the client wrote it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.headers
            .get(hyper::header::HOST)
            .and_then(|h| h.to_str().ok())
            .or_else(|| self.target.authority().map(hyper::http::uri::Authority::as_str))
            .unwrap_or("")
    }

    /// What the client says it is.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.headers.get(hyper::header::USER_AGENT).and_then(|h| h.to_str().ok())
    }
}
