//! `strongroom secret policy`: who may do what with one secret.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Named;
use crate::cli::connection::Connection;
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
    /// Replace the policy of a secret; it counts from the next request on
    ///
    /// The document is JSON in the language of RAM policies; it names whom it is about, and means
    /// this secret alone:
    ///
    ///   {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kms:GetSecretValue",
    ///    "Principal": {"RAM": "acs:ram::1234567890123456:user/alice"}, "Resource": "*"}]}
    ///
    /// It is asked together with the policies of the caller: a deny in either wins, else one allow is
    /// enough. You can shut yourself out with it.
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
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    match &args.command {
        PolicyCommand::Get(named) => get(named, connection, output).await,
        PolicyCommand::Set { named, document_file } => {
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
