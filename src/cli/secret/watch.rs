//! `strongroom secret rotate --wait`: a rotation's steps as they happen, and
//! what is in force at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::answers::Described;
use super::rotations::{self, Happening, Rotation, RotationPage};
use crate::appliance::SystemClock;
use crate::cli::connection::Connection;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::model::{Clock, SecretName, VersionId};

/// The pause between two questions grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the removal of the former key is waited for, once the new one is in force.
const REMOVAL: Duration = Duration::from_secs(5);
/// Among so many of the newest rotations the one is looked for.
const NEWEST: &str = "10";

/// Whom to follow, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) name: &'a SecretName,
    pub(super) version: &'a VersionId,
    pub(super) timeout_seconds: u64,
}

/// Follows the rotation until it is over, the time is up, or somebody presses
/// Ctrl-C, which ends nothing but the watching.
///
/// # Errors
///
/// [`CliError::RotationFailed`], [`CliError::RotationGoesOn`],
/// [`CliError::WatchStopped`], or what a question failed with.
pub(super) async fn follow(
    watched: Watched<'_>,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let bar = spinner(watched.name, output);
    let ended = tokio::select! {
        ended = until_over(watched, &bar, connection, output) => Some(ended),
        Ok(()) = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    let Some(ended) = ended else {
        return Err(CliError::WatchStopped {
            secret: watched.name.to_string(),
            version: watched.version.to_string(),
        });
    };
    let page = ended?;
    let secret = described(watched.name, connection).await;
    conclude(watched, &page, secret.as_ref(), output)
}

fn spinner(name: &SecretName, output: &Output) -> ProgressBar {
    if !output.may_draw() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(format!("rotating {name}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The schedule, which is worth showing but not worth failing for: the caller
/// may rotate and not describe.
pub(super) async fn described(name: &SecretName, connection: &Connection) -> Option<Described> {
    connection.call("DescribeSecret", &[("SecretName", name.as_str())], &[]).await.ok()?.into().ok()
}

impl Watched<'_> {
    /// The newest rotation to the version. An earlier one may have failed.
    fn rotation<'a>(&self, page: &'a RotationPage) -> Option<&'a Rotation> {
        page.rotations.iter().find(|rotation| rotation.version_id == self.version.as_str())
    }
}

async fn until_over(
    watched: Watched<'_>,
    bar: &ProgressBar,
    connection: &Connection,
    output: &mut Output,
) -> Result<RotationPage, CliError> {
    let deadline = Instant::now() + Duration::from_secs(watched.timeout_seconds);
    let mut pause = Duration::from_millis(200);
    let mut told = Told::default();
    let mut in_force_since: Option<Instant> = None;
    let mut last: Option<Rotation> = None;
    loop {
        match rotations::newest(watched.name, NEWEST, connection).await {
            Ok(page) => {
                let Some(rotation) = watched.rotation(&page) else { return Ok(page) };
                if told.tell(rotation, bar, output)? {
                    pause = Duration::from_millis(200);
                }
                match rotation.state.as_str() {
                    "Done" | "Failed" => return Ok(page),
                    "Committed" | "Finalizing" => {
                        let since = *in_force_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > REMOVAL || Instant::now() + pause > deadline {
                            return Ok(page);
                        }
                    }
                    _ => {}
                }
                last = Some(rotation.clone());
            }
            // The vault may be restarting; it takes the rotation up again.
            Err(error) if error.exit() == Exit::Unreachable => told.unreachable(bar, output)?,
            Err(error) => return Err(error),
        }
        if Instant::now() + pause > deadline {
            return Err(CliError::RotationGoesOn {
                secret: watched.name.to_string(),
                version: watched.version.to_string(),
                seconds: watched.timeout_seconds,
                trouble: last.and_then(|rotation| rotation.troubles.last().cloned().map(Box::new)),
            });
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// What has been shown already.
#[derive(Debug, Default)]
struct Told {
    happenings: Vec<Happening>,
    is_unreachable: bool,
}

impl Told {
    /// Shows what is new; says whether anything was.
    fn tell(
        &mut self,
        rotation: &Rotation,
        bar: &ProgressBar,
        output: &mut Output,
    ) -> Result<bool, CliError> {
        self.is_unreachable = false;
        let mut state = "";
        let mut any = false;
        let all = rotation.happenings();
        for happening in &all {
            if let Happening::Entered(step) = happening {
                state = &step.state;
            }
            if self.happenings.contains(happening) {
                continue;
            }
            any = true;
            if output.is_json() {
                output.json(&as_json(happening, state))?;
            } else {
                bar.suspend(|| output.note(&rotations::lines(happening)))?;
            }
            self.happenings.push(happening.clone());
        }
        bar.set_message(rotations::meaning(&rotation.state));
        Ok(any)
    }

    fn unreachable(&mut self, bar: &ProgressBar, output: &mut Output) -> Result<(), CliError> {
        if std::mem::replace(&mut self.is_unreachable, true) {
            return Ok(());
        }
        let text = "the vault does not answer; when it does, it goes on where it stopped";
        if output.is_json() {
            let time = SystemClock.now().to_string();
            output.json(&json!({ "Step": "ask", "State": "Unreachable", "Time": time, "Message": text }))?;
        } else {
            bar.suspend(|| output.note(text))?;
            bar.set_message(text);
        }
        Ok(())
    }
}

/// The step to which a state belongs, in the words of troubles.
fn step_of(state: &str) -> &'static str {
    match state {
        "Staged" => "preflight",
        "Sending" | "Sent" => "apply",
        "Unknown" | "Stuck" => "status",
        "Applied" | "Verified" => "verify",
        "Committed" => "commit",
        "Finalizing" => "finalize",
        "Fencing" => "fence",
        _ => "end",
    }
}

fn as_json(happening: &Happening, state: &str) -> serde_json::Value {
    match happening {
        Happening::Entered(step) => {
            json!({ "Step": step_of(&step.state), "State": step.state, "Time": step.time })
        }
        Happening::Trouble(trouble) => json!({
            "Step": trouble.step, "State": state, "Time": trouble.time,
            "Code": trouble.code, "Message": trouble.message, "Advice": trouble.advice,
        }),
    }
}

/// Says what is in force.
fn conclude(
    watched: Watched<'_>,
    page: &RotationPage,
    secret: Option<&Described>,
    output: &mut Output,
) -> Result<(), CliError> {
    let (name, version) = (watched.name, watched.version);
    let current = page.current_version_id.as_deref().unwrap_or("none");
    let rotation = watched.rotation(page);
    let failed = rotation.is_some_and(|rotation| rotation.state == "Failed");
    if output.is_json() {
        output.json(&json!({
            "Step": "end", "State": rotation.map(|rotation| &rotation.state),
            "Time": rotation.and_then(|rotation| rotation.ended_time.as_ref()),
            "SecretName": name.as_str(), "VersionId": version.as_str(), "CurrentVersionId": current,
            "AutomaticRotation": secret.and_then(|secret| secret.rotation.automatic_rotation.as_deref()),
            "NextRotationDate": secret.and_then(|secret| secret.rotation.next_rotation_date.as_deref()),
        }))?;
    } else {
        output.line(&match rotation {
            None if current == version.as_str() => {
                format!("{name}: version {version} is in force, and was so before: nothing was rotated")
            }
            None => format!(
                "{name}: version {version} was there before, so nothing was rotated; version {current} is in force"
            ),
            Some(_) if failed => format!("{name}: version {current} is still in force"),
            Some(_) if current == version.as_str() => format!("{name}: version {version} is in force"),
            Some(_) => format!(
                "{name}: version {version} came into force and was replaced since by {current}, which is in force"
            ),
        })?;
        if let Some(rotation) = rotation.filter(|_| !failed) {
            for warning in &rotation.warnings {
                output.line(&format!("note: {}: {}", warning.code, warning.message))?;
            }
            if rotation.state != "Done" {
                output.line(&format!(
                    "the former credential is still being removed from the instance: strongroom secret rotations {name}"
                ))?;
            }
        }
        if let Some(words) = secret.and_then(|secret| secret.rotation.in_words()) {
            output.line(&format!("rotation is {words}"))?;
        }
    }
    if failed {
        return Err(CliError::RotationFailed {
            secret: name.to_string(),
            version: version.to_string(),
            trouble: rotation.and_then(|rotation| rotation.troubles.last().cloned().map(Box::new)),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Form, captured};

    fn page(current: &str, rotations: serde_json::Value) -> RotationPage {
        serde_json::from_value(json!({ "CurrentVersionId": current, "Rotations": rotations })).unwrap()
    }

    fn failed() -> serde_json::Value {
        json!([{
            "VersionId": "v2", "State": "Failed",
            "Steps": [{"State": "Sent", "Time": "2024-05-06T07:08:09Z"}, {"State": "Failed", "Time": "2024-05-06T07:08:10Z"}],
            "Troubles": [{"Step": "apply", "Code": "user_missing", "Message": "no such user",
                "Time": "2024-05-06T07:08:10Z", "Advice": "Create the user."}],
        }])
    }

    #[test]
    fn the_end_says_what_is_in_force_and_with_which_code() {
        let name = SecretName::parse("acs/ecs/a").unwrap();
        let version = VersionId::parse("v2").unwrap();
        let watched = Watched { name: &name, version: &version, timeout_seconds: 1 };
        let of = |state: &str| json!([{ "VersionId": "v2", "State": state }]);
        for (page, words, code) in [
            (page("v2", of("Done")), "version v2 is in force", 0),
            (page("v2", of("Finalizing")), "still being removed", 0),
            (page("v3", of("Done")), "replaced since by v3", 0),
            (page("v2", json!([])), "was so before", 0),
            (page("v3", json!([])), "version v3 is in force", 0),
            (page("v1", failed()), "version v1 is still in force", 10),
        ] {
            let (mut output, stdout, _) = captured::output(Form::People, false);
            let ended = conclude(watched, &page, None, &mut output);
            assert_eq!(ended.map_or_else(|error| error.exit().code(), |()| 0), code);
            assert!(stdout.text().contains(words), "{}", stdout.text());

            let (mut output, stdout, _) = captured::output(Form::Json, false);
            assert_eq!(conclude(watched, &page, None, &mut output).is_ok(), code == 0);
            let line: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
            assert_eq!(
                (&line["Step"], &line["CurrentVersionId"]),
                (&json!("end"), &json!(page.current_version_id))
            );
        }
    }

    #[test]
    fn a_failure_shows_step_code_text_and_what_to_do() {
        let name = SecretName::parse("acs/ecs/a").unwrap();
        let version = VersionId::parse("v2").unwrap();
        let watched = Watched { name: &name, version: &version, timeout_seconds: 1 };
        for form in [Form::People, Form::Json] {
            let (mut output, _, stderr) = captured::output(form, false);
            let error = conclude(watched, &page("v1", failed()), None, &mut output).unwrap_err();
            error.show(&mut output).unwrap();
            for part in ["apply", "user_missing", "no such user", "Create the user."] {
                assert!(stderr.text().contains(part), "{part} in {}", stderr.text());
            }
        }
    }

    #[test]
    fn each_step_is_told_once_and_in_order() {
        let page = page("v1", failed());
        let rotation = &page.rotations[0];
        let (mut output, stdout, _) = captured::output(Form::Json, false);
        let (mut told, bar) = (Told::default(), ProgressBar::hidden());
        assert!(told.tell(rotation, &bar, &mut output).unwrap());
        assert!(!told.tell(rotation, &bar, &mut output).unwrap());
        let text = stdout.text();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let states: Vec<_> = lines
            .iter()
            .map(|line| (line["Step"].as_str().unwrap(), line["State"].as_str().unwrap()))
            .collect();
        assert_eq!(states, [("apply", "Sent"), ("apply", "Sent"), ("end", "Failed")]);
        assert_eq!(
            (&lines[1]["Code"], &lines[1]["Advice"]),
            (&json!("user_missing"), &json!("Create the user."))
        );
    }
}
