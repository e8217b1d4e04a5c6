//! The value of an ECS secret (kms-secrets.md section 6.2, `SecretData`).

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use strongroom_hsm::SecretBytes;

use crate::cli::error::CliError;
use crate::cli::input::{self, MAX_VALUE_BYTES};
use crate::cli::public_key;
use crate::cli::wiped::{Exposed, WipedBuffer};
use crate::model::{InstanceId, OsUser, SecretSubType};

/// What an ECS secret logs on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SubType {
    /// User name and password
    Password,
    /// User name and SSH key pair
    SshKey,
}

impl From<SubType> for SecretSubType {
    fn from(sub_type: SubType) -> Self {
        match sub_type {
            SubType::Password => Self::Password,
            SubType::SshKey => Self::SshKey,
        }
    }
}

/// The parts of an ECS secret.
#[derive(Debug, Args)]
#[command(next_help_heading = "ECS secrets")]
pub(super) struct EcsArgs {
    /// Instance that the secret logs on to; makes it an ECS secret
    #[arg(long, value_name = "ID", value_parser = InstanceId::parse)]
    pub(super) instance: Option<InstanceId>,
    /// Password or SSH key; follows from the files given
    #[arg(long, value_name = "KIND")]
    pub(super) sub_type: Option<SubType>,
    /// User on the instance, who must exist there
    #[arg(long, value_name = "NAME", value_parser = OsUser::parse)]
    pub(super) user: Option<OsUser>,
    /// File with the password on one line, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["private_key", "value_file"])]
    pub(super) password_file: Option<PathBuf>,
    /// File with the private key, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "value_file")]
    pub(super) private_key: Option<PathBuf>,
    /// File with the public key; without it, it is derived from the private key
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub(super) public_key: Option<PathBuf>,
}

impl EcsArgs {
    /// Whether anything here was given.
    pub(super) fn is_used(&self) -> bool {
        self.instance.is_some()
            || self.sub_type.is_some()
            || self.user.is_some()
            || self.password_file.is_some()
            || self.private_key.is_some()
    }

    /// Password or key, by what was given.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when nothing says it, or two things say different.
    pub(super) fn kind(&self) -> Result<SecretSubType, CliError> {
        let by_file = match (&self.password_file, &self.private_key) {
            (Some(_), _) => Some(SubType::Password),
            (None, Some(_)) => Some(SubType::SshKey),
            (None, None) => None,
        };
        match (self.sub_type, by_file) {
            (Some(said), Some(found)) if said != found => {
                Err(usage("--sub-type contradicts the file that was given"))
            }
            (Some(kind), _) | (None, Some(kind)) => Ok(kind.into()),
            (None, None) => Err(usage(
                "an ECS secret needs --password-file or --private-key (or --sub-type with --value-file)",
            )),
        }
    }

    /// The value, from the files given; `comment` ends a derived public key.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when a part is missing or is not what it should be,
    /// [`CliError::File`] when a file cannot be read.
    pub(super) fn value(&self, comment: &str) -> Result<SecretBytes, CliError> {
        let user = self.user.as_ref().ok_or_else(|| usage("an ECS secret needs --user NAME"))?.as_str();
        if let Some(path) = &self.password_file {
            return password(Some(user), &input::read_line_file(path, MAX_VALUE_BYTES)?);
        }
        let path = self
            .private_key
            .as_ref()
            .ok_or_else(|| usage("an ECS secret needs --password-file or --private-key"))?;
        let private = input::read_file(path, MAX_VALUE_BYTES)?;
        let public = match &self.public_key {
            Some(path) => {
                let line = input::read_line_file(path, MAX_VALUE_BYTES)?;
                str::from_utf8(line.expose())
                    .ok()
                    .map(str::to_owned)
                    .ok_or_else(|| usage("the public key is not text"))?
            }
            None => return of_private_key(Some(user), comment, &private),
        };
        key_pair(Some(user), &public, &private)
    }
}

fn usage(text: &str) -> CliError {
    CliError::Usage(text.to_owned())
}

/// The value of a password. The user may be left out where a rotation sets it.
///
/// # Errors
///
/// [`CliError::Usage`] when it is no text.
pub(super) fn password(user: Option<&str>, password: &SecretBytes) -> Result<SecretBytes, CliError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Value<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<&'a str>,
        password: Exposed<'a>,
    }
    written(&Value { user_name: user, password: Exposed(password) }, password.len())
}

/// The value of a key, its public half derived from the private one and ended
/// by `comment`. As for the user, see [`password`].
///
/// # Errors
///
/// [`CliError::Usage`] when it is no private key that can be used.
pub(super) fn of_private_key(
    user: Option<&str>,
    comment: &str,
    private: &SecretBytes,
) -> Result<SecretBytes, CliError> {
    let public = public_key::of_private(private, comment).map_err(|error| usage(&error.to_string()))?;
    key_pair(user, &public, private)
}

fn key_pair(user: Option<&str>, public: &str, private: &SecretBytes) -> Result<SecretBytes, CliError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Value<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<&'a str>,
        public_key: &'a str,
        private_key: Exposed<'a>,
    }
    let value = Value { user_name: user, public_key: public, private_key: Exposed(private) };
    written(&value, private.len() + public.len())
}

fn written(value: &impl Serialize, length: usize) -> Result<SecretBytes, CliError> {
    let mut text = WipedBuffer::with_capacity(length * 2 + 256);
    serde_json::to_writer(&mut text, value)
        .map_err(|_names_nothing| usage("the value is not text: passwords and keys are UTF-8"))?;
    Ok(text.into_secret())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn args() -> EcsArgs {
        EcsArgs {
            instance: InstanceId::parse("i-1").ok(),
            sub_type: None,
            user: OsUser::parse("root").ok(),
            password_file: None,
            private_key: None,
            public_key: None,
        }
    }

    #[test]
    fn a_password_is_written_as_the_contract_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "q\"uo\\te\n").unwrap();
        let args = EcsArgs { password_file: Some(path), ..args() };
        assert_eq!(args.kind().unwrap(), SecretSubType::Password);
        assert_eq!(args.value("").unwrap().expose(), br#"{"UserName":"root","Password":"q\"uo\\te"}"#);
    }

    #[test]
    fn the_public_key_follows_from_the_private_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "acs/ecs/a", "-f"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let derived = EcsArgs { private_key: Some(path.clone()), ..args() };
        assert_eq!(derived.kind().unwrap(), SecretSubType::SshKey);
        let value = derived.value("acs/ecs/a").unwrap();
        let value: serde_json::Value = serde_json::from_slice(value.expose()).unwrap();
        assert_eq!(value["PublicKey"], public.trim_end());
        assert_eq!(value["PrivateKey"], fs::read_to_string(&path).unwrap());
        let given = EcsArgs { public_key: Some(path.with_extension("pub")), ..derived };
        let given: serde_json::Value =
            serde_json::from_slice(given.value("other").unwrap().expose()).unwrap();
        assert_eq!(given, value);
    }

    #[test]
    fn contradictions_and_gaps_are_named() {
        let both = EcsArgs { sub_type: Some(SubType::SshKey), password_file: Some("-".into()), ..args() };
        assert!(both.kind().unwrap_err().to_string().contains("contradicts"));
        assert!(args().kind().unwrap_err().to_string().contains("--password-file"));
        let nobody = EcsArgs { user: None, ..args() };
        assert!(nobody.value("").unwrap_err().to_string().contains("--user"));
    }
}
