//! Requests captured from unmodified clients (fixtures/data/signature): each
//! must verify, and with one byte changed each must fail.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use strongroom::rpc::encoding::{self, Parameters};
use strongroom::rpc::signature::{Claim, Received, Rules, Scheme, SigningKey};
use strongroom::rpc::timestamp;

#[derive(Deserialize)]
struct File {
    encoding_cases: Vec<EncodingCase>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct EncodingCase {
    raw: String,
    encoded: String,
}

#[derive(Deserialize, Clone)]
struct Vector {
    id: String,
    scheme: String,
    action: String,
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    string_to_sign: String,
    signature: String,
    #[serde(default)]
    signed_headers: Vec<String>,
    quirk: Option<String>,
}

fn file() -> File {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/signature/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Vector {
    /// What a server makes of the request: `None` when it is refused unread.
    fn claimed<T>(&self, then: impl FnOnce(&Claim<'_>) -> T) -> Option<T> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::from_bytes(value.as_bytes()).ok()?,
            );
        }
        let parameters = Parameters::received(&self.query, &headers, self.body.as_bytes()).ok()?;
        let received = Received {
            method: &self.method,
            path: &self.path,
            authority: None,
            parameters: &parameters,
            headers: &headers,
            body: self.body.as_bytes(),
        };
        Claim::read(&received, Rules::default()).ok().map(|claim| then(&claim))
    }

    /// As a server does that knows this access key and no other.
    fn verifies(&self) -> bool {
        let key = SigningKey::new(self.access_key_secret.as_bytes());
        self.claimed(|claim| claim.access_key_id() == self.access_key_id && claim.verify(&key))
            .unwrap_or(false)
    }

    fn is_v1(&self) -> bool {
        self.scheme == "RPC-V1-HMAC-SHA1"
    }
}

/// Every text that differs from `text` in one byte, with the place of that byte.
fn with_one_byte_changed(text: &str) -> impl Iterator<Item = (usize, String)> {
    assert!(text.is_ascii());
    (0..text.len()).map(move |at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        (at, String::from_utf8(bytes).unwrap())
    })
}

#[test]
fn every_captured_request_verifies() {
    let vectors = file().vectors;
    assert_eq!(vectors.len(), 29);
    for vector in &vectors {
        assert!(vector.verifies(), "{}", vector.id);
    }
}

#[test]
fn a_claim_says_what_the_client_said() {
    for vector in file().vectors {
        let stamp = match (vector.headers.get("x-acs-date"), vector.query.split_once("Timestamp=")) {
            (Some(date), _) => date.clone(),
            (None, Some((_, rest))) => rest.split('&').next().unwrap().replace("%3A", ":"),
            (None, None) => panic!("{}", vector.id),
        };
        let seen = vector.claimed(|claim| {
            assert_eq!(claim.action(), vector.action, "{}", vector.id);
            assert_eq!(claim.version(), "2016-01-20", "{}", vector.id);
            assert_eq!(claim.access_key_id(), vector.access_key_id, "{}", vector.id);
            assert_eq!(claim.security_token(), vector.security_token.as_deref(), "{}", vector.id);
            assert_eq!(Some(claim.unix_seconds()), timestamp::parse(&stamp), "{}", vector.id);
            assert!(claim.nonce().is_some(), "{}", vector.id);
            let expected =
                if claim.scheme() == Scheme::V1 { "RPC-V1-HMAC-SHA1" } else { claim.scheme().name() };
            assert_eq!(expected, vector.scheme, "{}", vector.id);
            let shown = format!("{claim:?}");
            assert!(!shown.contains(&vector.signature), "{shown}");
            assert!(!shown.contains("SRTESTSTSTOKEN"), "{shown}");
        });
        assert!(seen.is_some(), "{}", vector.id);
    }
}

#[test]
fn the_string_to_sign_is_the_clients_and_is_withheld_when_it_holds_a_secret() {
    let mut withheld = 0;
    for vector in file().vectors {
        let text = vector.claimed(|claim| claim.string_to_sign().map(str::to_owned)).unwrap();
        let holds_secret =
            vector.is_v1() && (vector.query.contains("SecretData=") || vector.body.contains("SecretData="));
        if holds_secret {
            withheld += 1;
            assert_eq!(text, None, "{}", vector.id);
        } else if vector.quirk.is_none() {
            assert_eq!(text.as_deref(), Some(vector.string_to_sign.as_str()), "{}", vector.id);
        }
    }
    assert!(withheld > 3);
}

#[test]
fn our_own_signatures_equal_the_clients() {
    for vector in file().vectors {
        let key = SigningKey::new(vector.access_key_secret.as_bytes());
        let made = match vector.scheme.as_str() {
            "RPC-V1-HMAC-SHA1" => key.sign_v1(vector.string_to_sign.as_bytes()),
            "ACS3-HMAC-SHA256" => key.sign_acs3(vector.string_to_sign.as_bytes()),
            _ => continue,
        };
        assert_eq!(made, vector.signature, "{}", vector.id);
    }
}

#[test]
fn one_changed_byte_of_query_or_body_fails() {
    for vector in file().vectors {
        for (at, query) in with_one_byte_changed(&vector.query) {
            let changed = Vector { query, ..vector.clone() };
            assert!(!changed.verifies(), "{} query byte {at}", vector.id);
        }
        for (at, body) in with_one_byte_changed(&vector.body) {
            let changed = Vector { body, ..vector.clone() };
            assert!(!changed.verifies(), "{} body byte {at}", vector.id);
        }
    }
}

#[test]
fn one_changed_byte_of_a_signed_header_or_of_authorization_fails() {
    for vector in file().vectors.into_iter().filter(|vector| !vector.is_v1()) {
        assert!(vector.signed_headers.len() >= 7, "{}", vector.id);
        for name in vector.signed_headers.iter().map(String::as_str).chain(["authorization"]) {
            for (at, value) in with_one_byte_changed(&vector.headers[name]) {
                let mut changed = vector.clone();
                changed.headers.insert(name.to_owned(), value);
                assert!(!changed.verifies(), "{} {name} byte {at}", vector.id);
            }
        }
    }
}

#[test]
fn another_method_path_or_secret_fails() {
    for vector in file().vectors {
        let other = if vector.method == "POST" { "GET" } else { "POST" };
        for method in [other, "post", "get", "PUT"] {
            let changed = Vector { method: method.to_owned(), ..vector.clone() };
            assert!(!changed.verifies(), "{} {method}", vector.id);
        }
        let changed = Vector { path: "/x".to_owned(), ..vector.clone() };
        assert!(!changed.verifies(), "{} path", vector.id);
        for (at, access_key_secret) in with_one_byte_changed(&vector.access_key_secret) {
            let changed = Vector { access_key_secret, ..vector.clone() };
            assert!(!changed.verifies(), "{} secret byte {at}", vector.id);
        }
    }
}

#[test]
fn a_parameter_moved_from_the_body_to_the_query_fails_with_acs3() {
    for vector in file().vectors.into_iter().filter(|v| !v.is_v1() && !v.body.is_empty()) {
        let query = format!("{}&{}", vector.query, vector.body);
        let moved = Vector { query, body: String::new(), ..vector.clone() };
        assert!(!moved.verifies(), "{}", vector.id);
    }
}

#[test]
fn texts_are_encoded_as_the_clients_encode_them() {
    for case in file().encoding_cases {
        assert_eq!(encoding::encode(&case.raw), case.encoded);
        let query = format!("v={}", case.encoded);
        let parameters = Parameters::parse(&query, b"").unwrap();
        assert_eq!(parameters.get("v"), Some(case.raw.as_str()));
    }
}
