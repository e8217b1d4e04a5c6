//! The actions, one file each, and the table of them.
//!
//! The table is the only list: the gate finds an action in it, takes its
//! rights and its audit class from it, and an action that is not in it cannot
//! be called. Internal deeds (the rotation's own) are other functions and have
//! no name that a request could say.

mod batch_get_secret_value;
mod campaign_plan;
mod campaigns;
mod chosen_value;
mod create_secret;
mod delete_secret;
mod describe_secret;
mod ecs_value;
mod filters;
mod get_random_password;
mod get_secret_value;
mod give_up_secret_rotation;
mod input;
mod keys;
mod list_rotation_events;
mod list_secret_rotations;
mod list_secret_version_ids;
mod list_secrets;
mod put_secret_value;
mod ram;
mod restore_secret;
mod rotate_secret;
mod secret_policies;
mod sts;
mod tags;
mod update_secret;
mod update_secret_rotation_policy;
mod update_secret_version_stage;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::api::describe::Description;
use crate::api::gate::{Circumstances, Gate, Signed};
use crate::api::wire::{Answer, Reply};
use crate::api::{ApiError, wire::Call};
use crate::audit::{Access, EventAccess, ItemOutcome, Recorded};
use crate::identity::{Caller, Directory, Identities};
use crate::keys::Keys;
use crate::model::campaign::Selector;
use crate::model::{
    AccountId, Arn, PolicyName, PolicyType, RegionId, RequestId, SecretName, Tag, Untag, UserName, VersionId,
    VersionStage,
};
use crate::ram::Policy;
use crate::rotation::Rotations;
use crate::rotation::fleet::Candidate;
use crate::vault::Vault;

pub use crate::api::describe::Service;
pub use input::Input;

/// What actions work with.
#[derive(Debug, Clone)]
pub struct Services {
    /// The secrets.
    pub vault: Arc<Vault>,
    /// The users and policies.
    pub identities: Arc<Identities>,
    /// The customer master keys.
    pub keys: Arc<Keys>,
    /// The rotations.
    pub rotations: Arc<Rotations>,
}

/// Where resources of this appliance live.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: RegionId,
}

/// An action's fixed properties.
#[derive(Debug)]
pub struct Spec {
    /// Its name on the wire.
    pub name: &'static str,
    /// The API it belongs to.
    pub service: Service,
    /// The action as policies name it.
    pub right: &'static str,
    /// What `schema/api` says of it.
    pub description: &'static Description,
}

impl Spec {
    /// Whether it changes anything.
    #[must_use]
    pub const fn access(&self) -> EventAccess {
        self.description.access
    }
}

/// The properties of an action by its API and name; the rest is in its description.
macro_rules! spec {
    ($service:ident, $name:literal) => {
        $crate::api::actions::Spec {
            name: $name,
            service: $crate::api::describe::Service::$service,
            right: $crate::api::actions::spec!(@right $service, $name),
            description: $crate::api::describe::of($crate::api::describe::Service::$service, $name),
        }
    };
    (@right Kms, $name:literal) => { concat!("kms:", $name) };
    (@right Ram, $name:literal) => { concat!("ram:", $name) };
    (@right Sts, $name:literal) => { concat!("sts:", $name) };
}
use spec;

/// One question to the policies: may this be done on that?
#[derive(Debug, Clone)]
pub struct Question {
    /// Such as `kms:GetSecretValue`.
    pub action: &'static str,
    /// The resource.
    pub resource: Arn,
}

/// What is needed to say what a call must be allowed.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Where the resources live.
    pub scope: &'a Scope,
    /// The users and policies.
    pub directory: &'a Directory,
    /// Who asks.
    pub caller: &'a Caller,
}

impl Asking<'_> {
    /// A secret.
    #[must_use]
    pub fn secret(&self, name: &SecretName) -> Arn {
        Arn::secret(&self.scope.region, &self.scope.account, name)
    }

    /// The container of all secrets.
    #[must_use]
    pub fn container(&self) -> Arn {
        Arn::secret_container(&self.scope.region, &self.scope.account)
    }

    /// Whether `right` holds on a user; on the caller when none is named.
    ///
    /// Users are found whatever the case of their letters, and policies compare
    /// with case: what is asked about is the name as it is stored, so that no
    /// other spelling gets past a deny.
    #[must_use]
    pub fn on_user(&self, right: &'static str, user: Option<&UserName>) -> Vec<Question> {
        // A session is no user: it has to name one.
        let Some(user) = user.or(self.caller.user.as_ref()) else {
            return self.on_all(right, "user/*");
        };
        let stored = self.directory.user(user).map_or(user, |record| &record.name);
        vec![Question { action: right, resource: Arn::ram(&self.scope.account, &format!("user/{stored}")) }]
    }

    /// A policy, by its stored name as in [`on_user`](Self::on_user).
    #[must_use]
    pub fn policy(&self, kind: PolicyType, name: &PolicyName) -> Arn {
        let stored = self.directory.policy(kind, name).map_or_else(|| name.clone(), |policy| policy.name);
        match kind {
            PolicyType::Custom => Arn::ram(&self.scope.account, &format!("policy/{stored}")),
            PolicyType::System => Arn::system_policy(&stored),
        }
    }
}

/// One of several things that a call asks for.
#[derive(Debug)]
pub struct Item {
    /// The secret; none when the name is one of elsewhere.
    pub secret: Option<SecretName>,
    /// What must be allowed for it.
    pub questions: Vec<Question>,
}

/// What the gate says of an [`Item`].
#[derive(Debug)]
pub struct Verdict {
    /// The id under which it is answered.
    pub request_id: RequestId,
    /// Why it is refused; `None` when it is allowed.
    pub refusal: Option<ApiError>,
}

/// What an action came to.
#[derive(Debug)]
pub struct Done {
    /// The answer's body.
    pub answer: Answer,
    /// The version that was read or written.
    pub version: Option<(VersionId, Vec<VersionStage>)>,
    /// Members of the answer that an audit record may hold.
    pub elements: Vec<(&'static str, String)>,
    /// What became of the single [`Item`]s.
    pub items: Vec<ItemOutcome>,
}

impl Done {
    /// An answer about nothing in particular.
    #[must_use]
    pub const fn answer(answer: Answer) -> Self {
        Self { answer, version: None, elements: Vec::new(), items: Vec::new() }
    }

    /// The same, about a version that was read or written.
    #[must_use]
    pub fn of_version(mut self, id: VersionId, stages: Vec<VersionStage>) -> Self {
        self.version = Some((id, stages));
        self
    }

    /// The same, with members that an audit record of a change may hold.
    #[must_use]
    pub fn telling(mut self, elements: Vec<(&'static str, String)>) -> Self {
        self.elements = elements;
        self
    }
}

/// An action of the API.
pub trait Action: Sized + Send + Sync + 'static {
    /// Its row in the table.
    const SPEC: Spec;

    /// Reads and checks the parameters.
    ///
    /// # Errors
    ///
    /// `MissingParameter` or `InvalidParameter`; nothing has been looked at but the request.
    fn parse(input: &Input<'_>) -> Result<Self, ApiError>;

    /// Looks up what the names in it stand for, once: what rights are decided on
    /// is then what it is done to.
    fn resolve(&mut self, _services: &Services) {}

    /// What must be allowed for it, all of it.
    fn questions(&self, asking: &Asking<'_>) -> Vec<Question>;

    /// The secret that it is about.
    fn secret(&self) -> Option<&SecretName> {
        None
    }

    /// For a call about many secrets: what must be allowed on each of them, and
    /// which they are. The gate decides them one by one.
    fn selection(&self) -> Option<(&'static str, &Selector)> {
        None
    }

    /// For a call that asks for several things, each allowed or refused by
    /// itself: what they are. The gate then asks these questions only.
    fn items(&self, _asking: &Asking<'_>) -> Vec<Item> {
        Vec::new()
    }

    /// For a call about several things, of which all must be allowed: what they
    /// are. The gate then asks these questions only, those about each secret by
    /// its own tags and policy.
    fn parts(&self, _asking: &Asking<'_>) -> Vec<Item> {
        Vec::new()
    }

    /// Takes what the gate has decided of each of the [`items`](Self::items),
    /// in their order.
    fn settle(&mut self, _verdicts: Vec<Verdict>) {}

    /// Takes what the gate has decided of each secret of the
    /// [`selection`](Self::selection).
    fn select(&mut self, _chosen: Vec<Candidate>) {}

    /// Learns under what circumstances it is called, once it is allowed: for
    /// lists that leave out single items.
    fn meet(&mut self, _circumstances: Circumstances) {}

    /// The tags that the call would set, for conditions on them.
    fn request_tags(&self) -> &[Tag] {
        &[]
    }

    /// Further condition keys that the call gives values to.
    fn conditions(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }

    /// The trust policy of the role that the call takes on.
    fn trust(&self, _asking: &Asking<'_>) -> Option<Arc<Policy>> {
        None
    }

    /// The tags that the call would take off, for conditions on them.
    fn untags(&self) -> Option<&Untag> {
        None
    }

    /// Does it.
    fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> impl Future<Output = Result<Done, ApiError>> + Send;
}

/// A reply with the proof that it is on record, or the reason why it is not.
pub type Served<'a> = Pin<Box<dyn Future<Output = Result<(Reply, Recorded), ApiError>> + Send + 'a>>;

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The action's properties.
    pub spec: Spec,
    /// Serves a signed call of it through the gate.
    pub serve: for<'a> fn(&'a Gate, &'a Call, Signed<'a>) -> Served<'a>,
}

const fn row<A: Action>() -> Row {
    Row { spec: A::SPEC, serve: |gate, call, signed| Box::pin(gate.pass::<A>(call, signed)) }
}

/// Every action there is.
pub static TABLE: &[Row] = &[
    row::<ram::members::AddUserToGroup>(),
    row::<sts::AssumeRole>(),
    row::<ram::attachments::AttachPolicyToGroup>(),
    row::<ram::attachments::AttachPolicyToRole>(),
    row::<ram::attachments::AttachPolicyToUser>(),
    row::<batch_get_secret_value::BatchGetSecretValue>(),
    row::<keys::CancelKeyDeletion>(),
    row::<campaigns::CancelRotationCampaign>(),
    row::<ram::alias::ClearAccountAlias>(),
    row::<ram::keys::CreateAccessKey>(),
    row::<keys::CreateAlias>(),
    row::<ram::groups::CreateGroup>(),
    row::<keys::CreateKey>(),
    row::<keys::CreateKeyVersion>(),
    row::<ram::policies::CreatePolicy>(),
    row::<ram::versions::CreatePolicyVersion>(),
    row::<ram::roles::CreateRole>(),
    row::<create_secret::CreateSecret>(),
    row::<ram::service_roles::CreateServiceLinkedRole>(),
    row::<ram::users::CreateUser>(),
    row::<keys::Decrypt>(),
    row::<ram::keys::DeleteAccessKey>(),
    row::<keys::DeleteAlias>(),
    row::<ram::groups::DeleteGroup>(),
    row::<ram::policies::DeletePolicy>(),
    row::<ram::versions::DeletePolicyVersion>(),
    row::<ram::roles::DeleteRole>(),
    row::<delete_secret::DeleteSecret>(),
    row::<ram::service_roles::DeleteServiceLinkedRole>(),
    row::<ram::users::DeleteUser>(),
    row::<keys::DescribeAccountKmsStatus>(),
    row::<keys::DescribeKey>(),
    row::<keys::DescribeKeyVersion>(),
    row::<keys::DescribeRegions>(),
    row::<campaigns::DescribeRotationCampaign>(),
    row::<describe_secret::DescribeSecret>(),
    row::<ram::attachments::DetachPolicyFromGroup>(),
    row::<ram::attachments::DetachPolicyFromRole>(),
    row::<ram::attachments::DetachPolicyFromUser>(),
    row::<keys::DisableKey>(),
    row::<keys::EnableKey>(),
    row::<keys::Encrypt>(),
    row::<keys::GenerateDataKey>(),
    row::<keys::GenerateDataKeyWithoutPlaintext>(),
    row::<ram::alias::GetAccountAlias>(),
    row::<sts::GetCallerIdentity>(),
    row::<ram::groups::GetGroup>(),
    row::<ram::policies::GetPolicy>(),
    row::<ram::versions::GetPolicyVersion>(),
    row::<get_random_password::GetRandomPassword>(),
    row::<ram::roles::GetRole>(),
    row::<secret_policies::GetSecretPolicy>(),
    row::<get_secret_value::GetSecretValue>(),
    row::<ram::service_roles::GetServiceLinkedRoleDeletionStatus>(),
    row::<ram::service_roles::GetServiceLinkedRoleTemplate>(),
    row::<ram::users::GetUser>(),
    row::<give_up_secret_rotation::GiveUpSecretRotation>(),
    row::<ram::keys::ListAccessKeys>(),
    row::<keys::ListAliases>(),
    row::<keys::ListAliasesByKeyId>(),
    row::<ram::attachments::ListEntitiesForPolicy>(),
    row::<ram::groups::ListGroups>(),
    row::<ram::members::ListGroupsForUser>(),
    row::<keys::ListKeyVersions>(),
    row::<keys::ListKeys>(),
    row::<keys::ListKmsInstances>(),
    row::<ram::policies::ListPolicies>(),
    row::<ram::attachments::ListPoliciesForGroup>(),
    row::<ram::attachments::ListPoliciesForRole>(),
    row::<ram::attachments::ListPoliciesForUser>(),
    row::<ram::versions::ListPolicyVersions>(),
    row::<tags::ListResourceTags>(),
    row::<ram::roles::ListRoles>(),
    row::<campaigns::ListRotationCampaigns>(),
    row::<list_rotation_events::ListRotationEvents>(),
    row::<list_secret_rotations::ListSecretRotations>(),
    row::<list_secret_version_ids::ListSecretVersionIds>(),
    row::<list_secrets::ListSecrets>(),
    row::<tags::ListTagResources>(),
    row::<ram::users::ListUsers>(),
    row::<ram::members::ListUsersForGroup>(),
    row::<campaigns::PauseRotationCampaign>(),
    row::<campaign_plan::PlanRotationCampaign>(),
    row::<put_secret_value::PutSecretValue>(),
    row::<ram::members::RemoveUserFromGroup>(),
    row::<restore_secret::RestoreSecret>(),
    row::<campaigns::ResumeRotationCampaign>(),
    row::<ram::roles::RevokeRoleSessions>(),
    row::<rotate_secret::RotateSecret>(),
    row::<keys::ScheduleKeyDeletion>(),
    row::<ram::alias::SetAccountAlias>(),
    row::<ram::versions::SetDefaultPolicyVersion>(),
    row::<keys::SetDeletionProtection>(),
    row::<secret_policies::SetSecretPolicy>(),
    row::<campaign_plan::StartRotationCampaign>(),
    row::<tags::TagResource>(),
    row::<tags::TagResources>(),
    row::<tags::UntagResource>(),
    row::<tags::UntagResources>(),
    row::<ram::keys::UpdateAccessKey>(),
    row::<keys::UpdateAlias>(),
    row::<ram::groups::UpdateGroup>(),
    row::<keys::UpdateKeyDescription>(),
    row::<ram::policies::UpdatePolicyDescription>(),
    row::<ram::roles::UpdateRole>(),
    row::<keys::UpdateRotationPolicy>(),
    row::<update_secret::UpdateSecret>(),
    row::<update_secret_rotation_policy::UpdateSecretRotationPolicy>(),
    row::<update_secret_version_stage::UpdateSecretVersionStage>(),
    row::<ram::users::UpdateUser>(),
];

/// The row of an action in a version of an API.
///
/// # Errors
///
/// 404 `InvalidAction.NotFound`, or 400 `InvalidVersion` when the action
/// exists in another version (kms-secrets.md section 2.9).
pub fn find(action: &str, version: &str) -> Result<&'static Row, ApiError> {
    let named = TABLE.binary_search_by(|row| row.spec.name.cmp(action)).ok().and_then(|at| TABLE.get(at));
    let known = Service::ALL.into_iter().any(|s| s.version() == version);
    match named {
        Some(row) if row.spec.service.version() == version => Ok(row),
        Some(row) => Err(ApiError::new(
            "InvalidVersion",
            400,
            format!("The action belongs to Version {}.", row.spec.service.version()),
        )),
        None if !known => Err(ApiError::new(
            "InvalidVersion",
            400,
            "The Version is none that is served here: 2016-01-20, 2015-05-01, 2015-04-01.",
        )),
        None => {
            Err(ApiError::new("InvalidAction.NotFound", 404, "The action does not exist in this Version."))
        }
    }
}

/// Whether an action of that name exists and changes nothing.
#[must_use]
pub fn is_read(action: &str) -> bool {
    let row = TABLE.binary_search_by(|row| row.spec.name.cmp(action)).ok().and_then(|at| TABLE.get(at));
    row.is_some_and(|row| row.spec.access() == EventAccess::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::describe;

    #[test]
    fn the_table_is_in_the_order_of_its_names_and_names_its_rights() {
        assert!(TABLE.is_sorted_by(|a, b| a.spec.name < b.spec.name));
        let described: Vec<&str> = describe::all().iter().map(|d| d.name).collect();
        assert_eq!(TABLE.iter().map(|row| row.spec.name).collect::<Vec<_>>(), described);
        for row in TABLE {
            assert_eq!(row.spec.right, row.spec.description.right());
            let found = find(row.spec.name, row.spec.service.version()).unwrap();
            assert_eq!(found.spec.name, row.spec.name);
        }
    }

    #[test]
    fn a_right_is_needed_for_all_but_what_the_contract_leaves_open() {
        let open = TABLE.iter().filter(|row| row.spec.description.needs_no_right());
        assert_eq!(
            open.map(|row| row.spec.name).collect::<Vec<_>>(),
            ["DescribeRegions", "GetCallerIdentity"]
        );
    }

    #[test]
    fn an_action_of_another_version_is_not_found_by_accident() {
        assert_eq!(find("CreateUser", "2016-01-20").unwrap_err().code, "InvalidVersion");
        assert_eq!(find("Nothing", "2016-01-20").unwrap_err().code, "InvalidAction.NotFound");
        assert_eq!(find("getsecretvalue", "2016-01-20").unwrap_err().code, "InvalidAction.NotFound");
        assert_eq!(find("Nothing", "1999-01-01").unwrap_err().code, "InvalidVersion");
    }
}
