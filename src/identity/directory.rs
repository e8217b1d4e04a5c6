//! The snapshot of users, keys, policies and attachments.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::DirectoryError;
use super::system_policies::SYSTEM_POLICIES;
use crate::model::{
    AccessKeyRecord, AccountId, Attachment, Guarded, PolicyName, PolicyRecord, PolicyType, Timestamp,
    UserName, UserRecord,
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
    pub(super) arn: Arc<str>,
    pub(super) principal: Arc<Principal>,
    pub(super) policies: Arc<PolicySet>,
}

/// A policy of either kind, as it is shown.
#[derive(Debug, Clone)]
pub struct PolicyView {
    /// Its name.
    pub name: PolicyName,
    /// Custom or system.
    pub kind: PolicyType,
    /// Free text.
    pub description: String,
    /// The document, byte for byte.
    pub document: String,
    /// When it was created; the epoch for system policies.
    pub created: Timestamp,
    /// When its document last changed.
    pub updated: Timestamp,
    /// To how many users it is attached.
    pub attachments: usize,
}

/// A policy that is attached to a user.
#[derive(Debug, Clone)]
pub struct AttachedPolicy {
    /// The policy.
    pub policy: PolicyView,
    /// When it was attached.
    pub attached: Timestamp,
}

/// Everything the database says about who may do what, at one moment.
#[derive(Debug)]
pub struct Directory {
    /// Counts the snapshots of this process, for audit records.
    pub version: u64,
    pub(super) rows: BTreeMap<(IdentityTable, String), Guarded>,
    pub(super) keys: HashMap<String, Arc<KeyEntry>>,
    pub(super) users: BTreeMap<String, UserEntry>,
    pub(super) policies: BTreeMap<String, PolicyRecord>,
    pub(super) attachments: BTreeMap<String, Attachment>,
}

/// The key of a user or custom policy: names are unique without regard to case (ram.md section 3.3).
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

pub(super) fn attachment_key(user: &UserName, kind: PolicyType, policy: &PolicyName) -> String {
    format!("{}/{}/{}", folded(user.as_str()), kind.as_str(), folded(policy.as_str()))
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
            return Err(RowAltered { table: "users, access_keys, policies or attachments" }.into());
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
            policies: BTreeMap::new(),
            attachments: BTreeMap::new(),
        };
        let mut users: BTreeMap<String, UserRecord> = BTreeMap::new();
        for ((table, key), row) in &rows {
            let name = table.as_str();
            match table {
                IdentityTable::AccessKeys => {
                    let record: AccessKeyRecord = integrity.check(name, key, row)?;
                    let entry = before
                        .and_then(|d| d.keys.get(key))
                        .filter(|entry| entry.record == record)
                        .map_or_else(|| Arc::new(KeyEntry { record, signing: OnceLock::new() }), Arc::clone);
                    directory.keys.insert(key.clone(), entry);
                }
                IdentityTable::Attachments => {
                    directory.attachments.insert(key.clone(), integrity.check(name, key, row)?);
                }
                IdentityTable::Policies => {
                    directory.policies.insert(key.clone(), integrity.check(name, key, row)?);
                }
                IdentityTable::Users => {
                    users.insert(key.clone(), integrity.check(name, key, row)?);
                }
            }
        }
        directory.rows = rows;
        let compiled = directory.compile()?;
        for (key, record) in users {
            let attached = directory.attachments.values().filter(|a| folded(a.user.as_str()) == key);
            let policies: Vec<Attached> = attached
                .filter_map(|a| compiled.get(&(a.kind, folded(a.policy.as_str()))).cloned())
                .collect();
            let principal =
                Principal::User { account: account.as_str().into(), name: record.name.as_str().into() };
            let entry = UserEntry {
                id: Arc::from(record.id.as_str()),
                arn: Arc::from(principal.condition_arn()),
                record,
                principal: Arc::new(principal),
                policies: Arc::new(PolicySet::identity(policies)),
            };
            directory.users.insert(key, entry);
        }
        Ok(directory)
    }

    fn compile(&self) -> Result<BTreeMap<(PolicyType, String), Attached>, DirectoryError> {
        let custom = self
            .policies
            .iter()
            .map(|(key, p)| (PolicyType::Custom, key.clone(), p.name.as_str(), p.document.as_str()));
        let system = SYSTEM_POLICIES.iter().map(|p| (PolicyType::System, folded(p.name), p.name, p.document));
        custom
            .chain(system)
            .map(|(kind, key, name, document)| {
                let policy = Policy::parse(PolicyKind::Identity, document)
                    .map_err(|source| DirectoryError::Policy { name: name.to_owned(), source })?;
                Ok(((kind, key), Attached::new(name, Arc::new(policy))))
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

    /// The access keys of a user, oldest first.
    #[must_use]
    pub fn access_keys(&self, user: &UserName) -> Vec<&AccessKeyRecord> {
        let user = folded(user.as_str());
        let mut keys: Vec<_> =
            self.keys.values().map(|k| &k.record).filter(|k| folded(k.user.as_str()) == user).collect();
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        keys
    }

    /// The policies of one kind, or of both, by name.
    #[must_use]
    pub fn policies(&self, kind: Option<PolicyType>) -> Vec<PolicyView> {
        let custom = self.policies.values().map(|p| self.view(p));
        let system = SYSTEM_POLICIES.iter().filter_map(|p| self.system(p));
        let mut all: Vec<_> = custom.chain(system).filter(|p| kind.is_none_or(|k| k == p.kind)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The policy of that kind and name.
    #[must_use]
    pub fn policy(&self, kind: PolicyType, name: &PolicyName) -> Option<PolicyView> {
        match kind {
            PolicyType::Custom => self.policies.get(&folded(name.as_str())).map(|p| self.view(p)),
            PolicyType::System => SYSTEM_POLICIES
                .iter()
                .find(|p| p.name.eq_ignore_ascii_case(name.as_str()))
                .and_then(|p| self.system(p)),
        }
    }

    /// The policies attached to a user, in the order of their names.
    #[must_use]
    pub fn attached(&self, user: &UserName) -> Vec<AttachedPolicy> {
        let user = folded(user.as_str());
        self.attachments
            .values()
            .filter(|a| folded(a.user.as_str()) == user)
            .filter_map(|a| {
                Some(AttachedPolicy { policy: self.policy(a.kind, &a.policy)?, attached: a.attached })
            })
            .collect()
    }

    fn count(&self, kind: PolicyType, name: &str) -> usize {
        self.attachments
            .values()
            .filter(|a| a.kind == kind && a.policy.as_str().eq_ignore_ascii_case(name))
            .count()
    }

    fn view(&self, policy: &PolicyRecord) -> PolicyView {
        PolicyView {
            name: policy.name.clone(),
            kind: PolicyType::Custom,
            description: policy.description.clone(),
            document: policy.document.clone(),
            created: policy.created,
            updated: policy.updated,
            attachments: self.count(PolicyType::Custom, policy.name.as_str()),
        }
    }

    fn system(&self, policy: &super::system_policies::SystemPolicy) -> Option<PolicyView> {
        let epoch = Timestamp::from_millis(0);
        Some(PolicyView {
            name: PolicyName::parse(policy.name).ok()?,
            kind: PolicyType::System,
            description: policy.description.to_owned(),
            document: policy.document.to_owned(),
            created: epoch,
            updated: epoch,
            attachments: self.count(PolicyType::System, policy.name),
        })
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
