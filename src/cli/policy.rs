//! `strongroom policy`: what users may do.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

use super::connection::{Connection, ConnectionArgs, Service};
use super::error::CliError;
use super::input;
use super::listing::Listing;
use super::output::Output;
use super::table::Table;
use crate::model::{PolicyName, UserName};

const POLICIES: Listing = Listing { action: "ListPolicies", outer: "Policies", inner: "Policy" };
const OF_USER: Listing = Listing { action: "ListPoliciesForUser", outer: "Policies", inner: "Policy" };

/// Policies, which say what users may do.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Attach a policy to a user; it counts from the next request on
    #[command(after_long_help = "\
Examples:
  strongroom policy attach read-web --user alice
  strongroom policy attach AliyunKMSSecretAdminAccess --type system --user bob")]
    Attach(Pair),
    /// List the policies that are attached to a user
    #[command(after_long_help = "\
Example:
  strongroom policy attached --user alice")]
    Attached {
        /// The user
        #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
        user: UserName,
    },
    /// Create a policy from a document
    ///
    /// The document is JSON in the language of RAM policies, for example
    ///
    ///   {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kms:GetSecretValue",
    ///    "Resource": "acs:kms:*:*:secret/acs/ecs/web-*"}]}
    #[command(
        verbatim_doc_comment,
        after_long_help = "\
Example:
  strongroom policy create read-web --document-file read-web.json"
    )]
    Create {
        /// Name of the policy
        #[arg(value_parser = PolicyName::parse)]
        name: PolicyName,
        /// File with the document, or - for standard input
        #[arg(long, value_name = "FILE")]
        document_file: PathBuf,
        /// Free text
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Delete a policy, which must be attached to nobody
    #[command(after_long_help = "\
Example:
  strongroom policy delete read-web")]
    Delete {
        /// Name of the policy
        #[arg(value_parser = PolicyName::parse)]
        name: PolicyName,
    },
    /// Detach a policy from a user; it counts from the next request on
    #[command(after_long_help = "\
Example:
  strongroom policy detach read-web --user alice")]
    Detach(Pair),
    /// List policies
    #[command(after_long_help = "\
Example:
  strongroom policy list --type custom")]
    List {
        /// Only policies of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<PolicyType>,
    },
    /// Show the document of a policy
    #[command(after_long_help = "\
Example:
  strongroom policy show read-web")]
    Show(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the policy
    #[arg(value_parser = PolicyName::parse)]
    name: PolicyName,
    /// Your own policy, or one that comes with the vault
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    kind: PolicyType,
}

impl Named {
    fn query(&self) -> Vec<(&'static str, &str)> {
        vec![("PolicyName", self.name.as_str()), ("PolicyType", self.kind.word())]
    }
}

#[derive(Debug, Args)]
struct Pair {
    #[command(flatten)]
    policy: Named,
    /// The user
    #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
    user: UserName,
}

impl Pair {
    fn query(&self) -> Vec<(&'static str, &str)> {
        let mut query = self.policy.query();
        query.push(("UserName", self.user.as_str()));
        query
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyType {
    /// Made by users of the vault
    Custom,
    /// Comes with the vault and cannot be changed
    System,
}

impl PolicyType {
    const fn word(self) -> &'static str {
        match self {
            Self::Custom => "Custom",
            Self::System => "System",
        }
    }
}

/// Runs one of the commands.
pub(super) async fn run(args: PolicyArgs, output: &mut Output) -> Result<(), CliError> {
    let connection = Connection::open(&args.connection, Service::Ram)?;
    let (action, query, done) = match &args.command {
        PolicyCommand::Attached { user } => {
            return list(OF_USER, &[("UserName", user.as_str())], &connection, output).await;
        }
        PolicyCommand::Create { name, document_file, description } => {
            return create(name, document_file, description.as_deref(), &connection, output).await;
        }
        PolicyCommand::List { kind } => {
            let query: Vec<_> = kind.iter().map(|kind| ("PolicyType", kind.word())).collect();
            return list(POLICIES, &query, &connection, output).await;
        }
        PolicyCommand::Show(policy) => return show(policy, &connection, output).await,
        PolicyCommand::Attach(pair) => {
            let done = format!("attached {} to {}", pair.policy.name, pair.user);
            ("AttachPolicyToUser", pair.query(), done)
        }
        PolicyCommand::Delete { name } => {
            ("DeletePolicy", vec![("PolicyName", name.as_str())], format!("deleted {name}"))
        }
        PolicyCommand::Detach(pair) => {
            let done = format!("detached {} from {}", pair.policy.name, pair.user);
            ("DetachPolicyFromUser", pair.query(), done)
        }
    };
    let answer = connection.call(action, &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&done)?)
}

async fn create(
    name: &PolicyName,
    document_file: &std::path::Path,
    description: Option<&str>,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let document = input::read_document(document_file)?;
    let mut query = vec![("PolicyName", name.as_str())];
    query.extend(description.map(|text| ("Description", text)));
    let answer = connection.call("CreatePolicy", &query, &[("PolicyDocument", &document)]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&format!(
        "created {name}; to give it to somebody: strongroom policy attach {name} --user USER"
    ))?)
}

async fn show(policy: &Named, connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        default_policy_version: Version,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        policy_document: String,
    }
    let answer = connection.call("GetPolicy", &policy.query(), &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let found: Found = answer.read()?;
    Ok(output.line(found.default_policy_version.policy_document.trim_end_matches('\n'))?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    policy_name: String,
    policy_type: String,
    #[serde(default)]
    description: String,
    attachment_count: Option<u64>,
    attach_date: Option<String>,
}

async fn list(
    listing: Listing,
    query: &[(&str, &str)],
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let rows = listing.rows(connection, query).await?;
    if output.is_json() {
        return listing.json(&rows, output);
    }
    let of_user = listing.action == OF_USER.action;
    let mut table = Table::new(&["NAME", "TYPE", if of_user { "ATTACHED" } else { "USERS" }, "DESCRIPTION"]);
    for row in rows {
        let row: Row = listing.read(row)?;
        let third =
            row.attach_date.or(row.attachment_count.map(|count| count.to_string())).unwrap_or_default();
        table.row([&row.policy_name, &row.policy_type, &third, &row.description]);
    }
    Ok(output.table(&table)?)
}
