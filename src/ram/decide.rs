//! The decision on one request (rules E1 to E9).

use std::sync::Arc;

use super::context::Context;
use super::document::{Policy, PolicyKind};
use super::policy_set::PolicySet;
use super::principal::Principal;
use super::statement::{Effect, Subject};

/// What is asked: one action on one resource. An API call that needs several
/// of them makes several requests, and all must be allowed (rule E10).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for, such as `kms:GetSecretValue`; compared without ASCII case.
    pub action: &'a str,
    /// On what: an ARN as ram.md section 2 builds them. The account in its
    /// fourth segment owns the resource; an ARN without one belongs to nobody.
    pub resource: &'a str,
    /// The resource group of the resource, if it is in one.
    pub resource_group: Option<&'a str>,
    /// The values of condition keys.
    pub context: &'a Context<'a>,
}

/// Where the statements of a decision stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// No policy: the account itself asks for what is its own (rule E2).
    Root,
    /// Control policies of the account.
    Control,
    /// The policy that was given with AssumeRole.
    Session,
    /// Policies of the user and the user's groups, or of the role.
    Identity,
    /// The same, attached for the resource's group.
    ResourceGroup,
    /// The trust policy of the role to be assumed.
    Trust,
    /// The policy of the key or secret.
    Resource,
}

/// The statement that decided; there may be others with the same effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Where it stands.
    pub layer: Layer,
    /// The name of its policy. Trust and resource policies have none: they
    /// belong to the resource.
    pub policy: Option<Arc<str>>,
    /// Which version of the policy that is, where policies have versions.
    pub version: Option<Arc<str>>,
    /// Its place in the policy, from 0; none for [`Layer::Root`].
    pub statement: Option<usize>,
    /// Its `Sid`, if it has one.
    pub sid: Option<Arc<str>>,
}

/// The outcome. Everything but [`Allow`](Self::Allow) is a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The request is allowed. Where two policies must both allow (rules E6
    /// and E7), the caller's own one is given.
    Allow {
        /// What allows it.
        by: Match,
    },
    /// A statement denies the request.
    DenyExplicit {
        /// What denies it.
        by: Match,
    },
    /// No statement allows the request.
    DenyImplicit {
        /// The first layer in the order of rule E3 that does not allow it.
        layer: Layer,
    },
    /// A policy that would have to be asked is damaged, or given in a layer
    /// that is not of its kind: an internal fault, to be reported as one.
    DenyBroken {
        /// Its layer.
        layer: Layer,
        /// Its name, where it has one.
        policy: Option<Arc<str>>,
    },
}

impl Decision {
    /// Whether the request may go ahead.
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

/// Decides on a request by the caller's policies and, in `resource_policy`, the
/// policy of the resource: of the key or secret, or, for the AssumeRole
/// actions, the trust policy of the role.
///
/// The same policies and request always give the same answer; the order of
/// policies and statements has no influence on whether it is allowed.
#[must_use]
pub fn decide(policies: &PolicySet, resource_policy: Option<&Policy>, request: &Request<'_>) -> Decision {
    let mut room = [0; FOLDED_ON_STACK];
    let long;
    let action = match fold_into(&mut room, request.action) {
        Some(action) => action,
        None => {
            long = request.action.to_ascii_lowercase();
            &long
        }
    };
    let &Request { principal, resource, resource_group, context, .. } = request;
    let subject = Subject { principal, action, resource, context };
    let assumes = action.starts_with("sts:assumerole");
    let own = principal.account().is_some_and(|account| owns(account, resource));
    match principal {
        Principal::Root { .. } if assumes => {
            return Decision::DenyImplicit { layer: Layer::Identity };
        }
        Principal::Root { .. } if own => {
            return Decision::Allow {
                by: Match { layer: Layer::Root, policy: None, version: None, statement: None, sid: None },
            };
        }
        // They have no policies of their own, so that the role's decides alone.
        Principal::Service(_) | Principal::Federated(_) => {
            return judge_resource(resource_policy, assumes, &subject);
        }
        // Control policies do not bind the account itself.
        Principal::Root { .. } => {}
        Principal::User { .. } | Principal::AssumedRole { .. } => {
            for pool in [&policies.control, &policies.session].into_iter().flatten() {
                let decision = pool.judge(&subject);
                if !decision.is_allow() {
                    return decision;
                }
            }
        }
    }
    let caller = judge_caller(policies, resource_group, &subject);
    let resource = judge_resource(resource_policy, assumes, &subject);
    merge(caller, resource, assumes || !own)
}

/// Account-level policies, then those of the resource's group (rule E4).
fn judge_caller(policies: &PolicySet, resource_group: Option<&str>, subject: &Subject<'_>) -> Decision {
    let account_level = policies.identity.judge(subject);
    let Decision::DenyImplicit { .. } = account_level else {
        return account_level;
    };
    resource_group
        .and_then(|group| policies.resource_groups.get(group))
        .map(|pool| pool.judge(subject))
        .filter(|decision| !matches!(decision, Decision::DenyImplicit { .. }))
        .unwrap_or(account_level)
}

/// The policy of the resource, or of the role that is to be assumed.
fn judge_resource(policy: Option<&Policy>, assumes: bool, subject: &Subject<'_>) -> Decision {
    let (layer, kind) =
        if assumes { (Layer::Trust, PolicyKind::Trust) } else { (Layer::Resource, PolicyKind::Resource) };
    let Some(policy) = policy else {
        return Decision::DenyImplicit { layer };
    };
    let Some(statements) = policy.statements_as(kind) else {
        return Decision::DenyBroken { layer, policy: None };
    };
    let find = |effect| {
        let mut all = statements.iter().enumerate();
        let (number, statement) = all.find(|(_, s)| s.effect == effect && s.applies(subject))?;
        Some(Match {
            layer,
            policy: None,
            version: None,
            statement: Some(number),
            sid: statement.sid.clone(),
        })
    };
    match find(Effect::Deny) {
        Some(by) => Decision::DenyExplicit { by },
        None => find(Effect::Allow).map_or(Decision::DenyImplicit { layer }, |by| Decision::Allow { by }),
    }
}

/// Rules E5, E6 and E7: a deny on either side wins; else one of the two must
/// allow or, across accounts and for AssumeRole, both.
fn merge(caller: Decision, resource: Decision, both: bool) -> Decision {
    match (caller, resource) {
        (broken @ Decision::DenyBroken { .. }, _) | (_, broken @ Decision::DenyBroken { .. }) => broken,
        (deny @ Decision::DenyExplicit { .. }, _) | (_, deny @ Decision::DenyExplicit { .. }) => deny,
        (allow @ Decision::Allow { .. }, Decision::Allow { .. }) => allow,
        (Decision::Allow { .. }, silent @ Decision::DenyImplicit { .. }) if both => silent,
        (silent @ Decision::DenyImplicit { .. }, Decision::Allow { .. }) if both => silent,
        (allow @ Decision::Allow { .. }, Decision::DenyImplicit { .. })
        | (Decision::DenyImplicit { .. }, allow @ Decision::Allow { .. }) => allow,
        (silent @ Decision::DenyImplicit { .. }, Decision::DenyImplicit { .. }) => silent,
    }
}

/// Whether a resource belongs to the account. System policies, which are the
/// same for every account, belong to each (ram.md section 3.3).
fn owns(account: &str, resource: &str) -> bool {
    let mut segments = resource.splitn(5, ':');
    let (scheme, service) = (segments.next(), segments.next());
    let owner = segments.nth(1).filter(|owner| !owner.is_empty());
    let relative = segments.next().unwrap_or_default();
    let shared = service == Some("ram") && owner == Some("system") && relative.starts_with("policy/");
    scheme == Some("acs") && (owner == Some(account) || shared)
}

/// Actions of up to this many bytes are folded without asking for memory.
const FOLDED_ON_STACK: usize = 96;

/// The action in lower case, if there is room for it.
fn fold_into<'r>(room: &'r mut [u8; FOLDED_ON_STACK], action: &str) -> Option<&'r str> {
    let room = room.get_mut(..action.len())?;
    room.copy_from_slice(action.as_bytes());
    room.make_ascii_lowercase();
    std::str::from_utf8(room).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_owns_what_bears_its_id() {
        for (resource, owned) in [
            ("acs:kms:r:1:secret/a", true),
            ("acs:kms:r:1", true),
            ("acs:kms:r:2:secret/1", false),
            ("acs:kms:r:*:secret/a", false),
            ("acs:kms:1::secret/a", false),
            ("arn:kms:r:1:secret/a", false),
            ("*", false),
            ("", false),
            ("acs:ram:*:system:policy/AdministratorAccess", true),
            ("acs:ram:*:system:user/a", false),
            ("acs:kms:*:system:policy/a", false),
        ] {
            assert_eq!(owns("1", resource), owned, "{resource}");
        }
        assert!(!owns("", "acs:kms:r::secret/a"));
    }

    #[test]
    fn long_actions_are_folded_too() {
        let long = "KMS:".to_owned() + &"X".repeat(FOLDED_ON_STACK);
        assert_eq!(fold_into(&mut [0; FOLDED_ON_STACK], &long), None);
        assert_eq!(fold_into(&mut [0; FOLDED_ON_STACK], "KMS:É"), Some("kms:É"));
    }
}
