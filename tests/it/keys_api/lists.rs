//! Lists, and what clients ask at their start.

use serde_json::json;

use super::{arn, create, is, listed};
use crate::harness::{Appliance, Connection, REGION, Request, policy};

#[tokio::test]
async fn lists_of_keys_come_in_pages_and_by_filters() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let mut keys = Vec::new();
    for number in 0..5 {
        let tags = format!(r#"[{{"TagKey":"n","TagValue":"{number}"}},{{"TagKey":"all","TagValue":"x"}}]"#);
        keys.push(create(&admin, &[("Tags", &tags)]).await);
    }
    admin.ok("DisableKey", &[("KeyId", &keys[1])]).await;
    admin.ok("CreateAlias", &[("AliasName", "alias/two"), ("KeyId", &keys[2])]).await;
    let mut all = listed(&admin, "ListKeys", &[], "Keys.Key", "KeyId").await;
    let mut paged = Vec::new();
    for number in ["1", "2", "3", "4"] {
        let page = admin.ok("ListKeys", &[("PageNumber", number), ("PageSize", "2")]).await;
        assert_eq!((&page["TotalCount"], &page["PageSize"]), (&json!(5), &json!(2)));
        for key in page["Keys"]["Key"].as_array().unwrap() {
            assert_eq!(key["KeyArn"], arn(&format!("key/{}", key["KeyId"].as_str().unwrap())));
            paged.push(key["KeyId"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(paged, all);
    all.sort();
    let mut made = keys.clone();
    made.sort();
    assert_eq!(all, made);

    let id = |at: usize| keys[at].as_str();
    let by_id = format!(r#"[{{"Key":"keyId","Values":["{}","{}"]}}]"#, keys[0], keys[4]);
    for (filters, expected) in [
        (r#"[{"Key":"KeyState","Values":["Disabled"]}]"#, vec![id(1)]),
        (r#"[{"Key":"KeyState","Values":["Disabled","PendingDeletion"]}]"#, vec![id(1)]),
        (r#"[{"Key":"TagValue","Values":["1"]},{"Key":"TagValue","Values":["2"]}]"#, vec![id(1), id(2)]),
        (r#"[{"Key":"KeyState","Values":["Disabled"]},{"Key":"TagValue","Values":["0"]}]"#, vec![]),
        (r#"[{"Key":"AliasName","Values":["alias/two"]}]"#, vec![id(2)]),
        (r#"[{"Key":"TagKey","Values":["n"]},{"Key":"TagValue","Values":["0","3"]}]"#, vec![id(0), id(3)]),
        (r#"[{"Key":"TagKey","Values":["n"]},{"Key":"TagValue","Values":["x"]}]"#, vec![]),
        (r#"[{"Key":"CreatorType","Values":["Service"]}]"#, vec![]),
        (
            r#"[{"Key":"CreatorType","Values":["User"]},{"Key":"KeySpec","Values":["Aliyun_AES_256"]},{"Key":"TagValue","Values":["4"]}]"#,
            vec![id(4)],
        ),
        (r#"[{"Key":"DKMSInstanceId","Values":["kst-1"]}]"#, vec![]),
        (&by_id, vec![id(0), id(4)]),
    ] {
        let found = listed(&admin, "ListKeys", &[("Filters", filters)], "Keys.Key", "KeyId").await;
        let mut expected = expected;
        expected.sort_by_key(|key| paged.iter().position(|k| k == key));
        assert_eq!(found, expected, "{filters}");
    }
    assert_eq!(listed(&admin, "ListKeys", &[("Filters", "[]")], "Keys.Key", "KeyId").await.len(), 5);
    for filters in
        ["x", "{}", r#"[{"Key":"Colour","Values":["red"]}]"#, r#"[{"Key":"KeyState","Values":[]}]"#]
    {
        assert_eq!(
            admin.refused("ListKeys", &[("Filters", filters)]).await,
            is(400, "InvalidParameter"),
            "{filters}"
        );
    }

    // One that is denied is left out, and not counted.
    let denied = policy("Deny", &["kms:*"], &[&arn(&format!("key/{}", keys[3])), &arn("alias/two")]);
    let user = appliance.user_with(&[policy("Allow", &["kms:*"], &["*"]), denied]).await;
    let shown = listed(&user, "ListKeys", &[], "Keys.Key", "KeyId").await;
    assert_eq!(shown.len(), 4);
    assert!(!shown.contains(&keys[3]));
    assert!(listed(&user, "ListAliases", &[], "Aliases.Alias", "AliasName").await.is_empty());
}

#[tokio::test]
async fn what_clients_ask_at_their_start_is_answered() {
    let appliance = Appliance::running().await;
    let (admin, nobody) = (appliance.admin(), appliance.user_with(&[]).await);
    let all = [policy("Deny", &["*"], &["*"])];
    let forbidden = appliance.user_with(&all).await;
    for client in [&admin, &nobody, &forbidden] {
        let answer = client.ok("DescribeRegions", &[]).await;
        assert_eq!(answer["Regions"]["Region"], json!([{ "RegionId": REGION }]));
    }
    let last = appliance.audit_events().pop().unwrap();
    assert_eq!((&last["eventName"], &last["eventRW"]), (&json!("DescribeRegions"), &json!("Read")));
    let request = Request::acs3(&appliance, admin.key(), "DescribeRegions", "2016-01-20", &[]);
    let mut unsigned = request.sign();
    unsigned.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(Connection::open(&appliance).await.send(&unsigned).await.status, 400);

    assert_eq!(admin.ok("DescribeAccountKmsStatus", &[]).await["AccountStatus"], "Enabled");
    let instances = admin.ok("ListKmsInstances", &[("PageNumber", "2")]).await;
    assert_eq!(instances["KmsInstances"]["KmsInstance"], json!([]));
    assert_eq!(
        (&instances["TotalCount"], &instances["PageNumber"], &instances["PageSize"]),
        (&json!(0), &json!(2), &json!(20))
    );
    for action in ["DescribeAccountKmsStatus", "ListKmsInstances"] {
        assert_eq!(nobody.refused(action, &[]).await.0, 403, "{action}");
    }
}
