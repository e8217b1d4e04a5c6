//! `strongroom api`: what the API is.

use clap::Subcommand;

use super::error::CliError;
use super::output::Output;
use crate::api::describe;

/// Forms in which the API is described.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum ApiCommand {
    /// As an OpenAPI 3.1 document, which the appliance serves at /openapi.json, too
    #[command(after_long_help = "\
Example:
  strongroom api openapi > openapi.json")]
    Openapi,
    /// As a page in Markdown: docs/api.md
    #[command(after_long_help = "\
Example:
  strongroom api reference > docs/api.md")]
    Reference,
}

pub(super) fn run(command: &ApiCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        ApiCommand::Openapi => output.json(&describe::openapi())?,
        ApiCommand::Reference => output.line(describe::reference().trim_end())?,
    }
    Ok(())
}
