//! ListSecrets: every filter, every page, an exact count, and rows that lie.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};
use strongroom::model::{SecretFilter, SecretId, SecretName, SecretRecord, SecretType, Tag};
use strongroom::store::{Change, Store};
use tempfile::TempDir;

use crate::harness::{ACCOUNT, Appliance, Client, policy};
use crate::store::{open, put_secret, secret};

/// Numbers that look like chance and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn some(&mut self, of: &[&str], most: u64) -> Vec<String> {
        let count = self.below(most + 1);
        (0..count).map(|_| of[usize::try_from(self.below(of.len() as u64)).unwrap()].to_owned()).collect()
    }
}

const KEYS: [&str; 5] = ["env", "team", "tier", "owner", "x"];
const VALUES: [&str; 5] = ["a", "b", "c", "prod", ""];
const INSTANCES: [&str; 3] = ["", "kst-1", "kst-2"];
const DESCRIPTIONS: [&str; 4] = ["", "of the shop", "a'b\"c", "ü"];

fn any_tags(numbers: &mut Numbers) -> Vec<Tag> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for key in numbers.some(&KEYS, 4) {
        let value = VALUES[usize::try_from(numbers.below(5)).unwrap()].to_owned();
        tags.insert(key, value);
    }
    tags.into_iter().map(|(key, value)| Tag { key, value }).collect()
}

fn any_secret(numbers: &mut Numbers, number: u32) -> SecretRecord {
    let mut record = secret(0);
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    record.id = SecretId::from_random(&bytes);
    record.name = SecretName::parse(&format!("s/{:03}", number * 7 % 300)).unwrap();
    record.kind = if numbers.below(3) == 0 { SecretType::Ecs } else { SecretType::Generic };
    record.description = DESCRIPTIONS[usize::try_from(numbers.below(4)).unwrap()].to_owned();
    record.tags = any_tags(numbers);
    record.dkms_instance = INSTANCES[usize::try_from(numbers.below(3)).unwrap()].to_owned();
    record
}

fn any_filter(numbers: &mut Numbers) -> SecretFilter {
    let kinds = [vec![], vec![], vec![SecretType::Ecs], vec![SecretType::Generic, SecretType::Ecs]];
    let names = ["s/000", "s/007", "s/140", "s/141", "s/299", "none"];
    SecretFilter {
        descriptions: if numbers.below(4) == 0 { numbers.some(&DESCRIPTIONS[1..], 2) } else { Vec::new() },
        instances: if numbers.below(6) == 0 { numbers.some(&INSTANCES[1..], 2) } else { Vec::new() },
        kinds: kinds[usize::try_from(numbers.below(4)).unwrap()].clone(),
        names: if numbers.below(6) == 0 { numbers.some(&names, 6) } else { Vec::new() },
        tag_keys: numbers.some(&KEYS, 3),
        tag_values: numbers.some(&VALUES, 6),
        none: numbers.below(30) == 0,
    }
}

async fn compare(store: &dyn Store, numbers: &mut Numbers, records: &[SecretRecord]) {
    for _ in 0..200 {
        let filter = any_filter(numbers);
        let mut expected: Vec<_> = records.iter().filter(|r| filter.takes(r)).collect();
        expected.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        let (offset, limit) = (numbers.below(60), u32::try_from(numbers.below(40)).unwrap() + 1);
        let page = store.secrets(&filter, offset, limit).await.unwrap();
        let ids: Vec<_> = page.rows.into_iter().map(|(id, _)| id).collect();
        assert_eq!(page.total, expected.len() as u64, "{filter:?}");
        let expected = expected.into_iter().skip(usize::try_from(offset).unwrap());
        let expected: Vec<_> = expected.take(limit as usize).map(|record| record.id.clone()).collect();
        assert_eq!(ids, expected, "{filter:?} from {offset}, {limit} at most");
    }
}

#[tokio::test]
async fn what_the_store_finds_for_a_filter_is_what_the_filter_takes() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let mut numbers = Numbers(7);
    let mut records: Vec<_> = (0..300).map(|number| any_secret(&mut numbers, number)).collect();
    store.commit(records.iter().map(|record| put_secret(record, None)).collect()).await.unwrap();
    compare(&*store, &mut numbers, &records).await;
    // Changed, and some of them gone.
    let mut changes = Vec::new();
    for record in &mut records {
        record.revision += 1;
        record.tags = any_tags(&mut numbers);
        record.description = "of the shop".to_owned();
        changes.push(put_secret(record, Some(1)));
    }
    for record in records.split_off(200) {
        changes.push(Change::DropSecret { id: record.id, expect: 2 });
    }
    store.commit(changes).await.unwrap();
    compare(&*store, &mut numbers, &records).await;
    // The largest that a call can ask for: ten conditions with ten values.
    let values = |letter: char| (0..50).map(|n| format!("{letter}{n}")).chain(["env".to_owned()]).collect();
    let large = SecretFilter { tag_keys: values('k'), tag_values: values('v'), ..SecretFilter::default() };
    assert_eq!(store.secrets(&large, 0, 10).await.unwrap().total, 0);
}

#[tokio::test]
async fn secrets_with_tags_are_walked_through_by_name() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let mut numbers = Numbers(11);
    let records: Vec<_> = (0..300).map(|number| any_secret(&mut numbers, number)).collect();
    store.commit(records.iter().map(|record| put_secret(record, None)).collect()).await.unwrap();
    for label in [None, Some(("env", None)), Some(("env", Some("prod"))), Some(("env", Some("none")))] {
        let has = |tag: &Tag| label.is_none_or(|(k, v)| tag.key == k && v.is_none_or(|v| tag.value == v));
        let mut expected: Vec<_> =
            records.iter().filter(|r| r.tags.iter().any(has)).map(|r| r.name.to_string()).collect();
        expected.sort_unstable();
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = store.tagged(&after, label, 7).await.unwrap();
            let Some((last, _, _)) = page.last() else { break };
            after.clone_from(last);
            found.extend(page.into_iter().map(|(name, _, _)| name));
        }
        assert_eq!(found, expected, "{label:?}");
    }
}

async fn create(admin: &Client, name: &str, description: &str, tags: &[(&str, &str)]) {
    let tags: Vec<_> = tags.iter().map(|(k, v)| json!({ "TagKey": k, "TagValue": v })).collect();
    let tags = Value::from(tags).to_string();
    let call = [
        ("SecretName", name),
        ("VersionId", "v1"),
        ("SecretData", "x"),
        ("Description", description),
        ("Tags", &tags),
    ];
    admin.ok("CreateSecret", &call).await;
}

fn names(answer: &Value) -> Vec<&str> {
    let secrets = answer["SecretList"]["Secret"].as_array().unwrap();
    secrets.iter().map(|secret| secret["SecretName"].as_str().unwrap()).collect()
}

/// `Filters` of conditions with one or more values.
fn filters(conditions: &[(&str, &[&str])]) -> String {
    let all: Vec<_> = conditions.iter().map(|(k, v)| json!({ "Key": k, "Values": v })).collect();
    Value::from(all).to_string()
}

#[tokio::test]
async fn every_key_of_filters_chooses_and_the_count_is_that_of_all_pages() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    create(&admin, "a", "of the shop", &[("env", "prod"), ("team", "web")]).await;
    create(&admin, "b", "of the shop", &[("env", "test"), ("tier", "prod")]).await;
    create(&admin, "c/d", "", &[("env", "prod")]).await;
    create(&admin, "e", "other", &[]).await;
    let placed = [("SecretName", "f"), ("VersionId", "v1"), ("SecretData", "x"), ("DKMSInstanceId", "kst-1")];
    admin.ok("CreateSecret", &placed).await;
    let listed = async |conditions: &[(&str, &[&str])]| {
        let answer = admin.ok("ListSecrets", &[("Filters", &filters(conditions))]).await;
        assert_eq!(answer["TotalCount"], names(&answer).len());
        names(&answer).join(" ")
    };
    for (conditions, expected) in [
        (&[][..], "a b c/d e f"),
        (&[("SecretName", &["e", "c/d", "none"][..])], "c/d e"),
        (&[("SecretName", &["c"])], ""),
        (&[("Description", &["of the shop"])], "a b"),
        (&[("Description", &["of the", "other"])], "e"),
        (&[("TagKey", &["env"])], "a b c/d"),
        (&[("TagKey", &["team", "tier"])], "a b"),
        (&[("TagValue", &["prod"])], "a b c/d"),
        (&[("TagKey", &["env"]), ("TagValue", &["prod"])], "a c/d"),
        (&[("TagKey", &["env"]), ("TagValue", &["prod", "test"])], "a b c/d"),
        (&[("TagKey", &["team"]), ("TagValue", &["prod"])], ""),
        (&[("TagKey", &["env"]), ("TagKey", &["tier"])], "a b c/d"),
        (&[("TagKey", &["ENV"])], ""),
        (&[("SecretType", &["generic"])], "a b c/d e f"),
        (&[("SecretType", &["RDS", "redis", "RamCredentials", "polardb", "Ecs"])], ""),
        (&[("SecretType", &["Rds", "GENERIC"]), ("Description", &["other"])], "e"),
        (&[("DKMSInstanceId", &["kst-1", "kst-2"])], "f"),
        (&[("DKMSInstanceId", &["kst-2"])], ""),
        (&[("DKMSInstanceId", &["kst-1"]), ("SecretName", &["a"])], ""),
        (&[("Creator", &[ACCOUNT])], "a b c/d e f"),
        (&[("Creator", &["1"])], ""),
        (&[("Creator", &["1", ACCOUNT]), ("TagKey", &["tier"])], "b"),
        (&[("TagValue", &["prod"]), ("Description", &["of the shop"]), ("SecretName", &["a", "e"])], "a"),
    ] {
        assert_eq!(listed(conditions).await, expected, "{conditions:?}");
    }

    let prod = filters(&[("TagKey", &["env"])]);
    for (number, expected) in [("1", &["a", "b"][..]), ("2", &["c/d"]), ("3", &[]), ("999999999", &[])] {
        let call =
            [("Filters", prod.as_str()), ("PageNumber", number), ("PageSize", "2"), ("FetchTags", "True")];
        let answer = admin.ok("ListSecrets", &call).await;
        assert_eq!(names(&answer), expected, "{number}");
        assert_eq!((&answer["TotalCount"], &answer["PageSize"]), (&json!(3), &json!(2)));
        assert!(
            answer["SecretList"]["Secret"].as_array().unwrap().iter().all(|s| s["Tags"]["Tag"].is_array())
        );
    }
    for nothing in ["", "[]"] {
        assert_eq!(names(&admin.ok("ListSecrets", &[("Filters", nothing)]).await).len(), 5);
    }

    // What changes is found anew: scheduled for deletion it is still listed, destroyed no more.
    admin.ok("DeleteSecret", &[("SecretName", "a")]).await;
    assert_eq!(listed(&[("TagKey", &["env"])]).await, "a b c/d");
    let force = [("SecretName", "a"), ("ForceDeleteWithoutRecovery", "true")];
    admin.ok("DeleteSecret", &force).await;
    assert_eq!(listed(&[("TagKey", &["env"])]).await, "b c/d");
    assert_eq!(listed(&[]).await, "b c/d e f");
}

#[tokio::test]
async fn who_may_not_list_learns_nothing_by_filters_and_who_may_sees_what_is_denied_elsewhere() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    create(&admin, "live", "", &[("env", "prod")]).await;
    create(&admin, "trial", "", &[("env", "test")]).await;
    let other = appliance.user_with(&[policy("Allow", &["kms:Describe*"], &["*"])]).await;
    for conditions in [&[][..], &[("TagValue", &["prod"][..])], &[("TagValue", &["none"])]] {
        let refused = other.call("ListSecrets", &[("Filters", &filters(conditions))]).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (403, "Forbidden.NoPermission"));
        assert!(!refused.message.contains("live"));
    }
    // The right is one on all secrets: a deny on one of them holds for that one alone.
    let statement = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*",
          "Condition": { "StringEquals": { "kms:tag/env": "prod" } } },
    ]});
    let user = appliance.user_with(&[statement.to_string()]).await;
    assert_eq!(user.refused("DescribeSecret", &[("SecretName", "live")]).await.0, 403);
    let filtered = filters(&[("TagKey", &["env"])]);
    for call in [&[][..], &[("Filters", filtered.as_str())]] {
        let answer = user.ok("ListSecrets", call).await;
        assert_eq!((names(&answer), &answer["TotalCount"]), (vec!["live", "trial"], &json!(2)));
    }
    let denied = policy("Deny", &["kms:ListSecrets"], &["*"]);
    let denied = appliance.user_with(&[policy("Allow", &["*"], &["*"]), denied]).await;
    assert_eq!(denied.refused("ListSecrets", &[("Filters", &filtered)]).await.0, 403);
}

#[tokio::test]
async fn copies_of_tags_that_were_edited_show_nothing_and_open_nothing() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    create(&admin, "live", "", &[("env", "prod")]).await;
    create(&admin, "trial", "", &[("env", "test")]).await;
    let statement = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*",
          "Condition": { "StringEquals": { "kms:tag/env": "prod" } } },
    ]});
    let user = appliance.user_with(&[statement.to_string()]).await;
    assert!(appliance.stop().success());
    let database = Connection::open(appliance.database()).unwrap();
    let edited = database.execute("UPDATE secret_tags SET tag_value = 'test' WHERE secret_name = 'live'", []);
    assert_eq!(edited.unwrap(), 1);
    drop(database);
    appliance.start().await;
    let (admin, user) = (appliance.admin(), appliance.client(user.key()));
    let of = |value: &str| filters(&[("TagKey", &["env"]), ("TagValue", &[value])]);
    assert_eq!(names(&admin.ok("ListSecrets", &[("Filters", &of("test"))]).await), ["trial"]);
    assert_eq!(names(&admin.ok("ListSecrets", &[("Filters", &of("prod"))]).await), [""; 0]);
    assert_eq!(names(&admin.ok("ListSecrets", &[]).await), ["live", "trial"]);
    assert!(appliance.log().contains("a secret is left out of a list"));
    assert_eq!(user.refused("GetSecretValue", &[("SecretName", "live")]).await.0, 403);
    assert_eq!(user.value("trial").await, "x");
}
