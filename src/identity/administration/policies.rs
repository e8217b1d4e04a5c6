//! Custom policies and their versions.

use super::{Edit, IdentityError};
use crate::audit::Access;
use crate::identity::directory::{attachment_key, folded};
use crate::identity::{Directory, Identities};
use crate::model::{Holder, PolicyName, PolicyRecord, PolicyType, PolicyVersion};
use crate::ram::{Policy, PolicyKind};
use crate::store::IdentityTable;

/// Custom policies of an account at most (ram.md section 1.2).
const MAX_POLICIES: usize = 1_500;
/// Versions of a policy at most (ram.md section 1.2).
const MAX_VERSIONS: usize = 5;

/// What becomes of a new version of a policy that has as many as it may have
/// (`RotateStrategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused.
    Refuse,
    /// The oldest version that is not the default makes room.
    DropOldest,
}

fn record<'d>(directory: &'d Directory, name: &PolicyName) -> Result<&'d PolicyRecord, IdentityError> {
    directory.policies.get(&folded(name.as_str())).ok_or(IdentityError::Missing("Policy"))
}

impl Identities {
    /// Creates a custom policy.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`] when the document breaks a rule of ram.md
    /// section 1.2, [`IdentityError::Exists`], [`IdentityError::Limit`].
    pub async fn create_policy(
        &self,
        _access: &Access,
        name: PolicyName,
        description: String,
        document: String,
    ) -> Result<PolicyRecord, IdentityError> {
        Policy::parse(PolicyKind::Identity, &document).map_err(IdentityError::Policy)?;
        let record = PolicyRecord::new(name, description, document, self.clock.now());
        self.edit(async |directory| {
            let taken = [PolicyType::Custom, PolicyType::System];
            if taken.into_iter().any(|kind| directory.policy(kind, &record.name).is_some()) {
                return Err(IdentityError::Exists("Policy"));
            }
            if directory.policies.len() >= MAX_POLICIES {
                return Err(IdentityError::Limit("Policy"));
            }
            Ok(vec![self.put(IdentityTable::Policies, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Deletes a custom policy: one that is attached to nobody and has one
    /// version, or, when `cascading`, with whatever hangs on it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`].
    pub async fn delete_policy(
        &self,
        _access: &Access,
        name: &PolicyName,
        cascading: bool,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let policy = record(directory, name)?;
            let attached = directory.attachments_of(PolicyType::Custom, policy.name.as_str());
            let mut edits = Vec::new();
            for attachment in attached {
                if !cascading {
                    return Err(IdentityError::InUse(match attachment.holder {
                        Holder::User(_) => "Policy.User",
                        Holder::Group(_) => "Policy.Group",
                        Holder::Role(_) => "Policy.Role",
                    }));
                }
                let key = attachment_key(&attachment.holder, attachment.kind, &attachment.policy);
                edits.push(Edit::Drop { table: IdentityTable::Attachments, key });
            }
            if !cascading && !policy.others.is_empty() {
                return Err(IdentityError::InUse("Policy.Version"));
            }
            edits.push(Edit::Drop { table: IdentityTable::Policies, key: folded(name.as_str()) });
            Ok(edits)
        })
        .await
    }

    async fn change_policy<T>(
        &self,
        name: &PolicyName,
        change: impl FnOnce(&mut PolicyRecord) -> Result<T, IdentityError>,
    ) -> Result<T, IdentityError> {
        let mut outcome = None;
        self.edit(async |directory| {
            let mut policy = record(directory, name)?.clone();
            outcome = Some(change(&mut policy)?);
            Ok(vec![self.put(IdentityTable::Policies, folded(name.as_str()), &policy, true)?])
        })
        .await?;
        outcome.ok_or(IdentityError::Missing("Policy"))
    }

    /// Changes the description of a custom policy.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`].
    pub async fn describe_policy(
        &self,
        _access: &Access,
        name: &PolicyName,
        description: String,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        self.change_policy(name, |policy| {
            policy.description = description;
            policy.updated = now;
            Ok(())
        })
        .await
    }

    /// Adds a version to a custom policy; as the default it decides at once.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`], [`IdentityError::Missing`],
    /// [`IdentityError::Limit`] when there are five versions and none makes room.
    pub async fn create_policy_version(
        &self,
        _access: &Access,
        name: &PolicyName,
        document: String,
        as_default: bool,
        when_full: WhenFull,
    ) -> Result<PolicyVersion, IdentityError> {
        Policy::parse(PolicyKind::Identity, &document).map_err(IdentityError::Policy)?;
        let now = self.clock.now();
        self.change_policy(name, |policy| {
            // The default is one more.
            if policy.others.len() + 1 >= MAX_VERSIONS {
                match when_full {
                    WhenFull::Refuse => return Err(IdentityError::Limit("Policy.Version")),
                    WhenFull::DropOldest => policy.others.remove(0),
                };
            }
            let number = policy.last_version.saturating_add(1);
            let version = PolicyVersion { number, document, created: now };
            policy.last_version = number;
            policy.others.push(version.clone());
            if as_default {
                policy.turn_to(number);
            }
            policy.updated = now;
            Ok(version)
        })
        .await
    }

    /// Makes a version of a custom policy the one that decides.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`].
    pub async fn set_default_policy_version(
        &self,
        _access: &Access,
        name: &PolicyName,
        number: u32,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        self.change_policy(name, |policy| {
            policy.updated = now;
            policy.turn_to(number).then_some(()).ok_or(IdentityError::Missing("Policy.Version"))
        })
        .await
    }

    /// Deletes a version of a custom policy that is not its default.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`] for the default.
    pub async fn delete_policy_version(
        &self,
        _access: &Access,
        name: &PolicyName,
        number: u32,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        self.change_policy(name, |policy| {
            if number == policy.default_version {
                return Err(IdentityError::InUse("Policy.Version.Default"));
            }
            let before = policy.others.len();
            policy.others.retain(|version| version.number != number);
            policy.updated = now;
            (policy.others.len() < before).then_some(()).ok_or(IdentityError::Missing("Policy.Version"))
        })
        .await
    }
}
