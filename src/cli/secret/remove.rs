//! `strongroom secret delete` and `restore`.

use clap::Args;
use serde::Deserialize;

use super::Named;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;

/// Schedule a secret for deletion
///
/// Until then it cannot be read or rotated, and can be restored. The credential on the instance
/// stays as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom secret delete acs/ecs/web-01 --window-days 7
  strongroom secret delete ci/token --without-recovery")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    named: Named,
    /// Days in which it can be restored, 7 to 30
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u8).range(7..=30))]
    window_days: u8,
    /// Destroy it now, with all its versions, for good
    #[arg(long, conflicts_with = "window_days")]
    without_recovery: bool,
}

/// Bring back a secret that is scheduled for deletion
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret restore acs/ecs/web-01")]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    named: Named,
}

pub(super) async fn delete(
    args: &DeleteArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Deleted {
        #[serde(default)]
        planned_delete_time: String,
    }
    let name = args.named.name.as_str();
    let days = args.window_days.to_string();
    let how = if args.without_recovery {
        ("ForceDeleteWithoutRecovery", "true")
    } else {
        ("RecoveryWindowInDays", days.as_str())
    };
    let answer = connection.call("DeleteSecret", &[("SecretName", name), how], &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    if args.without_recovery {
        return Ok(output.line(&format!("destroyed {name}"))?);
    }
    let deleted: Deleted = answer.read()?;
    output.line(&format!("{name} will be destroyed at {}", deleted.planned_delete_time))?;
    Ok(output.line(&format!("to bring it back before: strongroom secret restore {name}"))?)
}

pub(super) async fn restore(
    args: &RestoreArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = args.named.name.as_str();
    let answer = connection.call("RestoreSecret", &[("SecretName", name)], &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&format!("restored {name}"))?)
}
