//! What the API is: its actions with their parameters, answers and errors, as
//! the files of `schema/api` say it.
//!
//! There is no other list. Parameters are checked by it, audit records learn
//! from it what may stand in them, and the reference and the OpenAPI document
//! are made of it. The build makes tables out of the files.

mod check;
mod openapi;
mod reference;

use crate::audit::EventAccess;

pub use openapi::openapi;
pub use reference::reference;

/// The API an action belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// KMS 2016-01-20.
    Kms,
    /// RAM 2015-05-01.
    Ram,
    /// STS 2015-04-01.
    Sts,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kms, Self::Ram, Self::Sts];

    /// Its name in audit records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kms => "Kms",
            Self::Ram => "Ram",
            Self::Sts => "Sts",
        }
    }

    /// Its name in rights and in `schema/api`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Ram => "ram",
            Self::Sts => "sts",
        }
    }

    /// Its API version.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Kms => "2016-01-20",
            Self::Ram => "2015-05-01",
            Self::Sts => "2015-04-01",
        }
    }

    /// The code of a denial and its words (ram.md section 5.1).
    #[must_use]
    pub fn denial(self, resource: &str) -> (&'static str, String) {
        match self {
            Self::Kms => (
                "Forbidden.NoPermission",
                format!("This operation for {resource} is forbidden by permission system."),
            ),
            Self::Ram => ("NoPermission", "You are not authorized to do this action.".to_owned()),
            Self::Sts => (
                "NoPermission",
                "You are not authorized to do this action. You should be authorized by RAM.".to_owned(),
            ),
        }
    }
}

/// An action.
#[derive(Debug)]
pub struct Description {
    /// The API it belongs to.
    pub service: Service,
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it changes anything.
    pub access: EventAccess,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Where its rules stand in the contract.
    pub source: &'static str,
    /// What its right is asked on; empty when it needs none.
    pub resource: &'static str,
    /// Further rights that it asks.
    pub also: &'static [&'static str],
    /// Whether Alibaba does not have it.
    pub extension: bool,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The codes of its errors, without the common ones.
    pub errors: &'static [&'static str],
    /// The members of its answer, without `RequestId`.
    pub answer: &'static [Member],
}

/// A parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name; `.N` stands for a number from 1, a last `.*` for anything.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What holds when it is absent.
    pub default: Option<&'static str>,
    /// The least number, or characters at least.
    pub min: Option<u64>,
    /// The greatest number, or characters at most.
    pub max: Option<u64>,
    /// Bytes at most.
    pub max_bytes: Option<usize>,
    /// How often it may come, for a name with `.N`.
    pub max_items: Option<u32>,
    /// The only values it can have; none means that there is no such list.
    pub values: &'static [&'static str],
    /// A regular expression that the whole value fits.
    pub pattern: Option<&'static str>,
    /// The pattern in words, as the end of "must be".
    pub rule: Option<&'static str>,
    /// A boolean parameter that has this one ignored when it is true.
    pub ignored_with: Option<&'static str>,
    /// A value that shows what it looks like.
    pub example: Option<&'static str>,
    /// What an audit record may show of it.
    pub audit: Audit,
    /// Meaning, unit, limits.
    pub text: &'static str,
}

/// How the text of a parameter is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes as base64 (RFC 4648 section 4).
    Base64,
    /// `true` or `false` in any case of letters.
    Boolean,
    /// A whole number in decimal digits.
    Integer,
    /// A text that contains JSON.
    Json,
    /// A text.
    String,
}

/// What an audit record may show of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Its value.
    Clear,
    /// That it was sent.
    Masked,
    /// That it was sent; it carries a secret.
    Secret,
}

/// A member of an answer.
#[derive(Debug)]
pub struct Member {
    /// Where it stands: names joined by dots, `[]` behind that of an array.
    pub name: &'static str,
    /// What it is.
    pub kind: MemberKind,
    /// Whether it can be absent.
    pub optional: bool,
    /// Meaning.
    pub text: &'static str,
}

/// What a member of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// Bytes as base64.
    Base64,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A text that contains JSON.
    Json,
    /// An object whose members are listed, too.
    Object,
    /// A text that is a secret.
    Secret,
    /// A text.
    String,
    /// A moment, `yyyy-MM-ddTHH:mm:ssZ`.
    Time,
}

/// An error code.
#[derive(Debug)]
pub struct ErrorCode {
    /// The code.
    pub code: &'static str,
    /// The HTTP status that it has.
    pub status: u16,
    /// Whether any action can answer it.
    pub common: bool,
    /// The services that use it, as [`Service::prefix`] names them.
    pub services: &'static [&'static str],
    /// When it is answered, and what to do.
    pub text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/descriptions.rs"));

/// All actions in the order of their names.
#[must_use]
pub fn all() -> &'static [Description] {
    DESCRIPTIONS
}

/// All error codes in their order.
#[must_use]
pub fn errors() -> &'static [ErrorCode] {
    ERRORS
}

/// The description of an action. An action without one does not build.
#[expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is called when the program is built, and then the build fails"
)]
pub(super) const fn of(service: Service, name: &str) -> &'static Description {
    let mut at = 0;
    while at < DESCRIPTIONS.len() {
        let found = &DESCRIPTIONS[at];
        if found.service as u8 == service as u8 && is_same(found.name, name) {
            return found;
        }
        at += 1;
    }
    panic!("schema/api has no file for this action")
}

#[expect(clippy::indexing_slicing, reason = "both lengths are the same, and the index lies below them")]
const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && a.len() == b.len() && a[at] == b[at] {
        at += 1;
    }
    a.len() == b.len() && at == a.len()
}

impl Description {
    /// Whether a good signature is enough: there is nothing that a right could
    /// be asked on.
    #[must_use]
    pub const fn needs_no_right(&self) -> bool {
        self.resource.is_empty()
    }

    /// The right and what it is asked on, in words; `code` marks names.
    fn right_in_words(&self, code: &str) -> String {
        if self.needs_no_right() {
            return "Needs no right".to_owned();
        }
        format!("Right: {code}{}{code} on {code}{}{code}", self.right(), self.resource)
    }

    /// The parameter that a request names so.
    #[must_use]
    pub fn parameter(&self, sent: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|p| p.is_named(sent))
    }

    /// Whether the action can answer this code: its own, and the common ones of its service.
    #[must_use]
    pub fn can_answer(&self, code: &str) -> bool {
        self.error_codes().any(|e| e.code == code)
    }

    /// The errors that the action can answer.
    pub fn error_codes(&self) -> impl Iterator<Item = &'static ErrorCode> {
        ERRORS.iter().filter(|e| {
            e.services.contains(&self.service.prefix()) && (e.common || self.errors.contains(&e.code))
        })
    }

    /// The right that it asks first.
    #[must_use]
    pub fn right(&self) -> String {
        format!("{}:{}", self.service.prefix(), self.name)
    }
}
