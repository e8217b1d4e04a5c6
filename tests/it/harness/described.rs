//! Holds what the appliance answers to the description of its API, in every test.

use serde_json::Value;
use strongroom::api::describe::{self, Description};

fn description(action: &str) -> Option<&'static Description> {
    describe::all().iter().find(|d| d.name == action)
}

/// Fails when an answer has a member that is not described, lacks one that is,
/// or has one of another type.
pub(crate) fn check_answer(action: &str, answer: &Value) {
    let Some(description) = description(action) else { return };
    if let Err(fault) = fits(&description.answer_schema(), answer, "answer") {
        panic!("{action} answered otherwise than schema/api says: {fault}: {answer}");
    }
}

/// Fails when an action answers a code that is not described for it, or with
/// another status.
pub(crate) fn check_error(action: &str, status: u16, code: &str) {
    let Some(description) = description(action) else { return };
    let known = description.error_codes().find(|error| error.code == code);
    let Some(known) = known else { panic!("{action} answered {code}, which schema/api does not say") };
    assert_eq!(status, known.status, "{action} answered {code} with another status than schema/api says");
}

/// As much of JSON schema as descriptions make use of.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        other => return Err(format!("{at} has the type {other:?} in the schema")),
    };
    if !is {
        return Err(format!("{at} is no {}", schema["type"]));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let moment = value.as_str().unwrap_or_default();
        let plain = moment.is_empty()
            || (moment.len() == 20 && moment.as_bytes().get(10) == Some(&b'T') && moment.ends_with('Z'));
        assert!(pattern.starts_with("^([0-9]{4}-"), "only moments have a pattern in an answer");
        if !plain {
            return Err(format!("{at} is no moment"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(&schema["items"], item, &format!("{at}[{index}]"))?;
    }
    let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
        return Ok(());
    };
    for (name, member) in members {
        let property = properties.get(name).ok_or_else(|| format!("{at}.{name} is not described"))?;
        fits(property, member, &format!("{at}.{name}"))?;
    }
    let mut required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.find(|name| !members.contains_key(*name)) {
        Some(name) => Err(format!("{at}.{name} is missing")),
        None => Ok(()),
    }
}
