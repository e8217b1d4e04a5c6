//! What the vault asks for. Everything is checked here, once, before anything
//! of the system is touched.

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::crypt::Field;
use crate::public_key::{Fingerprint, PublicKey};
use crate::sealed::Envelope;
use crate::user_name::UserName;

/// Longest request, in characters of base64url (contract section 5.3).
const MAX_ENCODED_CHARS: usize = 12_288;

/// Most fingerprints that one request may name.
const MAX_REMOVE: usize = 64;

/// Largest generation: the largest whole number that every JSON reader keeps.
const MAX_GENERATION: u64 = (1 << 53) - 1;

/// The six operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    /// Check what can be checked; change nothing.
    Prepare,
    /// Put the new credential in force.
    Apply,
    /// Say again what is in force.
    Verify,
    /// Remove what came before.
    Finalize,
    /// Say what is in force, and put the journal right after a crash.
    Status,
    /// Never let this rotation change anything any more.
    Fence,
}

impl Op {
    /// The operation as it is written in a request.
    const fn word(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Finalize => "finalize",
            Self::Status => "status",
            Self::Fence => "fence",
        }
    }
}

/// 32 lower-case hexadecimal characters: a secret or a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Id(String);

impl Id {
    /// Reads an identifier.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 32 && hex).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The two kinds of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A local password.
    Password,
    /// A line of `authorized_keys`.
    SshKey,
}

impl Kind {
    /// The kind as it is written in a request.
    const fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SshKey => "sshkey",
        }
    }
}

/// The credential itself; absent where an operation needs none.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A crypt(5) hash.
    Password(Option<Field>),
    /// A public key.
    SshKey(Option<PublicKey>),
}

/// What may be asked beside the operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    /// Set a password although the account's was locked on purpose.
    pub(crate) unlock: bool,
    /// On `fence`: take back a key that was added and not yet committed.
    pub(crate) remove_added: bool,
    /// How often the vault rotates this password, in days, for a warning.
    pub(crate) interval_days: Option<u32>,
}

/// A request that is well-formed and meant for this instance.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) op: Op,
    /// The secret.
    pub(crate) sid: Id,
    /// The rotation.
    pub(crate) rid: Id,
    /// The rotation's number among those of the secret, from 1.
    pub(crate) generation: u64,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// The instance.
    pub(crate) instance: String,
    /// Whose credential.
    pub(crate) user: UserName,
    /// The credential.
    pub(crate) subject: Subject,
    /// The credential, sealed; then the subject holds none.
    pub(crate) envelope: Option<Envelope>,
    /// `prepare` is to make a key pair to which the credential can be sealed.
    pub(crate) wants_pair: bool,
    /// Keys of this secret to take out on `finalize`.
    pub(crate) remove: Vec<Fingerprint>,
    /// Choices.
    pub(crate) choices: Choices,
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    /// What is wrong with it; never a part of it.
    pub(crate) detail: &'static str,
    /// The request is sound, but for another instance.
    pub(crate) wrong_instance: bool,
    /// The operation, as far as it could be read.
    pub(crate) op: Option<Op>,
    /// The rotation, as far as it could be read.
    pub(crate) rid: Option<String>,
}

impl Request {
    /// Decodes and checks a request for the instance `instance`.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] with the first rule that is broken.
    pub(crate) fn parse(encoded: &str, instance: &str) -> Result<Self, BadRequest> {
        let bad = |detail| BadRequest { detail, wrong_instance: false, op: None, rid: None };
        if encoded.len() > MAX_ENCODED_CHARS {
            return Err(bad("the request is too long"));
        }
        let json = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .ok()
            .ok_or_else(|| bad("the request is not base64url"))?;
        let wire: Wire = serde_json::from_slice(&json)
            .ok()
            .ok_or_else(|| salvage(&json, "the request is not JSON of the agreed form"))?;
        let (op, rid) = (wire.op, wire.rid.clone());
        let told = |detail| BadRequest { op: Some(op), rid: Id::parse(&rid).map(|id| id.0), ..bad(detail) };
        let request = Self::check(wire).map_err(told)?;
        if request.instance != instance {
            return Err(BadRequest { wrong_instance: true, ..told("the request is for another instance") });
        }
        Ok(request)
    }

    /// The kind of the credential.
    pub(crate) const fn kind(&self) -> Kind {
        match self.subject {
            Subject::Password(_) => Kind::Password,
            Subject::SshKey(_) => Kind::SshKey,
        }
    }

    /// The credential as the journal records it: the hash, or the key's
    /// fingerprint.
    pub(crate) fn credential(&self) -> Option<Field> {
        match &self.subject {
            Subject::Password(hash) => hash.clone(),
            Subject::SshKey(key) => key.as_ref().map(|key| Field::new(key.fingerprint().as_str())),
        }
    }

    /// A digest of whose credential this is and which, to notice a rotation
    /// that is repeated with another one.
    pub(crate) fn digest_of(&self, credential: &Field) -> String {
        let mut digest = digest::Context::new(&digest::SHA256);
        for part in [self.kind().word(), self.user.as_str(), credential.expose()] {
            digest.update(part.as_bytes());
            digest.update(b"\n");
        }
        data_encoding::HEXLOWER.encode(digest.finish().as_ref())
    }

    /// What a sealed credential is bound to, so that it serves no other user,
    /// instance, rotation or step (contract section 5.4).
    pub(crate) fn binding(&self) -> String {
        format!(
            "strongroom-v1|{}|{}|{}|{}|{}|{}|{}",
            self.op.word(),
            self.sid.as_str(),
            self.rid.as_str(),
            self.generation,
            self.instance,
            self.kind().word(),
            BASE64URL_NOPAD.encode(self.user.as_str().as_bytes()),
        )
    }

    fn check(wire: Wire) -> Result<Self, &'static str> {
        if wire.v != 1 {
            return Err("only version 1 of the protocol is known");
        }
        if wire.opt.mode == Some(Mode::Pam) {
            return Err("mode pam is not supported by this version");
        }
        if wire.ks == Some(Source::Agent) {
            return Err("key pairs of the agent are not supported by this version");
        }
        let subject = match (wire.kind, wire.hash, wire.key) {
            (Kind::Password, hash, None) => {
                let hash = hash.map(|hash| Field::parse_hash(&hash).ok_or("hash is not a crypt hash"));
                Subject::Password(hash.transpose()?)
            }
            (Kind::SshKey, None, key) => {
                let key = key.map(|key| PublicKey::parse(&key).ok_or("key is not one plain public key"));
                Subject::SshKey(key.transpose()?)
            }
            _ => return Err("the credential is of another kind"),
        };
        let request = Self {
            op: wire.op,
            sid: Id::parse(&wire.sid).ok_or("sid is not 32 hexadecimal characters")?,
            rid: Id::parse(&wire.rid).ok_or("rid is not 32 hexadecimal characters")?,
            generation: wire.generation,
            attempt: wire.attempt,
            instance: wire.inst,
            user: UserName::parse(&wire.user).ok_or("user is not a user name")?,
            subject,
            envelope: wire.enc,
            wants_pair: wire.op == Op::Prepare && wire.ks == Some(Source::Plugin),
            remove: wire
                .remove
                .iter()
                .map(|text| Fingerprint::parse(text))
                .collect::<Option<_>>()
                .ok_or("remove holds what is not a fingerprint")?,
            choices: Choices {
                unlock: wire.opt.unlock,
                remove_added: wire.opt.remove_added,
                interval_days: wire.opt.interval_days,
            },
        };
        request.check_sense()?;
        Ok(request)
    }

    fn check_sense(&self) -> Result<(), &'static str> {
        if !(1..=MAX_GENERATION).contains(&self.generation) || self.attempt == 0 {
            return Err("gen and att count from 1");
        }
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if self.instance.is_empty() || self.instance.len() > 64 || !self.instance.bytes().all(named) {
            return Err("inst is not an instance id");
        }
        if self.remove.len() > MAX_REMOVE {
            return Err("remove names too many keys");
        }
        if self.envelope.is_some() && (self.op != Op::Apply || self.kind() != Kind::Password) {
            return Err("enc is for the password of apply");
        }
        if self.wants_pair && self.kind() != Kind::Password {
            return Err("a public key is not sealed");
        }
        if self.envelope.is_some() && self.credential().is_some() {
            return Err("hash and enc exclude each other");
        }
        if self.op == Op::Apply && self.envelope.is_none() && self.credential().is_none() {
            return Err("apply needs a credential");
        }
        match &self.subject {
            Subject::Password(_) if !self.remove.is_empty() || self.choices.remove_added => {
                Err("remove is for keys")
            }
            Subject::SshKey(Some(key)) if self.remove.contains(&key.fingerprint()) => {
                Err("remove names the new key")
            }
            Subject::Password(_) | Subject::SshKey(_) => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u8,
    op: Op,
    sid: String,
    rid: String,
    #[serde(rename = "gen")]
    generation: u64,
    #[serde(rename = "att")]
    attempt: u32,
    inst: String,
    user: String,
    kind: Kind,
    #[serde(default)]
    ks: Option<Source>,
    #[serde(default)]
    enc: Option<Envelope>,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    opt: WireChoices,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireChoices {
    unlock: bool,
    mode: Option<Mode>,
    /// Means something on Windows only, and nothing here.
    #[serde(rename = "preserve_dpapi")]
    _preserve_dpapi: bool,
    remove_added: bool,
    interval_days: Option<u32>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Hash,
    Pam,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Source {
    Plugin,
    Agent,
}

/// Reads operation and rotation out of a request that breaks other rules, so
/// that the vault can tell which of its requests was refused.
fn salvage(json: &[u8], detail: &'static str) -> BadRequest {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let member = |name: &str| value.get(name).cloned().unwrap_or_default();
    BadRequest {
        detail,
        wrong_instance: false,
        op: serde_json::from_value(member("op")).ok(),
        rid: member("rid").as_str().and_then(Id::parse).map(|id| id.0),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
