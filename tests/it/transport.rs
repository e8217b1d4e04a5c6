//! What may arrive at the listener: TLS and HTTP in all their versions, bodies
//! and heads that are too large or too slow, and what is no HTTP at all.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::wire::{connect, tls};
use crate::harness::{Appliance, Connection, PATIENCE, Request, eventually};

const KMS: &str = "2016-01-20";

/// A member of `/proc/PID/status` in KiB.
fn memory(appliance: &Appliance, member: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", appliance.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(member)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The one record of a refusal whose parameters nobody read.
fn recorded(appliance: &Appliance, request_id: &str, code: &str) {
    let records = appliance.audit_of(request_id);
    assert_eq!(records.len(), 1, "{code}: {records:?}");
    assert_eq!(records[0]["errorCode"], code);
    assert_eq!(records[0]["userIdentity"]["type"], "unknown");
}

#[tokio::test]
async fn both_tls_versions_and_both_http_versions_serve() {
    let appliance = Appliance::running().await;
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        for protocol in ["http/1.1", "h2"] {
            let mut config = tls(&appliance, &[version]);
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            let stream = connect(&appliance, config).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
            let signed = Request::acs3(&appliance, appliance.admin_key(), "ListSecrets", KMS, &[]).sign();
            let target =
                if protocol == "h2" { format!("https://{}/", appliance.endpoint()) } else { "/".to_owned() };
            let mut request = hyper::Request::post(target);
            for (name, value) in signed.headers.iter().filter(|(name, _)| protocol != "h2" || name != "host")
            {
                request = request.header(name, value);
            }
            let request = request.body(Full::new(Bytes::new())).unwrap();
            let response = if protocol == "h2" {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                        .await
                        .unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            } else {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            };
            assert_eq!(response.status(), 200, "{name} {protocol}");
            let id = response.headers()["x-acs-request-id"].to_str().unwrap().to_owned();
            response.into_body().collect().await.unwrap();
            let record = &appliance.audit_of(&id)[0];
            assert_eq!(record["additionalEventData"]["tls"]["version"], name);
            assert_eq!(record["eventSource"], appliance.endpoint(), "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_like_any_other() {
    let appliance = Appliance::running().await;
    let form = [("SecretName", "db"), ("VersionId", "v1"), ("SecretData", "chunked")];
    let mut request = Request::acs3(&appliance, appliance.admin_key(), "CreateSecret", KMS, &form).sign();
    let body = std::mem::take(&mut request.body);
    for chunk in body.chunks(7) {
        request
            .body
            .extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
    }
    request.body.extend(b"0\r\n\r\n");
    let request = request.header("transfer-encoding", "chunked");
    let reply = Connection::open(&appliance).await.send(&request).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(appliance.admin().value("db").await, "chunked");
}

#[tokio::test]
async fn an_endless_body_is_cut_off_early_and_takes_no_memory() {
    let appliance = Appliance::running().await;
    appliance.admin().ok("ListSecrets", &[]).await;
    let before = memory(&appliance, "VmHWM");
    for framing in ["content-length: 104857600", "transfer-encoding: chunked"] {
        for _ in 0..8 {
            let mut connection = Connection::open(&appliance).await;
            let head = format!(
                "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n{framing}\r\n\r\n",
                appliance.endpoint()
            );
            connection.stream().write_all(head.as_bytes()).await.unwrap();
            let piece = if framing.starts_with("transfer") {
                format!("4000\r\n{}\r\n", "a".repeat(0x4000))
            } else {
                "a".repeat(0x4000)
            };
            // 100 MiB, of which the first part is more than any body may have.
            let mut sent = 0;
            while sent < 16 && connection.stream().write_all(piece.as_bytes()).await.is_ok() {
                sent += 1;
            }
            connection.stream().flush().await.ok();
            let reply = connection.read().await.unwrap();
            assert_eq!((reply.status, reply.code().as_str()), (413, "RequestEntityTooLarge"), "{framing}");
            recorded(&appliance, &reply.request_id(), "RequestEntityTooLarge");
            while sent < 6_400 && connection.stream().write_all(piece.as_bytes()).await.is_ok() {
                sent += 1;
            }
            assert!(sent < 6_400, "{framing}: it read on to the end");
        }
    }
    let grown = memory(&appliance, "VmHWM").saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more");
    assert!(appliance.is_healthy().await);
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_given_up() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| text.push_str("\n[limits]\nbody_seconds = 1\nhead_seconds = 1\n"));
    appliance.start().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n";
    let mut connection = Connection::open(&appliance).await;
    connection.stream().write_all(head.as_bytes()).await.unwrap();
    connection.stream().write_all(b"Action=").await.unwrap();
    let since = Instant::now();
    let reply = connection.read().await.unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (408, "RequestTimeout"));
    assert!(since.elapsed() < Duration::from_secs(10));
    recorded(&appliance, &reply.request_id(), "RequestTimeout");

    // One byte now and then is no progress.
    let mut connection = Connection::open(&appliance).await;
    connection.stream().write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(connection.stream());
    let drip = async {
        while writer.write_all(b"a").await.is_ok() && writer.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = reader.read_exact(&mut answer) => { read.unwrap(); }
        () = drip => panic!("it was cut without an answer"),
    }
    assert_eq!(&answer, b"HTTP/1.1 408");

    // A body that breaks off is on record too.
    let mut connection = Connection::open(&appliance).await;
    connection.stream().write_all(head.as_bytes()).await.unwrap();
    connection.stream().shutdown().await.unwrap();
    drop(connection);
    eventually("the record of the body that broke off", async || {
        let broken = |e: &serde_json::Value| e["errorCode"] == "ParseRequestParameterException";
        appliance.audit_events().iter().any(broken).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_given_up() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| text.push_str("\n[limits]\nhead_seconds = 1\n"));
    appliance.start().await;
    for start in ["", "POST / HT", "POST / HTTP/1.1\r\nhost: x\r\nx-a"] {
        let mut connection = Connection::open(&appliance).await;
        connection.stream().write_all(start.as_bytes()).await.unwrap();
        assert!(connection.is_closed_within(Duration::from_secs(10)).await, "{start:?}");
    }
    // Nor may a client negotiate HTTP/2 and fall silent.
    let mut config = tls(&appliance, rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = connect(&appliance, config).await.unwrap();
    let mut rest = Vec::new();
    assert!(tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.is_ok());
    // An idle connection is closed as well, and a busy one is not.
    let mut connection = Connection::open(&appliance).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2_500) {
        let request = Request::acs3(&appliance, appliance.admin_key(), "ListSecrets", KMS, &[]).sign();
        assert_eq!(connection.send(&request).await.status, 200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(connection.is_closed_within(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_head_that_is_no_head_or_too_large_gets_an_error_as_json() {
    let appliance = Appliance::running().await;
    let cases = [
        ("long target", format!("GET /?a={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)), 414),
        ("large header", format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(2_000_000)), 431),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: b\r\n".repeat(200)), 431),
        ("no HTTP", "EHLO mail.example\r\n\r\n".to_owned(), 400),
        ("bad header", "GET / HTTP/1.1\r\nhost: x\r\nbad header: x\r\n\r\n".to_owned(), 400),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
            400,
        ),
        ("bad length", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(), 400),
        (
            "odd encoding",
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_owned(),
            400,
        ),
    ];
    for (case, bytes, status) in cases {
        let mut connection = Connection::open(&appliance).await;
        connection.stream().write_all(bytes.as_bytes()).await.ok();
        connection.stream().flush().await.ok();
        let reply = connection.read().await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(reply.status, status, "{case}");
        let answer = reply.json();
        assert!(answer["Code"].is_string() && answer["Message"].is_string(), "{case}: {answer}");
        assert_eq!(answer["RequestId"], reply.request_id(), "{case}");
        assert_eq!(answer["HttpStatus"], status, "{case}");
        assert!(connection.is_closed_within(PATIENCE).await, "{case}");
        recorded(&appliance, &reply.request_id(), answer["Code"].as_str().unwrap());
    }
    assert!(appliance.is_healthy().await);
    assert!(!appliance.log().contains("panicked"));
}

#[tokio::test]
async fn plain_http_and_noise_at_the_tls_port_are_hung_up_on() {
    let appliance = Appliance::running().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x00\x05hello",
        &[0; 4096],
        b"SSH-2.0-x\r\n",
    ] {
        let mut stream = TcpStream::connect(appliance.address()).await.unwrap();
        stream.write_all(bytes).await.ok();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "it waits for more");
        assert!(!answer.starts_with(b"HTTP"), "nothing is said in clear");
    }
    assert!(appliance.is_healthy().await);
}

#[tokio::test]
async fn a_target_of_sixty_thousand_bytes_is_served() {
    let appliance = Appliance::running().await;
    let padding = "x".repeat(60_000);
    let request =
        Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[("Padding", &padding)]).query("GET");
    assert_eq!(Connection::open(&appliance).await.send(&request).await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_when_one_ends() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| text.push_str("\n[limits]\nconnections = 4\n"));
    appliance.start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Connection::open(&appliance).await);
    }
    let waiting = Connection::open(&appliance);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
    assert!(early.is_err(), "a fifth connection is let in");
    held.pop();
    let mut connection = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    let request = Request::acs3(&appliance, appliance.admin_key(), "ListSecrets", KMS, &[]).sign();
    assert_eq!(connection.send(&request).await.status, 200);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let appliance = Appliance::running().await;
    let mut connection = Connection::open(&appliance).await;
    let target = |action: &str| Request::v1(appliance.admin_key(), action, KMS, &[]).query("GET").target;
    let text: String = ["ListSecrets", "GetRandomPassword", "ListSecrets"]
        .iter()
        .map(|action| format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", target(action)))
        .collect();
    connection.stream().write_all(text.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let whole = async {
        while String::from_utf8_lossy(&all).matches("\"RequestId\"").count() < 3 {
            connection.stream().read_buf(&mut all).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.unwrap();
    let text = String::from_utf8_lossy(&all);
    let (first, password) = (text.find("SecretList").unwrap(), text.find("RandomPassword").unwrap());
    assert!(first < password && password < text.rfind("SecretList").unwrap());
}

#[tokio::test]
async fn a_stop_lets_what_is_being_answered_end() {
    let mut appliance = Appliance::running().await;
    let form = [("SecretName", "db"), ("VersionId", "v1"), ("SecretData", "late")];
    let request = Request::acs3(&appliance, appliance.admin_key(), "CreateSecret", KMS, &form).sign();
    let mut connection = Connection::open(&appliance).await;
    let mut head = "POST / HTTP/1.1\r\n".to_owned();
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    let (first, rest) = request.body.split_at(10);
    connection.stream().write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    connection.stream().flush().await.unwrap();
    // Nothing tells from outside that the head has been read.
    tokio::time::sleep(Duration::from_millis(200)).await;
    rustix::process::kill_process(appliance.pid(), rustix::process::Signal::TERM).unwrap();
    eventually("it stops taking connections", async || {
        TcpStream::connect(appliance.address()).await.is_err().then_some(())
    })
    .await;
    connection.stream().write_all(rest).await.unwrap();
    let reply = connection.read().await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert!(appliance.wait().success());
    appliance.start().await;
    assert_eq!(appliance.admin().value("db").await, "late");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_change_half_done() {
    let mut appliance = Appliance::running().await;
    let key = appliance.admin_key().clone();
    for number in 0..40 {
        let name = format!("gone-{number}");
        let request = Request::v1(&key, "CreateUser", "2015-05-01", &[("UserName", &name)]).query("GET");
        let mut connection = Connection::open(&appliance).await;
        let text = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", request.target);
        connection.stream().write_all(text.as_bytes()).await.unwrap();
        connection.stream().flush().await.unwrap();
        if number % 2 == 0 {
            connection.stream().shutdown().await.unwrap();
        }
        // From a client that is gone at once to one that waits a little.
        tokio::time::sleep(Duration::from_micros(number * 250)).await;
        drop(connection);
    }
    appliance.admin().ok("CreateUser", &[("UserName", "last")]).await;
    appliance.restart().await;
    let of = |phase: &str| -> Vec<String> {
        let events = appliance.audit_events().into_iter();
        let events =
            events.filter(|e| e["eventName"] == "CreateUser" && e["additionalEventData"]["phase"] == phase);
        events.map(|e| e["requestParameters"]["UserName"].as_str().unwrap().to_owned()).collect()
    };
    let (mut begun, mut ended) = (of("started"), of("finished"));
    begun.sort();
    ended.sort();
    assert_eq!(begun, ended, "what was begun has an outcome");
    assert!(begun.len() > 1, "no request arrived before its client was gone");
    let listed = appliance.admin().ok("ListUsers", &[]).await;
    let users = listed["Users"]["User"].as_array().unwrap();
    let mut users: Vec<_> = users.iter().map(|user| user["UserName"].as_str().unwrap().to_owned()).collect();
    users.retain(|user| user != "admin");
    users.sort();
    assert_eq!(users, ended, "the records and the database agree");
    assert!(!appliance.log().contains("ERROR"));
}
