//! The policy language: the vectors of `fixtures/data/ram`, properties over
//! generated cases, and a second evaluator to differ from.
#![cfg(test)]

#[path = "ram_vectors/generator.rs"]
mod generator;
#[path = "ram_vectors/naive.rs"]
mod naive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom::ram::{
    Attached, Context, Decision, Entry, Layer, Policy, PolicyError, PolicyKind, PolicySet, Principal,
    Request, decide,
};

use generator::Dice;

#[derive(Debug, Clone)]
struct PolicyText {
    kind: String,
    text: String,
    group: Option<String>,
}

#[derive(Debug, Clone)]
struct Case {
    policies: Vec<PolicyText>,
    principal: String,
    action: String,
    resource: String,
    group: Option<String>,
    context: Vec<(String, Vec<String>)>,
}

impl Case {
    fn of_vector(vector: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let policy = |policy: &Value| PolicyText {
            kind: text(&policy["type"]),
            text: policy["raw"].as_str().map_or_else(|| policy["document"].to_string(), str::to_owned),
            group: policy["resourceGroupId"].as_str().map(str::to_owned),
        };
        let request = &vector["request"];
        let values = |value: &Value| match value {
            Value::Array(list) => list.iter().map(text).collect(),
            Value::String(single) => vec![single.clone()],
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                panic!("{value} is no value of a condition key")
            }
        };
        Self {
            policies: vector["policies"].as_array().unwrap().iter().map(policy).collect(),
            principal: text(&request["principal"]),
            action: text(&request["action"]),
            resource: text(&request["resource"]),
            group: request["resourceGroupId"].as_str().map(str::to_owned),
            context: request["context"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(k, v)| (k.clone(), values(v)))
                .collect(),
        }
    }

    fn decide(&self) -> Result<Decision, PolicyError> {
        let mut layers: BTreeMap<(&str, Option<&str>), Vec<Attached>> = BTreeMap::new();
        let mut of_resource = None;
        for (number, policy) in self.policies.iter().enumerate() {
            let parsed = Policy::parse(kind(&policy.kind), &policy.text)?;
            if matches!(policy.kind.as_str(), "trust" | "resource") {
                of_resource = Some(parsed);
            } else {
                let attached = Attached::new(format!("p{number}"), Arc::new(parsed));
                layers.entry((&policy.kind, policy.group.as_deref())).or_default().push(attached);
            }
        }
        let mut set = PolicySet::identity(layers.remove(&("identity", None)).unwrap_or_default());
        for ((kind, group), mut policies) in layers {
            set = match kind {
                "control" => set.with_control(policies),
                "session" => set.with_session(policies.remove(0)),
                _ => set.with_resource_group(group.unwrap(), policies),
            };
        }
        let principal = principal(&self.principal);
        let text = strongroom::ram::Value::Text;
        let entries: Vec<Entry<'_>> = self
            .context
            .iter()
            .flat_map(|(key, values)| values.iter().map(|v| Entry::new(key, text(v))))
            .collect();
        let request = Request {
            principal: &principal,
            action: &self.action,
            resource: &self.resource,
            resource_group: self.group.as_deref(),
            context: &Context::new(&entries),
        };
        Ok(decide(&set, of_resource.as_ref(), &request))
    }

    fn outcome(&self) -> &'static str {
        match self.decide() {
            Err(_) => "InvalidPolicy",
            Ok(Decision::Allow { .. }) => "Allow",
            Ok(Decision::DenyExplicit { .. }) => "ExplicitDeny",
            Ok(Decision::DenyImplicit { .. }) => "ImplicitDeny",
            Ok(Decision::DenyBroken { .. }) => "Broken",
        }
    }

    /// Lets `change` work on the statements of the policy number `at`.
    fn change(&mut self, at: usize, change: impl FnOnce(&str, &mut Vec<Value>)) {
        let policy = &mut self.policies[at];
        let mut document: Value = serde_json::from_str(&policy.text).unwrap();
        change(&policy.kind, document["Statement"].as_array_mut().unwrap());
        policy.text = document.to_string();
    }
}

fn kind(name: &str) -> PolicyKind {
    match name {
        "identity" => PolicyKind::Identity,
        "resource-group" => PolicyKind::ResourceGroup,
        "session" => PolicyKind::Session,
        "control" => PolicyKind::Control,
        "trust" => PolicyKind::Trust,
        "resource" => PolicyKind::Resource,
        other => panic!("{other} is no kind of policy"),
    }
}

fn principal(text: &str) -> Principal {
    let Some((account, rest)) = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(':')) else {
        return Principal::Service(text.into());
    };
    let account = account.into();
    match rest.split('/').collect::<Vec<_>>()[..] {
        ["root"] => Principal::Root { account },
        ["user", name] => Principal::User { account, name: name.into() },
        ["assumed-role", role, session] => {
            Principal::AssumedRole { account, role: role.into(), session: session.into() }
        }
        _ => Principal::Federated(text.into()),
    }
}

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/ram/vectors.json");
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].take().as_array().unwrap().clone();
    assert_eq!(vectors.len(), 271);
    vectors
}

#[test]
fn every_vector_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        let case = Case::of_vector(&vector);
        let outcome = case.outcome();
        // The fastest of a few tries, since other processes may hold one of them up.
        let timed = || {
            let started = Instant::now();
            case.outcome();
            started.elapsed()
        };
        let took = (0..3).map(|_| timed()).min().unwrap();
        if vector["expect"] != outcome || took > Duration::from_millis(50) {
            wrong.push(format!(
                "{} {}: {outcome} in {took:?}, expected {}",
                vector["rule"], vector["name"], vector["expect"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_naive_evaluator_agrees_with_every_vector_too() {
    for vector in vectors().iter().filter(|vector| vector["expect"] != "InvalidPolicy") {
        assert_eq!(vector["expect"], naive::decide(&Case::of_vector(vector)), "{}", vector["name"]);
    }
}

#[test]
fn twenty_thousand_cases_agree_with_the_naive_evaluator() {
    let mut dice = Dice(20_260_301);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..20_000 {
        let case = generator::case(&mut dice);
        let outcome = case.outcome();
        assert_eq!(outcome, naive::decide(&case), "case {number}: {case:#?}");
        *seen.entry(outcome).or_default() += 1;
    }
    assert!(
        ["Allow", "ExplicitDeny", "ImplicitDeny"].iter().all(|outcome| seen[outcome] > 2_000),
        "{seen:?}"
    );
}

#[test]
fn order_and_duplication_do_not_matter() {
    let mut dice = Dice(1);
    for _ in 0..3_000 {
        let case = generator::case(&mut dice);
        let mut changed = case.clone();
        for at in 0..changed.policies.len() {
            changed.change(at, |_, statements| {
                statements.push(statements[dice.roll(statements.len())].clone());
                dice.shuffle(statements);
            });
        }
        if let Some(identity) = changed.policies.iter().find(|policy| policy.kind == "identity").cloned() {
            changed.policies.push(identity);
        }
        dice.shuffle(&mut changed.policies);
        dice.shuffle(&mut changed.context);
        assert_eq!(case.outcome(), changed.outcome(), "{case:#?}");
    }
}

#[test]
fn adding_a_deny_never_grants() {
    let mut dice = Dice(2);
    for _ in 0..4_000 {
        let case = generator::case(&mut dice);
        if case.policies.is_empty() || case.outcome() == "Allow" {
            continue;
        }
        let mut changed = case.clone();
        let at = dice.roll(changed.policies.len());
        changed.change(at, |kind, statements| statements.push(generator::statement(&mut dice, kind, "Deny")));
        assert_ne!(changed.outcome(), "Allow", "{changed:#?}");
    }
}

#[test]
fn removing_an_allow_never_grants() {
    let mut dice = Dice(3);
    for _ in 0..4_000 {
        let case = generator::case(&mut dice);
        if case.policies.is_empty() || case.outcome() == "Allow" {
            continue;
        }
        let mut changed = case.clone();
        let at = dice.roll(changed.policies.len());
        changed.change(at, |kind, statements| {
            // A policy must keep one statement: this one applies to no request.
            let prefix = if kind == "trust" { "sts" } else { "kms" };
            let chosen = dice.roll(statements.len());
            if statements[chosen]["Effect"] == "Allow" {
                statements[chosen].as_object_mut().unwrap().remove("NotAction");
                statements[chosen]["Action"] = json!(format!("{prefix}:Nothing"));
            }
        });
        assert_ne!(changed.outcome(), "Allow", "{changed:#?}");
    }
}

#[test]
fn a_session_policy_never_widens() {
    let mut dice = Dice(4);
    for _ in 0..3_000 {
        let mut case = generator::case(&mut dice);
        case.policies.retain(|policy| policy.kind != "session");
        if case.outcome() == "Allow" {
            continue;
        }
        let text =
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#.to_owned();
        case.policies.push(PolicyText { kind: "session".to_owned(), text, group: None });
        assert_ne!(case.outcome(), "Allow", "{case:#?}");
    }
}

const ALL_KINDS: [PolicyKind; 6] = [
    PolicyKind::Identity,
    PolicyKind::ResourceGroup,
    PolicyKind::Session,
    PolicyKind::Control,
    PolicyKind::Trust,
    PolicyKind::Resource,
];

#[test]
fn monstrous_documents_are_refused_at_once() {
    let nested = "[".repeat(1_000);
    let names: String = (0..3_000).map(|n| format!("\"{n}\":0,")).collect();
    let objects = "{\"a\":".repeat(1_000);
    let strange = ["\u{0}".repeat(1_000_000), " ".repeat(1_000_000), format!("{{{names}\"0\":1}}")];
    let large = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"{}}}]}}"#,
        " ".repeat(1_000_000)
    );
    for text in strange.iter().chain([&nested, &objects, &large]) {
        for kind in ALL_KINDS {
            let started = Instant::now();
            assert!(Policy::parse(kind, text).is_err());
            assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        }
    }
}

fn everything(kind: PolicyKind) -> Arc<Policy> {
    let text = r#"{"Version":"1","Statement":[{"Sid":"all","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    Arc::new(Policy::parse(kind, text).unwrap())
}

fn alice_reads(set: &PolicySet, of_resource: Option<&Policy>) -> Decision {
    let request = Request {
        principal: &principal("acs:ram::1:user/alice"),
        action: "kms:GetSecretValue",
        resource: "acs:kms:r:1:secret/a",
        resource_group: Some("rg-1"),
        context: &Context::default(),
    };
    decide(set, of_resource, &request)
}

#[test]
fn a_damaged_policy_denies_and_is_reported() {
    let broken = |kind| Attached::new("damaged", Arc::new(Policy::unusable(kind)));
    let whole = |kind| Attached::new("whole", everything(kind));
    let identity = || PolicySet::identity([whole(PolicyKind::Identity)]);
    for (layer, set) in [
        (Layer::Identity, PolicySet::identity([whole(PolicyKind::Identity), broken(PolicyKind::Identity)])),
        (Layer::Session, identity().with_session(broken(PolicyKind::Session))),
        (Layer::Control, identity().with_control([broken(PolicyKind::Control), whole(PolicyKind::Control)])),
        (
            Layer::ResourceGroup,
            PolicySet::identity([]).with_resource_group("rg-1", [broken(PolicyKind::ResourceGroup)]),
        ),
    ] {
        let expected = Decision::DenyBroken { layer, policy: Some("damaged".into()) };
        assert_eq!(alice_reads(&set, None), expected);
    }
    let expected = Decision::DenyBroken { layer: Layer::Resource, policy: None };
    assert_eq!(alice_reads(&identity(), Some(&Policy::unusable(PolicyKind::Resource))), expected);
}

#[test]
fn a_policy_in_a_layer_of_another_kind_denies() {
    let misplaced = PolicySet::identity([Attached::new("p", everything(PolicyKind::Session))]);
    assert!(matches!(alice_reads(&misplaced, None), Decision::DenyBroken { layer: Layer::Identity, .. }));
    let set = PolicySet::identity([Attached::new("p", everything(PolicyKind::Identity))]);
    let of_resource = Policy::unusable(PolicyKind::Trust);
    assert!(matches!(
        alice_reads(&set, Some(&of_resource)),
        Decision::DenyBroken { layer: Layer::Resource, .. }
    ));
}

#[test]
fn a_decision_names_the_statement_that_made_it() {
    let text = r#"{"Version":"1","Statement":[
        {"Sid":"first","Effect":"Allow","Action":"kms:List*","Resource":"*"},
        {"Sid":"no values","Effect":"Deny","Action":"kms:GetSecretValue","Resource":"*"}]}"#;
    let denies = Policy::parse(PolicyKind::Identity, text).unwrap();
    let all = || Attached::new("all", everything(PolicyKind::Identity));
    let Decision::Allow { by } = alice_reads(&PolicySet::identity([all()]), None) else {
        panic!("not allowed")
    };
    assert_eq!(
        (by.layer, by.policy.as_deref(), by.statement, by.sid.as_deref()),
        (Layer::Identity, Some("all"), Some(0), Some("all"))
    );
    let set = PolicySet::identity([all(), Attached::new("careful", Arc::new(denies))]);
    let Decision::DenyExplicit { by } = alice_reads(&set, None) else { panic!("not denied") };
    assert_eq!(
        (by.policy.as_deref(), by.statement, by.sid.as_deref()),
        (Some("careful"), Some(1), Some("no values"))
    );
    let silent = PolicySet::identity([]);
    assert_eq!(alice_reads(&silent, None), Decision::DenyImplicit { layer: Layer::Identity });
    let stopped = PolicySet::identity([all()]).with_session(Attached::new("s", {
        let text = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}"#;
        Arc::new(Policy::parse(PolicyKind::Session, text).unwrap())
    }));
    assert_eq!(alice_reads(&stopped, None), Decision::DenyImplicit { layer: Layer::Session });
}

#[test]
fn among_a_thousand_statements_the_one_that_applies_is_found() {
    let policy = |number: usize| {
        let statement = |n: usize| json!({ "Effect": "Allow", "Action": "kms:GetSecretValue", "Resource": format!("acs:kms:*:*:secret/{n}/*") });
        let statements: Vec<Value> = (number * 40..number * 40 + 40).map(statement).collect();
        let text = json!({ "Version": "1", "Statement": statements }).to_string();
        Attached::new(format!("p{number}"), Arc::new(Policy::parse(PolicyKind::Identity, &text).unwrap()))
    };
    let set = PolicySet::identity((0..25).map(policy));
    let alice = principal("acs:ram::1:user/alice");
    let of = |resource: &str| {
        let context = Context::default();
        decide(
            &set,
            None,
            &Request {
                principal: &alice,
                action: "kms:getSecretValue",
                resource,
                resource_group: None,
                context: &context,
            },
        )
    };
    let Decision::Allow { by } = of("acs:kms:r:1:secret/999/a") else { panic!("not allowed") };
    assert_eq!((by.policy.as_deref(), by.statement), (Some("p24"), Some(39)));
    assert_eq!(of("acs:kms:r:1:secret/1000/a"), Decision::DenyImplicit { layer: Layer::Identity });
}
