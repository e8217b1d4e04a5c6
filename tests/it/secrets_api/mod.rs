//! The rest of the secret actions, through the API of a served vault: what is
//! said of a secret, its stages, its policy, many values at once, and what the
//! types ask of CreateSecret.

mod batch;
mod ecs;
mod policies;
mod stages;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Appliance, Client};

/// A secret as DescribeSecret tells it.
async fn described(client: &Client, name: &str) -> Value {
    client.ok("DescribeSecret", &[("SecretName", name)]).await
}

const IN_WINDOW: (u16, &str) = (409, "Rejected.ResourceInDeleteWindow");

fn told(answer: &(u16, String)) -> (u16, &str) {
    (answer.0, answer.1.as_str())
}

#[tokio::test]
async fn a_description_is_replaced_cleared_or_left_alone() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let longest = "é".repeat(8_192);
    for (sent, then) in
        [(Some("first"), "first"), (None, "first"), (Some(&*longest), &*longest), (Some(""), "")]
    {
        let mut call = vec![("SecretName", "db")];
        call.extend(sent.map(|text| ("Description", text)));
        let answer = admin.ok("UpdateSecret", &call).await;
        assert_eq!(answer["SecretName"], "db");
        assert_eq!(answer.as_object().unwrap().len(), 2, "name and request id: {answer}");
        assert_eq!(described(&admin, "db").await["Description"], then);
    }
    admin.ok("UpdateSecret", &[("SecretName", "db"), ("Description", "kept")]).await;
    appliance.restart().await;
    assert_eq!(described(&appliance.admin(), "db").await["Description"], "kept");
    assert_eq!(appliance.admin().value("db").await, "one");
    // Only managed secrets have custom data, in whatever form it comes.
    let admin = appliance.admin();
    for (name, value) in [
        ("ExtendedConfig.CustomData", "{}"),
        ("ExtendedConfig.CustomData.team", "web"),
        ("ExtendedConfig", r#"{"CustomData":{"team":"web"}}"#),
    ] {
        let refused = admin.refused("UpdateSecret", &[("SecretName", "db"), (name, value)]).await;
        assert_eq!(told(&refused), (400, "InvalidParameter"), "{name}");
    }
    admin.ok("DeleteSecret", &[("SecretName", "db")]).await;
    let update = [("SecretName", "db"), ("Description", "late")];
    assert_eq!(told(&admin.refused("UpdateSecret", &update).await), IN_WINDOW);
    assert_eq!(described(&admin, "db").await["Description"], "kept");
}

#[tokio::test]
async fn a_generic_secret_takes_what_is_meant_for_others_and_repeats_the_instance() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let call = [
        ("SecretName", "db"),
        ("VersionId", "v1"),
        ("SecretData", "x"),
        ("DKMSInstanceId", "kst-example-1"),
        ("ExtendedConfig", "not even JSON"),
        ("EnableAutomaticRotation", "False"),
        ("RotationInterval", "ignored"),
        ("Policy", ""),
    ];
    let made = admin.ok("CreateSecret", &call).await;
    let members = |answer: &Value| {
        answer.as_object().unwrap().iter().map(|(n, v)| (n.clone(), v.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut made = members(&made);
    made.remove("RequestId").unwrap();
    let wanted = serde_json::json!({ "Arn": crate::harness::secret_arn("db"), "SecretName": "db",
        "VersionId": "v1", "SecretType": "Generic", "DKMSInstanceId": "kst-example-1" });
    assert_eq!(made, members(&wanted));
    assert_eq!(described(&admin, "db").await["DKMSInstanceId"], "kst-example-1");
    admin.create_secret("other", "x").await;
    assert_eq!(described(&admin, "other").await["DKMSInstanceId"], "");
}

#[tokio::test]
async fn other_types_are_not_supported_whatever_they_come_with() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let redis =
        r#"{"SecretSubType":"DoubleUsers","InstanceId":"r-1","RegionId":"cn-hangzhou","AccountName":"a"}"#;
    for (kind, name, data, config) in [
        (
            "Rds",
            "rds",
            r#"{"Accounts":[{"AccountName":"a","AccountPassword":"b"}]}"#,
            r#"{"DBInstanceId":"rm-1"}"#,
        ),
        ("Redis", "redis", "$Auto", redis),
        ("PolarDB", "polar", "$Auto", redis),
        ("RAMCredentials", "$Auto", r#"{"AccessKeys":[]}"#, r#"{"UserName":"a"}"#),
    ] {
        let call = [
            ("SecretType", kind),
            ("SecretName", name),
            ("VersionId", "v1"),
            ("SecretData", data),
            ("ExtendedConfig", config),
            ("EnableAutomaticRotation", "true"),
            ("RotationInterval", "7d"),
        ];
        let refused = admin.refused("CreateSecret", &call).await;
        assert_eq!(told(&refused), (400, "UnsupportedOperation"), "{kind}");
    }
}

#[tokio::test]
async fn the_commands_update_move_stages_and_set_policies() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(arguments).env("STRONGROOM_PROFILES", appliance.folder().join("admin.toml"));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let done = |arguments: &[&str], said: &str| {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.trim_end(), stderr.as_str()), (0, said, ""), "{arguments:?}");
    };
    done(&["secret", "update", "db", "--description", "of the shop"], "updated db");
    assert_eq!(described(&admin, "db").await["Description"], "of the shop");
    admin.ok("PutSecretValue", &[("SecretName", "db"), ("VersionId", "v2"), ("SecretData", "two")]).await;
    done(&["secret", "stage", "db", "ACSCurrent", "--to", "v1"], "ACSCurrent of db is version v1");
    assert_eq!(admin.value("db").await, "one");
    done(&["secret", "stage", "db", "blue", "--to", "v2"], "blue of db is version v2");
    done(&["secret", "stage", "db", "blue", "--from", "v2"], "blue is off version v2 of db");
    let (code, _, stderr) = run(&["secret", "stage", "db", "ACSCurrent", "--from", "v1"]);
    assert!(code == 1 && stderr.contains("MoveToVersion"), "{stderr}");

    let (code, stdout, _) = run(&["secret", "policy", "get", "db"]);
    assert!(code == 0 && stdout.contains("kms default secret policy"), "{stdout}");
    let document = crate::harness::secret_policy("Allow", &["user/alice"], &["kms:GetSecretValue"]);
    let file = appliance.folder().join("policy.json");
    std::fs::write(&file, &document).unwrap();
    done(
        &["secret", "policy", "set", "db", "--document-file", file.to_str().unwrap()],
        "set the policy of db",
    );
    done(&["secret", "policy", "get", "db"], &document);
}
