//! `strongroom key`: the access keys of users.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;

use super::connection::{Connection, ConnectionArgs, Service, environment};
use super::error::CliError;
use super::listing::Listing;
use super::output::Output;
use super::profile::{Contents, NewFile};
use super::table::Table;
use super::wiped;
use crate::model::{AccessKeyId, AccessKeyStatus, RegionId, UserName};
use crate::rpc::client::Roots;

const KEYS: Listing = Listing { action: "ListAccessKeys", outer: "AccessKeys", inner: "AccessKey" };

/// Access keys, with which users sign requests.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Create an access key; its secret is shown this once only
    #[command(after_long_help = "\
Examples:
  strongroom key create --user alice --credentials-file alice.toml
  STRONGROOM_PROFILES=alice.toml strongroom secret list")]
    Create {
        #[command(flatten)]
        of: Owner,
        /// Write the key as a profile into this new file, which only you can read, and do not show it
        #[arg(long, value_name = "FILE")]
        credentials_file: Option<PathBuf>,
    },
    /// Delete an access key for good
    #[command(after_long_help = "\
Example:
  strongroom key delete LTAI5tExample --user alice")]
    Delete(One),
    /// Switch an access key off; it can be enabled again
    #[command(after_long_help = "\
Example:
  strongroom key disable LTAI5tExample --user alice")]
    Disable(One),
    /// Switch an access key on
    #[command(after_long_help = "\
Example:
  strongroom key enable LTAI5tExample --user alice")]
    Enable(One),
    /// List the access keys of a user, without secrets
    #[command(after_long_help = "\
Example:
  strongroom key list --user alice")]
    List(Owner),
}

#[derive(Debug, Args)]
struct Owner {
    /// Whose key; you yourself unless given
    #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
    user: Option<UserName>,
}

impl Owner {
    fn query(&self) -> Vec<(&'static str, &str)> {
        self.user.iter().map(|user| ("UserName", user.as_str())).collect()
    }
}

#[derive(Debug, Args)]
struct One {
    /// Id of the key
    #[arg(value_parser = AccessKeyId::parse)]
    id: AccessKeyId,
    #[command(flatten)]
    of: Owner,
}

impl One {
    fn query(&self) -> Vec<(&'static str, &str)> {
        let mut query = self.of.query();
        query.push(("UserAccessKeyId", self.id.as_str()));
        query
    }
}

/// Runs one of the commands.
pub(super) async fn run(args: KeyArgs, output: &mut Output) -> Result<(), CliError> {
    let connection = Connection::open(&args.connection, Service::Ram)?;
    match &args.command {
        KeyCommand::Create { of, credentials_file } => {
            create(of, credentials_file.as_deref(), &args.connection, &connection, output).await
        }
        KeyCommand::Delete(key) => {
            let answer = connection.call("DeleteAccessKey", &key.query(), &[]).await?;
            done(&answer.body, &format!("deleted {}", key.id), output)
        }
        KeyCommand::Disable(key) => switch(key, AccessKeyStatus::Inactive, &connection, output).await,
        KeyCommand::Enable(key) => switch(key, AccessKeyStatus::Active, &connection, output).await,
        KeyCommand::List(of) => list(of, &connection, output).await,
    }
}

fn done(body: &SecretBytes, text: &str, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() { Ok(output.answer(body)?) } else { Ok(output.line(text)?) }
}

async fn switch(
    key: &One,
    status: AccessKeyStatus,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut query = key.query();
    query.push(("Status", status.as_str()));
    let answer = connection.call("UpdateAccessKey", &query, &[]).await?;
    done(&answer.body, &format!("{} is {} now", key.id, status.as_str()), output)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created<'a> {
    #[serde(borrow)]
    access_key: NewKey<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewKey<'a> {
    access_key_id: String,
    #[serde(borrow)]
    access_key_secret: &'a RawValue,
}

async fn create(
    of: &Owner,
    credentials_file: Option<&Path>,
    args: &ConnectionArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let settings = args.resolve(&environment)?;
    let ca_file = ca_file(&settings.roots)?;
    let file = credentials_file.map(NewFile::create).transpose()?;
    let answer = match connection.call("CreateAccessKey", &of.query(), &[]).await {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(file) = file {
                file.discard()?;
            }
            return Err(error);
        }
    };
    let Some(file) = file else { return show(&answer.body, output) };
    let (id, secret) = read(&answer.body)?;
    let written = file.write(&Contents {
        endpoint: Some(&settings.endpoint),
        ca_file: ca_file.as_deref(),
        region: settings.region.as_ref().map(RegionId::as_str),
        access_key_id: &id,
        access_key_secret: &secret,
    });
    if let Err(error) = written {
        // The secret cannot be asked for again, so it is shown rather than lost.
        show(&answer.body, output)?;
        return Err(error.into());
    }
    let path = credentials_file.unwrap_or(Path::new(""));
    if output.is_json() {
        let report = serde_json::json!({ "AccessKeyId": id, "CredentialsFile": path });
        return Ok(output.json(&report)?);
    }
    Ok(output.line(&format!("created {id} and wrote it to {}", path.display()))?)
}

/// The trusted authority in a form that holds in every folder.
fn ca_file(roots: &Roots) -> Result<Option<PathBuf>, CliError> {
    match roots {
        Roots::File(path) => match std::path::absolute(path) {
            Ok(path) => Ok(Some(path)),
            Err(source) => Err(CliError::File { deed: "find", path: path.clone(), source }),
        },
        Roots::System => Ok(None),
    }
}

fn read(body: &SecretBytes) -> Result<(String, SecretBytes), CliError> {
    let malformed = || CliError::Answer { action: "CreateAccessKey" };
    let created: Created<'_> = serde_json::from_slice(body.expose()).ok().ok_or_else(malformed)?;
    let secret = wiped::read_string(created.access_key.access_key_secret).ok_or_else(malformed)?;
    Ok((created.access_key.access_key_id, secret))
}

fn show(body: &SecretBytes, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return Ok(output.answer(body)?);
    }
    let (id, secret) = read(body)?;
    output.line(&format!("{:<12}{id}", "Key id"))?;
    output.secret_line("Key secret", &secret)?;
    Ok(output.note("keep the secret now: it is not shown again")?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    access_key_id: String,
    status: String,
    #[serde(default)]
    create_date: String,
}

async fn list(of: &Owner, connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    let rows = KEYS.rows(connection, &of.query()).await?;
    if output.is_json() {
        return KEYS.json(&rows, output);
    }
    let mut table = Table::new(&["KEY ID", "STATUS", "CREATED"]);
    for row in rows {
        let row: Row = KEYS.read(row)?;
        table.row([&row.access_key_id, &row.status, &row.create_date]);
    }
    Ok(output.table(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    #[test]
    fn a_written_profile_holds_in_every_folder() {
        let here = std::env::current_dir().unwrap();
        let relative = ca_file(&Roots::File("vault/tls/ca.pem".into())).unwrap();
        assert_eq!(relative, Some(here.join("vault/tls/ca.pem")));
        assert_eq!(ca_file(&Roots::File("/ca.pem".into())).unwrap(), Some("/ca.pem".into()));
        assert_eq!(ca_file(&Roots::System).unwrap(), None);
    }

    #[test]
    fn a_new_key_is_shown_once_and_said_to_be() {
        let body = SecretBytes::copy_of(
            br#"{"AccessKey":{"AccessKeyId":"LTAI1","AccessKeySecret":"s3cret","Status":"Active"},"RequestId":"r"}"#,
        );
        let (mut output, stdout, stderr) = captured::output(Form::People, false);
        show(&body, &mut output).unwrap();
        assert_eq!(stdout.text(), "Key id      LTAI1\nKey secret  s3cret\n");
        assert!(stderr.text().contains("not shown again"));
    }
}
