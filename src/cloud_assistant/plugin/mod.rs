//! The protocol of the rotation plug-in (cloud-assistant.md sections 5.2 to 5.5).
//!
//! Of what the vault makes for Linux nothing secret travels: a password goes as
//! its salted crypt(3) hash, useless to a thief because the password has more
//! than 128 bits, an SSH key as its public half. Windows passwords, and values
//! that a person chose, go sealed to a key of the instance. Output is untrusted: [`Report::find`] limits and
//! checks every part of it.

mod report;
mod script;
mod sealing;

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use crate::model::rotation::SealedPayload;
use crate::model::{InstanceId, OsUser, RotationId, SecretId, SecretSubType};

pub use self::report::{Code, Facts, Journal, NoReport, Proof, Report, SshdFacts, UserFacts, Word};
pub use self::script::{LINUX_PLUGIN, REQUEST_PARAMETER, WINDOWS_PLUGIN, command_name, script};
pub use self::sealing::{SealingError, seal, sealing_key};

/// Longest request, in characters of base64url.
pub const MAX_REQUEST: usize = 12 * 1024;

/// What the plug-in is to do (section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Check whether the credential could be changed; changes nothing.
    Prepare,
    /// Put the new credential in force; for SSH keys beside the old one.
    Apply,
    /// Say what is in force, with proof; changes nothing.
    Verify,
    /// Remove old SSH keys; forget the earlier password.
    Finalize,
    /// Say what is in force and what the journal holds.
    Status,
    /// Never act on this rotation again, then say what is in force.
    Fence,
}

impl Op {
    /// The word in requests and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Finalize => "finalize",
            Self::Status => "status",
            Self::Fence => "fence",
        }
    }

    /// Whether it says what is in force, and changes nothing of it.
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(self, Self::Fence | Self::Status | Self::Verify)
    }

    const fn letter(self) -> char {
        match self {
            Self::Prepare => 'p',
            Self::Apply => 'a',
            Self::Verify => 'v',
            Self::Finalize => 'f',
            Self::Status => 's',
            Self::Fence => 'x',
        }
    }
}

/// What makes one request and its retries one to Cloud Assistant (section 5.2):
/// `sr-<rid>-<letter of op>-<attempt>`, at most 64 characters.
///
/// ```
/// use strongroom::cloud_assistant::plugin::{Op, client_token};
/// use strongroom::model::RotationId;
///
/// let rid = RotationId::parse("00112233445566778899aabbccddeeff")?;
/// assert_eq!(client_token(&rid, Op::Apply, 2), "sr-00112233445566778899aabbccddeeff-a-2");
/// # Ok::<(), strongroom::model::InvalidId>(())
/// ```
#[must_use]
pub fn client_token(rid: &RotationId, op: Op, attempt: u32) -> String {
    format!("sr-{rid}-{}-{attempt}", op.letter())
}

/// What a report must answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The rotation.
    pub rid: RotationId,
    /// The step.
    pub op: Op,
}

/// What the plug-in is told (section 5.5). `Debug` leaves out hash and keys.
///
/// Its JSON is the same each time it is written, which Cloud Assistant demands
/// of a repeated call.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// The secret.
    pub sid: SecretId,
    /// The rotation.
    pub rid: RotationId,
    /// Counts the rotations of the secret.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// Counts the requests of one step, from 1.
    #[serde(rename = "att")]
    pub attempt: u32,
    /// The instance that this is meant for; the plug-in refuses on any other.
    #[serde(rename = "inst")]
    pub instance: InstanceId,
    /// Whose credential.
    pub user: OsUser,
    /// Password or key.
    #[serde(serialize_with = "kind")]
    pub kind: SecretSubType,
    /// The new password as a crypt(3) hash, `$6$…` or `$y$…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The new public key, `<type> <base64>` in OpenSSH's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// With [`Op::Prepare`]: make a key pair to seal to.
    #[serde(rename = "ks", serialize_with = "key_source", skip_serializing_if = "is_unwanted")]
    pub wants_key: bool,
    /// The new credential, sealed.
    #[serde(rename = "enc", skip_serializing_if = "Option::is_none")]
    pub payload: Option<SealedPayload>,
    /// Fingerprints (`SHA256:…`) of keys that `finalize` removes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Wishes.
    #[serde(rename = "opt")]
    pub options: Options,
}

/// Wishes that go with a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Set the password of an account that was locked on purpose, too.
    pub unlock: bool,
    /// With [`Op::Fence`]: take back an SSH key that was added and not committed.
    pub remove_added: bool,
    /// How often the password is rotated, in days, so that the plug-in can warn
    /// of an account on which passwords end sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_days: Option<u32>,
}

/// A request that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It does not become JSON.
    #[error("could not write the request as JSON")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// It is longer than [`MAX_REQUEST`].
    #[error("the request is longer than {MAX_REQUEST} characters")]
    TooLong,
}

impl Request {
    /// What a report on this request must answer to.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked { rid: self.rid.clone(), op: self.op }
    }

    /// The value of the command's parameter: base64url without padding of the
    /// JSON. Parameters are put into the script as text, unquoted, so only
    /// letters, digits, `-` and `_` may travel (section 1.3).
    ///
    /// # Errors
    ///
    /// [`RequestError`] when it is too long.
    pub fn encode(&self) -> Result<String, RequestError> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            v: u8,
            #[serde(flatten)]
            request: &'a Request,
        }
        let json = serde_json::to_vec(&Versioned { v: 1, request: self })
            .map_err(|source| RequestError::Json { source })?;
        let text = BASE64URL_NOPAD.encode(&json);
        if text.len() > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        Ok(text)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("op", &self.op)
            .field("rid", &self.rid)
            .field("generation", &self.generation)
            .field("attempt", &self.attempt)
            .field("instance", &self.instance)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_unwanted(wants_key: &bool) -> bool {
    !*wants_key
}

/// The plug-in makes the key itself (section 5.4).
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn key_source<S: serde::Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("plugin")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn kind<S: serde::Serializer>(kind: &SecretSubType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        SecretSubType::Password => "password",
        SecretSubType::SshKey => "sshkey",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            op: Op::Apply,
            sid: SecretId::from_random(&[1; 16]),
            rid: RotationId::from_random(&[2; 16]),
            generation: 7,
            attempt: 1,
            instance: InstanceId::parse("i-bp1").unwrap(),
            user: OsUser::parse("root").unwrap(),
            kind: SecretSubType::Password,
            hash: Some("$6$rounds=65536$salt$hash".to_owned()),
            key: None,
            wants_key: false,
            payload: None,
            remove: Vec::new(),
            options: Options::default(),
        }
    }

    #[test]
    fn a_request_travels_as_base64url_of_the_documented_json() {
        let text = request().encode().unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let json: serde_json::Value =
            serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "v": 1, "op": "apply", "sid": "01".repeat(16), "rid": "02".repeat(16),
                "gen": 7, "att": 1, "inst": "i-bp1", "user": "root", "kind": "password",
                "hash": "$6$rounds=65536$salt$hash", "opt": {"unlock": false, "remove_added": false},
            })
        );
        assert_eq!(text, request().encode().unwrap());
    }

    #[test]
    fn a_request_that_is_too_long_is_not_sent() {
        let long = Request { key: Some("k".repeat(MAX_REQUEST)), ..request() };
        assert!(matches!(long.encode(), Err(RequestError::TooLong)));
    }

    #[test]
    fn debug_output_leaves_the_hash_out() {
        assert!(!format!("{:?}", request()).contains("salt"));
    }

    #[test]
    fn client_tokens_differ_by_step_and_attempt_and_fit() {
        let rid = RotationId::from_random(&[2; 16]);
        let ops = [Op::Prepare, Op::Apply, Op::Verify, Op::Finalize, Op::Status, Op::Fence];
        let tokens: std::collections::HashSet<_> =
            ops.iter().flat_map(|op| [1, 2, u32::MAX].map(|att| client_token(&rid, *op, att))).collect();
        assert_eq!(tokens.len(), 18);
        assert!(tokens.iter().all(|token| token.len() <= 64));
    }
}
