//! Sessions of roles: begun, narrowed, over, revoked, and on record.

use std::path::Path;

use serde_json::Value;

use crate::harness::{ACCOUNT, AccessKey, Appliance, Client, Connection, Request, policy, secret_arn};
use crate::ram_calls::{trust, trust_of};

const KMS: &str = "2016-01-20";
const DENIED: &str = "403 Forbidden.NoPermission";
const OVER: &str = "400 InvalidSecurityToken.Expired";

async fn code(client: &Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, code) = client.refused(action, parameters).await;
    format!("{status} {code}")
}

fn role_arn(name: &str) -> String {
    format!("acs:ram::{ACCOUNT}:role/{name}")
}

/// A role with that trust policy and this document as its policy.
async fn role(admin: &Client, name: &str, trust: &str, document: &str) {
    admin.ok("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", trust)]).await;
    let policy = format!("of-{name}");
    admin.ok("CreatePolicy", &[("PolicyName", &policy), ("PolicyDocument", document)]).await;
    let pair = [("RoleName", name), ("PolicyName", policy.as_str()), ("PolicyType", "Custom")];
    admin.ok("AttachPolicyToRole", &pair).await;
}

/// What `AssumeRole` gave.
struct Session {
    key: AccessKey,
    token: String,
    answer: Value,
}

impl Session {
    async fn begin(client: &Client, role: &str, name: &str, more: &[(&str, &str)]) -> Self {
        let arn = role_arn(role);
        let call = [&[("RoleArn", arn.as_str()), ("RoleSessionName", name)], more].concat();
        let answer = client.ok("AssumeRole", &call).await;
        let text = |member: &str| answer["Credentials"][member].as_str().unwrap().to_owned();
        let key = AccessKey { id: text("AccessKeyId"), secret: text("AccessKeySecret") };
        Self { key, token: text("SecurityToken"), answer }
    }

    fn client(&self, appliance: &Appliance) -> Client {
        appliance.client(&self.key).with_token(&self.token)
    }
}

fn reader() -> String {
    policy("Allow", &["kms:GetSecretValue"], &["*"])
}

#[tokio::test]
async fn a_session_has_the_rights_of_its_role_and_is_on_record_with_who_became_whom() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    role(&admin, "Reader", &trust(), &reader()).await;
    let alice = appliance.named_user_with("alice", &[policy("Allow", &["sts:AssumeRole"], &["*"])]).await;
    assert_eq!(code(&alice, "GetSecretValue", &[("SecretName", "db")]).await, DENIED);
    let session = Session::begin(&alice, "READER", "ci-42", &[("SourceIdentity", "carol")]).await;
    assert!(session.key.id.starts_with("STS."), "{}", session.key.id);
    assert_eq!(session.key.secret.len(), 44);
    let arn = format!("acs:ram::{ACCOUNT}:role/reader/ci-42");
    assert_eq!(session.answer["AssumedRoleUser"]["Arn"], arn);
    assert_eq!(session.answer["SourceIdentity"], "carol");
    // Nothing of it is on disk, and a restart ends no session.
    for restarted in [false, true] {
        if restarted {
            appliance.restart().await;
        }
        let client = session.client(&appliance);
        assert_eq!(client.value("db").await, "one");
        assert_eq!(code(&client, "DeleteSecret", &[("SecretName", "db")]).await, DENIED);
        let identity = client.ok("GetCallerIdentity", &[]).await;
        assert_eq!(identity["IdentityType"], "AssumedRoleUser");
        assert_eq!(identity["Arn"], format!("acs:ram::{ACCOUNT}:assumed-role/Reader/ci-42"));
        assert_eq!(identity["PrincipalId"], session.answer["AssumedRoleUser"]["AssumedRoleId"]);
    }
    let identity = appliance.client(alice.key()).ok("GetCallerIdentity", &[]).await;
    assert_eq!(identity["IdentityType"], "RAMUser");
    assert_eq!(identity["Arn"], format!("acs:ram::{ACCOUNT}:user/alice"));

    let events = appliance.audit_events();
    let begun = events.iter().rfind(|e| e["eventName"] == "AssumeRole").unwrap();
    assert_eq!(begun["serviceName"], "Sts");
    assert_eq!(begun["userIdentity"]["userName"], "alice");
    assert_eq!(begun["responseElements"]["AccessKeyId"], session.key.id);
    assert_eq!(begun["requestParameters"]["RoleSessionName"], "ci-42");
    let read = events.iter().rfind(|e| e["eventName"] == "GetSecretValue").unwrap();
    let who = &read["userIdentity"];
    assert_eq!(who["type"], "assumed-role");
    assert_eq!(who["userName"], "Reader:ci-42");
    assert_eq!(who["principalId"], session.answer["AssumedRoleUser"]["AssumedRoleId"]);
    assert_eq!(who["accessKeyId"], session.key.id);
    assert_eq!(who["sessionContext"]["attributes"]["mfaAuthenticated"], "false");
    assert_eq!(who["sessionContext"]["attributes"]["creationDate"].as_str().unwrap().len(), 20);
    let sent = &read["requestParameters"];
    assert_eq!(sent["stsTokenPrincipalName"], "Reader/ci-42");
    assert_eq!(sent["stsTokenPlayerUid"].to_string(), ACCOUNT);
    assert_eq!(sent["stsTokenChain"], format!("acs:ram::{ACCOUNT}:user/alice"));
    assert_eq!(sent["stsTokenSourceIdentity"], "carol");
    let everything =
        format!("{}{}", events.iter().map(Value::to_string).collect::<String>(), appliance.log());
    assert!(!everything.contains(&session.token) && !everything.contains(&session.key.secret));
    let database = std::fs::read(appliance.database()).unwrap();
    let holds = |text: &str| database.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds(&session.key.id) && !holds(&session.token) && !holds(&session.key.secret));
}

#[tokio::test]
async fn a_role_is_taken_on_only_by_whom_trust_and_own_policies_both_let() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let may = policy("Allow", &["sts:AssumeRole"], &["*"]);
    let named = appliance.named_user_with("named", std::slice::from_ref(&may)).await;
    let other = appliance.named_user_with("other", std::slice::from_ref(&may)).await;
    let without = appliance.named_user_with("without", &[]).await;
    role(&admin, "one", &trust_of(&format!("acs:ram::{ACCOUNT}:user/named")), &reader()).await;
    role(&admin, "anybody", &trust(), &reader()).await;
    let external = serde_json::json!({ "Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "RAM": [format!("acs:ram::{ACCOUNT}:root")] },
        "Condition": { "StringEquals": { "sts:ExternalId": "right-one" } },
    }]});
    role(&admin, "external", &external.to_string(), &reader()).await;
    let service = trust_of("acs:ram::1:root")
        .replace(r#""RAM":["acs:ram::1:root"]"#, r#""Service":["ecs.aliyuncs.com"]"#);
    role(&admin, "service", &service, &reader()).await;

    let [one, anybody, outer, of_service, missing] =
        ["one", "anybody", "external", "service", "missing"].map(role_arn);
    fn call(arn: &str) -> [(&str, &str); 2] {
        [("RoleArn", arn), ("RoleSessionName", "session")]
    }
    named.ok("AssumeRole", &call(&one)).await;
    for (client, arn) in [(&other, &one), (&admin, &one), (&without, &anybody), (&named, &outer)] {
        assert_eq!(code(client, "AssumeRole", &call(arn)).await, "403 NoPermission", "{arn}");
    }
    assert_eq!(code(&admin, "AssumeRole", &call(&of_service)).await, "403 NoPermission");
    let with = |id| [&call(&outer)[..], &[("ExternalId", id)]].concat();
    assert_eq!(code(&named, "AssumeRole", &with("wrong-one")).await, "403 NoPermission");
    named.ok("AssumeRole", &with("right-one")).await;
    // That a role does not exist is told to those who may take on every role.
    assert_eq!(code(&named, "AssumeRole", &call(&missing)).await, "404 EntityNotExist.Role");
    assert_eq!(code(&without, "AssumeRole", &call(&missing)).await, "403 NoPermission");
    let events = appliance.audit_events();
    let refused =
        events.iter().find(|e| e["eventName"] == "AssumeRole" && e["userIdentity"]["userName"] == "other");
    assert_eq!(refused.unwrap()["additionalEventData"]["authorization"]["layer"], "trust");
}

#[tokio::test]
async fn a_session_policy_narrows_and_never_widens() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["app/db", "app/other", "apart"] {
        admin.create_secret(name, name).await;
    }
    let all_of_app = policy("Allow", &["kms:*"], &[&secret_arn("app/*")]);
    role(&admin, "app", &trust(), &all_of_app).await;
    let narrow = policy("Allow", &["kms:GetSecretValue"], &[&secret_arn("app/db"), &secret_arn("apart")]);
    let session = Session::begin(&admin, "app", "narrow", &[("Policy", &narrow)]).await;
    let client = session.client(&appliance);
    assert_eq!(client.value("app/db").await, "app/db");
    for name in ["app/other", "apart"] {
        let refused = client.call("GetSecretValue", &[("SecretName", name)]).await.unwrap_err();
        assert_eq!(refused.code, "Forbidden.NoPermission", "{name}");
    }
    assert_eq!(code(&client, "DescribeSecret", &[("SecretName", "app/db")]).await, DENIED);
    let record = appliance.audit_events().pop().unwrap();
    assert_eq!(record["additionalEventData"]["authorization"]["layer"], "session");
    let other = Session::begin(&admin, "app", "wide", &[]).await;
    assert_eq!(other.client(&appliance).value("app/other").await, "app/other");
    // What changes in the role's policies holds for the sessions that go on.
    let pair = [("RoleName", "app"), ("PolicyName", "of-app"), ("PolicyType", "Custom")];
    admin.ok("DetachPolicyFromRole", &pair).await;
    assert_eq!(code(&client, "GetSecretValue", &[("SecretName", "app/db")]).await, DENIED);
}

#[tokio::test]
async fn sessions_end_with_their_time_their_role_and_a_revocation() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    for name in ["kept", "revoked", "deleted"] {
        role(&admin, name, &trust(), &reader()).await;
    }
    admin.ok("UpdateRole", &[("RoleName", "kept"), ("NewMaxSessionDuration", "43200")]).await;
    let kept = Session::begin(&admin, "kept", "session", &[]).await;
    let long = Session::begin(&admin, "kept", "session", &[("DurationSeconds", "43200")]).await;
    let revoked = Session::begin(&admin, "revoked", "session", &[]).await;
    let deleted = Session::begin(&admin, "deleted", "session", &[]).await;
    let read = [("SecretName", "db")];
    for session in [&kept, &long, &revoked, &deleted] {
        assert_eq!(session.client(&appliance).value("db").await, "one");
    }
    let arn = role_arn("revoked");
    let too_long = [("RoleArn", arn.as_str()), ("RoleSessionName", "s1"), ("DurationSeconds", "3601")];
    assert_eq!(code(&admin, "AssumeRole", &too_long).await, "400 InvalidParameter.DurationSeconds");

    admin.ok("RevokeRoleSessions", &[("RoleName", "revoked")]).await;
    assert_eq!(code(&revoked.client(&appliance), "GetSecretValue", &read).await, OVER);
    let anew = Session::begin(&admin, "revoked", "session", &[]).await;
    assert_eq!(anew.client(&appliance).value("db").await, "one");
    let pair = [("RoleName", "deleted"), ("PolicyName", "of-deleted"), ("PolicyType", "Custom")];
    admin.ok("DetachPolicyFromRole", &pair).await;
    admin.ok("DeleteRole", &pair[..1]).await;
    assert_eq!(code(&deleted.client(&appliance), "GetSecretValue", &read).await, OVER);
    // A role of the same name is another role.
    let document = trust();
    admin.ok("CreateRole", &[("RoleName", "deleted"), ("AssumeRolePolicyDocument", &document)]).await;
    admin.ok("AttachPolicyToRole", &pair).await;
    assert_eq!(code(&deleted.client(&appliance), "GetSecretValue", &read).await, OVER);

    // An hour and a bit later.
    assert!(appliance.stop().success());
    move_clock(&mut appliance, 3_700);
    appliance.start().await;
    let admin = appliance.admin();
    assert_eq!(code(&kept.client(&appliance), "GetSecretValue", &read).await, OVER);
    assert_eq!(code(&revoked.client(&appliance), "GetSecretValue", &read).await, OVER);
    assert_eq!(long.client(&appliance).value("db").await, "one");
    // A shorter time of the role shortens those that go on.
    admin.ok("UpdateRole", &[("RoleName", "kept"), ("NewMaxSessionDuration", "3600")]).await;
    assert_eq!(code(&long.client(&appliance), "GetSecretValue", &read).await, OVER);
}

/// Has the program and its new clients believe that so many seconds have passed.
fn move_clock(appliance: &mut Appliance, seconds: i64) {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is missing: install the Debian package faketime");
    let moved = format!("{seconds:+}");
    let pairs = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", moved.as_str()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    appliance.environment(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    appliance.clock_is_ahead(seconds);
}

#[tokio::test]
async fn one_session_may_begin_another_for_an_hour_at_most_and_the_chain_is_kept() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let onward = policy("Allow", &["sts:AssumeRole"], &["*"]);
    role(&admin, "first", &trust(), &onward).await;
    role(&admin, "second", &trust_of(&role_arn("first")), &reader()).await;
    admin.ok("UpdateRole", &[("RoleName", "second"), ("NewMaxSessionDuration", "43200")]).await;
    let second = role_arn("second");
    let call = [("RoleArn", second.as_str()), ("RoleSessionName", "inner")];
    assert_eq!(code(&admin, "AssumeRole", &call).await, "403 NoPermission");
    let first = Session::begin(&admin, "first", "outer", &[]).await.client(&appliance);
    let long = [&call[..], &[("DurationSeconds", "3601")]].concat();
    assert_eq!(code(&first, "AssumeRole", &long).await, "400 InvalidParameter.DurationSeconds");
    let inner = Session::begin(&first, "second", "inner", &[]).await.client(&appliance);
    assert_eq!(inner.value("db").await, "one");
    let record = appliance.audit_events().pop().unwrap();
    let chain = format!("acs:ram::{ACCOUNT}:user/admin > acs:ram::{ACCOUNT}:assumed-role/first/outer");
    assert_eq!(record["requestParameters"]["stsTokenChain"], chain);
    // A session has no keys of its own.
    role(&admin, "manager", &trust(), &policy("Allow", &["ram:*"], &["*"])).await;
    let manager = Session::begin(&admin, "manager", "keys", &[]).await.client(&appliance);
    assert_eq!(code(&manager, "CreateAccessKey", &[]).await, "400 MissingParameter");
    manager.ok("ListAccessKeys", &[("UserName", "admin")]).await;
}

#[tokio::test]
async fn tokens_are_bound_to_their_key_and_to_their_vault() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    role(&admin, "reader", &trust(), &reader()).await;
    let [one, two] = [
        Session::begin(&admin, "reader", "one", &[]).await,
        Session::begin(&admin, "reader", "two", &[]).await,
    ];
    let read = [("SecretName", "db")];
    let wrong = AccessKey { secret: two.key.secret.clone(), ..one.key.clone() };
    let spoiled = format!("{}A", one.token);
    for (key, token, expected) in [
        (&one.key, Some(&two.token), "400 InvalidSecurityToken.MismatchWithAccessKey"),
        (admin.key(), Some(&one.token), "400 InvalidSecurityToken.MismatchWithAccessKey"),
        (&one.key, Some(&spoiled), "400 InvalidSecurityToken.Malformed"),
        (admin.key(), Some(&spoiled), "400 InvalidSecurityToken.Malformed"),
        (&one.key, None, "400 MissingSecurityToken"),
        (&wrong, Some(&one.token), "400 SignatureDoesNotMatch"),
    ] {
        let client = appliance.client(key);
        let client = match token {
            Some(token) => client.with_token(token),
            None => client,
        };
        assert_eq!(code(&client, "GetSecretValue", &read).await, expected);
        // V1 carries the token as a parameter.
        let mut v1 = Request::v1(key, "GetSecretValue", KMS, &read);
        if let Some(token) = token {
            v1 = v1.set("SecurityToken", token);
        }
        let reply = Connection::open(&appliance).await.send(&v1.query("POST")).await;
        assert_eq!(format!("{} {}", reply.status, reply.code()), expected);
    }
    let v1 = Request::v1(&one.key, "GetSecretValue", KMS, &read).set("SecurityToken", &one.token);
    for request in [v1.query("GET"), v1.clone().form()] {
        let reply = Connection::open(&appliance).await.send(&request).await;
        let expected = if request.method == "GET" { 200 } else { 400 };
        assert_eq!(reply.status, expected, "the nonce is good once: {}", reply.json());
    }
    // The token of another vault is no token here.
    let other = Appliance::running().await;
    role(&other.admin(), "reader", &trust(), &reader()).await;
    let foreign = Session::begin(&other.admin(), "reader", "one", &[]).await;
    let refused = code(&foreign.client(&appliance), "GetSecretValue", &read).await;
    assert_eq!(refused, "400 InvalidSecurityToken.Malformed");
    assert_eq!(one.client(&appliance).value("db").await, "one");
}

#[tokio::test]
async fn the_longest_session_policy_comes_along_with_every_call() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    role(&admin, "reader", &trust(), &reader()).await;
    let resource = |length: usize| format!("acs:kms:*:*:secret/{}", "x".repeat(length));
    let room = 2_048 - policy("Allow", &["kms:GetSecretValue"], &["*", &resource(0)]).len();
    let longest = policy("Allow", &["kms:GetSecretValue"], &["*", &resource(room)]);
    assert_eq!(longest.len(), 2_048);
    let session = Session::begin(&admin, "reader", "long", &[("Policy", &longest)]).await;
    assert_eq!(session.client(&appliance).value("db").await, "one");
    let arn = role_arn("reader");
    let call = |policy| [("RoleArn", arn.as_str()), ("RoleSessionName", "s1"), ("Policy", policy)];
    let longer = policy("Allow", &["kms:GetSecretValue"], &["*", &resource(room + 1)]);
    assert_eq!(code(&admin, "AssumeRole", &call(&longer)).await, "400 InvalidParameter.PolicySize");
    // Characters of four bytes make a token that no header would carry.
    let wide = policy("Allow", &["kms:GetSecretValue"], &["*", &resource(room).replace('x', "𐍈")]);
    assert_eq!(code(&admin, "AssumeRole", &call(&wide)).await, "400 InvalidParameter.PolicySize");
    assert_eq!(code(&admin, "AssumeRole", &call("{}")).await, "400 InvalidParameter.PolicyGrammar");
}
