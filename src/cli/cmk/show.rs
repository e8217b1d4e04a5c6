//! `strongroom cmk create`, `list` and `describe`.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;

use super::{Any, pair, rows};
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::model::RotationInterval;

/// Make a key in the token
///
/// It is an AES-256 key that never leaves the token. Give it an alias, which programs can use
/// instead of its id.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom cmk create --description 'orders of the shop' --alias shop
  strongroom cmk create --rotate-every 365d --tag env=prod")]
pub(super) struct CreateArgs {
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Give it this name too, with or without alias/ before it
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Make a new version by itself at this interval, 7d to 365d
    #[arg(long, value_name = "INTERVAL", value_parser = RotationInterval::parse)]
    rotate_every: Option<RotationInterval>,
    /// Label the key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    tag: Vec<(String, String)>,
}

/// List keys
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom cmk list
  strongroom cmk list --state disabled --json")]
pub(super) struct ListArgs {
    /// Only keys in this state; may be repeated
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Only keys with a label of this key; may be repeated
    #[arg(long, value_name = "KEY")]
    tag_key: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Can be used
    Enabled,
    /// Cannot be used until it is enabled
    Disabled,
    /// Scheduled for deletion
    PendingDeletion,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }
}

/// Show everything about a key
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom cmk describe alias/shop")]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    key: Any,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    key_metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    key_id: String,
    #[serde(default)]
    arn: String,
    #[serde(default)]
    key_state: String,
    #[serde(default)]
    key_spec: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    creation_date: String,
    #[serde(default)]
    delete_date: String,
    #[serde(default)]
    primary_key_version: String,
    #[serde(default)]
    last_rotation_date: String,
    #[serde(default)]
    automatic_rotation: String,
    #[serde(default)]
    rotation_interval: String,
    #[serde(default)]
    next_rotation_date: String,
    #[serde(default)]
    deletion_protection: String,
    #[serde(default)]
    deletion_protection_description: String,
}

impl CreateArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.description.iter().map(|text| ("Description", text.clone())));
        if let Some(every) = self.rotate_every {
            query.push(("EnableAutomaticRotation", "true".to_owned()));
            query.push(("RotationInterval", every.to_string()));
        }
        if !self.tag.is_empty() {
            let tags: Vec<_> =
                self.tag.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
            query.push(("Tags", json!(tags).to_string()));
        }
        query
    }
}

/// The name as the service wants it.
pub(super) fn alias_name(given: &str) -> String {
    if given.starts_with("alias/") { given.to_owned() } else { format!("alias/{given}") }
}

pub(super) async fn create(
    args: &CreateArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let query = args.query();
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = connection.call("CreateKey", &query, &[]).await?;
    let found: Found = answer.read()?;
    let id = found.key_metadata.key_id;
    // First of all the id, whatever becomes of the alias.
    if output.is_json() {
        output.answer(&answer.body)?;
    } else {
        output.line(&format!("created {id}"))?;
    }
    if let Some(alias) = args.alias.as_deref().map(alias_name) {
        connection.call("CreateAlias", &[("AliasName", &alias), ("KeyId", &id)], &[]).await?;
        if !output.is_json() {
            output.line(&format!("{alias} points to it"))?;
        }
    }
    Ok(())
}

pub(super) async fn list(
    args: &ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut filters = Vec::new();
    if !args.state.is_empty() {
        let states: Vec<_> = args.state.iter().map(|state| state.as_str()).collect();
        filters.push(json!({ "Key": "KeyState", "Values": states }));
    }
    if !args.tag_key.is_empty() {
        filters.push(json!({ "Key": "TagKey", "Values": args.tag_key }));
    }
    let filters = (!filters.is_empty()).then(|| json!(filters).to_string());
    let query: Vec<_> = filters.iter().map(|filters| ("Filters", filters.as_str())).collect();
    let rows = rows("ListKeys", ("Keys", "Key"), &query, connection).await?;
    if output.is_json() {
        return Ok(output.json(&json!({ "TotalCount": rows.len(), "Keys": { "Key": rows } }))?);
    }
    let mut table = Table::new(&["KEY ID", "ARN"]);
    for row in rows {
        let text = |name| row.get(name).and_then(serde_json::Value::as_str).unwrap_or("");
        table.row([text("KeyId"), text("KeyArn")]);
    }
    Ok(output.table(&table)?)
}

pub(super) async fn describe(
    args: &DescribeArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let answer = connection.call("DescribeKey", &[("KeyId", &args.key.key)], &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let found: Found = answer.read()?;
    described(&found.key_metadata, output)
}

fn described(key: &Metadata, output: &mut Output) -> Result<(), CliError> {
    let rotation = match key.automatic_rotation.as_str() {
        "Enabled" => format!("every {}, next {}", key.rotation_interval, key.next_rotation_date),
        "Suspended" => format!("every {}, suspended while the key is not enabled", key.rotation_interval),
        _ => "by strongroom cmk rotate only".to_owned(),
    };
    let protection = match (key.deletion_protection.as_str(), key.deletion_protection_description.as_str()) {
        ("Enabled", "") => "against deletion",
        ("Enabled", reason) => reason,
        _ => "",
    };
    for (label, value) in [
        ("Key", key.key_id.as_str()),
        ("ARN", &key.arn),
        ("State", &key.key_state),
        ("Kind", &key.key_spec),
        ("Description", &key.description),
        ("Created", &key.creation_date),
        ("Version", &key.primary_key_version),
        ("Rotated", &key.last_rotation_date),
        ("Rotation", &rotation),
        ("Protected", protection),
        ("Deleted at", &key.delete_date),
    ] {
        if !value.is_empty() {
            output.line(&format!("{label:<12}{}", value.replace('\n', "\n            ")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::output::{Form, captured};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    #[test]
    fn flags_become_parameters_of_create_key() {
        let line = "create --description d --rotate-every 7d --tag env=prod --tag a=b=c";
        let query = Line::try_parse_from(line.split(' ')).unwrap().args.query();
        let expected = [
            ("Description", "d"),
            ("EnableAutomaticRotation", "true"),
            ("RotationInterval", "604800s"),
            ("Tags", r#"[{"TagKey":"env","TagValue":"prod"},{"TagKey":"a","TagValue":"b=c"}]"#),
        ];
        assert_eq!(query, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(Line::try_parse_from(["create"]).unwrap().args.query().is_empty());
    }

    #[test]
    fn an_alias_may_be_named_with_or_without_its_prefix() {
        assert_eq!(alias_name("shop"), "alias/shop");
        assert_eq!(alias_name("alias/shop"), "alias/shop");
    }

    #[test]
    fn people_see_what_a_key_is_and_when_it_goes() {
        let body = r#"{"KeyMetadata":{"KeyId":"k","Arn":"a","KeyState":"PendingDeletion","KeySpec":"Aliyun_AES_256",
            "Description":"","CreationDate":"2024-05-06T07:08:09Z","DeleteDate":"2024-06-06T07:08:09Z",
            "AutomaticRotation":"Suspended","RotationInterval":"604800s","DeletionProtection":"Disabled"}}"#;
        let found: Found = serde_json::from_str(body).unwrap();
        let (mut output, stdout, _) = captured::output(Form::People, false);
        described(&found.key_metadata, &mut output).unwrap();
        assert_eq!(
            stdout.text(),
            "Key         k\nARN         a\nState       PendingDeletion\nKind        Aliyun_AES_256\n\
             Created     2024-05-06T07:08:09Z\n\
             Rotation    every 604800s, suspended while the key is not enabled\n\
             Deleted at  2024-06-06T07:08:09Z\n"
        );
    }
}
