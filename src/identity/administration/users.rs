//! Users.

use super::{Edit, IdentityError, random_digits};
use crate::audit::Access;
use crate::identity::directory::{attachment_key, folded, member_key};
use crate::identity::{Directory, Identities};
use crate::model::{Holder, UserName, UserRecord};
use crate::store::IdentityTable;

/// Users of an account at most (ram.md section 1.2).
const MAX_USERS: usize = 1_000;

/// What a new user is told to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// Free text.
    pub display_name: String,
    /// Free text.
    pub comments: String,
    /// Free text.
    pub email: String,
    /// Free text.
    pub mobile_phone: String,
}

impl NewUser {
    /// A user of whom nothing but the name is said.
    #[must_use]
    pub const fn named(name: UserName) -> Self {
        Self {
            name,
            display_name: String::new(),
            comments: String::new(),
            email: String::new(),
            mobile_phone: String::new(),
        }
    }
}

/// What is to change of a user; what is not said stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// The new name.
    pub name: Option<UserName>,
    /// The new name to show.
    pub display_name: Option<String>,
    /// The new comments.
    pub comments: Option<String>,
    /// The new address.
    pub email: Option<String>,
    /// The new number.
    pub mobile_phone: Option<String>,
}

impl Identities {
    /// Creates a user without any rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`], also for a name that differs only in case.
    pub async fn create_user(&self, _access: &Access, new: NewUser) -> Result<UserRecord, IdentityError> {
        let record = UserRecord {
            id: random_digits()?,
            name: new.name,
            display_name: new.display_name,
            comments: new.comments,
            email: new.email,
            mobile_phone: new.mobile_phone,
            created: self.clock.now(),
            updated: None,
        };
        self.edit(async |directory| {
            if directory.user(&record.name).is_some() {
                return Err(IdentityError::Exists("User"));
            }
            if directory.users.len() >= MAX_USERS {
                return Err(IdentityError::Limit("User"));
            }
            Ok(vec![self.put(IdentityTable::Users, folded(record.name.as_str()), &record, false)?])
        })
        .await?;
        Ok(record)
    }

    /// Changes a user. With another name the user keeps id, access keys,
    /// policies and groups.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`]; [`IdentityError::Exists`] when another user
    /// has the new name.
    pub async fn update_user(
        &self,
        _access: &Access,
        name: &UserName,
        change: UserChange,
    ) -> Result<UserRecord, IdentityError> {
        let mut changed = None;
        self.edit(async |directory| {
            let before = directory.user(name).ok_or(IdentityError::Missing("User"))?;
            let mut after = before.clone();
            let texts = [
                (&mut after.display_name, change.display_name),
                (&mut after.comments, change.comments),
                (&mut after.email, change.email),
                (&mut after.mobile_phone, change.mobile_phone),
            ];
            for (text, new) in texts {
                if let Some(new) = new {
                    *text = new;
                }
            }
            after.updated = Some(self.clock.now());
            if let Some(new) = change.name {
                after.name = new;
            }
            let edits = match before.name == after.name {
                true => vec![self.put(IdentityTable::Users, folded(after.name.as_str()), &after, true)?],
                false => self.rename_user(directory, before, &after)?,
            };
            changed = Some(after);
            Ok(edits)
        })
        .await?;
        changed.ok_or(IdentityError::Missing("User"))
    }

    /// The rows of a user under another name: what names the user moves along.
    fn rename_user(
        &self,
        directory: &Directory,
        before: &UserRecord,
        after: &UserRecord,
    ) -> Result<Vec<Edit>, IdentityError> {
        let key = folded(after.name.as_str());
        let same_key = folded(before.name.as_str()) == key;
        if !same_key && directory.user(&after.name).is_some() {
            return Err(IdentityError::Exists("User"));
        }
        let mut edits = Vec::new();
        if !same_key {
            edits.push(Edit::Drop { table: IdentityTable::Users, key: folded(before.name.as_str()) });
        }
        edits.push(self.put(IdentityTable::Users, key, after, same_key)?);
        for access_key in directory.access_keys(&before.name) {
            let mut moved = access_key.clone();
            moved.user = after.name.clone();
            edits.push(self.put(IdentityTable::AccessKeys, moved.id.to_string(), &moved, true)?);
        }
        let (old, new) = (Holder::User(before.name.clone()), Holder::User(after.name.clone()));
        for attachment in directory.attachments_to(&old) {
            let mut moved = attachment.clone();
            moved.holder = new.clone();
            let old_key = attachment_key(&old, moved.kind, &moved.policy);
            let new_key = attachment_key(&new, moved.kind, &moved.policy);
            edits.extend(self.moved(IdentityTable::Attachments, old_key, new_key, &moved)?);
        }
        for membership in directory.memberships(&before.name) {
            let mut moved = membership.clone();
            moved.user = after.name.clone();
            let old_key = member_key(&moved.group, &before.name);
            let new_key = member_key(&moved.group, &after.name);
            edits.extend(self.moved(IdentityTable::Members, old_key, new_key, &moved)?);
        }
        Ok(edits)
    }

    /// Deletes a user that has neither access keys nor policies nor groups.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], [`IdentityError::InUse`].
    pub async fn delete_user(&self, _access: &Access, name: &UserName) -> Result<(), IdentityError> {
        self.edit(async |directory| {
            let user = directory.user(name).ok_or(IdentityError::Missing("User"))?;
            if !directory.access_keys(name).is_empty() {
                return Err(IdentityError::InUse("User.AccessKey"));
            }
            if !directory.attached(&Holder::User(user.name.clone())).is_empty() {
                return Err(IdentityError::InUse("User.Policy"));
            }
            if !directory.memberships(name).is_empty() {
                return Err(IdentityError::InUse("User.Group"));
            }
            Ok(vec![Edit::Drop { table: IdentityTable::Users, key: folded(name.as_str()) }])
        })
        .await
    }
}
