//! `strongroom secret list`, `describe` and `versions`: everything but values.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Named;
use super::answers::{Described, EcsConfig, SecretPage, SecretRow, VersionPage, VersionRow};
use super::create::Kind;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::model::{SecretName, SecretType};

/// The most rows that a page has (kms-secrets.md section 4).
const PAGE_SIZE: &str = "100";

/// List secrets, without values
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom secret list --type ecs
  strongroom secret list --tag-key team --json")]
pub(super) struct ListArgs {
    /// Only secrets of this kind
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Only the secret of exactly this name; may be repeated
    #[arg(long, value_name = "NAME", value_parser = SecretName::parse)]
    name: Vec<SecretName>,
    /// Only secrets with a label of this key; may be repeated
    #[arg(long, value_name = "KEY")]
    tag_key: Vec<String>,
}

/// Show everything about a secret but its value
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret describe acs/ecs/web-01")]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    named: Named,
}

/// List the versions of a secret, without values
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret versions acs/ecs/web-01 --all")]
pub(super) struct VersionsArgs {
    #[command(flatten)]
    named: Named,
    /// Versions that no stage points to as well
    #[arg(long)]
    all: bool,
}

pub(super) async fn secrets(
    args: &ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let filters = filters(args);
    let mut rows = Vec::new();
    for number in 1_u32.. {
        let number = number.to_string();
        let mut query = vec![("PageNumber", number.as_str()), ("PageSize", PAGE_SIZE)];
        if let Some(filters) = &filters {
            query.push(("Filters", filters));
        }
        let page: SecretPage = connection.call("ListSecrets", &query, &[]).await?.into()?;
        let is_last = page.secret_list.secret.is_empty();
        rows.extend(page.secret_list.secret);
        if is_last || reached(rows.len(), page.total_count) {
            break;
        }
    }
    if output.is_json() {
        return Ok(output.json(&json!({ "TotalCount": rows.len(), "SecretList": { "Secret": rows } }))?);
    }
    let mut table = Table::new(&["NAME", "TYPE", "UPDATED", "DELETED AT"]);
    for row in rows {
        let row = SecretRow::deserialize(row).ok().ok_or(CliError::Answer { action: "ListSecrets" })?;
        table.row([&row.secret_name, &row.secret_type, &row.update_time, &row.planned_delete_time]);
    }
    Ok(output.table(&table)?)
}

/// `Filters` (kms-secrets.md section 5.6).
fn filters(args: &ListArgs) -> Option<String> {
    let names: Vec<&str> = args.name.iter().map(SecretName::as_str).collect();
    let kinds: Vec<&str> = args.kind.iter().map(|kind| SecretType::from(*kind).as_str()).collect();
    let filters: Vec<Value> =
        [("SecretName", json!(names)), ("SecretType", json!(kinds)), ("TagKey", json!(args.tag_key))]
            .into_iter()
            .filter(|(_, values)| values.as_array().is_some_and(|values| !values.is_empty()))
            .map(|(key, values)| json!({ "Key": key, "Values": values }))
            .collect();
    (!filters.is_empty()).then(|| Value::Array(filters).to_string())
}

fn reached(rows: usize, total: u64) -> bool {
    u64::try_from(rows).is_ok_and(|rows| rows >= total)
}

pub(super) async fn describe(
    args: &DescribeArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let query = [("SecretName", args.named.name.as_str()), ("FetchTags", "true")];
    let answer = connection.call("DescribeSecret", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    described(&answer.read()?, output)
}

fn described(secret: &Described, output: &mut Output) -> Result<(), CliError> {
    let config =
        secret.extended_config.as_deref().and_then(|text| serde_json::from_str::<EcsConfig>(text).ok());
    let on = config.map(|config| {
        format!("{} of {} in {}", config.secret_sub_type, config.instance_id, config.region_id)
    });
    let tags = secret.tags.as_ref().map(|tags| {
        tags.tag.iter().map(|tag| format!("{}={}", tag.tag_key, tag.tag_value)).collect::<Vec<_>>().join(", ")
    });
    let lines = [
        ("Secret", Some(secret.secret_name.clone())),
        ("ARN", Some(secret.arn.clone())),
        ("Type", Some(secret.secret_type.clone())),
        ("Credential", on),
        ("Description", Some(secret.description.clone())),
        ("Tags", tags),
        ("Created", Some(secret.create_time.clone())),
        ("Updated", Some(secret.update_time.clone())),
        ("Rotation", secret.rotation.in_words()),
        ("Rotated", secret.rotation.last_rotation_date.clone()),
        ("Deleted at", secret.planned_delete_time.clone()),
    ];
    for (label, value) in lines {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            output.line(&format!("{label:<12}{}", value.replace('\n', "\n            ")))?;
        }
    }
    Ok(())
}

pub(super) async fn versions(
    args: &VersionsArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let rows = all_versions(&args.named.name, args.all, connection).await?;
    if output.is_json() {
        let name = args.named.name.as_str();
        let report =
            json!({ "SecretName": name, "TotalCount": rows.len(), "VersionIds": { "VersionId": rows } });
        return Ok(output.json(&report)?);
    }
    let mut table = Table::new(&["VERSION", "CREATED", "STAGES"]);
    for row in rows {
        table.row([&row.version_id, &row.create_time, &row.version_stages.in_words()]);
    }
    Ok(output.table(&table)?)
}

/// The versions over all pages, newest first.
pub(super) async fn all_versions(
    name: &SecretName,
    with_deprecated: bool,
    connection: &Connection,
) -> Result<Vec<VersionRow>, CliError> {
    let mut rows: Vec<VersionRow> = Vec::new();
    for number in 1_u32.. {
        let number = number.to_string();
        let query = [
            ("SecretName", name.as_str()),
            ("IncludeDeprecated", if with_deprecated { "true" } else { "false" }),
            ("PageNumber", &number),
            ("PageSize", PAGE_SIZE),
        ];
        let page: VersionPage = connection.call("ListSecretVersionIds", &query, &[]).await?.into()?;
        let is_last = page.version_ids.version_id.is_empty();
        rows.extend(page.version_ids.version_id);
        if is_last || reached(rows.len(), page.total_count) {
            break;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    #[test]
    fn filters_are_left_out_where_nothing_is_asked_for() {
        let args = |kind, tag_key: &[&str]| ListArgs {
            kind,
            name: Vec::new(),
            tag_key: tag_key.iter().map(|key| (*key).to_owned()).collect(),
        };
        assert_eq!(filters(&args(None, &[])), None);
        let found: Value =
            serde_json::from_str(&filters(&args(Some(Kind::Ecs), &["a", "b"])).unwrap()).unwrap();
        assert_eq!(
            found,
            json!([{"Key":"SecretType","Values":["ECS"]}, {"Key":"TagKey","Values":["a","b"]}])
        );
    }

    #[test]
    fn a_description_shows_what_is_known_and_nothing_empty() {
        let secret: Described = serde_json::from_value(json!({
            "Arn": "acs:kms:r:1:secret/acs/ecs/a", "SecretName": "acs/ecs/a", "SecretType": "ECS", "Description": "",
            "CreateTime": "2024-05-06T07:08:09Z", "AutomaticRotation": "Disabled",
            "ExtendedConfig": r#"{"SecretSubType":"Password","InstanceId":"i-1","CustomData":{},"RegionId":"r"}"#,
            "Tags": {"Tag": [{"TagKey": "team", "TagValue": "web"}]},
        }))
        .unwrap();
        let (mut output, stdout, _) = captured::output(Form::People, true);
        described(&secret, &mut output).unwrap();
        assert_eq!(
            stdout.text(),
            "Secret      acs/ecs/a\nARN         acs:kms:r:1:secret/acs/ecs/a\nType        ECS\n\
             Credential  Password of i-1 in r\nTags        team=web\nCreated     2024-05-06T07:08:09Z\n\
             Rotation    by hand only\n"
        );
    }
}
