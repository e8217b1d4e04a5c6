//! BatchGetSecretValue.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Appliance, Client, policy, secret_arn, secret_policy};

async fn batch(client: &Client, list: &Value) -> Value {
    client.ok("BatchGetSecretValue", &[("SecretsList", &list.to_string())]).await
}

fn values(answer: &Value) -> Vec<(&str, &str)> {
    let text = |value: &'_ Value, name: &str| value[name].as_str().map(str::to_owned).unwrap();
    let list = answer["SecretValues"].as_array().unwrap();
    list.iter()
        .map(|one| {
            assert_eq!(one["SecretType"], "Generic");
            assert_eq!(text(one, "RequestId").len(), 36);
            (one["SecretName"].as_str().unwrap(), one["SecretData"].as_str().unwrap())
        })
        .collect()
}

fn errors(answer: &Value) -> Vec<(&str, &str, u64)> {
    let list = answer["Errors"].as_array().unwrap();
    let one = |error: &'_ Value| error["HttpStatus"].as_u64().unwrap();
    list.iter()
        .map(|error| {
            assert!(!error["Message"].as_str().unwrap().is_empty());
            (error["SecretName"].as_str().unwrap(), error["Code"].as_str().unwrap(), one(error))
        })
        .collect()
}

const MISSING: &str = "Forbidden.ResourceNotFound";
const DENIED: &str = "Forbidden.NoPermission";

#[tokio::test]
async fn values_come_together_with_what_could_not_be_read() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["a", "b", "c", "going"] {
        admin.create_secret(name, &format!("Value-Of-{name}")).await;
    }
    let put = [("SecretName", "a"), ("VersionId", "v2"), ("SecretData", "Value-Two")];
    admin.ok("PutSecretValue", &put).await;
    admin.ok("DeleteSecret", &[("SecretName", "going")]).await;
    let elsewhere = "acs:kms:cn-beijing:1234567890123456:secret/a";
    let list = json!([
        { "SecretName": "a" },
        { "SecretName": secret_arn("b"), "FetchExtendedConfig": "True" },
        { "SecretName": "missing" },
        { "SecretName": elsewhere },
        { "SecretName": "c", "VersionId": "v9" },
        { "SecretName": "going", "VersionStage": "ACSCurrent", "FetchExtendedConfig": false },
    ]);
    let answer = batch(&admin, &list).await;
    assert_eq!(values(&answer), [("a", "Value-Two"), ("b", "Value-Of-b")]);
    assert_eq!(
        errors(&answer),
        [
            ("missing", MISSING, 404),
            (elsewhere, MISSING, 404),
            ("c", MISSING, 404),
            ("going", "Rejected.ResourceInDeleteWindow", 409),
        ]
    );
    // What a value is said to be, it is said to be alone too.
    let mut alone = admin.ok("GetSecretValue", &[("SecretName", "a")]).await;
    alone["RequestId"] = answer["SecretValues"][0]["RequestId"].clone();
    assert_eq!(alone, answer["SecretValues"][0]);
    let older = json!([{ "SecretName": "a", "VersionStage": "ACSPrevious" }, { "SecretName": "b", "VersionId": "v1" }]);
    assert_eq!(values(&batch(&admin, &older).await), [("a", "Value-Of-a"), ("b", "Value-Of-b")]);

    // Every item is on the one record of the call, and no value is.
    let id = answer["RequestId"].as_str().unwrap();
    let records = appliance.audit_of(id);
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert!(record.get("errorCode").is_none(), "{record}");
    assert!(!record.to_string().contains("Value-"), "{record}");
    assert_eq!(record["referencedResources"]["ACS::KMS::Secret"], json!(["a", "b", "missing", "c", "going"]));
    let items = record["additionalEventData"]["items"].as_array().unwrap();
    let of = |item: &Value| {
        let text = |name: &str| item[name].as_str().unwrap_or("").to_owned();
        (text("secretName"), text("secretVersionId"), text("errorCode"))
    };
    let wanted = [
        ("a", "v2", ""),
        (&*secret_arn("b"), "v1", ""),
        ("missing", "", MISSING),
        (elsewhere, "", MISSING),
        ("c", "", MISSING),
        ("going", "", "Rejected.ResourceInDeleteWindow"),
    ];
    let wanted = wanted.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(items.iter().map(of).collect::<Vec<_>>(), wanted);
    assert_eq!(items[0]["requestId"], answer["SecretValues"][0]["RequestId"]);
    let ids: BTreeSet<&str> = items.iter().map(|item| item["requestId"].as_str().unwrap()).collect();
    assert!(ids.len() == 6 && !ids.contains(id), "each item has an id of its own: {ids:?}");
}

#[tokio::test]
async fn each_item_is_allowed_or_refused_by_itself() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let tags = r#"[{"TagKey":"env","TagValue":"prod"}]"#;
    for (name, more) in [
        ("app/open", &[][..]),
        ("app/denied", &[]),
        ("app/tagged", &[("Tags", tags)]),
        ("shared", &[("Policy", &*secret_policy("Allow", &["user/reader"], &["kms:GetSecretValue"]))]),
        ("app/shut", &[("Policy", &*secret_policy("Deny", &["user/reader"], &["kms:Get*"]))]),
        ("other", &[]),
    ] {
        let call = [&[("SecretName", name), ("VersionId", "v1"), ("SecretData", name)], more].concat();
        admin.ok("CreateSecret", &call).await;
    }
    let statements = json!([
        { "Effect": "Allow", "Action": "kms:GetSecretValue", "Resource": secret_arn("app/*") },
        { "Effect": "Deny", "Action": "kms:*", "Resource": secret_arn("app/denied") },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": { "StringEquals": { "kms:tag/env": "prod" } } },
    ]);
    let document = json!({ "Version": "1", "Statement": statements }).to_string();
    let reader = appliance.named_user_with("reader", &[document]).await;
    let names =
        ["app/open", "app/denied", "app/tagged", "shared", "app/shut", "other", "app/missing", "missing"];
    let list: Value = names.iter().map(|name| json!({ "SecretName": name })).collect();
    let answer = batch(&reader, &list).await;
    assert_eq!(values(&answer), [("app/open", "app/open"), ("shared", "shared")]);
    assert_eq!(
        errors(&answer),
        [
            ("app/denied", DENIED, 403),
            ("app/tagged", DENIED, 403),
            ("app/shut", DENIED, 403),
            ("other", DENIED, 403),
            ("app/missing", MISSING, 404),
            ("missing", DENIED, 403),
        ]
    );
    // As each is answered alone.
    for error in answer["Errors"].as_array().unwrap() {
        let named = [("SecretName", error["SecretName"].as_str().unwrap())];
        let alone = reader.call("GetSecretValue", &named).await.unwrap_err();
        assert_eq!(
            (error["HttpStatus"].as_u64().unwrap(), &error["Code"]),
            (alone.status.into(), &json!(alone.code))
        );
        assert_eq!(error["Message"], alone.message);
    }
    let records = appliance.audit_of(answer["RequestId"].as_str().unwrap());
    let checks = records[0]["additionalEventData"]["authorization"]["checks"].as_array().unwrap();
    let decisions: Vec<&str> = checks.iter().map(|check| check["decision"].as_str().unwrap()).collect();
    let (allow, deny, silent) = ("Allow", "ExplicitDeny", "ImplicitDeny");
    assert_eq!(decisions, [allow, deny, deny, allow, deny, silent, allow, silent]);
    assert!(checks.iter().all(|check| check["action"] == "kms:GetSecretValue"));

    // The action itself is no right, and having it gives none.
    let only = policy("Allow", &["kms:BatchGetSecretValue"], &["*"]);
    let client = appliance.user_with(&[only]).await;
    let answer = batch(&client, &list).await;
    assert!(values(&answer).is_empty());
    assert_eq!(errors(&answer).len(), names.len());
}

#[tokio::test]
async fn twenty_of_the_longest_values_come_whole() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let long = "\u{1}é\"".repeat(7_680);
    let names: Vec<String> = (0..21).map(|number| format!("n{number:02}")).collect();
    for name in &names {
        admin.create_secret(name, &long).await;
    }
    let list = |names: &[String]| names.iter().map(|name| json!({ "SecretName": name })).collect::<Value>();
    let answer = batch(&admin, &list(&names[..20])).await;
    assert_eq!(answer["SecretValues"].as_array().unwrap().len(), 20);
    assert!(values(&answer).iter().all(|(_, value)| *value == long));
    let text = list(&names).to_string();
    let refused = admin.refused("BatchGetSecretValue", &[("SecretsList", &text)]).await;
    assert_eq!(refused, (400, "InvalidParameter".to_owned()));
}
