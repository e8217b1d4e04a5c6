//! Signing data of strangers (kms-secrets.md sections 2.2 to 2.7): fields head,
//! query, body. The head has the method in its first line, then headers.

use std::sync::LazyLock;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use strongroom::rpc::encoding::Parameters;
use strongroom::rpc::signature::{Claim, Received, Rules, Scheme, SigningKey};

use super::fields;

/// What every header scheme has to cover, and what only when it is there.
const ALWAYS: [&str; 6] =
    ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];
const WHERE_PRESENT: [&str; 2] = ["content-type", "x-acs-security-token"];

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new(b"srNobodyKnowsThisSecret"));

/// Whatever is sent, a claim is well formed, covers what it must, agrees with
/// no key that the sender does not know, and shows no signature.
///
/// # Panics
///
/// When that does not hold.
pub fn signature(data: &[u8]) {
    let [head, query, body] = fields(data);
    let (Ok(head), Ok(query)) = (std::str::from_utf8(head), std::str::from_utf8(query)) else { return };
    let (method, lines) = head.split_once('\n').unwrap_or((head, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')).take(100) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim().as_bytes())) {
            headers.append(name, value);
        }
    }
    let Ok(parameters) = Parameters::received(query, &headers, body) else { return };
    let authority = headers.get("host").is_none().then_some("vault.example:8443");
    let received =
        Received { method, path: "/", authority, parameters: &parameters, headers: &headers, body };
    for v1 in [true, false] {
        for v1_needs_nonce in [true, false] {
            let rules = Rules { v1, v1_needs_nonce };
            match Claim::read(&received, rules) {
                Ok(claim) => check(&claim, &received, rules),
                Err(error) => assert!(!error.code().is_empty() && !error.to_string().is_empty()),
            }
        }
    }
}

fn check(claim: &Claim<'_>, received: &Received<'_>, rules: Rules) {
    assert!(!claim.verify(&KEY), "nobody knows that key");
    let plain = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    assert!(plain(claim.access_key_id(), 128));
    assert!(claim.nonce().is_none_or(|nonce| plain(nonce, 256)));
    assert!(claim.security_token().is_none_or(|token| plain(token, 8 * 1024)));
    assert!((-62_200_000_000..=253_402_300_799).contains(&claim.unix_seconds()));
    let shown = format!("{claim:?}");
    let header = received.headers.get("authorization").and_then(|header| header.to_str().ok());
    if claim.scheme() == Scheme::V1 {
        assert!(rules.v1 && header.is_none());
        assert!(claim.nonce().is_some() || !rules.v1_needs_nonce);
        assert_eq!(received.parameters.get("Action"), Some(claim.action()));
        assert_eq!(received.parameters.get("Version"), Some(claim.version()));
        let signature = received.parameters.get("Signature").unwrap();
        assert!(!shown.contains(signature));
        return;
    }
    let header = header.unwrap();
    assert!(received.parameters.get("Signature").is_none());
    assert!(header.starts_with(claim.scheme().name()));
    assert!(claim.nonce().is_some());
    let field = |name: &str| {
        header.split([' ', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap()
    };
    let covered: Vec<&str> = field("SignedHeaders").split(';').collect();
    assert!(covered.is_sorted_by(|a, b| a < b), "{covered:?}");
    assert!(ALWAYS.iter().all(|name| covered.contains(name)), "{covered:?}");
    for name in WHERE_PRESENT.iter().filter(|name| received.headers.contains_key(**name)) {
        assert!(covered.contains(name), "{covered:?}");
    }
    // None of them could be read in two ways.
    for name in &covered {
        assert!(
            received.headers.get_all(*name).iter().count() == 1
                || (*name == "host" && received.authority.is_some())
        );
    }
    assert!(!shown.contains(field("Signature")));
    let text = claim.string_to_sign().unwrap();
    let (scheme, hash) = text.split_once('\n').unwrap();
    assert_eq!(scheme, claim.scheme().name());
    assert_eq!(hash.len(), 64);
}
