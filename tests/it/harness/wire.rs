//! Requests written by hand, so that anything about them can be wrong: bytes
//! over TLS, signed by signers of the tests' own.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, HEXLOWER};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{AccessKey, Appliance, PATIENCE};

/// The present moment as requests write it, shifted by so many seconds.
pub(crate) fn timestamp(shift_seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the appliance runs on the real clock")]
    let now = OffsetDateTime::from(SystemTime::now()) + time::Duration::seconds(shift_seconds);
    now.replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
}

/// A nonce that no request had before.
pub(crate) fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}-{}", std::process::id(), timestamp(0), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// RFC 3986 percent-encoding.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `name=value&…`.
pub(crate) fn encode_all<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn hmac_sha256(key: &str, text: &str) -> String {
    HEXLOWER.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes()).as_ref())
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A request, as it will stand on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A V1 request in the making: its parameters may be spoiled before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct V1 {
    pub(crate) parameters: BTreeMap<String, String>,
    secret: String,
}

/// An ACS3 request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Acs3 {
    pub(crate) method: &'static str,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    key: AccessKey,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A V1 request for an action of a version.
    pub(crate) fn v1(key: &AccessKey, action: &str, version: &str, parameters: &[(&str, &str)]) -> V1 {
        let (nonce, timestamp) = (nonce(), timestamp(0));
        let common = [
            ("Action", action),
            ("Version", version),
            ("Format", "JSON"),
            ("AccessKeyId", &key.id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &timestamp),
        ];
        let all = common.iter().chain(parameters).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        V1 { parameters: all.collect(), secret: key.secret.clone() }
    }

    /// An ACS3 request for an action of a version, with a form body.
    pub(crate) fn acs3(
        appliance: &Appliance,
        key: &AccessKey,
        action: &str,
        version: &str,
        form: &[(&str, &str)],
    ) -> Acs3 {
        let host = appliance.endpoint();
        let (nonce, date) = (nonce(), timestamp(0));
        let mut headers = BTreeMap::new();
        for (name, value) in [
            ("host", host.as_str()),
            ("x-acs-action", action),
            ("x-acs-version", version),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
        ] {
            headers.insert(name.to_owned(), value.to_owned());
        }
        if !form.is_empty() {
            headers.insert("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        }
        let body = encode_all(form.iter().copied()).into_bytes();
        Acs3 { method: "POST", query: BTreeMap::new(), headers, body, key: key.clone() }
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !has("host") {
            text.push_str(&format!("host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !has("content-length")
            && !has("transfer-encoding")
            && (self.method == "POST" || !self.body.is_empty())
        {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        [text.into_bytes(), self.body.clone()].concat()
    }
}

impl V1 {
    /// Sets or replaces a parameter.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves a parameter out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.parameters.remove(name);
        self
    }

    fn signed(&self, method: &str) -> Vec<(&str, String)> {
        let pairs = self.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let text = format!("{method}&%2F&{}", encode(&encode_all(pairs)));
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{}&", self.secret).as_bytes());
        let signature = BASE64.encode(hmac::sign(&key, text.as_bytes()).as_ref());
        let mut all: Vec<_> = self.parameters.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        all.push(("Signature", signature));
        all
    }

    /// All parameters in the query.
    pub(crate) fn query(&self, method: &str) -> Request {
        let signed = self.signed(method);
        Request::new(method, &format!("/?{}", encode_all(signed.iter().map(|(n, v)| (*n, v.as_str())))))
    }

    /// All parameters in a form body.
    pub(crate) fn form(&self) -> Request {
        let signed = self.signed("POST");
        Request::new("POST", "/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode_all(signed.iter().map(|(n, v)| (*n, v.as_str()))))
    }
}

impl Acs3 {
    /// Sets or replaces a header before the signature is made.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a parameter into the query.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Signs it.
    pub(crate) fn sign(self) -> Request {
        self.sign_with(encode)
    }

    /// Signs it, with the names of the query in this form, in the order that it gives them.
    pub(crate) fn sign_with(mut self, name_form: fn(&str) -> String) -> Request {
        let hash = sha256(&self.body);
        self.headers.entry("x-acs-content-sha256".to_owned()).or_insert(hash.clone());
        let names = self.headers.keys().cloned().collect::<Vec<_>>().join(";");
        let query = encode_all(self.query.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let mut signed: Vec<_> =
            self.query.iter().map(|(n, v)| format!("{}={}", name_form(n), encode(v))).collect();
        signed.sort();
        let signed = signed.join("&");
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{}\n/\n{signed}\n{lines}\n{names}\n{hash}", self.method);
        let text = format!("ACS3-HMAC-SHA256\n{}", sha256(canonical.as_bytes()));
        let signature = hmac_sha256(&self.key.secret, &text);
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}",
            self.key.id
        );
        Request {
            method: self.method.to_owned(),
            target,
            headers: self.headers.into_iter().chain([("authorization".to_owned(), authorization)]).collect(),
            body: self.body,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body, which is JSON whatever happened.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| {
            panic!("{} without JSON: {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or_default().to_owned()
    }

    /// The id of the request.
    pub(crate) fn request_id(&self) -> String {
        self.headers.get("x-acs-request-id").cloned().unwrap_or_default()
    }
}

/// A TLS connection to an appliance.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    host: String,
}

/// The TLS settings of a client that believes the appliance's CA.
pub(crate) fn tls(appliance: &Appliance, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(appliance.ca_file()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A TLS stream with these settings.
pub(crate) async fn connect(appliance: &Appliance, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(appliance.address()).await?;
    let name = ServerName::from(appliance.address().ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Connection {
    pub(crate) async fn try_open(appliance: &Appliance) -> io::Result<Self> {
        let stream = connect(appliance, tls(appliance, rustls::ALL_VERSIONS)).await?;
        Ok(Self { stream, host: appliance.endpoint() })
    }

    pub(crate) async fn open(appliance: &Appliance) -> Self {
        Self::try_open(appliance).await.unwrap()
    }

    /// The stream, to write anything to.
    pub(crate) const fn stream(&mut self) -> &mut TlsStream<TcpStream> {
        &mut self.stream
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Reply {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&mut self, request: &Request) -> io::Result<Reply> {
        let bytes = request.bytes(&self.host);
        // A request that is refused before its end may not be written whole.
        let written = self.stream.write_all(&bytes).await;
        let flushed = self.stream.flush().await;
        match self.read().await {
            Err(error) => Err(written.and(flushed).err().unwrap_or(error)),
            answer => answer,
        }
    }

    /// Reads one answer.
    pub(crate) async fn read(&mut self) -> io::Result<Reply> {
        let whole = async {
            let mut bytes = Vec::new();
            loop {
                if let Some(reply) = parse(&bytes) {
                    return Ok(reply);
                }
                if self.stream.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        let limit = tokio::time::timeout(PATIENCE, whole).await;
        limit.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the other side closes within so long.
    pub(crate) async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let mut rest = [0; 1024];
        tokio::time::timeout(limit, async {
            while self.stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        })
        .await
        .is_ok()
    }
}

/// The answer, once it is whole.
fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then(|| Reply { status, headers, body: body[..length].to_vec() })
}
