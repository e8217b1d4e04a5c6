//! Taking a role on.

use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::{IdentityError, random_text};
use crate::audit::Access;
use crate::identity::session::TEMPORARY;
use crate::identity::{Caller, Identities, Session};
use crate::model::{AccessKeyId, RoleName, RoleRecord};
use crate::seal::SealError;

/// How long a session lasts when nothing is said, and one at most that another
/// session began, in seconds (ram.md section 4.1).
const USUAL_SECONDS: u32 = 3_600;
/// Letters and digits of a session's access key id after its beginning.
const ID_LENGTH: usize = 24;
/// Bytes of a token at most, which is what requests may carry.
const MAX_TOKEN: usize = 8 * 1_024;
/// Principals that a session remembers to have come from; of a longer chain the
/// first, who is a user, and the last.
const MAX_CHAIN: usize = 8;

/// What a session is told to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The role.
    pub role: RoleName,
    /// The session's name.
    pub name: String,
    /// How long it lasts, in seconds.
    pub seconds: Option<u32>,
    /// A policy that narrows it, known to be valid.
    pub policy: Option<String>,
    /// Whom it is for, if that is said.
    pub source_identity: Option<String>,
}

/// What calls of a session are signed with.
#[derive(Debug)]
pub struct SessionCredentials {
    /// The session.
    pub session: Session,
    /// Its role.
    pub role: RoleRecord,
    /// The secret of its access key.
    pub secret: SecretBytes,
    /// What comes along with every call.
    pub token: Zeroizing<String>,
}

impl Identities {
    /// Begins a session of a role for a caller whom its trust policy lets.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`]; [`IdentityError::SessionSeconds`] when it is
    /// to last longer than it may; [`IdentityError::TokenLength`] when the
    /// policy is too long to come along with every call.
    pub fn assume_role(
        &self,
        _access: &Access,
        caller: &Caller,
        new: NewSession,
    ) -> Result<SessionCredentials, IdentityError> {
        let directory = self.directory();
        let role = directory.role(&new.role).ok_or(IdentityError::Missing("Role"))?.clone();
        let chained = if caller.session.is_some() { USUAL_SECONDS } else { u32::MAX };
        let longest = role.max_session_seconds.min(chained);
        let seconds = new.seconds.unwrap_or(USUAL_SECONDS);
        if seconds > longest {
            return Err(IdentityError::SessionSeconds { longest });
        }
        let (_, suffix) = random_text(ID_LENGTH)?;
        let id = format!("{TEMPORARY}{}", suffix.as_str());
        let issued = self.clock.now();
        let session = Session {
            access_key_id: AccessKeyId::parse(&id).ok().ok_or(SealError::Local)?,
            role_id: role.id.clone(),
            name: new.name,
            issued,
            expires: issued.plus_seconds(i64::from(seconds)),
            chain: chain(caller),
            source_identity: new.source_identity,
            policy: new.policy,
        };
        let (secret, token) = self.sessions.issue(&session)?;
        match token.len() <= MAX_TOKEN {
            true => Ok(SessionCredentials { session, role, secret, token }),
            false => Err(IdentityError::TokenLength),
        }
    }
}

fn chain(caller: &Caller) -> Vec<String> {
    let before = caller.session.as_ref().map_or(&[][..], |session| &session.chain);
    let mut chain: Vec<String> = before.iter().cloned().chain([caller.principal.to_string()]).collect();
    if chain.len() > MAX_CHAIN {
        chain.remove(1);
    }
    chain
}
