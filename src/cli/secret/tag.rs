//! `strongroom secret tag` and `untag`.

use clap::Args;
use serde_json::{Value, json};

use super::Named;
use super::list::pair;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;

/// Give a secret tags
///
/// A tag whose key it has gets the new value; the others stay. Policies can allow and deny by tags.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret tag acs/ecs/web-01 env=prod team=web")]
pub(super) struct TagArgs {
    #[command(flatten)]
    named: Named,
    /// The tags
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = pair)]
    tags: Vec<(String, String)>,
}

/// Take tags off a secret
///
/// A key that it does not have is no error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret untag acs/ecs/web-01 team")]
pub(super) struct UntagArgs {
    #[command(flatten)]
    named: Named,
    /// The keys of the tags
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
}

pub(super) async fn tag(
    args: &TagArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = args.named.name.as_str();
    let tags: Value =
        args.tags.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
    let query = [("SecretName", name), ("Tags", &tags.to_string())];
    let answer = connection.call("TagResource", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&format!("tagged {name}"))?)
}

pub(super) async fn untag(
    args: &UntagArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = args.named.name.as_str();
    let keys = json!(args.keys).to_string();
    let answer = connection.call("UntagResource", &[("SecretName", name), ("TagKeys", &keys)], &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&format!("untagged {name}"))?)
}
