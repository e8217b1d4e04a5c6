//! What is wrong with a document.

/// Why a policy document was refused. The text is fit for the client that sent
/// the document: it quotes member names of it, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is longer than its kind may be (rule V12).
    #[error("the document is longer than {limit} {unit}")]
    TooLarge {
        /// The greatest length, in `unit`.
        limit: usize,
        /// `characters` or `bytes`.
        unit: &'static str,
    },
    /// It is not strict JSON (rule V1).
    #[error("the document is not acceptable JSON at line {line}, column {column}: {reason}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes.
        column: usize,
        /// Which demand of V1 is not met.
        reason: &'static str,
    },
    /// It is JSON, and breaks another rule.
    #[error("the document breaks rule {rule} at {at}: {reason}")]
    Rule {
        /// The rule of ram.md section 1.2, `V2` to `V11`.
        rule: &'static str,
        /// A JSON pointer (RFC 6901) to the offending place; `/` is the document.
        at: String,
        /// What is demanded there.
        reason: &'static str,
    },
}

/// How much of a member name is shown in a pointer, in characters.
const SHOWN_NAME: usize = 64;

/// A broken rule, on its way up to the document.
#[derive(Debug)]
pub(super) struct Fault {
    rule: &'static str,
    reason: &'static str,
    at: String,
}

impl Fault {
    pub(super) const fn new(rule: &'static str, reason: &'static str) -> Self {
        Self { rule, reason, at: String::new() }
    }

    /// The same fault, seen from one level further up.
    #[must_use]
    pub(super) fn under(mut self, segment: &str) -> Self {
        let shown: String = segment.chars().take(SHOWN_NAME).collect();
        self.at = format!("/{}{}", shown.replace('~', "~0").replace('/', "~1"), self.at);
        self
    }
}

impl From<Fault> for PolicyError {
    fn from(fault: Fault) -> Self {
        let at = if fault.at.is_empty() { "/".to_owned() } else { fault.at };
        Self::Rule { rule: fault.rule, at, reason: fault.reason }
    }
}
