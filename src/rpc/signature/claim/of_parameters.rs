//! Claims of V1 (kms-secrets.md section 2.4).

use super::{
    Claim, ClaimError, MAX_ID, MAX_NONCE, MAX_TOKEN, Received, Rules, SignatureBytes, bounded, path_of,
    time_of,
};
use crate::rpc::encoding::Parameters;
use crate::rpc::signature::Scheme;
use crate::rpc::signature::canonical::v1_string_to_sign;

impl<'r> Claim<'r> {
    pub(super) fn of_parameters(
        received: &Received<'r>,
        signature: &str,
        rules: Rules,
    ) -> Result<Self, ClaimError> {
        let common = Common::of(received.parameters);
        let required = |value: Option<&'r str>, name| value.ok_or(ClaimError::MissingParameter { name });
        let fixed = |value, wanted: &str, name| {
            if required(value, name)? == wanted { Ok(()) } else { Err(ClaimError::InvalidParameter { name }) }
        };
        let access_key_id = bounded(required(common.access_key_id, "AccessKeyId")?, MAX_ID, "AccessKeyId")?;
        fixed(common.method, "HMAC-SHA1", "SignatureMethod")?;
        fixed(common.signature_version, "1.0", "SignatureVersion")?;
        if common.kind.is_some_and(|kind| !kind.is_empty()) {
            return Err(ClaimError::InvalidParameter { name: "SignatureType" });
        }
        let action = required(common.action, "Action")?;
        let version = required(common.version, "Version")?;
        let timestamp = time_of(common.timestamp)?;
        let nonce = match common.nonce {
            Some(nonce) => Some(bounded(nonce, MAX_NONCE, "SignatureNonce")?),
            None if rules.v1_needs_nonce => {
                return Err(ClaimError::MissingParameter { name: "SignatureNonce" });
            }
            None => None,
        };
        let security_token =
            common.security_token.map(|token| bounded(token, MAX_TOKEN, "SecurityToken")).transpose()?;
        Ok(Self {
            scheme: Scheme::V1,
            action,
            version,
            access_key_id,
            security_token,
            nonce,
            timestamp,
            scope: None,
            string_to_sign: v1_string_to_sign(received.method, path_of(received), received.parameters),
            with_raw_names: None,
            signature: SignatureBytes::of_base64(signature)?,
            body_agrees: true,
            may_be_shown: !common.holds_secret,
        })
    }
}

/// The parameters that every V1 request has, gathered in one pass: looking each
/// up would take longer than the HMAC.
#[derive(Default)]
struct Common<'r> {
    access_key_id: Option<&'r str>,
    action: Option<&'r str>,
    nonce: Option<&'r str>,
    security_token: Option<&'r str>,
    method: Option<&'r str>,
    kind: Option<&'r str>,
    signature_version: Option<&'r str>,
    timestamp: Option<&'r str>,
    version: Option<&'r str>,
    /// A parameter is there that makes the string to sign unfit to be shown
    /// (kms-secrets.md section 2.10).
    holds_secret: bool,
}

impl<'r> Common<'r> {
    fn of(parameters: &'r Parameters) -> Self {
        let mut common = Self::default();
        for (name, value) in parameters.iter() {
            match name {
                "AccessKeyId" => common.access_key_id = Some(value),
                "Action" => common.action = Some(value),
                "CiphertextBlob" | "Plaintext" | "SecretData" => common.holds_secret = true,
                "SecurityToken" => common.security_token = Some(value),
                "SignatureMethod" => common.method = Some(value),
                "SignatureNonce" => common.nonce = Some(value),
                "SignatureType" => common.kind = Some(value),
                "SignatureVersion" => common.signature_version = Some(value),
                "Timestamp" => common.timestamp = Some(value),
                "Version" => common.version = Some(value),
                _ => {}
            }
        }
        common
    }
}
