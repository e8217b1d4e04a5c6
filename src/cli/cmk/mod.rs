//! `strongroom cmk`: keys in the token, which encrypt small data, data keys and
//! secrets. (`strongroom key` is about access keys.)

mod alias;
mod crypt;
mod show;

use clap::{Args, Subcommand};

use super::connection::{Connection, ConnectionArgs, Service};
use super::error::CliError;
use super::output::Output;
use crate::model::RotationInterval;

/// Keys in the token, which encrypt data and secrets.
#[derive(Debug, Args)]
pub(super) struct CmkArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: CmkCommand,
}

#[derive(Debug, Subcommand)]
enum CmkCommand {
    /// Names for keys, which can be pointed to another key
    #[command(subcommand)]
    Alias(alias::AliasCommand),
    Create(show::CreateArgs),
    Decrypt(crypt::DecryptArgs),
    /// Schedule a key for deletion
    ///
    /// It cannot be used from now on, and can be restored until its time is over. What it has
    /// encrypted is lost then.
    #[command(after_long_help = "\
Example:
  strongroom cmk delete f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11 --window-days 30")]
    Delete {
        #[command(flatten)]
        key: One,
        /// Days in which it can be restored, 7 to 366
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(7..=366))]
        window_days: u16,
    },
    Describe(show::DescribeArgs),
    /// Stop all use of a key until it is enabled again
    #[command(after_long_help = "\
Example:
  strongroom cmk disable f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    Disable(One),
    /// Make a disabled key usable again
    #[command(after_long_help = "\
Example:
  strongroom cmk enable f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    Enable(One),
    Encrypt(crypt::EncryptArgs),
    List(show::ListArgs),
    /// Keep a key from being scheduled for deletion
    #[command(after_long_help = "\
Examples:
  strongroom cmk protect f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11 --reason 'backups of 2024'
  strongroom cmk protect f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11 --off")]
    Protect {
        #[command(flatten)]
        key: One,
        /// Why
        #[arg(long, value_name = "TEXT", conflicts_with = "off")]
        reason: Option<String>,
        /// No longer
        #[arg(long)]
        off: bool,
    },
    /// Bring back a key that is scheduled for deletion
    #[command(after_long_help = "\
Example:
  strongroom cmk restore f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    Restore(One),
    /// Make a new version of a key, which encrypts from now on
    ///
    /// What older versions have encrypted stays readable.
    #[command(after_long_help = "\
Example:
  strongroom cmk rotate f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    Rotate(One),
    /// Have the vault make new versions of a key by itself, or not
    #[command(after_long_help = "\
Examples:
  strongroom cmk rotation-policy f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11 --every 365d
  strongroom cmk rotation-policy f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11 --off")]
    RotationPolicy {
        #[command(flatten)]
        key: One,
        /// How often, 7d to 365d
        #[arg(long, value_name = "INTERVAL", value_parser = RotationInterval::parse, required_unless_present = "off")]
        every: Option<RotationInterval>,
        /// Not any more
        #[arg(long, conflicts_with = "every")]
        off: bool,
    },
}

/// A key that is changed.
#[derive(Debug, Args)]
struct One {
    /// Id of the key; `cmk describe ALIAS` shows it
    #[arg(value_name = "KEY-ID")]
    id: String,
}

/// A key that is used or looked at.
#[derive(Debug, Args)]
struct Any {
    /// Id, alias (alias/NAME) or ARN of the key
    #[arg(value_name = "KEY")]
    key: String,
}

/// `KEY=VALUE`, for tags and encryption contexts.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it is written KEY=VALUE"),
    }
}

/// Runs one of the commands.
pub(super) async fn run(args: CmkArgs, output: &mut Output) -> Result<(), CliError> {
    let connection = Connection::open(&args.connection, Service::Kms)?;
    let to = Simple { connection: &connection };
    match &args.command {
        CmkCommand::Alias(command) => alias::run(command, &connection, output).await,
        CmkCommand::Create(args) => show::create(args, &connection, output).await,
        CmkCommand::Decrypt(args) => crypt::decrypt(args, &connection, output).await,
        CmkCommand::Delete { key, window_days } => {
            let days = window_days.to_string();
            let said = format!(
                "{0} will be deleted in {days} days; to bring it back before: strongroom cmk restore {0}",
                key.id
            );
            to.call("ScheduleKeyDeletion", key, &[("PendingWindowInDays", &days)], &said, output).await
        }
        CmkCommand::Describe(args) => show::describe(args, &connection, output).await,
        CmkCommand::Disable(key) => {
            to.call("DisableKey", key, &[], &format!("{} is disabled now", key.id), output).await
        }
        CmkCommand::Enable(key) => {
            to.call("EnableKey", key, &[], &format!("{} is enabled now", key.id), output).await
        }
        CmkCommand::Encrypt(args) => crypt::encrypt(args, &connection, output).await,
        CmkCommand::List(args) => show::list(args, &connection, output).await,
        CmkCommand::Protect { key, reason, off } => {
            let mut query = vec![("EnableDeletionProtection", if *off { "false" } else { "true" })];
            query.extend(reason.iter().map(|reason| ("DeletionProtectionDescription", reason.as_str())));
            let said = format!("{} is {} protected now", key.id, if *off { "not" } else { "being" });
            to.call("SetDeletionProtection", key, &query, &said, output).await
        }
        CmkCommand::Restore(key) => {
            to.call("CancelKeyDeletion", key, &[], &format!("restored {}, which is enabled", key.id), output)
                .await
        }
        CmkCommand::Rotate(key) => {
            to.call("CreateKeyVersion", key, &[], &format!("{} has a new version", key.id), output).await
        }
        CmkCommand::RotationPolicy { key, every, .. } => {
            let interval = every.map(|every| every.to_string());
            let mut query =
                vec![("EnableAutomaticRotation", if interval.is_some() { "true" } else { "false" })];
            query.extend(interval.iter().map(|interval| ("RotationInterval", interval.as_str())));
            let said = match &interval {
                Some(every) => format!("{} gets a new version every {every}", key.id),
                None => format!("{} gets new versions by cmk rotate only", key.id),
            };
            to.call("UpdateRotationPolicy", key, &query, &said, output).await
        }
    }
}

/// Actions on one key whose answer says nothing that was not known.
struct Simple<'a> {
    connection: &'a Connection,
}

impl Simple<'_> {
    async fn call(
        &self,
        action: &'static str,
        key: &One,
        more: &[(&str, &str)],
        said: &str,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let query = [&[("KeyId", key.id.as_str())], more].concat();
        let answer = self.connection.call(action, &query, &[]).await?;
        if output.is_json() { Ok(output.answer(&answer.body)?) } else { Ok(output.line(said)?) }
    }
}

/// All rows of a list of the KMS API, which comes in numbered pages
/// (kms-secrets.md section 4).
async fn rows(
    action: &'static str,
    (outer, inner): (&str, &str),
    query: &[(&str, &str)],
    connection: &Connection,
) -> Result<Vec<serde_json::Value>, CliError> {
    let mut rows = Vec::new();
    for number in 1_u32.. {
        let number = number.to_string();
        let query = [query, &[("PageNumber", number.as_str()), ("PageSize", "100")]].concat();
        let mut page: serde_json::Value = connection.call(action, &query, &[]).await?.into()?;
        let found = page.get_mut(outer).and_then(|list| list.get_mut(inner)).map(serde_json::Value::take);
        let Some(serde_json::Value::Array(found)) = found else { return Err(CliError::Answer { action }) };
        let is_last = found.is_empty();
        rows.extend(found);
        let total = page.get("TotalCount").and_then(serde_json::Value::as_u64);
        let all = u64::try_from(rows.len()).is_ok_and(|rows| total.is_none_or(|total| rows >= total));
        if is_last || all {
            break;
        }
    }
    Ok(rows)
}
