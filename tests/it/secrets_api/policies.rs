//! SetSecretPolicy, GetSecretPolicy, `Policy` of CreateSecret, and what the
//! policies of secrets do to calls (ram.md, rules E5, E9 and E10).

use serde_json::{Value, json};

use super::{IN_WINDOW, described, told};
use crate::harness::{ACCOUNT, Appliance, Client, policy, secret_arn, secret_policy};

const DENIED: (u16, &str) = (403, "Forbidden.NoPermission");
const MISSING: (u16, &str) = (404, "Forbidden.ResourceNotFound");

async fn set(client: &Client, name: &str, document: &str) {
    let answer = client.ok("SetSecretPolicy", &[("SecretName", name), ("Policy", document)]).await;
    assert_eq!(answer.as_object().unwrap().len(), 1, "nothing but the request id: {answer}");
}

async fn get(client: &Client, name: &str) -> String {
    let answer = client.ok("GetSecretPolicy", &[("SecretName", name), ("PolicyName", "default")]).await;
    answer["Policy"].as_str().unwrap().to_owned()
}

async fn read(client: &Client, name: &str) -> Result<String, (u16, String)> {
    match client.call("GetSecretValue", &[("SecretName", name)]).await {
        Ok(answer) => Ok(answer["SecretData"].as_str().unwrap().to_owned()),
        Err(refused) => Err((refused.status, refused.code)),
    }
}

#[tokio::test]
async fn a_policy_is_kept_byte_for_byte_and_the_default_is_told_where_there_is_none() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "x").await;
    let default: Value = serde_json::from_str(&get(&admin, "db").await).unwrap();
    let statement = json!({ "Sid": "kms default secret policy", "Effect": "Allow", "Resource": ["*"],
        "Principal": { "RAM": [format!("acs:ram::{ACCOUNT}:*")] }, "Action": ["kms:*"] });
    assert_eq!(default, json!({ "Version": "1", "Statement": [statement] }));

    let plain = secret_policy("Allow", &["user/alice"], &["kms:GetSecretValue"]);
    let spaced = format!("\t{}\r\n  ", plain.replace(":[", " : [ ").replace("alice", "\\u0061lice"));
    set(&admin, "db", &spaced).await;
    assert_eq!(get(&admin, "db").await, spaced);
    let longest = format!("{plain}{}", " ".repeat(32_768 - plain.len()));
    set(&admin, "db", &longest).await;
    appliance.restart().await;
    let admin = appliance.admin();
    assert_eq!(get(&admin, "db").await, longest);
    let longer = [("SecretName", "db"), ("Policy", &*format!("{longest} "))];
    assert_eq!(told(&admin.refused("SetSecretPolicy", &longer).await), (400, "InvalidParameter"));

    let call = [("SecretName", "made"), ("VersionId", "v1"), ("SecretData", "x"), ("Policy", &*spaced)];
    admin.ok("CreateSecret", &call).await;
    assert_eq!(get(&admin, "made").await, spaced);
    let record =
        appliance.audit_events().into_iter().rev().find(|event| event["eventName"] == "CreateSecret");
    assert!(record.unwrap()["requestParameters"]["Policy"].is_string(), "who may do what is on record");

    admin.ok("DeleteSecret", &[("SecretName", "db")]).await;
    assert_eq!(
        told(&admin.refused("SetSecretPolicy", &[("SecretName", "db"), ("Policy", &plain)]).await),
        IN_WINDOW
    );
    assert_eq!(get(&admin, "db").await, longest);
}

#[tokio::test]
async fn one_allow_in_either_is_enough_and_a_deny_in_either_wins() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    let all = policy("Allow", &["kms:GetSecretValue"], &["*"]);
    let none = policy("Deny", &["kms:GetSecretValue"], &["*"]);
    let clients = [
        ("silent", appliance.named_user_with("silent", &[]).await),
        ("allowed", appliance.named_user_with("allowed", std::slice::from_ref(&all)).await),
        ("denied", appliance.named_user_with("denied", &[all, none]).await),
    ];
    let users = ["user/silent", "user/Allowed", "user/denied"];
    let (action, star) = (&["kms:GetSecretValue"][..], &["*"][..]);
    let when = |address: &str| {
        let mut document: Value = serde_json::from_str(&secret_policy("Allow", &users, action)).unwrap();
        document["Statement"][0]["Condition"] = json!({ "IpAddress": { "acs:SourceIp": address } });
        document.to_string()
    };
    for (name, document, outcome) in [
        ("none", None, [false, true, false]),
        ("allow", Some(secret_policy("Allow", &users, action)), [true, true, false]),
        ("deny", Some(secret_policy("Deny", &users, action)), [false, false, false]),
        (
            "others",
            Some(secret_policy("Allow", &["user/somebody", "role/silent"], action)),
            [false, true, false],
        ),
        ("action", Some(secret_policy("Allow", &users, &["kms:DescribeSecret"])), [false, true, false]),
        // An account in an allow is not its users; in a deny it is.
        ("account", Some(secret_policy("Allow", star, &["kms:*"])), [false, true, false]),
        ("nobody", Some(secret_policy("Deny", star, &["kms:Get*"])), [false, false, false]),
        ("near", Some(when("127.0.0.0/8")), [true, true, false]),
        ("far", Some(when("10.0.0.0/8")), [false, true, false]),
    ] {
        let mut call = vec![("SecretName", name), ("VersionId", "v1"), ("SecretData", name)];
        call.extend(document.as_deref().map(|text| ("Policy", text)));
        admin.ok("CreateSecret", &call).await;
        for ((user, client), may) in clients.iter().zip(outcome) {
            let result = read(client, name).await;
            assert_eq!(result.is_ok(), may, "{user} {name}: {result:?}");
            if let Err(refused) = result {
                assert_eq!(told(&refused), DENIED, "{user} {name}");
            }
        }
    }
    // It holds from the next call on, and after a restart.
    let silent = clients[0].1.key();
    for _ in 0..2 {
        let (admin, silent) = (appliance.admin(), appliance.client(silent));
        set(&admin, "none", &secret_policy("Allow", &["user/silent"], action)).await;
        assert_eq!(read(&silent, "none").await.unwrap(), "none");
        appliance.restart().await;
        let (admin, silent) = (appliance.admin(), appliance.client(silent.key()));
        assert_eq!(read(&silent, "none").await.unwrap(), "none");
        set(&admin, "none", &secret_policy("Deny", &["user/silent"], action)).await;
        assert_eq!(told(&read(&silent, "none").await.unwrap_err()), DENIED);
    }
}

#[tokio::test]
async fn a_policy_speaks_of_its_own_secret_alone_and_of_every_action_on_it() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let user = appliance.named_user_with("alice", &[]).await;
    for name in ["hers", "other"] {
        admin.create_secret(name, name).await;
    }
    set(&admin, "hers", &secret_policy("Allow", &["user/alice"], &["kms:*"])).await;
    let named = [("SecretName", "hers")];
    for (action, more) in [
        ("DescribeSecret", &[][..]),
        ("ListSecretVersionIds", &[]),
        ("PutSecretValue", &[("VersionId", "v2"), ("SecretData", "new")]),
        ("UpdateSecret", &[("Description", "hers")]),
        ("UpdateSecretVersionStage", &[("VersionStage", "blue"), ("MoveToVersion", "v1")]),
        ("GetSecretPolicy", &[]),
        ("DeleteSecret", &[]),
        ("RestoreSecret", &[]),
    ] {
        user.ok(action, &[&named[..], more].concat()).await;
        let other = [&[("SecretName", "other")], more].concat();
        assert_eq!(told(&user.refused(action, &other).await), DENIED, "{action}");
    }
    // Neither the list of all nor a secret of her own is hers.
    assert_eq!(told(&user.refused("ListSecrets", &[]).await), DENIED);
    let new = [("SecretName", "hers"), ("VersionId", "v1"), ("SecretData", "x")];
    assert_eq!(told(&user.refused("CreateSecret", &new).await), DENIED);
    // She may pass it on, and shut herself out.
    set(&user, "hers", &secret_policy("Deny", &["user/alice"], &["kms:SetSecretPolicy"])).await;
    assert_eq!(told(&user.refused("GetSecretPolicy", &named).await), DENIED);
    set(&admin, "hers", &secret_policy("Deny", &["user/admin"], &["kms:SetSecretPolicy"])).await;
    let again = [("SecretName", "hers"), ("Policy", &*secret_policy("Allow", &["user/admin"], &["kms:*"]))];
    let refused = admin.call("SetSecretPolicy", &again).await.unwrap_err();
    assert_eq!(refused.code, DENIED.1);
    // Why is told to whoever may see the secret, and recorded.
    let records = appliance.audit_of(&refused.request_id);
    let authorization = &records[0]["additionalEventData"]["authorization"];
    assert_eq!(authorization["decision"], "ExplicitDeny");
    assert_eq!(authorization["layer"], "resource");
    assert_eq!(authorization["statementIndex"], 0);
    assert_eq!(admin.value("hers").await, "new");
}

#[tokio::test]
async fn a_policy_that_shuts_out_everybody_is_taken_off_on_the_machine_of_the_vault() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "x").await;
    set(&admin, "db", &secret_policy("Deny", &["*"], &["kms:*"])).await;
    for action in ["SetSecretPolicy", "GetSecretValue", "DeleteSecret"] {
        let policy = secret_policy("Allow", &["user/admin"], &["kms:*"]);
        let refused = admin.refused(action, &[("SecretName", "db"), ("Policy", &policy)]).await;
        assert_eq!(told(&refused), DENIED, "{action}");
    }
    let config = appliance.config();
    let reset = |name: &str| {
        let config = config.to_str().unwrap();
        crate::harness::strongroom(&["secret", "policy", "reset", name, "--config", config])
    };
    assert!(!reset("db").status.success(), "not while it is served");
    appliance.stop();
    assert_eq!(reset("none").status.code(), Some(5));
    let output = reset("db");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    appliance.start().await;
    let admin = appliance.admin();
    assert_eq!(admin.value("db").await, "x");
    assert!(get(&admin, "db").await.contains("kms default secret policy"));
    let is_reset = |event: &Value| event["eventName"] == "ResetSecretPolicy";
    let events: Vec<_> = appliance.audit_events().into_iter().filter(is_reset).collect();
    assert_eq!(events.len(), 2, "before and after: {events:?}");
    assert!(events.iter().all(|event| event["requestParameters"]["SecretName"] == "db"));
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_secret_with_a_policy_from_none() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let stranger = appliance.named_user_with("stranger", &[]).await;
    for (name, document) in [
        ("shut", secret_policy("Deny", &["user/stranger"], &["kms:*"])),
        ("shared", secret_policy("Allow", &["user/somebody"], &["kms:*"])),
    ] {
        admin.create_secret(name, "x").await;
        set(&admin, name, &document).await;
    }
    let mut answers = Vec::new();
    for name in ["shut", "shared", "none"] {
        let request = crate::harness::Request::acs3(
            &appliance,
            stranger.key(),
            "GetSecretValue",
            "2016-01-20",
            &[("SecretName", name)],
        );
        let mut connection = crate::harness::Connection::open(&appliance).await;
        let mut answer = connection.send(&request.sign()).await.json();
        answer["RequestId"] = Value::Null;
        answers.push(answer.to_string().replace(name, "NAME"));
    }
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[1], answers[2]);
    assert!(answers[0].contains("AccountLevelIdentityBasedPolicy"), "{}", answers[0]);
    // Whoever may read what there is learns which policy is in the way.
    let reader = appliance.user_with(&[policy("Allow", &["kms:*"], &["*"])]).await;
    set(&admin, "shut", &secret_policy("Deny", &["*"], &["kms:GetSecretValue"])).await;
    assert_eq!(told(&read(&reader, "shut").await.unwrap_err()), DENIED);
    assert_eq!(told(&read(&reader, "none").await.unwrap_err()), MISSING);
    assert_eq!(described(&reader, "shut").await["SecretName"], "shut");
}

#[tokio::test]
async fn an_altered_policy_denies_and_is_no_way_in() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "x").await;
    let user = appliance.named_user_with("alice", &[]).await;
    set(&admin, "db", &secret_policy("Allow", &["user/nobody1"], &["kms:*"])).await;
    assert_eq!(told(&read(&user, "db").await.unwrap_err()), DENIED);
    appliance.stop();
    let database = rusqlite::Connection::open(appliance.database()).unwrap();
    let changed = database
        .execute("UPDATE secrets SET body = replace(body, 'user/nobody1', 'user/alice')", [])
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    appliance.start().await;
    let (admin, user) = (appliance.admin(), appliance.client(user.key()));
    assert_eq!(told(&read(&user, "db").await.unwrap_err()), DENIED);
    assert_eq!(read(&admin, "db").await.unwrap_err().0, 500);
    assert!(appliance.log().contains("altered"), "{}", secret_arn("db"));
}
