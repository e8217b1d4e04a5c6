//! The `Authorization` header of ACS3 and ACS4 (kms-secrets.md sections 2.5 and 2.6).

use super::Scheme;
use super::canonical::ACS4_REQUEST;
use super::claim::{ClaimError, Scope};

/// Longest header that is read.
const MAX_LENGTH: usize = 8 * 1024;

/// An `Authorization` header taken apart; nothing is checked against the rest
/// of the request yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization<'r> {
    pub(super) scheme: Scheme,
    pub(super) access_key_id: &'r str,
    /// Day, region and product; with ACS4 only.
    pub(super) scope: Option<Scope<'r>>,
    /// Lower-case names, sorted, each once, joined by `;`.
    pub(super) signed_headers: &'r str,
    pub(super) signature: &'r str,
}

impl<'r> Authorization<'r> {
    pub(super) fn parse(text: &'r str) -> Result<Self, ClaimError> {
        let malformed = ClaimError::IncompleteSignature { what: "the Authorization header is malformed" };
        if text.len() > MAX_LENGTH {
            return Err(malformed);
        }
        let (scheme, fields) = text.split_once(' ').unwrap_or((text, ""));
        let Some(scheme) = Scheme::of_header(scheme) else {
            return Err(ClaimError::IncompleteSignature {
                what: "the scheme of the Authorization header is not supported",
            });
        };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let Some((name, value)) = field.trim().split_once('=') else {
                return Err(malformed);
            };
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(malformed),
            };
            if value.is_empty() || place.replace(value).is_some() {
                return Err(malformed);
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(malformed);
        };
        if !well_formed(signed_headers) {
            return Err(ClaimError::IncompleteSignature {
                what: "SignedHeaders must be sorted, in lower case and without repetition",
            });
        }
        let (access_key_id, scope) = match scheme {
            Scheme::Acs4Sha256 => match scoped(credential) {
                Some((id, scope)) => (id, Some(scope)),
                None => return Err(malformed),
            },
            Scheme::V1 | Scheme::Acs3Sha256 | Scheme::Acs3Sm3 => (credential, None),
        };
        Ok(Self { scheme, access_key_id, scope, signed_headers, signature })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        self.signed_headers.split(';')
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        self.names().any(|signed| signed == name)
    }
}

/// Sorted, which with "strictly" also says that no name occurs twice.
fn well_formed(signed_headers: &str) -> bool {
    let token = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
    };
    signed_headers.split(';').all(token) && signed_headers.split(';').is_sorted_by(|a, b| a < b)
}

fn scoped(credential: &str) -> Option<(&str, Scope<'_>)> {
    let mut parts = credential.split('/');
    let id = parts.next()?;
    let scope = Scope { date: parts.next()?, region: parts.next()?, product: parts.next()? };
    (parts.next()? == ACS4_REQUEST && parts.next().is_none()).then_some((id, scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_headers_are_taken_apart() {
        let expected = Authorization {
            scheme: Scheme::Acs3Sha256,
            access_key_id: "id",
            scope: None,
            signed_headers: "a;b-c",
            signature: "00",
        };
        for text in [
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a;b-c,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id, SignedHeaders=a;b-c,  Signature=00",
            "ACS3-HMAC-SHA256 Signature=00,SignedHeaders=a;b-c,Credential=id",
        ] {
            assert_eq!(Authorization::parse(text).unwrap(), expected, "{text}");
        }
        let four = Authorization::parse(
            "ACS4-HMAC-SHA256 Credential=id/20240506/cn-hangzhou/Kms/aliyun_v4_request,SignedHeaders=a,Signature=00",
        )
        .unwrap();
        assert_eq!(four.access_key_id, "id");
        assert_eq!(four.scope, Some(Scope { date: "20240506", region: "cn-hangzhou", product: "Kms" }));
    }

    #[test]
    fn anything_else_is_an_incomplete_signature() {
        for text in [
            "",
            "Bearer abc",
            "ACS3-RSA-SHA256 Credential=id,SignedHeaders=a,Signature=00",
            "acs3-hmac-sha256 Credential=id,SignedHeaders=a,Signature=00",
            "ACS3-HMAC-SHA256",
            "ACS3-HMAC-SHA256 ",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a",
            "ACS3-HMAC-SHA256 Credential=id,Signature=00",
            "ACS3-HMAC-SHA256 SignedHeaders=a,Signature=00",
            "ACS3-HMAC-SHA256 Credential=,SignedHeaders=a,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a,Signature=",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a,Signature=00,",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a,Signature=00,Extra=1",
            "ACS3-HMAC-SHA256 Credential=id,Credential=id,SignedHeaders=a,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=b;a,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a;a,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=A,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a;,Signature=00",
            "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=a b,Signature=00",
            "ACS4-HMAC-SHA256 Credential=id,SignedHeaders=a,Signature=00",
            "ACS4-HMAC-SHA256 Credential=id/d/r/p/other,SignedHeaders=a,Signature=00",
            "ACS4-HMAC-SHA256 Credential=id/d/r/p/aliyun_v4_request/x,SignedHeaders=a,Signature=00",
        ] {
            let error = Authorization::parse(text).unwrap_err();
            assert_eq!(error.code(), "IncompleteSignature", "{text}");
        }
        let long =
            format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders=a,Signature=00", "i".repeat(MAX_LENGTH));
        assert!(Authorization::parse(&long).is_err());
    }
}
