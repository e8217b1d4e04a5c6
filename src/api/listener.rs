//! TLS, HTTP and the limits that hold before anything is believed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::ApiError;
use super::gate::Gate;
use super::wire::{Call, Peer, Reply};

/// Limits of the listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bodies that are being received at once; with `body_bytes` it bounds the
    /// memory that strangers can take.
    pub bodies: usize,
    /// Bytes of all headers together.
    pub header_bytes: u32,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head: Duration,
    /// How long the body of a request may take.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            // A value of 30,720 bytes, each written as three, and the rest of a form.
            body_bytes: 192 * 1_024,
            bodies: 512,
            header_bytes: 64 * 1_024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(20),
        }
    }
}

/// Serves connections until `stop` says true, then lets those that are being
/// answered end.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    gate: Arc<Gate>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let bodies = Arc::new(Semaphore::new(limits.bodies));
    let limits = Arc::new(limits);
    loop {
        // A connection is taken only when there is a slot for it; until then
        // it waits in the kernel's queue.
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = told(&mut stop) => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let server = Server {
            tls: tls.clone(),
            gate: Arc::clone(&gate),
            limits: Arc::clone(&limits),
            bodies: Arc::clone(&bodies),
        };
        let stop = stop.clone();
        tokio::spawn(async move {
            connection(stream, address, server, stop).await;
            drop(slot);
        });
    }
    // All slots free: every connection has ended.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let ended = tokio::time::timeout(limits.body, slots.acquire_many(all)).await;
    if ended.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
}

/// Ends when the appliance is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

/// What every connection shares.
#[derive(Clone)]
struct Server {
    tls: TlsAcceptor,
    gate: Arc<Gate>,
    limits: Arc<Limits>,
    bodies: Arc<Semaphore>,
}

async fn connection(stream: TcpStream, address: SocketAddr, server: Server, mut stop: watch::Receiver<bool>) {
    stream.set_nodelay(true).ok();
    let limits = Arc::clone(&server.limits);
    let Ok(Ok(stream)) = tokio::time::timeout(limits.handshake, server.tls.accept(stream)).await else {
        tracing::debug!(peer = %address, "a TLS handshake failed");
        return;
    };
    let session = stream.get_ref().1;
    let peer = Arc::new(Peer {
        address: address.ip(),
        tls_version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher_suite: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .into(),
    });
    let service = service_fn(move |request| {
        let (server, peer) = (server.clone(), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(answer(request, peer, &server).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(100)
        .max_buf_size(256 * 1_024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.handshake);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(peer = %address, error = %error, "a connection ended early");
    }
}

async fn answer(request: Request<Incoming>, peer: Arc<Peer>, server: &Server) -> Response<Full<Bytes>> {
    let (gate, limits) = (&*server.gate, &*server.limits);
    let (head, body) = request.into_parts();
    let mut call = Call {
        request_id: gate.request_id(),
        arrived: gate.clock().now(),
        peer,
        method: head.method,
        target: head.uri,
        headers: head.headers,
        body: Zeroizing::new(Vec::new()),
    };
    if call.target.path() == "/healthz" && call.method == hyper::Method::GET {
        return health(gate, &call);
    }
    let received = async {
        // Most requests have no body and wait for nobody.
        let _room = if body.is_end_stream() { None } else { server.bodies.acquire().await.ok() };
        read(body, limits.body_bytes).await
    };
    match tokio::time::timeout(limits.body, received).await {
        Ok(Ok(body)) => {
            call.body = body;
            gate.serve(call).await
        }
        Ok(Err(error)) => closing(gate.refuse(&call, error).await),
        Err(_) => {
            let error = ApiError::new("RequestTimeout", 408, "The body of the request did not arrive in time.");
            closing(gate.refuse(&call, error).await)
        }
    }
}

/// The rest of a body that was not read stands in the way of another request.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
    response
}

/// The body in one buffer that is wiped on drop and never grows past its
/// final size more than once.
async fn read(body: Incoming, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let too_large = || {
        ApiError::new("RequestEntityTooLarge", 413, format!("The body of a request may have at most {limit} bytes."))
    };
    let hint = body.size_hint();
    if hint.lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Zeroizing::new(Vec::new()));
    }
    // A length that is announced is made room for; otherwise the limit is.
    let room = hint.exact().and_then(|n| usize::try_from(n).ok()).unwrap_or(limit).min(limit);
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let mut body = Limited::new(body, limit);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                too_large()
            } else {
                ApiError::new("ParseRequestParameterException", 400, "The body of the request broke off.")
            }
        })?;
        if let Ok(data) = frame.into_data() {
            out.extend_from_slice(&data);
        }
    }
    Ok(out)
}

/// What a probe is told. It is not recorded: anybody could fill the disk with probes.
fn health(gate: &Gate, call: &Call) -> Response<Full<Bytes>> {
    let health = gate.health();
    if health.audit && health.hsm {
        let body = serde_json::to_vec(&health).unwrap_or_default();
        return Response::new(Full::new(Bytes::from(body)));
    }
    let what = if health.audit {
        "The hardware security module cannot be reached now."
    } else {
        "The audit journal cannot be written."
    };
    Reply::unrecorded(ApiError::unavailable(what), &call.request_id, call.host())
}
