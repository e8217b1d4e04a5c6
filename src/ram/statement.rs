//! One statement of a policy, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::Clause;
use super::context::Context;
use super::document::PolicyKind;
use super::error::Fault;
use super::json::Json;
use super::pairs::Pairs;
use super::pattern::Pattern;
use super::principal::{AccountMeans, Named, Principal};

/// What a statement does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    /// What the author calls it.
    pub(super) sid: Option<Arc<str>>,
    /// In lower case (rule M2).
    pub(super) actions: Selection,
    /// Trust policies have none: they belong to one role.
    resources: Option<Selection>,
    /// What a resource must contain for the statement to apply.
    pub(super) resource_pairs: Pairs,
    /// Only trust and resource policies have one.
    principals: Option<Principals>,
    clauses: Box<[Clause]>,
}

/// Patterns to fit, or, for `NotAction` and `NotResource`, none of which may
/// fit (rules M4 and M5).
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) negated: bool,
    pub(super) patterns: Box<[Pattern]>,
}

#[derive(Debug)]
struct Principals {
    named: Box<[Named]>,
    account_means: AccountMeans,
}

/// What statements look at. The action is in lower case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) principal: &'a Principal,
    pub(super) action: &'a str,
    pub(super) resource: &'a str,
    pub(super) context: &'a Context<'a>,
}

type Members = BTreeMap<String, Json>;

const MEMBERS: [&str; 8] =
    ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"];

impl Statement {
    /// Checks (rules V4 to V11) and compiles a statement.
    pub(super) fn compile(kind: PolicyKind, statement: &Json) -> Result<Self, Fault> {
        let members = statement.object().ok_or(Fault::new("V4", "a statement is an object"))?;
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(Fault::new("V5", "a statement has no such member").under(unknown));
        }
        let under = |name: &'static str| move |fault: Fault| fault.under(name);
        let effect = match members.get("Effect").and_then(Json::text) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            Some(_) | None => return Err(Fault::new("V6", "it is Allow or Deny").under("Effect")),
        };
        let (resources, resource_pairs) = compile_resources(kind, members)?;
        Ok(Self {
            effect,
            sid: members.get("Sid").map(compile_sid).transpose().map_err(under("Sid"))?,
            actions: compile_actions(kind, members)?,
            resources,
            resource_pairs,
            principals: compile_principals(kind, effect, members).map_err(under("Principal"))?,
            clauses: match members.get("Condition") {
                Some(condition) => Clause::compile(condition).map_err(under("Condition"))?,
                None => Box::default(),
            },
        })
    }

    /// Whether the statement applies to a request.
    pub(super) fn applies(&self, subject: &Subject<'_>) -> bool {
        self.actions.covers(subject.action) && self.applies_besides_action(subject)
    }

    /// Whether the statement applies to a request whose action it covers.
    pub(super) fn applies_besides_action(&self, subject: &Subject<'_>) -> bool {
        self.resources.as_ref().is_none_or(|resources| resources.covers(subject.resource))
            && self.principals.as_ref().is_none_or(|principals| principals.cover(subject.principal))
            && self.clauses.iter().all(|clause| clause.holds(subject.context))
    }
}

impl Selection {
    fn covers(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(text)) != self.negated
    }
}

impl Principals {
    fn cover(&self, principal: &Principal) -> bool {
        self.named.iter().any(|named| named.covers(principal, self.account_means))
    }
}

fn compile_sid(sid: &Json) -> Result<Arc<str>, Fault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_/+=.@- ".contains(&b);
    sid.text()
        .filter(|sid| (1..=128).contains(&sid.len()) && sid.bytes().all(allowed))
        .map(Arc::from)
        .ok_or(Fault::new("V5", "it has 1 to 128 letters, digits, blanks or _/+=.@-"))
}

fn compile_actions(kind: PolicyKind, members: &Members) -> Result<Selection, Fault> {
    let (name, negated, value) = one_of(members, "Action", "NotAction")
        .ok_or(Fault::new("V7", "exactly one of Action and NotAction is needed"))?;
    let fault = |rule, reason| Fault::new(rule, reason).under(name);
    let texts = value
        .one_or_list()
        .ok_or_else(|| fault("V7", "it is a text or a list of texts that is not empty"))?;
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        if !is_action(text) {
            return Err(fault("V7", "an action is * or service:name"));
        }
        let folded = text.to_ascii_lowercase();
        if kind.action_prefix().is_some_and(|prefix| !folded.starts_with(prefix)) {
            return Err(fault(
                "V10",
                "an action begins with kms: in a resource policy and with sts: in a trust policy",
            ));
        }
        patterns.push(Pattern::new(&folded));
    }
    Ok(Selection { negated, patterns: patterns.into() })
}

/// The resources, and what pairs one of them must contain.
fn compile_resources(kind: PolicyKind, members: &Members) -> Result<(Option<Selection>, Pairs), Fault> {
    let value = one_of(members, "Resource", "NotResource");
    match kind {
        PolicyKind::Trust => {
            let absent = !members.contains_key("Resource") && !members.contains_key("NotResource");
            absent.then_some((None, Pairs::NONE)).ok_or(Fault::new("V8", "a trust policy names no resource"))
        }
        PolicyKind::Resource => {
            match value.and_then(|(_, negated, value)| Some((negated, value.one_or_list()?))) {
                Some((false, texts)) if texts == ["*"] => Ok((None, Pairs::NONE)),
                Some(_) | None => Err(Fault::new("V8", "the Resource of a resource policy is *")),
            }
        }
        PolicyKind::Identity | PolicyKind::ResourceGroup | PolicyKind::Session | PolicyKind::Control => {
            let (name, negated, value) =
                value.ok_or(Fault::new("V8", "exactly one of Resource and NotResource is needed"))?;
            let fault = |reason| Fault::new("V8", reason).under(name);
            let texts = value
                .one_or_list()
                .ok_or_else(|| fault("it is a text or a list of texts that is not empty"))?;
            if !texts.iter().all(|text| is_resource(text)) {
                return Err(fault("a resource is * or acs:service:region:account:relative-id"));
            }
            let pairs = if negated { Pairs::NONE } else { Pairs::required_by(&texts) };
            let patterns = texts.into_iter().map(Pattern::new).collect();
            Ok((Some(Selection { negated, patterns }), pairs))
        }
    }
}

fn compile_principals(
    kind: PolicyKind,
    effect: Effect,
    members: &Members,
) -> Result<Option<Principals>, Fault> {
    let principal = members.get("Principal");
    let account_means = match (kind, effect) {
        (PolicyKind::Trust, _) => AccountMeans::UsersAndSessions,
        (PolicyKind::Resource, Effect::Allow) => AccountMeans::Itself,
        (PolicyKind::Resource, Effect::Deny) => AccountMeans::Everyone,
        (PolicyKind::Identity | PolicyKind::ResourceGroup | PolicyKind::Session | PolicyKind::Control, _) => {
            let absent = principal.is_none();
            return absent
                .then_some(None)
                .ok_or(Fault::new("V9", "only trust and resource policies have one"));
        }
    };
    let kinds = principal.and_then(Json::object).filter(|kinds| !kinds.is_empty());
    let kinds = kinds.ok_or(Fault::new("V9", "it is needed, as an object that is not empty"))?;
    let mut named = Vec::new();
    for (name, values) in kinds {
        let fault = |reason| Fault::new("V9", reason).under(name);
        if name != "RAM" && (kind == PolicyKind::Resource || (name != "Service" && name != "Federated")) {
            return Err(fault("there is no such kind of principal here"));
        }
        let texts =
            values.one_or_list().ok_or_else(|| fault("it is a text or a list of texts that is not empty"))?;
        for text in texts {
            named
                .push(Named::parse(name, text).ok_or_else(|| fault("this is not a principal of that kind"))?);
        }
    }
    Ok(Some(Principals { named: named.into(), account_means }))
}

/// The one of two members that is there, and whether it is the second.
fn one_of<'m>(
    members: &'m Members,
    plain: &'static str,
    negated: &'static str,
) -> Option<(&'static str, bool, &'m Json)> {
    match (members.get(plain), members.get(negated)) {
        (Some(value), None) => Some((plain, false, value)),
        (None, Some(value)) => Some((negated, true, value)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// `*`, or a service and a name with one colon between them (rule V7).
fn is_action(text: &str) -> bool {
    let of = |text: &str, others: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
    };
    text == "*"
        || text.split_once(':').is_some_and(|(service, name)| of(service, b"_-*?") && of(name, b"_-./*?"))
}

/// `*`, or an ARN with five segments, of which service and relative id are not
/// empty (rule V8). Colons may follow in the relative id.
fn is_resource(text: &str) -> bool {
    let mut segments = text.splitn(5, ':');
    let arn = segments.next() == Some("acs")
        && segments.next().is_some_and(|service| !service.is_empty())
        && segments.nth(2).is_some_and(|relative| !relative.is_empty());
    text == "*" || (arn && text.chars().all(|c| c > ' '))
}
