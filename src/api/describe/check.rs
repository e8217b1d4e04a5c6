//! Holds the parameters of a call to their description. Errors name the
//! parameter and its rule, never its value.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_lite::Regex;

use super::{DESCRIPTIONS, Description, Kind, Parameter};
use crate::api::ApiError;
use crate::rpc::encoding::Parameters;

/// The patterns of all descriptions. The build has tried them.
static PATTERNS: LazyLock<HashMap<&'static str, Regex>> = LazyLock::new(|| {
    let parameters = DESCRIPTIONS.iter().flat_map(|d| d.parameters);
    parameters
        .filter_map(|p| {
            let pattern = p.pattern?;
            Some((pattern, Regex::new(&format!("^(?:{pattern})$")).ok()?))
        })
        .collect()
});

impl Description {
    /// Whether what was sent is there as far as it must be, and has the form it
    /// must have. What a description cannot say is checked by the action.
    ///
    /// # Errors
    ///
    /// `MissingParameter` or `InvalidParameter`; where the action has a code for
    /// just that fault, that one.
    pub fn check(&self, sent: &Parameters) -> Result<(), ApiError> {
        for parameter in self.parameters.iter().filter(|p| p.required) {
            let is_there = match parameter.is_repeated() {
                false => sent.get(parameter.name).is_some(),
                true => sent.iter().any(|(name, _)| parameter.is_named(name)),
            };
            if !is_there {
                return Err(ApiError::missing(parameter.name));
            }
        }
        for (name, value) in sent.iter() {
            let Some(parameter) = self.parameter(name) else { continue };
            let is_ignored = parameter
                .ignored_with
                .and_then(|with| sent.get(with))
                .is_some_and(|with| with.eq_ignore_ascii_case("true"));
            if !is_ignored {
                parameter.check(value).map_err(|fault| self.invalid(name, &fault))?;
            }
        }
        Ok(())
    }

    fn invalid(&self, name: &str, fault: &Fault) -> ApiError {
        let general = "InvalidParameter";
        let of_it = format!("{general}.{name}");
        let exact = format!("{of_it}.{}", fault.what);
        let has = |code: &str| self.errors.iter().find(|known| **known == code);
        let code = has(&exact).or_else(|| has(&of_it)).copied().unwrap_or(general);
        ApiError::new(code, 400, format!("The parameter {name} must be {}.", fault.rule))
    }
}

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// The word that the RAM API has for it at the end of a code (ram.md section 3.5).
    what: &'static str,
    /// The rule that is broken, as the end of "must be".
    rule: String,
}

impl Fault {
    fn form(rule: impl Into<String>) -> Self {
        Self { what: "Format", rule: rule.into() }
    }
}

impl Parameter {
    /// Whether there can be several of it.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.name.contains(".N") || self.name.ends_with(".*")
    }

    /// Whether a request means this parameter by that name.
    #[must_use]
    pub fn is_named(&self, sent: &str) -> bool {
        if !self.is_repeated() {
            return self.name == sent;
        }
        if let Some(prefix) = self.name.strip_suffix('*') {
            return sent.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        }
        let (mut rule, mut parts) = (self.name.split('.'), sent.split('.'));
        loop {
            match (rule.next(), parts.next()) {
                (None, None) => return true,
                (Some("N"), Some(part)) if is_index(part) => {}
                (Some(name), Some(part)) if name == part && name != "N" => {}
                _ => return false,
            }
        }
    }

    fn check(&self, value: &str) -> Result<(), Fault> {
        match self.kind {
            Kind::Integer => return self.check_number(value),
            Kind::Boolean if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") => {
                return Err(Fault::form("true or false"));
            }
            Kind::Base64 if data_encoding::BASE64.decode_len(value.len()).is_err() => {
                return Err(Fault::form("base64"));
            }
            Kind::Base64 | Kind::Boolean | Kind::Json | Kind::String => {}
        }
        if !self.values.is_empty() && !self.values.contains(&value) {
            return Err(Fault::form(match self.values {
                [only] => format!("{only} if it is sent"),
                several => format!("one of {}", several.join(", ")),
            }));
        }
        if self.max_bytes.is_some_and(|max| value.len() > max) || self.min.is_some_and(|_| value.is_empty()) {
            return Err(self.lengths());
        }
        if self.min.is_some_and(|min| min > 1) || self.max.is_some() {
            let length = u64::try_from(value.chars().count()).unwrap_or(u64::MAX);
            if self.min.is_some_and(|min| length < min) || self.max.is_some_and(|max| length > max) {
                return Err(self.lengths());
            }
        }
        match self.pattern {
            Some(pattern) if !PATTERNS.get(pattern).is_some_and(|p| p.is_match(value)) => {
                let rule = self.rule.map_or_else(|| format!("of the form {pattern}"), str::to_owned);
                Err(Fault { what: "InvalidChars", rule })
            }
            _ => Ok(()),
        }
    }

    fn check_number(&self, value: &str) -> Result<(), Fault> {
        let (min, max) = (self.min.unwrap_or(0), self.max.unwrap_or(u64::MAX));
        let plain = (1..=9).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { value.parse().ok() } else { None };
        match number.filter(|n| (min..=max).contains(n)) {
            Some(_) => Ok(()),
            None => Err(Fault { what: "Range", rule: format!("a whole number from {min} to {max}") }),
        }
    }

    fn lengths(&self) -> Fault {
        let (max, unit) = match (self.max, self.max_bytes) {
            (_, Some(bytes)) => (Some(u64::try_from(bytes).unwrap_or(u64::MAX)), "bytes"),
            (max, None) => (max, "characters"),
        };
        let rule = match (self.min.unwrap_or(0), max) {
            (0, Some(max)) => format!("at most {max} {unit} long"),
            (min, Some(max)) => format!("{min} to {max} {unit} long"),
            (min, None) => format!("at least {min} {unit} long"),
        };
        Fault { what: "Length", rule }
    }
}

/// A number from 1 as requests count with it. How many there may be is for the
/// action to say, so that one too many is not taken for another parameter.
fn is_index(text: &str) -> bool {
    (1..=4).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::Audit;
    use super::*;

    const fn parameter(name: &'static str, kind: Kind) -> Parameter {
        Parameter {
            name,
            kind,
            required: false,
            default: None,
            min: None,
            max: None,
            max_bytes: None,
            max_items: None,
            values: &[],
            pattern: None,
            rule: None,
            ignored_with: None,
            example: None,
            audit: Audit::Clear,
            text: "",
        }
    }

    #[test]
    fn numbered_and_open_names_are_found_again() {
        let tag = parameter("Tag.N.Key", Kind::String);
        for (sent, named) in [
            ("Tag.1.Key", true),
            ("Tag.20.Key", true),
            ("Tag.0.Key", false),
            ("Tag.01.Key", false),
            ("Tag.N.Key", false),
            ("Tag.1.Value", false),
            ("Tag.1", false),
            ("Tag.1.Key.x", false),
            ("Tag.+1.Key", false),
        ] {
            assert_eq!(tag.is_named(sent), named, "{sent}");
        }
        let custom = parameter("ExtendedConfig.CustomData.*", Kind::String);
        assert!(custom.is_named("ExtendedConfig.CustomData.a.b"));
        assert!(!custom.is_named("ExtendedConfig.CustomData."));
        assert!(!custom.is_named("ExtendedConfig.CustomData"));
    }

    #[test]
    fn values_are_held_to_kind_length_and_list() {
        let size = Parameter { min: Some(1), max: Some(100), ..parameter("PageSize", Kind::Integer) };
        assert!(size.check("1").is_ok() && size.check("100").is_ok());
        for bad in ["", "0", "101", "-1", "1.0", " 1", "9999999999"] {
            assert_eq!(size.check(bad).unwrap_err().rule, "a whole number from 1 to 100", "{bad}");
        }
        let flag = parameter("FetchTags", Kind::Boolean);
        assert!(flag.check("True").is_ok() && flag.check("").is_err() && flag.check("yes").is_err());
        let name = Parameter { min: Some(1), max: Some(2), ..parameter("Name", Kind::String) };
        assert!(name.check("名前").is_ok(), "characters count, not bytes");
        assert_eq!(name.check("").unwrap_err().rule, "1 to 2 characters long");
        assert!(name.check("abc").is_err());
        let data = Parameter { max_bytes: Some(4), ..parameter("Data", Kind::String) };
        assert!(data.check("").is_ok() && data.check("名").is_ok() && data.check("名前").is_err());
        let kind = Parameter { values: &["text", "binary"], ..parameter("Type", Kind::String) };
        assert_eq!(kind.check("json").unwrap_err().rule, "one of text, binary");
    }

    fn checked(action: &str, query: &str) -> Result<(), String> {
        let description = DESCRIPTIONS.iter().find(|d| d.name == action).unwrap();
        let sent = Parameters::received(query, &hyper::HeaderMap::new(), b"").unwrap();
        description.check(&sent).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn a_fault_has_the_code_that_the_action_has_for_it() {
        for (action, query, code) in [
            ("ListPoliciesForUser", "", "MissingParameter"),
            ("ListPoliciesForUser", "UserName=", "InvalidParameter.UserName.Length"),
            ("ListPoliciesForUser", "UserName=a%20b", "InvalidParameter.UserName.InvalidChars"),
            ("GetPolicy", "PolicyName=b&PolicyType=Other", "InvalidParameter.PolicyType"),
        ] {
            assert_eq!(checked(action, query), Err(code.to_owned()), "{query}");
        }
        assert_eq!(checked("DescribeSecret", "SecretName="), Err("InvalidParameter".to_owned()));
    }

    #[test]
    fn what_another_parameter_has_ignored_is_not_looked_at() {
        let forced = "SecretName=a&RecoveryWindowInDays=0&ForceDeleteWithoutRecovery=";
        assert_eq!(checked("DeleteSecret", &format!("{forced}True")), Ok(()));
        assert_eq!(checked("DeleteSecret", &format!("{forced}false")), Err("InvalidParameter".to_owned()));
    }
}
