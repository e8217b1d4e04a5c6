//! `strongroom secret`: create, read, list, change, rotate and delete secrets.

mod answers;
mod create;
mod ecs_value;
mod get;
mod list;
mod policy;
mod put;
mod remove;
mod rotate;
mod rotations;
mod tag;
mod update;
mod watch;

use clap::{Args, Subcommand};

use super::connection::{Connection, ConnectionArgs, Service};
use super::error::CliError;
use super::output::Output;
use crate::model::{SecretName, VersionId};

/// Secrets and their versions.
#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    Create(create::CreateArgs),
    Delete(remove::DeleteArgs),
    Describe(list::DescribeArgs),
    Get(get::GetArgs),
    List(list::ListArgs),
    Policy(policy::PolicyArgs),
    Put(put::PutArgs),
    RandomPassword(put::RandomPasswordArgs),
    Restore(remove::RestoreArgs),
    Rotate(rotate::RotateArgs),
    RotationPolicy(rotate::PolicyArgs),
    Rotations(rotations::RotationsArgs),
    Stage(update::StageArgs),
    Update(update::UpdateArgs),
    Tag(tag::TagArgs),
    Untag(tag::UntagArgs),
    Versions(list::VersionsArgs),
}

/// Which secret.
#[derive(Debug, Args)]
struct Named {
    /// Name of the secret
    #[arg(value_parser = SecretName::parse)]
    name: SecretName,
}

/// Runs one of the commands.
pub(super) async fn run(args: SecretArgs, output: &mut Output) -> Result<(), CliError> {
    // A command that works on the machine of the vault needs none.
    let connection = || Connection::open(&args.connection, Service::Kms);
    match args.command {
        SecretCommand::Create(args) => create::run(&args, &connection()?, output).await,
        SecretCommand::Delete(args) => remove::delete(&args, &connection()?, output).await,
        SecretCommand::Describe(args) => list::describe(&args, &connection()?, output).await,
        SecretCommand::Get(args) => get::run(&args, &connection()?, output).await,
        SecretCommand::List(args) => list::secrets(&args, &connection()?, output).await,
        SecretCommand::Policy(command) => policy::run(&command, &args.connection, output).await,
        SecretCommand::Put(args) => put::run(&args, &connection()?, output).await,
        SecretCommand::RandomPassword(args) => put::random_password(&args, &connection()?, output).await,
        SecretCommand::Restore(args) => remove::restore(&args, &connection()?, output).await,
        SecretCommand::Rotate(args) => rotate::run(&args, &connection()?, output).await,
        SecretCommand::RotationPolicy(args) => rotate::policy(&args, &connection()?, output).await,
        SecretCommand::Rotations(args) => rotations::run(&args, &connection()?, output).await,
        SecretCommand::Stage(args) => update::move_stage(&args, &connection()?, output).await,
        SecretCommand::Tag(args) => tag::tag(&args, &connection()?, output).await,
        SecretCommand::Untag(args) => tag::untag(&args, &connection()?, output).await,
        SecretCommand::Update(args) => update::run(&args, &connection()?, output).await,
        SecretCommand::Versions(args) => list::versions(&args, &connection()?, output).await,
    }
}

/// The id that was given, or a new one (kms-secrets.md section 6.6).
fn version_or_new(given: Option<&VersionId>) -> Result<VersionId, CliError> {
    use aws_lc_rs::rand::{SecureRandom, SystemRandom};

    if let Some(given) = given {
        return Ok(given.clone());
    }
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_says_nothing| {
        CliError::Usage("there is no randomness for a version id: give --version-id".to_owned())
    })?;
    Ok(VersionId::from_random(random))
}
