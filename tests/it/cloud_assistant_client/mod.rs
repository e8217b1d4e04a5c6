//! The signing client and Cloud Assistant's client against a TLS server made
//! here, which checks signatures by itself and runs scripts for real.

mod commands;
mod installation;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use strongroom::rpc::client::{
    CallError, Client, ClientError, Credentials, Endpoint, Roots, Timeouts, TransportError,
};
use strongroom_hsm::SecretBytes;

use self::server::{ACCESS_KEY_SECRET, Authority, Reply, Server};

#[expect(clippy::disallowed_methods, reason = "TLS and the client run on the real clock")]
fn now() -> strongroom::rpc::client::Now {
    Arc::new(SystemTime::now)
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint {
        host: server.host(),
        roots: Roots::File(server.authority.file()),
        version: "2014-05-26",
        timeouts: Timeouts { connect: Duration::from_secs(10), call: Duration::from_secs(10) },
    }
}

fn client(server: &Server) -> Client {
    Client::new(endpoint(server), now()).unwrap()
}

fn credentials() -> Credentials {
    Credentials::new("LTAItest".to_owned(), &SecretBytes::copy_of(ACCESS_KEY_SECRET), None)
}

async fn call(server: &Server) -> Result<SecretBytes, CallError> {
    client(server).call(&credentials(), "Ping", &[], &[]).await
}

#[tokio::test]
async fn every_call_is_signed_afresh_over_one_connection() {
    let server = Server::start(|_| Reply::json(200, r#"{"ok":true}"#)).await;
    let client = client(&server);
    let query = [("Name", "a b*~é"), ("InstanceId.1", "i-1"), ("Empty", "")];
    let form = [("SecretData", "p w+d&=%"), ("X", "é")];
    for form in [&[][..], &form[..]] {
        let body = client.call(&credentials(), "DoIt", &query, form).await.unwrap();
        assert_eq!(body.expose(), br#"{"ok":true}"#);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.signature_is_right));
    assert_eq!(seen[0].action, "DoIt");
    assert_eq!(seen[0].query["Name"], "a b*~é");
    assert_eq!(seen[0].query["Empty"], "");
    assert_eq!(seen[1].form["SecretData"], "p w+d&=%");
    assert_ne!(seen[0].headers["x-acs-signature-nonce"], seen[1].headers["x-acs-signature-nonce"]);
    assert!(!seen[0].headers.contains_key("content-type"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn session_tokens_are_sent_and_signed() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let token = SecretBytes::copy_of(b"token+/==");
    let session =
        Credentials::new("STS.abc".to_owned(), &SecretBytes::copy_of(ACCESS_KEY_SECRET), Some(token));
    client(&server).call(&session, "Ping", &[], &[]).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].signature_is_right);
    assert_eq!(seen[0].headers["x-acs-security-token"], "token+/==");
    assert_eq!(seen[0].headers["x-acs-accesskey-id"], "STS.abc");
    assert!(!format!("{session:?}").contains("token"));
}

#[tokio::test]
async fn a_wrong_secret_gives_a_signature_that_the_server_does_not_make() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let wrong = Credentials::new("LTAItest".to_owned(), &SecretBytes::copy_of(b"wrong"), None);
    client(&server).call(&wrong, "Ping", &[], &[]).await.unwrap();
    assert!(!server.seen()[0].signature_is_right);
}

#[tokio::test]
async fn a_connection_that_the_server_gave_up_is_replaced() {
    let server = Server::start(|_| Reply::json(200, "{}").with_header("connection", "close")).await;
    let client = client(&server);
    for _ in 0..3 {
        client.call(&credentials(), "Ping", &[], &[]).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn calls_at_once_share_the_client() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let client = Arc::new(client(&server));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.call(&credentials(), "Ping", &[], &[]).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.seen().len(), 20);
}

#[tokio::test]
async fn errors_of_the_protocol_are_refusals_with_all_they_say() {
    let server = Server::start(|_| {
        Reply::json(
            429,
            r#"{"Code":"Throttling.User","Message":"slow\ndown","RequestId":"R-1","HostId":"h"}"#,
        )
        .with_header("x-acs-retry-after", "1500")
    })
    .await;
    let CallError::Refused { status, code, message, request_id, retry_after_ms } =
        call(&server).await.unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!((status, code.as_str(), message.as_str()), (429, "Throttling.User", "slow down"));
    assert_eq!((request_id.as_str(), retry_after_ms), ("R-1", Some(1500)));
}

#[tokio::test]
async fn answers_outside_the_protocol_are_malformed() {
    for (status, body) in [(502, "<html>bad gateway</html>"), (400, "{\"Message\":"), (404, "{}"), (302, "")]
    {
        let server = Server::start(move |_| Reply::json(status, body)).await;
        let error = call(&server).await.unwrap_err();
        assert!(
            matches!(error, CallError::Malformed { status: told, .. } if told == status),
            "{status}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_limit_is_not_read() {
    let limit = strongroom::rpc::client::MAX_ANSWER_BYTES;
    let server = Server::start(move |seen| {
        let extra = usize::from(seen.action == "TooLong");
        Reply::json(200, &"x".repeat(limit + extra))
    })
    .await;
    let client = client(&server);
    assert_eq!(client.call(&credentials(), "Fits", &[], &[]).await.unwrap().len(), limit);
    let error = client.call(&credentials(), "TooLong", &[], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { status: 200, .. }), "{error:?}");
    assert_eq!(client.call(&credentials(), "Fits", &[], &[]).await.unwrap().len(), limit);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_and_the_request_counts_as_sent() {
    let server = Server::start(|_| Reply::Never).await;
    let mut endpoint = endpoint(&server);
    endpoint.timeouts.call = Duration::from_millis(300);
    let client = Client::new(endpoint, now()).unwrap();
    // The first attempt on a slow machine may end before the handshake did.
    let begun = Instant::now();
    loop {
        let error = client.call(&credentials(), "Ping", &[], &[]).await.unwrap_err();
        let CallError::Transport { sent, source } = error else {
            panic!("{error:?}");
        };
        if sent {
            assert!(matches!(source, TransportError::Deadline { .. }), "{source:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_counts_as_sent() {
    let server = Server::start(|_| Reply::Break).await;
    let error = call(&server).await.unwrap_err();
    assert!(
        matches!(error, CallError::Transport { sent: true, source: TransportError::Http { .. } }),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_counts_as_sent_before_the_server_is_trusted() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let stranger = Authority::new();
    let untrusting = Endpoint { roots: Roots::File(stranger.file()), ..endpoint(&server) };
    let error =
        Client::new(untrusting, now()).unwrap().call(&credentials(), "Ping", &[], &[]).await.unwrap_err();
    assert!(
        matches!(error, CallError::Transport { sent: false, source: TransportError::Tls { .. } }),
        "{error:?}"
    );
    let by_name = Endpoint { host: format!("localhost:{}", server.port()), ..endpoint(&server) };
    let error =
        Client::new(by_name, now()).unwrap().call(&credentials(), "Ping", &[], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { sent: false, .. }), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_was_sent_nothing() {
    let authority = Authority::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = |port: u16| Endpoint {
        host: format!("127.0.0.1:{port}"),
        roots: Roots::File(authority.file()),
        version: "2014-05-26",
        timeouts: Timeouts { connect: Duration::from_millis(100), call: Duration::from_secs(10) },
    };
    let client = Client::new(endpoint(silent.local_addr().unwrap().port()), now()).unwrap();
    let error = client.call(&credentials(), "Ping", &[], &[]).await.unwrap_err();
    assert!(
        matches!(error, CallError::Transport { sent: false, source: TransportError::ConnectDeadline { .. } }),
        "{error:?}"
    );
    let port = silent.local_addr().unwrap().port();
    drop(silent);
    let client = Client::new(endpoint(port), now()).unwrap();
    let error = client.call(&credentials(), "Ping", &[], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_written_is_not_sent() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let client = client(&server);
    let long = "x".repeat(70_000);
    for (action, query) in [("Ping", [("P", long.as_str())]), ("Pi\nng", [("P", "")])] {
        let error = client.call(&credentials(), action, &query, &[]).await.unwrap_err();
        assert!(matches!(error, CallError::Unsendable { .. }), "{error:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn endpoints_and_certificates_are_checked_when_the_client_is_made() {
    let authority = Authority::new();
    let made = |host: &str, roots: Roots| {
        Client::new(
            Endpoint { host: host.to_owned(), roots, version: "v", timeouts: Timeouts::default() },
            now(),
        )
    };
    let trusted = || Roots::File(authority.file());
    for host in ["ecs.cn-hangzhou.aliyuncs.com", "127.0.0.1", "127.0.0.1:8443", "[::1]:8443", "a.b:1"] {
        assert!(made(host, trusted()).is_ok(), "{host}");
    }
    for host in ["", ":443", "a b", "https://a", "a/b", "user@a", "a:", "a:99999"] {
        assert!(matches!(made(host, trusted()), Err(ClientError::Host { .. })), "{host}");
    }
    assert!(matches!(made("-a-", trusted()), Err(ClientError::Name { .. })));
    let missing = Roots::File("/nonexistent/ca.pem".into());
    assert!(matches!(made("a", missing), Err(ClientError::ReadRoots { .. })));
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(made("a", Roots::File(empty.path().into())), Err(ClientError::NoRoots { .. })));
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_what_was_sent() {
    let server = Server::start(|_| Reply::Break).await;
    let client = client(&server);
    let form = [("SecretData", "canary-value")];
    let error = client.call(&credentials(), "Ping", &[("Q", "canary-query")], &form).await.unwrap_err();
    for shown in
        [format!("{error:?}"), error.to_string(), format!("{client:?}"), format!("{:?}", credentials())]
    {
        assert!(!shown.contains("canary") && !shown.contains("testsecret"), "{shown}");
    }
}
