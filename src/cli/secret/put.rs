//! `strongroom secret put` and `random-password`: values on their way in, and
//! one that the vault makes up.

use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;

use super::answers::Stages;
use super::{Named, version_or_new};
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::input::{self, MAX_VALUE_BYTES};
use crate::cli::output::Output;
use crate::cli::wiped;
use crate::model::{SecretDataType, VersionId, VersionStage};

/// Add a version to a generic secret
///
/// The new version becomes current, and the current one previous, unless stages are named. ECS
/// secrets change by rotation only.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom secret put ci/token --value-file token.txt
  strongroom secret put ci/token --value-file next.txt --stage candidate")]
pub(super) struct PutArgs {
    #[command(flatten)]
    named: Named,
    /// File with the value, stored byte for byte, or - for standard input
    #[arg(long, value_name = "FILE")]
    value_file: PathBuf,
    /// Store the file's bytes as Base64, with data type binary
    #[arg(long)]
    binary: bool,
    /// Point this stage at the new version instead of ACSCurrent; may be repeated
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: Vec<VersionStage>,
    /// Id of the version; a UUID unless given
    #[arg(long, value_name = "ID", value_parser = VersionId::parse)]
    version_id: Option<VersionId>,
}

/// Have the vault make up a password
///
/// It is not stored.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  strongroom secret random-password --length 24 --no-punctuation")]
pub(super) struct RandomPasswordArgs {
    /// Number of characters, 8 to 128
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u8).range(8..=128))]
    length: u8,
    /// Characters that must not occur
    #[arg(long, value_name = "CHARACTERS")]
    exclude: Option<String>,
    /// No a to z
    #[arg(long)]
    no_lowercase: bool,
    /// No A to Z
    #[arg(long)]
    no_uppercase: bool,
    /// No 0 to 9
    #[arg(long)]
    no_numbers: bool,
    /// No punctuation
    #[arg(long)]
    no_punctuation: bool,
}

/// Reads a stage as users name it.
pub(super) fn stage(text: &str) -> Result<VersionStage, String> {
    VersionStage::parse(text).ok_or_else(|| "a stage is 1 to 64 of A-Z a-z 0-9 _ -".to_owned())
}

/// A value as the vault is to keep it.
#[derive(Debug)]
pub(super) struct Kept {
    data: SecretBytes,
    data_type: SecretDataType,
}

impl Kept {
    /// A value that is text.
    pub(super) const fn text(data: SecretBytes) -> Self {
        Self { data, data_type: SecretDataType::Text }
    }

    /// `SecretDataType`.
    pub(super) const fn data_type(&self) -> &'static str {
        self.data_type.as_str()
    }

    /// `SecretData`.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when it is no text.
    pub(super) fn as_text(&self) -> Result<&str, CliError> {
        str::from_utf8(self.data.expose())
            .ok()
            .ok_or_else(|| CliError::Usage("the value is not UTF-8 text: add --binary".to_owned()))
    }
}

/// Reads a value from a file, as Base64 if it is to be binary.
///
/// # Errors
///
/// As [`input::read_file`].
pub(super) fn read_value(path: &Path, binary: bool) -> Result<Kept, CliError> {
    if !binary {
        return input::read_file(path, MAX_VALUE_BYTES).map(Kept::text);
    }
    // Base64 writes three bytes as four characters.
    let bytes = input::read_file(path, MAX_VALUE_BYTES / 4 * 3)?;
    let data = SecretBytes::filled(BASE64.encode_len(bytes.len()), |text| {
        BASE64.encode_mut(bytes.expose(), text);
        Ok::<(), CliError>(())
    })?;
    Ok(Kept { data, data_type: SecretDataType::Binary })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    version_id: String,
    #[serde(default)]
    version_stages: Stages,
}

pub(super) async fn run(
    args: &PutArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let value = read_value(&args.value_file, args.binary)?;
    let version = version_or_new(args.version_id.as_ref())?;
    let stages =
        serde_json::json!(args.stage.iter().map(VersionStage::as_str).collect::<Vec<_>>()).to_string();
    let mut query = vec![
        ("SecretName", args.named.name.as_str()),
        ("SecretDataType", value.data_type()),
        ("VersionId", version.as_str()),
    ];
    if !args.stage.is_empty() {
        query.push(("VersionStages", &stages));
    }
    let answer = connection.call("PutSecretValue", &query, &[("SecretData", value.as_text()?)]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let stored: Stored = answer.read()?;
    let stages = stored.version_stages.in_words();
    Ok(output.line(&format!("stored {}, version {} ({stages})", args.named.name, stored.version_id))?)
}

pub(super) async fn random_password(
    args: &RandomPasswordArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Made<'a> {
        #[serde(borrow)]
        random_password: &'a RawValue,
    }
    let length = args.length.to_string();
    let mut query = vec![("PasswordLength", length.as_str())];
    for (name, is_set) in [
        ("ExcludeLowercase", args.no_lowercase),
        ("ExcludeUppercase", args.no_uppercase),
        ("ExcludeNumbers", args.no_numbers),
        ("ExcludePunctuation", args.no_punctuation),
    ] {
        if is_set {
            query.push((name, "true"));
        }
    }
    if let Some(exclude) = &args.exclude {
        query.push(("ExcludeCharacters", exclude));
    }
    let answer = connection.call("GetRandomPassword", &query, &[]).await?;
    if output.is_json() {
        return Ok(output.answer(&answer.body)?);
    }
    let made: Made<'_> = answer.read()?;
    let password = wiped::read_string(made.random_password);
    Ok(output.lone_value(&password.ok_or(CliError::Answer { action: "GetRandomPassword" })?)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_binary_value_is_sent_as_base64_and_a_text_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        fs::write(&path, b"\xff\x00\n").unwrap();
        let binary = read_value(&path, true).unwrap();
        assert_eq!((binary.data_type(), binary.as_text().unwrap()), ("binary", "/wAK"));
        let text = read_value(&path, false).unwrap();
        assert!(text.as_text().unwrap_err().to_string().contains("--binary"));
        fs::write(&path, "a\n").unwrap();
        let text = read_value(&path, false).unwrap();
        assert_eq!((text.data_type(), text.as_text().unwrap()), ("text", "a\n"));
    }

    #[test]
    fn a_binary_value_fits_the_limit_once_encoded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        fs::write(&path, vec![0; MAX_VALUE_BYTES / 4 * 3]).unwrap();
        assert_eq!(read_value(&path, true).unwrap().as_text().unwrap().len(), MAX_VALUE_BYTES);
        fs::write(&path, vec![0; MAX_VALUE_BYTES]).unwrap();
        assert!(read_value(&path, true).is_err());
    }
}
