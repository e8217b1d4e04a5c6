//! Says what is wrong, and what to do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::cloud::{has_credentials, look};
use super::monitoring::webhook;
use super::parts::{self, AUDIT, Opened};
use super::serve::acceptor;
use super::{ApplianceError, Config, SystemClock};
use crate::audit::{Outcome, VerifyOptions, verify};
use crate::model::error_chain;
use crate::notify::Target;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// It works, but should be looked at.
    Warning,
    /// It does not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub text: String,
    /// What to do; empty when nothing.
    pub advice: String,
}

fn ok(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, subject, text: text.into(), advice: String::new() }
}

fn warning(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, subject, text: text.into(), advice: advice.into() }
}

fn fault(subject: &'static str, error: &dyn std::error::Error) -> Finding {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        parts.push(cause.to_string());
        next = cause.source();
    }
    // The innermost cause of most errors says what to do.
    let advice = if parts.len() > 1 { parts.pop().unwrap_or_default() } else { String::new() };
    Finding { level: Level::Fault, subject, text: parts.join(": "), advice }
}

/// Looks at everything that the appliance needs. It may run beside a running one.
pub async fn doctor(config: Config) -> Vec<Finding> {
    let mut findings = vec![folder(&config), certificate(&config), journal(&config)];
    match look(&config).await {
        Ok(opened) => {
            findings.push(ok("database", "opens, and its rows belong to this vault"));
            findings.push(token(&opened.keys).await);
            findings.push(customer_keys(&config, &opened).await);
            findings.push(cloud(&config, has_credentials(&opened).await));
            opened.keys.stop().await;
        }
        Err(error @ ApplianceError::Hsm(_)) => findings.push(fault("token", &error)),
        Err(error) => findings.push(fault("database", &error)),
    }
    findings.extend(events(&config).await);
    if config.path(Path::new("so-pin")).exists() {
        findings.push(warning(
            "token",
            "the security officer's PIN lies beside the vault",
            "keep a copy in a safe place and remove the file so-pin: the vault never needs it",
        ));
    }
    if config.path(Path::new("tls/ca.key")).exists() {
        findings.push(warning(
            "certificate",
            "the key of the certificate's CA lies beside the vault",
            "move the file tls/ca.key to a safe place: it is needed only to make the next certificate",
        ));
    }
    findings
}

/// Secrets of webhooks, and whether the receivers can be reached now.
async fn events(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &config.events.webhook {
        findings.push(match webhook(config, entry, Arc::new(SystemClock)) {
            Err(error) => fault("events", &error),
            Ok(webhook) => match webhook.reach().await {
                Ok(()) => ok("events", format!("the webhook {} can be reached", entry.name)),
                Err(error) => warning(
                    "events",
                    format!("the webhook {} cannot be reached: {}", entry.name, error_chain(&error)),
                    "events wait for it for a day each, and stay in `strongroom events`",
                ),
            },
        });
    }
    if let Some(file) = &config.events.file {
        let path = config.path(file);
        findings.push(match path.parent().filter(|folder| folder.is_dir()) {
            Some(_) => ok("events", format!("events are appended to {}", path.display())),
            None => warning(
                "events",
                format!("the folder of {} does not exist", path.display()),
                "make it: events wait until then",
            ),
        });
    }
    if let Some(Target::Unix(path)) = &config.events.syslog {
        findings.push(if path.exists() {
            ok("events", format!("syslog listens at {}", path.display()))
        } else {
            warning(
                "events",
                format!("there is no syslog socket at {}", path.display()),
                "start the syslog service, or correct syslog in [events]",
            )
        });
    }
    findings
}

fn folder(config: &Config) -> Finding {
    match fs::metadata(&config.data_dir) {
        Ok(meta) if meta.mode() & 0o077 == 0 => {
            ok("folder", format!("{} is closed to others", config.data_dir.display()))
        }
        Ok(_) => warning(
            "folder",
            format!("{} may be entered by others", config.data_dir.display()),
            format!("chmod 0700 {}", config.data_dir.display()),
        ),
        Err(error) => fault("folder", &error),
    }
}

fn certificate(config: &Config) -> Finding {
    if let Err(error) = acceptor(config) {
        return fault("certificate", &error);
    }
    let file = config.path(&config.tls.certificate);
    let left = fs::read(&file).ok().and_then(|pem| openssl::x509::X509::from_pem(&pem).ok()).and_then(
        |certificate| {
            let now = openssl::asn1::Asn1Time::days_from_now(0).ok()?;
            Some(now.diff(certificate.not_after()).ok()?.days)
        },
    );
    match left {
        Some(days) if days > 30 => {
            ok("certificate", format!("fits its key and is valid for {days} more days"))
        }
        Some(days) => warning(
            "certificate",
            format!("is valid for {days} more days"),
            "put a new one in the place of the files of [tls] and restart",
        ),
        None => warning("certificate", "its end cannot be read", "look at the file of [tls] certificate"),
    }
}

fn journal(config: &Config) -> Finding {
    let report = verify(&config.path(Path::new(AUDIT)), &VerifyOptions::default());
    match &report.outcome {
        Outcome::Intact => ok("audit", format!("the journal is intact: {} records", report.records)),
        Outcome::Broken { .. } | Outcome::Incomplete | Outcome::CannotCheck { .. } => Finding {
            level: Level::Fault,
            subject: "audit",
            text: "the journal does not verify".to_owned(),
            advice: format!("run `strongroom audit verify {}`", config.path(Path::new(AUDIT)).display()),
        },
    }
}

async fn token(keys: &strongroom_hsm::KeyService) -> Finding {
    let report = match keys.report().await {
        Ok(report) => report,
        Err(error) => return fault("token", &error),
    };
    let absent: Vec<&str> =
        report.mechanisms.iter().filter(|m| !m.present).map(|m| m.name.as_str()).collect();
    let failed: Vec<&str> =
        report.self_tests.iter().filter(|t| t.failure.is_some()).map(|t| t.name.as_str()).collect();
    if absent.is_empty() && failed.is_empty() {
        return ok(
            "token",
            format!(
                "{} {}, serial {}, keys as they were made",
                report.manufacturer, report.model, report.serial
            ),
        );
    }
    Finding {
        level: Level::Fault,
        subject: "token",
        text: format!("mechanisms missing: {}; self-tests failed: {}", absent.join(", "), failed.join(", ")),
        advice: "use another token, or ask its vendor for a configuration with these mechanisms".to_owned(),
    }
}

/// Whether the token has every customer master key, as it was made.
async fn customer_keys(config: &Config, opened: &Opened) -> Finding {
    let keys = match parts::customer_keys(config, opened).await {
        Ok(keys) => keys,
        Err(error) => return fault("keys", &error),
    };
    let lost = match keys.examine().await {
        Ok(lost) => lost,
        Err(error) => return fault("keys", &error),
    };
    if lost.is_empty() {
        return ok(
            "keys",
            format!("{} customer master keys, all of them as they were made", keys.list().len()),
        );
    }
    let named: Vec<String> =
        lost.iter().map(|lost| format!("{} version {}", lost.key, lost.version)).collect();
    Finding {
        level: Level::Fault,
        subject: "keys",
        text: format!("the token does not have, or not as they were made, {}", named.join(", ")),
        advice: "bring them back from a backup of the token: what is encrypted under them cannot be read until then; all else is served"
            .to_owned(),
    }
}

fn cloud(config: &Config, credentials: Result<bool, ApplianceError>) -> Finding {
    match (&config.cloud, credentials) {
        (None, _) => warning(
            "cloud",
            "no Cloud Assistant is configured: no instance can be rotated",
            "add [cloud] to the configuration",
        ),
        (Some(cloud), Ok(true)) => ok("cloud", format!("instances are reached by way of {}", cloud.endpoint)),
        (Some(_), Ok(false)) => {
            warning("cloud", "no credentials for the cloud are stored", "run `strongroom cloud credentials`")
        }
        (Some(_), Err(error)) => fault("cloud", &error),
    }
}
