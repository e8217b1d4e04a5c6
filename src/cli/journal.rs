//! `strongroom audit`: checking and watching the audit journal, offline.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::error::{CliError, Exit};
use super::output::Output;
use crate::audit::{Hash, Head, Line, Outcome, Report, Tail, VerifyOptions, verify};

/// How often a journal is looked at for new records.
const INTERVAL: Duration = Duration::from_millis(250);

/// The audit journal.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Show the last records of the journal in a folder, and those to come
    #[command(after_long_help = "\
Examples:
  strongroom audit tail /var/lib/strongroom/audit -n 50
  strongroom audit tail /var/lib/strongroom/audit --follow --secret acs/ecs/web-01
  strongroom audit tail /var/lib/strongroom/audit --action GetSecretValue --user alice --json")]
    Tail(TailArgs),
    /// Check that the journal in a folder is as it was written
    ///
    /// Needs nothing but the files. Exit code 0: intact. 1: broken, with the place. 2: incomplete,
    /// whole segments are missing. 3: it cannot be checked.
    #[command(after_long_help = "\
Examples:
  strongroom audit verify /var/lib/strongroom/audit
  Against a head that was kept elsewhere, so that a cut-off end is noticed:
    strongroom audit verify /var/lib/strongroom/audit --anchor 1042:9f86d081…")]
    Verify {
        /// Folder of the journal
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// A record that must still be there, as an earlier check printed it
        #[arg(long, value_name = "SEQ:HASH", value_parser = anchor)]
        anchor: Option<Head>,
    },
}

/// What to show.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Folder of the journal
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How many records to begin with
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on with the records to come
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Which records to show; all that is given must fit.
#[derive(Debug, Default, Args)]
struct Filter {
    /// Only records of this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only records of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only records about this secret
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
}

fn anchor(text: &str) -> Result<Head, String> {
    let read = || {
        let (seq, hash) = text.split_once(':')?;
        Some(Head { seq: seq.parse().ok()?, hash: Hash::parse(hash)? })
    };
    read().ok_or_else(|| "an anchor is a number, a colon and 64 hexadecimal digits".to_owned())
}

/// Runs one of the commands. Blocks while it waits for records.
pub(super) fn run(command: &AuditCommand, output: &mut Output) -> Result<Exit, CliError> {
    match command {
        AuditCommand::Tail(args) => tail(args, output).map(|()| Exit::Done),
        AuditCommand::Verify { directory, anchor } => {
            let options = VerifyOptions { anchor: *anchor, ..VerifyOptions::default() };
            verdict(directory, &verify(directory, &options), output)
        }
    }
}

impl Filter {
    fn is_used(&self) -> bool {
        self.action.is_some() || self.user.is_some() || self.secret.is_some()
    }

    fn fits(&self, event: &Value) -> bool {
        let is = |wanted: &Option<String>, found: &[Option<&str>]| {
            wanted.as_deref().is_none_or(|wanted| found.contains(&Some(wanted)))
        };
        is(&self.action, &[text(event, "/eventName")])
            && is(&self.user, &[text(event, "/userIdentity/userName")])
            && is(&self.secret, &secrets(event))
    }
}

fn text<'a>(event: &'a Value, path: &str) -> Option<&'a str> {
    event.pointer(path)?.as_str()
}

/// The secrets that an event names.
fn secrets(event: &Value) -> Vec<Option<&str>> {
    let referenced = event.pointer("/referencedResources/ACS::KMS::Secret").and_then(Value::as_array);
    let referenced = referenced.into_iter().flatten().map(Value::as_str);
    referenced.chain([text(event, "/requestParameters/SecretName")]).collect()
}

fn tail(args: &TailArgs, output: &mut Output) -> Result<(), CliError> {
    let begin = if args.filter.is_used() { usize::MAX } else { args.lines };
    let mut tail = Tail::open(&args.directory, begin)?;
    let mut last = VecDeque::new();
    while let Some(line) = tail.read()? {
        let event = line.event()?;
        if args.filter.fits(&event) {
            last.push_back((line, event));
        }
        if last.len() > args.lines {
            last.pop_front();
        }
    }
    for (line, event) in last {
        show(&line, &event, output)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        let line = tail.wait(INTERVAL)?;
        let event = line.event()?;
        if args.filter.fits(&event) {
            show(&line, &event, output)?;
        }
    }
}

fn show(line: &Line, event: &Value, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        // A record is one line of JSON already, and its hash is over these bytes.
        return Ok(output.line(&String::from_utf8_lossy(line.as_bytes()))?);
    }
    Ok(output.line(&in_words(line.seq, event))?)
}

/// One record in one line: number, time, user, action, what on, what came of it.
fn in_words(seq: u64, event: &Value) -> String {
    let part = |path| text(event, path).unwrap_or("-").replace('\n', " ");
    let on = event
        .pointer("/referencedResources")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|kinds| kinds.values().filter_map(Value::as_array).flatten())
        .find_map(Value::as_str)
        .or_else(|| text(event, "/requestParameters/SecretName"))
        .or_else(|| text(event, "/requestParameters/UserName"))
        .unwrap_or("-");
    // Of a change that begins, nothing is known yet but that it was allowed.
    let outcome = match (text(event, "/errorCode"), text(event, "/additionalEventData/phase")) {
        (Some(code), _) => code,
        (None, Some("started")) => "begun",
        (None, _) => "ok",
    };
    let mut words = format!(
        "{seq:>7}  {}  {:<12} {:<26} {on}  {outcome}",
        part("/eventTime"),
        text(event, "/userIdentity/userName").or_else(|| text(event, "/userIdentity/type")).unwrap_or("-"),
        part("/eventName"),
    );
    for (label, path) in [
        ("version", "/additionalEventData/secretVersionId"),
        ("phase", "/additionalEventData/rotation/phase"),
        ("from", "/sourceIpAddress"),
    ] {
        if let Some(value) = text(event, path) {
            words.push_str(&format!("  {label} {value}"));
        }
    }
    words.replace('\n', " ")
}

fn verdict(directory: &Path, report: &Report, output: &mut Output) -> Result<Exit, CliError> {
    let exit = Exit::Special(report.outcome.exit_code());
    if output.is_json() {
        output.json(report)?;
        return Ok(exit);
    }
    let directory = directory.display();
    output.line(&match &report.outcome {
        Outcome::Intact => format!("intact: {directory}"),
        Outcome::Broken { segment, offset, seq, why } => {
            format!("BROKEN: record {seq} in {segment} at byte {offset}: {why}")
        }
        Outcome::Incomplete => format!("INCOMPLETE: segments of {directory} are missing"),
        Outcome::CannotCheck { why } => format!("cannot check {directory}: {why}"),
    })?;
    for missing in &report.missing {
        output.line(&format!("  missing: records {} to {}", missing.from, missing.to))?;
    }
    output.line(&format!("  records {} in {} segments", report.records, report.segments))?;
    if report.open_intents > 0 {
        output.line(&format!("  {} rotations begun without an outcome on record", report.open_intents))?;
    }
    if report.clock_steps > 0 {
        output.line(&format!("  the clock stepped back {} times", report.clock_steps))?;
    }
    if let (Some(seq), Some(hash)) = (report.last_seq, &report.last_hash) {
        output.line(&format!("  last record, to keep elsewhere: --anchor {seq}:{hash}"))?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit;
    use crate::cli::output::{Form, captured};

    fn event() -> Value {
        json!({
            "eventName": "GetSecretValue", "eventTime": "2026-03-01T08:15:30Z", "sourceIpAddress": "10.1.4.27",
            "userIdentity": {"userName": "alice"}, "requestParameters": {"SecretName": "acs/ecs/a"},
            "referencedResources": {"ACS::KMS::Secret": ["acs/ecs/a"]},
            "additionalEventData": {"secretVersionId": "v1"},
        })
    }

    #[test]
    fn every_filter_that_is_given_must_fit() {
        let some = |text: &str| Some(text.to_owned());
        for (action, user, secret, fits) in [
            (None, None, None, true),
            (some("GetSecretValue"), some("alice"), some("acs/ecs/a"), true),
            (some("GetSecretValue"), some("bob"), None, false),
            (some("PutSecretValue"), None, None, false),
            (None, None, some("acs/ecs/b"), false),
        ] {
            assert_eq!(Filter { action, user, secret }.fits(&event()), fits);
        }
        let unnamed = Filter { user: some("alice"), ..Filter::default() };
        assert!(!unnamed.fits(&json!({"eventName": "X"})));
    }

    #[test]
    fn a_record_is_one_line_that_says_who_did_what_to_what() {
        let words = in_words(7, &event());
        for part in [
            "7",
            "2026-03-01T08:15:30Z",
            "alice",
            "GetSecretValue",
            "acs/ecs/a",
            "ok",
            "version v1",
            "from 10.1.4.27",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        let mut refused = event();
        refused["errorCode"] = json!("Forbidden.NoPermission");
        refused["userIdentity"]["userName"] = json!("a\nb");
        let words = in_words(8, &refused);
        assert!(!words.contains("  ok"), "{words}");
        let begun = json!({"eventName": "PutSecretValue", "additionalEventData": {"phase": "started"}});
        assert!(in_words(9, &begun).contains("begun"));
        assert!(words.contains("Forbidden.NoPermission") && !words.contains('\n'), "{words}");
    }

    #[test]
    fn an_anchor_is_read_as_it_is_printed() {
        let hash = "9f".repeat(32);
        assert_eq!(anchor(&format!("7:{hash}")).unwrap().seq, 7);
        for bad in ["", "7", &format!("x:{hash}"), "7:9f", &format!("7:{hash}0")] {
            assert!(anchor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_verdict_sets_the_exit_code_of_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("audit");
        audit::create(&journal, "strongroom/test").unwrap();
        for (directory, code, word) in
            [(journal, 0, "intact"), (folder.path().join("none"), 3, "cannot check")]
        {
            let (mut output, stdout, _) = captured::output(Form::People, false);
            let command = AuditCommand::Verify { directory: directory.clone(), anchor: None };
            assert_eq!(run(&command, &mut output).unwrap().code(), code);
            assert!(stdout.text().starts_with(word), "{}", stdout.text());
            let (mut output, stdout, _) = captured::output(Form::Json, false);
            assert_eq!(run(&command, &mut output).unwrap().code(), code);
            assert!(serde_json::from_str::<Value>(&stdout.text()).is_ok());
        }
    }
}
