//! Roles of services.

use aws_lc_rs::rand;

use super::{Edit, IdentityError, random_digits};
use crate::audit::Access;
use crate::identity::directory::{attachment_key, folded};
use crate::identity::{Identities, ServiceRole};
use crate::model::{Attachment, Holder, PolicyName, PolicyType, RoleDeletion, RoleName, RoleRecord};
use crate::seal::SealError;
use crate::store::IdentityTable;

/// How long a session of such a role may last, in seconds.
const MAX_SESSION_SECONDS: u32 = 3_600;
/// What ids of deletions begin with.
const TASK: &str = "task/";

impl Identities {
    /// Creates the role of a service, with its policy.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`] when it exists already.
    pub async fn create_service_role(
        &self,
        _access: &Access,
        role: &ServiceRole,
        description: String,
    ) -> Result<RoleRecord, IdentityError> {
        let now = self.clock.now();
        let name = RoleName::parse(role.role).ok().ok_or(IdentityError::Missing("Role"))?;
        let policy = PolicyName::parse(role.policy).ok().ok_or(IdentityError::Missing("Policy"))?;
        let record = RoleRecord {
            id: random_digits()?,
            name: name.clone(),
            description: if description.is_empty() { role.description.to_owned() } else { description },
            trust: role.trust.to_owned(),
            max_session_seconds: MAX_SESSION_SECONDS,
            created: now,
            updated: now,
            service: Some(role.service.to_owned()),
            revoked_until: None,
            deletion: None,
        };
        self.edit(async |directory| {
            if directory.role(&name).is_some() {
                return Err(IdentityError::Exists("Role"));
            }
            let holder = Holder::Role(name.clone());
            let key = attachment_key(&holder, PolicyType::System, &policy);
            let attachment = Attachment { holder, policy, kind: PolicyType::System, attached: now };
            Ok(vec![
                self.put(IdentityTable::Roles, folded(name.as_str()), &record, false)?,
                self.put(IdentityTable::Attachments, key, &attachment, false)?,
            ])
        })
        .await?;
        Ok(record)
    }

    /// Deletes the role of a service, or notes for which `reason` it stays.
    /// Gives the id under which [`deletion_of_service_role`](Self::deletion_of_service_role)
    /// tells what came of it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`], also for the role of no service.
    pub async fn delete_service_role(
        &self,
        _access: &Access,
        name: &RoleName,
        reason: Option<&str>,
    ) -> Result<String, IdentityError> {
        let mut random = [0_u8; 16];
        rand::fill(&mut random).ok().ok_or(SealError::Local)?;
        let mut task = String::new();
        self.edit(async |directory| {
            let role = directory.role(name).filter(|role| role.service.is_some());
            let role = role.ok_or(IdentityError::Missing("Role"))?;
            task = format!("{TASK}{}/{}", role.name, data_encoding::HEXLOWER.encode(&random));
            if let Some(reason) = reason {
                let mut kept = role.clone();
                let deletion =
                    RoleDeletion { task: task.clone(), at: self.clock.now(), reason: reason.to_owned() };
                kept.deletion = Some(deletion);
                return Ok(vec![self.put(IdentityTable::Roles, folded(name.as_str()), &kept, true)?]);
            }
            let holder = Holder::Role(role.name.clone());
            let attached = directory.attachments_to(&holder);
            let drop = |attachment: &Attachment| Edit::Drop {
                table: IdentityTable::Attachments,
                key: attachment_key(&holder, attachment.kind, &attachment.policy),
            };
            let mut edits: Vec<Edit> = attached.map(drop).collect();
            edits.push(Edit::Drop { table: IdentityTable::Roles, key: folded(name.as_str()) });
            Ok(edits)
        })
        .await?;
        Ok(task)
    }

    /// Why the role is still there that was to be deleted under this id; `None`
    /// when it is gone.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Missing`] when no such deletion is known.
    pub fn deletion_of_service_role(&self, task: &str) -> Result<Option<String>, IdentityError> {
        let missing = IdentityError::Missing("Role.DeletionTask");
        let name = task.strip_prefix(TASK).and_then(|rest| rest.split_once('/')).map(|(name, _)| name);
        let Some(name) = name.and_then(|name| RoleName::parse(name).ok()) else { return Err(missing) };
        let directory = self.directory();
        match directory.role(&name).map(|role| &role.deletion) {
            None => Ok(None),
            Some(Some(deletion)) if deletion.task == task => Ok(Some(deletion.reason.clone())),
            Some(_) => Err(missing),
        }
    }
}
