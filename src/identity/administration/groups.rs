//! Groups and their members.

use super::{Edit, IdentityError, random_digits};
use crate::audit::Access;
use crate::identity::Identities;
use crate::identity::directory::{attachment_key, folded, member_key};
use crate::model::{GroupName, GroupRecord, Holder, Membership, UserName};
use crate::store::IdentityTable;

/// Groups of an account at most, and groups that a user is in (ram.md section 1.2).
const MAX_GROUPS: usize = 50;
const MAX_GROUPS_OF_USER: usize = 5;

impl Identities {
    /// Creates a group without members or rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`], also for a name that differs only in case;
    /// [`IdentityError::Limit`].
    pub async fn create_group(
        &self,
        _access: &Access,
        name: GroupName,
        comments: String,
    ) -> Result<GroupRecord, IdentityError> {
        let now = self.clock.now();
        let record = GroupRecord { id: random_digits()?, name, comments, created: now, updated: now };
        self.edit(async |directory| {
            if directory.group(&record.name).is_some() {
                return Err(IdentityError::Exists("Group"));
            }
            if directory.groups.len() >= MAX_GROUPS {
                return Err(IdentityError::Limit("Group"));
            }
            Ok(vec![self.put(IdentityTable::Groups, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Changes the name or the comments of a group, which keeps its members and policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`]; [`IdentityError::Exists`] when another group
    /// has the new name.
    pub async fn update_group(
        &self,
        _access: &Access,
        name: &GroupName,
        new_name: Option<GroupName>,
        new_comments: Option<String>,
    ) -> Result<GroupRecord, IdentityError> {
        let mut changed = None;
        self.edit(async |directory| {
            let before = directory.group(name).ok_or(IdentityError::Missing("Group"))?;
            let after = GroupRecord {
                name: new_name.unwrap_or_else(|| before.name.clone()),
                comments: new_comments.unwrap_or_else(|| before.comments.clone()),
                updated: self.clock.now(),
                ..before.clone()
            };
            let (old_key, new_key) = (folded(before.name.as_str()), folded(after.name.as_str()));
            if old_key != new_key && directory.group(&after.name).is_some() {
                return Err(IdentityError::Exists("Group"));
            }
            let mut edits = self.moved(IdentityTable::Groups, old_key, new_key, &after)?;
            let (old, new) = (Holder::Group(before.name.clone()), Holder::Group(after.name.clone()));
            for attachment in directory.attachments_to(&old).filter(|_| before.name != after.name) {
                let mut moved = attachment.clone();
                moved.holder = new.clone();
                let old_key = attachment_key(&old, moved.kind, &moved.policy);
                let new_key = attachment_key(&new, moved.kind, &moved.policy);
                edits.extend(self.moved(IdentityTable::Attachments, old_key, new_key, &moved)?);
            }
            for member in directory.members(name).into_iter().filter(|_| before.name != after.name) {
                let mut moved = member.clone();
                moved.group = after.name.clone();
                let old_key = member_key(&before.name, &moved.user);
                let new_key = member_key(&after.name, &moved.user);
                edits.extend(self.moved(IdentityTable::Members, old_key, new_key, &moved)?);
            }
            changed = Some(after);
            Ok(edits)
        })
        .await?;
        changed.ok_or(IdentityError::Missing("Group"))
    }

    /// Deletes a group that has neither members nor policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`].
    pub async fn delete_group(&self, _access: &Access, name: &GroupName) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let group = directory.group(name).ok_or(IdentityError::Missing("Group"))?;
            if !directory.members(name).is_empty() {
                return Err(IdentityError::InUse("Group.User"));
            }
            if !directory.attached(&Holder::Group(group.name.clone())).is_empty() {
                return Err(IdentityError::InUse("Group.Policy"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Groups, key: folded(name.as_str()) }])
        })
        .await
    }

    /// Puts a user into a group, whose rights the user then has.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::Exists`] for a member,
    /// [`IdentityError::Limit`] for a user who is in too many.
    pub async fn add_to_group(
        &self,
        _access: &Access,
        group: &GroupName,
        user: &UserName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let user = directory.user(user).ok_or(IdentityError::Missing("User"))?.name.clone();
            let group = directory.group(group).ok_or(IdentityError::Missing("Group"))?.name.clone();
            let key = member_key(&group, &user);
            if directory.members.contains_key(&key) {
                return Err(IdentityError::Exists("User.Group"));
            }
            if directory.memberships(&user).len() >= MAX_GROUPS_OF_USER {
                return Err(IdentityError::Limit("User.Group"));
            }
            let record = Membership { group, user, joined: self.clock.now() };
            Ok(vec![self.put(IdentityTable::Members, key, &record, false)?])
        })
        .await
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], also for a user who is no member.
    pub async fn remove_from_group(
        &self,
        _access: &Access,
        group: &GroupName,
        user: &UserName,
    ) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            directory.user(user).ok_or(IdentityError::Missing("User"))?;
            directory.group(group).ok_or(IdentityError::Missing("Group"))?;
            let key = member_key(group, user);
            if !directory.members.contains_key(&key) {
                return Err(IdentityError::Missing("User.Group"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Members, key }])
        })
        .await
    }
}
