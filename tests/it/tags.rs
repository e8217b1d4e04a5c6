//! Tags of secrets and keys: put on, taken off, listed, decided by.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, Appliance, Client, REGION, policy, secret_arn};

const WINDOW: (u16, &str) = (409, "Rejected.ResourceInDeleteWindow");
const GONE: (u16, &str) = (404, "Forbidden.ResourceNotFound");
const NO_KEY: (u16, &str) = (404, "Forbidden.KeyNotFound");

/// The tags of a secret, `key=value` in the order of the keys.
async fn tags(client: &Client, name: &str) -> String {
    let answer = client.ok("ListResourceTags", &[("SecretName", name)]).await;
    let rows = answer["Tags"]["Tag"].as_array().unwrap();
    let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
    assert!(rows.iter().all(|row| row["KeyId"] == name));
    let mut all: Vec<_> =
        rows.iter().map(|row| format!("{}={}", text(row, "TagKey"), text(row, "TagValue"))).collect();
    all.sort_unstable();
    let described = client.ok("DescribeSecret", &[("SecretName", name), ("FetchTags", "true")]).await;
    assert_eq!(described["Tags"]["Tag"].as_array().unwrap().len(), all.len());
    all.join(" ")
}

fn listed(pairs: &[(&str, &str)]) -> String {
    let all: Vec<_> = pairs.iter().map(|(k, v)| json!({ "TagKey": k, "TagValue": v })).collect();
    Value::from(all).to_string()
}

/// `RegionId`, `ResourceType` and `ResourceId.N` of secrets, and what else is said.
fn plural(names: &[&str], more: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut call = vec![own(("RegionId", REGION)), own(("ResourceType", "secret"))];
    call.extend(
        names.iter().zip(1..).map(|(name, number)| (format!("ResourceId.{number}"), (*name).to_owned())),
    );
    call.extend(more.iter().copied().map(own));
    call
}

fn borrowed(call: &[(String, String)]) -> Vec<(&str, &str)> {
    call.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn refused(client: &Client, action: &str, call: &[(String, String)], expected: (u16, &str)) {
    let refused = client.refused(action, &borrowed(call)).await;
    assert_eq!((refused.0, refused.1.as_str()), expected, "{action} {call:?}");
}

#[tokio::test]
async fn tags_of_one_secret_are_set_replaced_and_taken_off() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("app/db", "x").await;
    assert_eq!(tags(&admin, "app/db").await, "");
    let arn = secret_arn("app/db");
    let answer = admin
        .ok("TagResource", &[("SecretName", &arn), ("Tags", &listed(&[("env", "prod"), ("team", "web")]))])
        .await;
    assert_eq!(answer.as_object().unwrap().len(), 1, "a RequestId and nothing else: {answer}");
    admin
        .ok("TagResource", &[("SecretName", "app/db"), ("Tags", &listed(&[("env", "test"), ("x", "")]))])
        .await;
    assert_eq!(tags(&admin, "app/db").await, "env=test team=web x=");
    for keys in ["team", r#"["team","never"]"#] {
        admin.ok("UntagResource", &[("SecretName", "app/db"), ("TagKeys", keys)]).await;
        assert_eq!(tags(&admin, "app/db").await, "env=test x=");
    }
    admin.ok("UntagResource", &[("SecretName", "app/db"), ("TagKeys", "x,env")]).await;
    assert_eq!(tags(&admin, "app/db").await, "");

    // Twenty, and no more: then none of them is set.
    let many: Vec<_> = (0..20).map(|n| format!("k{n:02}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "v")).collect();
    admin.ok("TagResource", &[("SecretName", "app/db"), ("Tags", &listed(&many))]).await;
    let over = [("SecretName", "app/db"), ("Tags", &*listed(&[("k00", "new"), ("k20", "v")]))];
    assert_eq!(admin.refused("TagResource", &over).await, (400, "Rejected.LimitExceeded".to_owned()));
    assert!(tags(&admin, "app/db").await.starts_with("k00=v "));
    admin.ok("TagResource", &[("SecretName", "app/db"), ("Tags", &listed(&[("k00", "new")]))]).await;
    assert!(tags(&admin, "app/db").await.starts_with("k00=new "));

    for (action, more) in
        [("TagResource", ("Tags", listed(&[("a", "b")]))), ("UntagResource", ("TagKeys", "a".to_owned()))]
    {
        let call =
            |name| vec![("SecretName".to_owned(), String::from(name)), (more.0.to_owned(), more.1.clone())];
        refused(&admin, action, &call("none"), GONE).await;
        let elsewhere = arn.replace(REGION, "cn-beijing");
        refused(&admin, action, &call(elsewhere.as_str()), GONE).await;
        let only = vec![("CertificateId".to_owned(), "c".to_owned()), (more.0.to_owned(), more.1.clone())];
        refused(&admin, action, &only, (400, "UnsupportedOperation")).await;
        refused(&admin, action, &only[1..], (400, "MissingParameter")).await;
    }
    // Scheduled for deletion it keeps the tags that it has.
    admin.ok("DeleteSecret", &[("SecretName", "app/db")]).await;
    let tagging = [("SecretName", "app/db"), ("Tags", &*listed(&[("a", "b")]))];
    assert_eq!(admin.refused("TagResource", &tagging).await, (WINDOW.0, WINDOW.1.to_owned()));
    let untagging = [("SecretName", "app/db"), ("TagKeys", "k00")];
    assert_eq!(admin.refused("UntagResource", &untagging).await, (WINDOW.0, WINDOW.1.to_owned()));
    assert!(tags(&admin, "app/db").await.starts_with("k00=new "));
}

#[tokio::test]
async fn many_secrets_are_tagged_all_or_none() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["a", "b", "c"] {
        admin.create_secret(name, "x").await;
    }
    let set = [("Tag.1.Key", "env"), ("Tag.1.Value", "prod"), ("Tag.2.Key", "empty")];
    // Named twice, it is one.
    let arn = secret_arn("a");
    admin.ok("TagResources", &borrowed(&plural(&["a", "b", &arn], &set))).await;
    for name in ["a", "b"] {
        assert_eq!(tags(&admin, name).await, "empty= env=prod");
    }
    let other = [("Tag.1.Key", "other"), ("Tag.1.Value", "x")];
    refused(&admin, "TagResources", &plural(&["a", "none"], &other), GONE).await;
    refused(&admin, "UntagResources", &plural(&["a", "none"], &[("TagKey.1", "env")]), GONE).await;
    let many: Vec<_> = (0..19).map(|n| format!("k{n}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "v")).collect();
    admin.ok("TagResource", &[("SecretName", "c"), ("Tags", &listed(&many))]).await;
    refused(&admin, "TagResources", &plural(&["a", "c"], &set), (400, "Rejected.LimitExceeded")).await;
    admin.ok("DeleteSecret", &[("SecretName", "b")]).await;
    refused(&admin, "TagResources", &plural(&["a", "b"], &other), WINDOW).await;
    refused(&admin, "UntagResources", &plural(&["a", "b"], &[("All", "true")]), WINDOW).await;
    assert_eq!(tags(&admin, "a").await, "empty= env=prod", "nothing was changed by any of these");

    refused(&admin, "UntagResources", &plural(&["a"], &[]), (400, "MissingParameter")).await;
    refused(&admin, "UntagResources", &plural(&["a"], &[("All", "false")]), (400, "MissingParameter")).await;
    // All means nothing where keys are named.
    admin
        .ok("UntagResources", &borrowed(&plural(&["a", "c"], &[("TagKey.1", "env"), ("All", "True")])))
        .await;
    assert_eq!(tags(&admin, "a").await, "empty=");
    assert_eq!(tags(&admin, "c").await.split(' ').count(), 19);
    admin.ok("UntagResources", &borrowed(&plural(&["a", "c"], &[("All", "True")]))).await;
    assert_eq!((tags(&admin, "a").await, tags(&admin, "c").await), (String::new(), String::new()));

    // As many as a call can name, in one transaction.
    let names: Vec<_> = (0..50).map(|n| format!("many/{n}")).collect();
    for name in &names {
        admin.create_secret(name, "x").await;
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    admin.ok("TagResources", &borrowed(&plural(&names, &set))).await;
    let filters = r#"[{"Key":"TagKey","Values":["env"]}]"#;
    assert_eq!(admin.ok("ListSecrets", &[("Filters", filters)]).await["TotalCount"], 51);
}

#[tokio::test]
async fn the_right_is_asked_on_every_resource_by_its_own_tags() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["app/a", "app/b", "other"] {
        admin.create_secret(name, "x").await;
    }
    admin.ok("TagResource", &[("SecretName", "app/b"), ("Tags", &listed(&[("env", "prod")]))]).await;
    let set = [("Tag.1.Key", "team"), ("Tag.1.Value", "web")];
    let below = secret_arn("app/*");
    let allowed = policy("Allow", &["kms:TagResources", "kms:UntagResources"], &[&below]);
    let user = appliance.user_with(std::slice::from_ref(&allowed)).await;
    user.ok("TagResources", &borrowed(&plural(&["app/a", "app/b"], &set))).await;
    for names in [["app/a", "other"], ["other", "app/a"], ["app/a", "none"]] {
        refused(&user, "TagResources", &plural(&names, &set), (403, "Forbidden.NoPermission")).await;
    }
    let call = plural(&["app/a", "other"], &set);
    let denied = user.call("TagResources", &borrowed(&call)).await.unwrap_err();
    let records = appliance.audit_of(&denied.request_id);
    assert_eq!(records.len(), 1, "nothing was begun");
    let authorization = &records[0]["additionalEventData"]["authorization"];
    assert_eq!(authorization["decision"], "ImplicitDeny");
    assert_eq!(authorization["checks"].as_array().unwrap().len(), 2);
    assert_eq!(records[0]["referencedResources"]["ACS::KMS::Secret"], json!(["app/a", "other"]));

    // A deny by a tag holds for the resource that has it, and is not got round by taking it off.
    let protected = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*",
          "Condition": { "StringEquals": { "kms:tag/env": "prod" } } },
    ]});
    let user = appliance.user_with(&[protected.to_string()]).await;
    user.ok("TagResources", &borrowed(&plural(&["app/a", "other"], &set))).await;
    for action in ["TagResources", "UntagResources"] {
        let more = if action == "TagResources" { &set[..] } else { &[("All", "true")] };
        refused(&user, action, &plural(&["app/a", "app/b"], more), (403, "Forbidden.NoPermission")).await;
    }
    assert_eq!(user.refused("UntagResource", &[("SecretName", "app/b"), ("TagKeys", "env")]).await.0, 403);
    assert_eq!(user.refused("ListResourceTags", &[("SecretName", "app/b")]).await.0, 403);
    refused(&user, "ListTagResources", &plural(&["app/b"], &[]), (403, "Forbidden.NoPermission")).await;
    let shown = user.ok("ListTagResources", &borrowed(&plural(&[], &[]))).await;
    let rows = shown["TagResources"]["TagResource"].as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row["ResourceId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["app/a", "other"], "what is denied is not listed");
    assert_eq!(tags(&admin, "app/b").await, "env=prod team=web");
}

#[tokio::test]
async fn conditions_on_tags_that_are_set_and_taken_off_hold_however_they_are_written() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["a", "b"] {
        admin.create_secret(name, "x").await;
        admin.ok("TagResource", &[("SecretName", name), ("Tags", &listed(&[("x", "1")]))]).await;
    }
    admin.ok("TagResource", &[("SecretName", "b"), ("Tags", &listed(&[("env", "test")]))]).await;
    let rules = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": ["kms:TagResource*"], "Resource": "*",
          "Condition": { "StringEquals": { "acs:RequestTag/env": "prod" } } },
        { "Effect": "Deny", "Action": ["kms:UntagResource*"], "Resource": "*",
          "Condition": { "StringEquals": { "acs:TagKeys": "env" } } },
    ]});
    let user = appliance.user_with(&[rules.to_string()]).await;
    let denied = (403, "Forbidden.NoPermission");
    let one = |name: &str, parameter: &str, value: &str| {
        vec![("SecretName".to_owned(), name.to_owned()), (parameter.to_owned(), value.to_owned())]
    };
    refused(&user, "TagResource", &one("a", "Tags", &listed(&[("env", "prod")])), denied).await;
    user.ok("TagResource", &borrowed(&one("a", "Tags", &listed(&[("team", "prod")])))).await;
    let prod = [("Tag.1.Key", "y"), ("Tag.7.Key", "env"), ("Tag.7.Value", "prod")];
    refused(&user, "TagResources", &plural(&["a"], &prod), denied).await;
    for keys in ["env", "x,env", r#"["x","env"]"#] {
        refused(&user, "UntagResource", &one("b", "TagKeys", keys), denied).await;
    }
    refused(&user, "UntagResources", &plural(&["a", "b"], &[("TagKey.1", "env")]), denied).await;
    refused(&user, "UntagResources", &plural(&["a", "b"], &[("All", "true")]), denied).await;
    // Of a there is no such tag to be taken off.
    user.ok("UntagResources", &borrowed(&plural(&["a"], &[("All", "true")]))).await;
    assert_eq!(
        (tags(&admin, "a").await, tags(&admin, "b").await),
        (String::new(), "env=test x=1".to_owned())
    );
}

#[tokio::test]
async fn the_plural_actions_are_allowed_by_the_rights_of_the_shipped_policies() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("a", "x").await;
    let set = plural(&["a"], &[("Tag.1.Key", "env")]);
    let ecs = policy("Allow", &["ecs:TagResources", "ecs:ListTagResources"], &["acs:kms:*:*:secret/*"]);
    let user = appliance.user_with(std::slice::from_ref(&ecs)).await;
    user.ok("TagResources", &borrowed(&set)).await;
    user.ok("ListTagResources", &borrowed(&plural(&["a"], &[]))).await;
    refused(&user, "UntagResources", &plural(&["a"], &[("All", "true")]), (403, "Forbidden.NoPermission"))
        .await;
    for denied in ["kms:TagResources", "ecs:TagResources"] {
        let all = policy("Allow", &["*"], &["*"]);
        let user = appliance.user_with(&[ecs.clone(), all, policy("Deny", &[denied], &["*"])]).await;
        refused(&user, "TagResources", &set, (403, "Forbidden.NoPermission")).await;
    }
}

#[tokio::test]
async fn tags_are_listed_in_pages_of_two_hundred_rows_without_gaps_or_doubles() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let mut expected = Vec::new();
    for number in 0..70 {
        let name = format!("s/{number:02}");
        let count = number % 8;
        let pairs: Vec<_> = (0..count).map(|k| (format!("k{k}"), format!("v{number}"))).collect();
        expected.extend(pairs.iter().map(|(k, v)| format!("{name} {k} {v}")));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let given = listed(&pairs);
        let call = [("SecretName", &*name), ("VersionId", "v1"), ("SecretData", "x"), ("Tags", &given)];
        admin.ok("CreateSecret", &call).await;
    }
    let walk = async |names: &[&str], more: &[(&str, &str)]| {
        let (mut rows, mut token, mut pages) = (Vec::new(), String::new(), Vec::new());
        loop {
            let mut call = plural(names, more);
            call.push(("NextToken".to_owned(), token.clone()));
            let answer = admin.ok("ListTagResources", &borrowed(&call)).await;
            let found = answer["TagResources"]["TagResource"].as_array().unwrap();
            assert!(found.iter().all(|row| row["ResourceType"] == "secret"));
            pages.push(found.len());
            let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
            rows.extend(found.iter().map(|row| {
                format!("{} {} {}", text(row, "ResourceId"), text(row, "TagKey"), text(row, "TagValue"))
            }));
            token = text(&answer, "NextToken");
            if token.is_empty() {
                return (rows, pages);
            }
        }
    };
    let (rows, pages) = walk(&[], &[]).await;
    assert_eq!(rows, expected);
    assert_eq!(pages, [200, expected.len() - 200]);
    let names: Vec<_> = (20..70).map(|number| format!("s/{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (rows, _) = walk(&names, &[]).await;
    assert_eq!(rows, expected.iter().filter(|row| row.as_str() >= "s/20").cloned().collect::<Vec<_>>());
    let (rows, _) = walk(&[], &[("Tag.1.Key", "k6")]).await;
    assert_eq!(rows.len(), 7 * 8, "all tags of those that have it");
    let (rows, _) = walk(&[], &[("Tag.1.Key", "k1"), ("Tag.1.Value", "v7"), ("Tag.2.Key", "k0")]).await;
    assert_eq!(rows, expected.iter().filter(|row| row.starts_with("s/07 ")).cloned().collect::<Vec<_>>());
    assert!(walk(&[], &[("Tag.1.Key", "k1"), ("Tag.1.Value", "none")]).await.0.is_empty());
    assert!(walk(&["s/00"], &[]).await.0.is_empty());
    refused(&admin, "ListTagResources", &plural(&["s/00", "none"], &[]), GONE).await;
    let token = [("NextToken", "MTprZXk6MTowMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA")];
    refused(&admin, "ListTagResources", &plural(&[], &token), (400, "InvalidParameter")).await;
}

#[tokio::test]
async fn tags_changed_at_once_are_all_there_and_in_every_list() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for name in ["a", "b"] {
        admin.create_secret(name, "x").await;
    }
    let one = async |number: usize| {
        let key = format!("k{number}");
        let names = if number.is_multiple_of(2) { ["a", "b"] } else { ["b", "a"] };
        admin.ok("TagResources", &borrowed(&plural(&names, &[("Tag.1.Key", &key)]))).await;
    };
    tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5), one(6), one(7));
    for name in ["a", "b"] {
        assert_eq!(tags(&admin, name).await.split(' ').count(), 8);
    }
    let database = Connection::open(appliance.database()).unwrap();
    let copies = database.query_row("SELECT count(*) FROM secret_tags", [], |row| row.get::<_, i64>(0));
    assert_eq!(copies.unwrap(), 16);
}

#[tokio::test]
async fn a_key_that_there_is_not_has_no_tags() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let id = "00000000-0000-0000-0000-000000000000";
    let arn = format!("acs:kms:{REGION}:{ACCOUNT}:key/{id}");
    let elsewhere = arn.replace(ACCOUNT, "1");
    for key in [id, &arn, &elsewhere, "key-of-elsewhere"] {
        let call = |more: (&str, &str)| {
            vec![("KeyId".to_owned(), key.to_owned()), (more.0.to_owned(), more.1.to_owned())]
        };
        refused(&admin, "TagResource", &call(("Tags", &listed(&[("a", "b")]))), NO_KEY).await;
        refused(&admin, "UntagResource", &call(("TagKeys", "a")), NO_KEY).await;
        refused(&admin, "ListResourceTags", &call(("RegionId", REGION)), NO_KEY).await;
        let of_keys = |more: &[(&str, &str)]| {
            let mut call = plural(&[key], more);
            call[1].1 = "key".to_owned();
            call
        };
        refused(&admin, "TagResources", &of_keys(&[("Tag.1.Key", "a")]), NO_KEY).await;
        refused(&admin, "UntagResources", &of_keys(&[("All", "true")]), NO_KEY).await;
        refused(&admin, "ListTagResources", &of_keys(&[]), NO_KEY).await;
    }
    let alias = [("KeyId", "alias/a"), ("TagKeys", "a")];
    assert_eq!(admin.refused("UntagResource", &alias).await, (400, "Unsupported.Alias".to_owned()));
    let mut all = plural(&[], &[]);
    all[1].1 = "key".to_owned();
    let none = admin.ok("ListTagResources", &borrowed(&all)).await;
    assert_eq!((&none["NextToken"], &none["TagResources"]["TagResource"]), (&json!(""), &json!([])));
}
