//! What applies to one caller, indexed by action.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::decide::{Decision, Layer, Match};
use super::document::{Policy, PolicyKind};
use super::pairs::Pairs;
use super::statement::{Effect, Statement, Subject};

/// A policy with the name under which it is attached.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The name, for explanations and records.
    pub name: Arc<str>,
    /// Which of its versions this is, if it has versions.
    pub version: Option<Arc<str>>,
    /// The policy.
    pub policy: Arc<Policy>,
}

impl Attached {
    /// The policy `policy`, known as `name`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, policy: Arc<Policy>) -> Self {
        Self { name: name.into(), version: None, policy }
    }

    /// The same, known as this version of it.
    #[must_use]
    pub fn at_version(self, version: impl Into<Arc<str>>) -> Self {
        Self { version: Some(version.into()), ..self }
    }
}

/// All policies that apply to one caller, except those of resources.
///
/// A policy in a layer that is not of its kind counts as damaged, so that a
/// mix-up denies.
/// Clones share the policies themselves.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub(super) identity: Arc<Pool>,
    pub(super) session: Option<Arc<Pool>>,
    pub(super) control: Option<Arc<Pool>>,
    pub(super) resource_groups: BTreeMap<Box<str>, Arc<Pool>>,
}

impl PolicySet {
    /// The policies of a user and of the user's groups, or those of a role.
    /// Without any of them nothing is allowed.
    #[must_use]
    pub fn identity(policies: impl IntoIterator<Item = Attached>) -> Self {
        Self {
            identity: Pool::new(Layer::Identity, PolicyKind::Identity, policies).into(),
            session: None,
            control: None,
            resource_groups: BTreeMap::new(),
        }
    }

    /// Adds the policy that was given when the session began; it only narrows.
    #[must_use]
    pub fn with_session(mut self, policy: Attached) -> Self {
        self.session = Some(Pool::new(Layer::Session, PolicyKind::Session, [policy]).into());
        self
    }

    /// Adds the control policies of the account, one pool; an empty one
    /// restricts nothing.
    #[must_use]
    pub fn with_control(mut self, policies: impl IntoIterator<Item = Attached>) -> Self {
        let mut policies = policies.into_iter().peekable();
        self.control = policies
            .peek()
            .is_some()
            .then(|| Pool::new(Layer::Control, PolicyKind::Control, policies).into());
        self
    }

    /// Adds the policies attached for the resource group `group`, in place of
    /// those that the set has for it.
    #[must_use]
    pub fn with_resource_group(mut self, group: &str, policies: impl IntoIterator<Item = Attached>) -> Self {
        let pool = Pool::new(Layer::ResourceGroup, PolicyKind::ResourceGroup, policies);
        self.resource_groups.insert(group.into(), pool.into());
        self
    }
}

/// A policy by its name and version.
type Known = (Arc<str>, Option<Arc<str>>);

/// Policies among which any deny wins over every allow (rule E1).
#[derive(Debug)]
pub(super) struct Pool {
    layer: Layer,
    /// The policies' names and versions.
    names: Box<[Known]>,
    /// The name of a damaged policy; with one, the pool decides nothing else.
    broken: Option<Arc<str>>,
    denies: Index,
    allows: Index,
}

impl Pool {
    fn new(layer: Layer, kind: PolicyKind, policies: impl IntoIterator<Item = Attached>) -> Self {
        let mut names = Vec::new();
        let mut broken = None;
        let (mut denies, mut allows) = (IndexBuilder::default(), IndexBuilder::default());
        for Attached { name, version, policy } in policies {
            match policy.statements_as(kind) {
                None => broken = Some(Arc::clone(&name)),
                Some(statements) => {
                    for (number, statement) in statements.iter().enumerate() {
                        let place = Place {
                            policy: names.len(),
                            number,
                            resource_pairs: statement.resource_pairs,
                            statement: Arc::clone(statement),
                        };
                        match statement.effect {
                            Effect::Deny => denies.add(&place),
                            Effect::Allow => allows.add(&place),
                        }
                    }
                }
            }
            names.push((name, version));
        }
        Self { layer, names: names.into(), broken, denies: denies.finish(), allows: allows.finish() }
    }

    pub(super) fn judge(&self, subject: &Subject<'_>) -> Decision {
        if let Some(name) = &self.broken {
            return Decision::DenyBroken { layer: self.layer, policy: Some(Arc::clone(name)) };
        }
        if let Some(place) = self.denies.find(subject) {
            return Decision::DenyExplicit { by: self.matched(place) };
        }
        match self.allows.find(subject) {
            Some(place) => Decision::Allow { by: self.matched(place) },
            None => Decision::DenyImplicit { layer: self.layer },
        }
    }

    fn matched(&self, place: &Place) -> Match {
        let (policy, version) = self.names.get(place.policy).cloned().unzip();
        Match {
            layer: self.layer,
            policy,
            version: version.flatten(),
            statement: Some(place.number),
            sid: place.statement.sid.clone(),
        }
    }
}

/// A statement and where it stands.
#[derive(Debug, Clone)]
struct Place {
    policy: usize,
    number: usize,
    /// A copy of the statement's, so that passing it by touches nothing else.
    resource_pairs: Pairs,
    statement: Arc<Statement>,
}

/// What is found under each name; sorted by name.
type Sorted<T> = Box<[(Box<str>, Vec<T>)]>;

/// Finds statements by action without looking at all of them.
#[derive(Debug)]
struct Index {
    /// By an action that is named in full.
    exact: Sorted<Place>,
    /// By the service of a pattern whose service has no wildcard; with the
    /// number of the pattern.
    service: Sorted<(usize, Place)>,
    /// `*`, patterns over several services, `NotAction`.
    rest: Box<[Place]>,
}

#[derive(Default)]
struct IndexBuilder {
    exact: BTreeMap<Box<str>, Vec<Place>>,
    service: BTreeMap<Box<str>, Vec<(usize, Place)>>,
    rest: Vec<Place>,
}

impl IndexBuilder {
    fn add(&mut self, place: &Place) {
        let actions = &place.statement.actions;
        let mut everywhere = actions.negated;
        for (number, pattern) in actions.patterns.iter().enumerate().filter(|_| !actions.negated) {
            if let Some(action) = pattern.literal() {
                self.exact.entry(action.into()).or_default().push(place.clone());
            } else if let Some((service, _)) = pattern.literal_prefix().split_once(':') {
                self.service.entry(service.into()).or_default().push((number, place.clone()));
            } else {
                everywhere = true;
            }
        }
        if everywhere {
            self.rest.push(place.clone());
        }
    }

    fn finish(self) -> Index {
        Index {
            exact: self.exact.into_iter().collect(),
            service: self.service.into_iter().collect(),
            rest: self.rest.into(),
        }
    }
}

impl Index {
    /// A statement that applies, if there is one.
    fn find(&self, subject: &Subject<'_>) -> Option<&Place> {
        let exact = look_up(&self.exact, subject.action);
        let service =
            subject.action.split_once(':').map_or(&[][..], |(service, _)| look_up(&self.service, service));
        let candidates = exact.len() + service.len() + self.rest.len();
        let pairs = if candidates > FEW { Pairs::of(subject.resource) } else { Pairs::ALL };
        let by_service = service.iter().filter(|(number, place)| {
            let pattern = place.statement.actions.patterns.get(*number);
            pairs.contains(&place.resource_pairs)
                && pattern.is_some_and(|pattern| pattern.matches(subject.action))
        });
        let by_action = exact.iter().chain(by_service.map(|(_, place)| place));
        let applies = |place: &&Place| place.statement.applies_besides_action(subject);
        by_action.filter(|place| pairs.contains(&place.resource_pairs)).find(applies).or_else(|| {
            let mut rest = self.rest.iter().filter(|place| pairs.contains(&place.resource_pairs));
            rest.find(|place| place.statement.applies(subject))
        })
    }
}

/// Statements that are looked at without asking first for the pairs in the resource.
const FEW: usize = 8;

fn look_up<'i, T>(sorted: &'i [(Box<str>, Vec<T>)], key: &str) -> &'i [T] {
    sorted
        .binary_search_by(|(name, _)| (**name).cmp(key))
        .ok()
        .and_then(|at| sorted.get(at))
        .map_or(&[], |(_, found)| found)
}
