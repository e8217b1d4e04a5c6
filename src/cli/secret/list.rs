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
  strongroom secret list --tag env=prod --tag team=web
  strongroom secret list --filter 'Description=of the shop' --json")]
pub(super) struct ListArgs {
    /// Only secrets of this kind
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Only the secret of exactly this name; may be repeated
    #[arg(long, value_name = "NAME", value_parser = SecretName::parse)]
    name: Vec<SecretName>,
    /// Only secrets with a tag of this key; may be repeated
    #[arg(long, value_name = "KEY")]
    tag_key: Vec<String>,
    /// Only secrets with this tag; of several, all of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "tag_key")]
    tag: Vec<(String, String)>,
    /// Only secrets of which this holds; KEY is SecretName, Description, TagKey,
    /// TagValue, DKMSInstanceId, SecretType or Creator. Of several with the same
    /// key one is enough
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    filter: Vec<(String, String)>,
}

/// Two texts with `=` between them, of which the first is not empty.
pub(super) fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE"),
    }
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
    let filters = args.filters().to_string();
    for number in 1_u32.. {
        let number = number.to_string();
        let query = [
            ("PageNumber", number.as_str()),
            ("PageSize", PAGE_SIZE),
            ("FetchTags", if args.compares_tags() { "true" } else { "false" }),
            ("Filters", filters.as_str()),
        ];
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

/// The most values that one condition of `Filters` has (kms-secrets.md section 5.6).
const VALUES: usize = 10;

impl ListArgs {
    /// What the vault is to choose by. Of several tags it gets the first: its
    /// conditions cannot say that two tags must be there.
    fn filters(&self) -> Value {
        let mut conditions: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut add =
            |key, value| match conditions.iter_mut().find(|(known, v)| *known == key && v.len() < VALUES) {
                Some((_, values)) => values.push(value),
                None => conditions.push((key, vec![value])),
            };
        self.name.iter().for_each(|name| add("SecretName", name.as_str()));
        self.kind.iter().for_each(|kind| add("SecretType", SecretType::from(*kind).as_str()));
        self.tag_key.iter().for_each(|key| add("TagKey", key));
        if let Some((key, value)) = self.tag.first() {
            add("TagKey", key);
            // An empty value is none that a condition can have.
            if !value.is_empty() {
                add("TagValue", value);
            }
        }
        self.filter.iter().for_each(|(key, value)| add(key, value));
        conditions.iter().map(|(key, values)| json!({ "Key": key, "Values": values })).collect()
    }

    /// Whether there are tags that the vault cannot choose by.
    fn compares_tags(&self) -> bool {
        self.tag.len() > 1 || self.tag.iter().any(|(_, value)| value.is_empty())
    }

    /// Whether a row has the tags that the vault did not choose by.
    fn wants(&self, row: &SecretRow) -> bool {
        let tags = row.tags.as_ref().map_or(&[][..], |tags| &tags.tag);
        !self.compares_tags()
            || self
                .tag
                .iter()
                .all(|(key, value)| tags.iter().any(|t| t.tag_key == *key && t.tag_value == *value))
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

    fn args(text: &[&str]) -> ListArgs {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            list: ListArgs,
        }
        <Program as clap::Parser>::try_parse_from(text).unwrap().list
    }

    #[test]
    fn the_vault_chooses_by_every_flag_that_is_given() {
        let names: Vec<String> = (0..11).map(|n| format!("--name=n{n}")).collect();
        let mut many = vec!["list"];
        many.extend(names.iter().map(String::as_str));
        let condition = |key: &str, values: &[&str]| json!({ "Key": key, "Values": values });
        for (given, expected) in [
            (&["list"][..], vec![]),
            (&["list", "--type", "ecs"], vec![condition("SecretType", &["ECS"])]),
            (&["list", "--tag-key", "a", "--tag-key", "b"], vec![condition("TagKey", &["a", "b"])]),
            (
                &["list", "--tag", "a=b=c", "--name", "x"],
                vec![
                    condition("SecretName", &["x"]),
                    condition("TagKey", &["a"]),
                    condition("TagValue", &["b=c"]),
                ],
            ),
            (&["list", "--filter", "Description=a b"], vec![condition("Description", &["a b"])]),
            (
                &many,
                vec![
                    condition("SecretName", &["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]),
                    condition("SecretName", &["n10"]),
                ],
            ),
        ] {
            assert_eq!(args(given).filters(), Value::from(expected), "{given:?}");
        }
    }

    #[test]
    fn of_several_tags_all_must_be_there() {
        let row = |tags: Value| read_row(&json!({ "SecretName": "a", "Tags": { "Tag": tags } })).unwrap();
        let both = args(&["list", "--tag", "a=1", "--tag", "b=2"]);
        let tag = |key: &str, value: &str| json!({ "TagKey": key, "TagValue": value });
        assert!(both.wants(&row(json!([tag("a", "1"), tag("b", "2"), tag("c", "3")]))));
        assert!(!both.wants(&row(json!([tag("a", "1"), tag("b", "3")]))));
        assert!(args(&["list", "--tag", "a=1"]).wants(&row(json!([]))), "the vault has chosen");
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
