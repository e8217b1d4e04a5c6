//! Plans and campaigns for people to read.

use indicatif::{ProgressBar, ProgressStyle};

use super::answers::{Campaign, Plan};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::table::Table;

/// What a reason to leave a secret out means.
fn in_words(reason: &str) -> &str {
    match reason {
        "InDeletion" => "scheduled for deletion",
        "InProgress" => "being rotated already",
        "InCampaign" => "part of another campaign",
        "NotManaged" => "no ECS secret",
        "NotPermitted" => "you may not rotate it",
        other => other,
    }
}

/// The plan: every secret with its wave, then what is left out and why.
pub(super) fn plan(plan: &Plan, output: &mut Output) -> Result<(), CliError> {
    if !plan.members.is_empty() {
        let mut table = Table::new(&["WAVE", "SECRET", "INSTANCE"]);
        for member in &plan.members {
            table.row([&member.wave.to_string(), &member.secret_name, &member.instance_id]);
        }
        output.table(&table)?;
    }
    for one in &plan.left_out {
        output.line(&format!("left out: {}, {}", one.secret_name, in_words(&one.reason)))?;
    }
    let sizes: Vec<String> = plan.waves.iter().map(ToString::to_string).collect();
    let waves = match sizes.len() {
        0 => "no wave".to_owned(),
        1 => "one wave".to_owned(),
        count if count <= 12 => format!("{count} waves of {}", sizes.join(", ")),
        count => {
            let first = sizes.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            format!("{count} waves of {first}, …")
        }
    };
    let (total, left) = (plan.total_count, plan.left_out.len());
    Ok(output.line(&format!("{total} secrets to rotate in {waves}; {left} left out"))?)
}

/// How a campaign stands, wave by wave, and what has gone wrong in it.
pub(super) fn campaign(campaign: &Campaign, output: &mut Output) -> Result<(), CliError> {
    let (id, state) = (&campaign.campaign_id, &campaign.state);
    output.line(&format!(
        "campaign {id} is {state}, started by {} at {}",
        campaign.started_by, campaign.create_time
    ))?;
    if let Some(until) = &campaign.waits_until {
        output.line(&format!("it waits until {until}"))?;
    }
    let mut table =
        Table::new(&["WAVE", "SECRETS", "WAITING", "GOING ON", "STUCK", "ROTATED", "FAILED", "SKIPPED"]);
    let rows = (1_u64..).zip(&campaign.waves).map(|(number, counts)| (number.to_string(), counts));
    for (name, counts) in rows.chain([("all".to_owned(), &campaign.total)]) {
        let numbers = [
            counts.size,
            counts.waiting,
            counts.begun,
            counts.stuck,
            counts.done,
            counts.failed,
            counts.skipped,
        ];
        let [size, waiting, begun, stuck, done, failed, skipped] = numbers.map(|number| number.to_string());
        table.row([&name, &size, &waiting, &begun, &stuck, &done, &failed, &skipped]);
    }
    output.table(&table)?;
    for trouble in &campaign.troubles {
        output.line(&format!(
            "{} (wave {}): {}, {}: {}",
            trouble.secret_name, trouble.wave, trouble.state, trouble.code, trouble.message
        ))?;
    }
    let shown = u64::try_from(campaign.troubles.len()).unwrap_or(u64::MAX);
    if campaign.trouble_count > shown {
        output.line(&format!("… and {} more", campaign.trouble_count - shown))?;
    }
    match state.as_str() {
        "Halted" => output.line(&format!(
            "too many have failed: see to the causes, then go on with `strongroom rotate resume {id}`, or end it with `strongroom rotate cancel {id}`"
        ))?,
        "Paused" => output.line(&format!("to go on: strongroom rotate resume {id}"))?,
        _ => {}
    }
    Ok(())
}

/// A bar for a terminal; hidden elsewhere.
pub(super) fn bar(output: &Output) -> ProgressBar {
    if !output.may_draw() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Moves the bar to where a campaign stands.
pub(super) fn progress(bar: &ProgressBar, campaign: &Campaign) {
    bar.set_length(campaign.total.size);
    bar.set_position(campaign.total.over());
    let mut message =
        format!("wave {} of {}, {} going on", campaign.wave, campaign.waves.len(), campaign.total.begun);
    if campaign.total.troubled() > 0 {
        message.push_str(&format!(", {} failed or stuck", campaign.total.troubled()));
    }
    if let Some(until) = &campaign.waits_until {
        message.push_str(&format!(", waits until {until}"));
    }
    bar.set_message(message);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::{Form, captured};

    #[test]
    fn a_plan_names_every_secret_and_why_others_are_left_out() {
        let read = serde_json::from_value(json!({
            "PlanDigest": "d", "TotalCount": 3, "Waves": [1, 2],
            "Members": [
                {"SecretName": "a", "InstanceId": "i-1", "Wave": 1},
                {"SecretName": "b", "InstanceId": "i-1", "Wave": 2},
                {"SecretName": "c", "InstanceId": "i-2", "Wave": 2},
            ],
            "LeftOut": [{"SecretName": "d", "Reason": "InDeletion"}, {"SecretName": "e", "Reason": "NotPermitted"}],
        }))
        .unwrap();
        let (mut output, stdout, _) = captured::output(Form::People, false);
        plan(&read, &mut output).unwrap();
        assert_eq!(
            stdout.text(),
            "WAVE  SECRET  INSTANCE\n1     a       i-1\n2     b       i-1\n2     c       i-2\n\
             left out: d, scheduled for deletion\nleft out: e, you may not rotate it\n\
             3 secrets to rotate in 2 waves of 1, 2; 2 left out\n"
        );
    }

    #[test]
    fn a_halted_campaign_says_what_failed_and_what_to_do() {
        let counts = |done, failed| json!({ "Size": 2, "Waiting": 0, "Begun": 0, "Stuck": 0, "Done": done, "Failed": failed, "Skipped": 0 });
        let read = serde_json::from_value(json!({
            "CampaignId": "c", "State": "Halted", "StartedBy": "alice", "CreateTime": "2024-05-06T07:08:09Z",
            "Wave": 1, "Waves": [counts(1, 1)], "Total": counts(1, 1), "TroubleCount": 1,
            "Troubles": [{"SecretName": "a", "Wave": 1, "State": "Failed", "Code": "no_space", "Message": "Make room."}],
        }))
        .unwrap();
        let (mut output, stdout, _) = captured::output(Form::People, false);
        campaign(&read, &mut output).unwrap();
        let shown = stdout.text();
        assert!(shown.contains("a (wave 1): Failed, no_space: Make room.\n"), "{shown}");
        assert!(shown.contains("strongroom rotate resume c"), "{shown}");
    }
}
