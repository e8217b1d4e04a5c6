//! Requests whose signing data, encoding or target is wrong: the contract's
//! error as JSON, one record each, and nothing changed.

use crate::harness::wire::{nonce, timestamp};
use crate::harness::{AccessKey, Appliance, Connection, Request};

const KMS: &str = "2016-01-20";
const MARKER: &str = "Canary-9Zp4";

/// Whatever is sent carries the marker where a value would be.
fn parameters() -> [(&'static str, &'static str); 3] {
    [("SecretName", "made"), ("VersionId", "v1"), ("SecretData", MARKER)]
}

fn v1(key: &AccessKey) -> crate::harness::wire::V1 {
    Request::v1(key, "CreateSecret", KMS, &parameters())
}

fn acs3(appliance: &Appliance, key: &AccessKey) -> crate::harness::wire::Acs3 {
    Request::acs3(appliance, key, "CreateSecret", KMS, &parameters())
}

/// A signed request that was altered on its way.
fn altered(mut request: Request, change: impl FnOnce(&mut Request)) -> Request {
    change(&mut request);
    request
}

fn set(request: &mut Request, name: &str, value: &str) {
    for (_, present) in request.headers.iter_mut().filter(|(n, _)| n == name) {
        value.clone_into(present);
    }
}

fn cases(appliance: &Appliance) -> Vec<(&'static str, Request, u16, &'static str)> {
    let key = appliance.admin_key();
    let v1 = || v1(key);
    let acs3 = || acs3(appliance, key);
    let form = "application/x-www-form-urlencoded";
    let v1_text = || String::from_utf8(v1().form().body).unwrap();
    let posted = |body: String| Request::new("POST", "/").header("content-type", form).body(body);
    let action =
        |action: &str, version: &str| Request::acs3(appliance, key, action, version, &parameters()).sign();
    let expired = "InvalidTimeStamp.Expired";
    let incomplete = "IncompleteSignature";
    let unequal = "SignatureDoesNotMatch";
    let undecodable = "ParseRequestParameterException";
    vec![
        ("unknown action", action("Nothing", KMS), 404, "InvalidAction.NotFound"),
        ("action in another case", action("createSecret", KMS), 404, "InvalidAction.NotFound"),
        ("unknown V1 action", v1().set("Action", "").query("POST"), 404, "InvalidAction.NotFound"),
        ("internal deed", action("InvokeCommand", KMS), 404, "InvalidAction.NotFound"),
        ("unknown version", action("CreateSecret", "2017-01-20"), 400, "InvalidVersion"),
        ("version of another service", action("CreateSecret", "2015-05-01"), 400, "InvalidVersion"),
        ("no action", v1().without("Action").form(), 400, "MissingParameter"),
        ("no version", v1().without("Version").form(), 400, "MissingParameter"),
        ("no key id", v1().without("AccessKeyId").form(), 400, "MissingParameter"),
        ("no nonce", v1().without("SignatureNonce").form(), 400, "MissingParameter"),
        ("empty nonce", v1().set("SignatureNonce", "").form(), 400, "InvalidParameter"),
        ("long nonce", v1().set("SignatureNonce", &"n".repeat(300)).form(), 400, "InvalidParameter"),
        ("no time", v1().without("Timestamp").form(), 400, "IllegalTimestamp"),
        ("odd time", v1().set("Timestamp", "now").form(), 400, "InvalidTimeStamp.Format"),
        (
            "local time",
            v1().set("Timestamp", "2024-05-06T07:08:09+08:00").form(),
            400,
            "InvalidTimeStamp.Format",
        ),
        ("old V1", v1().set("Timestamp", &timestamp(-16 * 60)).form(), 400, expired),
        ("future V1", v1().set("Timestamp", &timestamp(16 * 60)).form(), 400, expired),
        ("old ACS3", acs3().header("x-acs-date", &timestamp(-16 * 60)).sign(), 400, expired),
        ("future ACS3", acs3().header("x-acs-date", &timestamp(16 * 60)).sign(), 400, expired),
        ("very old", acs3().header("x-acs-date", "0001-01-01T00:00:00Z").sign(), 400, expired),
        ("other method", v1().set("SignatureMethod", "HMAC-SHA256").form(), 400, "InvalidParameter"),
        ("other signature version", v1().set("SignatureVersion", "2.0").form(), 400, "InvalidParameter"),
        ("bearer", v1().set("SignatureType", "BEARERTOKEN").form(), 400, "InvalidParameter"),
        ("both schemes", acs3().query("Signature", "x").sign(), 400, incomplete),
        ("token of nobody", v1().set("SecurityToken", "token").form(), 400, "InvalidSecurityToken.Malformed"),
        (
            "token header",
            acs3().header("x-acs-security-token", "t").sign(),
            400,
            "InvalidSecurityToken.Malformed",
        ),
        ("XML", v1().set("Format", "XML").form(), 400, "InvalidParameter"),
        ("other words", altered(acs3().sign(), |r| set(r, "authorization", "Bearer abc")), 400, incomplete),
        ("empty authorization", altered(acs3().sign(), |r| set(r, "authorization", "")), 400, incomplete),
        (
            "unsigned content type",
            {
                let mut request = acs3();
                request.headers.remove("content-type");
                request.sign().header("content-type", form)
            },
            400,
            incomplete,
        ),
        ("signed header twice", acs3().sign().header("x-acs-version", KMS), 400, incomplete),
        (
            "no signed header",
            altered(acs3().sign(), |r| r.headers.retain(|(n, _)| n != "x-acs-version")),
            400,
            "MissingParameter",
        ),
        ("other host", altered(acs3().sign(), |r| set(r, "host", "other.example")), 400, unequal),
        ("other action", altered(acs3().sign(), |r| set(r, "x-acs-action", "PutSecretValue")), 400, unequal),
        ("other date", altered(acs3().sign(), |r| set(r, "x-acs-date", &timestamp(5))), 400, unequal),
        ("other body", altered(acs3().sign(), |r| r.body.push(b'1')), 400, unequal),
        ("more query", altered(acs3().sign(), |r| r.target = "/?Description=x".to_owned()), 400, unequal),
        ("V1 signed for GET", altered(v1().query("GET"), |r| r.method = "POST".to_owned()), 400, unequal),
        ("V1 with one more", posted(format!("{}&Description=x", v1_text())), 400, unequal),
        ("name twice in the form", posted(format!("{}&VersionId=v2", v1_text())), 400, "InvalidParameter"),
        (
            "name in query and form",
            altered(posted(v1_text()), |r| r.target = "/?VersionId=v1".to_owned()),
            400,
            "InvalidParameter",
        ),
        ("not UTF-8", posted(format!("{}&X=%ff", v1_text())), 400, undecodable),
        ("raw bytes", altered(posted(v1_text()), |r| r.body.extend(b"&X=\xff\xfe")), 400, undecodable),
        ("overlong UTF-8", posted(format!("{}&X=%c0%af", v1_text())), 400, undecodable),
        ("character over two values", posted(format!("{}&X=%c3&%a4=y", v1_text())), 400, undecodable),
        ("no hexadecimal", posted(format!("{}&X=%zz", v1_text())), 400, undecodable),
        ("cut escape", posted(format!("{}&X=%4", v1_text())), 400, undecodable),
        ("lone percent", posted(format!("{}&X=%", v1_text())), 400, undecodable),
        ("no name", posted(format!("{}&=x", v1_text())), 400, undecodable),
        ("very many", posted(format!("{}{}", v1_text(), "&a=1".repeat(20_000))), 400, "InvalidParameter"),
        (
            "JSON body",
            v1().query("POST").header("content-type", "application/json").body("{}"),
            400,
            "InvalidParameter",
        ),
        ("body of no type", v1().query("POST").body(MARKER), 400, "InvalidParameter"),
        ("PUT", altered(v1().query("PUT"), |_| {}), 403, "UnsupportedHTTPMethod"),
        ("DELETE", v1().query("DELETE"), 403, "UnsupportedHTTPMethod"),
        ("OPTIONS", v1().query("OPTIONS"), 403, "UnsupportedHTTPMethod"),
        ("invented method", v1().query("FETCH"), 403, "UnsupportedHTTPMethod"),
        (
            "other path",
            altered(v1().query("POST"), |r| r.target.insert(1, 'x')),
            404,
            "InvalidAction.NotFound",
        ),
        ("deep path", Request::new("GET", "/a/../healthz"), 404, "InvalidAction.NotFound"),
        ("POST for health", Request::new("POST", "/healthz"), 404, "InvalidAction.NotFound"),
        ("nothing at all", Request::new("GET", "/"), 400, "MissingParameter"),
    ]
}

#[tokio::test]
async fn a_malformed_request_gets_the_error_of_the_contract_and_one_record() {
    let appliance = Appliance::running().await;
    let before = appliance.rows();
    let mut answers = Vec::new();
    for (case, request, status, code) in cases(&appliance) {
        let reply = Connection::open(&appliance).await.send(&request).await;
        let answer = reply.json();
        assert_eq!((reply.status, answer["Code"].as_str()), (status, Some(code)), "{case}: {answer}");
        for member in ["RequestId", "HostId", "Message", "Recommend"] {
            assert!(answer[member].is_string(), "{case}: {answer}");
        }
        assert_eq!(answer["HttpStatus"], status, "{case}");
        assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8", "{case}");
        assert!(!answer.to_string().contains(MARKER), "{case}: {answer}");
        assert_eq!(
            answer["Message"].as_str().unwrap().contains("server string to sign is:"),
            code == "SignatureDoesNotMatch",
            "{case}: {answer}"
        );
        answers.push((case, reply.request_id(), code));
    }
    assert_eq!(appliance.rows(), before);
    let events = appliance.audit_events();
    for (case, request_id, code) in answers {
        let of: Vec<_> = events.iter().filter(|event| event["requestId"] == request_id).collect();
        assert_eq!(of.len(), 1, "{case}: {of:?}");
        assert_eq!(of[0]["errorCode"], code, "{case}");
        assert!(!of[0].to_string().contains(MARKER), "{case}: {}", of[0]);
    }
    let log = appliance.log();
    assert!(!log.contains("panicked") && !log.contains(MARKER), "{log}");
    assert!(appliance.is_healthy().await);
}

#[tokio::test]
async fn clocks_may_be_fourteen_minutes_apart() {
    let appliance = Appliance::running().await;
    let mut connection = Connection::open(&appliance).await;
    for shift in [-14 * 60, 14 * 60] {
        let key = appliance.admin_key();
        let v1 = Request::v1(key, "ListSecrets", KMS, &[]).set("Timestamp", &timestamp(shift));
        assert_eq!(connection.send(&v1.query("GET")).await.status, 200);
        let acs3 = Request::acs3(&appliance, key, "ListSecrets", KMS, &[]);
        assert_eq!(connection.send(&acs3.header("x-acs-date", &timestamp(shift)).sign()).await.status, 200);
    }
}

#[tokio::test]
async fn a_nonce_is_good_for_one_request_also_after_a_crash_and_a_restart() {
    let mut appliance = Appliance::running().await;
    let key = appliance.admin_key().clone();
    let v1 = Request::v1(&key, "ListSecrets", KMS, &[]);
    let acs3 = Request::acs3(&appliance, &key, "ListUsers", "2015-05-01", &[]);
    let nonce = v1.parameters["SignatureNonce"].clone();
    let requests = [
        v1.query("GET"),
        acs3.clone().sign(),
        // Signed ahead of time: it stays fresh for longer.
        acs3.clone().header("x-acs-signature-nonce", "ahead").header("x-acs-date", &timestamp(840)).sign(),
        // Refused for its parameters, and used up all the same.
        Request::v1(&key, "GetSecretValue", KMS, &[]).query("GET"),
    ];
    for (at, request) in requests.iter().enumerate() {
        let reply = Connection::open(&appliance).await.send(request).await;
        assert_eq!(reply.status, if at == 3 { 400 } else { 200 }, "{}", reply.json());
    }
    for end in ["at once", "stopped", "killed"] {
        match end {
            "stopped" => appliance.restart().await,
            "killed" => {
                appliance.kill();
                appliance.start().await;
            }
            _ => {}
        }
        let mut connection = Connection::open(&appliance).await;
        for request in &requests {
            let reply = connection.send(request).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "SignatureNonceUsed"),
                "{end}: {}",
                reply.json()
            );
        }
        // The same nonce under another time and another action is the same nonce.
        let again = Request::v1(&key, "ListUsers", "2015-05-01", &[]).set("SignatureNonce", &nonce);
        let again = again.set("Timestamp", &timestamp(-60));
        assert_eq!(connection.send(&again.query("GET")).await.code(), "SignatureNonceUsed", "{end}");
    }
}

#[tokio::test]
async fn a_forged_request_does_not_use_up_a_nonce() {
    let appliance = Appliance::running().await;
    let key = appliance.admin_key();
    let request = Request::v1(key, "ListSecrets", KMS, &[]);
    let forged = altered(request.query("GET"), |r| r.target.push_str("&X=1"));
    let mut connection = Connection::open(&appliance).await;
    assert_eq!(connection.send(&forged).await.code(), "SignatureDoesNotMatch");
    assert_eq!(connection.send(&request.query("GET")).await.status, 200);
}

#[tokio::test]
async fn good_and_forged_requests_at_once_are_told_apart() {
    let appliance = Appliance::running().await;
    let key = appliance.admin_key();
    let wrong = AccessKey { secret: key.secret.chars().rev().collect(), ..key.clone() };
    let worker = async |number: usize| {
        let mut connection = Connection::open(&appliance).await;
        for round in 0..50 {
            let is_good = (round + number).is_multiple_of(2);
            let request = Request::v1(if is_good { key } else { &wrong }, "ListSecrets", KMS, &[]);
            let request = request.set("SignatureNonce", &format!("{number}-{round}-{}", nonce()));
            let reply = connection.send(&request.query("GET")).await;
            assert_eq!(reply.status, if is_good { 200 } else { 400 });
        }
    };
    tokio::join!(worker(0), worker(1), worker(2), worker(3), worker(4), worker(5), worker(6), worker(7));
}

#[tokio::test]
async fn signatures_in_parameters_can_be_turned_off() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| *text = text.replace("\nv1 = true", "\nv1 = false"));
    appliance.start().await;
    let key = appliance.admin_key();
    let mut connection = Connection::open(&appliance).await;
    let reply = connection.send(&Request::v1(key, "ListSecrets", KMS, &[]).query("GET")).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "IncompleteSignature"));
    let acs3 = Request::acs3(&appliance, key, "ListSecrets", KMS, &[]);
    assert_eq!(connection.send(&acs3.sign()).await.status, 200);
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_left_out_of_the_record() {
    let appliance = Appliance::running().await;
    let more = [("SecretName", "db"), ("RegionId", "cn-hangzhou"), ("Whatever", MARKER)];
    appliance.admin().create_secret("db", "one").await;
    let request = Request::v1(appliance.admin_key(), "GetSecretValue", KMS, &more).query("GET");
    let reply = Connection::open(&appliance).await.send(&request).await;
    assert_eq!(reply.status, 200);
    // Neither name nor value: a value sent without its name would stand in its place.
    let record = appliance.audit_of(&reply.request_id())[0].to_string();
    assert!(!record.contains(MARKER) && !record.contains("Whatever"), "{record}");
}
