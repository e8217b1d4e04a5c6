//! `strongroom user`: who may sign requests.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::connection::{Connection, ConnectionArgs, Service};
use super::error::CliError;
use super::listing::Listing;
use super::output::Output;
use super::table::Table;
use crate::model::UserName;

const USERS: Listing = Listing { action: "ListUsers", outer: "Users", inner: "User" };

/// Users of the vault.
#[derive(Debug, Args)]
pub(super) struct UserArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user, who may do nothing until a policy is attached
    #[command(after_long_help = "\
Example:
  strongroom user create alice --display-name 'Alice Example'
  strongroom key create --user alice --credentials-file alice.toml
  strongroom policy attach read-web --user alice")]
    Create {
        /// Name of the user
        #[arg(value_parser = UserName::parse)]
        name: UserName,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Free text
        #[arg(long, value_name = "TEXT")]
        comments: Option<String>,
    },
    /// Delete a user, who must have no keys and no policies left
    #[command(after_long_help = "\
Example:
  strongroom user delete alice")]
    Delete {
        /// Name of the user
        #[arg(value_parser = UserName::parse)]
        name: UserName,
    },
    /// List users
    #[command(after_long_help = "\
Example:
  strongroom user list --json")]
    List,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    user_name: String,
    user_id: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    create_date: String,
}

/// Runs one of the commands.
pub(super) async fn run(args: UserArgs, output: &mut Output) -> Result<(), CliError> {
    let connection = Connection::open(&args.connection, Service::Ram)?;
    let (answer, done) = match &args.command {
        UserCommand::Create { name, display_name, comments } => {
            let mut query = vec![("UserName", name.as_str())];
            let optional = [("DisplayName", display_name), ("Comments", comments)];
            query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
            let answer = connection.call("CreateUser", &query, &[]).await?;
            (
                answer,
                format!(
                    "created {name}, who may do nothing yet: strongroom policy attach POLICY --user {name}"
                ),
            )
        }
        UserCommand::Delete { name } => {
            let answer = connection.call("DeleteUser", &[("UserName", name.as_str())], &[]).await?;
            (answer, format!("deleted {name}"))
        }
        UserCommand::List => return list(&connection, output).await,
    };
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&done)?)
}

async fn list(connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    let rows = USERS.rows(connection, &[]).await?;
    if output.is_json() {
        return USERS.json(&rows, output);
    }
    let mut table = Table::new(&["NAME", "ID", "DISPLAY NAME", "CREATED"]);
    for row in rows {
        let row: Row = USERS.read(row)?;
        table.row([&row.user_name, &row.user_id, &row.display_name, &row.create_date]);
    }
    Ok(output.table(&table)?)
}
