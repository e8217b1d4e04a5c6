//! Sessions of roles: who holds one proves it with a token that this vault
//! sealed, so that nothing about a session is kept on disk (ram.md section 4.1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::directory::RoleEntry;
use super::{AuthError, Directory};
use crate::model::{AccessKeyId, AccountId, Timestamp};
use crate::ram::{Attached, Policy, PolicyKind, PolicySet, Principal};
use crate::rpc::signature::SigningKey;
use crate::seal::{SealError, Tickets};

/// What access key ids of sessions begin with.
pub(super) const TEMPORARY: &str = "STS.";
/// Letters and digits of the secret of a session (ram.md section 4.1).
const SECRET_LENGTH: usize = 44;
/// Sessions whose opened tokens are kept in memory.
const KEPT: usize = 10_000;

/// A session of a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// The access key that signs for it.
    #[serde(rename = "k")]
    pub access_key_id: AccessKeyId,
    /// The id of the role.
    #[serde(rename = "r")]
    pub role_id: String,
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// When it was begun.
    #[serde(rename = "i")]
    pub issued: Timestamp,
    /// When it ends at the latest.
    #[serde(rename = "e")]
    pub expires: Timestamp,
    /// Who became whom: the principals, by their ARNs, each of which took on
    /// the role of the next, the last of them this one.
    #[serde(rename = "c")]
    pub chain: Vec<String>,
    /// What the caller said of whom it is for.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
    /// The policy that narrows it.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// A session as its calls are checked.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) session: Arc<Session>,
    pub(super) signing: SigningKey,
    policy: Option<Attached>,
    prepared: ArcSwapOption<Prepared>,
}

/// What follows from a session and one state of the directory.
#[derive(Debug)]
pub(super) struct Prepared {
    directory_version: u64,
    pub(super) principal: Arc<Principal>,
    pub(super) arn: Arc<str>,
    /// `ROLEID:SESSION`.
    pub(super) id: Arc<str>,
    /// `ROLE:SESSION`.
    pub(super) name: Arc<str>,
    /// The id of the role.
    pub(super) role_id: Arc<str>,
    pub(super) policies: Arc<PolicySet>,
}

impl SessionEntry {
    /// The role, if the session still has it at `now`: a session outlives
    /// neither its role nor the time that the role now gives, nor a revocation
    /// (ram.md, rule E8).
    pub(super) fn role<'d>(&self, directory: &'d Directory, now: Timestamp) -> Option<&'d RoleEntry> {
        let session = &self.session;
        let role = directory.role_by_id(&session.role_id)?;
        let record = &role.record;
        let is_revoked = record.revoked_until.is_some_and(|moment| session.issued <= moment);
        let longest = session.issued.plus_seconds(i64::from(record.max_session_seconds));
        (!is_revoked && now < session.expires.min(longest)).then_some(role)
    }

    /// What its calls are decided by.
    pub(super) fn prepared(
        &self,
        account: &AccountId,
        directory: &Directory,
        role: &RoleEntry,
    ) -> Arc<Prepared> {
        if let Some(prepared) = self.prepared.load_full()
            && prepared.directory_version == directory.version
        {
            return prepared;
        }
        let (record, session) = (&role.record, &self.session);
        let policies = match &self.policy {
            Some(policy) => Arc::new(PolicySet::clone(&role.policies).with_session(policy.clone())),
            None => Arc::clone(&role.policies),
        };
        let principal = Principal::AssumedRole {
            account: account.as_str().into(),
            role: record.name.as_str().into(),
            session: session.name.as_str().into(),
        };
        let prepared = Arc::new(Prepared {
            directory_version: directory.version,
            arn: principal.condition_arn().into(),
            principal: Arc::new(principal),
            id: format!("{}:{}", record.id, session.name).into(),
            name: format!("{}:{}", record.name, session.name).into(),
            role_id: record.id.as_str().into(),
            policies,
        });
        self.prepared.store(Some(Arc::clone(&prepared)));
        prepared
    }
}

/// Opens tokens, and remembers what stood in them.
#[derive(Debug)]
pub(super) struct Sessions {
    tickets: Tickets,
    /// By the SHA-256 of the token.
    known: Mutex<HashMap<[u8; 32], Arc<SessionEntry>>>,
}

impl Sessions {
    pub(super) fn new(tickets: Tickets) -> Self {
        Self { tickets, known: Mutex::default() }
    }

    /// The secret and the token of a session.
    pub(super) fn issue(&self, session: &Session) -> Result<(SecretBytes, Zeroizing<String>), SealError> {
        let text = serde_json::to_vec(session).ok().ok_or(SealError::Local)?;
        let secret = self.tickets.secret(session.access_key_id.as_str(), SECRET_LENGTH)?;
        Ok((secret, self.tickets.seal(&text)?))
    }

    /// The session that a token is of.
    pub(super) fn open(&self, token: &str, now: Timestamp) -> Result<Arc<SessionEntry>, AuthError> {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(entry) = known {
            return Ok(entry);
        }
        let entry = Arc::new(self.read(token).ok_or(AuthError::BadToken)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, entry| entry.session.expires > now);
        }
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, Arc::clone(&entry));
        Ok(entry)
    }

    fn read(&self, token: &str) -> Option<SessionEntry> {
        let text = self.tickets.open(token).ok()?;
        let session: Session = serde_json::from_slice(&text).ok()?;
        let policy = match &session.policy {
            None => None,
            Some(text) => {
                let policy = Policy::parse(PolicyKind::Session, text).ok()?;
                Some(Attached::new("session", Arc::new(policy)))
            }
        };
        let secret = self.tickets.secret(session.access_key_id.as_str(), SECRET_LENGTH).ok()?;
        let signing = SigningKey::new(secret.expose());
        Some(SessionEntry { session: Arc::new(session), signing, policy, prepared: ArcSwapOption::empty() })
    }
}
