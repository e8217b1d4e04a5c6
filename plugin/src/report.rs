//! The answer: one line of JSON, and the exit status that hints at it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use serde::Serialize;

use crate::journal::Phase;
use crate::request::{Op, Request};
use crate::target::Facts;

/// Longest line that is sent, in bytes; what the agent keeps for certain is three times as long.
const MAX_LINE_BYTES: usize = 4_000;

/// Longest `detail`, in characters.
const MAX_DETAIL: usize = 200;

/// Why a request ended as it did, in the order of the contract's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// Done, or answered.
    Ok,
    /// Nothing to do: an earlier call did it.
    Already,
    /// A later rotation has been here.
    StaleGen,
    /// Another rotation has this generation.
    WrongRid,
    /// This rotation was given up.
    Fenced,
    /// Another run holds the lock.
    Busy,
    /// The key pair that the credential is sealed to is gone.
    KeyExpired,
    /// The sealed credential cannot be opened.
    DecryptFailed,
    /// The request makes no sense, or asks for what this version cannot do.
    BadRequest,
    /// Not started as root.
    NotRoot,
    /// The request is for another instance.
    WrongInstance,
    /// No such user.
    UserMissing,
    /// The user comes from a directory service.
    NotLocalUser,
    /// The password was locked on purpose.
    AccountLocked,
    /// The account has expired.
    AccountExpired,
    /// The user has no usable line in `/etc/shadow`.
    NoShadowEntry,
    /// Somebody holds the password files' lock.
    ShadowBusy,
    /// The password files cannot be written.
    ShadowReadonly,
    /// `chpasswd` is not installed.
    ToolMissing,
    /// `chpasswd` changed nothing.
    ToolFailed,
    /// What is in force is not what should be.
    VerifyFailed,
    /// A wrong result was put back.
    Restored,
    /// A wrong result could not be put back.
    RestoreFailed,
    /// A folder on the way to the key file is not safe.
    HomeUnsafe,
    /// The key file is a symbolic link.
    AuthorizedKeysSymlink,
    /// The key file is not safe to change.
    AuthorizedKeysUnsafe,
    /// sshd would not let this user in with the key; not lasting, since a
    /// setting is soon put right.
    KeysDisabled,
    /// No room left.
    DiskFull,
    /// Something that was not foreseen.
    Internal,
}

impl Code {
    /// Whether the code stands for success.
    pub(crate) const fn is_ok(self) -> bool {
        matches!(self, Self::Ok | Self::Already)
    }

    /// Whether the cause stands until a person removes it, so that the same
    /// request sent again would fail the same way.
    pub(crate) const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::UserMissing
                | Self::NotLocalUser
                | Self::AccountLocked
                | Self::AccountExpired
                | Self::NoShadowEntry
                | Self::ToolMissing
                | Self::HomeUnsafe
                | Self::AuthorizedKeysSymlink
                | Self::AuthorizedKeysUnsafe
        )
    }
}

/// Why something was not done: a code, and a clause for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The code of the result.
    pub(crate) code: Code,
    /// What was found; without secrets.
    pub(crate) detail: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Which credential is in force, as read from the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Live {
    /// That of this rotation.
    New,
    /// That from before this rotation.
    Old,
    /// Neither.
    Other,
    /// Both; SSH keys only.
    Both,
    /// It could not be found out.
    Unknown,
}

impl Live {
    /// Whether the credential of this rotation is in force.
    pub(crate) const fn has_new(self) -> bool {
        matches!(self, Self::New | Self::Both)
    }
}

/// What shows the vault which credential is in force, without showing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Proof {
    /// SHA-256 of the shadow field in force, in hexadecimal.
    #[serde(rename = "field_sha256")]
    Field(String),
    /// Fingerprint of the new key, found in a file that sshd reads.
    #[serde(rename = "key_sha256")]
    Key(String),
}

/// A key pair to which a credential can be sealed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Offer {
    /// The public key, SubjectPublicKeyInfo in base64.
    #[serde(rename = "pub")]
    pub(crate) public: String,
    /// Its name.
    pub(crate) kid: String,
    /// Until when it is good, in seconds since 1970.
    #[serde(rename = "exp")]
    pub(crate) expires: u64,
}

/// A result line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    strongroom: u8,
    op: Option<Op>,
    rid: Option<String>,
    #[serde(rename = "gen")]
    generation: Option<u64>,
    #[serde(rename = "att")]
    attempt: Option<u32>,
    plugin: &'static str,
    ok: bool,
    code: Code,
    /// Whether this call altered the credential.
    pub(crate) changed: bool,
    /// Whether no call of this rotation will ever change anything any more.
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    /// What is in force.
    pub(crate) live: Live,
    /// Where the journal says this rotation stands.
    pub(crate) phase: Option<Phase>,
    /// What the vault compares with its own.
    pub(crate) proof: Option<Proof>,
    /// What `prepare` made.
    #[serde(flatten)]
    pub(crate) offer: Option<Offer>,
    /// What the system is like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<Facts>,
    /// What a person should know, one word each.
    pub(crate) warn: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Report {
    /// An answer to `request`, with nothing changed and nothing known.
    pub(crate) fn new(request: &Request, code: Code) -> Self {
        Self {
            op: Some(request.op),
            rid: Some(request.rid.as_str().to_owned()),
            generation: Some(request.generation),
            attempt: Some(request.attempt),
            ..Self::blank(code)
        }
    }

    /// An answer to something that could not be read at all.
    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::blank(Code::BadRequest).with_detail(detail)
    }

    /// Names the operation and rotation of a request that was read in part.
    pub(crate) fn about(mut self, op: Option<Op>, rid: Option<String>) -> Self {
        self.op = op;
        self.rid = rid;
        self
    }

    /// Replaces the code, and with it `ok`.
    pub(crate) fn set_code(&mut self, code: Code) {
        self.code = code;
        self.ok = code.is_ok();
    }

    /// Says more in words.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().chars().take(MAX_DETAIL).collect());
        self
    }

    /// Adds a warning, once.
    pub(crate) fn warn(&mut self, word: &'static str) {
        if !self.warn.contains(&word) {
            self.warn.push(word);
        }
    }

    /// The code.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// The exit status of contract section 5.5.
    pub(crate) const fn exit_status(&self) -> u8 {
        match self.code {
            Code::Ok | Code::Already => 0,
            Code::Restored => 12,
            Code::RestoreFailed => 13,
            Code::Busy => 14,
            Code::BadRequest | Code::NotRoot | Code::WrongInstance => 15,
            Code::StaleGen
            | Code::WrongRid
            | Code::Fenced
            | Code::KeyExpired
            | Code::DecryptFailed
            | Code::UserMissing
            | Code::NotLocalUser
            | Code::AccountLocked
            | Code::AccountExpired
            | Code::NoShadowEntry
            | Code::ShadowBusy
            | Code::ShadowReadonly
            | Code::ToolMissing
            | Code::ToolFailed
            | Code::VerifyFailed
            | Code::HomeUnsafe
            | Code::AuthorizedKeysSymlink
            | Code::AuthorizedKeysUnsafe
            | Code::KeysDisabled
            | Code::DiskFull
            | Code::Internal => {
                if self.is_final {
                    11
                } else {
                    10
                }
            }
        }
    }

    /// The line, ASCII, without its end, at most 4000 bytes.
    ///
    /// Facts go first if it is too long, then the detail.
    pub(crate) fn line(&self) -> String {
        let mut short = self.clone();
        for shorten in [
            |_: &mut Self| (),
            |report: &mut Self| report.facts = None,
            |report: &mut Self| report.detail = None,
        ] {
            shorten(&mut short);
            let text = serde_json::to_string(&short).map(|text| ascii(&text));
            if let Ok(text) = text.as_deref()
                && text.len() <= MAX_LINE_BYTES
            {
                return text.to_owned();
            }
        }
        PANIC_LINE.to_owned()
    }

    const fn blank(code: Code) -> Self {
        Self {
            strongroom: 1,
            op: None,
            rid: None,
            generation: None,
            attempt: None,
            plugin: env!("CARGO_PKG_VERSION"),
            ok: code.is_ok(),
            code,
            changed: false,
            is_final: false,
            live: Live::Unknown,
            phase: None,
            proof: None,
            offer: None,
            facts: None,
            warn: Vec::new(),
            detail: None,
        }
    }
}

/// Prints the line as the last of the output, and gives the exit status.
pub(crate) fn send(report: &Report) -> ExitCode {
    let line = report.line();
    match print(&line) {
        Ok(()) => ExitCode::from(report.exit_status()),
        Err(_) => ExitCode::from(10),
    }
}

/// Remembers whom to answer if the program fails in a way that nobody foresaw.
pub(crate) fn expect_answer_to(request: &Request) {
    let line = Report::new(request, Code::Internal).with_detail("the program failed").line();
    // A second request never comes, and the first one stays right.
    PANIC_ANSWER.set(line).unwrap_or_default();
}

/// Makes a panic end with an `internal` result and exit status 10.
pub(crate) fn answer_a_panic() {
    std::panic::set_hook(Box::new(|_| {
        let line = PANIC_ANSWER.get().map_or(PANIC_LINE, String::as_str);
        print(line).unwrap_or_default();
        std::process::exit(10);
    }));
}

static PANIC_ANSWER: OnceLock<String> = OnceLock::new();

const PANIC_LINE: &str = r#"{"strongroom":1,"op":null,"rid":null,"ok":false,"code":"internal","changed":false,"final":false,"live":"unknown"}"#;

fn print(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes everything beyond ASCII as JSON escapes.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(text, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_ascii_and_json() {
        let report = Report::unreadable("\u{e9}\u{1f600}\n".repeat(3_000));
        let line = report.line();
        assert!(line.is_ascii() && line.len() <= MAX_LINE_BYTES && !line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["strongroom"], 1);
        assert_eq!(value["code"], "bad_request");
        assert_eq!(value["ok"], false);
    }

    #[test]
    fn the_line_for_a_panic_is_json() {
        let value: serde_json::Value = serde_json::from_str(PANIC_LINE).expect("JSON");
        assert_eq!(value["code"], "internal");
    }

    #[test]
    fn no_exit_status_is_one_that_the_agent_or_shell_reserves() {
        for code in [Code::Ok, Code::Busy, Code::Restored, Code::RestoreFailed, Code::Internal] {
            for is_final in [false, true] {
                let mut report = Report::blank(code);
                report.is_final = is_final;
                assert!(report.exit_status() == 0 || (10..=15).contains(&report.exit_status()));
            }
        }
    }
}
