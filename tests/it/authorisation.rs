//! The one way in: every action of the table, asked by everybody who must not
//! and by somebody who may, with its records.

use data_encoding::BASE64;
use serde_json::Value;
use strongroom::api::actions::{Row, Service, TABLE};
use strongroom::api::describe::{self, Parameter};
use strongroom::audit::EventAccess;

use crate::harness::{AccessKey, Appliance, Client, Connection, Reply, Request, policy};
use crate::ram_calls;

/// Parameters that sound calls have though they are not required.
const BESIDES: [(&str, &str); 17] = [
    ("CreateAccessKey", "UserName"),
    ("DeleteAccessKey", "UserName"),
    ("ListAccessKeys", "UserName"),
    ("ListResourceTags", "SecretName"),
    ("ListTagResources", "ResourceId.N"),
    ("PlanRotationCampaign", "NamePrefix"),
    ("SetDeletionProtection", "KeyId"),
    ("StartRotationCampaign", "NamePrefix"),
    ("TagResource", "SecretName"),
    ("UntagResource", "SecretName"),
    ("UntagResources", "TagKey.N"),
    ("UpdateAccessKey", "UserName"),
    ("UpdateGroup", "NewComments"),
    ("UpdateRole", "NewDescription"),
    ("UpdateSecret", "Description"),
    ("UpdateSecretVersionStage", "MoveToVersion"),
    ("UpdateUser", "NewComments"),
];

/// A call of the action that is in order: all that it requires, as the examples
/// of its description have it. Names end in the action's, so that one call does
/// not meet what another left.
pub(crate) fn sound_call(action: &str) -> Vec<(String, String)> {
    let description = describe::all().iter().find(|d| d.name == action).unwrap();
    let is_sent = |p: &&Parameter| p.required || BESIDES.contains(&(action, p.name));
    let sent = description.parameters.iter().filter(is_sent);
    sent.map(|p| (p.name.replace(".N", ".1"), sound_value(action, p))).collect()
}

fn sound_value(action: &str, parameter: &Parameter) -> String {
    match parameter.name {
        "AliasName" => format!("alias/{action}"),
        // Turned on it would need an interval.
        "EnableAutomaticRotation" => "false".to_owned(),
        "Plaintext" => BASE64.encode(b"Marker-Value"),
        "GroupName" => format!("g-{action}"),
        "RoleName" if action == "DeleteServiceLinkedRole" => ram_calls::ECS_ROLE.to_owned(),
        "RoleArn" => format!("acs:ram::{}:role/r-{action}", crate::harness::ACCOUNT),
        "RoleName" => format!("r-{action}"),
        "PolicyName" => format!("p-{action}"),
        "SecretData" => "Marker-Value".to_owned(),
        "ResourceId.N" | "SecretName" => format!("s/{action}"),
        "SecretsList" => format!(r#"[{{"SecretName":"s/{action}"}}]"#),
        "UserName" => format!("u-{action}"),
        name => {
            let example = parameter.example.or(parameter.values.first().copied());
            example.unwrap_or_else(|| panic!("{action} {name} has no example in schema/api")).to_owned()
        }
    }
}

/// A call as clients take it.
pub(crate) fn borrowed(call: &[(String, String)]) -> Vec<(&str, &str)> {
    call.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

/// What is asked for an action: its own right, but for one whose items are
/// asked for each by itself.
fn right(row: &Row) -> &'static str {
    if row.spec.name == BATCH { "kms:GetSecretValue" } else { row.spec.right }
}

/// The action that is never refused as a whole.
const BATCH: &str = "BatchGetSecretValue";

/// Makes the key that the call is about, and its names.
async fn prepare_key(admin: &Client, action: &str, call: &mut [(String, String)]) {
    let made = admin.ok("CreateKey", &[]).await["KeyMetadata"].clone();
    let key = made["KeyId"].as_str().unwrap();
    let version = made["PrimaryKeyVersion"].as_str().unwrap();
    for (name, value) in call {
        match name.as_str() {
            "KeyId" => key.clone_into(value),
            "KeyVersionId" => version.clone_into(value),
            "AliasName" if action != "CreateAlias" => {
                admin.ok("CreateAlias", &[("AliasName", value), ("KeyId", key)]).await;
            }
            "CiphertextBlob" => {
                let plain = BASE64.encode(b"Marker-Value");
                let sealed = admin.ok("Encrypt", &[("KeyId", key), ("Plaintext", &plain)]).await;
                sealed["CiphertextBlob"].as_str().unwrap().clone_into(value);
            }
            _ => {}
        }
    }
    if action == "CancelKeyDeletion" {
        admin.ok("ScheduleKeyDeletion", &[("KeyId", key), ("PendingWindowInDays", "7")]).await;
    }
}

/// Makes what the call is about.
async fn prepare(admin: &Client, row: &Row, call: &mut [(String, String)]) {
    let action = row.spec.name;
    if call.iter().any(|(name, _)| ["KeyId", "AliasName", "CiphertextBlob"].contains(&name.as_str())) {
        prepare_key(admin, action, call).await;
    }
    let of = |name: &str| call.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
    let item = (action == BATCH).then(|| format!("s/{action}"));
    if let Some(name) = of("SecretName").or(of("ResourceId.1")).or(item).filter(|_| action != "CreateSecret")
    {
        admin.create_secret(&name, "Marker-Value").await;
        if action == "RestoreSecret" {
            admin.ok("DeleteSecret", &[("SecretName", &name)]).await;
        }
    }
    if row.spec.service != Service::Kms {
        ram_calls::prepare(admin, action, call).await;
    }
}

struct Asked<'a> {
    appliance: &'a Appliance,
    row: &'a Row,
    call: Vec<(&'a str, &'a str)>,
}

impl Asked<'_> {
    fn signed(&self, key: &AccessKey) -> Request {
        let version = self.row.spec.service.version();
        Request::acs3(self.appliance, key, self.row.spec.name, version, &self.call).sign()
    }

    async fn send(&self, request: &Request) -> Reply {
        Connection::open(self.appliance).await.send(request).await
    }

    /// The one record of a refusal, which must be like this.
    fn refused(&self, case: &str, reply: &Reply, status: u16, code: &str) -> Value {
        let (name, answer) = (self.row.spec.name, reply.json());
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name} {case}: {answer}");
        assert_eq!(answer["HttpStatus"], status, "{name} {case}");
        assert_eq!(answer["RequestId"], reply.request_id(), "{name} {case}");
        let records = self.appliance.audit_of(&reply.request_id());
        assert_eq!(records.len(), 1, "{name} {case}: {records:?}");
        let record = records.into_iter().next().unwrap();
        assert_eq!(record["eventName"], name, "{case}");
        assert_eq!(record["errorCode"], code, "{name} {case}");
        assert_eq!(record["responseElements"], Value::Null, "{name} {case}");
        assert!(record["additionalEventData"].get("phase").is_none(), "{name} {case}: nothing was begun");
        assert!(!record.to_string().contains("Marker-Value"), "{name} {case}");
        record
    }

    fn stranger(&self, case: &str, reply: &Reply, status: u16, code: &str) {
        let record = self.refused(case, reply, status, code);
        assert_eq!(record["userIdentity"]["type"], "unknown", "{case}");
        assert_eq!(record["additionalEventData"]["authenticated"], false, "{case}");
        assert!(record["additionalEventData"].get("authorization").is_none(), "{case}");
        // What strangers send is not written in clear.
        let sent = record["requestParameters"].as_object().cloned().unwrap_or_default();
        assert!(sent.values().all(|value| value == "******"), "{case}: {sent:?}");
    }

    /// The same where a refusal stands in the place of what was refused.
    fn denied_item(&self, case: &str, reply: &Reply, kind: &str) {
        let answer = reply.json();
        assert_eq!(reply.status, 200, "{case}: {answer}");
        assert_eq!(answer["SecretValues"], serde_json::json!([]), "{case}");
        assert_eq!(answer["Errors"][0]["Code"], "Forbidden.NoPermission", "{case}: {answer}");
        assert_eq!(answer["Errors"][0]["HttpStatus"], 403, "{case}");
        let records = self.appliance.audit_of(&reply.request_id());
        assert_eq!(records.len(), 1, "{case}");
        let more = &records[0]["additionalEventData"];
        assert_eq!(more["authorization"]["decision"], kind, "{case}");
        assert_eq!(more["items"][0]["errorCode"], "Forbidden.NoPermission", "{case}");
    }

    fn denied(&self, case: &str, reply: &Reply, kind: &str, user: &str) {
        let spec = &self.row.spec;
        if spec.name == BATCH {
            return self.denied_item(case, reply, kind);
        }
        let code = if spec.service == Service::Kms { "Forbidden.NoPermission" } else { "NoPermission" };
        let record = self.refused(case, reply, 403, code);
        assert_eq!(record["additionalEventData"]["authorization"]["decision"], kind, "{} {case}", spec.name);
        assert_eq!(record["userIdentity"]["userName"], user);
        assert_eq!(record["userIdentity"]["type"], "ram-user");
        let detail = &reply.json()["AccessDeniedDetail"];
        assert_eq!(detail["AuthAction"], spec.right, "{case}");
        assert_eq!(detail["NoPermissionType"], kind, "{case}");
        assert_eq!(detail["AuthPrincipalType"], "SubUser");
        assert_eq!(detail["PolicyType"], "AccountLevelIdentityBasedPolicy");
        assert_eq!(detail["AuthPrincipalDisplayName"], record["userIdentity"]["principalId"]);
    }
}

#[tokio::test]
async fn every_action_is_refused_to_all_but_those_who_may_and_is_recorded() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let nobody = appliance.named_user_with("nobody", &[]).await;
    let all = policy("Allow", &["*"], &["*"]);
    let none = policy("Deny", &["kms:*", "ram:*", "sts:*"], &["*"]);
    let forbidden = appliance.named_user_with("forbidden", &[all, none]).await;
    for row in TABLE {
        let spec = &row.spec;
        let mut call = sound_call(spec.name);
        let spare = call.clone();
        prepare(&admin, row, &mut call).await;
        let asked = Asked { appliance: &appliance, row, call: borrowed(&call) };

        // Nobody's signature.
        let mut unsigned = asked.signed(admin.key());
        unsigned.headers.retain(|(name, _)| name != "authorization");
        asked.stranger("unsigned", &asked.send(&unsigned).await, 400, "MissingParameter");
        let wrong = AccessKey { secret: "wrong".to_owned(), ..admin.key().clone() };
        let reply = asked.send(&asked.signed(&wrong)).await;
        asked.stranger("wrong signature", &reply, 400, "SignatureDoesNotMatch");
        assert!(reply.json()["Message"].as_str().unwrap().contains("server string to sign is:"));
        let v1 = Request::v1(&wrong, spec.name, spec.service.version(), &asked.call);
        let reply = asked.send(&v1.query("POST")).await;
        asked.stranger("wrong V1 signature", &reply, 400, "SignatureDoesNotMatch");
        assert!(!reply.json().to_string().contains("Marker-Value"), "a value is not echoed");
        let unknown = AccessKey { id: "LTAINobody".to_owned(), ..admin.key().clone() };
        let reply = asked.send(&asked.signed(&unknown)).await;
        asked.stranger("unknown key", &reply, 404, "InvalidAccessKeyId.NotFound");

        if spec.description.needs_no_right() {
            let reply = asked.send(&asked.signed(forbidden.key())).await;
            assert_eq!(reply.status, 200, "{}", spec.name);
            assert_eq!(appliance.audit_of(&reply.request_id()).len(), 1, "{}", spec.name);
            continue;
        }

        // Somebody's, who may not: what exists and what does not look alike.
        let names: Vec<&str> = TABLE.iter().map(|r| r.spec.right).filter(|r| *r != right(row)).collect();
        let other_rights = policy("Allow", &names, &["*"]);
        let neighbour = format!("n-{}", spec.name);
        let other = appliance.named_user_with(&neighbour, &[other_rights]).await;
        for (client, kind, user) in [
            (&nobody, "ImplicitDeny", "nobody"),
            (&forbidden, "ExplicitDeny", "forbidden"),
            (&other, "ImplicitDeny", neighbour.as_str()),
        ] {
            asked.denied(user, &asked.send(&asked.signed(client.key())).await, kind, user);
            let missing = missing_resource(&spare);
            let elsewhere = Asked { appliance: &appliance, row, call: borrowed(&missing) };
            let reply = elsewhere.send(&elsewhere.signed(client.key())).await;
            elsewhere.denied("what does not exist", &reply, kind, user);
        }

        allowed(&asked).await;
    }
}

/// The same call for things that there are not.
fn missing_resource(call: &[(String, String)]) -> Vec<(String, String)> {
    let names = [
        "SecretName",
        "UserName",
        "GroupName",
        "PolicyName",
        "RoleArn",
        "RoleName",
        "AliasName",
        "ResourceId.1",
    ];
    call.iter()
        .map(|(n, v)| match n.as_str() {
            "SecretsList" => (n.clone(), v.replace("\"}", "-missing\"}")),
            name if names.contains(&name) => (n.clone(), format!("{v}-missing")),
            _ => (n.clone(), v.clone()),
        })
        .collect()
}

/// A user with this one right does it, and the records say so.
async fn allowed(asked: &Asked<'_>) {
    let spec = &asked.row.spec;
    let user = format!("may-{}", spec.name);
    let one = asked.appliance.named_user_with(&user, &[policy("Allow", &[right(asked.row)], &["*"])]).await;
    let reply = asked.send(&asked.signed(one.key())).await;
    // Secrets of type Generic do not rotate: allowed, and not possible.
    let rotates = matches!(spec.name, "ListSecretRotations" | "RotateSecret" | "UpdateSecretRotationPolicy");
    let (status, code) = match spec.name {
        _ if rotates => (400, "UnsupportedOperation"),
        // There is no campaign yet, and none can be started without ECS secrets.
        "StartRotationCampaign" => (409, "Rejected.ResourceNotFound"),
        "GiveUpSecretRotation"
        | "CancelRotationCampaign"
        | "DescribeRotationCampaign"
        | "PauseRotationCampaign"
        | "ResumeRotationCampaign" => (404, "Forbidden.ResourceNotFound"),
        _ => (200, ""),
    };
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}: {}", spec.name, reply.json());
    let records = asked.appliance.audit_of(&reply.request_id());
    let phases: Vec<Value> =
        records.iter().map(|r| r["additionalEventData"].get("phase").cloned().unwrap_or_default()).collect();
    match spec.access() {
        EventAccess::Read => assert_eq!(phases, [Value::Null], "{}", spec.name),
        EventAccess::Write => assert_eq!(phases, ["started", "finished"], "{}", spec.name),
    }
    for record in &records {
        assert_eq!(record["eventName"], spec.name);
        assert_eq!(record["eventType"], "ApiCall");
        assert_eq!(record["serviceName"], spec.service.name());
        assert_eq!(record["apiVersion"], spec.service.version());
        assert_eq!(record["sourceIpAddress"], "127.0.0.1");
        assert_eq!(record["userIdentity"]["userName"], *user);
        assert_eq!(record["userIdentity"]["accessKeyId"], one.key().id);
        let authorization = &record["additionalEventData"]["authorization"];
        assert_eq!(authorization["decision"], "Allow");
        assert_eq!(authorization["policyName"], format!("{user}-0"));
        assert!(authorization["checks"].as_array().is_some_and(|checks| !checks.is_empty()));
        assert!(!record.to_string().contains("Marker-Value"), "{}", spec.name);
    }
    let last = records.last().unwrap();
    assert_eq!(last.get("errorCode").is_some(), status != 200, "{}", spec.name);
    assert_eq!(last["eventRW"], if spec.access() == EventAccess::Read { "Read" } else { "Write" });
}

#[tokio::test]
async fn a_missing_secret_is_told_to_those_who_may_and_to_nobody_else() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let nobody = appliance.user_with(&[]).await;
    for row in TABLE.iter().filter(|row| sound_call(row.spec.name).iter().any(|(n, _)| *n == "SecretName")) {
        if row.spec.name == "CreateSecret" {
            continue;
        }
        let call = sound_call(row.spec.name);
        let call = borrowed(&call);
        let answer = admin.refused(row.spec.name, &call).await;
        assert_eq!(answer, (404, "Forbidden.ResourceNotFound".to_owned()), "{}", row.spec.name);
        assert_eq!(nobody.refused(row.spec.name, &call).await.0, 403, "{}", row.spec.name);
    }
}

#[tokio::test]
async fn a_deny_by_tag_holds_for_every_action_on_the_secret_also_after_a_restart() {
    let mut appliance = Appliance::running().await;
    let tagged = |name: &'static str, value: &str| {
        let tags = format!(r#"[{{"TagKey":"env","TagValue":"{value}"}}]"#);
        [
            ("SecretName", name.to_owned()),
            ("VersionId", "v1".to_owned()),
            ("SecretData", "x".to_owned()),
            ("Tags", tags),
        ]
    };
    let admin = appliance.admin();
    for secret in [tagged("live", "prod"), tagged("trial", "test")] {
        let secret: Vec<_> = secret.iter().map(|(n, v)| (*n, v.as_str())).collect();
        admin.ok("CreateSecret", &secret).await;
    }
    for key in ["kms:tag/env", "acs:ResourceTag/env"] {
        let document = serde_json::json!({ "Version": "1", "Statement": [
            { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
            { "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": { "StringEquals": { key: ["prod"] } } },
        ]});
        let user = appliance.user_with(&[document.to_string()]).await;
        for _ in 0..2 {
            let user = appliance.client(user.key());
            for row in TABLE.iter().filter(|row| row.spec.service == Service::Kms) {
                let mut call = sound_call(row.spec.name);
                let Some((_, name)) = call.iter_mut().find(|(n, _)| *n == "SecretName") else { continue };
                *name = "live".to_owned();
                let call = borrowed(&call);
                let refused = user.call(row.spec.name, &call).await.unwrap_err();
                assert_eq!(refused.code, "Forbidden.NoPermission", "{key} {}", row.spec.name);
            }
            assert_eq!(user.value("trial").await, "x");
            appliance.restart().await;
        }
    }
}

#[tokio::test]
async fn a_policy_for_one_secret_opens_no_other() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["app/db", "app/db2", "app", "other"] {
        admin.create_secret(name, name).await;
    }
    let arn = crate::harness::secret_arn("app/db");
    let user = appliance.user_with(&[policy("Allow", &["kms:GetSecretValue"], &[&arn])]).await;
    assert_eq!(user.value("app/db").await, "app/db");
    for name in ["app/db2", "app", "other", "app/d", "APP/DB"] {
        assert_eq!(user.refused("GetSecretValue", &[("SecretName", name)]).await.0, 403, "{name}");
    }
    let below = crate::harness::secret_arn("app/*");
    let denied = policy("Deny", &["kms:Get*"], &[&below]);
    let user = appliance.user_with(&[policy("Allow", &["kms:*"], &["*"]), denied]).await;
    assert_eq!(user.value("other").await, "other");
    assert_eq!(user.refused("GetSecretValue", &[("SecretName", "app/db")]).await.0, 403);
    user.ok("DescribeSecret", &[("SecretName", "app/db")]).await;
}
