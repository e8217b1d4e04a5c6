//! From a claim to a caller.

use std::sync::Arc;

use super::directory::folded;
use super::session::TEMPORARY;
use super::{CLOCK_WINDOW_SECONDS, Identities, Session};
use crate::model::{AccessKeyId, AccessKeyStatus, Timestamp, UserName};
use crate::ram::{PolicySet, Principal};
use crate::rpc::signature::Claim;
use crate::seal::SealError;

/// Why a claim is not believed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The time of the request is too far from the present.
    #[error("the request was signed more than 15 minutes ago or ahead")]
    Expired,
    /// There is no such access key.
    #[error("there is no such access key")]
    UnknownKey,
    /// The access key is switched off.
    #[error("the access key is not active")]
    InactiveKey,
    /// The signature is not that of the key's holder.
    #[error("the signature does not fit")]
    BadSignature,
    /// The nonce was used before.
    #[error("the nonce was used before")]
    NonceUsed,
    /// The request carries a security token that this vault did not make.
    #[error("the security token is not valid")]
    BadToken,
    /// The security token belongs to another access key.
    #[error("the security token belongs to another access key")]
    ForeignToken,
    /// The session of the security token is over, or was revoked with its role.
    #[error("the session is over")]
    SessionOver,
    /// The access key is a temporary one, and its token is missing.
    #[error("the security token of the temporary access key is missing")]
    MissingToken,
    /// The key's secret could not be opened.
    #[error("open the secret of the access key")]
    Key(#[source] SealError),
}

/// Who signed a request. Made by [`Identities::authenticate`] only.
#[derive(Debug, Clone)]
#[expect(clippy::manual_non_exhaustive, reason = "nobody else in this crate may make one either")]
pub struct Caller {
    /// The principal, as policies name it.
    pub principal: Arc<Principal>,
    /// The value of `acs:PrincipalArn`.
    pub principal_arn: Arc<str>,
    /// The user's id; `ROLEID:SESSION` for the session of a role.
    pub id: Arc<str>,
    /// The user's name; `ROLE:SESSION` for the session of a role.
    pub name: Arc<str>,
    /// The user; `None` for the session of a role.
    pub user: Option<UserName>,
    /// The session, for that of a role.
    pub session: Option<Arc<Session>>,
    /// Whose quota the call counts against: all sessions of a role have one.
    pub quota: Arc<str>,
    /// The key that signed.
    pub access_key_id: AccessKeyId,
    /// The policies of the user and its groups, or of the role and the session.
    pub policies: Arc<PolicySet>,
    /// The version of the directory that was asked.
    pub directory_version: u64,
    _made_here: (),
}

impl Identities {
    /// Checks time, key, signature and nonce, in that order (kms-secrets.md
    /// section 2.9). An unknown access key does the same work as a known one.
    /// Waits only when the secret of the key was never opened before.
    ///
    /// # Errors
    ///
    /// [`AuthError`]; the nonce is taken only when all else is right.
    pub async fn authenticate(&self, claim: &Claim<'_>) -> Result<Caller, AuthError> {
        let moment = self.clock.now();
        let now = moment.millis().div_euclid(1000);
        if (now - claim.unix_seconds()).abs() > CLOCK_WINDOW_SECONDS {
            return Err(AuthError::Expired);
        }
        if claim.access_key_id().starts_with(TEMPORARY) {
            return self.authenticate_session(claim, moment);
        }
        let known = self.directory.load().keys.get(claim.access_key_id()).map(Arc::clone);
        let Some(entry) = known else {
            // The answer does not depend on it: nobody holds this key.
            std::hint::black_box(claim.verify(&self.nobody));
            return Err(AuthError::UnknownKey);
        };
        let key = self.open_key(&entry).await.map_err(AuthError::Key)?;
        let signed = claim.verify(&key);
        // As it is now: opening the key may have waited, and a key that was
        // switched off meanwhile does not sign.
        let directory = self.directory.load();
        let entry = directory.keys.get(claim.access_key_id()).ok_or(AuthError::UnknownKey)?;
        if let Some(token) = claim.security_token() {
            return Err(self
                .sessions
                .open(token, moment)
                .map_or_else(|error| error, |_| AuthError::ForeignToken));
        }
        if !signed {
            return Err(AuthError::BadSignature);
        }
        if entry.record.status != AccessKeyStatus::Active {
            return Err(AuthError::InactiveKey);
        }
        let user = directory.users.get(&folded(entry.record.user.as_str())).ok_or(AuthError::UnknownKey)?;
        if let Some(nonce) = claim.nonce()
            && !self.nonces.take(claim.access_key_id(), nonce, claim.unix_seconds(), now)
        {
            return Err(AuthError::NonceUsed);
        }
        Ok(Caller {
            principal: Arc::clone(&user.principal),
            principal_arn: Arc::clone(&user.arn),
            id: Arc::clone(&user.id),
            name: Arc::clone(&user.name),
            user: Some(user.record.name.clone()),
            session: None,
            quota: Arc::clone(&user.id),
            access_key_id: entry.record.id.clone(),
            policies: Arc::clone(&user.policies),
            directory_version: directory.version,
            _made_here: (),
        })
    }

    /// The same for a session: its key is in no table, but follows from its token.
    fn authenticate_session(&self, claim: &Claim<'_>, now: Timestamp) -> Result<Caller, AuthError> {
        let token = claim.security_token().ok_or(AuthError::MissingToken)?;
        let entry = self.sessions.open(token, now).inspect_err(|_| {
            std::hint::black_box(claim.verify(&self.nobody));
        })?;
        let session = &entry.session;
        if session.access_key_id.as_str() != claim.access_key_id() {
            return Err(AuthError::ForeignToken);
        }
        if !claim.verify(&entry.signing) {
            return Err(AuthError::BadSignature);
        }
        let directory = self.directory.load();
        let role = entry.role(&directory, now).ok_or(AuthError::SessionOver)?;
        let seconds = now.millis().div_euclid(1000);
        if let Some(nonce) = claim.nonce()
            && !self.nonces.take(claim.access_key_id(), nonce, claim.unix_seconds(), seconds)
        {
            return Err(AuthError::NonceUsed);
        }
        let prepared = entry.prepared(&self.account, &directory, role);
        Ok(Caller {
            principal: Arc::clone(&prepared.principal),
            principal_arn: Arc::clone(&prepared.arn),
            id: Arc::clone(&prepared.id),
            name: Arc::clone(&prepared.name),
            user: None,
            session: Some(Arc::clone(session)),
            quota: Arc::clone(&prepared.role_id),
            access_key_id: session.access_key_id.clone(),
            policies: Arc::clone(&prepared.policies),
            directory_version: directory.version,
            _made_here: (),
        })
    }

    /// Takes the nonce of a request that was accepted before this process
    /// began, as the audit journal tells, so that a restart opens no window
    /// for replays.
    pub fn remember(&self, access_key_id: &str, nonce: &str, signed_seconds: i64) {
        let now = self.clock.now().millis().div_euclid(1000);
        self.nonces.take(access_key_id, nonce, signed_seconds, now);
    }
}
