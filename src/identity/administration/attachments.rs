//! Which policy is attached to whom.

use super::{Edit, IdentityError};
use crate::audit::Access;
use crate::identity::directory::attachment_key;
use crate::identity::{Directory, Identities};
use crate::model::{Attachment, Holder, PolicyName, PolicyType};
use crate::store::IdentityTable;

/// System policies attached to a user, group or role at most (ram.md section 1.2).
const MAX_SYSTEM: usize = 20;
/// Custom policies attached to a user at most (ram.md section 1.2).
const MAX_CUSTOM_OF_USER: usize = 10;
/// Custom policies attached to a group or role at most (ram.md section 1.2).
const MAX_CUSTOM_OF_OTHERS: usize = 5;

/// `User.Policy` and the like, as error codes have it.
const fn policy_of(holder: &Holder) -> &'static str {
    match holder {
        Holder::User(_) => "User.Policy",
        Holder::Group(_) => "Group.Policy",
        Holder::Role(_) => "Role.Policy",
    }
}

/// The holder as it is spelled in the directory.
fn stored(directory: &Directory, holder: &Holder) -> Result<Holder, IdentityError> {
    let found = match holder {
        Holder::User(name) => directory.user(name).map(|u| Holder::User(u.name.clone())),
        Holder::Group(name) => directory.group(name).map(|g| Holder::Group(g.name.clone())),
        Holder::Role(name) => {
            let role = directory.role(name);
            if role.is_some_and(|role| role.service.is_some()) {
                return Err(IdentityError::ServiceRole);
            }
            role.map(|r| Holder::Role(r.name.clone()))
        }
    };
    found.ok_or(IdentityError::Missing(holder.kind()))
}

impl Identities {
    /// Attaches a policy to a user, group or role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::Exists`] when it is
    /// attached already, [`IdentityError::Limit`], [`IdentityError::ServiceRole`].
    pub async fn attach(
        &self,
        _access: &Access,
        holder: &Holder,
        kind: PolicyType,
        policy: &PolicyName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let holder = stored(directory, holder)?;
            let policy = directory.policy(kind, policy).ok_or(IdentityError::Missing("Policy"))?.name;
            let attached = directory.attached(&holder);
            if attached.iter().any(|a| a.policy.kind == kind && a.policy.name == policy) {
                return Err(IdentityError::Exists(policy_of(&holder)));
            }
            let limit = match (kind, &holder) {
                (PolicyType::System, _) => MAX_SYSTEM,
                (PolicyType::Custom, Holder::User(_)) => MAX_CUSTOM_OF_USER,
                (PolicyType::Custom, Holder::Group(_) | Holder::Role(_)) => MAX_CUSTOM_OF_OTHERS,
            };
            if attached.iter().filter(|a| a.policy.kind == kind).count() >= limit {
                return Err(IdentityError::Limit(policy_of(&holder)));
            }
            let key = attachment_key(&holder, kind, &policy);
            let record = Attachment { holder, policy, kind, attached: self.clock.now() };
            Ok(vec![self.put(IdentityTable::Attachments, key, &record, false)?])
        })
        .await
    }

    /// Detaches a policy from a user, group or role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`] when it is not attached,
    /// [`IdentityError::ServiceRole`].
    pub async fn detach(
        &self,
        _access: &Access,
        holder: &Holder,
        kind: PolicyType,
        policy: &PolicyName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let holder = stored(directory, holder)?;
            let key = attachment_key(&holder, kind, policy);
            if !directory.attachments.contains_key(&key) {
                return Err(IdentityError::Missing(policy_of(&holder)));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Attachments, key }])
        })
        .await
    }
}
