//! `strongroom secret update` and `stage`: what is said of a secret, and which
//! version a stage points to.

use std::collections::BTreeMap;

use clap::{ArgGroup, Args};

use super::Named;
use super::put::stage;
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::model::{VersionId, VersionStage};

/// Change the description of a secret, or the custom data of an ECS secret
///
/// Custom data is replaced as a whole: give every pair that is to stay.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["description", "custom_data", "no_custom_data"]))]
#[command(after_long_help = "\
Examples:
  strongroom secret update ci/token --description 'Token of the build server'
  strongroom secret update acs/ecs/web-01 --custom-data team=web --custom-data tier=1
  strongroom secret update acs/ecs/web-01 --no-custom-data")]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    named: Named,
    /// Free text; an empty one clears it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A pair of custom data, up to 10; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    custom_data: Vec<(String, String)>,
    /// Remove all custom data
    #[arg(long, conflicts_with = "custom_data")]
    no_custom_data: bool,
}

/// Point a stage at another version of a generic secret
///
/// When ACSCurrent moves, the version that had it becomes the previous one. A stage of your own can
/// also be taken off a version, with --from alone.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("move").required(true).multiple(true).args(["to", "from"]))]
#[command(after_long_help = "\
Examples:
  Back to the version before:
    strongroom secret stage ci/token ACSCurrent --to v1
  A stage of your own:
    strongroom secret stage ci/token blue --to v2
    strongroom secret stage ci/token blue --from v2")]
pub(super) struct StageArgs {
    #[command(flatten)]
    named: Named,
    /// ACSCurrent, ACSPrevious, or a stage of your own
    #[arg(value_parser = stage)]
    stage: VersionStage,
    /// The version that gets it
    #[arg(long, value_name = "VERSION", value_parser = VersionId::parse)]
    to: Option<VersionId>,
    /// The version that has it now; anything else is refused
    #[arg(long, value_name = "VERSION", value_parser = VersionId::parse)]
    from: Option<VersionId>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a pair is written KEY=VALUE".to_owned()),
    }
}

impl UpdateArgs {
    /// `ExtendedConfig.CustomData`, if it is to change.
    fn custom_data(&self) -> Result<Option<String>, CliError> {
        if self.custom_data.is_empty() {
            return Ok(self.no_custom_data.then(|| "{}".to_owned()));
        }
        let pairs: BTreeMap<_, _> = self.custom_data.iter().map(|(key, value)| (key, value)).collect();
        if pairs.len() < self.custom_data.len() {
            return Err(CliError::Usage("--custom-data: each key can be given once".to_owned()));
        }
        Ok(Some(serde_json::json!(pairs).to_string()))
    }
}

pub(super) async fn run(
    args: &UpdateArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let name = args.named.name.as_str();
    let custom_data = args.custom_data()?;
    let mut query = vec![("SecretName", name)];
    query.extend(args.description.as_deref().map(|text| ("Description", text)));
    query.extend(custom_data.as_deref().map(|text| ("ExtendedConfig.CustomData", text)));
    let answer = connection.call("UpdateSecret", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&format!("updated {name}"))?)
}

pub(super) async fn move_stage(
    args: &StageArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let (name, stage) = (args.named.name.as_str(), args.stage.as_str());
    let mut query = vec![("SecretName", name), ("VersionStage", stage)];
    query.extend(args.to.as_ref().map(|to| ("MoveToVersion", to.as_str())));
    query.extend(args.from.as_ref().map(|from| ("RemoveFromVersion", from.as_str())));
    let answer = connection.call("UpdateSecretVersionStage", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    Ok(output.line(&match (&args.to, &args.from) {
        (Some(to), _) => format!("{stage} of {name} is version {to}"),
        (None, Some(from)) => format!("{stage} is off version {from} of {name}"),
        (None, None) => format!("{stage} of {name} has moved"),
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretName;

    fn args(pairs: &[&str], no_custom_data: bool) -> UpdateArgs {
        UpdateArgs {
            named: Named { name: SecretName::parse("acs/ecs/a").unwrap() },
            description: None,
            custom_data: pairs.iter().map(|text| pair(text).unwrap()).collect(),
            no_custom_data,
        }
    }

    #[test]
    fn pairs_become_one_object_and_none_leaves_it_alone() {
        assert_eq!(args(&[], false).custom_data().unwrap(), None);
        assert_eq!(args(&[], true).custom_data().unwrap().unwrap(), "{}");
        let text = args(&["b=1=2", "a="], false).custom_data().unwrap().unwrap();
        assert_eq!(text, r#"{"a":"","b":"1=2"}"#);
        assert!(args(&["a=1", "a=2"], false).custom_data().is_err());
        assert!(pair("=1").is_err() && pair("a").is_err());
    }
}
