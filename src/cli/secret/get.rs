//! `strongroom secret get`: the one command that shows values.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;

use super::Named;
use super::answers::{Rotation, Stages};
use super::put::stage;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::input;
use crate::cli::output::Output;
use crate::cli::wiped;
use crate::model::{VersionId, VersionStage};

/// Read a secret
///
/// Shows its fields. With --field or --raw the value alone is written, byte for byte and, unless
/// standard output is a terminal, without a line end. Each read is recorded in the audit journal.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom secret get acs/ecs/web-01
  sshpass -f <(strongroom secret get acs/ecs/web-01 --field Password) ssh root@web-01
  strongroom secret get acs/ecs/web-01-key --field PrivateKey --out web-01.key
  strongroom secret get acs/ecs/web-01 --stage ACSPrevious --field Password")]
pub(super) struct GetArgs {
    #[command(flatten)]
    named: Named,
    /// Stage of the version; ACSCurrent unless given
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: Option<VersionStage>,
    /// Id of the version, for generic secrets
    #[arg(long, value_name = "ID", value_parser = VersionId::parse)]
    version_id: Option<VersionId>,
    /// Only this field of an ECS secret
    #[arg(long, value_name = "FIELD", conflicts_with = "raw")]
    field: Option<Field>,
    /// Only the value as it is stored; that of an ECS secret is JSON
    #[arg(long)]
    raw: bool,
    /// Write the field or value into this new file, which only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A member of an ECS secret's value (kms-secrets.md section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    #[value(name = "UserName")]
    UserName,
    #[value(name = "Password")]
    Password,
    #[value(name = "PrivateKey")]
    PrivateKey,
    #[value(name = "PublicKey")]
    PublicKey,
}

impl Field {
    const ALL: [(Self, &'static str); 4] = [
        (Self::UserName, "UserName"),
        (Self::Password, "Password"),
        (Self::PublicKey, "PublicKey"),
        (Self::PrivateKey, "PrivateKey"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

/// GetSecretValue. The value stays raw JSON text inside the answer's own buffer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found<'a> {
    #[serde(borrow)]
    secret_name: Cow<'a, str>,
    #[serde(default)]
    secret_type: String,
    version_id: String,
    #[serde(default)]
    version_stages: Stages,
    #[serde(borrow)]
    secret_data: &'a RawValue,
    #[serde(default)]
    create_time: String,
    automatic_rotation: Option<String>,
    rotation_interval: Option<String>,
    next_rotation_date: Option<String>,
    last_rotation_date: Option<String>,
}

/// The value of an ECS secret; each member raw.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members<'a> {
    #[serde(borrow, default)]
    user_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    password: Option<&'a RawValue>,
    #[serde(borrow, default)]
    private_key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    public_key: Option<&'a RawValue>,
}

impl Members<'_> {
    fn read(&self, field: Field) -> Option<SecretBytes> {
        let raw = match field {
            Field::UserName => self.user_name,
            Field::Password => self.password,
            Field::PrivateKey => self.private_key,
            Field::PublicKey => self.public_key,
        };
        wiped::read_string(raw?)
    }
}

pub(super) async fn run(
    args: &GetArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    if args.field.is_some() && output.is_json() && args.out.is_none() {
        return Err(CliError::Usage("--json gives the whole answer: leave --field out".to_owned()));
    }
    let mut query = vec![("SecretName", args.named.name.as_str())];
    if let Some(stage) = &args.stage {
        query.push(("VersionStage", stage.as_str()));
    }
    if let Some(version) = &args.version_id {
        query.push(("VersionId", version.as_str()));
    }
    let answer = connection.call("GetSecretValue", &query, &[]).await?;
    show(args, &answer.body, output)
}

fn show(args: &GetArgs, body: &SecretBytes, output: &mut Output) -> Result<(), CliError> {
    let malformed = || CliError::Answer { action: "GetSecretValue" };
    let lone = args.field.is_some() || args.raw;
    if output.is_json() && args.out.is_none() {
        return Ok(output.answer(body)?);
    }
    let found: Found<'_> = serde_json::from_slice(body.expose()).ok().ok_or_else(malformed)?;
    let data = wiped::read_string(found.secret_data).ok_or_else(malformed)?;
    let value = match args.field {
        Some(field) => member(&data, field)
            .ok_or_else(|| CliError::Usage(format!("{} has no field {}", found.secret_name, field.name())))?,
        None => data,
    };
    if let Some(path) = &args.out {
        input::write_new_file(path, value.expose())?;
        return told(path.display().to_string(), &found, value.len(), output);
    }
    if lone {
        return Ok(output.lone_value(&value)?);
    }
    fields(&found, &value, output)
}

fn member(data: &SecretBytes, field: Field) -> Option<SecretBytes> {
    serde_json::from_slice::<Members<'_>>(data.expose()).ok()?.read(field)
}

fn told(file: String, found: &Found<'_>, bytes: usize, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        let report = serde_json::json!({
            "SecretName": found.secret_name, "VersionId": found.version_id, "File": file, "Bytes": bytes,
        });
        return Ok(output.json(&report)?);
    }
    Ok(output.line(&format!("wrote {}, version {}, to {file}", found.secret_name, found.version_id))?)
}

fn fields(found: &Found<'_>, data: &SecretBytes, output: &mut Output) -> Result<(), CliError> {
    output.line(&format!("{:<12}{} ({})", "Secret", found.secret_name, found.secret_type))?;
    output.line(&format!("{:<12}{}  {}", "Version", found.version_id, found.version_stages.in_words()))?;
    output.line(&format!("{:<12}{}", "Created", found.create_time))?;
    let rotation = Rotation {
        automatic_rotation: found.automatic_rotation.clone(),
        rotation_interval: found.rotation_interval.clone(),
        next_rotation_date: found.next_rotation_date.clone(),
        last_rotation_date: found.last_rotation_date.clone(),
        rotation_overdue_seconds: None,
    };
    if let Some(words) = rotation.in_words() {
        output.line(&format!("{:<12}{words}", "Rotation"))?;
    }
    if found.secret_type != "ECS" {
        return Ok(output.secret_line("Value", data)?);
    }
    let members: Members<'_> =
        serde_json::from_slice(data.expose()).ok().ok_or(CliError::Answer { action: "GetSecretValue" })?;
    for (field, name) in Field::ALL {
        if let Some(value) = members.read(field) {
            output.secret_line(name, &value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::cli::output::{Form, captured};

    const ECS: &str = r#"{"SecretName":"acs/ecs/a","SecretType":"ECS","VersionId":"v1",
        "VersionStages":{"VersionStage":["ACSCurrent"]},
        "SecretData":"{\"UserName\":\"root\",\"Password\":\"p\\\"w\"}","SecretDataType":"text",
        "CreateTime":"2024-05-06T07:08:09Z","AutomaticRotation":"Enabled","RotationInterval":"604800s",
        "NextRotationDate":"2024-05-13T07:08:09Z","RequestId":"r"}"#;
    const GENERIC: &str = r#"{"SecretName":"a","SecretType":"Generic","VersionId":"v1","SecretData":"one\ntwo","RequestId":"r"}"#;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: GetArgs,
    }

    fn shown(line: &str, body: &str, form: Form, terminal: bool) -> Result<String, CliError> {
        let args = Line::try_parse_from(std::iter::once("get").chain(line.split(' '))).unwrap().args;
        let (mut output, stdout, _) = captured::output(form, terminal);
        show(&args, &SecretBytes::copy_of(body.as_bytes()), &mut output)?;
        Ok(stdout.text())
    }

    #[test]
    fn people_see_the_fields_of_a_secret() {
        let text = shown("acs/ecs/a", ECS, Form::People, true).unwrap();
        assert_eq!(
            text,
            "Secret      acs/ecs/a (ECS)\nVersion     v1  ACSCurrent\nCreated     2024-05-06T07:08:09Z\n\
             Rotation    automatic, every 7d, next 2024-05-13T07:08:09Z\nUserName    root\nPassword    p\"w\n"
        );
        assert!(shown("a", GENERIC, Form::People, true).unwrap().ends_with("Value       \none\ntwo\n"));
    }

    #[test]
    fn a_lone_field_is_written_bare_unless_somebody_looks() {
        for (terminal, expected) in [(false, "p\"w"), (true, "p\"w\n")] {
            assert_eq!(shown("acs/ecs/a --field Password", ECS, Form::People, terminal).unwrap(), expected);
        }
        assert_eq!(shown("a --raw", GENERIC, Form::People, false).unwrap(), "one\ntwo");
    }

    #[test]
    fn programs_get_the_answer_as_it_came() {
        assert_eq!(shown("acs/ecs/a", ECS, Form::Json, false).unwrap(), format!("{ECS}\n"));
    }

    #[test]
    fn a_field_that_is_not_there_is_said_without_the_value() {
        for (line, body) in [("acs/ecs/a --field PrivateKey", ECS), ("a --field Password", GENERIC)] {
            let error = shown(line, body, Form::People, false).unwrap_err();
            assert_eq!(error.exit().code(), 2);
            assert!(!error.to_string().contains("two") && !error.to_string().contains("p\"w"));
        }
    }

    #[test]
    fn a_file_gets_the_exact_bytes_and_standard_output_none_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let line = format!("acs/ecs/a --field Password --out {}", path.display());
        let text = shown(&line, ECS, Form::People, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"p\"w");
        assert!(!text.contains("p\"w"), "{text}");
        assert!(matches!(shown(&line, ECS, Form::People, true), Err(CliError::File { .. })));
    }

    #[test]
    fn field_and_raw_exclude_each_other() {
        assert!(Line::try_parse_from(["get", "a", "--raw", "--field", "Password"]).is_err());
        assert!(Line::try_parse_from(["get", "a", "--field", "Secret"]).is_err());
    }
}
