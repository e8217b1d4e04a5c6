//! `strongroom secret create`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use strongroom_hsm::SecretBytes;

use super::answers::Created;
use super::ecs_value::EcsArgs;
use super::put::{self, Kept};
use super::{Named, version_or_new};
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::model::{RegionId, RotationInterval, SecretSubType, SecretType, VersionId};

/// Every ECS secret's name begins so (kms-secrets.md section 5.1).
const ECS_PREFIX: &str = "acs/ecs/";

/// Store a new secret
///
/// The value comes from a file or standard input, never from the command line. What is given for
/// an ECS secret is stored and not set on the instance: the first rotation sets a new one.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  A password of an instance, changed every week:
    strongroom secret create acs/ecs/web-01 --instance i-bp1web --user root \\
        --password-file pw.txt --rotate-every 7d
  An SSH key of an instance:
    strongroom secret create acs/ecs/web-01-key --instance i-bp1web --user admin \\
        --private-key ~/.ssh/web-01
  Any other value:
    printf %s \"$TOKEN\" | strongroom secret create ci/token --value-file -
  The same under a key of its own (strongroom cmk create):
    strongroom secret create ci/token --value-file token.txt --key alias/ci")]
pub(super) struct CreateArgs {
    #[command(flatten)]
    named: Named,
    /// Kind of secret; ecs when an instance is given, else generic
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// File with the value, stored byte for byte, or - for standard input
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// Store the file's bytes as Base64, with data type binary
    #[arg(long, requires = "value_file")]
    binary: bool,
    /// Rotate by itself at this interval, 6h to 365d
    #[arg(long, value_name = "INTERVAL", value_parser = RotationInterval::parse)]
    rotate_every: Option<RotationInterval>,
    /// Label the secret; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    tag: Vec<Label>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Customer master key to encrypt all values under, by id, alias/NAME or ARN; the vault's own unless given
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Id of the first version; a UUID unless given
    #[arg(long, value_name = "ID", value_parser = VersionId::parse)]
    version_id: Option<VersionId>,
    // Last: its heading holds for what follows it.
    #[command(flatten)]
    ecs: EcsArgs,
}

/// Kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Any value, kept and given out
    Generic,
    /// Logs on to an instance, and is rotated
    Ecs,
}

impl From<Kind> for SecretType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Generic => Self::Generic,
            Kind::Ecs => Self::Ecs,
        }
    }
}

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Label {
    tag_key: String,
    tag_value: String,
}

fn label(text: &str) -> Result<Label, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(Label { tag_key: key.to_owned(), tag_value: value.to_owned() })
        }
        _ => Err("a tag is written KEY=VALUE".to_owned()),
    }
}

/// What CreateSecret is told besides the value; no part of it is secret.
#[derive(Debug, PartialEq, Eq)]
struct Described {
    kind: SecretType,
    extended_config: Option<String>,
    tags: Option<String>,
}

/// Where an ECS secret logs on (kms-secrets.md section 6.2, `ExtendedConfig`).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExtendedConfig<'a> {
    secret_sub_type: SecretSubType,
    region_id: &'a RegionId,
    instance_id: &'a str,
    custom_data: serde_json::Map<String, serde_json::Value>,
}

impl CreateArgs {
    fn describe<'a>(
        &self,
        region: impl FnOnce() -> Result<&'a RegionId, CliError>,
    ) -> Result<Described, CliError> {
        let usage = |text: &str| CliError::Usage(text.to_owned());
        let json = |error: serde_json::Error| CliError::Usage(format!("cannot be written as JSON: {error}"));
        let kind = match self.kind {
            Some(kind) => kind.into(),
            None if self.ecs.is_used() => SecretType::Ecs,
            None => SecretType::Generic,
        };
        let is_ecs = kind == SecretType::Ecs;
        if !is_ecs && self.ecs.is_used() {
            return Err(usage("a generic secret has no instance, user, password or key: use --value-file"));
        }
        if !is_ecs && self.rotate_every.is_some() {
            return Err(usage("only ECS secrets rotate: leave --rotate-every out"));
        }
        if is_ecs && self.binary {
            return Err(usage("the value of an ECS secret is text: leave --binary out"));
        }
        let name = self.named.name.as_str();
        if is_ecs != name.starts_with(ECS_PREFIX) {
            return Err(CliError::Usage(if is_ecs {
                format!("the name of an ECS secret begins with {ECS_PREFIX}: try {ECS_PREFIX}{name}")
            } else {
                format!("names that begin with {ECS_PREFIX} are for ECS secrets: give --instance")
            }));
        }
        let extended_config = if is_ecs {
            let instance =
                self.ecs.instance.as_ref().ok_or_else(|| usage("an ECS secret needs --instance ID"))?;
            let config = ExtendedConfig {
                secret_sub_type: self.ecs.kind()?,
                region_id: region()?,
                instance_id: instance.as_str(),
                custom_data: serde_json::Map::new(),
            };
            Some(serde_json::to_string(&config).map_err(json)?)
        } else {
            None
        };
        let tags = (!self.tag.is_empty()).then(|| serde_json::to_string(&self.tag)).transpose();
        Ok(Described { kind, extended_config, tags: tags.map_err(json)? })
    }

    fn value(&self) -> Result<Kept, CliError> {
        match &self.value_file {
            Some(path) => put::read_value(path, self.binary),
            None if self.ecs.is_used() => self.ecs.value(self.named.name.as_str()).map(Kept::text),
            None => Err(CliError::Usage(
                "the value is missing: give --value-file FILE, or - for standard input".to_owned(),
            )),
        }
    }
}

pub(super) async fn run(
    args: &CreateArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let described = args.describe(|| connection.region())?;
    let value = args.value()?;
    let version = version_or_new(args.version_id.as_ref())?;
    let interval = args.rotate_every.map(|interval| interval.to_string());
    let mut query = vec![
        ("SecretName", args.named.name.as_str()),
        ("SecretType", described.kind.as_str()),
        ("SecretDataType", value.data_type()),
        ("VersionId", version.as_str()),
    ];
    let optional = [
        ("Description", args.description.as_deref()),
        ("EncryptionKeyId", args.key.as_deref()),
        ("ExtendedConfig", described.extended_config.as_deref()),
        ("EnableAutomaticRotation", interval.as_ref().map(|_| "true")),
        ("RotationInterval", interval.as_deref()),
        ("Tags", described.tags.as_deref()),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let answer = connection.call("CreateSecret", &query, &[("SecretData", value.as_text()?)]).await?;
    tell(described.kind, &answer.read()?, &answer.body, output)
}

fn tell(
    kind: SecretType,
    created: &Created,
    body: &SecretBytes,
    output: &mut Output,
) -> Result<(), CliError> {
    if output.is_json() {
        return Ok(output.answer(body)?);
    }
    let name = &created.secret_name;
    output.line(&format!("created {name}, version {} (ACSCurrent)", created.version_id))?;
    if let Some(words) = created.rotation.in_words() {
        output.line(&format!("rotation is {words}"))?;
    }
    if kind == SecretType::Ecs {
        output.line("the instance was not touched: what you gave is stored as it is, and not tried")?;
        output.line(&format!("to set a new credential now: strongroom secret rotate {name} --wait"))?;
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

    fn described(line: &str) -> Result<Described, String> {
        let words = std::iter::once("create").chain(line.split(' '));
        let args = Line::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let region = RegionId::parse("cn-hangzhou").unwrap();
        args.describe(|| Ok(&region)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_instance_makes_it_an_ecs_secret_with_its_configuration() {
        let found =
            described("acs/ecs/a --instance i-1 --user root --password-file f --tag team=web").unwrap();
        assert_eq!(found.kind, SecretType::Ecs);
        assert_eq!(
            found.extended_config.as_deref(),
            Some(
                r#"{"SecretSubType":"Password","RegionId":"cn-hangzhou","InstanceId":"i-1","CustomData":{}}"#
            )
        );
        assert_eq!(found.tags.as_deref(), Some(r#"[{"TagKey":"team","TagValue":"web"}]"#));
        let key = described("acs/ecs/a --instance i-1 --user root --private-key f").unwrap();
        assert!(key.extended_config.unwrap().contains("SSHKey"));
        let generic = described("app/token --value-file f").unwrap();
        assert_eq!(generic, Described { kind: SecretType::Generic, extended_config: None, tags: None });
    }

    #[test]
    fn what_does_not_go_together_is_refused_before_anything_is_sent() {
        for (line, part) in [
            ("web --instance i-1 --user root --password-file f", "acs/ecs/web"),
            ("acs/ecs/a --value-file f", "--instance"),
            ("acs/ecs/a --type ecs --value-file f", "--instance"),
            ("acs/ecs/a --type generic --instance i-1 --value-file f", "generic"),
            ("a --value-file f --rotate-every 7d", "--rotate-every"),
            ("a --value-file f --rotate-every 5h", "6h"),
            ("a --value-file f --tag novalue", "KEY=VALUE"),
            ("acs/ecs/a --instance i-1 --password-file f --private-key k", "cannot be used with"),
            ("acs/ecs/a --instance i-1 --public-key k", "--private-key"),
            ("a/../b --value-file f", "SecretName"),
        ] {
            let error = described(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn the_answer_says_when_the_first_rotation_is() {
        let body = br#"{"SecretName":"acs/ecs/a","VersionId":"v1","AutomaticRotation":"Enabled",
            "RotationInterval":"604800s","NextRotationDate":"2024-05-13T07:08:09Z"}"#;
        let created: Created = serde_json::from_slice(body).unwrap();
        let (mut output, stdout, _) = captured::output(Form::People, false);
        tell(SecretType::Ecs, &created, &SecretBytes::copy_of(body), &mut output).unwrap();
        let text = stdout.text();
        for part in [
            "created acs/ecs/a, version v1",
            "every 7d, next 2024-05-13T07:08:09Z",
            "secret rotate acs/ecs/a --wait",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
