//! A receiver of webhooks that misbehaves as it is told, on a thread of its own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it does with a request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Answer(u16),
    Hang,
    Redirect(String),
}

/// A request as it came, and the status it was answered with.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) signature: String,
    pub(super) body: String,
    pub(super) status: u16,
}

pub(super) struct Receiver {
    pub(super) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Makes `cert.pem` and `cert.key` for 127.0.0.1.
fn certificate(folder: &Path) -> TlsAcceptor {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "cert.key", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("cert.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

impl Receiver {
    /// Acts as the script says, and with 200 after its end. With a folder it
    /// speaks TLS, and leaves its certificate there as `cert.pem`.
    pub(super) fn start(tls: Option<&Path>, script: Vec<Act>) -> Self {
        let tls = tls.map(certificate);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("{scheme}://{}/hook", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, tls, script, kept) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { url, got, stop: Some(stop) }
    }

    /// All requests so far.
    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Ids of the events that were taken, in their order.
    pub(super) fn taken(&self) -> Vec<String> {
        self.got().into_iter().filter(|got| got.status == 200).map(|got| got.id).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }
}

type Script = Arc<Mutex<VecDeque<Act>>>;

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, script: Script, got: Arc<Mutex<Vec<Got>>>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, script, got) = (tls.clone(), Arc::clone(&script), Arc::clone(&got));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&script), Arc::clone(&got)));
            let http = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(http.serve_connection(TokioIo::new(tcp), service).await),
                Some(tls) => {
                    let Ok(stream) = tls.accept(tcp).await else { return };
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Script,
    got: Arc<Mutex<Vec<Got>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
    };
    let (id, timestamp, signature) =
        (header("strongroom-event-id"), header("strongroom-timestamp"), header("strongroom-signature"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let act = script.lock().unwrap().pop_front().unwrap_or(Act::Answer(200));
    let (status, location) = match act {
        Act::Answer(status) => (status, None),
        Act::Redirect(location) => (307, Some(location)),
        Act::Hang => (0, None),
    };
    got.lock().unwrap().push(Got { id, timestamp, signature, body, status });
    if status == 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let mut response = Response::builder().status(if status == 0 { 200 } else { status });
    if let Some(location) = location {
        response = response.header("location", location);
    }
    Ok(response.body(Full::default()).unwrap())
}
