//! Claims of ACS3 and ACS4 (kms-secrets.md sections 2.5 and 2.6).

use hyper::header::{CONTENT_TYPE, HOST};
use zeroize::Zeroizing;

use super::{
    Claim, ClaimError, MAX_ID, MAX_NONCE, MAX_TOKEN, Received, SignatureBytes, bounded, incomplete, path_of,
    single, time_of,
};
use crate::rpc::encoding::needs_encoding;
use crate::rpc::signature::authorization::Authorization;
use crate::rpc::signature::canonical::{HeaderRequest, Names};

impl<'r> Claim<'r> {
    pub(super) fn of_headers(
        received: &Received<'r>,
        authorization: &Authorization<'r>,
    ) -> Result<Self, ClaimError> {
        let required = |name: &'static str| match single(received.headers, name)? {
            Some(value) if authorization.covers(name) => Ok(value),
            Some(_) => Err(incomplete("a header that must be signed is not")),
            None => Err(ClaimError::MissingParameter { name }),
        };
        let optional = |name: &'static str| match single(received.headers, name)? {
            Some(_) => required(name).map(Some),
            None => Ok(None),
        };
        let access_key_id = bounded(authorization.access_key_id, MAX_ID, "AccessKeyId")?;
        let action = required("x-acs-action")?;
        let version = required("x-acs-version")?;
        let date = match required("x-acs-date") {
            Err(ClaimError::MissingParameter { .. }) => return Err(ClaimError::IllegalTimestamp),
            other => other?,
        };
        let timestamp = time_of(Some(date))?;
        let nonce = bounded(required("x-acs-signature-nonce")?, MAX_NONCE, "x-acs-signature-nonce")?;
        let security_token = optional("x-acs-security-token")?
            .map(|token| bounded(token, MAX_TOKEN, "x-acs-security-token"))
            .transpose()?;
        optional(CONTENT_TYPE.as_str())?;
        if !authorization.covers(HOST.as_str()) {
            return Err(incomplete("a header that must be signed is not"));
        }
        if single(received.headers, "x-acs-accesskey-id")?.is_some_and(|id| id != access_key_id) {
            return Err(incomplete("x-acs-accesskey-id is not the one of the Credential"));
        }
        if let Some(scope) = &authorization.scope
            && !date.bytes().take(10).filter(|byte| *byte != b'-').eq(scope.date.bytes())
        {
            return Err(incomplete("the day of the Credential is not that of x-acs-date"));
        }
        let headers = signed_headers(received, authorization)?;
        let unavailable = incomplete("the hash of this scheme is not available here");
        let hash = authorization.scheme.hash();
        let body_hash = hash.hex(received.body).ok_or(unavailable)?;
        let body_agrees = required("x-acs-content-sha256")? == body_hash.as_str();

        let request = HeaderRequest {
            method: received.method,
            path: path_of(received),
            query: || received.parameters.of_query(),
            headers: || headers.iter().copied(),
            signed_headers: authorization.signed_headers,
            body_hash: body_hash.as_str(),
        };
        let string_to_sign = |names| {
            let digest = hash.hex(&request.canonical(names)).ok_or(unavailable)?;
            let mut text = Vec::with_capacity(96);
            text.extend_from_slice(authorization.scheme.name().as_bytes());
            text.push(b'\n');
            text.extend_from_slice(digest.as_str().as_bytes());
            Ok(Zeroizing::new(text))
        };
        let names = || received.parameters.of_query().map(|(name, _)| name);
        let differs = names().any(needs_encoding) && !names().any(is_ambiguous_raw);
        Ok(Self {
            scheme: authorization.scheme,
            action,
            version,
            access_key_id,
            security_token,
            nonce: Some(nonce),
            timestamp,
            scope: authorization.scope,
            string_to_sign: string_to_sign(Names::Encoded)?,
            with_raw_names: differs.then(|| string_to_sign(Names::Raw)).transpose()?,
            signature: SignatureBytes::of_hex(authorization.signature)?,
            body_agrees,
            may_be_shown: true,
        })
    }
}

/// Whether a name that is not encoded could be read as something else: as more
/// than one parameter, as an encoded name, or as another line. Two requests
/// would have one signature then.
fn is_ambiguous_raw(name: &str) -> bool {
    name.chars().any(|c| matches!(c, '&' | '=' | '%') || c.is_control())
}

/// The signed headers with their values in the order of `SignedHeaders`.
fn signed_headers<'r>(
    received: &Received<'r>,
    authorization: &Authorization<'r>,
) -> Result<Vec<(&'r str, &'r [u8])>, ClaimError> {
    let mut headers = Vec::with_capacity(16);
    for name in authorization.names() {
        let mut values = received.headers.get_all(name).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value.as_bytes().trim_ascii(),
            (Some(_), Some(_)) => return Err(incomplete("a signed header occurs twice")),
            (None, _) => match received.authority {
                Some(authority) if name == HOST.as_str() => authority.as_bytes(),
                _ => return Err(incomplete("a signed header is missing")),
            },
        };
        headers.push((name, value));
    }
    Ok(headers)
}
