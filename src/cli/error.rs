//! What can go wrong on the command line, how it is shown, and the exit code
//! that says it to scripts.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use strongroom_hsm::HsmError;

use super::advice;
use super::connection::Service;
use super::output::Output;
use super::profile::ProfileError;
use crate::appliance::{ApplianceError, ConfigError};
use crate::audit::AuditError;
use crate::cloud_assistant::CommandError;
use crate::cloud_assistant::install::InstallError;
use crate::rpc::client::{CallError, ClientError};
use crate::vault::VaultError;

/// How a command ended; `docs/commands.md` lists the codes for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It was done.
    Done,
    /// The service refused, or the work failed.
    Refused,
    /// The command, its files or its settings are not usable as they are.
    Usage,
    /// Service or network could not be reached, or are not ready.
    Unreachable,
    /// The key is not accepted, or may not do this.
    Denied,
    /// There is no such thing.
    NotFound,
    /// It was not over in time.
    TimedOut,
    /// It was done, but its output could not be written.
    Unwritten,
    /// The token refuses the PIN; to start again would lock it.
    PinRefused,
    /// A code with a meaning of the command's own.
    Special(u8),
}

impl Exit {
    /// The number.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::TimedOut => 6,
            Self::Unwritten => 7,
            Self::PinRefused => 8,
            Self::Special(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The answer lacks what the action promises. What it held is not shown:
    /// it may be a secret.
    #[error("the answer to {action} is not of the documented form")]
    Answer {
        /// The action.
        action: &'static str,
    },
    /// The appliance could not be set up, run or changed.
    #[error(transparent)]
    Appliance(#[from] ApplianceError),
    /// The audit journal could not be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A call failed.
    #[error("{action} on {endpoint} failed")]
    Call {
        /// The service it was for.
        service: Service,
        /// The action.
        action: &'static str,
        /// Whom it was sent to.
        endpoint: String,
        /// Why.
        source: Box<CallError>,
    },
    /// The connection cannot even be prepared.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Cloud Assistant did not do it.
    #[error(transparent)]
    Cloud(#[from] CommandError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that the command needs or makes could not be used.
    #[error("could not {deed} {}", path.display())]
    File {
        /// What was attempted.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The plug-in could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A setting is nowhere to be found.
    #[error("{what} is missing: set {how}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// Every way to set it.
        how: &'static str,
    },
    /// The output could not be written.
    #[error("could not write the output")]
    Output(#[from] io::Error),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The rotation that was waited for ended without the new credential.
    #[error("the rotation of {secret} to version {version} failed{}", RotationTrouble::told(trouble.as_deref()))]
    RotationFailed {
        /// The secret.
        secret: String,
        /// The version that was to become current.
        version: String,
        /// What went wrong last.
        trouble: Option<Box<RotationTrouble>>,
    },
    /// The rotation that was waited for is still going on.
    #[error("the rotation of {secret} to version {version} is not over after {seconds} s{}", RotationTrouble::told(trouble.as_deref()))]
    RotationGoesOn {
        /// The secret.
        secret: String,
        /// The version that is to become current.
        version: String,
        /// How long was waited.
        seconds: u64,
        /// What went wrong last.
        trouble: Option<Box<RotationTrouble>>,
    },
    /// The command cannot be carried out as it was given.
    #[error("{0}")]
    Usage(String),
    /// Somebody stopped watching a rotation.
    #[error("stopped watching; the rotation of {secret} to version {version} goes on by itself")]
    WatchStopped {
        /// The secret.
        secret: String,
        /// The version that is to become current.
        version: String,
    },
}

/// What went wrong in a rotation, as ListSecretRotations tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RotationTrouble {
    pub(super) step: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) time: String,
    /// What to do about it.
    pub(super) advice: String,
}

impl RotationTrouble {
    /// As the end of a sentence.
    fn told(trouble: Option<&Self>) -> String {
        let told =
            |trouble: &Self| format!(" in step {}: {}: {}", trouble.step, trouble.code, trouble.message);
        trouble.map(told).unwrap_or_default()
    }
}

impl CliError {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Appliance(ApplianceError::Hsm(HsmError::PinRefused { .. })) => Exit::PinRefused,
            Self::Appliance(ApplianceError::Vault(VaultError::NotFound)) => Exit::NotFound,
            Self::Answer { .. } | Self::Appliance(_) => Exit::Refused,
            Self::Audit(_) => Exit::Unreachable,
            Self::Call { source, .. } => of_call(source),
            Self::Cloud(error) | Self::Install(InstallError::Service { source: error, .. }) => {
                of_cloud(error)
            }
            Self::Install(InstallError::NoResult { .. }) => Exit::TimedOut,
            Self::Install(InstallError::Program { .. }) => Exit::Usage,
            Self::Install(InstallError::Random | InstallError::Remote { .. }) => Exit::Refused,
            Self::Client(_)
            | Self::Config(_)
            | Self::File { .. }
            | Self::Missing { .. }
            | Self::Profile(_)
            | Self::Usage(_) => Exit::Usage,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Unwritten,
            Self::RotationFailed { .. } => Exit::Special(10),
            Self::RotationGoesOn { .. } => Exit::TimedOut,
            // What shells say of a program that ended by SIGINT.
            Self::WatchStopped { .. } => Exit::Special(130),
        }
    }

    /// Writes the error and the next step to standard error. A reader that
    /// went away is no error.
    ///
    /// # Errors
    ///
    /// When standard error cannot be written to.
    pub(super) fn show(&self, output: &mut Output) -> io::Result<()> {
        if self.exit() == Exit::Done {
            return Ok(());
        }
        if output.is_json() {
            return output.json_note(&serde_json::json!({ "error": Shown::of(self) }));
        }
        let shown = Shown::of(self);
        let mut text = match (shown.code, shown.status) {
            (Some(code), Some(status)) => format!("error: {self}: {code} ({status})\n  {}", shown.message),
            _ => format!("error: {}", shown.message),
        };
        for (label, value) in [("request", shown.request_id), ("next", shown.advice.as_deref())] {
            if let Some(value) = value {
                text.push_str(&format!("\n  {label}: {value}"));
            }
        }
        output.note(&text)
    }
}

/// The members of an error in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// The step of a rotation that went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(error: &'a CliError) -> Self {
        let plain = Shown {
            exit: error.exit().code(),
            code: None,
            step: None,
            status: None,
            message: chain(error),
            request_id: None,
            advice: advice::next_step(error),
        };
        if let CliError::RotationFailed { trouble, .. } | CliError::RotationGoesOn { trouble, .. } = error {
            let (code, step) =
                trouble.as_ref().map(|trouble| (trouble.code.as_str(), trouble.step.as_str())).unzip();
            return Shown { code, step, ..plain };
        }
        let CliError::Call { source, .. } = error else { return plain };
        let CallError::Refused { status, code, message, request_id, .. } = &**source else { return plain };
        Shown {
            code: Some(code),
            status: Some(*status),
            message: message.clone(),
            request_id: (!request_id.is_empty()).then_some(request_id),
            ..plain
        }
    }
}

/// The error with its causes, from the outer to the inner.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// Codes by which a service says that it does not accept the signature, from
/// kms-secrets.md sections 10.1 and 10.2.
const NOT_AUTHENTICATED: [&str; 6] = [
    "IllegalTimestamp",
    "IncompleteSignature",
    "MissingSecurityToken",
    "SignatureDoesNotMatch",
    "SignatureNonceUsed",
    "MissingAccessKeyId",
];

/// Whether the code says that the key or its signature is not accepted.
pub(super) fn is_authentication(code: &str) -> bool {
    NOT_AUTHENTICATED.contains(&code)
        || ["InvalidAccessKeyId.", "InvalidSecurityToken.", "InvalidTimeStamp.", "Forbidden.AccessKey"]
            .iter()
            .any(|prefix| code.starts_with(prefix))
}

fn of_call(error: &CallError) -> Exit {
    match error {
        CallError::Malformed { .. } | CallError::Transport { .. } => Exit::Unreachable,
        CallError::Refused { code, .. } if is_authentication(code) => Exit::Denied,
        CallError::Refused { status: 403, .. } => Exit::Denied,
        CallError::Refused { status: 404, code, .. } if code != "InvalidAction.NotFound" => Exit::NotFound,
        CallError::Refused { status: 502..=504, .. } => Exit::Unreachable,
        CallError::Refused { .. } => Exit::Refused,
        CallError::Unsendable { .. } => Exit::Usage,
    }
}

/// Cloud Assistant says by its code what it objects to (cloud-assistant.md section 1.10).
fn of_cloud(error: &CommandError) -> Exit {
    match error {
        CommandError::Again { .. } => Exit::Unreachable,
        CommandError::Definitive { code, .. } if is_authentication(code) || code.starts_with("Forbidden") => {
            Exit::Denied
        }
        CommandError::Definitive { code, .. } if code.ends_with(".NotFound") => Exit::NotFound,
        CommandError::Definitive { .. } | CommandError::Unknown { .. } => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    fn refused(status: u16, code: &str, message: &str) -> CliError {
        CliError::Call {
            service: Service::Kms,
            action: "GetSecretValue",
            endpoint: "vault:8443".to_owned(),
            source: Box::new(CallError::Refused {
                status,
                code: code.to_owned(),
                message: message.to_owned(),
                request_id: "r-1".to_owned(),
                retry_after_ms: None,
            }),
        }
    }

    #[test]
    fn each_kind_of_refusal_has_its_exit_code() {
        for (status, code, exit) in [
            (400, "InvalidParameter", 1),
            (409, "Rejected.ResourceInUse", 1),
            (429, "Rejected.Throttling", 1),
            (503, "ServiceUnavailableTemporary", 3),
            (403, "Forbidden.NoPermission", 4),
            (403, "NoPermission", 4),
            (404, "InvalidAccessKeyId.NotFound", 4),
            (400, "SignatureDoesNotMatch", 4),
            (400, "InvalidTimeStamp.Expired", 4),
            (404, "Forbidden.ResourceNotFound", 5),
            (404, "EntityNotExist.User", 5),
            (404, "InvalidAction.NotFound", 1),
        ] {
            assert_eq!(refused(status, code, "").exit().code(), exit, "{status} {code}");
        }
    }

    #[test]
    fn a_refused_pin_has_an_exit_code_of_its_own() {
        let refused = HsmError::PinRefused {
            token: "t".to_owned(),
            serial: "1".to_owned(),
            ckr: "CKR_PIN_INCORRECT".to_owned(),
            hint: "give the right PIN".to_owned(),
        };
        assert_eq!(CliError::from(ApplianceError::from(refused)).exit().code(), 8);
        let other = HsmError::Unavailable { why: "gone".into() };
        assert_eq!(CliError::from(ApplianceError::from(other)).exit().code(), 1);
    }

    #[test]
    fn people_see_code_message_request_and_next_step() {
        let (mut output, stdout, stderr) = captured::output(Form::People, false);
        let arn = "acs:kms:cn-hangzhou:1:secret/acs/ecs/web-01";
        let message = format!("This operation for {arn} is forbidden by permission system.");
        refused(403, "Forbidden.NoPermission", &message).show(&mut output).unwrap();
        let text = stderr.text();
        for part in ["Forbidden.NoPermission", "(403)", &message, "request: r-1", "kms:GetSecretValue", arn] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(stdout.text(), "");
    }

    #[test]
    fn programs_get_one_json_value_on_standard_error() {
        let (mut output, _, stderr) = captured::output(Form::Json, false);
        refused(404, "Forbidden.ResourceNotFound", "gone").show(&mut output).unwrap();
        let value: serde_json::Value = serde_json::from_str(&stderr.text()).unwrap();
        assert_eq!(value["error"]["exit"], 5);
        assert_eq!(value["error"]["code"], "Forbidden.ResourceNotFound");
        assert_eq!(value["error"]["request_id"], "r-1");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let (mut output, _, stderr) = captured::output(Form::People, false);
        let error = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Done);
        error.show(&mut output).unwrap();
        assert_eq!(stderr.text(), "");
    }
}
