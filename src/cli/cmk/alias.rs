//! `strongroom cmk alias`: names for keys.

use clap::Subcommand;
use serde_json::{Value, json};

use super::rows;
use super::show::alias_name;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::table::Table;

#[derive(Debug, Subcommand)]
pub(super) enum AliasCommand {
    /// Give a key a name
    #[command(after_long_help = "\
Example:
  strongroom cmk alias create shop f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    Create {
        /// The new name, with or without alias/ before it
        name: String,
        /// Id of the key
        #[arg(value_name = "KEY-ID")]
        key: String,
    },
    /// Remove a name; the key stays
    #[command(after_long_help = "\
Example:
  strongroom cmk alias delete shop")]
    Delete {
        /// The name, with or without alias/ before it
        name: String,
    },
    /// List the names of all keys, or of one
    #[command(after_long_help = "\
Examples:
  strongroom cmk alias list
  strongroom cmk alias list --key f7b9a2c4-5d1e-4c0b-9a52-6f3e0d8b7c11")]
    List {
        /// Only the names of the key with this id
        #[arg(long, value_name = "KEY-ID")]
        key: Option<String>,
    },
    /// Point a name to another key
    #[command(after_long_help = "\
Example:
  strongroom cmk alias point shop 0d8b7c11-5d1e-4c0b-9a52-6f3ef7b9a2c4")]
    Point {
        /// The name, with or without alias/ before it
        name: String,
        /// Id of the other key
        #[arg(value_name = "KEY-ID")]
        key: String,
    },
}

/// Runs one of the commands.
pub(super) async fn run(
    command: &AliasCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let (action, name, key, said) = match command {
        AliasCommand::Create { name, key } => ("CreateAlias", name, Some(key), "points to the key"),
        AliasCommand::Delete { name } => ("DeleteAlias", name, None, "is removed"),
        AliasCommand::List { key } => return list(key.as_deref(), connection, output).await,
        AliasCommand::Point { name, key } => ("UpdateAlias", name, Some(key), "points to that key now"),
    };
    let name = alias_name(name);
    let mut query = vec![("AliasName", name.as_str())];
    query.extend(key.map(|key| ("KeyId", key.as_str())));
    let answer = connection.call(action, &query, &[]).await?;
    if output.is_json() {
        Ok(output.answer(&answer.body)?)
    } else {
        Ok(output.line(&format!("{name} {said}"))?)
    }
}

async fn list(key: Option<&str>, connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    let query: Vec<_> = key.iter().map(|key| ("KeyId", *key)).collect();
    let action = if key.is_some() { "ListAliasesByKeyId" } else { "ListAliases" };
    let rows = rows(action, ("Aliases", "Alias"), &query, connection).await?;
    if output.is_json() {
        return Ok(output.json(&json!({ "TotalCount": rows.len(), "Aliases": { "Alias": rows } }))?);
    }
    let mut table = Table::new(&["ALIAS", "KEY ID"]);
    for row in rows {
        let text = |name| row.get(name).and_then(Value::as_str).unwrap_or("");
        table.row([text("AliasName"), text("KeyId")]);
    }
    Ok(output.table(&table)?)
}
