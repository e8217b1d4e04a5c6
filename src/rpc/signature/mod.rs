//! Signatures of the protocol: HMAC-SHA1 over the parameters (V1,
//! kms-secrets.md section 2.4), and the header schemes ACS3 and ACS4 (sections
//! 2.5 and 2.6).
//!
//! A server makes a [`Claim`] of what it received, without knowing any secret,
//! then asks [`Claim::verify`] with the key of whoever the claim names. A client
//! calls [`authorization`]. Comparison takes the same time wherever signatures
//! differ.

mod authorization;
mod canonical;
mod claim;

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::{BASE64, HEXLOWER};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use zeroize::Zeroizing;

use self::canonical::{Hash, HeaderRequest, Names};

pub use self::claim::{Claim, ClaimError, Received, Rules, Scope};

/// The ways of signing that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HMAC-SHA1 over all parameters; headers and body bytes are not signed.
    V1,
    /// `ACS3-HMAC-SHA256`, the default of current SDKs.
    Acs3Sha256,
    /// `ACS3-HMAC-SM3`.
    Acs3Sm3,
    /// `ACS4-HMAC-SHA256`: as ACS3 with a key derived for one day, region and product.
    Acs4Sha256,
}

impl Scheme {
    /// The name of the scheme, as it begins an `Authorization` header; V1,
    /// which has none, goes by its `SignatureMethod`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "HMAC-SHA1",
            Self::Acs3Sha256 => "ACS3-HMAC-SHA256",
            Self::Acs3Sm3 => "ACS3-HMAC-SM3",
            Self::Acs4Sha256 => "ACS4-HMAC-SHA256",
        }
    }

    /// The header scheme of that name.
    fn of_header(name: &str) -> Option<Self> {
        [Self::Acs3Sha256, Self::Acs3Sm3, Self::Acs4Sha256].into_iter().find(|scheme| scheme.name() == name)
    }

    const fn hash(self) -> Hash {
        match self {
            Self::Acs3Sm3 => Hash::Sm3,
            Self::V1 | Self::Acs3Sha256 | Self::Acs4Sha256 => Hash::Sha256,
        }
    }
}

/// The secret of one access key, prepared for checking and making signatures.
///
/// The key schedules of HMAC are computed once here (some microseconds), so
/// that a check costs only the hashing of the string to sign. The secret itself
/// cannot be read back; the libraries wipe what they keep of it when the value
/// is dropped.
pub struct SigningKey {
    v1: hmac::Key,
    acs3: hmac::Key,
    acs4: hmac::Key,
    /// `None` when OpenSSL offers no HMAC here; such signatures then never agree.
    sm3: Option<PKey<Private>>,
}

impl SigningKey {
    /// Prepares the access key secret as the client writes it.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let joined = |before: &[u8], after: &[u8]| {
            let mut key = Zeroizing::new(Vec::with_capacity(before.len() + secret.len() + after.len()));
            key.extend_from_slice(before);
            key.extend_from_slice(secret);
            key.extend_from_slice(after);
            key
        };
        Self {
            v1: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &joined(b"", b"&")),
            acs3: hmac::Key::new(hmac::HMAC_SHA256, secret),
            acs4: hmac::Key::new(hmac::HMAC_SHA256, &joined(b"aliyun_v4", b"")),
            sm3: PKey::hmac(secret).ok(),
        }
    }

    /// Signs a V1 string to sign: the `Signature` parameter, Base64 of 20 bytes.
    #[must_use]
    pub fn sign_v1(&self, string_to_sign: &[u8]) -> String {
        BASE64.encode(hmac::sign(&self.v1, string_to_sign).as_ref())
    }

    /// Signs an ACS3-HMAC-SHA256 string to sign: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn sign_acs3(&self, string_to_sign: &[u8]) -> String {
        HEXLOWER.encode(hmac::sign(&self.acs3, string_to_sign).as_ref())
    }

    fn agrees_sm3(&self, string_to_sign: &[u8], signature: &[u8]) -> bool {
        let made = self.sm3.as_ref().and_then(|key| {
            let mut signer = Signer::new(MessageDigest::sm3(), key).ok()?;
            signer.update(string_to_sign).ok()?;
            signer.sign_to_vec().ok()
        });
        made.is_some_and(|made| aws_lc_rs::constant_time::verify_slices_are_equal(&made, signature).is_ok())
    }

    /// The key of ACS4 for one scope (kms-secrets.md section 2.6).
    fn derived(&self, scope: &Scope<'_>) -> hmac::Key {
        let next = |key: &hmac::Key, data: &str| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(key, data.as_bytes()).as_ref())
        };
        let day = next(&self.acs4, scope.date);
        let region = next(&day, scope.region);
        let product = next(&region, scope.product);
        next(&product, canonical::ACS4_REQUEST)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// A request about to be sent with ACS3-HMAC-SHA256.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Parameters of the query string, in byte order of their names.
    pub query: &'a [(&'a str, &'a str)],
    /// All headers to sign, names in lower case and in byte order, values
    /// without blanks around them. [`Received`] tells which ones a server
    /// insists on.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, hashed as it is.
    pub body: &'a [u8],
}

/// Values and body are left out: they may hold secrets.
impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The `Authorization` header of a request to path `/`.
#[must_use]
pub fn authorization(key: &SigningKey, access_key_id: &str, request: &Outgoing<'_>) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let signed_headers = names.join(";");
    let canonical = HeaderRequest {
        method: request.method,
        path: "/",
        query: || request.query.iter().copied(),
        headers: || request.headers.iter().map(|(name, value)| (*name, value.as_bytes())),
        signed_headers: &signed_headers,
        body_hash: &content_sha256(request.body),
    }
    .canonical(Names::Encoded);
    let scheme = Scheme::Acs3Sha256.name();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &canonical);
    let signature = key.sign_acs3(format!("{scheme}\n{}", HEXLOWER.encode(digest.as_ref())).as_bytes());
    format!("{scheme} Credential={access_key_id},SignedHeaders={signed_headers},Signature={signature}")
}

/// The value of `x-acs-content-sha256`: lower-case hexadecimal SHA-256 of the body.
#[must_use]
pub fn content_sha256(body: &[u8]) -> String {
    HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body).as_ref())
}
