//! What a received request says about who signed it.

mod of_headers;
mod of_parameters;

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::{BASE64, HEXLOWER};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::authorization::Authorization;
use super::canonical::V1_SIGNATURE;
use super::{Scheme, SigningKey};
use crate::rpc::encoding::Parameters;
use crate::rpc::timestamp;

/// Longest access key id and longest nonce that are believed, in bytes.
const MAX_ID: usize = 128;
const MAX_NONCE: usize = 256;
/// Longest STS token that is believed, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// A request as it came in.
#[derive(Clone, Copy)]
pub struct Received<'r> {
    /// The HTTP method.
    pub method: &'r str,
    /// The path of the target; an empty one counts as `/`.
    pub path: &'r str,
    /// The host of an HTTP/2 request (`:authority`); the header `host` goes first.
    pub authority: Option<&'r str>,
    /// What query and form say.
    pub parameters: &'r Parameters,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The body as received.
    pub body: &'r [u8],
}

/// Only the method is shown: all else may hold secrets.
impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a site allows of V1, which uses SHA-1 and leaves headers unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether V1 is served at all.
    pub v1: bool,
    /// Whether a V1 request must carry a `SignatureNonce`.
    pub v1_needs_nonce: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { v1: true, v1_needs_nonce: true }
    }
}

/// Day, region and product that an ACS4 key is derived for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'r> {
    /// `yyyymmdd`; the day of `x-acs-date`.
    pub date: &'r str,
    /// As the client configured it.
    pub region: &'r str,
    /// `Kms`.
    pub product: &'r str,
}

/// Why a request carries no claim that could be checked.
///
/// Messages name parts of the protocol, never what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// There is no time stamp.
    #[error("the time stamp is missing")]
    IllegalTimestamp,
    /// The signing data contradict each other or are malformed.
    #[error("the signature is incomplete: {what}")]
    IncompleteSignature {
        /// What is wrong, as a clause.
        what: &'static str,
    },
    /// A parameter or header has a value that cannot be.
    #[error("{name} is not valid")]
    InvalidParameter {
        /// Its name.
        name: &'static str,
    },
    /// The time stamp is not of the form `yyyy-MM-ddTHH:mm:ssZ`.
    #[error("the time stamp does not have the form yyyy-MM-ddTHH:mm:ssZ")]
    InvalidTimestampFormat,
    /// A parameter or header that must be there is not.
    #[error("{name} is missing")]
    MissingParameter {
        /// Its name.
        name: &'static str,
    },
}

impl ClaimError {
    /// The error code of the protocol, always with HTTP status 400
    /// (kms-secrets.md section 10).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::IllegalTimestamp => "IllegalTimestamp",
            Self::IncompleteSignature { .. } => "IncompleteSignature",
            Self::InvalidParameter { .. } => "InvalidParameter",
            Self::InvalidTimestampFormat => "InvalidTimeStamp.Format",
            Self::MissingParameter { .. } => "MissingParameter",
        }
    }
}

const fn incomplete(what: &'static str) -> ClaimError {
    ClaimError::IncompleteSignature { what }
}

/// Who a request says has signed it, and the text that it says was signed.
///
/// Nothing in it is believed before [`verify`](Self::verify) has answered yes,
/// and even then its age and its nonce are still to be judged. It borrows from
/// the request; of its own it holds the string to sign, wiped on drop. `Debug`
/// leaves out that string, the signature and the security token.
pub struct Claim<'r> {
    scheme: Scheme,
    action: &'r str,
    version: &'r str,
    access_key_id: &'r str,
    security_token: Option<&'r str>,
    nonce: Option<&'r str>,
    timestamp: i64,
    scope: Option<Scope<'r>>,
    string_to_sign: Zeroizing<Vec<u8>>,
    /// The same with names as the Python SDK writes them, where that differs.
    with_raw_names: Option<Zeroizing<Vec<u8>>>,
    signature: SignatureBytes,
    /// Whether the body is the one whose hash is in the headers.
    body_agrees: bool,
    may_be_shown: bool,
}

impl<'r> Claim<'r> {
    /// Finds the signature of a request, of whichever scheme
    /// (kms-secrets.md sections 2.2 to 2.7).
    ///
    /// V1 allocates the string to sign; the header schemes allocate the
    /// canonical request and the string made of its hash, and twice that when a
    /// parameter name of the query has reserved characters.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] when there is no signature, two of them, or one that
    /// does not cover what it must. A body other than the one signed is no
    /// error here: such a claim does not verify.
    pub fn read(received: &Received<'r>, rules: Rules) -> Result<Self, ClaimError> {
        let header = single(received.headers, AUTHORIZATION.as_str())?;
        let parameter = received.parameters.get(V1_SIGNATURE);
        match (header, parameter) {
            (Some(_), Some(_)) => {
                Err(incomplete("there is both an Authorization header and a Signature parameter"))
            }
            (Some(text), None) => Self::of_headers(received, &Authorization::parse(text)?),
            (None, Some(signature)) if rules.v1 => Self::of_parameters(received, signature, rules),
            (None, Some(_)) => Err(incomplete("signatures in parameters are turned off here")),
            (None, None) if received.parameters.get("AccessKeyId").is_none() => {
                Err(ClaimError::MissingParameter { name: "AccessKeyId" })
            }
            (None, None) => Err(ClaimError::MissingParameter { name: V1_SIGNATURE }),
        }
    }

    /// Whether the holder of this key signed this request.
    ///
    /// The time it takes depends on the request only. For an access key that
    /// does not exist ask with a key that nobody holds, so that the answer
    /// takes as long.
    #[must_use]
    pub fn verify(&self, key: &SigningKey) -> bool {
        let agrees = |text: &[u8]| match (self.scheme, &self.scope) {
            (Scheme::V1, _) => hmac::verify(&key.v1, text, self.signature.bytes()).is_ok(),
            (Scheme::Acs3Sm3, _) => key.agrees_sm3(text, self.signature.bytes()),
            (Scheme::Acs3Sha256 | Scheme::Acs4Sha256, None) => {
                hmac::verify(&key.acs3, text, self.signature.bytes()).is_ok()
            }
            (Scheme::Acs3Sha256 | Scheme::Acs4Sha256, Some(scope)) => {
                hmac::verify(&key.derived(scope), text, self.signature.bytes()).is_ok()
            }
        };
        let signed =
            agrees(&self.string_to_sign) || self.with_raw_names.as_ref().is_some_and(|text| agrees(text));
        signed && self.body_agrees
    }

    /// The string to sign as the server makes it, for the message of
    /// `SignatureDoesNotMatch` after `server string to sign is:`
    /// (kms-secrets.md section 2.10).
    ///
    /// `None` where it holds a secret value: V1 signs parameters as they are,
    /// so it is withheld when one of them is `SecretData`, `Plaintext` or
    /// `CiphertextBlob`.
    #[must_use]
    pub fn string_to_sign(&self) -> Option<&str> {
        self.may_be_shown.then(|| str::from_utf8(&self.string_to_sign).ok()).flatten()
    }

    /// How it was signed.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The action asked for: parameter `Action`, or header `x-acs-action`.
    #[must_use]
    pub const fn action(&self) -> &'r str {
        self.action
    }

    /// The API version asked for: parameter `Version`, or header `x-acs-version`.
    #[must_use]
    pub const fn version(&self) -> &'r str {
        self.version
    }

    /// The access key that is said to have signed: 1 to 128 visible ASCII characters.
    #[must_use]
    pub const fn access_key_id(&self) -> &'r str {
        self.access_key_id
    }

    /// The STS token that came along; it is as good as a password to whoever
    /// holds the secret of the same session.
    #[must_use]
    pub const fn security_token(&self) -> Option<&'r str> {
        self.security_token
    }

    /// The nonce, at most 256 bytes; absent only where [`Rules`] allow that.
    #[must_use]
    pub const fn nonce(&self) -> Option<&'r str> {
        self.nonce
    }

    /// When it was signed, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_seconds(&self) -> i64 {
        self.timestamp
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("scheme", &self.scheme)
            .field("action", &self.action)
            .field("access_key_id", &self.access_key_id)
            .field("has_security_token", &self.security_token.is_some())
            .field("unix_seconds", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// The bytes of a signature: 20 of SHA-1, 32 of the others.
struct SignatureBytes {
    bytes: [u8; 32],
    length: usize,
}

impl SignatureBytes {
    fn of_base64(text: &str) -> Result<Self, ClaimError> {
        let mut buffer = [0; 21];
        let length = match BASE64.decode_len(text.len()) {
            Ok(21) => BASE64.decode_mut(text.as_bytes(), &mut buffer).ok(),
            Ok(_) | Err(_) => None,
        };
        match (length, buffer.first_chunk::<20>()) {
            (Some(length @ 20), Some(made)) => {
                let mut bytes = [0; 32];
                for (to, from) in bytes.iter_mut().zip(made) {
                    *to = *from;
                }
                Ok(Self { bytes, length })
            }
            _ => Err(incomplete("Signature is not Base64 of 20 bytes")),
        }
    }

    fn of_hex(text: &str) -> Result<Self, ClaimError> {
        let mut bytes = [0; 32];
        let length = match HEXLOWER.decode_len(text.len()) {
            Ok(32) => HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok(),
            Ok(_) | Err(_) => None,
        };
        length
            .map(|length| Self { bytes, length })
            .ok_or(incomplete("Signature is not 64 lower-case hexadecimal digits"))
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn path_of<'r>(received: &Received<'r>) -> &'r str {
    if received.path.is_empty() { "/" } else { received.path }
}

fn time_of(text: Option<&str>) -> Result<i64, ClaimError> {
    let text = text.ok_or(ClaimError::IllegalTimestamp)?;
    timestamp::parse(text).ok_or(ClaimError::InvalidTimestampFormat)
}

/// Visible ASCII of 1 to `max` bytes: these texts go into logs and records.
fn bounded<'r>(text: &'r str, max: usize, name: &'static str) -> Result<&'r str, ClaimError> {
    if (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(ClaimError::InvalidParameter { name })
    }
}

/// The value of a header that may stand at most once.
fn single<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r str>, ClaimError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(incomplete("a header is not ASCII text")),
        },
        (Some(_), Some(_)) => Err(incomplete("a header occurs twice")),
    }
}

#[cfg(test)]
mod tests;
