//! The commands of the appliance itself, which run on its own machine: `init`,
//! `serve`, `doctor`, `cloud credentials`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::error::{CliError, Exit};
use super::input;
use super::output::Output;
use super::profile::{Contents, NewFile};
use super::wiped::Exposed;
use crate::appliance::{self, Config, Finding, InitOptions, InitReport, Level};
use crate::model::{AccessKeyId, AccountId, RegionId, UserName};

/// More than any secret of an access key has.
const MAX_KEY_BYTES: usize = 1024;

/// Set up a new vault: its token and keys, database, certificate and first administrator
///
/// Nothing that exists is touched: the folder must be empty or missing. Without --module, SoftHSM
/// is used and the token lies in the folder as well. The administrator's access key exists in this
/// one output only.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  For a first look:
    strongroom init --data-dir ./vault --credentials-file ./admin.toml
  With the HSM of your site:
    strongroom init --data-dir /var/lib/strongroom --listen 0.0.0.0:8443 \\
        --name vault.example.com --module /usr/lib/vendor-pkcs11.so --token-label strongroom \\
        --pin-file /run/credentials/pin --credentials-file /root/admin.toml")]
pub(super) struct InitArgs {
    /// Folder for everything that the vault keeps
    #[arg(long, value_name = "DIR", default_value = "/var/lib/strongroom")]
    data_dir: PathBuf,
    /// Address to serve at
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: String,
    /// Account that owns everything in the vault; made up unless given
    #[arg(long, value_name = "DIGITS", value_parser = AccountId::parse)]
    account: Option<AccountId>,
    /// Region of the vault and of its instances
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou", value_parser = RegionId::parse)]
    region: RegionId,
    /// Host name or address for the certificate; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Name of the first administrator
    #[arg(long, value_name = "NAME", default_value = "admin", value_parser = UserName::parse)]
    admin: UserName,
    /// PKCS#11 module of the HSM
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Label of the token to use in it
    #[arg(long, value_name = "LABEL", requires = "module")]
    token_label: Option<String>,
    /// File with the token's user PIN, which only its owner can read
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Write the administrator's key as a profile into this new file, and do not show it
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
}

/// Which vault.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration that strongroom init wrote
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Credentials of the cloud account whose instances are rotated.
#[derive(Debug, Subcommand)]
pub(super) enum CloudCommand {
    /// Store the access key with which the vault calls Cloud Assistant
    ///
    /// It is kept encrypted under the HSM. The secret comes from a file or is asked for. The vault
    /// must be stopped meanwhile, and uses the key from its next start on.
    #[command(after_long_help = "\
Example:
  strongroom cloud credentials --config /var/lib/strongroom/strongroom.toml \\
      --access-key-id LTAI5tExample --secret-file cloud-key.txt")]
    Credentials {
        #[command(flatten)]
        config: ConfigArgs,
        /// Id of the access key
        #[arg(long, value_name = "ID", value_parser = AccessKeyId::parse)]
        access_key_id: AccessKeyId,
        /// File with its secret on one line, or - for standard input; asked for unless given
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
}

/// Sets up a vault.
pub(super) async fn init(args: InitArgs, output: &mut Output) -> Result<(), CliError> {
    let file = args.credentials_file.as_deref().map(NewFile::create).transpose()?;
    let options = InitOptions {
        data_dir: args.data_dir,
        listen: args.listen,
        account: args.account,
        region: args.region,
        names: args.names,
        admin: args.admin,
        module: args.module,
        pin_file: args.pin_file,
        token_label: args.token_label,
    };
    let report = match appliance::init(&options).await {
        Ok(report) => report,
        Err(error) => {
            if let Some(file) = file {
                file.discard()?;
            }
            return Err(error.into());
        }
    };
    let Some(file) = file else { return told(&report, None, output) };
    let written = file.write(&Contents {
        endpoint: Some(&report.endpoint),
        ca_file: Some(&report.ca_file),
        region: Some(report.region.as_str()),
        access_key_id: report.access_key_id.as_str(),
        access_key_secret: &report.access_key_secret,
    });
    if let Err(error) = written {
        // The key exists nowhere else, so it is shown rather than lost.
        told(&report, None, output)?;
        return Err(error.into());
    }
    told(&report, args.credentials_file, output)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Made<'a> {
    config: &'a std::path::Path,
    ca_file: &'a std::path::Path,
    endpoint: &'a str,
    account_id: &'a AccountId,
    region_id: &'a RegionId,
    token_serial: &'a str,
    user_name: &'a UserName,
    access_key_id: &'a AccessKeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<Exposed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_file: Option<&'a std::path::Path>,
}

fn told(report: &InitReport, credentials_file: Option<PathBuf>, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return Ok(output.json(&Made {
            config: &report.config,
            ca_file: &report.ca_file,
            endpoint: &report.endpoint,
            account_id: &report.account,
            region_id: &report.region,
            token_serial: &report.token_serial,
            user_name: &report.admin,
            access_key_id: &report.access_key_id,
            access_key_secret: credentials_file.is_none().then_some(Exposed(&report.access_key_secret)),
            credentials_file: credentials_file.as_deref(),
        })?);
    }
    let config = report.config.display();
    for (label, value) in [
        ("Config", config.to_string()),
        ("Endpoint", report.endpoint.clone()),
        ("CA file", report.ca_file.display().to_string()),
        ("Account", report.account.to_string()),
        ("Region", report.region.to_string()),
        ("Token", report.token_serial.clone()),
        ("User", report.admin.to_string()),
        ("Key id", report.access_key_id.to_string()),
    ] {
        output.line(&format!("{label:<12}{value}"))?;
    }
    let profile = match &credentials_file {
        Some(path) => {
            output.line(&format!("{:<12}{}", "Key file", path.display()))?;
            format!("STRONGROOM_PROFILES={} ", path.display())
        }
        None => {
            output.secret_line("Key secret", &report.access_key_secret)?;
            output.note("keep the key secret now: it is not shown again")?;
            String::new()
        }
    };
    output.line(&format!(
        "\nNext:\n  strongroom doctor --config {config}\n  strongroom serve --config {config}\n  \
         {profile}strongroom secret list{}",
        if profile.is_empty() {
            format!(
                " --endpoint {} --ca-file {}\n    (with ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET set)",
                report.endpoint,
                report.ca_file.display()
            )
        } else {
            String::new()
        }
    ))?;
    Ok(())
}

/// Serves until it is told to stop; log lines go to standard error.
pub(super) async fn serve(args: &ConfigArgs) -> Result<(), CliError> {
    let filter = EnvFilter::try_from_env("STRONGROOM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| CliError::Usage(format!("the log could not be set up: {error}")))?;
    Ok(appliance::serve(Config::load(&args.config)?).await?)
}

/// Says what is wrong with a vault.
pub(super) async fn doctor(args: &ConfigArgs, output: &mut Output) -> Result<Exit, CliError> {
    let findings = appliance::doctor(Config::load(&args.config)?).await;
    show(&findings, output)
}

fn show(findings: &[Finding], output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(&findings)?;
    } else {
        for finding in findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Fault => "FAULT",
            };
            output.line(&format!("{level:<9}{}: {}", finding.subject, finding.text))?;
            if !finding.advice.is_empty() {
                output.line(&format!("{:<9}{}", "", finding.advice))?;
            }
        }
    }
    let is_faulty = findings.iter().any(|finding| finding.level == Level::Fault);
    Ok(if is_faulty { Exit::Refused } else { Exit::Done })
}

/// Stores the credentials for the cloud.
pub(super) async fn cloud(command: &CloudCommand, output: &mut Output) -> Result<(), CliError> {
    let CloudCommand::Credentials { config, access_key_id, secret_file } = command;
    let config = Config::load(&config.config)?;
    let secret = match secret_file {
        Some(path) => input::read_line_file(path, MAX_KEY_BYTES)?,
        None => input::prompt(&format!("Secret of {access_key_id}: "))?,
    };
    appliance::set_cloud_credentials(config, access_key_id.as_str(), secret).await?;
    if output.is_json() {
        return Ok(output.json(&serde_json::json!({ "AccessKeyId": access_key_id }))?);
    }
    Ok(output.line(&format!("stored {access_key_id}; strongroom serve uses it from its next start on"))?)
}

#[cfg(test)]
mod tests {
    use strongroom_hsm::SecretBytes;

    use super::*;
    use crate::cli::output::{Form, captured};

    fn report() -> InitReport {
        InitReport {
            config: "/v/strongroom.toml".into(),
            ca_file: "/v/ca.pem".into(),
            endpoint: "localhost:8443".to_owned(),
            account: AccountId::parse("1").unwrap(),
            region: RegionId::parse("cn-hangzhou").unwrap(),
            token_serial: "serial".to_owned(),
            admin: UserName::parse("admin").unwrap(),
            access_key_id: AccessKeyId::parse("LTAI1").unwrap(),
            access_key_secret: SecretBytes::copy_of(b"s3cret"),
        }
    }

    #[test]
    fn the_key_is_shown_unless_it_went_into_a_file() {
        for form in [Form::People, Form::Json] {
            let (mut output, stdout, _) = captured::output(form, false);
            told(&report(), None, &mut output).unwrap();
            assert!(stdout.text().contains("s3cret"));
            let (mut output, stdout, stderr) = captured::output(form, false);
            told(&report(), Some("/root/admin.toml".into()), &mut output).unwrap();
            assert!(!stdout.text().contains("s3cret") && !stderr.text().contains("s3cret"));
            assert!(stdout.text().contains("/root/admin.toml"));
        }
    }

    #[test]
    fn a_fault_and_nothing_less_sets_the_exit_code() {
        let finding = |level| Finding {
            level,
            subject: "token",
            text: "is locked".to_owned(),
            advice: "unlock it".to_owned(),
        };
        for (level, exit) in [(Level::Ok, 0), (Level::Warning, 0), (Level::Fault, 1)] {
            let (mut output, stdout, _) = captured::output(Form::People, false);
            assert_eq!(show(&[finding(Level::Ok), finding(level)], &mut output).unwrap().code(), exit);
            assert!(stdout.text().contains("token: is locked\n         unlock it\n"));
        }
    }
}
