//! A TLS server that answers as a test wishes, and notes what it was sent and
//! whether OpenSSL makes the same signature of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(super) const ACCESS_KEY_SECRET: &[u8] = b"testsecret";

/// What a request held.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) action: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) form: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) signature_is_right: bool,
}

/// How the server answers.
pub(super) enum Reply {
    Answer(Response<Full<Bytes>>),
    /// Closes the connection.
    Break,
    /// Keeps it open and says nothing.
    Never,
}

impl Reply {
    pub(super) fn json(status: u16, body: &str) -> Self {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        Self::Answer(Response::builder().status(status).body(body).unwrap())
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Answer(response) = &mut self {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        self
    }
}

/// A certification authority, and one certificate of it for 127.0.0.1.
pub(super) struct Authority {
    folder: tempfile::TempDir,
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let (root_key, leaf_key) = (new_key(), new_key());
        let root = certificate("test root", &root_key, None);
        let leaf = certificate("127.0.0.1", &leaf_key, Some((&root, &root_key)));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.to_pem().unwrap()).unwrap();
        Self { folder, certificate: leaf, key: leaf_key }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1 + u32::from(issuer.is_some())).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_pubkey(key).unwrap();
    match issuer {
        None => {
            builder.set_issuer_name(&subject).unwrap();
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
            builder.sign(key, MessageDigest::sha256()).unwrap();
        }
        Some((root, root_key)) => {
            builder.set_issuer_name(root.subject_name()).unwrap();
            let names = SubjectAlternativeName::new()
                .ip(name)
                .build(&builder.x509v3_context(Some(root), None))
                .unwrap();
            builder.append_extension(names).unwrap();
            builder.sign(root_key, MessageDigest::sha256()).unwrap();
        }
    }
    builder.build()
}

pub(super) struct Server {
    pub(super) authority: Authority,
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let acceptor = acceptor(&authority);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let reply = Arc::new(reply);
        let accepting = tokio::spawn({
            let (seen, connections) = (Arc::clone(&seen), Arc::clone(&connections));
            async move {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    let (acceptor, seen, connections, reply) =
                        (acceptor.clone(), Arc::clone(&seen), Arc::clone(&connections), Arc::clone(&reply));
                    tokio::spawn(async move {
                        let Ok(tls) = acceptor.accept(tcp).await else {
                            return;
                        };
                        connections.fetch_add(1, Ordering::SeqCst);
                        let service = service_fn(|request| answer(request, &seen, &*reply));
                        // A client that breaks off, or a reply that is to break, ends in an error.
                        drop(
                            hyper::server::conn::http1::Builder::new()
                                .serve_connection(TokioIo::new(tls), service)
                                .await,
                        );
                    });
                }
            }
        });
        Self { authority, port, seen, connections, accepting }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let certificate = CertificateDer::from(authority.certificate.to_der().unwrap());
    let key = PrivatePkcs8KeyDer::from(authority.key.private_key_to_pkcs8().unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from(key))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    reply: &(impl Fn(&Seen) -> Reply + ?Sized),
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let headers: BTreeMap<String, String> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    let query = parts.uri.query().unwrap_or_default();
    let request = Seen {
        action: headers["x-acs-action"].clone(),
        query: pairs(query),
        form: pairs(std::str::from_utf8(&body).unwrap()),
        signature_is_right: signature_is_right(parts.method.as_str(), query, &headers, &body),
        headers,
    };
    seen.lock().unwrap().push(request.clone());
    match reply(&request) {
        Reply::Answer(response) => Ok(response),
        Reply::Break => Err(std::io::Error::other("as the test wishes")),
        Reply::Never => match pending::<Infallible>().await {},
    }
}

/// The client sends its query sorted and encoded, so that it is canonical as it stands.
fn signature_is_right(method: &str, query: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> bool {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let sha256 = |bytes: &[u8]| hex(&hash(MessageDigest::sha256(), bytes).unwrap());
    let authorization = headers["authorization"].strip_prefix("ACS3-HMAC-SHA256 Credential=").unwrap();
    let (_, rest) = authorization.split_once(",SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(",Signature=").unwrap();
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", headers[name])).collect();
    let body_hash = sha256(body);
    let canonical = format!("{method}\n/\n{query}\n{lines}\n{names}\n{body_hash}");
    let text = format!("ACS3-HMAC-SHA256\n{}", sha256(canonical.as_bytes()));
    let key = PKey::hmac(ACCESS_KEY_SECRET).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.update(text.as_bytes()).unwrap();
    let made = hex(&signer.sign_to_vec().unwrap());
    made == signature
        && headers["x-acs-content-sha256"] == body_hash
        && headers["x-acs-version"] == "2014-05-26"
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (decoded(name), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
