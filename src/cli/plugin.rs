//! `strongroom plugin`: what an instance needs to be rotated.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::connection::{cloud_credentials, environment, wall_clock};
use super::error::CliError;
use super::output::Output;
use crate::cloud_assistant::client::{API_VERSION, Client, Delivery, Settings, default_host};
use crate::cloud_assistant::install::{Installed, MAX_PROGRAM};
use crate::cloud_assistant::plugin;
use crate::model::{InstanceId, OsFamily, RegionId};
use crate::rpc::client::{self as rpc, Endpoint, Roots, Timeouts};

/// Every step of the plug-in ends within it (cloud-assistant.md section 5.3).
const TIMEOUT: Duration = Duration::from_secs(60);

/// The plug-in on instances.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Create the commands that start the plug-in, once per region
    ///
    /// The vault then needs no right to run commands of its own making. Commands that are there
    /// already are left alone.
    #[command(after_long_help = "\
Example:
  strongroom plugin commands --region cn-hangzhou --cloud-profile cloud")]
    Commands(CloudArgs),
    /// Install the plug-in on an instance through Cloud Assistant
    ///
    /// It goes in pieces and can be repeated after any error: only what is missing is sent.
    /// For Windows it is a script that comes with this program.
    #[command(after_long_help = "\
Examples:
  strongroom plugin install i-bp1web --binary strongroom-rotator --region cn-hangzhou
  strongroom plugin install i-bp1win --os windows --region cn-hangzhou")]
    Install {
        /// The instance
        #[arg(value_parser = InstanceId::parse)]
        instance: InstanceId,
        /// What runs on the instance
        #[arg(long, value_name = "OS", default_value = "linux")]
        os: Os,
        /// Linux: the program for the instance's processor
        #[arg(long, value_name = "FILE", required_if_eq("os", "linux"), required_unless_present = "os")]
        binary: Option<PathBuf>,
        #[command(flatten)]
        cloud: CloudArgs,
    },
    /// Print the script that starts the plug-in
    #[command(after_long_help = "\
Example:
  strongroom plugin stub --os windows")]
    Stub {
        /// Which operating system
        #[arg(long, value_name = "OS", default_value = "linux")]
        os: Os,
    },
}

/// How to reach Cloud Assistant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cloud")]
pub(super) struct CloudArgs {
    /// Region of the instances
    #[arg(long, value_name = "REGION", value_parser = RegionId::parse)]
    region: RegionId,
    /// Host of the ECS API; the region's own unless given
    #[arg(long, value_name = "HOST[:PORT]")]
    cloud_endpoint: Option<String>,
    /// PEM file of the authority to trust there; the system's unless given
    #[arg(long, value_name = "FILE")]
    cloud_ca_file: Option<PathBuf>,
    /// Profile with the access key of the cloud account; unless given, that of
    /// ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET
    #[arg(long, value_name = "NAME")]
    cloud_profile: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Os {
    /// A shell script
    Linux,
    /// A PowerShell script
    Windows,
}

impl From<Os> for OsFamily {
    fn from(os: Os) -> Self {
        match os {
            Os::Linux => Self::Linux,
            Os::Windows => Self::Windows,
        }
    }
}

impl CloudArgs {
    fn client(&self) -> Result<Client, CliError> {
        let credentials = cloud_credentials(self.cloud_profile.as_deref(), &environment)?;
        let rpc = rpc::Client::new(
            Endpoint {
                host: self.cloud_endpoint.clone().unwrap_or_else(|| default_host(&self.region)),
                roots: self.cloud_ca_file.clone().map_or(Roots::System, Roots::File),
                version: API_VERSION,
                timeouts: Timeouts::default(),
            },
            wall_clock(),
        )?;
        let settings = Settings {
            region: self.region.clone(),
            delivery: Delivery::Inline,
            pace: Duration::from_secs(1),
        };
        Ok(Client::new(rpc, Arc::new(credentials), settings, wall_clock()))
    }
}

/// Runs one of the commands.
pub(super) async fn run(command: &PluginCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        PluginCommand::Commands(cloud) => commands(&cloud.client()?, output).await,
        PluginCommand::Install { instance, os, binary, cloud } => {
            let program = match (os, binary) {
                (Os::Linux, Some(file)) => program(file)?,
                (Os::Linux, None) => return Err(CliError::Usage("--binary is needed".to_owned())),
                (Os::Windows, None) => plugin::WINDOWS_PLUGIN.as_bytes().to_vec(),
                (Os::Windows, Some(_)) => {
                    let text = "--binary is for Linux: the plug-in for Windows comes with this program";
                    return Err(CliError::Usage(text.to_owned()));
                }
            };
            install(&cloud.client()?, instance, (*os).into(), &program, output).await
        }
        PluginCommand::Stub { os } => {
            let script = plugin::script((*os).into());
            if output.is_json() {
                let name = plugin::command_name((*os).into());
                return Ok(output.json(&json!({ "Name": name, "CommandContent": script }))?);
            }
            Ok(output.line(script.trim_end())?)
        }
    }
}

async fn commands(client: &Client, output: &mut Output) -> Result<(), CliError> {
    let mut found = Vec::new();
    for (key, os) in [("linux_command", OsFamily::Linux), ("windows_command", OsFamily::Windows)] {
        let name = plugin::command_name(os);
        let script = plugin::script(os).as_bytes();
        let there = client.describe_commands(name).await?;
        let same = there.into_iter().find(|command| command.content.as_deref() == Some(script));
        let (id, what) = match same {
            Some(command) => (command.id, "is there already"),
            None => (client.create_command(os, TIMEOUT, &token()?).await?, "was created"),
        };
        if !output.is_json() {
            output.line(&format!("{id}  {name} {what}"))?;
        }
        found.push((key, name, id));
    }
    if output.is_json() {
        let rows: Vec<_> =
            found.iter().map(|(_, name, id)| json!({ "Name": name, "CommandId": id })).collect();
        return Ok(output.json(&rows)?);
    }
    output.line("\nFor the configuration of the vault:\n\n[cloud]\ndelivery = \"stored\"")?;
    for (key, _, id) in &found {
        output.line(&format!("{key} = \"{id}\""))?;
    }
    Ok(())
}

/// Makes repetitions of one call one.
fn token() -> Result<String, CliError> {
    let mut random = [0; 16];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_says_nothing| CliError::Usage("there is no randomness for a client token".to_owned()))?;
    Ok(format!("sc-{}", HEXLOWER.encode(&random)))
}

async fn install(
    client: &Client,
    instance: &InstanceId,
    os: OsFamily,
    program: &[u8],
    output: &mut Output,
) -> Result<(), CliError> {
    let bar = bar(instance, output);
    let result = client
        .install(instance, os, program, |done, all| {
            bar.set_length(u64::try_from(all).unwrap_or(u64::MAX));
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        })
        .await;
    bar.finish_and_clear();
    let (word, text) = match result? {
        Installed::AlreadyThere => ("already-there", "has exactly this plug-in already"),
        Installed::Now => ("installed", "has the plug-in now"),
    };
    if output.is_json() {
        return Ok(output.json(&json!({ "InstanceId": instance, "Result": word }))?);
    }
    Ok(output.line(&format!("{instance} {text}"))?)
}

/// Reads the program, one byte more than may be installed at most: the
/// installation itself says which length is too long.
fn program(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::File { deed: "read", path: path.to_owned(), source };
    let limit = u64::try_from(MAX_PROGRAM).unwrap_or(u64::MAX).saturating_add(1);
    let mut program = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut program)).map_err(failed)?;
    if !program.starts_with(b"\x7fELF") {
        return Err(CliError::Usage(format!("{} is no program for Linux", path.display())));
    }
    Ok(program)
}

fn bar(instance: &InstanceId, output: &Output) -> ProgressBar {
    if !output.may_draw() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} pieces, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(format!("installing on {instance}"));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    #[tokio::test]
    async fn the_stub_is_printed_as_it_is_created() {
        for (os, family) in [(Os::Linux, OsFamily::Linux), (Os::Windows, OsFamily::Windows)] {
            let (mut output, stdout, _) = captured::output(Form::People, false);
            run(&PluginCommand::Stub { os }, &mut output).await.unwrap();
            assert_eq!(stdout.text(), plugin::script(family));
        }
    }

    #[test]
    fn only_a_program_for_linux_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rotator");
        for (bytes, is_program) in
            [(&b"#!/bin/sh\n"[..], false), (b"MZ", false), (b"", false), (b"\x7fELF\x02", true)]
        {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(program(&path).is_ok(), is_program);
        }
    }
}
