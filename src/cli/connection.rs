//! Which service to speak to, and as whom.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::de::DeserializeOwned;
use strongroom_hsm::SecretBytes;

use super::error::CliError;
use super::profile::{self, Profile};
use crate::appliance::SystemClock;
use crate::model::{Clock, RegionId};
use crate::rpc::client::{Client, Credentials, Endpoint, Now, Roots, Timeouts};

/// Version of the KMS API (kms-secrets.md section 1).
const KMS: &str = "2016-01-20";

/// Version of the RAM API (ram.md section 3).
const RAM: &str = "2015-05-01";

/// How to reach the vault.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Address of the vault [env: STRONGROOM_ENDPOINT]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) endpoint: Option<String>,
    /// PEM file of the authority that signed the vault's certificate [env: STRONGROOM_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Profile to use, of ~/.strongroom/profiles.toml or the file that STRONGROOM_PROFILES names
    ///
    /// A profile named here, and any of a file that STRONGROOM_PROFILES names, wins over the
    /// environment; the profile "default" of ~/.strongroom/profiles.toml, which is used without
    /// both, yields to it.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Region of the vault and its instances [env: STRONGROOM_REGION]
    #[arg(long, global = true, value_name = "REGION", value_parser = RegionId::parse)]
    pub(super) region: Option<RegionId>,
}

/// What the environment says, by name of the variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process; an empty variable counts as none.
pub(super) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// What was found in flags, environment and profile, in this order.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) roots: Roots,
    pub(super) region: Option<RegionId>,
    pub(super) credentials: Credentials,
}

impl ConnectionArgs {
    /// Looks for each setting where the user may have put it.
    ///
    /// # Errors
    ///
    /// [`CliError::Missing`], which says what to set, or a profile that cannot
    /// be used.
    pub(super) fn resolve(&self, environment: Environment<'_>) -> Result<Settings, CliError> {
        let (named, fallback) = profiles(self.profile.as_deref(), environment)?;
        let credentials = credentials(named.as_ref(), environment, &fallback)?;
        let text = |name| environment(name).and_then(|value| value.into_string().ok());
        let named = named.unwrap_or_default();
        let endpoint = self
            .endpoint
            .clone()
            .or(named.endpoint)
            .or_else(|| text("STRONGROOM_ENDPOINT"))
            .or(fallback.endpoint)
            .ok_or(CliError::Missing {
                what: "the vault's address",
                how: "--endpoint HOST:PORT, STRONGROOM_ENDPOINT, or endpoint in the profile",
            })?;
        let ca_file = self
            .ca_file
            .clone()
            .or(named.ca_file)
            .or_else(|| environment("STRONGROOM_CA_FILE").map(PathBuf::from))
            .or(fallback.ca_file);
        let region = match (self.region.clone().or(named.region), text("STRONGROOM_REGION")) {
            (Some(region), _) => Some(region),
            (None, Some(text)) => Some(
                RegionId::parse(&text)
                    .map_err(|error| CliError::Usage(format!("STRONGROOM_REGION: {error}")))?,
            ),
            (None, None) => fallback.region,
        };
        let roots = ca_file.map_or(Roots::System, Roots::File);
        Ok(Settings { endpoint, roots, region, credentials })
    }
}

/// The profile that was asked for, and the one that serves when nothing was.
///
/// Whoever names a file asks for a profile as well: else a command would sign as
/// somebody else because of a key that was left in the environment.
fn profiles(
    name: Option<&str>,
    environment: Environment<'_>,
) -> Result<(Option<Profile>, Profile), CliError> {
    if let Some(path) = environment("STRONGROOM_PROFILES").map(PathBuf::from) {
        let named = profile::load(&path, name.unwrap_or(profile::DEFAULT), true)?;
        return Ok((Some(named), Profile::default()));
    }
    let path = environment("HOME").map(|home| PathBuf::from(home).join(".strongroom/profiles.toml"));
    match (name, path) {
        (Some(name), Some(path)) => Ok((Some(profile::load(&path, name, true)?), Profile::default())),
        (Some(_), None) => {
            Err(CliError::Missing { what: "the profile file", how: "HOME or STRONGROOM_PROFILES" })
        }
        (None, Some(path)) => Ok((None, profile::load(&path, profile::DEFAULT, false)?)),
        (None, None) => Ok((None, Profile::default())),
    }
}

/// The access key of a cloud or vault account: of the profile that was asked for,
/// else of the environment, else of the default profile. The parts of a key
/// are never taken from two places.
fn credentials(
    named: Option<&Profile>,
    environment: Environment<'_>,
    fallback: &Profile,
) -> Result<Credentials, CliError> {
    let missing = |what| CliError::Missing {
        what,
        how: "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or \
              access_key_id and access_key_secret in the profile",
    };
    let of_profile = |profile: &Profile| {
        let id = profile.access_key_id.clone()?;
        Some(profile.access_key_secret.as_ref().ok_or(missing("the secret of the access key")).map(
            |secret| {
                let token = profile.security_token.as_ref();
                Credentials::new(id, &secret.0, token.map(|token| SecretBytes::copy_of(token.0.expose())))
            },
        ))
    };
    if let Some(found) = named.and_then(of_profile) {
        return found;
    }
    let secret = |name| environment(name).map(|value| SecretBytes::from_vec(value.into_vec()));
    let id = environment("ALIBABA_CLOUD_ACCESS_KEY_ID").and_then(|id| id.into_string().ok());
    match (id, secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET")) {
        (Some(id), Some(key)) => Ok(Credentials::new(id, &key, secret("ALIBABA_CLOUD_SECURITY_TOKEN"))),
        (Some(_), None) => Err(missing("the secret of the access key")),
        (None, Some(_)) => Err(missing("the id of the access key")),
        (None, None) => of_profile(fallback).unwrap_or_else(|| Err(missing("an access key"))),
    }
}

/// The access key for calls to the cloud itself: of the named profile, or of
/// the environment.
///
/// # Errors
///
/// [`CliError::Missing`], or a profile that cannot be used.
pub(super) fn cloud_credentials(
    profile: Option<&str>,
    environment: Environment<'_>,
) -> Result<Credentials, CliError> {
    let named = match profile {
        Some(_) => profiles(profile, environment)?.0,
        None => None,
    };
    credentials(named.as_ref(), environment, &Profile::default())
}

/// The wall clock, which requests are signed with.
pub(super) fn wall_clock() -> Now {
    Arc::new(|| {
        let millis = u64::try_from(SystemClock.now().millis()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    })
}

/// Which of the vault's services a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Secrets.
    Kms,
    /// Users, keys and policies.
    Ram,
}

impl Service {
    /// The prefix of its actions in policies.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Ram => "ram",
        }
    }
}

/// A client of one service of the vault, signing as one user.
#[derive(Debug)]
pub(super) struct Connection {
    service: Service,
    client: Client,
    credentials: Credentials,
    endpoint: String,
    region: Option<RegionId>,
}

impl Connection {
    /// Finds the settings and reads the trusted certificates; connects to
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// As [`ConnectionArgs::resolve`], or certificates that cannot be read.
    pub(super) fn open(args: &ConnectionArgs, service: Service) -> Result<Self, CliError> {
        let settings = args.resolve(&environment)?;
        let endpoint = Endpoint {
            host: settings.endpoint.clone(),
            roots: settings.roots,
            version: match service {
                Service::Kms => KMS,
                Service::Ram => RAM,
            },
            timeouts: Timeouts::default(),
        };
        Ok(Self {
            service,
            client: Client::new(endpoint, wall_clock())?,
            credentials: settings.credentials,
            endpoint: settings.endpoint,
            region: settings.region,
        })
    }

    /// Calls an action; see [`Client::call`]. Secrets belong into `form`.
    ///
    /// # Errors
    ///
    /// [`CliError::Call`], which knows what was called.
    pub(super) async fn call(
        &self,
        action: &'static str,
        query: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Result<Answer, CliError> {
        let body = self.client.call(&self.credentials, action, query, form).await;
        match body {
            Ok(body) => Ok(Answer { action, body }),
            Err(source) => Err(CliError::Call {
                service: self.service,
                action,
                endpoint: self.endpoint.clone(),
                source: Box::new(source),
            }),
        }
    }

    /// The region of the vault.
    ///
    /// # Errors
    ///
    /// [`CliError::Missing`].
    pub(super) fn region(&self) -> Result<&RegionId, CliError> {
        self.region.as_ref().ok_or(CliError::Missing {
            what: "the region of the instance",
            how: "--region REGION, STRONGROOM_REGION, or region in the profile",
        })
    }
}

/// The body of a successful answer; it may hold secrets.
#[derive(Debug)]
pub(super) struct Answer {
    action: &'static str,
    pub(super) body: SecretBytes,
}

impl Answer {
    /// Reads the members that `T` names; it must not hold secrets in clear.
    ///
    /// # Errors
    ///
    /// [`CliError::Answer`] when they are not there.
    pub(super) fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, CliError> {
        serde_json::from_slice(self.body.expose())
            .map_err(|_hides_values| CliError::Answer { action: self.action })
    }

    /// As [`read`](Self::read), for types that keep nothing of the body.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn into<T: DeserializeOwned>(self) -> Result<T, CliError> {
        self.read()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PROFILES: &str = r#"
[default]
endpoint = "of-default:1"
ca_file = "/default.pem"
region = "of-default"
access_key_id = "default-key"
access_key_secret = "s"

[bob]
endpoint = "of-bob:1"
access_key_id = "bob-key"
access_key_secret = "s"
"#;

    struct World {
        folder: tempfile::TempDir,
        variables: BTreeMap<&'static str, OsString>,
    }

    impl World {
        fn with(variables: &[(&'static str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(".strongroom")).unwrap();
            let path = folder.path().join(".strongroom/profiles.toml");
            fs::write(&path, PROFILES).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let mut variables: BTreeMap<_, _> =
                variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
            variables.insert("HOME", folder.path().as_os_str().to_owned());
            Self { folder, variables }
        }

        /// The same file, named instead of found.
        fn with_named_file(variables: &[(&'static str, &str)]) -> Self {
            let mut world = Self::with(variables);
            let path = world.folder.path().join(".strongroom/profiles.toml");
            world.variables.insert("STRONGROOM_PROFILES", path.into_os_string());
            world
        }

        fn resolve(&self, args: &ConnectionArgs) -> Result<Settings, CliError> {
            args.resolve(&|name| self.variables.get(name).cloned())
        }
    }

    const ENVIRONMENT: [(&str, &str); 5] = [
        ("STRONGROOM_ENDPOINT", "of-env:1"),
        ("STRONGROOM_CA_FILE", "/env.pem"),
        ("STRONGROOM_REGION", "of-env"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "env-key"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"),
    ];

    fn flags(endpoint: Option<&str>, profile: Option<&str>) -> ConnectionArgs {
        ConnectionArgs {
            endpoint: endpoint.map(str::to_owned),
            profile: profile.map(str::to_owned),
            ..ConnectionArgs::default()
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_default_profile() {
        for (endpoint, profile, variables, expected) in [
            (None, None, &[][..], ("of-default:1", "default-key", Some("of-default"))),
            (None, None, &ENVIRONMENT[..], ("of-env:1", "env-key", Some("of-env"))),
            (Some("of-flag:1"), None, &ENVIRONMENT[..], ("of-flag:1", "env-key", Some("of-env"))),
            (None, Some("bob"), &ENVIRONMENT[..], ("of-bob:1", "bob-key", Some("of-env"))),
            (Some("of-flag:1"), Some("bob"), &[][..], ("of-flag:1", "bob-key", None)),
        ] {
            let world = World::with(variables);
            let found = world.resolve(&flags(endpoint, profile)).unwrap();
            let region = found.region.as_ref().map(RegionId::as_str);
            assert_eq!((found.endpoint.as_str(), found.credentials.access_key_id(), region), expected);
        }
    }

    #[test]
    fn a_file_that_is_named_wins_over_the_environment() {
        for (endpoint, profile, variables, expected) in [
            (None, None, &[][..], ("of-default:1", "default-key", Some("of-default"))),
            (None, None, &ENVIRONMENT[..], ("of-default:1", "default-key", Some("of-default"))),
            (Some("of-flag:1"), None, &ENVIRONMENT[..], ("of-flag:1", "default-key", Some("of-default"))),
            (None, Some("bob"), &ENVIRONMENT[..], ("of-bob:1", "bob-key", Some("of-env"))),
        ] {
            let world = World::with_named_file(variables);
            let found = world.resolve(&flags(endpoint, profile)).unwrap();
            let region = found.region.as_ref().map(RegionId::as_str);
            assert_eq!((found.endpoint.as_str(), found.credentials.access_key_id(), region), expected);
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let mut world = World::with(&ENVIRONMENT);
        world.variables.insert("STRONGROOM_PROFILES", "/nonexistent/stranger.toml".into());
        let error = world.resolve(&flags(None, None)).unwrap_err();
        assert!(matches!(error, CliError::Profile(_)), "{error}");
    }

    #[test]
    fn a_key_is_never_put_together_from_two_places() {
        let world = World::with(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "env-key")]);
        let error = world.resolve(&flags(None, None)).unwrap_err();
        assert!(matches!(error, CliError::Missing { what: "the secret of the access key", .. }));
    }

    #[test]
    fn what_is_missing_is_named_with_every_way_to_set_it() {
        let nothing = ConnectionArgs::default().resolve(&|_| None).unwrap_err();
        assert!(nothing.to_string().contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{nothing}");
        let variables = |name: &str| match name {
            "ALIBABA_CLOUD_ACCESS_KEY_ID" | "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some(OsString::from("x")),
            _ => None,
        };
        let error = ConnectionArgs::default().resolve(&variables).unwrap_err();
        assert!(error.to_string().contains("--endpoint"), "{error}");
        assert!(error.to_string().contains("STRONGROOM_ENDPOINT"), "{error}");
    }

    #[test]
    fn calls_to_the_cloud_never_use_the_vaults_default_profile() {
        for world in [World::with(&[]), World::with_named_file(&[])] {
            let variables = |name: &str| world.variables.get(name).cloned();
            assert!(cloud_credentials(None, &variables).is_err());
            assert_eq!(cloud_credentials(Some("bob"), &variables).unwrap().access_key_id(), "bob-key");
        }
    }
}
