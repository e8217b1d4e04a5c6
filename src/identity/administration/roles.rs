//! Roles.

use super::{Edit, IdentityError, random_digits};
use crate::audit::Access;
use crate::identity::Identities;
use crate::identity::directory::folded;
use crate::model::{Holder, RoleName, RoleRecord, Timestamp};
use crate::ram::{Policy, PolicyKind};
use crate::store::IdentityTable;

/// Roles of an account at most (ram.md section 1.2).
const MAX_ROLES: usize = 1_000;

/// What is to change of a role; what is not said stays.
#[derive(Debug, Clone, Default)]
pub struct RoleChange {
    /// The new trust policy.
    pub trust: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// How long a session lasts at most, in seconds; those that go on end by it as well.
    pub max_session_seconds: Option<u32>,
}

impl Identities {
    /// Creates a role without rights, for those whom its trust policy names.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`] when the trust policy breaks a rule of ram.md
    /// section 1.2, [`IdentityError::Exists`], [`IdentityError::Limit`].
    pub async fn create_role(
        &self,
        _access: &Access,
        name: RoleName,
        description: String,
        trust: String,
        max_session_seconds: u32,
    ) -> Result<RoleRecord, IdentityError> {
        Policy::parse(PolicyKind::Trust, &trust).map_err(IdentityError::Policy)?;
        let now = self.clock.now();
        let record = RoleRecord {
            id: random_digits()?,
            name,
            description,
            trust,
            max_session_seconds,
            created: now,
            updated: now,
            service: None,
            revoked_until: None,
            deletion: None,
        };
        self.edit(async |directory| {
            if directory.role(&record.name).is_some() {
                return Err(IdentityError::Exists("Role"));
            }
            if directory.roles.len() >= MAX_ROLES {
                return Err(IdentityError::Limit("Role"));
            }
            Ok(vec![self.put(IdentityTable::Roles, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Changes a role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`], [`IdentityError::Missing`],
    /// [`IdentityError::ServiceRole`].
    pub async fn update_role(
        &self,
        _access: &Access,
        name: &RoleName,
        change: RoleChange,
    ) -> Result<RoleRecord, IdentityError> {
        if let Some(trust) = &change.trust {
            Policy::parse(PolicyKind::Trust, trust).map_err(IdentityError::Policy)?;
        }
        let mut changed = None;
        self.edit(async |directory| {
            let before = directory.role(name).ok_or(IdentityError::Missing("Role"))?;
            if before.service.is_some() {
                return Err(IdentityError::ServiceRole);
            }
            let after = RoleRecord {
                trust: change.trust.unwrap_or_else(|| before.trust.clone()),
                description: change.description.unwrap_or_else(|| before.description.clone()),
                max_session_seconds: change.max_session_seconds.unwrap_or(before.max_session_seconds),
                updated: self.clock.now(),
                ..before.clone()
            };
            let edit = self.put(IdentityTable::Roles, folded(name.as_str()), &after, true)?;
            changed = Some(after);
            Ok(vec![edit])
        })
        .await?;
        changed.ok_or(IdentityError::Missing("Role"))
    }

    /// Ends all sessions of a role that were begun until now.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`].
    pub async fn revoke_sessions(
        &self,
        _access: &Access,
        name: &RoleName,
    ) -> Result<Timestamp, IdentityError> {
        let now = self.clock.now();
        self.edit(async |directory| {
            let mut role = directory.role(name).ok_or(IdentityError::Missing("Role"))?.clone();
            // A clock that was set back takes no revocation away.
            role.revoked_until = role.revoked_until.max(Some(now));
            Ok(vec![self.put(IdentityTable::Roles, folded(name.as_str()), &role, true)?])
        })
        .await?;
        Ok(now)
    }

    /// Deletes a role that has no policies; its sessions end with it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`],
    /// [`IdentityError::ServiceRole`].
    pub async fn delete_role(&self, _access: &Access, name: &RoleName) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let role = directory.role(name).ok_or(IdentityError::Missing("Role"))?;
            if role.service.is_some() {
                return Err(IdentityError::ServiceRole);
            }
            if !directory.attached(&Holder::Role(role.name.clone())).is_empty() {
                return Err(IdentityError::InUse("Role.Policy"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Roles, key: folded(name.as_str()) }])
        })
        .await
    }
}
