//! What the plug-in says (cloud-assistant.md section 5.5), read from the output
//! of a script on a machine that may be in other hands.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::{Asked, Op};
use crate::model::RotationId;
use crate::model::rotation::Live;

/// Longest line that is read as a report.
const MAX_LINE: usize = 4000;
/// How much of the end of an output is searched.
const MAX_OUTPUT: usize = 64 * 1024;

/// Text of an instance, made fit to be stored and shown: cut to 200 characters,
/// and whatever is not printable ASCII is a `?`. To be believed is another matter.
#[derive(Clone, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let printable = |letter| {
            if matches!(letter, ' '..='~') { letter } else { '?' }
        };
        Ok(Self(text.chars().take(200).map(printable).collect()))
    }
}

/// The result of a run, in the order of section 5.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the words of the protocol, explained where they arise: cloud-assistant.md sections 4 and 5.6"
)]
pub enum Code {
    Ok,
    Already,
    StaleGen,
    WrongRid,
    Fenced,
    Busy,
    KeyExpired,
    DecryptFailed,
    BadRequest,
    PluginMissing,
    NotRoot,
    WrongInstance,
    UserMissing,
    NotLocalUser,
    AccountLocked,
    AccountExpired,
    AccountDisabled,
    DomainController,
    LapsManaged,
    PolicyRefused,
    NoShadowEntry,
    ShadowBusy,
    ShadowReadonly,
    ToolMissing,
    ToolFailed,
    VerifyFailed,
    Restored,
    RestoreFailed,
    HomeUnsafe,
    AuthorizedKeysSymlink,
    AuthorizedKeysUnsafe,
    KeysDisabled,
    DiskFull,
    Internal,
    /// A word of a newer plug-in.
    #[serde(other)]
    Unlisted,
}

/// What the plug-in said about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The step it speaks of.
    pub op: Op,
    /// Whether the step was done.
    pub ok: bool,
    /// How it ended.
    pub code: Code,
    /// Whether this very run altered the credential.
    pub changed: bool,
    /// The plug-in guarantees that no run of this rotation will change anything
    /// any more, unless the new credential is in force already.
    pub is_final: bool,
    /// Which credential is in force; `Unknown` where the plug-in did not say.
    pub live: Live,
    /// Phase in the journal.
    pub phase: Option<Word>,
    /// Proof of what is in force.
    pub proof: Proof,
    /// What was found on the instance.
    pub facts: Facts,
    /// Warnings, such as `had_no_password`.
    pub warnings: Vec<Word>,
    /// More on the code, in words.
    pub detail: Option<Word>,
    /// The key pair that was made to seal to: its public half in base64, and its name.
    pub key: Option<(String, String)>,
    /// Version of the plug-in; `None` from the script that misses it.
    pub plugin: Option<Word>,
}

/// What the plug-in re-read from the system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Proof {
    /// Hexadecimal SHA-256 of the shadow field in force.
    pub field_sha256: Option<Word>,
    /// Fingerprint (`SHA256:…`) of the key that was found in force.
    pub key_sha256: Option<Word>,
    /// Windows: hexadecimal SHA-256 of the token that came with the password
    /// which was found to log on.
    pub token_sha256: Option<Word>,
}

/// What was found on the instance; all of it may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `linux` or `windows`.
    pub os: Option<Word>,
    /// Such as `debian 12`.
    pub distro: Option<Word>,
    /// The user.
    pub user: UserFacts,
    /// The SSH server.
    pub sshd: SshdFacts,
    /// Whether a login could work, such as `password:blocked,key:open`.
    pub login_path: Option<Word>,
    /// The plug-in's journal for this secret.
    pub journal: Option<Journal>,
}

/// What was found of the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserFacts {
    /// Whether there is such a user.
    pub exists: Option<bool>,
    /// Whether it stands in the machine's own files.
    pub local: Option<bool>,
    /// State of the password field, such as `hash` or `locked`.
    pub state: Option<Word>,
    /// Its number.
    pub uid: Option<u32>,
}

/// What was found of the SSH server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SshdFacts {
    /// Whether there is one.
    pub found: Option<bool>,
    /// Its setting `PasswordAuthentication`.
    pub passwordauthentication: Option<Word>,
    /// Its setting `PermitRootLogin`.
    pub permitrootlogin: Option<Word>,
}

/// The plug-in's journal: a generation or a rotation that the vault does not
/// know means that the vault's database was set back, or that two vaults manage
/// one user (section 5.7).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Journal {
    /// The generation it last acted for.
    #[serde(rename = "gen")]
    pub generation: Option<u64>,
    /// The rotation it last acted for.
    pub rid: Option<RotationId>,
    /// How far that got.
    pub phase: Option<Word>,
    /// It acts for no generation up to this one.
    #[serde(rename = "fence_gen")]
    pub fence_generation: Option<u64>,
}

/// Why an output holds nothing to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReport {
    /// No line of it is a report.
    #[error("the output holds no report")]
    Absent,
    /// The run never started or lost its output, so there is none.
    #[error("there is no output")]
    NoOutput,
    /// Only reports on another rotation or step.
    #[error("the output reports on another request")]
    Other,
}

/// A report line before it is matched.
#[derive(Deserialize)]
struct Line {
    strongroom: u8,
    op: Option<Op>,
    rid: Option<RotationId>,
    ok: bool,
    code: Code,
    changed: bool,
    #[serde(rename = "final")]
    is_final: bool,
    live: Option<Live>,
    phase: Option<Word>,
    proof: Option<Proof>,
    #[serde(default)]
    facts: serde_json::Value,
    #[serde(default, rename = "warn")]
    warnings: Vec<Word>,
    detail: Option<Word>,
    plugin: Option<Word>,
    #[serde(rename = "pub")]
    public: Option<String>,
    kid: Option<String>,
}

impl Report {
    /// Finds the report on `asked` in an output.
    ///
    /// Lines are read from the last one back; chatter of other tools, and lines
    /// that are too long, are passed over. A line without rotation and step is
    /// believed only when it says that the plug-in is missing, which the calling
    /// script says.
    ///
    /// # Errors
    ///
    /// [`NoReport`] when no line answers to `asked`.
    pub fn find(output: &[u8], asked: &Asked) -> Result<Self, NoReport> {
        let end = output.len().saturating_sub(MAX_OUTPUT);
        let output = output.get(end..).unwrap_or_default();
        if output.trim_ascii().is_empty() {
            return Err(NoReport::NoOutput);
        }
        let mut found_other = false;
        for line in output.rsplit(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.first() != Some(&b'{') || line.len() > MAX_LINE || !line.is_ascii() {
                continue;
            }
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                continue;
            };
            if line.strongroom != 1 {
                continue;
            }
            let of_the_script = line.rid.is_none() && line.op.is_none() && line.code == Code::PluginMissing;
            let answers = line.rid.as_ref() == Some(&asked.rid) && line.op == Some(asked.op);
            if of_the_script || answers {
                return Ok(line.into_report(asked.op));
            }
            found_other = true;
        }
        Err(if found_other { NoReport::Other } else { NoReport::Absent })
    }
}

impl Line {
    fn into_report(self, op: Op) -> Report {
        Report {
            op,
            ok: self.ok,
            code: self.code,
            changed: self.changed,
            is_final: self.is_final,
            live: self.live.unwrap_or(Live::Unknown),
            phase: self.phase,
            proof: self.proof.unwrap_or_default(),
            // Only for people to read: facts of another form do not spoil the report.
            facts: Facts::deserialize(self.facts).unwrap_or_default(),
            warnings: self.warnings,
            detail: self.detail,
            key: self.public.zip(self.kid),
            plugin: self.plugin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RID: &str = "00112233445566778899aabbccddeeff";

    fn asked() -> Asked {
        Asked { rid: RotationId::parse(RID).unwrap(), op: Op::Apply }
    }

    fn find(output: &str) -> Result<Report, NoReport> {
        Report::find(output.as_bytes(), &asked())
    }

    fn line(code: &str) -> String {
        format!(
            r#"{{"strongroom":1,"op":"apply","rid":"{RID}","ok":true,"code":"{code}","changed":true,"final":true,"live":"new"}}"#
        )
    }

    #[test]
    fn the_documented_example_is_read_whole() {
        let text = format!(
            r#"{{"strongroom":1,"op":"apply","rid":"{RID}","gen":7,"att":1,"plugin":"0.1.0","ok":true,"code":"ok",
            "changed":true,"final":true,"live":"new","phase":"applied","proof":{{"field_sha256":"ab"}},
            "facts":{{"os":"linux","distro":"debian 12","user":{{"exists":true,"local":true,"state":"hash","uid":0}},
            "sshd":{{"found":true,"passwordauthentication":"yes","permitrootlogin":"without-password"}},
            "login_path":"password:blocked,key:open","journal":{{"gen":7,"rid":"{RID}","phase":"applied"}}}},
            "warn":["max_days_shorter_than_interval"]}}"#
        )
        .replace('\n', "");
        let report = find(&text).unwrap();
        assert_eq!((report.code, report.live, report.ok), (Code::Ok, Live::New, true));
        assert!(report.changed && report.is_final);
        assert_eq!(report.proof.field_sha256.unwrap().as_str(), "ab");
        assert_eq!(report.facts.user.uid, Some(0));
        assert_eq!(report.facts.sshd.permitrootlogin.unwrap().as_str(), "without-password");
        assert_eq!(report.facts.journal.unwrap().generation, Some(7));
        assert_eq!(report.warnings.len(), 1);
    }

    #[test]
    fn the_last_matching_line_wins_over_chatter() {
        let other = line("ok").replace(RID, &"f".repeat(32));
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_LINE));
        let output = format!(
            "BAD PASSWORD\n{}\r\n{}\n{other}\n{{broken\n{long}\n\nbye\n",
            line("busy"),
            line("already"),
        );
        assert_eq!(find(&output).unwrap().code, Code::Already);
    }

    #[test]
    fn what_does_not_answer_the_question_is_not_believed() {
        assert_eq!(find(""), Err(NoReport::NoOutput));
        assert_eq!(find(" \n"), Err(NoReport::NoOutput));
        for output in [
            "hello".to_owned(),
            "{}".to_owned(),
            line("ok").replace("\"strongroom\":1", "\"strongroom\":2"),
            line("ok").replace("true", "\"true\""),
            line("ok").replace("\"live\":\"new\"", "\"live\":\"newer\""),
            line("ok").replace('}', ",\"phase\":\"é\"}"),
            line("ok").replace('}', ",\"proof\":{\"field_sha256\":1}}"),
            format!("x{}", line("ok")),
        ] {
            assert_eq!(find(&output), Err(NoReport::Absent), "{output}");
        }
        for output in [
            line("ok").replace(RID, &"0".repeat(32)),
            line("ok").replace("apply", "verify"),
            line("ok").replace("\"op\":\"apply\",", ""),
            line("ok").replace(&format!("\"rid\":\"{RID}\","), ""),
        ] {
            assert_eq!(find(&output), Err(NoReport::Other), "{output}");
        }
        let buried = line("ok") + "\n" + &"z".repeat(MAX_OUTPUT);
        assert_eq!(find(&buried), Err(NoReport::Absent));
    }

    #[test]
    fn the_script_may_say_that_the_plug_in_is_missing_and_nothing_else() {
        let missing = r#"{"strongroom":1,"ok":false,"code":"plugin_missing","changed":false,"final":false}"#;
        let report = find(missing).unwrap();
        assert_eq!((report.code, report.live, report.plugin), (Code::PluginMissing, Live::Unknown, None));
        assert_eq!(find(&missing.replace("plugin_missing", "ok")), Err(NoReport::Other));
    }

    #[test]
    fn texts_are_made_harmless_and_odd_facts_do_not_spoil_a_report() {
        let text = line("ok").replace(
            '}',
            &format!(
                ",\"phase\":\"\\u001b[0m\",\"detail\":\"{}\",\"facts\":{{\"user\":7}},\"proof\":null}}",
                "d".repeat(300)
            ),
        );
        let report = find(&text).unwrap();
        assert_eq!(report.phase.unwrap().as_str(), "?[0m");
        assert_eq!(report.detail.unwrap().as_str().len(), 200);
        assert_eq!((report.facts, report.proof), (Facts::default(), Proof::default()));
    }

    #[test]
    fn words_of_a_newer_plug_in_are_kept_apart() {
        assert_eq!(find(&line("moon_phase")).unwrap().code, Code::Unlisted);
    }
}
