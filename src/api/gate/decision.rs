//! From questions to a decision.

use std::sync::Arc;

use super::{Gate, source_address};
use crate::api::actions::{Item, Question, Scope, Service, Verdict};
use crate::api::wire::Call;
use crate::api::{AccessDeniedDetail, ApiError};
use crate::audit::AuthorizationDecision;
use crate::identity::Caller;
use crate::model::campaign::Selector;
use crate::model::key::{KeyName, KeyRecord};
use crate::model::{Arn, SecretName, Tag, Timestamp, Untag};
use crate::ram::{Context, Decision, Entry, Layer, Policy, Request, Value, decide};
use crate::rotation::fleet::Candidate;
use crate::vault::{self, VaultError};

/// The answers to the questions of one call.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) checks: Vec<(Question, Decision)>,
    /// For a refusal that hangs on tags or on the policy of the secret: what
    /// would be decided without them, which is all that the caller may learn.
    shown: Option<Vec<(Question, Decision)>>,
    pub(super) set_version: u64,
    /// Why tags and policy of the secret are not known, although it may have some.
    unknown: Option<ApiError>,
}

/// The check that decides: the first that is no allow, else the first.
fn decisive(checks: &[(Question, Decision)]) -> Option<&(Question, Decision)> {
    checks.iter().find(|(_, d)| !d.is_allow()).or_else(|| checks.first())
}

impl Decided {
    /// The check that decides.
    pub(super) fn decisive(&self) -> Option<&(Question, Decision)> {
        decisive(&self.checks)
    }

    /// Whether everything asked is allowed, and anything was asked.
    pub(super) fn allows(&self) -> bool {
        self.unknown.is_none() && self.decisive().is_some_and(|(_, decision)| decision.is_allow())
    }

    /// Why the call is refused; `None` when all is allowed. No question at all
    /// is a refusal, and so is an allow without all that it depends on.
    pub(super) fn refusal(&self, service: Service, caller: &Caller, scope: &Scope) -> Option<ApiError> {
        if self.allows() {
            return None;
        }
        let shown = decisive(self.shown.as_deref().unwrap_or(&self.checks));
        let Some((question, decision)) = shown else { return Some(ApiError::internal()) };
        let (layer, kind) = match decision {
            // A deny by a tag or a policy that could not be read must not be missed.
            Decision::Allow { .. } => return self.unknown.clone(),
            Decision::DenyExplicit { by } => (by.layer, "ExplicitDeny"),
            Decision::DenyImplicit { layer } => (*layer, "ImplicitDeny"),
            Decision::DenyBroken { .. } => return Some(ApiError::internal()),
        };
        let (code, message) = service.denial(question.resource.as_str());
        let mut error = ApiError::new(code, 403, message);
        error.detail = Some(Box::new(AccessDeniedDetail {
            auth_action: question.action.to_owned(),
            auth_principal_type: if caller.session.is_some() { "AssumedRoleUser" } else { "SubUser" },
            auth_principal_owner_id: scope.account.to_string(),
            auth_principal_display_name: match &caller.session {
                Some(_) => caller.name.to_string(),
                None => caller.id.to_string(),
            },
            policy_type: policy_type(layer),
            no_permission_type: kind,
        }));
        Some(error)
    }
}

/// The layer's name for the caller (ram.md section 5.2).
const fn policy_type(layer: Layer) -> &'static str {
    match layer {
        Layer::Root | Layer::Identity => "AccountLevelIdentityBasedPolicy",
        Layer::Control => "ControlPolicy",
        Layer::Session => "SessionPolicy",
        Layer::ResourceGroup => "ResourceGroupLevelIdentityBasedPolicy",
        Layer::Trust => "AssumeRolePolicy",
        Layer::Resource => "ResourceBasedPolicy",
    }
}

/// The layer's name in audit records.
pub(super) const fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Root => "root",
        Layer::Control => "control",
        Layer::Session => "session",
        Layer::Identity => "identity",
        Layer::ResourceGroup => "resource-group",
        Layer::Trust => "trust",
        Layer::Resource => "resource",
    }
}

/// The decision in the words of audit records.
pub(super) const fn recorded(decision: &Decision) -> AuthorizationDecision {
    match decision {
        Decision::Allow { .. } => AuthorizationDecision::Allow,
        Decision::DenyExplicit { .. } => AuthorizationDecision::ExplicitDeny,
        Decision::DenyImplicit { .. } | Decision::DenyBroken { .. } => AuthorizationDecision::ImplicitDeny,
    }
}

/// What must be allowed to see the names of all secrets.
const LIST: &str = "kms:ListSecrets";
/// Secrets that are read at once when many are decided.
const SELECTED_AT_ONCE: u32 = 500;
/// Keys of a request at most: fixed ones and tags.
const FIXED_KEYS: usize = 6;

/// What a call is about, as far as decisions depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matter<'a> {
    /// The secret.
    pub(super) about: Option<&'a SecretName>,
    /// What the call would do to tags.
    pub(super) labels: LabelChange<'a>,
    /// Further condition keys that the call gives values to.
    pub(super) conditions: &'a [(&'static str, &'a str)],
    /// The trust policy of the role that is to be taken on.
    pub(super) trust: Option<&'a Policy>,
}

impl<'a> Matter<'a> {
    /// A secret and nothing else.
    const fn of(secret: &'a SecretName) -> Self {
        Self { about: Some(secret), labels: LabelChange::NONE, conditions: &[], trust: None }
    }
}

/// What a call would do to the tags of what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelChange<'a> {
    /// Those that it would set.
    pub(super) set: &'a [Tag],
    /// Those that it would take off.
    pub(super) taken: Option<&'a Untag>,
}

impl LabelChange<'_> {
    /// Nothing.
    pub(super) const NONE: Self = Self { set: &[], taken: None };
}

impl Gate {
    /// Asks the caller's policies, and that of the secret which the questions
    /// are about. The condition keys are those of ram.md section 1.6 that this
    /// appliance can know: tags and policy of a secret are read for it, so that
    /// a deny by them is never missed.
    pub(super) async fn decide(
        &self,
        call: &Call,
        caller: &Caller,
        matter: &Matter<'_>,
        questions: &[Question],
    ) -> Decided {
        let &Matter { about, labels, conditions, trust } = matter;
        // What cannot be found has neither tags nor a policy; that it is missing
        // is told only to callers whose policies allow the action.
        let (secret, unknown) = match about {
            None => (None, None),
            Some(name) => match self.services.vault.find(name).await {
                Ok(entry) => (Some(entry), None),
                Err(VaultError::NotFound) => (None, None),
                Err(error) => {
                    tracing::error!(request_id = %call.request_id, error = ?error, "tags and policy of a secret cannot be read");
                    (None, Some(ApiError::from(error)))
                }
            },
        };
        let record = secret.as_ref().map(|entry| &entry.record);
        let tags: &[Tag] = record.map_or(&[], |record| &record.tags);
        let on_key = record.and_then(|record| record.encryption_key.as_ref()).map_or_else(Vec::new, |key| {
            let resource = Arn::key(&self.scope.region, &self.scope.account, key);
            let rights = questions.iter().filter_map(|question| right_on_key(question.action));
            rights.map(|action| Question { action, resource: resource.clone() }).collect()
        });
        // What is asked on a key is decided by the tags of that key.
        let questions: Vec<(&Question, Option<Arc<KeyRecord>>)> =
            questions.iter().chain(&on_key).map(|question| (question, self.key_of(question))).collect();
        let policy = secret.as_deref().and_then(vault::Entry::policy);
        // The policy of a secret speaks of that secret alone.
        let own = policy.and(about).map(|name| Arn::secret(&self.scope.region, &self.scope.account, name));
        let circumstances = Circumstances::of(call);
        let ask = |tags: &[Tag], with_tags: bool, policy: Option<&Policy>| -> Vec<(Question, Decision)> {
            let mut entries = circumstances.entries(caller, tags, labels);
            entries.extend(conditions.iter().map(|(key, value)| Entry::new(key, Value::Text(value))));
            let context = Context::new(&entries);
            let decided = questions.iter().map(|(question, key)| {
                let policy = policy.filter(|_| own.as_ref() == Some(&question.resource)).or(trust);
                let (action, resource) = (question.action, &question.resource);
                let decision = match key {
                    None => asked(caller, action, resource, &context, policy),
                    Some(key) => {
                        let tags: &[Tag] = if with_tags { &key.tags } else { &[] };
                        let entries = circumstances.entries(caller, tags, labels);
                        asked(caller, action, resource, &Context::new(&entries), None)
                    }
                };
                ((*question).clone(), decision)
            });
            decided.collect()
        };
        let checks = ask(tags, true, policy);
        let refused = checks.iter().any(|(_, decision)| !decision.is_allow());
        let peculiar = !tags.is_empty() || policy.is_some() || questions.iter().any(|(_, key)| key.is_some());
        // A refusal that reads otherwise for what has tags or a policy than for
        // what does not exist would tell strangers which exist (ram.md, rule E10).
        let shown = (refused && peculiar).then(|| ask(&[], false, None));
        let shown = shown.filter(|shown| shown.iter().any(|(_, decision)| !decision.is_allow()));
        Decided { checks, shown, set_version: caller.directory_version, unknown }
    }

    /// The key that a question is about, if it is about one.
    fn key_of(&self, question: &Question) -> Option<Arc<KeyRecord>> {
        self.services.keys.find(&KeyName::Id(question.resource.as_key()?)).ok()
    }

    /// Decides on each item of a call by itself: what is refused is told in its
    /// place and keeps none of the others. Gives, beside the verdicts, all that
    /// was asked, for the record.
    pub(super) async fn decide_each(
        &self,
        call: &Call,
        caller: &Caller,
        service: Service,
        items: &[Item],
    ) -> (Decided, Vec<Verdict>) {
        let mut all =
            Decided { checks: Vec::new(), shown: None, set_version: caller.directory_version, unknown: None };
        let mut verdicts = Vec::with_capacity(items.len());
        for item in items {
            let refusal = match &item.secret {
                Some(name) => {
                    let decided = self.decide(call, caller, &Matter::of(name), &item.questions).await;
                    let refusal = decided.refusal(service, caller, &self.scope);
                    all.checks.extend(decided.checks);
                    refusal
                }
                // A name of elsewhere is nobody's here.
                None => Some(ApiError::not_found()),
            };
            verdicts.push(Verdict { request_id: self.request_id(), refusal });
        }
        (all, verdicts)
    }
}

impl Gate {
    /// Decides on the parts of a call of which all must be allowed, each by its
    /// own tags and policy. Gives all that was asked, and why the call is refused.
    pub(super) async fn decide_all(
        &self,
        call: &Call,
        caller: &Caller,
        service: Service,
        matter: &Matter<'_>,
        parts: &[Item],
    ) -> (Decided, Option<ApiError>) {
        let mut all =
            Decided { checks: Vec::new(), shown: None, set_version: caller.directory_version, unknown: None };
        let mut refusal = None;
        for part in parts {
            let matter = Matter { about: part.secret.as_ref(), ..*matter };
            let decided = self.decide(call, caller, &matter, &part.questions).await;
            refusal = refusal.or_else(|| decided.refusal(service, caller, &self.scope));
            all.checks.extend(decided.checks);
            all.unknown = all.unknown.or(decided.unknown);
        }
        (all, refusal)
    }
}

/// The right that goes along with one on a secret, on the customer master key
/// that the secret is encrypted under (kms-secrets.md section 9).
fn right_on_key(action: &str) -> Option<&'static str> {
    match action {
        "kms:GetSecretValue" => Some("kms:Decrypt"),
        "kms:PutSecretValue" => Some("kms:GenerateDataKey"),
        _ => None,
    }
}

/// The other name of a right: the policies that the imitated service ships grant
/// some rights on its resources by those of another product (ram.md section 2.1).
fn other_name(action: &str) -> Option<&'static str> {
    match action {
        "kms:ListTagResources" => Some("ecs:ListTagResources"),
        "kms:TagResources" => Some("ecs:TagResources"),
        "kms:UntagResources" => Some("ecs:UntagResources"),
        _ => None,
    }
}

/// Decides by the caller's policies, and by that of the resource. Of a right
/// with two names either is enough, and a deny of either holds.
fn asked(
    caller: &Caller,
    action: &str,
    resource: &Arn,
    context: &Context<'_>,
    policy: Option<&Policy>,
) -> Decision {
    let ask = |action: &str| {
        let request = Request {
            principal: &caller.principal,
            action,
            resource: resource.as_str(),
            resource_group: None,
            context,
        };
        decide(&caller.policies, policy, &request)
    };
    let first = ask(action);
    let Some(other) = other_name(action).map(ask) else { return first };
    match (&first, &other) {
        (Decision::DenyExplicit { .. } | Decision::DenyBroken { .. }, _) => first,
        (_, Decision::DenyExplicit { .. } | Decision::DenyBroken { .. }) => other,
        (Decision::DenyImplicit { .. }, Decision::Allow { .. }) => other,
        (Decision::Allow { .. } | Decision::DenyImplicit { .. }, _) => first,
    }
}

/// What conditions may ask about a call, beside the caller and the resource.
#[derive(Debug, Clone)]
pub struct Circumstances {
    source: std::net::IpAddr,
    arrived: Timestamp,
    agent: Option<String>,
}

impl Circumstances {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            source: source_address(call),
            arrived: call.arrived,
            agent: call.user_agent().map(str::to_owned),
        }
    }

    /// The keys of ram.md section 1.6 that this appliance can know. `tags` are
    /// those of the secret.
    fn entries<'a>(&'a self, caller: &'a Caller, tags: &'a [Tag], labels: LabelChange<'a>) -> Vec<Entry<'a>> {
        let mut entries = Vec::with_capacity(FIXED_KEYS + tags.len() * 2 + labels.set.len() * 2);
        entries.push(Entry::new("acs:SourceIp", Value::Ip(self.source)));
        entries.push(Entry::new("acs:SecureTransport", Value::Bool(true)));
        entries.push(Entry::new("acs:CurrentTime", time(self.arrived)));
        entries.push(Entry::new("acs:PrincipalArn", Value::Text(&caller.principal_arn)));
        if let Some(agent) = &self.agent {
            entries.push(Entry::new("acs:UserAgent", Value::Text(agent)));
        }
        for tag in tags {
            entries.push(Entry::tagged("acs:ResourceTag", &tag.key, &tag.value));
            entries.push(Entry::tagged("kms:tag", &tag.key, &tag.value));
        }
        for tag in labels.set {
            entries.push(Entry::tagged("acs:RequestTag", &tag.key, &tag.value));
            entries.push(Entry::new("acs:TagKeys", Value::Text(&tag.key)));
        }
        // A deny for a key holds as well where it is not named but meant.
        match labels.taken {
            Some(Untag::Keys(keys)) => {
                entries.extend(keys.iter().map(|key| Entry::new("acs:TagKeys", Value::Text(key))));
            }
            Some(Untag::All) => {
                entries.extend(tags.iter().map(|tag| Entry::new("acs:TagKeys", Value::Text(&tag.key))));
            }
            None => {}
        }
        entries
    }

    /// Whether an item of a list must not be shown: the list as a whole was
    /// allowed, but a policy denies the action on this resource. `tags` and
    /// `policy` are those of the item.
    #[must_use]
    pub fn hide(&self, caller: &Caller, question: &Question, tags: &[Tag], policy: Option<&Policy>) -> bool {
        let entries = self.entries(caller, tags, LabelChange::NONE);
        match asked(caller, question.action, &question.resource, &Context::new(&entries), policy) {
            Decision::Allow { .. } | Decision::DenyImplicit { .. } => false,
            Decision::DenyExplicit { .. } | Decision::DenyBroken { .. } => true,
        }
    }
}

fn is_allowed(
    call: &Call,
    caller: &Caller,
    action: &str,
    resource: &Arn,
    tags: &[Tag],
    policy: Option<&Policy>,
) -> bool {
    let circumstances = Circumstances::of(call);
    let entries = circumstances.entries(caller, tags, LabelChange::NONE);
    asked(caller, action, resource, &Context::new(&entries), policy).is_allow()
}

impl Gate {
    /// Decides `right` on every secret that a call selects, each by itself and
    /// by its own tags and policy, so that a deny on one of them holds whatever is allowed
    /// on the rest. Those that are denied are there only for who may list all
    /// secrets: others do not learn how many there are either.
    pub(super) async fn choose(
        &self,
        call: &Call,
        caller: &Caller,
        right: &'static str,
        selector: &Selector,
    ) -> Result<Vec<Candidate>, VaultError> {
        let (region, account) = (&self.scope.region, &self.scope.account);
        let lists = is_allowed(call, caller, LIST, &Arn::secret_container(region, account), &[], None);
        let mut chosen = Vec::new();
        let mut from = Some(selector.prefix.clone());
        while let Some(start) = from {
            let (records, next) = self.services.vault.page(&start, SELECTED_AT_ONCE).await?;
            from = next.filter(|next| next.starts_with(&selector.prefix));
            for secret in records.into_iter().filter(|secret| selector.takes(secret)) {
                let resource = Arn::secret(region, account, &secret.name);
                let policy = self.services.vault.policy_of(&secret);
                let permitted = is_allowed(call, caller, right, &resource, &secret.tags, policy.as_deref());
                if permitted || lists {
                    chosen.push(Candidate { permitted, secret });
                }
            }
        }
        Ok(chosen)
    }
}

fn time(arrived: Timestamp) -> Value<'static> {
    let millis = arrived.millis();
    let nanoseconds = u32::try_from(millis.rem_euclid(1000)).unwrap_or(0).saturating_mul(1_000_000);
    Value::Time { seconds: millis.div_euclid(1000), nanoseconds }
}
