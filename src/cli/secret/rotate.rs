//! `strongroom secret rotate`, by which a rotation is begun, followed or given
//! up, and `rotation-policy`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use strongroom_hsm::SecretBytes;

use super::put::Kept;
use super::watch::{self, Watched, described};
use super::{Named, ecs_value, version_or_new};
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::input::{self, MAX_VALUE_BYTES};
use crate::cli::output::Output;
use crate::model::{RotationInterval, SecretName, VersionId};

/// Set a new credential on the instance now
///
/// The vault makes one up, unless a file or --prompt gives it. It goes on by itself whatever becomes
/// of this command. With --wait each step is shown as it happens, then what is in force: exit code 0
/// when the new credential is, 10 when the rotation failed, 6 when it is not over in time. Ctrl-C
/// only stops watching, with exit code 130.
///
/// --give-up is for a rotation of which nobody knows which credential is in force, because the
/// instance does not answer. Both stay in the vault until the instance has confirmed that nothing of
/// the rotation will act any more: then it is over, without effect or, if the new credential turns
/// out to be in force, as a success.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("value").args(["password_file", "private_key_file", "prompt"]))]
#[command(after_long_help = "\
Examples:
  strongroom secret rotate acs/ecs/web-01 --wait --timeout 180
  A value of your own:
    strongroom secret rotate acs/ecs/web-01 --prompt --wait
    strongroom secret rotate acs/ecs/web-01-key --private-key-file next.key
  Nobody knows what is in force, and the instance is gone for good:
    strongroom secret rotate acs/ecs/web-01 --give-up 5f2c9e0a-1111-4222-8333-444455556666")]
pub(super) struct RotateArgs {
    #[command(flatten)]
    named: Named,
    /// Id of the new version, a UUID unless given; repeating it repeats nothing
    #[arg(long, value_name = "ID", value_parser = VersionId::parse)]
    version_id: Option<VersionId>,
    /// File with the password to set, on one line, or - for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the private key to set, or - for standard input
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// Ask at the terminal for the password to set
    #[arg(long)]
    prompt: bool,
    /// Give up the rotation to this version, which is in doubt
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["version_id", "value"], value_parser = VersionId::parse)]
    give_up: Option<VersionId>,
    /// Show the steps as they happen, and at the end what is in force
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

impl RotateArgs {
    /// The value to set, if one is given. The user is not part of it: a rotation
    /// does not change that.
    fn value(&self) -> Result<Option<SecretBytes>, CliError> {
        if let Some(path) = &self.password_file {
            let password = input::read_line_file(path, MAX_VALUE_BYTES)?;
            return ecs_value::password(None, &password).map(Some);
        }
        if let Some(path) = &self.private_key_file {
            let private = input::read_file(path, MAX_VALUE_BYTES)?;
            return ecs_value::of_private_key(None, self.named.name.as_str(), &private).map(Some);
        }
        if self.prompt {
            return ecs_value::password(None, &input::prompt_twice("New password: ")?).map(Some);
        }
        Ok(None)
    }
}

pub(super) async fn run(
    args: &RotateArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = &args.named.name;
    if let Some(version) = &args.give_up {
        return give_up(args, version, connection, output).await;
    }
    let value = args.value()?.map(Kept::text);
    let version = version_or_new(args.version_id.as_ref())?;
    let query = [("SecretName", name.as_str()), ("VersionId", version.as_str())];
    let form = match &value {
        Some(value) => vec![("SecretData", value.as_text()?)],
        None => Vec::new(),
    };
    let answer = connection.call("RotateSecret", &query, &form).await?;
    if args.wait {
        let watched = Watched { name, version: &version, timeout_seconds: args.timeout };
        return watch::follow(watched, connection, output).await;
    }
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    output.line(&format!("the rotation of {name} to version {version} has begun"))?;
    Ok(output.line(&how_to_follow(name))?)
}

/// Never the same command again: after a rotation that failed it would begin another one.
fn how_to_follow(name: &SecretName) -> String {
    format!("to see what becomes of it: strongroom secret rotations {name}")
}

async fn give_up(
    args: &RotateArgs,
    version: &VersionId,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = &args.named.name;
    let query = [("SecretName", name.as_str()), ("VersionId", version.as_str())];
    let answer = connection.call("GiveUpSecretRotation", &query, &[]).await?;
    if args.wait {
        let watched = Watched { name, version, timeout_seconds: args.timeout };
        return watch::follow(watched, connection, output).await;
    }
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    output.line(&format!("the rotation of {name} to version {version} is being given up"))?;
    output.line(
        "both versions stay in the vault until the instance has confirmed that nothing of it will act any more;\n\
         if the new credential turns out to be in force there, the rotation still ends as a success",
    )?;
    Ok(output.line(&format!("to see what became of it: strongroom secret rotations {name}"))?)
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
