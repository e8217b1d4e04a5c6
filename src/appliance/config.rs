//! The configuration file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::api::listener::Limits;
use crate::keys;
use crate::model::{AccountId, RegionId};
use crate::notify::{AddressRange, Target};
use crate::rotation::{self, KeyType};

use super::quotas::{Quotas, at_most};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be; the cause names line and setting.
    #[error("{} is not a valid configuration", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A setting has a value that cannot be.
    #[error("setting {name} must be {rule}")]
    Value {
        /// Its name.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// Everything an operator can set. Paths that are not absolute are below `data_dir`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the vault keeps its files.
    pub data_dir: PathBuf,
    /// Address and port of the API.
    pub listen: String,
    /// The account that owns everything.
    pub account: AccountId,
    /// The region that the vault answers for.
    pub region: RegionId,
    /// The token.
    pub hsm: Hsm,
    /// Certificate and key of the API.
    #[serde(default)]
    pub tls: Tls,
    /// Where instances are reached.
    pub cloud: Option<Cloud>,
    /// What is kept in memory.
    #[serde(default)]
    pub cache: Cache,
    /// How rotations are done.
    #[serde(default)]
    pub rotation: Rotation,
    /// Customer master keys.
    #[serde(default)]
    pub keys: Keys,
    /// What a client may do before anything about it is believed.
    #[serde(default)]
    pub limits: ConnectionLimits,
    /// Which signatures are served.
    #[serde(default)]
    pub signatures: Signatures,
    /// What operators are told of rotations, and how.
    #[serde(default)]
    pub events: Events,
    /// Numbers for Prometheus; none without it.
    pub metrics: Option<MetricsListener>,
    /// How much there may be, and how often principals may call.
    #[serde(default)]
    pub quotas: Quotas,
}

/// `[hsm]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsm {
    /// The vendor's PKCS#11 library, an absolute path.
    pub module: PathBuf,
    /// Label of the token.
    pub token_label: String,
    /// Its serial number.
    pub token_serial: Option<String>,
    /// File with the user PIN, mode 0400.
    pub pin_file: PathBuf,
    /// Configuration file of SoftHSM, where that is the module.
    pub softhsm_conf: Option<PathBuf>,
    /// Sessions that work at once.
    #[serde(default = "four")]
    pub sessions: u16,
    /// How long one call may take, in seconds.
    #[serde(default = "five")]
    pub call_deadline_seconds: u64,
}

const fn four() -> u16 {
    4
}

const fn five() -> u64 {
    5
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, mode 0400.
    pub key: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: "tls/server.pem".into(), key: "tls/server.key".into() }
    }
}

/// How commands reach Cloud Assistant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The script goes along each time (`RunCommand`).
    #[default]
    Inline,
    /// The script was created before (`InvokeCommand`).
    Stored,
}

/// `[cloud]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Host, or host:port, of the ECS API.
    pub endpoint: String,
    /// PEM file with the CAs to believe; the system's where it is absent.
    pub ca_file: Option<PathBuf>,
    /// How commands are delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// CommandId of the Linux script, for `delivery = "stored"`.
    #[serde(default)]
    pub linux_command: String,
    /// CommandId of the Windows script, for `delivery = "stored"`.
    #[serde(default)]
    pub windows_command: String,
    /// The unit in which polls are spaced, in milliseconds.
    #[serde(default = "second")]
    pub pace_ms: u64,
}

const fn second() -> u64 {
    1_000
}

/// `[cache]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Secrets, without values, that stay in memory.
    pub secrets: usize,
    /// How long an unwrapped data key stays in memory, in seconds; 0 is never.
    pub data_key_seconds: u64,
    /// Data keys that stay in memory at most.
    pub data_keys: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { secrets: 20_000, data_key_seconds: 0, data_keys: 20_000 }
    }
}

/// `[rotation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Commands in flight at once.
    pub concurrency: usize,
    /// Of these, commands in flight at once on one instance.
    pub per_instance: usize,
    /// Rotations begun by hand within an hour.
    pub manual_per_hour: u64,
    /// The kind of SSH key to make.
    pub key_type: KeyType,
    /// When Cloud Assistant ends a run of the plug-in, in seconds.
    pub command_timeout_seconds: u64,
    /// How long an old SSH key goes on working after the rotation, in seconds.
    pub key_grace_seconds: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        let usual = rotation::Settings::default();
        Self {
            concurrency: usual.concurrency,
            per_instance: usual.per_instance,
            manual_per_hour: usual.manual_per_hour,
            key_type: usual.key_type,
            command_timeout_seconds: usual.command_timeout.as_secs(),
            key_grace_seconds: usual.key_grace.as_secs(),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// How long the body of a request may take, in seconds.
    pub body_seconds: u64,
    /// How long the head of a request may take, in seconds.
    pub head_seconds: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let usual = Limits::default();
        Self {
            connections: usual.connections,
            body_seconds: usual.body.as_secs(),
            head_seconds: usual.head.as_secs(),
        }
    }
}

/// `[signatures]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signatures {
    /// Whether V1 (HMAC-SHA1 in the query) is served.
    pub v1: bool,
    /// Whether V1 requests need a nonce.
    pub v1_needs_nonce: bool,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { v1: true, v1_needs_nonce: true }
    }
}

/// `[events]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Older events go, in days.
    pub keep_days: u32,
    /// So many events stay at most.
    pub keep_count: u64,
    /// A date counts as missed when it is past by more than this, in seconds.
    pub overdue_seconds: i64,
    /// File to which events are appended as lines of JSON.
    pub file: Option<PathBuf>,
    /// Where events go as syslog messages: `/dev/log`, `udp://HOST:PORT` or `tcp://HOST:PORT`.
    pub syslog: Option<Target>,
    /// Where events go as signed requests.
    pub webhook: Vec<WebhookConfig>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            keep_days: 400,
            keep_count: 1_000_000,
            overdue_seconds: 3_600,
            file: None,
            syslog: None,
            webhook: Vec::new(),
        }
    }
}

/// `[[events.webhook]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name, under which its position is kept.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// File with the secret of the signatures, mode 0400.
    pub secret_file: PathBuf,
    /// PEM file with the CAs to believe; the system's where it is absent.
    pub ca_file: Option<PathBuf>,
    /// Whether `http` will do.
    #[serde(default)]
    pub allow_http: bool,
    /// Ranges of addresses that may be reached although they are not public.
    #[serde(default)]
    pub allow_addresses: Vec<AddressRange>,
    /// How long an attempt may take, in seconds.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
}

const fn ten() -> u64 {
    10
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// Whether a customer master key is kept from deletion while secrets are
    /// encrypted under it.
    pub protect_used: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { protect_used: keys::Settings::default().protect_used }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsListener {
    /// Address and port, plain HTTP.
    pub listen: String,
    /// Whether secrets are shown by name.
    #[serde(default)]
    pub per_secret: bool,
}

impl Events {
    fn check(&self) -> Result<(), ConfigError> {
        let value =
            |holds: bool, name, rule| if holds { Ok(()) } else { Err(ConfigError::Value { name, rule }) };
        value((1..=3_650).contains(&self.keep_days), "events.keep_days", "from 1 to 3650")?;
        value(
            (1_000..=100_000_000).contains(&self.keep_count),
            "events.keep_count",
            "from 1000 to 100000000",
        )?;
        value(
            (0..=31_536_000).contains(&self.overdue_seconds),
            "events.overdue_seconds",
            "from 0 to 31536000",
        )?;
        let mut names = std::collections::HashSet::new();
        for webhook in &self.webhook {
            let plain = (1..=64).contains(&webhook.name.len())
                && webhook.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            value(plain, "events.webhook.name", "1 to 64 of A-Z a-z 0-9 - _")?;
            value(names.insert(webhook.name.as_str()), "events.webhook.name", "different for each webhook")?;
            value(
                (1..=60).contains(&webhook.timeout_seconds),
                "events.webhook.timeout_seconds",
                "from 1 to 60",
            )?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the setting.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let value =
            |holds: bool, name, rule| if holds { Ok(()) } else { Err(ConfigError::Value { name, rule }) };
        value(self.data_dir.is_absolute(), "data_dir", "an absolute path")?;
        value(self.hsm.module.is_absolute(), "hsm.module", "an absolute path")?;
        value((1..=64).contains(&self.hsm.sessions), "hsm.sessions", "from 1 to 64")?;
        value(
            (1..=60).contains(&self.hsm.call_deadline_seconds),
            "hsm.call_deadline_seconds",
            "from 1 to 60",
        )?;
        value(self.cache.data_key_seconds <= 300, "cache.data_key_seconds", "at most 300")?;
        value((1..=1_000).contains(&self.rotation.concurrency), "rotation.concurrency", "from 1 to 1000")?;
        value((1..=1_000).contains(&self.rotation.per_instance), "rotation.per_instance", "from 1 to 1000")?;
        value(
            (10..=600).contains(&self.rotation.command_timeout_seconds),
            "rotation.command_timeout_seconds",
            "from 10 to 600",
        )?;
        value(self.rotation.key_grace_seconds <= 3_600, "rotation.key_grace_seconds", "at most 3600")?;
        self.events.check()?;
        self.quotas.check()?;
        value((1..=65_535).contains(&self.limits.connections), "limits.connections", "from 1 to 65535")?;
        if let Some(cloud) = &self.cloud {
            value((10..=10_000).contains(&cloud.pace_ms), "cloud.pace_ms", "from 10 to 10000")?;
            let named = !cloud.linux_command.is_empty();
            value(
                cloud.delivery == Delivery::Inline || named,
                "cloud.linux_command",
                "the CommandId that `strongroom plugin commands` printed, for delivery = \"stored\"",
            )?;
        }
        Ok(())
    }

    /// A path of the configuration, made absolute.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.data_dir.join(path)
    }

    pub(super) fn listener_limits(&self) -> Limits {
        Limits {
            connections: self.limits.connections,
            body: Duration::from_secs(self.limits.body_seconds.max(1)),
            head: Duration::from_secs(self.limits.head_seconds.max(1)),
            ..Limits::default()
        }
    }

    pub(super) fn keys_settings(&self) -> keys::Settings {
        keys::Settings {
            protect_used: self.keys.protect_used,
            max_keys: at_most(self.quotas.keys),
            max_aliases: at_most(self.quotas.aliases),
        }
    }

    pub(super) fn rotation_settings(&self) -> rotation::Settings {
        rotation::Settings {
            concurrency: self.rotation.concurrency,
            per_instance: self.rotation.per_instance,
            manual_per_hour: self.rotation.manual_per_hour,
            key_type: self.rotation.key_type,
            command_timeout: Duration::from_secs(self.rotation.command_timeout_seconds),
            key_grace: Duration::from_secs(self.rotation.key_grace_seconds),
            pace: Duration::from_millis(self.cloud.as_ref().map_or(1_000, |c| c.pace_ms)),
        }
    }
}
