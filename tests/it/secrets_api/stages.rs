//! UpdateSecretVersionStage.

use std::collections::BTreeMap;

use super::{IN_WINDOW, told};
use crate::harness::{Appliance, Client};

/// Which version each stage of `db` points to.
async fn stages(client: &Client) -> BTreeMap<String, String> {
    let answer =
        client.ok("ListSecretVersionIds", &[("SecretName", "db"), ("IncludeDeprecated", "true")]).await;
    let versions = answer["VersionIds"]["VersionId"].as_array().unwrap();
    let each = versions.iter().flat_map(|version| {
        let id = version["VersionId"].as_str().unwrap();
        let stages = version["VersionStages"]["VersionStage"].as_array().unwrap();
        stages.iter().map(|stage| (stage.as_str().unwrap().to_owned(), id.to_owned()))
    });
    let found: Vec<_> = each.collect();
    let by_stage: BTreeMap<_, _> = found.iter().cloned().collect();
    assert_eq!(by_stage.len(), found.len(), "a stage points to one version: {found:?}");
    by_stage
}

fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(stage, id)| ((*stage).to_owned(), (*id).to_owned())).collect()
}

/// `db` with the versions v1 to v3, the last one current.
async fn prepare(admin: &Client) {
    admin.create_secret("db", "v1").await;
    for version in ["v2", "v3"] {
        let put = [("SecretName", "db"), ("VersionId", version), ("SecretData", version)];
        admin.ok("PutSecretValue", &put).await;
    }
}

async fn moved(client: &Client, more: &[(&str, &str)]) -> Result<(), (u16, String)> {
    let call = [&[("SecretName", "db")], more].concat();
    match client.call("UpdateSecretVersionStage", &call).await {
        Ok(answer) => {
            assert_eq!(answer["SecretName"], "db");
            Ok(())
        }
        Err(refused) => Err((refused.status, refused.code)),
    }
}

#[tokio::test]
async fn stages_are_attached_moved_and_taken_off() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    prepare(&admin).await;
    let (stage, to, from) = ("VersionStage", "MoveToVersion", "RemoveFromVersion");
    for (call, then) in [
        // Back to an old version: what was current is previous.
        (&[(stage, "ACSCurrent"), (to, "v1")][..], &[("ACSCurrent", "v1"), ("ACSPrevious", "v3")][..]),
        (&[(stage, "ACSCurrent"), (from, "v1"), (to, "v2")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v1")]),
        // To where it is already.
        (&[(stage, "ACSCurrent"), (to, "v2")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v1")]),
        (&[(stage, "ACSPrevious"), (to, "v3")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v3")]),
        (&[(stage, "blue"), (to, "v1")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v3"), ("blue", "v1")]),
        (&[(stage, "blue"), (to, "v2")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v3"), ("blue", "v2")]),
        (
            &[(stage, "blue"), (to, "v3"), (from, "v2")],
            &[("ACSCurrent", "v2"), ("ACSPrevious", "v3"), ("blue", "v3")],
        ),
        (&[(stage, "blue"), (from, "v3")], &[("ACSCurrent", "v2"), ("ACSPrevious", "v3")]),
    ] {
        moved(&admin, call).await.unwrap();
        assert_eq!(stages(&admin).await, of(then), "{call:?}");
    }
    assert_eq!(admin.value("db").await, "v2");
    appliance.restart().await;
    let admin = appliance.admin();
    assert_eq!(admin.value("db").await, "v2", "the value of the moved stage, read from the disk");
    assert_eq!(stages(&admin).await, of(&[("ACSCurrent", "v2"), ("ACSPrevious", "v3")]));
}

#[tokio::test]
async fn moves_that_make_no_sense_are_refused_and_change_nothing() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    prepare(&admin).await;
    moved(&admin, &[("VersionStage", "blue"), ("MoveToVersion", "v1")]).await.unwrap();
    let before = stages(&admin).await;
    let (stage, to, from) = ("VersionStage", "MoveToVersion", "RemoveFromVersion");
    for (call, refused) in [
        (&[(stage, "blue")][..], (400, "MissingParameter")),
        (&[(to, "v1")], (400, "MissingParameter")),
        (&[(stage, "ACSCurrent"), (from, "v3")], (400, "MissingParameter")),
        (&[(stage, "ACSPrevious"), (from, "v2")], (400, "MissingParameter")),
        (&[(stage, "ACSPending"), (to, "v1")], (400, "InvalidParameter")),
        (&[(stage, "blue"), (from, "v2"), (to, "v3")], (400, "InvalidParameter")),
        (&[(stage, "ACSCurrent"), (from, "v1"), (to, "v2")], (400, "InvalidParameter")),
        (&[(stage, "blue"), (from, "v2")], (400, "InvalidParameter")),
        (&[(stage, "green"), (from, "v1")], (400, "InvalidParameter")),
        (&[(stage, "blue"), (to, "v9")], (404, "Forbidden.ResourceNotFound")),
        (&[(stage, "blue"), (from, "v9"), (to, "v1")], (404, "Forbidden.ResourceNotFound")),
        (&[(stage, "blue"), (from, "v9")], (404, "Forbidden.ResourceNotFound")),
    ] {
        let answer = moved(&admin, call).await.unwrap_err();
        assert_eq!(told(&answer), refused, "{call:?}");
    }
    assert_eq!(stages(&admin).await, before);
    // Eight of one's own, and no more; one that exists can still move.
    for number in 1..8 {
        moved(&admin, &[(stage, &format!("s{number}")), (to, "v1")]).await.unwrap();
    }
    let ninth = moved(&admin, &[(stage, "s8"), (to, "v1")]).await.unwrap_err();
    assert_eq!(told(&ninth), (400, "Rejected.LimitExceeded"));
    moved(&admin, &[(stage, "s7"), (to, "v2")]).await.unwrap();
    admin.ok("DeleteSecret", &[("SecretName", "db")]).await;
    let late = moved(&admin, &[(stage, "ACSCurrent"), (to, "v1")]).await.unwrap_err();
    assert_eq!(told(&late), IN_WINDOW);
}

#[tokio::test]
async fn a_stage_keeps_its_version_from_being_pushed_out() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    prepare(&admin).await;
    moved(&admin, &[("VersionStage", "kept"), ("MoveToVersion", "v1")]).await.unwrap();
    let put = async |version: String| {
        let call = [("SecretName", "db"), ("VersionId", &*version), ("SecretData", &*version)];
        admin.ok("PutSecretValue", &call).await;
    };
    for number in 4..=13 {
        put(format!("v{number}")).await;
    }
    let kept = [("SecretName", "db"), ("VersionStage", "kept")];
    assert_eq!(admin.ok("GetSecretValue", &kept).await["SecretData"], "v1");
    moved(&admin, &[("VersionStage", "kept"), ("RemoveFromVersion", "v1")]).await.unwrap();
    put("v14".to_owned()).await;
    let gone = admin.refused("GetSecretValue", &[("SecretName", "db"), ("VersionId", "v1")]).await;
    assert_eq!(told(&gone), (404, "Forbidden.ResourceNotFound"));
}
