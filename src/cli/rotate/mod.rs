//! `strongroom rotate`: campaigns, the rotation of many secrets in waves.

mod answers;
mod show;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use self::answers::{Campaign, Campaigns, Plan};
use super::connection::{Connection, ConnectionArgs, Service};
use super::error::{CliError, Exit};
use super::output::Output;
use super::table::Table;
use crate::model::campaign::{Amount, Window};
use crate::model::{CampaignId, RequestId};

/// How often a campaign that is watched is looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Rotate many secrets in waves.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: RotateCommand,
}

#[derive(Debug, Subcommand)]
enum RotateCommand {
    /// Begin nothing more of a campaign; what is going on goes on to its end
    #[command(after_long_help = "\
Example:
  strongroom rotate cancel 2024-06-web")]
    Cancel(Named),
    /// List the newest campaigns
    #[command(after_long_help = "\
Example:
  strongroom rotate list")]
    List,
    /// Have a campaign begin nothing for now
    #[command(after_long_help = "\
Example:
  strongroom rotate pause 2024-06-web")]
    Pause(Named),
    /// Show what a campaign would rotate, in which waves, and what it would leave out
    ///
    /// Nothing is changed.
    #[command(after_long_help = "\
Examples:
  strongroom rotate plan --prefix acs/ecs/web-
  strongroom rotate plan --tag env=prod --tag tier=web --canary 2 --wave 20%")]
    Plan(Course),
    /// Have a campaign go on that is paused or halted
    ///
    /// After a halt the failures so far are accepted; what has failed is not tried again.
    #[command(after_long_help = "\
Example:
  strongroom rotate resume 2024-06-web")]
    Resume(Named),
    Start(StartArgs),
    Status(StatusArgs),
}

#[derive(Debug, Args)]
struct Named {
    /// Id of the campaign
    #[arg(value_parser = CampaignId::parse)]
    id: CampaignId,
}

/// Which secrets, and how.
#[derive(Debug, Args)]
struct Course {
    /// Secrets whose names begin so
    #[arg(long, value_name = "PREFIX", required_unless_present_any = ["all", "tag"])]
    prefix: Option<String>,
    /// Secrets that carry this tag; given several times, those that carry all
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// All secrets
    #[arg(long, conflicts_with_all = ["prefix", "tag"])]
    all: bool,
    /// Secrets in the first wave, one failure of which halts the campaign; 0 for no such wave
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    canary: u32,
    /// Secrets in each later wave, or a share of all: 50 or 10%
    #[arg(long, value_name = "SIZE", default_value = "10%", value_parser = Amount::parse)]
    wave: Amount,
    /// More failures than that halt the campaign; a share is one of the waves so far: 3 or 5%
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = Amount::parse)]
    max_failures: Amount,
    /// Begin rotations only then: days, times and the offset from UTC, such as "Sat,Sun 01:00-05:00 +08:00"
    #[arg(long, value_name = "WINDOW", value_parser = Window::parse)]
    window: Vec<Window>,
    /// Seconds to wait after each wave
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=604_800))]
    pause: u32,
}

/// Start a campaign, after showing its plan
///
/// The vault goes on by itself whatever becomes of this command. A wave is begun when all of the one
/// before it are over. If what would be rotated changes between the plan and the start, nothing is
/// started.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom rotate start --prefix acs/ecs/web- --watch
  strongroom rotate start --tag env=prod --canary 2 --wave 20% --max-failures 3 --pause 600 \\
    --window 'Sat,Sun 01:00-05:00 +08:00' --yes")]
struct StartArgs {
    #[command(flatten)]
    course: Course,
    /// Id of the campaign, a UUID unless given; repeating it repeats nothing
    #[arg(long, value_name = "ID", value_parser = CampaignId::parse)]
    id: Option<CampaignId>,
    /// Start without asking
    #[arg(long)]
    yes: bool,
    /// Show the progress until the campaign stops
    #[arg(long)]
    watch: bool,
}

/// Show how a campaign stands
///
/// With --watch until it stops: exit code 0 when every secret is rotated, 10 when some are not or
/// the campaign was halted, paused or cancelled.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom rotate status 2024-06-web
  strongroom rotate status 2024-06-web --watch
  strongroom rotate status 2024-06-web --json")]
struct StatusArgs {
    #[command(flatten)]
    named: Named,
    /// Show the progress until the campaign stops
    #[arg(long)]
    watch: bool,
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("a tag is written as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Course {
    fn query(&self) -> Vec<(&'static str, String)> {
        let tags = self.tag.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value }));
        let windows = self.window.iter().map(ToString::to_string);
        let mut query = vec![
            ("NamePrefix", self.prefix.clone().unwrap_or_default()),
            ("Tags", tags.collect::<serde_json::Value>().to_string()),
            ("Canary", self.canary.to_string()),
            ("WaveSize", self.wave.to_string()),
            ("MaxFailures", self.max_failures.to_string()),
            ("Windows", windows.collect::<serde_json::Value>().to_string()),
            ("PauseSeconds", self.pause.to_string()),
        ];
        if self.all {
            query.push(("AllSecrets", true.to_string()));
        }
        query
    }
}

fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Runs one of the commands.
pub(super) async fn run(args: RotateArgs, output: &mut Output) -> Result<Exit, CliError> {
    let connection = Connection::open(&args.connection, Service::Kms)?;
    match args.command {
        RotateCommand::Cancel(named) => order("CancelRotationCampaign", &named, &connection, output).await,
        RotateCommand::List => list(&connection, output).await,
        RotateCommand::Pause(named) => order("PauseRotationCampaign", &named, &connection, output).await,
        RotateCommand::Plan(course) => {
            let query = course.query();
            let answer = connection.call("PlanRotationCampaign", &borrowed(&query), &[]).await?;
            if output.is_json() {
                output.answer(&answer.body)?;
            } else {
                show::plan(&answer.read()?, output)?;
            }
            Ok(Exit::Done)
        }
        RotateCommand::Resume(named) => order("ResumeRotationCampaign", &named, &connection, output).await,
        RotateCommand::Start(args) => start(&args, &connection, output).await,
        RotateCommand::Status(args) if args.watch => watch(&args.named.id, &connection, output).await,
        RotateCommand::Status(args) => {
            let query = [("CampaignId", args.named.id.as_str())];
            let answer = connection.call("DescribeRotationCampaign", &query, &[]).await?;
            if output.is_json() {
                output.answer(&answer.body)?;
            } else {
                show::campaign(&answer.read()?, output)?;
            }
            Ok(Exit::Done)
        }
    }
}

async fn order(
    action: &'static str,
    named: &Named,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let answer = connection.call(action, &[("CampaignId", named.id.as_str())], &[]).await?;
    if output.is_json() {
        output.answer(&answer.body)?;
    } else {
        let campaign: Campaign = answer.read()?;
        output.line(&format!("the campaign {} is {} now", named.id, campaign.state))?;
    }
    Ok(Exit::Done)
}

async fn list(connection: &Connection, output: &mut Output) -> Result<Exit, CliError> {
    let answer = connection.call("ListRotationCampaigns", &[], &[]).await?;
    if output.is_json() {
        output.answer(&answer.body)?;
        return Ok(Exit::Done);
    }
    let listed: Campaigns = answer.read()?;
    let mut table = Table::new(&["ID", "STATE", "WAVE", "SECRETS", "STARTED BY", "STARTED"]);
    for row in listed.campaigns.campaign {
        let wave = format!("{}/{}", row.wave, row.wave_count);
        let count = row.total_count.to_string();
        table.row([&row.campaign_id, &row.state, &wave, &count, &row.started_by, &row.create_time]);
    }
    output.table(&table)?;
    Ok(Exit::Done)
}

async fn start(args: &StartArgs, connection: &Connection, output: &mut Output) -> Result<Exit, CliError> {
    let mut query = args.course.query();
    let planned = connection.call("PlanRotationCampaign", &borrowed(&query), &[]).await?;
    let plan: Plan = planned.read()?;
    if !output.is_json() {
        show::plan(&plan, output)?;
    }
    if !args.yes && !confirmed(&plan, output)? {
        output.note("nothing was started")?;
        return Ok(Exit::Refused);
    }
    let id = match &args.id {
        Some(id) => id.clone(),
        None => new_id()?,
    };
    // The vault does not look at it in a repetition, which it tells by the id.
    query.push(("PlanDigest", plan.plan_digest.clone()));
    query.push(("CampaignId", id.to_string()));
    let answer = connection.call("StartRotationCampaign", &borrowed(&query), &[]).await?;
    if args.watch {
        return watch(&id, connection, output).await;
    }
    if output.is_json() {
        output.answer(&answer.body)?;
    } else {
        output.line(&format!("the campaign {id} has started"))?;
        output.line(&format!("to follow it: strongroom rotate status {id} --watch"))?;
    }
    Ok(Exit::Done)
}

fn new_id() -> Result<CampaignId, CliError> {
    let mut bytes = [0; 16];
    let filled = aws_lc_rs::rand::fill(&mut bytes).ok();
    let no_id = || CliError::Usage("the system has no random numbers: give --id".to_owned());
    filled.ok_or_else(no_id)?;
    CampaignId::parse(RequestId::from_random(bytes).as_str()).ok().ok_or_else(no_id)
}

/// Asks at the terminal; without one nothing is started unasked.
fn confirmed(plan: &Plan, output: &Output) -> Result<bool, CliError> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if output.is_json() || !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(CliError::Usage(
            "nobody can be asked here: look at `rotate plan`, then start with --yes".to_owned(),
        ));
    }
    write!(stderr, "rotate {} secrets? Type yes: ", plan.total_count)?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}

async fn watch(id: &CampaignId, connection: &Connection, output: &mut Output) -> Result<Exit, CliError> {
    let bar = show::bar(output);
    let mut told = String::new();
    loop {
        let query = [("CampaignId", id.as_str())];
        let answer = connection.call("DescribeRotationCampaign", &query, &[]).await?;
        let campaign: Campaign = answer.read()?;
        let stopped = campaign.state != "Running";
        if output.is_json() {
            let line = json!({ "CampaignId": id, "State": campaign.state, "Wave": campaign.wave,
                "Total": campaign.total, "WaitsUntil": campaign.waits_until });
            let text = line.to_string();
            if told != text && !stopped {
                output.json(&line)?;
                told = text;
            }
        }
        show::progress(&bar, &campaign);
        if stopped {
            bar.finish_and_clear();
            if output.is_json() {
                output.answer(&answer.body)?;
            } else {
                show::campaign(&campaign, output)?;
            }
            let whole = campaign.state == "Done" && campaign.total.troubled() == 0;
            return Ok(if whole { Exit::Done } else { Exit::Special(10) });
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}
