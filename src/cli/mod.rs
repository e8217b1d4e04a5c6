//! The command line: arguments, output, exit codes.
//!
//! Three kinds of commands: those of the appliance, on its own machine
//! (`init`, `serve`, `doctor`, `cloud`, `audit`); those of a client, which sign
//! requests and send them over HTTPS like any other client (`secret`, `cmk`,
//! `events`, `user`, `key`, `policy`); and those that prepare instances (`plugin`).
//! `docs/commands.md` shows each with an example.
//!
//! Values of secrets come from files, standard input or a prompt, never from
//! the command line or the environment. They go to standard output only where
//! they were asked for, and never to standard error.

mod advice;
mod api;
mod cmk;
mod connection;
mod error;
mod events;
mod input;
mod journal;
mod key;
mod listing;
mod output;
mod plugin;
mod policy;
mod profile;
mod public_key;
mod rotate;
mod secret;
mod server;
mod table;
mod user;
mod wiped;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::error::{CliError, Exit};
use self::output::{Form, Output};

/// A vault for the passwords and SSH keys of instances, protected by an HSM
///
/// It serves the API of Alibaba Cloud KMS Secrets Manager and RAM; this program is the server, and
/// a client of it.
#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    after_long_help = "\
Exit codes:
  0  done                          4  the key is not accepted, or may not do this
  1  the service refused           5  not found
  2  usage, files or settings      6  not over in time
  3  not reachable, or not ready   7  the output could not be written
  8  the token refuses the PIN: do not start again before it is corrected

Connection of cmk, events, rotate, secret, user, key and policy: flags, then the profile that --profile or
STRONGROOM_PROFILES names, then the environment (STRONGROOM_ENDPOINT, STRONGROOM_CA_FILE,
STRONGROOM_REGION, ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET,
ALIBABA_CLOUD_SECURITY_TOKEN), then the profile \"default\" of ~/.strongroom/profiles.toml.

First steps:
  strongroom init --data-dir ./vault --credentials-file ./admin.toml
  strongroom serve --config ./vault/strongroom.toml
  STRONGROOM_PROFILES=./admin.toml strongroom secret list"
)]
struct Cli {
    /// Write JSON instead of text for people; errors too
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the API is: a reference to read, or an OpenAPI document
    #[command(subcommand)]
    Api(api::ApiCommand),
    /// Check and watch the audit journal
    #[command(subcommand)]
    Audit(journal::AuditCommand),
    /// Credentials of the cloud account whose instances are rotated
    #[command(subcommand)]
    Cloud(server::CloudCommand),
    /// Keys in the token, which encrypt data and secrets
    Cmk(cmk::CmkArgs),
    /// Say what is wrong with a vault, and what to do about it
    ///
    /// Exit code 1 when there is a fault; warnings do not count.
    #[command(after_long_help = "\
Example:
  strongroom doctor --config /var/lib/strongroom/strongroom.toml")]
    Doctor(server::ConfigArgs),
    Events(events::EventsArgs),
    /// Hold the keys for the appliance, which starts this itself
    #[command(hide = true)]
    HsmWorker,
    Init(server::InitArgs),
    /// Access keys, with which users sign requests
    Key(key::KeyArgs),
    /// Prepare instances for rotation
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Policies, which say what users may do
    Policy(policy::PolicyArgs),
    /// Rotate many secrets in waves
    Rotate(rotate::RotateArgs),
    /// Secrets and their versions
    Secret(secret::SecretArgs),
    /// Serve the API until told to stop
    #[command(after_long_help = "\
Example:
  strongroom serve --config /var/lib/strongroom/strongroom.toml")]
    Serve(server::ConfigArgs),
    /// Users of the vault
    User(user::UserArgs),
}

/// Runs the program with the arguments of this process.
///
/// Gives the exit code; everything there is to say has been written.
#[must_use]
pub fn main() -> ExitCode {
    crate::appliance::keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return if error.print().is_ok() { code.into() } else { Exit::Unwritten.into() };
        }
    };
    if matches!(cli.command, Command::HsmWorker) {
        return strongroom_hsm::worker_main();
    }
    let form = if cli.json { Form::Json } else { Form::People };
    let Ok(mut output) = Output::standard(form) else {
        return Exit::Unwritten.into();
    };
    let ended = run(cli.command, &mut output);
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => match error.show(&mut output) {
            Ok(()) => error.exit(),
            Err(_) => Exit::Unwritten,
        },
    };
    exit.into()
}

fn run(command: Command, output: &mut Output) -> Result<Exit, CliError> {
    let done = |result: Result<(), CliError>| result.map(|()| Exit::Done);
    match command {
        Command::Api(command) => done(api::run(&command, output)),
        Command::Audit(command) => journal::run(&command, output),
        Command::Cloud(command) => done(appliance()?.block_on(server::cloud(&command, output))),
        Command::Cmk(args) => done(client()?.block_on(cmk::run(args, output))),
        Command::Doctor(args) => appliance()?.block_on(server::doctor(&args, output)),
        Command::Events(args) => done(client()?.block_on(events::run(&args, output))),
        Command::HsmWorker => Ok(Exit::Done),
        Command::Init(args) => done(appliance()?.block_on(server::init(args, output))),
        Command::Key(args) => done(client()?.block_on(key::run(args, output))),
        Command::Plugin(command) => done(client()?.block_on(plugin::run(&command, output))),
        Command::Policy(args) => done(client()?.block_on(policy::run(args, output))),
        Command::Rotate(args) => client()?.block_on(rotate::run(args, output)),
        Command::Secret(args) => done(client()?.block_on(secret::run(args, output))),
        Command::Serve(args) => done(appliance()?.block_on(server::serve(&args))),
        Command::User(args) => done(client()?.block_on(user::run(args, output))),
    }
}

/// For the appliance: a thread for each processor.
fn appliance() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// For a client: this thread alone.
fn client() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
