//! What only ECS secrets have, and what only a moved clock shows.

use serde_json::{Value, json};

use super::{described, told};
use crate::fleet::site::{Site, secret};
use crate::harness::wire::encode;
use crate::harness::{Connection, Request, eventually, policy, secret_policy};

const DAY: i64 = 86_400;

async fn custom_data(site: &Site, name: &str) -> Value {
    let answer = described(&site.admin(), name).await;
    let config: Value = serde_json::from_str(answer["ExtendedConfig"].as_str().unwrap()).unwrap();
    assert_eq!(config["InstanceId"], "i-000", "the rest stays as it is: {config}");
    config["CustomData"].clone()
}

#[tokio::test]
async fn custom_data_is_replaced_in_three_spellings_and_never_in_two_at_once() {
    let site = Site::new("concurrency = 1", 1, 5).await;
    site.create(0..1, 1, &[]).await;
    let (admin, name) = (site.admin(), secret(0, 0));
    let update = async |more: &[(&str, &str)]| {
        admin.call("UpdateSecret", &[&[("SecretName", name.as_str())], more].concat()).await
    };
    let text = "ExtendedConfig.CustomData";
    let ten: Value = (0..10).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let eleven: Value =
        (0..11).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    for (more, then) in [
        (&[(text, r#"{"team":"web","tier":1}"#)][..], json!({ "team": "web", "tier": 1 })),
        (&[("Description", "first")], json!({ "team": "web", "tier": 1 })),
        (&[("ExtendedConfig", r#"{"CustomData":{"a":{"b":[true]}}}"#)], json!({ "a": { "b": [true] } })),
        (
            &[
                ("ExtendedConfig.CustomData.x", "1"),
                ("ExtendedConfig.CustomData.y.z ü", ""),
                ("Description", ""),
            ],
            json!({ "x": "1", "y.z ü": "" }),
        ),
        (&[(text, &ten.to_string())], ten.clone()),
        (&[(text, "{}")], json!({})),
    ] {
        update(more).await.unwrap();
        assert_eq!(custom_data(&site, &name).await, then, "{more:?}");
    }
    update(&[(text, r#"{"kept":"yes"}"#), ("Description", "kept")]).await.unwrap();
    for more in [
        &[(text, r#"{"a":"1"}"#), ("ExtendedConfig.CustomData.b", "2")][..],
        &[(text, "{}"), ("ExtendedConfig", r#"{"CustomData":{}}"#)],
        &[("ExtendedConfig", r#"{"CustomData":{}}"#), ("ExtendedConfig.CustomData.b", "2")],
        &[("ExtendedConfig", r#"{"CustomData":{},"InstanceId":"i-001"}"#)],
        &[("ExtendedConfig", "{}")],
        &[(text, "[]"), ("Description", "lost")],
        &[(text, &eleven.to_string())],
        &[(text, &json!({ "a": "x".repeat(1_024) }).to_string())],
        &[("ExtendedConfig.CustomData.", "x")],
    ] {
        let refused = update(more).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"), "{more:?}");
    }
    assert_eq!(custom_data(&site, &name).await, json!({ "kept": "yes" }));
    assert_eq!(described(&admin, &name).await["Description"], "kept");
    // Stages of managed secrets follow their rotations.
    let stage = [("SecretName", name.as_str()), ("VersionStage", "blue"), ("MoveToVersion", "v1")];
    let refused = admin.refused("UpdateSecretVersionStage", &stage).await;
    assert_eq!(told(&refused), (400, "UnsupportedOperation"));
    // In a batch an ECS secret is what it is alone; its VersionId is ignored.
    let list = json!([{ "SecretName": name, "VersionId": "v9", "FetchExtendedConfig": "true" }]).to_string();
    let answer = admin.ok("BatchGetSecretValue", &[("SecretsList", &list)]).await;
    let value = &answer["SecretValues"][0];
    assert_eq!((&value["VersionId"], &value["AutomaticRotation"]), (&json!("v1"), &json!("Disabled")));
    assert!(value["ExtendedConfig"].as_str().unwrap().contains(r#""CustomData":{"kept":"yes"}"#), "{answer}");
}

#[tokio::test]
async fn names_that_a_client_signs_as_they_are_are_understood() {
    let site = Site::new("concurrency = 1", 1, 5).await;
    site.create(0..1, 1, &[]).await;
    let (name, key) = (secret(0, 0), site.appliance.admin_key());
    // The current Python client signs names without encoding them, and sends them encoded.
    for raw in [false, true] {
        let value = format!("raw {raw}");
        let request = Request::acs3(&site.appliance, key, "UpdateSecret", "2016-01-20", &[])
            .query("SecretName", &name)
            .query("ExtendedConfig.CustomData.cost center/ü", &value);
        let request = if raw { request.sign_with(str::to_owned) } else { request.sign_with(encode) };
        let reply = Connection::open(&site.appliance).await.send(&request).await;
        assert_eq!(reply.status, 200, "{raw}: {}", reply.json());
        assert_eq!(custom_data(&site, &name).await, json!({ "cost center/ü": value }));
    }
}

#[tokio::test]
async fn a_deny_in_the_policy_of_a_secret_holds_in_a_campaign_and_in_lists() {
    let site = Site::new("concurrency = 4", 2, 5).await;
    site.create(0..2, 1, &[]).await;
    let (open, shut) = (secret(0, 0), secret(1, 0));
    let may = policy(
        "Allow",
        &[
            "kms:PlanRotationCampaign",
            "kms:StartRotationCampaign",
            "kms:RotateSecret",
            "kms:ListRotationEvents",
        ],
        &["*"],
    );
    let user = site.appliance.named_user_with("alice", &[may]).await;
    let all = [("AllSecrets", "true")];
    assert_eq!(user.ok("PlanRotationCampaign", &all).await["TotalCount"], 2);
    user.ok("StartRotationCampaign", &[all[0], ("CampaignId", "first")]).await;
    site.until("both are rotated", |rotations| {
        rotations.len() == 2 && rotations.values().all(|(_, state)| state == "Done")
    })
    .await;
    let names = async || {
        let events = user.ok("ListRotationEvents", &[("MaxResults", "100")]).await;
        let events = events["Events"]["Event"].as_array().unwrap().clone();
        events.iter().filter(|event| event.to_string().contains(&shut)).count()
    };
    assert_ne!(names().await, 0);
    let denied = secret_policy("Deny", &["user/alice"], &["kms:RotateSecret", "kms:ListRotationEvents"]);
    site.admin().ok("SetSecretPolicy", &[("SecretName", &shut), ("Policy", &denied)]).await;
    let plan = user.ok("PlanRotationCampaign", &all).await;
    assert_eq!((&plan["TotalCount"], &plan["LeftOutCount"]), (&json!(1), &json!(0)), "{plan}");
    assert!(!plan.to_string().contains(&shut), "{plan}");
    assert_eq!(names().await, 0, "its events are hidden");
    let refused = user.refused("RotateSecret", &[("SecretName", &shut), ("VersionId", "v9")]).await;
    assert_eq!(told(&refused), (403, "Forbidden.NoPermission"));

    // A grant in it is as good as one to the user.
    let may = policy("Allow", &["kms:PlanRotationCampaign"], &["*"]);
    let helper = site.appliance.named_user_with("bob", &[may]).await;
    assert_eq!(helper.ok("PlanRotationCampaign", &all).await["TotalCount"], 0);
    let granted = secret_policy("Allow", &["user/bob"], &["kms:RotateSecret"]);
    site.admin().ok("SetSecretPolicy", &[("SecretName", &open), ("Policy", &granted)]).await;
    let plan = helper.ok("PlanRotationCampaign", &all).await;
    assert!(plan["TotalCount"] == 1 && plan.to_string().contains(&open), "{plan}");
}

#[tokio::test]
async fn what_is_past_its_window_is_destroyed_by_itself_and_what_is_not_stays() {
    let mut site = Site::new("concurrency = 1", 1, 5).await;
    site.create(0..1, 1, &[]).await;
    let managed = secret(0, 0);
    let admin = site.admin();
    for name in ["week", "month", "stays"] {
        admin.create_secret(name, name).await;
    }
    for (name, days) in [("week", "7"), (managed.as_str(), "7"), ("month", "30")] {
        admin.ok("DeleteSecret", &[("SecretName", name), ("RecoveryWindowInDays", days)]).await;
    }
    site.put_forward(7 * DAY - 600);
    assert!(described(&site.admin(), "week").await["PlannedDeleteTime"].is_string());
    site.put_forward(1_200);
    for name in ["week", managed.as_str()] {
        let admin = site.admin();
        eventually("it is destroyed", async || {
            let gone = admin.call("DescribeSecret", &[("SecretName", name)]).await.err()?;
            (gone.code == "Forbidden.ResourceNotFound").then_some(())
        })
        .await;
    }
    // Nobody asked for it, and it is on record all the same, before and after.
    let found = eventually("it is on record", async || {
        let events = site.appliance.audit_events();
        let is_of_week = |event: &Value| {
            event["requestParameters"]["SecretName"] == "week" && event["sourceIpAddress"] == "Internal"
        };
        let found: Vec<_> = events.into_iter().filter(is_of_week).collect();
        (found.len() >= 2).then_some(found)
    })
    .await;
    let phases: Vec<_> = found.iter().map(|event| &event["additionalEventData"]["phase"]).collect();
    assert_eq!(phases, ["started", "finished"], "{found:?}");
    for event in &found {
        assert_eq!(
            (&event["eventName"], &event["userIdentity"]["type"]),
            (&json!("DeleteSecret"), &json!("system"))
        );
    }
    let admin = site.admin();
    assert_eq!(told(&admin.refused("RestoreSecret", &[("SecretName", "week")]).await).0, 404);
    assert!(described(&admin, "month").await["PlannedDeleteTime"].is_string());
    assert_eq!(admin.value("stays").await, "stays");
    let database = rusqlite::Connection::open(site.appliance.database()).unwrap();
    let rows = |table: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("secrets"), rows("versions")), (2, 2), "no version is left of what is destroyed");
    // The name is free again, and the other one can still be brought back.
    admin.create_secret("week", "again").await;
    admin.ok("RestoreSecret", &[("SecretName", "month")]).await;
    assert_eq!(admin.value("month").await, "month");
}
