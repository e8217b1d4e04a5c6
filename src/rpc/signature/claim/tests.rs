use hyper::header::{HOST, HeaderName, HeaderValue};

use super::*;
use crate::rpc::signature::{Outgoing, authorization, content_sha256};

const DATE: &str = "2024-05-06T07:08:09Z";

/// A signed request whose parts a test may spoil.
struct Signed {
    headers: HeaderMap,
    query: String,
    body: Vec<u8>,
}

impl Signed {
    /// ACS3 over these headers, sent as they are signed.
    fn acs3(headers: &[(&str, &str)]) -> Self {
        let body = b"SecretData=x".to_vec();
        let header = authorization(
            &SigningKey::new(b"secret"),
            "id",
            &Outgoing { method: "POST", query: &[("SecretName", "n")], headers, body: &body },
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().copied().chain([("authorization", header.as_str())]) {
            map.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Self { headers: map, query: "SecretName=n".to_owned(), body }
    }

    fn with(&self, change: impl FnOnce(&mut HeaderMap)) -> Result<bool, ClaimError> {
        let mut headers = self.headers.clone();
        change(&mut headers);
        let parameters = Parameters::received(&self.query, &headers, &self.body).unwrap();
        let received = Received {
            method: "POST",
            path: "/",
            authority: Some("vault.test:8443"),
            parameters: &parameters,
            headers: &headers,
            body: &self.body,
        };
        Claim::read(&received, Rules::default()).map(|claim| claim.verify(&SigningKey::new(b"secret")))
    }
}

fn usual(hash: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "vault.test:8443"),
        ("x-acs-action", "CreateSecret"),
        ("x-acs-content-sha256", hash),
        ("x-acs-date", DATE),
        ("x-acs-security-token", "token"),
        ("x-acs-signature-nonce", "nonce"),
        ("x-acs-version", "2016-01-20"),
    ]
}

#[test]
fn every_header_that_must_be_signed_is_insisted_on() {
    let hash = content_sha256(b"SecretData=x");
    let all = usual(&hash);
    assert_eq!(Signed::acs3(&all).with(|_| ()), Ok(true));
    for (index, (name, value)) in all.iter().enumerate() {
        let mut fewer = all.clone();
        fewer.remove(index);
        let unsigned = Signed::acs3(&fewer);
        let sent_unsigned = unsigned.with(|headers| {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        });
        assert_eq!(sent_unsigned.unwrap_err().code(), "IncompleteSignature", "{name}");
        if !matches!(*name, "content-type" | "x-acs-security-token" | "host") {
            let expected = if *name == "x-acs-date" { "IllegalTimestamp" } else { "MissingParameter" };
            assert_eq!(unsigned.with(|_| ()).unwrap_err().code(), expected, "{name}");
        }
    }
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let hash = content_sha256(b"SecretData=x");
    let signed = Signed::acs3(&usual(&hash));
    let with = |name: &'static str, value: &'static str| {
        signed.with(|headers| {
            headers.insert(name, HeaderValue::from_static(value));
        })
    };
    assert_eq!(with("x-acs-accesskey-id", "id"), Ok(true));
    assert_eq!(with("x-acs-accesskey-id", "other").unwrap_err().code(), "IncompleteSignature");
    assert_eq!(with("x-acs-date", "yesterday").unwrap_err().code(), "InvalidTimeStamp.Format");
    assert_eq!(with("x-acs-signature-nonce", "").unwrap_err().code(), "InvalidParameter");
    assert_eq!(with("x-acs-version", "2016-01-21"), Ok(false));
    for name in ["x-acs-action", "host", "authorization"] {
        let twice = signed.with(|headers| {
            headers.append(name, HeaderValue::from_static("again"));
        });
        assert_eq!(twice.unwrap_err().code(), "IncompleteSignature", "{name}");
    }
}

#[test]
fn names_that_were_not_encoded_verify_only_where_they_mean_one_thing() {
    // As the Python SDK signs: names as they are, values encoded.
    for (query, raw, verifies) in [
        ("a%5Bb%5D=c", "a[b]=c", true),
        ("a%26b=c", "a&b=c", false),
        ("a%3Db=c", "a=b=c", false),
        ("a%252B=c", "a%2B=c", false),
        ("a%0Ab=c", "a\nb=c", false),
        ("a%5Bb%5D=c&d%26=e", "a[b]=c&d&=e", false),
    ] {
        let hash = content_sha256(b"SecretData=x");
        let mut signed = Signed::acs3(&usual(&hash));
        signed.query = query.to_owned();
        let names: Vec<_> = usual(&hash).iter().map(|(name, _)| *name).collect();
        let lines: String = usual(&hash).iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = names.join(";");
        let canonical = format!("POST\n/\n{raw}\n{lines}\n{names}\n{hash}");
        let text = format!("ACS3-HMAC-SHA256\n{}", content_sha256(canonical.as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = HEXLOWER.encode(hmac::sign(&key, text.as_bytes()).as_ref());
        let header = format!("ACS3-HMAC-SHA256 Credential=id,SignedHeaders={names},Signature={signature}");
        let answer = signed.with(|headers| {
            headers.insert("authorization", HeaderValue::from_str(&header).unwrap());
        });
        assert_eq!(answer, Ok(verifies), "{query}");
    }
}

#[test]
fn the_authority_of_http2_stands_in_for_the_host() {
    let hash = content_sha256(b"SecretData=x");
    let removed = Signed::acs3(&usual(&hash)).with(|headers| {
        headers.remove(HOST);
    });
    assert_eq!(removed, Ok(true));
}

#[test]
fn a_hash_header_that_is_not_that_of_the_body_never_verifies() {
    let wrong = content_sha256(b"SecretData=y");
    assert_eq!(Signed::acs3(&usual(&wrong)).with(|_| ()), Ok(false));
}

#[test]
fn a_signature_parameter_beside_the_header_is_refused() {
    let hash = content_sha256(b"SecretData=x");
    let mut signed = Signed::acs3(&usual(&hash));
    signed.query.push_str("&Signature=x");
    assert_eq!(signed.with(|_| ()).unwrap_err().code(), "IncompleteSignature");
}

fn v1(query: &str, rules: Rules) -> Result<(), ClaimError> {
    let parameters = Parameters::parse(query, b"").unwrap();
    let headers = HeaderMap::new();
    let received = Received {
        method: "GET",
        path: "",
        authority: None,
        parameters: &parameters,
        headers: &headers,
        body: b"",
    };
    Claim::read(&received, rules).map(drop)
}

const V1: [(&str, &str); 8] = [
    ("AccessKeyId", "id"),
    ("Action", "GetSecretValue"),
    ("Signature", "pfIwRfuULcM0mBs%2B%2FsY6Ae%2Fm6UY%3D"),
    ("SignatureMethod", "HMAC-SHA1"),
    ("SignatureNonce", "nonce"),
    ("SignatureVersion", "1.0"),
    ("Timestamp", "2024-05-06T07%3A08%3A09Z"),
    ("Version", "2016-01-20"),
];

fn query(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}&")).collect()
}

#[test]
fn v1_needs_all_its_parameters() {
    assert_eq!(v1(&query(&V1), Rules::default()), Ok(()));
    for (index, (missing, _)) in V1.into_iter().enumerate() {
        let mut fewer = V1.to_vec();
        fewer.remove(index);
        let error = v1(&query(&fewer), Rules::default()).unwrap_err();
        let expected = if missing == "Timestamp" {
            ClaimError::IllegalTimestamp
        } else {
            ClaimError::MissingParameter { name: missing }
        };
        assert_eq!(error, expected);
    }
    assert_eq!(v1("", Rules::default()), Err(ClaimError::MissingParameter { name: "AccessKeyId" }));
}

#[test]
fn v1_values_that_mean_something_else_are_refused() {
    for (name, value, code) in [
        ("SignatureMethod", "HMAC-SHA256", "InvalidParameter"),
        ("SignatureVersion", "2.0", "InvalidParameter"),
        ("SignatureType", "BEARERTOKEN", "InvalidParameter"),
        ("AccessKeyId", "a+b", "InvalidParameter"),
        ("SignatureNonce", "", "InvalidParameter"),
        ("Timestamp", "2024-05-06+07:08:09", "InvalidTimeStamp.Format"),
        ("Signature", "AAAA", "IncompleteSignature"),
        ("Signature", "pfIwRfuULcM0mBs%2B%2FsY6Ae%2Fm6UY", "IncompleteSignature"),
    ] {
        let mut pairs: Vec<_> = V1.iter().copied().filter(|(other, _)| *other != name).collect();
        pairs.push((name, value));
        let error = v1(&query(&pairs), Rules::default()).unwrap_err();
        assert_eq!(error.code(), code, "{name}={value}");
    }
    assert_eq!(v1(&(query(&V1) + "SignatureType="), Rules::default()), Ok(()));
}

#[test]
fn a_site_may_turn_v1_off_or_allow_it_without_a_nonce() {
    let off = Rules { v1: false, v1_needs_nonce: true };
    assert_eq!(v1(&query(&V1), off).unwrap_err().code(), "IncompleteSignature");
    let lenient = Rules { v1: true, v1_needs_nonce: false };
    let without: Vec<_> = V1.iter().copied().filter(|(name, _)| *name != "SignatureNonce").collect();
    assert_eq!(v1(&query(&without), lenient), Ok(()));
}
