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
    let mut rows = Vec::new();
    let mut seen = 0;
    for number in 1_u32.. {
        let number = number.to_string();
        let mut query = vec![("PageNumber", number.as_str()), ("PageSize", PAGE_SIZE)];
        if !args.tag_key.is_empty() {
            query.push(("FetchTags", "true"));
        }
        let page: SecretPage = connection.call("ListSecrets", &query, &[]).await?.into()?;
        let is_last = page.secret_list.secret.is_empty();
        seen += page.secret_list.secret.len();
        for row in page.secret_list.secret {
            if args.wants(&read_row(&row)?) {
                rows.push(row);
            }
        }
        if is_last || reached(seen, page.total_count) {
            break;
        }
    }
    if output.is_json() {
        return Ok(output.json(&json!({ "TotalCount": rows.len(), "SecretList": { "Secret": rows } }))?);
    }
    let mut table = Table::new(&["NAME", "TYPE", "UPDATED", "DELETED AT"]);
    let mut doubtful = Vec::new();
    for row in rows {
        let row = read_row(&row)?;
        table.row([&row.secret_name, &row.secret_type, &row.update_time, &row.planned_delete_time]);
        if row.rotation_in_doubt {
            doubtful.push(row.secret_name);
        }
    }
    output.table(&table)?;
    for name in doubtful {
        output.note(&format!("{name}: {}", in_doubt(&name)))?;
    }
    Ok(())
}

fn read_row(row: &Value) -> Result<SecretRow, CliError> {
    SecretRow::deserialize(row).ok().ok_or(CliError::Answer { action: "ListSecrets" })
}

impl ListArgs {
    /// Whether the row was asked for. The vault does not choose, so this does;
    /// values of one flag are alternatives, as they are in `Filters`
    /// (kms-secrets.md section 5.6).
    fn wants(&self, row: &SecretRow) -> bool {
        let kind = self.kind.map(|kind| SecretType::from(kind).as_str());
        let tags = row.tags.as_ref().map_or(&[][..], |tags| &tags.tag);
        kind.is_none_or(|kind| row.secret_type.eq_ignore_ascii_case(kind))
            && (self.name.is_empty() || self.name.iter().any(|name| name.as_str() == row.secret_name))
            && (self.tag_key.is_empty() || tags.iter().any(|tag| self.tag_key.contains(&tag.tag_key)))
    }
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

/// What it means that a rotation is in doubt, and the way to look.
fn in_doubt(name: &str) -> String {
    format!(
        "nobody knows whether the old or the new credential is in force; both are kept \
         (stages ACSCurrent and ACSPending): strongroom secret rotations {name}"
    )
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
        ("In doubt", secret.rotation_in_doubt.then(|| in_doubt(&secret.secret_name))),
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
    fn rows_are_chosen_by_every_flag_that_is_given() {
        let rows = [
            json!({"SecretName": "acs/ecs/a", "SecretType": "ECS", "Tags": {"Tag": [{"TagKey": "team", "TagValue": "x"}]}}),
            json!({"SecretName": "b", "SecretType": "Generic", "Tags": {"Tag": [{"TagKey": "tier"}, {"TagKey": "team"}]}}),
            json!({"SecretName": "c", "SecretType": "Generic"}),
        ];
        let chosen = |kind, names: &[&str], tag_keys: &[&str]| {
            let args = ListArgs {
                kind,
                name: names.iter().map(|name| SecretName::parse(name).unwrap()).collect(),
                tag_key: tag_keys.iter().map(|key| (*key).to_owned()).collect(),
            };
            let wanted = rows.iter().map(|row| read_row(row).unwrap()).filter(|row| args.wants(row));
            wanted.map(|row| row.secret_name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(None, &[], &[]), ["acs/ecs/a", "b", "c"]);
        assert_eq!(chosen(Some(Kind::Ecs), &[], &[]), ["acs/ecs/a"]);
        assert_eq!(chosen(None, &["c", "b"], &[]), ["b", "c"]);
        assert_eq!(chosen(None, &[], &["team"]), ["acs/ecs/a", "b"]);
        assert_eq!(chosen(None, &[], &["tier", "other"]), ["b"]);
        assert_eq!(chosen(Some(Kind::Generic), &["acs/ecs/a"], &["team"]), [""; 0]);
    }

    #[test]
    fn a_description_shows_what_is_known_and_nothing_empty() {
        let secret: Described = serde_json::from_value(json!({
            "Arn": "acs:kms:r:1:secret/acs/ecs/a", "SecretName": "acs/ecs/a", "SecretType": "ECS", "Description": "",
            "CreateTime": "2024-05-06T07:08:09Z", "AutomaticRotation": "Disabled", "RotationInDoubt": true,
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
             Rotation    by hand only\n\
             In doubt    nobody knows whether the old or the new credential is in force; both are kept \
             (stages ACSCurrent and ACSPending): strongroom secret rotations acs/ecs/a\n"
        );
    }
}
