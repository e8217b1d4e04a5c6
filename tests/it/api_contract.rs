//! The API as `schema/api` describes it, held to the contract: every action,
//! parameter, limit, member of an answer and error code of
//! `fixtures/data/api-contract.toml`, both ways. What only Strongroom has says
//! of itself that it is an extension.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use strongroom::api::describe::{self, Description, Kind, Member, MemberKind, Parameter, Service};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contract {
    action: Vec<Action>,
    error: Vec<Code>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
    section: String,
    parameters: Vec<Rule>,
    answer: Vec<String>,
    #[serde(default)]
    not_answered: BTreeMap<String, String>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    not_given: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: bool,
    default: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
    max_bytes: Option<u64>,
    max_items: Option<u64>,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    #[serde(rename = "section")]
    _section: String,
    code: String,
    status: u16,
    unused: Option<String>,
}

fn contract() -> Contract {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/api-contract.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The actions of the KMS API that are described, by name.
fn described() -> BTreeMap<&'static str, &'static Description> {
    describe::all().iter().filter(|d| d.service == Service::Kms).map(|d| (d.name, d)).collect()
}

fn is_extension(text: &str) -> bool {
    text.starts_with("An extension")
}

/// Fails with all that is wrong, so that one run shows it.
fn nothing(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_action_of_the_contract_is_served_and_every_other_is_an_extension() {
    let (contract, described) = (contract(), described());
    let known: BTreeSet<&str> = contract.action.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(known.len(), contract.action.len(), "no action stands there twice");
    let mut faults = Vec::new();
    for action in &contract.action {
        match described.get(action.name.as_str()) {
            None => faults.push(format!("{} is not served", action.name)),
            Some(d) if d.extension => faults.push(format!("{} is no extension", action.name)),
            Some(d) => {
                let sections = d.source.split(|c: char| !c.is_ascii_digit() && c != '.');
                let section = action.section.rsplit(' ').next().unwrap();
                if !sections.map(|s| s.trim_end_matches('.')).any(|s| s == section) {
                    faults.push(format!("{}: {} is not section {section}", action.name, d.source));
                }
            }
        }
    }
    for (name, description) in described {
        if !known.contains(name) && !description.extension {
            faults.push(format!("{name} is neither in the contract nor an extension"));
        }
    }
    nothing(&faults);
}

#[test]
fn parameters_are_those_of_the_contract() {
    let described = described();
    let mut faults = Vec::new();
    for action in contract().action {
        let Some(description) = described.get(action.name.as_str()) else { continue };
        let mut fault = |name: &str, what: &str| faults.push(format!("{} {name}: {what}", action.name));
        for rule in &action.parameters {
            match description.parameters.iter().find(|p| p.name == rule.name) {
                Some(parameter) => {
                    for what in differences(rule, parameter) {
                        fault(&rule.name, &what);
                    }
                }
                None => fault(&rule.name, "is not described"),
            }
        }
        for parameter in description.parameters {
            let known = action.parameters.iter().any(|rule| rule.name == parameter.name);
            if !known && !is_extension(parameter.text) {
                fault(parameter.name, "is not in the contract");
            }
        }
    }
    nothing(&faults);
}

/// Where a description differs from the rule. A limit that holds in some cases
/// only is left to the action, and then it must be told in words.
fn differences(rule: &Rule, parameter: &Parameter) -> Vec<String> {
    let kind = match rule.kind.as_str() {
        "Boolean" | "String(bool)" => Kind::Boolean,
        "Integer" | "String(int)" => Kind::Integer,
        "String(JSON)" => Kind::Json,
        "String(base64)" => Kind::Base64,
        "String" => Kind::String,
        other => panic!("{other} is no type"),
    };
    let mut found = Vec::new();
    let is_text = |kind| matches!(kind, Kind::Json | Kind::String);
    if parameter.kind != kind && !(rule.kind == "String" && is_text(parameter.kind)) {
        found.push(format!("is {:?}, not {}", parameter.kind, rule.kind));
    }
    if parameter.required != rule.required {
        found.push(format!("required is {}, not {}", parameter.required, rule.required));
    }
    if let Some(default) = &rule.default
        && parameter.default != Some(default)
    {
        found.push(format!("the default is {:?}, not {default}", parameter.default));
    }
    let words: Vec<&str> = parameter.text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let bytes = parameter.max_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    for (limit, is, should) in [
        ("min", parameter.min, rule.min),
        ("max", parameter.max, rule.max),
        ("max_bytes", bytes, rule.max_bytes),
        ("max_items", parameter.max_items.map(u64::from), rule.max_items),
    ] {
        let Some(should) = should else { continue };
        let told = is.is_none() && words.contains(&should.to_string().as_str());
        if is != Some(should) && !told {
            found.push(format!("{limit} is {is:?}, not {should}"));
        }
    }
    let should: BTreeSet<&str> = rule.values.iter().map(String::as_str).collect();
    let is: BTreeSet<&str> = parameter.values.iter().copied().collect();
    let told = is.is_empty() && should.iter().all(|value| words.contains(value));
    if !should.is_empty() && is != should && !told {
        found.push(format!("the values are {is:?}, not {should:?}"));
    }
    found
}

#[test]
fn answers_have_the_members_of_the_contract() {
    let described = described();
    let mut faults = Vec::new();
    for action in contract().action {
        let Some(description) = described.get(action.name.as_str()) else { continue };
        let mut fault = |name: &str, what: &str| faults.push(format!("{} {name}: {what}", action.name));
        let members = || description.answer.iter();
        for (name, why) in &action.not_answered {
            assert!(!why.is_empty());
            if members().any(|m| m.name == name) {
                fault(name, "is answered after all");
            }
        }
        for told in &action.answer {
            let (name, optional) = told.strip_suffix('?').map_or((told.as_str(), false), |name| (name, true));
            match members().find(|m| m.name == name) {
                Some(member) if member.optional == optional => {}
                Some(member) => fault(name, &format!("optional is {}", member.optional)),
                None => fault(name, "is not described"),
            }
        }
        for member in members() {
            let known = action.answer.iter().any(|told| told.trim_end_matches('?') == member.name);
            if !known && !is_extension(member.text) {
                fault(member.name, "is not in the contract");
            }
        }
    }
    nothing(&faults);
}

/// Sections 0 and 1: times, numbers, and documents that are texts; booleans
/// stand in requests only.
#[test]
fn members_of_answers_have_the_types_of_the_contract() {
    let mut faults = Vec::new();
    for description in described().values().filter(|d| !d.extension) {
        for Member { name, kind, text, .. } in description.answer {
            let last = name.rsplit('.').next().unwrap().trim_end_matches("[]");
            let fits = match last {
                "CreateTime" | "UpdateTime" | "MaterialExpireTime" | "PlannedDeleteTime" => {
                    *kind == MemberKind::Time
                }
                date if date.ends_with("Date") => *kind == MemberKind::Time,
                "PageNumber" | "PageSize" | "TotalCount" | "HttpStatus" => *kind == MemberKind::Integer,
                "ExtendedConfig" | "Policy" => *kind == MemberKind::Json,
                "Plaintext" => matches!(kind, MemberKind::Base64 | MemberKind::Secret),
                "CiphertextBlob" => *kind == MemberKind::Base64,
                "SecretData" | "RandomPassword" => *kind == MemberKind::Secret,
                _ => matches!(kind, MemberKind::String | MemberKind::Object),
            };
            if !fits && !is_extension(text) {
                faults.push(format!("{} {name}: is {kind:?}", description.name));
            }
        }
    }
    nothing(&faults);
}

#[test]
fn actions_give_the_errors_of_their_sections() {
    let described = described();
    let mut faults = Vec::new();
    for action in contract().action {
        let Some(description) = described.get(action.name.as_str()) else { continue };
        for code in &action.errors {
            let why = action.not_given.get(code);
            if description.errors.contains(&code.as_str()) == why.is_some() {
                faults.push(format!("{} {code}: given or not, unlike the contract", action.name));
            }
        }
    }
    // Section 10.3.
    for description in described.values().filter(|d| d.parameter("DryRun").is_some()) {
        for code in ["AccessDeniedError", "DryRunOperationError", "ValidationError"] {
            if !description.errors.contains(&code) {
                faults.push(format!("{} {code}: a dry run can end so", description.name));
            }
        }
    }
    nothing(&faults);
}

#[test]
fn error_codes_have_the_statuses_of_the_contract_and_each_is_given_by_somebody() {
    let contract = contract();
    let mut faults = Vec::new();
    for Code { code, status, unused, .. } in &contract.error {
        let described = describe::errors().iter().find(|e| e.code == code && e.services.contains(&"kms"));
        match (described, unused) {
            (Some(_), Some(why)) => faults.push(format!("{code} is described, though {why}")),
            (Some(e), None) if e.status == *status => {}
            (Some(e), None) => faults.push(format!("{code} has status {}, not {status}", e.status)),
            (None, Some(_)) => {}
            (None, None) => faults.push(format!("{code} is not described")),
        }
    }
    for error in describe::errors() {
        if error.services.contains(&"kms") {
            if !contract.error.iter().any(|c| c.code == error.code) {
                faults.push(format!("{} is not in the contract's table", error.code));
            }
        } else if error.status != ram_status(error.code) {
            faults.push(format!("{} has status {}", error.code, error.status));
        }
        if !error.common && !describe::all().iter().any(|d| d.can_answer(error.code)) {
            faults.push(format!("{} is given by no action", error.code));
        }
    }
    nothing(&faults);
}

/// The status of a code that only the RAM API has (ram.md section 3.5).
fn ram_status(code: &str) -> u16 {
    match code.split('.').next().unwrap() {
        "InvalidParameter" | "MalformedPolicyDocument" => 400,
        "NoPermission" => 403,
        "EntityNotExist" => 404,
        "EntityAlreadyExists" | "DeleteConflict" | "LimitExceeded" => 409,
        "Throttling" => 429,
        "InternalError" => 500,
        other => panic!("{other} is no code of the RAM API"),
    }
}
