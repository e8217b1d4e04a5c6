//! `strongroom secret policy`: who may do what with one secret.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Named;
use crate::appliance::{self, Config};
use crate::cli::connection::{Connection, ConnectionArgs, Service};
use crate::cli::error::CliError;
use crate::cli::input;
use crate::cli::output::Output;

/// Show or set the policy of a secret itself
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Show the policy of a secret
    #[command(after_long_help = "\
Example:
  strongroom secret policy get ci/token")]
    Get(Named),
    /// Give a secret the default policy again, on the machine of the vault
    ///
    /// For a policy that shuts out everybody who could set another. The vault must be stopped
    /// meanwhile.
    #[command(after_long_help = "\
Example:
  strongroom secret policy reset ci/token --config /var/lib/strongroom/strongroom.toml")]
    Reset {
        #[command(flatten)]
        named: Named,
        /// Configuration file of the vault
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Replace the policy of a secret; it counts from the next request on
    ///
    /// The document is JSON in the language of RAM policies; it names whom it is about, and means
    /// this secret alone:
    ///
    ///   {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kms:GetSecretValue",
    ///    "Principal": {"RAM": "acs:ram::1234567890123456:user/alice"}, "Resource": "*"}]}
    ///
    /// It is asked together with the policies of the caller: a deny in either wins, else one allow is
    /// enough. You can shut yourself out with it; "policy reset" is the way back then.
    #[command(
        verbatim_doc_comment,
        after_long_help = "\
Example:
  strongroom secret policy set ci/token --document-file alice-reads.json"
    )]
    Set {
        #[command(flatten)]
        named: Named,
        /// File with the document, or - for standard input
        #[arg(long, value_name = "FILE")]
        document_file: PathBuf,
    },
}

pub(super) async fn run(
    args: &PolicyArgs,
    connection: &ConnectionArgs,
    output: &mut Output,
) -> Result<(), CliError> {
    match &args.command {
        PolicyCommand::Get(named) => get(named, &Connection::open(connection, Service::Kms)?, output).await,
        PolicyCommand::Reset { named, config } => {
            appliance::reset_secret_policy(Config::load(config)?, &named.name).await?;
            if output.is_json() {
                return Ok(output.json(&serde_json::json!({ "SecretName": named.name }))?);
            }
            Ok(output.line(&format!("{} has the default policy", named.name))?)
        }
        PolicyCommand::Set { named, document_file } => {
            let connection = Connection::open(connection, Service::Kms)?;
            let (name, document) = (named.name.as_str(), input::read_document(document_file)?);
            let answer =
                connection.call("SetSecretPolicy", &[("SecretName", name)], &[("Policy", &document)]).await?;
            if output.is_json() {
                return Ok(output.answer(&answer.body)?);
            }
            Ok(output.line(&format!("set the policy of {name}"))?)
        }
    }
}

async fn get(named: &Named, connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        policy: String,
    }
    let answer = connection.call("GetSecretPolicy", &[("SecretName", named.name.as_str())], &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let found: Found = answer.read()?;
    Ok(output.line(found.policy.trim_end_matches('\n'))?)
}
