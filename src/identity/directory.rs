//! The snapshot of users, groups, roles, keys, policies and attachments.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::DirectoryError;
use super::system_policies::SYSTEM_POLICIES;
use crate::model::{
    AccessKeyRecord, AccountId, Attachment, GroupName, GroupRecord, Guarded, Holder, Membership, PolicyName,
    PolicyRecord, PolicyType, PolicyVersion, RoleName, RoleRecord, UserName, UserRecord,
};
use crate::ram::{Attached, Policy, PolicyKind, PolicySet, Principal};
use crate::rpc::signature::SigningKey;
use crate::seal::{Integrity, RowAltered, SetDigest};
use crate::store::{Change, IdentityTable, Store};

/// The name of the setting that keeps the digest of all identity rows.
const DIGEST: &str = "identity-digest";

#[derive(Debug)]
pub(super) struct KeyEntry {
    pub(super) record: AccessKeyRecord,
    /// Prepared when the key first signs.
    pub(super) signing: OnceLock<Arc<SigningKey>>,
}

#[derive(Debug)]
pub(super) struct UserEntry {
    pub(super) record: UserRecord,
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) arn: Arc<str>,
    pub(super) principal: Arc<Principal>,
    pub(super) policies: Arc<PolicySet>,
}

#[derive(Debug)]
pub(super) struct RoleEntry {
    pub(super) record: RoleRecord,
    pub(super) trust: Arc<Policy>,
    pub(super) policies: Arc<PolicySet>,
}

/// Everything the database says about who may do what, at one moment.
#[derive(Debug)]
pub struct Directory {
    /// Counts the snapshots of this process, for audit records.
    pub version: u64,
    pub(super) rows: BTreeMap<(IdentityTable, String), Guarded>,
    pub(super) keys: HashMap<String, Arc<KeyEntry>>,
    pub(super) users: BTreeMap<String, UserEntry>,
    pub(super) groups: BTreeMap<String, GroupRecord>,
    pub(super) members: BTreeMap<String, Membership>,
    pub(super) roles: BTreeMap<String, RoleEntry>,
    /// The keys of roles by their ids.
    pub(super) role_ids: HashMap<String, String>,
    pub(super) policies: BTreeMap<String, PolicyRecord>,
    pub(super) attachments: BTreeMap<String, Attachment>,
}

/// The key of a user, group, role or custom policy: names are unique without
/// regard to case (ram.md section 3.3).
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The key of a holder of policies; no name has a colon.
pub(super) fn holder_key(holder: &Holder) -> String {
    match holder {
        Holder::User(name) => folded(name.as_str()),
        Holder::Group(name) => format!("group:{}", folded(name.as_str())),
        Holder::Role(name) => format!("role:{}", folded(name.as_str())),
    }
}

pub(super) fn attachment_key(holder: &Holder, kind: PolicyType, policy: &PolicyName) -> String {
    format!("{}/{}/{}", holder_key(holder), kind.as_str(), folded(policy.as_str()))
}

pub(super) fn member_key(group: &GroupName, user: &UserName) -> String {
    format!("{}/{}", folded(group.as_str()), folded(user.as_str()))
}

/// Rows as they are read, before they are put together.
#[derive(Default)]
struct Read {
    users: BTreeMap<String, UserRecord>,
    roles: BTreeMap<String, RoleRecord>,
}

impl Directory {
    pub(super) async fn load(
        account: &AccountId,
        store: &dyn Store,
        integrity: &Integrity,
    ) -> Result<Self, DirectoryError> {
        let mut rows = BTreeMap::new();
        for table in IdentityTable::ALL {
            for (key, row) in store.identities(table).await? {
                rows.insert((table, key), row);
            }
        }
        let expected: Option<String> = match store.setting(DIGEST).await? {
            Some(row) => Some(integrity.check("settings", DIGEST, &row)?),
            None => None,
        };
        // A database that was never written to has neither rows nor digest.
        if expected != (!rows.is_empty() || expected.is_some()).then(|| digest(&rows)) {
            return Err(
                RowAltered { table: "users, groups, roles, access_keys, policies or attachments" }.into()
            );
        }
        Self::build(account, integrity, rows, 1, None)
    }

    /// The snapshot that these rows make. Prepared keys of `before` are kept.
    pub(super) fn build(
        account: &AccountId,
        integrity: &Integrity,
        rows: BTreeMap<(IdentityTable, String), Guarded>,
        version: u64,
        before: Option<&Self>,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Self {
            version,
            rows: BTreeMap::new(),
            keys: HashMap::new(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            roles: BTreeMap::new(),
            role_ids: HashMap::new(),
            policies: BTreeMap::new(),
            attachments: BTreeMap::new(),
        };
        let mut read = Read::default();
        for ((table, key), row) in &rows {
            directory.take(&mut read, integrity, (*table, key), row, before)?;
        }
        directory.rows = rows;
        directory.join(account, read)?;
        Ok(directory)
    }

    fn take(
        &mut self,
        read: &mut Read,
        integrity: &Integrity,
        (table, key): (IdentityTable, &str),
        row: &Guarded,
        before: Option<&Self>,
    ) -> Result<(), RowAltered> {
        let (name, owned) = (table.as_str(), key.to_owned());
        match table {
            IdentityTable::AccessKeys => {
                let record: AccessKeyRecord = integrity.check(name, key, row)?;
                let entry = before
                    .and_then(|d| d.keys.get(key))
                    .filter(|entry| entry.record == record)
                    .map_or_else(|| Arc::new(KeyEntry { record, signing: OnceLock::new() }), Arc::clone);
                self.keys.insert(owned, entry);
            }
            IdentityTable::Attachments => {
                self.attachments.insert(owned, integrity.check(name, key, row)?);
            }
            IdentityTable::Groups => {
                self.groups.insert(owned, integrity.check(name, key, row)?);
            }
            IdentityTable::Members => {
                self.members.insert(owned, integrity.check(name, key, row)?);
            }
            IdentityTable::Policies => {
                self.policies.insert(owned, integrity.check(name, key, row)?);
            }
            IdentityTable::Roles => {
                read.roles.insert(owned, integrity.check(name, key, row)?);
            }
            IdentityTable::Users => {
                read.users.insert(owned, integrity.check(name, key, row)?);
            }
        }
        Ok(())
    }

    /// Gives users and roles the policies that are theirs.
    fn join(&mut self, account: &AccountId, read: Read) -> Result<(), DirectoryError> {
        let compiled = self.compile()?;
        let mut held: BTreeMap<String, Vec<Attached>> = BTreeMap::new();
        for attachment in self.attachments.values() {
            if let Some(policy) = compiled.get(&(attachment.kind, folded(attachment.policy.as_str()))) {
                held.entry(holder_key(&attachment.holder)).or_default().push(policy.clone());
            }
        }
        let of = |holder: &Holder| held.get(&holder_key(holder)).map_or(&[][..], Vec::as_slice);
        let mut groups_of: BTreeMap<String, Vec<&GroupName>> = BTreeMap::new();
        for member in self.members.values() {
            groups_of.entry(folded(member.user.as_str())).or_default().push(&member.group);
        }
        for (key, record) in read.users {
            let own = of(&Holder::User(record.name.clone())).iter();
            let groups = groups_of.get(&key).map_or(&[][..], Vec::as_slice);
            let shared = groups.iter().flat_map(|group| of(&Holder::Group((*group).clone())));
            let policies = PolicySet::identity(own.chain(shared).cloned());
            let principal =
                Principal::User { account: account.as_str().into(), name: record.name.as_str().into() };
            let entry = UserEntry {
                id: Arc::from(record.id.as_str()),
                name: Arc::from(record.name.as_str()),
                arn: Arc::from(principal.condition_arn()),
                record,
                principal: Arc::new(principal),
                policies: Arc::new(policies),
            };
            self.users.insert(key, entry);
        }
        for (key, record) in read.roles {
            let trust = Policy::parse(PolicyKind::Trust, &record.trust)
                .map_err(|source| DirectoryError::Policy { name: record.name.to_string(), source })?;
            let policies = PolicySet::identity(of(&Holder::Role(record.name.clone())).iter().cloned());
            self.role_ids.insert(record.id.clone(), key.clone());
            let entry = RoleEntry { record, trust: Arc::new(trust), policies: Arc::new(policies) };
            self.roles.insert(key, entry);
        }
        Ok(())
    }

    fn compile(&self) -> Result<BTreeMap<(PolicyType, String), Attached>, DirectoryError> {
        let custom = self.policies.iter().map(|(key, p)| {
            let version = PolicyVersion::id_of(p.default_version);
            (PolicyType::Custom, key.clone(), p.name.as_str(), p.document.as_str(), version)
        });
        let system = SYSTEM_POLICIES
            .iter()
            .map(|p| (PolicyType::System, folded(p.name), p.name, p.document, PolicyVersion::id_of(1)));
        custom
            .chain(system)
            .map(|(kind, key, name, document, version)| {
                let policy = Policy::parse(PolicyKind::Identity, document)
                    .map_err(|source| DirectoryError::Policy { name: name.to_owned(), source })?;
                Ok(((kind, key), Attached::new(name, Arc::new(policy)).at_version(version)))
            })
            .collect()
    }

    /// The users, by name.
    pub fn users(&self) -> impl Iterator<Item = &UserRecord> {
        self.users.values().map(|u| &u.record)
    }

    /// The user of that name, whatever the case of its letters.
    #[must_use]
    pub fn user(&self, name: &UserName) -> Option<&UserRecord> {
        self.users.get(&folded(name.as_str())).map(|u| &u.record)
    }

    /// The groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.groups.values()
    }

    /// The group of that name, whatever the case of its letters.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&GroupRecord> {
        self.groups.get(&folded(name.as_str()))
    }

    /// The members of a group, by name.
    #[must_use]
    pub fn members(&self, group: &GroupName) -> Vec<&Membership> {
        let group = folded(group.as_str());
        self.members.values().filter(|m| folded(m.group.as_str()) == group).collect()
    }

    /// The groups that a user is in, by name.
    #[must_use]
    pub fn memberships(&self, user: &UserName) -> Vec<&Membership> {
        let user = folded(user.as_str());
        self.members.values().filter(|m| folded(m.user.as_str()) == user).collect()
    }

    /// The roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &RoleRecord> {
        self.roles.values().map(|r| &r.record)
    }

    /// The role of that name, whatever the case of its letters.
    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&RoleRecord> {
        self.roles.get(&folded(name.as_str())).map(|r| &r.record)
    }

    /// The trust policy of a role.
    #[must_use]
    pub fn trust(&self, name: &RoleName) -> Option<Arc<Policy>> {
        self.roles.get(&folded(name.as_str())).map(|r| Arc::clone(&r.trust))
    }

    /// The role with that id.
    pub(super) fn role_by_id(&self, id: &str) -> Option<&RoleEntry> {
        self.roles.get(self.role_ids.get(id)?)
    }

    /// Whether there is such a user, group or role.
    #[must_use]
    pub fn has(&self, holder: &Holder) -> bool {
        match holder {
            Holder::User(name) => self.user(name).is_some(),
            Holder::Group(name) => self.group(name).is_some(),
            Holder::Role(name) => self.role(name).is_some(),
        }
    }

    /// The access keys of a user, oldest first.
    #[must_use]
    pub fn access_keys(&self, user: &UserName) -> Vec<&AccessKeyRecord> {
        let user = folded(user.as_str());
        let mut keys: Vec<_> =
            self.keys.values().map(|k| &k.record).filter(|k| folded(k.user.as_str()) == user).collect();
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        keys
    }
}

fn digest(rows: &BTreeMap<(IdentityTable, String), Guarded>) -> String {
    let mut set = SetDigest::default();
    for ((table, key), row) in rows {
        set.add(table.as_str(), key, row);
    }
    set.finish()
}

/// The change that keeps the digest of these rows.
pub(super) fn digest_change(
    integrity: &Integrity,
    rows: &BTreeMap<(IdentityTable, String), Guarded>,
) -> Result<Change, RowAltered> {
    let row = integrity.guard("settings", DIGEST, &digest(rows))?;
    Ok(Change::PutSetting { name: DIGEST, row })
}
