//! Campaigns from the API to the instances.

use serde_json::{Value, json};
use strongroom_fixtures::emulator::InstanceStatus;

use super::site::{Site, instance, secret};
use crate::harness::{policy, secret_arn};

const ALL: [(&str, &str); 1] = [("NamePrefix", "acs/ecs/")];

fn done(state: &'static str) -> impl Fn(&Value) -> bool {
    move |campaign| campaign["State"] == state
}

#[tokio::test]
async fn a_campaign_shows_its_plan_and_rotates_wave_by_wave_each_secret_once() {
    let site = Site::new("concurrency = 4", 4, 5).await;
    site.create(0..4, 2, &[]).await;
    let admin = site.admin();
    admin.create_secret("acs-other", "value").await;
    admin.ok("DeleteSecret", &[("SecretName", &secret(3, 1))]).await;
    let plan = admin.ok("PlanRotationCampaign", &[("NamePrefix", "acs"), ("WaveSize", "3")]).await;
    assert_eq!(plan["TotalCount"], 7);
    assert_eq!(plan["Waves"], json!([1, 3, 3]));
    let left: Vec<_> =
        plan["LeftOut"].as_array().unwrap().iter().map(|o| (&o["SecretName"], &o["Reason"])).collect();
    assert_eq!(
        left,
        [(&json!(secret(3, 1)), &json!("InDeletion")), (&json!("acs-other"), &json!("NotManaged"))]
    );
    assert!(site.rotations().is_empty(), "a plan begins nothing");

    // Not what was shown: nothing is started.
    let digest = plan["PlanDigest"].as_str().unwrap().to_owned();
    let start =
        [("CampaignId", "c1"), ("NamePrefix", "acs"), ("WaveSize", "3"), ("PlanDigest", digest.as_str())];
    admin.ok("RestoreSecret", &[("SecretName", &secret(3, 1))]).await;
    assert_eq!(admin.refused("StartRotationCampaign", &start).await.1, "Rejected.PlanChanged");
    let plan = admin.ok("PlanRotationCampaign", &[("NamePrefix", "acs"), ("WaveSize", "3")]).await;
    let digest = plan["PlanDigest"].as_str().unwrap().to_owned();
    let start =
        [("CampaignId", "c1"), ("NamePrefix", "acs"), ("WaveSize", "3"), ("PlanDigest", digest.as_str())];
    let started = admin.ok("StartRotationCampaign", &start).await;
    assert_eq!(started["TotalCount"], 8);
    // The same once more is the same campaign; another under its id is refused.
    admin.ok("StartRotationCampaign", &start).await;
    let other = [("CampaignId", "c1"), ("NamePrefix", "acs"), ("WaveSize", "4")];
    assert_eq!(admin.refused("StartRotationCampaign", &other).await.1, "Rejected.ResourceExist");

    let ended = site.campaign_that("c1", "the end", done("Done")).await;
    assert_eq!(ended["Total"]["Done"], 8, "{ended}");
    let rotations = site.rotations();
    assert_eq!(rotations.len(), 8);
    assert!(rotations.values().all(|(count, state)| *count == 1 && state == "Done"), "{rotations:?}");
    let events = site.appliance.audit_events();
    let version = format!("{}.", "c1");
    let begun = events.iter().filter(|event| {
        event["eventName"] == "RotateSecret" && event["additionalEventData"]["correlationId"] == "c1"
    });
    assert_eq!(begun.count(), 8, "each beginning names the campaign");
    let labels = events.iter().filter(|event| {
        let more = &event["additionalEventData"];
        more["secretVersionId"].as_str().is_some_and(|id| id.starts_with(&version))
            && more["rotation"]["trigger"] == "campaign"
            && event["eventName"] == "UpdateSecretVersionStage"
    });
    assert_eq!(labels.count(), 8);
    let listed = admin.ok("ListRotationCampaigns", &[]).await;
    assert_eq!(listed["Campaigns"]["Campaign"][0]["CampaignId"], "c1");
    assert_eq!(admin.refused("PauseRotationCampaign", &[("CampaignId", "c1")]).await.0, 409);
}

#[tokio::test]
async fn a_canary_that_fails_halts_the_rest_until_somebody_accepts_it() {
    let site = Site::new("concurrency = 4", 3, 5).await;
    site.create(0..3, 1, &[]).await;
    let admin = site.admin();
    let plan = admin.ok("PlanRotationCampaign", &ALL).await;
    let canary = plan["Members"][0]["InstanceId"].as_str().unwrap().to_owned();
    // The canary is down: its rotation fails before anything is sent.
    site.emulator.update_instance(&canary, |instance| instance.status = InstanceStatus::Stopped);
    let start = [ALL[0], ("CampaignId", "c"), ("WaveSize", "1"), ("MaxFailures", "100%")];
    admin.ok("StartRotationCampaign", &start).await;
    let halted = site.campaign_that("c", "a halt", done("Halted")).await;
    assert_eq!((&halted["Total"]["Failed"], &halted["Total"]["Waiting"]), (&json!(1), &json!(2)), "{halted}");
    let trouble = &halted["Troubles"][0];
    assert_eq!(trouble["InstanceId"], canary);
    assert!(!trouble["Code"].as_str().unwrap().is_empty(), "{halted}");
    assert!(!trouble["Message"].as_str().unwrap().is_empty(), "{halted}");
    assert_eq!(site.rotations().len(), 1);
    admin.ok("ResumeRotationCampaign", &[("CampaignId", "c")]).await;
    let ended = site.campaign_that("c", "the end", done("Done")).await;
    assert_eq!((&ended["Total"]["Done"], &ended["Total"]["Failed"]), (&json!(2), &json!(1)), "{ended}");
}

#[tokio::test]
async fn an_explicit_deny_on_one_secret_holds_in_a_campaign_and_hides_its_name() {
    let site = Site::new("concurrency = 4", 2, 5).await;
    site.create(0..2, 2, &[]).await;
    let denied = secret(0, 1);
    let may = policy(
        "Allow",
        &["kms:PlanRotationCampaign", "kms:StartRotationCampaign", "kms:RotateSecret"],
        &["*"],
    );
    let not = policy("Deny", &["kms:RotateSecret"], &[&secret_arn(&denied)]);
    let user = site.appliance.user_with(&[may, not]).await;
    let plan = user.ok("PlanRotationCampaign", &ALL).await;
    assert_eq!((&plan["TotalCount"], &plan["LeftOutCount"]), (&json!(3), &json!(0)));
    assert_eq!(plan["LeftOut"], json!([]));
    let lister = policy("Allow", &["kms:*"], &["*"]);
    let not = policy("Deny", &["kms:RotateSecret"], &[&secret_arn(&denied)]);
    let seeing = site.appliance.user_with(&[lister, not]).await;
    let plan = seeing.ok("PlanRotationCampaign", &[("AllSecrets", "true")]).await;
    assert_eq!(plan["LeftOutCount"], 1);
    assert_eq!(plan["LeftOut"], json!([{ "SecretName": denied, "Reason": "NotPermitted" }]));
    user.ok("StartRotationCampaign", &[ALL[0], ("CampaignId", "c")]).await;
    let ended = site.campaign_that("c", "the end", done("Done")).await;
    assert_eq!(ended["Total"]["Done"], 3, "{ended}");
    assert!(!site.rotations().contains_key(&denied));
    // Without a right on any secret there is nothing to start.
    let nothing = policy("Allow", &["kms:StartRotationCampaign"], &["*"]);
    let nobody = site.appliance.user_with(&[nothing]).await;
    let refused = nobody.refused("StartRotationCampaign", &[ALL[0], ("CampaignId", "d")]).await;
    assert_eq!(refused, (409, "Rejected.ResourceNotFound".to_owned()));
}

#[tokio::test]
async fn a_campaign_that_is_killed_again_and_again_rotates_each_secret_once() {
    let mut site = Site::new("concurrency = 4", 10, 30).await;
    site.create(0..10, 3, &[]).await;
    let start = [ALL[0], ("CampaignId", "c"), ("Canary", "2"), ("WaveSize", "9")];
    site.admin().ok("StartRotationCampaign", &start).await;
    for kill in 1..=6 {
        let enough = kill * 4;
        site.until("some progress", |rotations| rotations.len() >= enough).await;
        site.appliance.kill();
        site.appliance.start().await;
    }
    let ended = site.campaign_that("c", "the end", done("Done")).await;
    assert_eq!(ended["Total"]["Done"], 30, "{ended}");
    let rotations = site.rotations();
    assert_eq!(rotations.len(), 30);
    assert!(rotations.values().all(|(count, state)| *count == 1 && state == "Done"), "{rotations:?}");
}

#[tokio::test]
async fn a_campaign_waits_for_its_window_and_for_whoever_paused_it() {
    let mut site = Site::new("concurrency = 4", 3, 5).await;
    site.create(0..3, 1, &[]).await;
    // A window that opens in two to three hours.
    let described = site.admin().ok("DescribeSecret", &[("SecretName", &secret(0, 0))]).await;
    let created = described["CreateTime"].as_str().unwrap().get(11..13).unwrap();
    let hour = |later: u64| (created.parse::<u64>().unwrap() + later) % 24;
    let window = format!("[\"daily {:02}:00-{:02}:00 Z\"]", hour(3), hour(5));
    let start = [ALL[0], ("CampaignId", "c"), ("Windows", window.as_str()), ("WaveSize", "2")];
    let started = site.admin().ok("StartRotationCampaign", &start).await;
    assert!(started["WaitsUntil"].as_str().is_some(), "{started}");
    site.admin().ok("PauseRotationCampaign", &[("CampaignId", "c")]).await;
    site.put_forward(3 * 3_600);
    let paused = site.admin().ok("DescribeRotationCampaign", &[("CampaignId", "c")]).await;
    assert_eq!((&paused["State"], &paused["Total"]["Waiting"]), (&json!("Paused"), &json!(3)), "{paused}");
    site.appliance.restart().await;
    assert!(site.rotations().is_empty());
    site.admin().ok("ResumeRotationCampaign", &[("CampaignId", "c")]).await;
    let ended = site.campaign_that("c", "the end", done("Done")).await;
    assert_eq!(ended["Total"]["Done"], 3, "{ended}");
}

#[tokio::test]
async fn too_many_failures_halt_a_wave_and_a_cancelled_campaign_begins_nothing_more() {
    let site = Site::new("concurrency = 2", 8, 5).await;
    site.create(0..8, 1, &[]).await;
    for number in 0..8 {
        site.emulator
            .update_instance(&instance(number), |instance| instance.status = InstanceStatus::Stopped);
    }
    let start = [ALL[0], ("CampaignId", "c"), ("Canary", "0"), ("WaveSize", "100%"), ("MaxFailures", "2")];
    site.admin().ok("StartRotationCampaign", &start).await;
    let halted = site.campaign_that("c", "a halt", done("Halted")).await;
    let failed = halted["Total"]["Failed"].as_i64().unwrap();
    assert!(failed >= 3, "{halted}");
    // No more than what was in flight when the limit was passed goes beyond it.
    let settled =
        site.campaign_that("c", "what was in flight", |campaign| campaign["Total"]["Begun"] == 0).await;
    let begun = 8 - settled["Total"]["Waiting"].as_i64().unwrap();
    assert!(begun <= 3 + 2, "{settled}");
    site.admin().ok("CancelRotationCampaign", &[("CampaignId", "c")]).await;
    assert_eq!(site.admin().refused("ResumeRotationCampaign", &[("CampaignId", "c")]).await.0, 409);
    assert_eq!(i64::try_from(site.rotations().len()).unwrap(), begun);
}

#[tokio::test]
async fn what_a_cancelled_campaign_had_begun_is_followed_to_its_end() {
    let mut site = Site::new("concurrency = 4", 2, 400).await;
    site.create(0..2, 1, &[]).await;
    site.admin().ok("StartRotationCampaign", &[ALL[0], ("CampaignId", "c")]).await;
    site.campaign_that("c", "a beginning", |campaign| campaign["Total"]["Begun"] == 1).await;
    let cancelled = site.admin().ok("CancelRotationCampaign", &[("CampaignId", "c")]).await;
    assert_eq!(cancelled["State"], "Cancelled");
    site.appliance.restart().await;
    let ended = site.campaign_that("c", "the end", |campaign| campaign["Total"]["Done"] == 1).await;
    assert_eq!((&ended["State"], &ended["Total"]["Waiting"]), (&json!("Cancelled"), &json!(1)), "{ended}");
    // What it will not begin any more is free for another one.
    let plan = site.admin().ok("PlanRotationCampaign", &ALL).await;
    assert_eq!(plan["TotalCount"], 2, "{plan}");
}

#[tokio::test]
async fn a_pause_forgives_no_failure() {
    let site = Site::new("concurrency = 1", 3, 5).await;
    site.create(0..3, 1, &[]).await;
    for number in 0..3 {
        site.emulator
            .update_instance(&instance(number), |instance| instance.status = InstanceStatus::Stopped);
    }
    let course = [("Canary", "0"), ("WaveSize", "1"), ("MaxFailures", "1"), ("PauseSeconds", "3600")];
    let start = [&[ALL[0], ("CampaignId", "c")], &course[..]].concat();
    site.admin().ok("StartRotationCampaign", &start).await;
    site.campaign_that("c", "a failure", |campaign| campaign["Wave"] == 2).await;
    site.admin().ok("PauseRotationCampaign", &[("CampaignId", "c")]).await;
    site.admin().ok("ResumeRotationCampaign", &[("CampaignId", "c")]).await;
    let mut site = site;
    site.put_forward(3_601);
    site.appliance.restart().await;
    let halted = site.campaign_that("c", "a halt", done("Halted")).await;
    assert_eq!((&halted["Total"]["Failed"], &halted["Total"]["Waiting"]), (&json!(2), &json!(1)), "{halted}");
}
