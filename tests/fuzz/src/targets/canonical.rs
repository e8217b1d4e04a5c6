//! What is signed (kms-secrets.md sections 2.4 and 2.5): fields query, form body.

use std::sync::LazyLock;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use strongroom::rpc::encoding::Parameters;
use strongroom::rpc::signature::{Claim, Received, Rules, SigningKey, content_sha256};

use super::fields;
use super::naive::{self, Pairs};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new(b"srTestAccessKeySecret"));

const FORM: &str = "application/x-www-form-urlencoded";

/// Every text that is signed is that of the plainest signer, and can be read
/// back: two sets of parameters never have the same one.
///
/// # Panics
///
/// When that does not hold.
pub fn canonical(data: &[u8]) {
    let [query, form] = fields(data);
    let Ok(query) = std::str::from_utf8(query) else { return };
    v1(query, form);
    acs3(query, form);
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    pairs.collect()
}

fn with_claim<T>(
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    then: impl FnOnce(&Claim<'_>) -> T,
) -> Option<T> {
    let parameters = Parameters::received(query, headers, body).ok()?;
    let received =
        Received { method: "POST", path: "/", authority: None, parameters: &parameters, headers, body };
    Claim::read(&received, Rules::default()).ok().map(|claim| then(&claim))
}

/// Query and form together, in byte order of the names.
fn all(query: &str, form: &[u8]) -> Pairs {
    let mut pairs = [naive::pairs(query.as_bytes()).unwrap(), naive::pairs(form).unwrap()].concat();
    pairs.sort();
    pairs
}

fn v1(query: &str, form: &[u8]) {
    const COMMON: &str = "AccessKeyId=id&Action=ListSecrets&SignatureMethod=HMAC-SHA1&SignatureNonce=n\
                          &SignatureVersion=1.0&Timestamp=2024-05-06T07%3A08%3A09Z&Version=2016-01-20";
    const NO_SIGNATURE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D";
    let headers = headers(&[("content-type", FORM)]);
    let unsigned = format!("{query}&{COMMON}");
    let told = with_claim(&format!("{unsigned}&Signature={NO_SIGNATURE}"), &headers, form, |claim| {
        assert!(!claim.verify(&KEY), "nobody made that signature");
        claim.string_to_sign().map(str::to_owned)
    });
    let Some(told) = told else { return };

    let pairs = all(&unsigned, form);
    let expected = format!("POST&%2F&{}", naive::escape(naive::canonical_query(&pairs).as_bytes()));
    let secret = |name: &[u8]| matches!(name, b"CiphertextBlob" | b"Plaintext" | b"SecretData");
    match told {
        Some(text) => assert_eq!(text, expected),
        None => assert!(pairs.iter().any(|(name, _)| secret(name))),
    }
    let inner = naive::unescape(&expected.as_bytes()["POST&%2F&".len()..]).unwrap();
    assert_eq!(naive::pairs(&inner).unwrap(), pairs);

    let signature = naive::escape(KEY.sign_v1(expected.as_bytes()).as_bytes());
    // Wherever the signature stands, and in whichever order the rest does.
    let signed = with_claim(&format!("Signature={signature}&{COMMON}&{query}"), &headers, form, |claim| {
        claim.verify(&KEY)
    });
    assert_eq!(signed, Some(true));
}

fn acs3(query: &str, form: &[u8]) {
    let hash = content_sha256(form);
    let mut signed = vec![
        ("host", "vault.example:8443"),
        ("x-acs-action", "ListSecrets"),
        ("x-acs-content-sha256", hash.as_str()),
        ("x-acs-date", "2024-05-06T07:08:09Z"),
        ("x-acs-signature-nonce", "n"),
        ("x-acs-version", "2016-01-20"),
    ];
    if !form.is_empty() {
        signed.insert(0, ("content-type", FORM));
    }
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let string_to_sign = |query: &str| {
        let canonical = format!("POST\n/\n{query}\n{lines}\n{names}\n{hash}");
        format!("ACS3-HMAC-SHA256\n{}", content_sha256(canonical.as_bytes()))
    };
    let agrees = |signature: &str, told: Option<&str>| {
        let authorization =
            format!("ACS3-HMAC-SHA256 Credential=id,SignedHeaders={names},Signature={signature}");
        let mut headers = headers(&signed);
        headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        with_claim(query, &headers, form, |claim| {
            if let Some(told) = told {
                assert_eq!(claim.string_to_sign(), Some(told));
            }
            claim.verify(&KEY)
        })
    };
    let Some(forged) = agrees(&"0".repeat(64), None) else { return };
    assert!(!forged, "nobody made that signature");

    let mut pairs = naive::pairs(query.as_bytes()).unwrap();
    pairs.sort();
    let encoded = naive::canonical_query(&pairs);
    assert_eq!(naive::pairs(encoded.as_bytes()).unwrap(), pairs);
    let text = string_to_sign(&encoded);
    assert_eq!(agrees(&KEY.sign_acs3(text.as_bytes()), Some(&text)), Some(true));

    // Names as the Python SDK writes them (section 2.5, quirk).
    let raw = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), naive::escape(value)));
    let raw = raw.collect::<Vec<_>>().join("&");
    if raw == encoded {
        return;
    }
    if agrees(&KEY.sign_acs3(string_to_sign(&raw).as_bytes()), None) == Some(true) {
        assert!(!raw.contains('\n'));
        let read_back: Pairs = raw
            .split('&')
            .map(|piece| piece.split_once('=').unwrap())
            .map(|(name, value)| (name.as_bytes().to_vec(), naive::unescape(value.as_bytes()).unwrap()))
            .collect();
        assert_eq!(read_back, pairs);
    }
}
