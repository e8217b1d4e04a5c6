//! Aliases, and who may do what to which key.

use serde_json::json;

use super::{MANAGING, NO_KEY, USING, arn, create, decrypt, describe, encrypt, is, listed};
use crate::harness::{ACCOUNT, Appliance, policy};

#[tokio::test]
async fn an_alias_names_one_key_after_another() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let (one, two) = (create(&admin, &[]).await, create(&admin, &[]).await);
    let names = async |key: Option<&str>| {
        let query: Vec<_> = key.iter().map(|key| ("KeyId", *key)).collect();
        let action = if key.is_some() { "ListAliasesByKeyId" } else { "ListAliases" };
        listed(&admin, action, &query, "Aliases.Alias", "AliasName").await
    };
    assert!(names(None).await.is_empty());
    for (name, key) in [("alias/b", &one), ("alias/a/x-1_Y", &one), ("alias/c", &two)] {
        admin.ok("CreateAlias", &[("AliasName", name), ("KeyId", key)]).await;
    }
    assert_eq!(names(None).await, ["alias/a/x-1_Y", "alias/b", "alias/c"]);
    assert_eq!(names(Some(&one)).await, ["alias/a/x-1_Y", "alias/b"]);
    let all = admin.ok("ListAliases", &[("PageSize", "1"), ("PageNumber", "3")]).await;
    let expected = json!({ "AliasName": "alias/c", "AliasArn": arn("alias/c"), "KeyId": two });
    assert_eq!(all["Aliases"]["Alias"], json!([expected]));
    let counted = admin.ok("ListAliases", &[("PageSize", "0")]).await;
    assert_eq!((&counted["TotalCount"], &counted["Aliases"]["Alias"]), (&json!(3), &json!([])));

    let again = admin.refused("CreateAlias", &[("AliasName", "alias/b"), ("KeyId", &two)]).await;
    assert_eq!(again, is(400, "AliasAlreadyExists"));
    let blob = encrypt(&admin, "alias/b", b"x", &[]).await;
    admin.ok("UpdateAlias", &[("AliasName", "alias/b"), ("KeyId", &two)]).await;
    assert_eq!(describe(&admin, "alias/b").await["KeyId"], *two);
    assert_eq!(decrypt(&admin, &blob, &[]).await.unwrap(), b"x", "the blob still names its key");
    admin.ok("DeleteAlias", &[("AliasName", "alias/b")]).await;
    for call in [
        ("DescribeKey", vec![("KeyId", "alias/b")]),
        ("DeleteAlias", vec![("AliasName", "alias/b")]),
        ("UpdateAlias", vec![("AliasName", "alias/b"), ("KeyId", one.as_str())]),
        ("Encrypt", vec![("KeyId", "alias/b"), ("Plaintext", "eA==")]),
        ("GenerateDataKey", vec![("KeyId", "alias/b")]),
    ] {
        assert_eq!(admin.refused(call.0, &call.1).await, is(404, "Forbidden.AliasNotFound"), "{}", call.0);
    }
    for (action, name) in [("CreateAlias", "alias/d"), ("UpdateAlias", "alias/c")] {
        let refused = admin.refused(action, &[("AliasName", name), ("KeyId", NO_KEY)]).await;
        assert_eq!(refused, is(404, "Forbidden.KeyNotFound"), "{action}");
    }
    let long = format!("alias/{}", "x".repeat(250));
    for name in ["", "b", "alias/", "Alias/b", "alias/a b", "alias/ü", "alias/acs/kms", "alias/acsx", &long]
    {
        let refused = admin.refused("CreateAlias", &[("AliasName", name), ("KeyId", &one)]).await;
        assert_eq!(refused, is(400, "InvalidParameter"), "{name}");
    }
    let longest = format!("alias/{}", "x".repeat(249));
    admin.ok("CreateAlias", &[("AliasName", &longest), ("KeyId", &one)]).await;
    let record =
        appliance.audit_events().into_iter().rfind(|event| event["eventName"] == "CreateAlias").unwrap();
    let resources = json!({ "ACS::KMS::Alias": [longest], "ACS::KMS::Key": [one] });
    assert_eq!(record["referencedResources"], resources);
}

#[tokio::test]
async fn a_key_is_changed_by_its_id_only_and_told_of_to_those_who_may() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let nobody = appliance.user_with(&[]).await;
    let key = create(&admin, &[]).await;
    admin.ok("CreateAlias", &[("AliasName", "alias/k"), ("KeyId", &key)]).await;
    for (action, more) in MANAGING {
        for name in ["alias/k", &arn("alias/k"), "alias/none"] {
            let call = [&[("KeyId", name)], *more].concat();
            assert_eq!(admin.refused(action, &call).await, is(400, "Unsupported.Alias"), "{action} {name}");
        }
    }
    let elsewhere = format!("acs:kms:cn-beijing:{ACCOUNT}:key/{key}");
    let no_key_arn = arn(&format!("key/{NO_KEY}"));
    for (action, more) in MANAGING.iter().chain(USING) {
        let call = |name| [&[("KeyId", name)], *more].concat();
        for name in [NO_KEY, &no_key_arn, "key-hzz62f1cb66fa42qo1jyx", &elsewhere] {
            let refused = admin.refused(action, &call(name)).await;
            assert_eq!(refused, is(404, "Forbidden.KeyNotFound"), "{action} {name}");
        }
        // Whoever may not learns the same of a key that there is and one that there is not.
        for name in [NO_KEY, key.as_str()] {
            assert_eq!(nobody.refused(action, &call(name)).await.0, 403, "{action} {name}");
        }
        for name in ["", "a b", "key/x", "alias/", "\u{0}"] {
            assert_eq!(
                admin.refused(action, &call(name)).await,
                is(400, "InvalidParameter"),
                "{action} {name:?}"
            );
        }
    }
    for (action, more) in USING {
        let call = |name| [&[("KeyId", name)], *more].concat();
        assert_eq!(admin.refused(action, &call("alias/none")).await, is(404, "Forbidden.AliasNotFound"));
        assert_eq!(nobody.refused(action, &call("alias/none")).await.0, 403);
        assert_eq!(nobody.refused(action, &call("alias/k")).await.0, 403);
    }
}

#[tokio::test]
async fn rights_are_asked_on_the_key_that_an_alias_or_blob_stands_for() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let (mine, theirs) = (create(&admin, &[]).await, create(&admin, &[]).await);
    for (name, key) in [("alias/mine", &mine), ("alias/theirs", &theirs)] {
        admin.ok("CreateAlias", &[("AliasName", name), ("KeyId", key)]).await;
    }
    let on_mine = arn(&format!("key/{mine}"));
    let user = appliance.user_with(&[policy("Allow", &["kms:*"], &[&on_mine, &arn("alias/*")])]).await;
    let blobs =
        [encrypt(&user, "alias/mine", b"x", &[]).await, encrypt(&admin, "alias/theirs", b"x", &[]).await];
    assert_eq!(decrypt(&user, &blobs[0], &[]).await.unwrap(), b"x");
    assert_eq!(decrypt(&user, &blobs[1], &[]).await.unwrap_err(), is(403, "Forbidden.NoPermission"));
    for (action, more) in USING {
        user.ok(action, &[&[("KeyId", "alias/mine")], *more].concat()).await;
        let refused = user.call(action, &[&[("KeyId", "alias/theirs")], *more].concat()).await.unwrap_err();
        assert_eq!(refused.status, 403, "{action}");
        assert!(refused.message.contains(&theirs), "{}", refused.message);
    }

    // Alias actions ask on the alias, the key before and the key after.
    let alias_of = |key: &str| [("AliasName", "alias/mine".to_owned()), ("KeyId", key.to_owned())];
    for (action, name, key, status) in [
        ("CreateAlias", "alias/new", &theirs, 403),
        ("UpdateAlias", "alias/mine", &theirs, 403),
        ("UpdateAlias", "alias/theirs", &mine, 403),
        ("UpdateAlias", "alias/mine", &mine, 200),
        ("CreateAlias", "alias/new", &mine, 200),
    ] {
        let outcome = user.call(action, &[("AliasName", name), ("KeyId", key)]).await;
        assert_eq!(
            outcome.as_ref().map_or_else(|refused| refused.status, |_| 200),
            status,
            "{action} {name}"
        );
    }
    assert_eq!(user.refused("DeleteAlias", &[("AliasName", "alias/theirs")]).await.0, 403);
    let only_key = appliance.user_with(&[policy("Allow", &["kms:*"], &[&on_mine])]).await;
    let call = alias_of(&mine);
    let call: Vec<_> = call.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(only_key.refused("UpdateAlias", &call).await.0, 403);
    assert_eq!(only_key.refused("DeleteAlias", &call[..1]).await.0, 403);
    user.ok("DeleteAlias", &[("AliasName", "alias/new")]).await;
}

#[tokio::test]
async fn conditions_on_tags_of_keys_hold() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let tagged = async |value: &str| {
        create(&admin, &[("Tags", &format!(r#"[{{"TagKey":"env","TagValue":"{value}"}}]"#))]).await
    };
    let (live, trial) = (tagged("prod").await, tagged("test").await);
    admin.ok("CreateAlias", &[("AliasName", "alias/live"), ("KeyId", &live)]).await;
    for condition in ["kms:tag/env", "acs:ResourceTag/env"] {
        let document = json!({ "Version": "1", "Statement": [
            { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
            { "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": { "StringEquals": { condition: ["prod"] } } },
        ]});
        let user = appliance.user_with(&[document.to_string()]).await;
        let blob = encrypt(&admin, &live, b"x", &[]).await;
        assert_eq!(decrypt(&user, &blob, &[]).await.unwrap_err().0, 403, "{condition}");
        for (action, more) in MANAGING.iter().chain(USING) {
            let refused = user.refused(action, &[&[("KeyId", live.as_str())], *more].concat()).await;
            assert_eq!(refused, is(403, "Forbidden.NoPermission"), "{condition} {action}");
        }
        assert_eq!(user.refused("DescribeKey", &[("KeyId", "alias/live")]).await.0, 403);
        assert_eq!(user.refused("DeleteAlias", &[("AliasName", "alias/live")]).await.0, 403);
        user.ok("DescribeKey", &[("KeyId", &trial)]).await;
        // A list leaves out what is denied by its tag.
        assert_eq!(listed(&user, "ListKeys", &[], "Keys.Key", "KeyId").await, [trial.as_str()]);
    }
    let asked = json!({ "Version": "1", "Statement": [{ "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*",
        "Condition": { "StringEquals": { "acs:RequestTag/env": ["test"] } } }]});
    let user = appliance.user_with(&[asked.to_string()]).await;
    user.ok("CreateKey", &[("Tags", r#"[{"TagKey":"env","TagValue":"test"}]"#)]).await;
    assert_eq!(
        user.refused("CreateKey", &[("Tags", r#"[{"TagKey":"env","TagValue":"prod"}]"#)]).await.0,
        403
    );
    assert_eq!(user.refused("CreateKey", &[]).await.0, 403);
}
