//! `strongroom events`: what became of rotations.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::connection::{Connection, ConnectionArgs, Service};
use super::error::CliError;
use super::output::Output;
use super::table::Table;
use crate::appliance::SystemClock;
use crate::model::{Clock, EventName, SecretName, Timestamp};

const ACTION: &str = "ListRotationEvents";
/// How often is asked for new events.
const LOOK: Duration = Duration::from_secs(2);
/// How far back behind the newest event is asked while following: what was
/// committed late is found.
const OVERLAP_SECONDS: i64 = 120;

/// Show what became of rotations
///
/// Successes, failures with their code and what to do, dates that were missed, and old keys that
/// could not be removed yet.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom events --failures --since 24h
  strongroom events --secret acs/ecs/web --json
  strongroom events --follow --json | while read -r event; do ...; done

With --json each line is one event as receivers get it (docs/monitoring.md). Events are kept as the
settings keep_days and keep_count of [events] say.")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Only of this secret
    #[arg(long, value_name = "NAME", value_parser = SecretName::parse)]
    secret: Option<SecretName>,
    /// Only what needs somebody to look: no successes
    #[arg(long)]
    failures: bool,
    /// Only of the last time, such as 30m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<i64>,
    /// Go on, and show events as they happen, until interrupted
    #[arg(long)]
    follow: bool,
}

/// A length of time in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let rule = || "a number with s, m, h or d, such as 24h".to_owned();
    let mut letters = text.chars();
    let unit = match letters.next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(rule()),
    };
    let digits = letters.as_str();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(rule());
    }
    let number: i64 = digits.parse().ok().ok_or_else(rule)?;
    Ok(number.saturating_mul(unit))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    next_token: String,
    events: Rows,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rows {
    event: Vec<Value>,
}

fn member<'a>(event: &'a Value, path: &str) -> &'a str {
    event.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// The events, oldest first.
async fn fetch(
    args: &EventsArgs,
    from: Option<Timestamp>,
    connection: &Connection,
) -> Result<Vec<Value>, CliError> {
    let mut rows = Vec::new();
    let mut token = String::new();
    let from = from.map(|moment| moment.to_string());
    loop {
        let mut query = vec![("MaxResults", "100")];
        if let Some(secret) = &args.secret {
            query.push(("SecretName", secret.as_str()));
        }
        if let Some(from) = &from {
            query.push(("StartTime", from));
        }
        if !token.is_empty() {
            query.push(("NextToken", &token));
        }
        let page: Page = connection.call(ACTION, &query, &[]).await?.into()?;
        rows.extend(page.events.event);
        if page.next_token.is_empty() || page.next_token == token {
            break;
        }
        token = page.next_token;
    }
    rows.reverse();
    Ok(rows)
}

/// Whether it is one of those that are to be shown.
fn is_wanted(args: &EventsArgs, event: &Value) -> bool {
    !args.failures || EventName::parse(member(event, "/name")).is_none_or(EventName::is_trouble)
}

fn time(event: &Value) -> String {
    [member(event, "/content/successTime"), member(event, "/content/failureTime")].concat()
}

/// What has been seen, and from when on is asked for more: however long the
/// vault could not be reached, nothing is left out.
#[derive(Debug)]
struct Follow {
    from: Option<Timestamp>,
    seen: HashSet<String>,
}

impl Follow {
    /// Those of `rows` that were not there before.
    fn fresh(&mut self, rows: Vec<Value>) -> Vec<Value> {
        let id = |event: &Value| member(event, "/content/eventId").to_owned();
        let newest = rows.iter().filter_map(|event| Timestamp::parse(&time(event))).max();
        // What lies further back is not asked for again.
        let ids = rows.iter().map(id).collect();
        let fresh = rows.into_iter().filter(|event| !self.seen.contains(&id(event))).collect();
        self.from = self.from.max(newest.map(|newest| newest.plus_seconds(-OVERLAP_SECONDS)));
        self.seen = ids;
        fresh
    }
}

fn show(rows: &[Value], heading: bool, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        for row in rows {
            output.json(row)?;
        }
        return Ok(());
    }
    if !heading {
        for row in rows {
            output.line(&cells(row).join("  "))?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["TIME", "SECRET", "EVENT", "CODE", "MESSAGE"]);
    for row in rows {
        let [time, secret, event, code, message] = cells(row);
        table.row([&time, &secret, &event, &code, &message]);
    }
    Ok(output.table(&table)?)
}

fn cells(row: &Value) -> [String; 5] {
    let name = member(row, "/name");
    let event = name.rsplit(':').next().unwrap_or(name);
    [
        time(row),
        member(row, "/content/secretName").to_owned(),
        event.to_owned(),
        member(row, "/content/failureInfo/errorCode").to_owned(),
        member(row, "/content/failureInfo/errorMessage").to_owned(),
    ]
}

/// Runs the command.
pub(super) async fn run(args: &EventsArgs, output: &mut Output) -> Result<(), CliError> {
    let connection = Connection::open(&args.connection, Service::Kms)?;
    let start = SystemClock.now();
    let from = args.since.map(|seconds| start.plus_seconds(-seconds));
    let mut follow = Follow { from, seen: HashSet::new() };
    let mut rows = follow.fresh(fetch(args, from, &connection).await?);
    rows.retain(|event| is_wanted(args, event));
    if rows.is_empty() && !args.follow && !output.is_json() {
        return Ok(output.note("there are no such events")?);
    }
    show(&rows, !args.follow, output)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let rows = match fetch(args, follow.from, &connection).await {
            Ok(rows) => rows,
            // The vault may be restarting.
            Err(error) if error.exit() == super::error::Exit::Unreachable => continue,
            Err(error) => return Err(error),
        };
        let mut fresh = follow.fresh(rows);
        fresh.retain(|event| is_wanted(args, event));
        show(&fresh, false, output)?;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::{Form, captured};

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        for bad in ["", "24", "h", "-1h", "1.5h", "1w"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn following_goes_on_from_the_newest_event_and_shows_each_once() {
        let event = |id: &str, time: &str| json!({"content": {"eventId": id, "successTime": time}});
        let (a, b, c) = (
            event("a", "2024-05-06T07:00:00Z"),
            event("b", "2024-05-06T07:05:00Z"),
            event("c", "2024-05-06T07:04:30Z"),
        );
        let mut follow = Follow { from: None, seen: HashSet::new() };
        assert!(follow.fresh(Vec::new()).is_empty());
        assert_eq!(follow.from, None);
        assert_eq!(follow.fresh(vec![a.clone(), b.clone()]), [a, b.clone()]);
        assert_eq!(follow.from, Timestamp::parse("2024-05-06T07:03:00Z"));
        // Nothing for hours, then one that was committed late.
        assert!(follow.fresh(vec![b.clone()]).is_empty());
        assert_eq!(follow.fresh(vec![c.clone(), b.clone()]), [c]);
        assert_eq!(follow.from, Timestamp::parse("2024-05-06T07:03:00Z"));
    }

    #[test]
    fn a_table_says_when_what_and_why() {
        let rows = [json!({"name": "Secret:RotateSecret:Failure", "content": {
            "secretName": "acs/ecs/a", "failureTime": "2024-05-06T07:08:09Z",
            "failureInfo": {"errorCode": "Kms:user_expired", "errorMessage": "extend it"}}})];
        let (mut output, stdout, _) = captured::output(Form::People, true);
        show(&rows, true, &mut output).unwrap();
        assert_eq!(
            stdout.text(),
            "TIME                  SECRET     EVENT    CODE              MESSAGE\n\
             2024-05-06T07:08:09Z  acs/ecs/a  Failure  Kms:user_expired  extend it\n"
        );
    }
}
