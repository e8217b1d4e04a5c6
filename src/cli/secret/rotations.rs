//! `strongroom secret rotations`: what the rotations of a secret went through,
//! and what is read of the answer by whoever waits for one.

use clap::Args;
use serde::Deserialize;

use super::Named;
use crate::cli::connection::Connection;
use crate::cli::error::{CliError, RotationTrouble};
use crate::cli::output::Output;
use crate::model::SecretName;

/// Show what the rotations of a secret went through
///
/// Newest first: each state with the time at which it was entered, and everything that went wrong
/// with its code, what it means and what to do about it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom secret rotations acs/ecs/web-01
  strongroom secret rotations acs/ecs/web-01 --limit 1 --json")]
pub(super) struct RotationsArgs {
    #[command(flatten)]
    named: Named,
    /// How many to show at most
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
}

/// ListSecretRotations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RotationPage {
    pub(super) current_version_id: Option<String>,
    pub(super) rotations: Vec<Rotation>,
}

/// One rotation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Rotation {
    pub(super) version_id: String,
    trigger: String,
    pub(super) state: String,
    kind: String,
    instance_id: String,
    started_time: String,
    pub(super) ended_time: Option<String>,
    custom_value: bool,
    attempts: u32,
    pub(super) steps: Vec<Step>,
    pub(super) troubles: Vec<RotationTrouble>,
    pub(super) warnings: Vec<Warning>,
}

/// When a state was entered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Step {
    pub(super) state: String,
    pub(super) time: String,
}

/// What the plug-in found besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Warning {
    pub(super) code: String,
    pub(super) message: String,
}

/// What happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    /// A state was entered.
    Entered(Step),
    /// Something went wrong.
    Trouble(RotationTrouble),
}

impl Happening {
    pub(super) fn time(&self) -> &str {
        match self {
            Self::Entered(step) => &step.time,
            Self::Trouble(trouble) => &trouble.time,
        }
    }

    /// Among what bears the same second: what went wrong comes after the state
    /// it happened in, and before the one that it led to.
    fn rank(&self) -> u8 {
        match self {
            Self::Entered(step) => match step.state.as_str() {
                "Unknown" | "Stuck" | "Fencing" | "Failed" => 2,
                _ => 0,
            },
            Self::Trouble(_) => 1,
        }
    }
}

impl Rotation {
    /// States and troubles by time.
    pub(super) fn happenings(&self) -> Vec<Happening> {
        let steps = self.steps.iter().cloned().map(Happening::Entered);
        let mut all: Vec<Happening> =
            steps.chain(self.troubles.iter().cloned().map(Happening::Trouble)).collect();
        all.sort_by(|a, b| (a.time(), a.rank()).cmp(&(b.time(), b.rank())));
        all
    }

    fn heading(&self) -> String {
        let attempts =
            if self.attempts > 1 { format!(", sent {} times", self.attempts) } else { String::new() };
        let custom = if self.custom_value { ", value given by the caller" } else { "" };
        let kind = if self.kind == "SSHKey" { "SSH key" } else { "password" };
        format!(
            "{}  {} to version {} ({}, {kind} on {}{custom}{attempts})",
            self.started_time, self.state, self.version_id, self.trigger, self.instance_id
        )
    }
}

/// What a state means, for people; `docs/rotation.md` says more.
pub(super) fn meaning(state: &str) -> &'static str {
    match state {
        "Staged" => "the new credential is stored; the instance has not heard of it",
        "Sending" => "the request is being handed to Cloud Assistant",
        "Sent" => "Cloud Assistant has the request",
        "Unknown" => "old or new may be in force: the instance is asked",
        "Applied" => "the instance says that the new credential is in force",
        "Verified" => "that is proven",
        "Committed" => "the new version is the current one",
        "Finalizing" => "what is left of the old one is removed from the instance",
        "Done" => "only the new credential is in force",
        "Fencing" => "it is being given up, once the instance confirms that",
        "Failed" => "it is over without effect; the new credential is destroyed",
        "Stuck" => "no answer for long: both credentials are kept, and asking goes on",
        _ => "",
    }
}

/// One happening as lines for people.
pub(super) fn lines(happening: &Happening) -> String {
    let time = happening.time();
    // The date stands in the heading.
    let clock = time.split_once('T').map_or(time, |(_, clock)| clock.trim_end_matches('Z'));
    match happening {
        Happening::Entered(step) => format!("{clock}  {:<11}{}", step.state, meaning(&step.state)),
        Happening::Trouble(trouble) => format!(
            "{clock}  ! {}: {}: {}\n          what to do: {}",
            trouble.step, trouble.code, trouble.message, trouble.advice
        ),
    }
}

/// Asks for the newest rotations.
pub(super) async fn newest(
    name: &SecretName,
    count: &str,
    connection: &Connection,
) -> Result<RotationPage, CliError> {
    let query = [("SecretName", name.as_str()), ("MaxResults", count)];
    connection.call("ListSecretRotations", &query, &[]).await?.into()
}

pub(super) async fn run(
    args: &RotationsArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = &args.named.name;
    let count = args.limit.to_string();
    let query = [("SecretName", name.as_str()), ("MaxResults", count.as_str())];
    let answer = connection.call("ListSecretRotations", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    show(name, &answer.read()?, output)
}

fn show(name: &SecretName, page: &RotationPage, output: &mut Output) -> Result<(), CliError> {
    if let Some(current) = &page.current_version_id {
        output.line(&format!("{name}: version {current} is the current one"))?;
    }
    if page.rotations.is_empty() {
        output.line("it has not been rotated yet")?;
    }
    for rotation in &page.rotations {
        output.line(&format!("\n{}", rotation.heading()))?;
        for happening in rotation.happenings() {
            output.line(&format!("  {}", lines(&happening)))?;
        }
        for warning in &rotation.warnings {
            output.line(&format!("  note: {}: {}", warning.code, warning.message))?;
        }
        if is_in_doubt(&rotation.state) {
            output.line(&format!(
                "  both credentials are kept: strongroom secret get {name} --stage ACSPending has the new one\n  \
                 to end the doubt: strongroom secret rotate {name} --give-up {}",
                rotation.version_id
            ))?;
        }
    }
    Ok(())
}

/// Whether nobody can say which credential is in force, and giving up is possible.
fn is_in_doubt(state: &str) -> bool {
    matches!(state, "Unknown" | "Stuck")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::{Form, captured};

    fn page() -> RotationPage {
        serde_json::from_value(json!({
            "SecretName": "acs/ecs/a", "CurrentVersionId": "v1", "RequestId": "r",
            "Rotations": [{
                "RotationId": "x", "VersionId": "v2", "Trigger": "manual", "State": "Stuck", "Kind": "SSHKey",
                "InstanceId": "i-1", "StartedTime": "2024-05-06T07:08:09Z", "CustomValue": true, "Attempts": 2,
                "Steps": [
                    {"State": "Staged", "Time": "2024-05-06T07:08:09Z"},
                    {"State": "Sent", "Time": "2024-05-06T07:08:10Z"},
                    {"State": "Unknown", "Time": "2024-05-06T07:08:10Z"},
                    {"State": "Stuck", "Time": "2024-05-06T08:08:10Z"},
                ],
                "Troubles": [{"Step": "apply", "Code": "ClientNotResponse", "Message": "no answer",
                    "Time": "2024-05-06T07:08:10Z", "Advice": "Start the agent."}],
                "Warnings": [{"Code": "no_journal", "Message": "The instance was rebuilt."}],
            }],
        }))
        .unwrap()
    }

    #[test]
    fn people_read_a_timeline_with_what_to_do() {
        let (mut output, stdout, _) = captured::output(Form::People, false);
        show(&SecretName::parse("acs/ecs/a").unwrap(), &page(), &mut output).unwrap();
        let text = stdout.text();
        let order = [
            "version v1 is the current one",
            "Stuck to version v2 (manual, SSH key on i-1, value given by the caller, sent 2 times)",
            "07:08:09  Staged",
            "07:08:10  Sent",
            "07:08:10  ! apply: ClientNotResponse: no answer",
            "what to do: Start the agent.",
            "07:08:10  Unknown",
            "08:08:10  Stuck",
            "note: no_journal: The instance was rebuilt.",
            "--stage ACSPending",
            "secret rotate acs/ecs/a --give-up v2",
        ];
        let places: Vec<_> =
            order.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn every_state_has_a_meaning_in_words() {
        for state in crate::model::rotation::State::ALL {
            assert!(!meaning(state.as_str()).is_empty(), "{state:?}");
        }
    }
}
