//! TLS, HTTP and the limits that hold before anything is believed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use super::ApiError;
use super::gate::{self, Gate};
use super::transport::{Activity, Transport};
use super::wire::{Call, Peer, Reply};

/// Requests that one HTTP/2 connection may have under way.
const STREAMS: u32 = 64;
/// Bytes that it may send ahead of what is read: of one body, and of all.
const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 256 * 1_024;
/// Bodies that one connection may have received at once.
const BODIES: usize = 8;

/// How long a client may take to read why its head was refused.
const LINGER: Duration = Duration::from_secs(2);

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
            header_bytes: 32 * 1_024,
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
            own_bodies: Arc::new(Semaphore::new(BODIES)),
            activity: Arc::new(Activity::default()),
            slot: Arc::new(slot),
        };
        tokio::spawn(connection(stream, address, server, stop.clone()));
    }
    // Whoever comes now is told so, instead of waiting in the kernel's queue.
    drop(listener);
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

/// What the requests of a connection share, some of it with all others.
#[derive(Clone)]
struct Server {
    tls: TlsAcceptor,
    gate: Arc<Gate>,
    limits: Arc<Limits>,
    bodies: Arc<Semaphore>,
    /// The share of one connection, so that few do not take it all.
    own_bodies: Arc<Semaphore>,
    activity: Arc<Activity>,
    /// Free again when the connection has ended and every call of it too.
    slot: Arc<OwnedSemaphorePermit>,
}

async fn connection(stream: TcpStream, address: SocketAddr, server: Server, mut stop: watch::Receiver<bool>) {
    stream.set_nodelay(true).ok();
    let handshake = server.limits.handshake;
    let Ok(Ok(stream)) = tokio::time::timeout(handshake, server.tls.accept(stream)).await else {
        tracing::debug!(peer = %address, "a TLS handshake failed");
        return;
    };
    let session = stream.get_ref().1;
    let peer = Arc::new(Peer {
        address: address.ip(),
        address_text: address.ip().to_canonical().to_string().into(),
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
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let (shared, asker) = (server.clone(), Arc::clone(&peer));
    let service = service_fn(move |request| {
        let (server, peer) = (shared.clone(), Arc::clone(&asker));
        async move { Ok::<_, Infallible>(answer(request, peer, &server).await) }
    });
    let result = if is_http2 {
        speak_http2(stream, service, &server, &mut stop).await
    } else {
        speak_http1(stream, service, &server, peer, &mut stop).await
    };
    if let Err(error) = result {
        tracing::debug!(peer = %address, error = %error, "a connection ended early");
    }
}

async fn speak_http1<S>(
    stream: TlsStream<TcpStream>,
    service: S,
    server: &Server,
    peer: Arc<Peer>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), hyper::Error>
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible> + Unpin,
{
    let limits = &*server.limits;
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(100)
        .max_buf_size(256 * 1_024)
        .serve_connection(Transport::new(stream), service);
    let result = tokio::select! {
        result = &mut connection => result,
        () = told(stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let (mut stream, held_back) = connection.into_parts().io.into_parts();
    if let Some(status) = held_back {
        let refusal = refuse_unread(server, peer, status).await;
        let told = async {
            stream.write_all(&refusal).await.ok();
            stream.shutdown().await.ok();
            // To close with bytes unread would reset the connection, and the
            // client might never see the answer.
            let mut rest = [0; 4_096];
            while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        };
        tokio::time::timeout(LINGER, told).await.ok();
    }
    result
}

async fn speak_http2<S>(
    stream: TlsStream<TcpStream>,
    service: S,
    server: &Server,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), hyper::Error>
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible> + Unpin,
    S::Future: Send + 'static,
{
    let limits = &*server.limits;
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.handshake)
        .serve_connection(TokioIo::new(stream), service);
    let limit = tokio::select! {
        result = &mut connection => return result,
        // Calls under way have their own limits; a client that never ends is cut.
        () = told(stop) => limits.body.saturating_add(limits.head),
        () = server.activity.pauses(limits.head) => limits.head,
    };
    Pin::new(&mut connection).graceful_shutdown();
    tokio::time::timeout(limit, connection).await.unwrap_or(Ok(()))
}

/// The answer to a head that could not be read, recorded like any refusal.
async fn refuse_unread(server: &Server, peer: Arc<Peer>, status: u16) -> Zeroizing<Vec<u8>> {
    let error = match status {
        414 => ApiError::new(
            "RequestURITooLong",
            414,
            "The target of a request may have at most 65534 bytes: send long parameters in the body.",
        ),
        431 => ApiError::new(
            "RequestHeaderTooLarge",
            431,
            "The head of the request has too many or too long headers.",
        ),
        _ => ApiError::new("MalformedRequest", 400, "What was sent is not an HTTP request."),
    };
    let call = Call {
        request_id: server.gate.request_id(),
        arrived: server.gate.clock().now(),
        peer,
        method: Method::GET,
        target: Uri::from_static("/"),
        headers: HeaderMap::new(),
        body: Zeroizing::new(Vec::new()),
    };
    let (head, body) = closing(server.gate.refuse(&call, error).await).into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let reason = head.status.canonical_reason().unwrap_or("");
    let mut out = Zeroizing::new(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes());
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    out
}

async fn answer(request: Request<Incoming>, peer: Arc<Peer>, server: &Server) -> Response<Full<Bytes>> {
    let _under_way = Activity::begin(&server.activity);
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
    if call.target.path() == "/openapi.json" && call.method == hyper::Method::GET {
        return openapi();
    }
    let received = async {
        // Most requests have no body and wait for nobody.
        let _room = if body.is_end_stream() {
            None
        } else {
            Some((server.own_bodies.acquire().await, server.bodies.acquire().await))
        };
        read(body, limits.body_bytes).await
    };
    match tokio::time::timeout(limits.body, received).await {
        Ok(Ok(body)) => {
            call.body = body;
            serve_to_the_end(call, server).await
        }
        Ok(Err(error)) => closing(gate.refuse(&call, error).await),
        Err(_) => {
            let error =
                ApiError::new("RequestTimeout", 408, "The body of the request did not arrive in time.");
            closing(gate.refuse(&call, error).await)
        }
    }
}

/// A change that was received is carried out and recorded also when its client
/// goes away: hyper drops the future then, and a change that was committed but
/// not taken into memory would leave the two in disagreement. A read leaves
/// nothing behind, and is spared the task of its own.
async fn serve_to_the_end(call: Call, server: &Server) -> Response<Full<Bytes>> {
    if gate::is_read(&call) {
        return server.gate.serve(call).await;
    }
    let (request_id, host) = (call.request_id.clone(), call.host().to_owned());
    let (gate, slot) = (Arc::clone(&server.gate), Arc::clone(&server.slot));
    let served = tokio::spawn(async move {
        let response = gate.serve(call).await;
        drop(slot);
        response
    });
    let served = served.await;
    served.unwrap_or_else(|error| {
        tracing::error!(request_id = %request_id, error = %error, "a call was not served to its end");
        Reply::unrecorded(ApiError::internal(), &request_id, &host)
    })
}

/// The rest of a body that was not read stands in the way of another request.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response
        .headers_mut()
        .insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
    response
}

/// The body in one buffer that is wiped on drop and never grows past its
/// final size more than once.
async fn read(body: Incoming, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let too_large = || {
        ApiError::new(
            "RequestEntityTooLarge",
            413,
            format!("The body of a request may have at most {limit} bytes."),
        )
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

/// The description of the API, the same for everybody: neither signed nor recorded.
fn openapi() -> Response<Full<Bytes>> {
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&super::describe::openapi()).unwrap_or_default().into());
    let mut response = Response::new(Full::new(DOCUMENT.clone()));
    let json = hyper::header::HeaderValue::from_static("application/json;charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
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
