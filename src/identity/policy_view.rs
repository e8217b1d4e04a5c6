//! Policies of either kind as they are shown, and whom they are attached to.

use super::Directory;
use super::directory::{folded, holder_key};
use super::system_policies::{SYSTEM_POLICIES, SystemPolicy};
use crate::model::{Attachment, Holder, PolicyName, PolicyRecord, PolicyType, PolicyVersion, Timestamp};

/// A policy of either kind, as it is shown.
#[derive(Debug, Clone)]
pub struct PolicyView {
    /// Its name.
    pub name: PolicyName,
    /// Custom or system.
    pub kind: PolicyType,
    /// Free text.
    pub description: String,
    /// When it was created; the epoch for system policies.
    pub created: Timestamp,
    /// When it or its document last changed.
    pub updated: Timestamp,
    /// To how many users, groups and roles it is attached.
    pub attachments: usize,
    /// The number of the version that decides.
    pub default_version: u32,
    /// All versions, by number, each with its document byte for byte.
    pub versions: Vec<PolicyVersion>,
}

impl PolicyView {
    /// The version that decides.
    #[must_use]
    pub fn default(&self) -> Option<&PolicyVersion> {
        self.version(self.default_version)
    }

    /// The version of that number.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&PolicyVersion> {
        self.versions.iter().find(|version| version.number == number)
    }
}

/// A policy that is attached to somebody.
#[derive(Debug, Clone)]
pub struct AttachedPolicy {
    /// The policy.
    pub policy: PolicyView,
    /// When it was attached.
    pub attached: Timestamp,
}

impl Directory {
    /// The policies of one kind, or of both, by name in lower case.
    #[must_use]
    pub fn policies(&self, kind: Option<PolicyType>) -> Vec<PolicyView> {
        let custom = self.policies.values().map(|p| self.view(p));
        let system = SYSTEM_POLICIES.iter().filter_map(|p| self.system(p));
        let mut all: Vec<_> = custom.chain(system).filter(|p| kind.is_none_or(|k| k == p.kind)).collect();
        all.sort_by_cached_key(|policy| folded(policy.name.as_str()));
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

    /// The policies attached to a user, group or role itself, in the order of their names.
    #[must_use]
    pub fn attached(&self, holder: &Holder) -> Vec<AttachedPolicy> {
        self.attachments_to(holder)
            .filter_map(|a| {
                Some(AttachedPolicy { policy: self.policy(a.kind, &a.policy)?, attached: a.attached })
            })
            .collect()
    }

    /// The same as rows.
    pub(super) fn attachments_to(&self, holder: &Holder) -> impl Iterator<Item = &Attachment> {
        let holder = holder_key(holder);
        self.attachments.values().filter(move |a| holder_key(&a.holder) == holder)
    }

    /// The attachments of a policy, by the names of the holders.
    pub fn attachments_of<'d>(
        &'d self,
        kind: PolicyType,
        name: &'d str,
    ) -> impl Iterator<Item = &'d Attachment> {
        self.attachments
            .values()
            .filter(move |a| a.kind == kind && a.policy.as_str().eq_ignore_ascii_case(name))
    }

    fn view(&self, policy: &PolicyRecord) -> PolicyView {
        PolicyView {
            name: policy.name.clone(),
            kind: PolicyType::Custom,
            description: policy.description.clone(),
            created: policy.created,
            updated: policy.updated,
            attachments: self.attachments_of(PolicyType::Custom, policy.name.as_str()).count(),
            default_version: policy.default_version,
            versions: policy.versions(),
        }
    }

    fn system(&self, policy: &SystemPolicy) -> Option<PolicyView> {
        let epoch = Timestamp::from_millis(0);
        Some(PolicyView {
            name: PolicyName::parse(policy.name).ok()?,
            kind: PolicyType::System,
            description: policy.description.to_owned(),
            created: epoch,
            updated: epoch,
            attachments: self.attachments_of(PolicyType::System, policy.name).count(),
            default_version: 1,
            versions: vec![PolicyVersion { number: 1, document: policy.document.to_owned(), created: epoch }],
        })
    }
}
