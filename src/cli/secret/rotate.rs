//! `strongroom secret rotate`, which can wait for the end, and
//! `rotation-policy`.

use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::answers::{Described, VersionRow};
use super::list::all_versions;
use super::{Named, version_or_new};
use crate::cli::connection::Connection;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::model::{RotationInterval, SecretName, VersionId};

/// The pause between two questions grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Set a new credential on the instance now
///
/// The vault goes on by itself whatever becomes of this command. With --wait it says what came of
/// it: exit code 0 when the new credential is in force, 10 when the rotation failed and the former
/// one still is, 6 when it is not over in time.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret rotate acs/ecs/web-01 --wait --timeout 180")]
pub(super) struct RotateArgs {
    #[command(flatten)]
    named: Named,
    /// Id of the new version, a UUID unless given; repeating it repeats nothing
    #[arg(long, value_name = "ID", value_parser = VersionId::parse)]
    version_id: Option<VersionId>,
    /// Wait for the end and say what is in force then
    #[arg(long)]
    wait: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "wait", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// Turn automatic rotation on or off
///
/// The next rotation is due one interval after the last one; if that is over already, at once.
/// Turning it on again also clears the state Invalid that a failed rotation leaves.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("setting").required(true).args(["every", "off"]))]
#[command(after_long_help = "\
Examples:
  strongroom secret rotation-policy acs/ecs/web-01 --every 7d
  strongroom secret rotation-policy acs/ecs/web-01 --off")]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    named: Named,
    /// Rotate at this interval, 6h to 365d
    #[arg(long, value_name = "INTERVAL", value_parser = RotationInterval::parse)]
    every: Option<RotationInterval>,
    /// Rotate by hand only
    #[arg(long)]
    off: bool,
}

pub(super) async fn run(
    args: &RotateArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = &args.named.name;
    let version = version_or_new(args.version_id.as_ref())?;
    let query = [("SecretName", name.as_str()), ("VersionId", version.as_str())];
    let answer = connection.call("RotateSecret", &query, &[]).await?;
    if args.wait {
        return follow(name, &version, args.timeout, connection, output).await;
    }
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    output.line(&format!("the rotation of {name} to version {version} has begun"))?;
    Ok(output.line(&format!(
        "to follow it: strongroom secret versions {name} --all\n\
         it is over when {version} is ACSCurrent, and has failed when {version} is gone"
    ))?)
}

/// What the versions say of a rotation (kms-secrets.md sections 6.5 and 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The version is there and waits to become current.
    Pending,
    /// It is in force.
    Current,
    /// It was in force; a later one has replaced it since.
    Replaced,
    /// It was given up and is gone.
    Gone,
}

impl Standing {
    fn of(version: &VersionId, rows: &[VersionRow]) -> Self {
        let Some(row) = rows.iter().find(|row| row.version_id == version.as_str()) else { return Self::Gone };
        let stages = &row.version_stages;
        if stages.contain("ACSCurrent") {
            Self::Current
        } else if stages.contain("ACSPending") {
            Self::Pending
        } else {
            Self::Replaced
        }
    }
}

async fn follow(
    name: &SecretName,
    version: &VersionId,
    timeout_seconds: u64,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let start = Instant::now();
    let deadline = start + Duration::from_secs(timeout_seconds);
    let bar = spinner(name, output);
    let mut pause = Duration::from_millis(250);
    let mut told = None;
    let (standing, rows) = loop {
        let asked = all_versions(name, true, connection).await;
        let standing = match asked {
            Ok(rows) => match Standing::of(version, &rows) {
                Standing::Pending => "pending",
                over @ (Standing::Current | Standing::Replaced | Standing::Gone) => break (over, rows),
            },
            // The vault may be restarting; it takes the rotation up again.
            Err(error) if error.exit() == Exit::Unreachable => "unreachable",
            Err(error) => return Err(error),
        };
        if output.is_json() && told != Some(standing) {
            told = Some(standing);
            output.json(&json!({
                "Event": standing, "SecretName": name.as_str(), "VersionId": version.as_str(),
                "Seconds": start.elapsed().as_secs(),
            }))?;
        }
        if Instant::now() + pause > deadline {
            bar.finish_and_clear();
            return Err(CliError::RotationGoesOn {
                secret: name.to_string(),
                version: version.to_string(),
                seconds: timeout_seconds,
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    bar.finish_and_clear();
    let rotation = described(name, connection).await;
    conclude(name, version, standing, &rows, rotation.as_ref(), output)
}

fn spinner(name: &SecretName, output: &Output) -> ProgressBar {
    if !output.may_draw() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(format!("rotating {name}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The schedule, which is worth showing but not worth failing for: the caller
/// may rotate and not describe.
async fn described(name: &SecretName, connection: &Connection) -> Option<Described> {
    connection.call("DescribeSecret", &[("SecretName", name.as_str())], &[]).await.ok()?.into().ok()
}

/// Says what is in force.
fn conclude(
    name: &SecretName,
    version: &VersionId,
    standing: Standing,
    rows: &[VersionRow],
    secret: Option<&Described>,
    output: &mut Output,
) -> Result<(), CliError> {
    let current = rows.iter().find(|row| row.version_stages.contain("ACSCurrent"));
    let current = current.map_or("none", |row| row.version_id.as_str());
    let event = match standing {
        Standing::Pending | Standing::Gone => "failed",
        Standing::Current => "current",
        Standing::Replaced => "replaced",
    };
    if output.is_json() {
        output.json(&json!({
            "Event": event, "SecretName": name.as_str(), "VersionId": version.as_str(), "CurrentVersionId": current,
            "AutomaticRotation": secret.and_then(|secret| secret.rotation.automatic_rotation.as_deref()),
            "NextRotationDate": secret.and_then(|secret| secret.rotation.next_rotation_date.as_deref()),
        }))?;
    } else {
        match standing {
            Standing::Current => output.line(&format!("{name}: version {version} is in force"))?,
            Standing::Replaced => output.line(&format!(
                "{name}: version {version} came into force and was replaced since by {current}, which is in force"
            ))?,
            Standing::Pending | Standing::Gone => output.line(&format!("{name}: version {current} is still in force"))?,
        }
        if let Some(words) = secret.and_then(|secret| secret.rotation.in_words()) {
            output.line(&format!("rotation is {words}"))?;
        }
    }
    match standing {
        Standing::Current | Standing::Replaced => Ok(()),
        Standing::Pending | Standing::Gone => {
            Err(CliError::RotationFailed { secret: name.to_string(), version: version.to_string() })
        }
    }
}

pub(super) async fn policy(
    args: &PolicyArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = &args.named.name;
    let interval = args.every.map(|interval| interval.to_string());
    let mut query = vec![
        ("SecretName", name.as_str()),
        ("EnableAutomaticRotation", if interval.is_some() { "true" } else { "false" }),
    ];
    if let Some(interval) = &interval {
        query.push(("RotationInterval", interval));
    }
    let answer = connection.call("UpdateSecretRotationPolicy", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let now = described(name, connection).await.and_then(|secret| secret.rotation.in_words());
    let words = now.unwrap_or_else(|| if args.off { "by hand only" } else { "automatic" }.to_owned());
    Ok(output.line(&format!("rotation of {name} is {words}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    fn rows(rows: &[(&str, &[&str])]) -> Vec<VersionRow> {
        rows.iter()
            .map(|(id, stages)| {
                serde_json::from_value(json!({"VersionId": id, "VersionStages": {"VersionStage": stages}}))
                    .unwrap()
            })
            .collect()
    }

    fn v2() -> VersionId {
        VersionId::parse("v2").unwrap()
    }

    #[test]
    fn the_versions_tell_how_a_rotation_stands() {
        for (list, standing) in [
            (&[("v2", &["ACSPending"][..]), ("v1", &["ACSCurrent"])][..], Standing::Pending),
            (&[("v2", &["ACSCurrent"]), ("v1", &["ACSPrevious"])], Standing::Current),
            (&[("v3", &["ACSCurrent"]), ("v2", &["ACSPrevious"])], Standing::Replaced),
            (&[("v4", &["ACSCurrent"]), ("v3", &["ACSPrevious"]), ("v2", &[])], Standing::Replaced),
            (&[("v1", &["ACSCurrent"])], Standing::Gone),
            (&[], Standing::Gone),
        ] {
            assert_eq!(Standing::of(&v2(), &rows(list)), standing, "{list:?}");
        }
    }

    #[test]
    fn the_end_says_what_is_in_force_and_with_which_code() {
        let name = SecretName::parse("acs/ecs/a").unwrap();
        for (standing, list, words, code) in [
            (Standing::Current, rows(&[("v2", &["ACSCurrent"])]), "version v2 is in force", 0),
            (Standing::Replaced, rows(&[("v3", &["ACSCurrent"])]), "replaced since by v3", 0),
            (Standing::Gone, rows(&[("v1", &["ACSCurrent"])]), "version v1 is still in force", 10),
        ] {
            let (mut output, stdout, _) = captured::output(Form::People, false);
            let ended = conclude(&name, &v2(), standing, &list, None, &mut output);
            assert_eq!(ended.map_or_else(|error| error.exit().code(), |()| 0), code);
            assert!(stdout.text().contains(words), "{}", stdout.text());

            let (mut output, stdout, _) = captured::output(Form::Json, false);
            assert_eq!(conclude(&name, &v2(), standing, &list, None, &mut output).is_ok(), code == 0);
            let line: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
            assert_eq!(line["CurrentVersionId"], list[0].version_id);
        }
    }
}
