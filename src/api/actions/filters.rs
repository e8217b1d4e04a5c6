//! `Filters` of lists: conditions that all must hold, each with values of which
//! one must be equal (kms-secrets.md section 5.6).

use serde::Deserialize;

use super::Input;
use crate::api::ApiError;

/// Conditions of a list, and values of a condition, at most.
const MAX: usize = 10;

/// One condition as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Condition {
    /// What is compared.
    pub(super) key: String,
    /// With what.
    pub(super) values: Vec<String>,
}

/// The conditions that are sent, of which each has one of the `known` keys, with
/// the number of characters that its values may have. None is sent as nothing,
/// an empty text or an empty array.
///
/// # Errors
///
/// `InvalidParameter`.
pub(super) fn conditions(input: &Input<'_>, known: &[(&str, usize)]) -> Result<Vec<Condition>, ApiError> {
    let Some(text) = input.optional("Filters").filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let read: Option<Vec<Condition>> = serde_json::from_str(text).ok();
    let fits = |condition: &Condition| {
        let longest = known.iter().find(|(key, _)| *key == condition.key).map(|(_, longest)| *longest);
        longest.is_some_and(|longest| {
            (1..=MAX).contains(&condition.values.len())
                && condition.values.iter().all(|value| (1..=longest).contains(&value.chars().count()))
        })
    };
    read.filter(|read| read.len() <= MAX && read.iter().all(fits)).ok_or_else(|| {
        let keys: Vec<String> =
            known.iter().map(|(key, longest)| format!("{key} (up to {longest} characters)")).collect();
        ApiError::invalid(format!(
            "The parameter Filters must be a JSON array of at most {MAX} objects {{\"Key\":\"…\",\"Values\":[\"…\"]}} \
             with 1 to {MAX} values each. Keys: {}.",
            keys.join(", ")
        ))
    })
}
