//! Policy documents: their kinds, their limits, and how they are compiled.

use std::sync::Arc;

use super::PolicyError;
use super::error::Fault;
use super::json::Json;
use super::statement::Statement;

/// Where a policy comes from, which decides what it may say (ram.md section 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Attached to a user, a group or a role: at most 6,144 characters.
    Identity,
    /// The same, attached for one resource group.
    ResourceGroup,
    /// Given with AssumeRole: at most 2,048 characters.
    Session,
    /// Of the resource directory: at most 4,096 characters.
    Control,
    /// Who may assume a role: at most 4,096 characters.
    Trust,
    /// Of a key or a secret: at most 32,768 bytes.
    Resource,
}

impl PolicyKind {
    /// The greatest length of a document, and in what it is counted (rule V12).
    const fn limit(self) -> (usize, &'static str) {
        match self {
            Self::Identity | Self::ResourceGroup => (6_144, "characters"),
            Self::Session => (2_048, "characters"),
            Self::Control | Self::Trust => (4_096, "characters"),
            Self::Resource => (32_768, "bytes"),
        }
    }

    /// How every action must begin, in lower case (rule V10).
    pub(super) const fn action_prefix(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::ResourceGroup | Self::Session | Self::Control => None,
            Self::Trust => Some("sts:"),
            Self::Resource => Some("kms:"),
        }
    }
}

/// A policy document, checked and compiled.
#[derive(Debug)]
pub struct Policy {
    kind: PolicyKind,
    /// `None` in place of a stored document that is damaged.
    statements: Option<Box<[Arc<Statement>]>>,
}

impl Policy {
    /// Checks a document against the rules V1 to V12 and compiles it. The time
    /// is bounded by the size limit of the kind, whatever the text holds.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] with the first rule that the document breaks. The
    /// document is then refused as a whole.
    pub fn parse(kind: PolicyKind, text: &str) -> Result<Self, PolicyError> {
        let (limit, unit) = kind.limit();
        // A character has at least one byte and at most four.
        let fits = match kind {
            PolicyKind::Resource => text.len() <= limit,
            PolicyKind::Identity
            | PolicyKind::ResourceGroup
            | PolicyKind::Session
            | PolicyKind::Control
            | PolicyKind::Trust => text.len() <= limit * 4 && text.chars().count() <= limit,
        };
        if !fits {
            return Err(PolicyError::TooLarge { limit, unit });
        }
        let statements = compile(kind, &Json::read(text)?)?;
        Ok(Self { kind, statements: Some(statements) })
    }

    /// Stands for a stored document that does not parse, or no longer: every
    /// request that would use it is denied and reported
    /// ([`Decision::DenyBroken`](super::Decision::DenyBroken)).
    #[must_use]
    pub const fn unusable(kind: PolicyKind) -> Self {
        Self { kind, statements: None }
    }

    /// The kind as which the document was checked.
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// The statements in their order, provided that the document is whole and
    /// was checked as `kind`.
    pub(super) fn statements_as(&self, kind: PolicyKind) -> Option<&[Arc<Statement>]> {
        self.statements.as_deref().filter(|_| self.kind == kind)
    }
}

fn compile(kind: PolicyKind, document: &Json) -> Result<Box<[Arc<Statement>]>, Fault> {
    let members = document.object().ok_or(Fault::new("V2", "a policy is an object"))?;
    if let Some(unknown) = members.keys().find(|name| *name != "Version" && *name != "Statement") {
        return Err(Fault::new("V2", "a policy has the members Version and Statement only").under(unknown));
    }
    if members.get("Version").and_then(Json::text) != Some("1") {
        return Err(Fault::new("V3", "it is the text 1").under("Version"));
    }
    let statements = members.get("Statement").and_then(Json::list).filter(|list| !list.is_empty());
    let statements =
        statements.ok_or(Fault::new("V4", "it is a list that is not empty").under("Statement"))?;
    let compile_one = |(index, statement): (usize, &Json)| {
        Statement::compile(kind, statement)
            .map(Arc::new)
            .map_err(|fault| fault.under(&index.to_string()).under("Statement"))
    };
    statements.iter().enumerate().map(compile_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: PolicyKind, text: &str) -> (&'static str, String) {
        match Policy::parse(kind, text).unwrap_err() {
            PolicyError::Rule { rule, at, .. } => (rule, at),
            PolicyError::TooLarge { .. } => ("V12", String::new()),
            PolicyError::Json { .. } => ("V1", String::new()),
        }
    }

    #[test]
    fn a_refusal_names_the_rule_and_the_place() {
        let identity = |statement: &str| format!(r#"{{"Version":"1","Statement":[{statement}]}}"#);
        let with = |condition: &str| {
            identity(&format!(r#"{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{condition}}}"#))
        };
        for (text, rule, at) in [
            ("{}".to_owned(), "V3", "/Version"),
            ("[]".to_owned(), "V2", "/"),
            (r#"{"Version":"1","Statement":[],"id":1}"#.to_owned(), "V2", "/id"),
            (r#"{"Version":"1","Statement":[]}"#.to_owned(), "V4", "/Statement"),
            (identity("1"), "V4", "/Statement/0"),
            (
                identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"},{"effect":1}"#),
                "V5",
                "/Statement/1/effect",
            ),
            (
                identity(r#"{"Sid":"","Effect":"Allow","Action":"*","Resource":"*"}"#),
                "V5",
                "/Statement/0/Sid",
            ),
            (identity(r#"{"Effect":"allow"}"#), "V6", "/Statement/0/Effect"),
            (identity(r#"{"Effect":"Allow","Action":"a:b:c","Resource":"*"}"#), "V7", "/Statement/0/Action"),
            (
                identity(r#"{"Effect":"Allow","NotAction":["*",""],"Resource":"*"}"#),
                "V7",
                "/Statement/0/NotAction",
            ),
            (
                identity(r#"{"Effect":"Allow","Action":"*","Resource":"acs:kms:a:b:"}"#),
                "V8",
                "/Statement/0/Resource",
            ),
            (
                identity(r#"{"Effect":"Allow","Action":"*","Resource":"acs::a:b:c"}"#),
                "V8",
                "/Statement/0/Resource",
            ),
            (
                identity(r#"{"Effect":"Allow","Action":"*","NotResource":"acs:k:a:b:c d"}"#),
                "V8",
                "/Statement/0/NotResource",
            ),
            (
                identity(r#"{"Effect":"Allow","Action":"*","Resource":"*","Principal":{}}"#),
                "V9",
                "/Statement/0/Principal",
            ),
            (with("[]"), "V11", "/Statement/0/Condition"),
            (with(r#"{"Bool":{}}"#), "V11", "/Statement/0/Condition/Bool"),
            (with(r#"{"Bool":{"a:b/c~":"yes"}}"#), "V11", "/Statement/0/Condition/Bool/a:b~1c~0"),
        ] {
            assert_eq!(refused(PolicyKind::Identity, &text), (rule, at.to_owned()), "{text}");
        }
    }

    #[test]
    fn actions_of_trust_and_resource_policies_stay_in_their_service() {
        let of = |action: &str, more: &str| {
            format!(
                r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"{action}","Principal":{{"RAM":"acs:ram::1:root"}}{more}}}]}}"#
            )
        };
        let star = r#","Resource":"*""#;
        assert!(Policy::parse(PolicyKind::Trust, &of("STS:AssumeRole", "")).is_ok());
        assert!(Policy::parse(PolicyKind::Resource, &of("Kms:*", star)).is_ok());
        for (kind, action, more) in [
            (PolicyKind::Trust, "*", ""),
            (PolicyKind::Trust, "kms:AssumeRole", ""),
            (PolicyKind::Trust, "*:AssumeRole", ""),
            (PolicyKind::Resource, "*", star),
            (PolicyKind::Resource, "k*:Decrypt", star),
        ] {
            assert_eq!(refused(kind, &of(action, more)).0, "V10", "{action}");
        }
        let service = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"Service":"a.b"}}]}"#;
        assert_eq!(refused(PolicyKind::Resource, service).0, "V9");
    }

    #[test]
    fn each_kind_has_its_own_limit() {
        let star = r#""Resource":"*","#;
        let principal = r#""Principal":{"RAM":"acs:ram::1:root"},"#;
        for (kind, action, more, limit) in [
            (PolicyKind::Identity, "*", star.to_owned(), 6_144),
            (PolicyKind::ResourceGroup, "*", star.to_owned(), 6_144),
            (PolicyKind::Session, "*", star.to_owned(), 2_048),
            (PolicyKind::Control, "*", star.to_owned(), 4_096),
            (PolicyKind::Trust, "sts:*", principal.to_owned(), 4_096),
            (PolicyKind::Resource, "kms:*", format!("{star}{principal}"), 32_768),
        ] {
            let text =
                format!(r#"{{"Version":"1","Statement":[{{{more}"Effect":"Allow","Action":"{action}"}}]}}"#);
            let padded = format!("{text}{}", " ".repeat(limit - text.len()));
            assert!(Policy::parse(kind, &padded).is_ok(), "{kind:?}");
            assert_eq!(refused(kind, &format!("{padded} ")).0, "V12", "{kind:?}");
        }
    }
}
