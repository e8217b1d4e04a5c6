//! Users, access keys and policies through the RAM actions of a served vault.

use serde_json::Value;

use crate::harness::{AccessKey, Appliance, Client, policy};

fn names(answer: &Value, list: &str, one: &str, member: &str) -> Vec<String> {
    let items = answer[list][one].as_array().unwrap();
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

async fn code(client: &Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, code) = client.refused(action, parameters).await;
    format!("{status} {code}")
}

#[tokio::test]
async fn a_user_lives_from_creation_to_deletion() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let alice = [("UserName", "Alice")];
    let made =
        admin.ok("CreateUser", &[("UserName", "Alice"), ("DisplayName", "A"), ("Comments", "c")]).await;
    assert_eq!(made["User"]["UserName"], "Alice");
    assert_eq!(made["User"]["DisplayName"], "A");
    // Names are one name in whatever case.
    assert_eq!(code(&admin, "CreateUser", &[("UserName", "aLICE")]).await, "409 EntityAlreadyExists.User");
    assert_eq!(names(&admin.ok("ListUsers", &[]).await, "Users", "User", "UserName"), ["admin", "Alice"]);

    let key = admin.ok("CreateAccessKey", &alice).await;
    let id = key["AccessKey"]["AccessKeyId"].as_str().unwrap().to_owned();
    assert_eq!(key["AccessKey"]["AccessKeySecret"].as_str().unwrap().len(), 30);
    let listed = admin.ok("ListAccessKeys", &alice).await;
    assert!(!listed.to_string().contains("AccessKeySecret"), "a secret is shown once");
    assert_eq!(names(&listed, "AccessKeys", "AccessKey", "AccessKeyId"), std::slice::from_ref(&id));
    admin.ok("CreateAccessKey", &alice).await;
    assert_eq!(code(&admin, "CreateAccessKey", &alice).await, "409 LimitExceeded.User.AccessKey");

    assert_eq!(code(&admin, "DeleteUser", &alice).await, "409 DeleteConflict.User.AccessKey");
    for id in names(&admin.ok("ListAccessKeys", &alice).await, "AccessKeys", "AccessKey", "AccessKeyId") {
        let other = [("UserName", "admin"), ("UserAccessKeyId", &*id)];
        assert_eq!(code(&admin, "DeleteAccessKey", &other).await, "404 EntityNotExist.User.AccessKey");
        admin.ok("DeleteAccessKey", &[("UserName", "Alice"), ("UserAccessKeyId", &id)]).await;
    }
    let read_only =
        [("UserName", "Alice"), ("PolicyName", "AliyunKMSReadOnlyAccess"), ("PolicyType", "System")];
    admin.ok("AttachPolicyToUser", &read_only).await;
    assert_eq!(code(&admin, "AttachPolicyToUser", &read_only).await, "409 EntityAlreadyExists.User.Policy");
    assert_eq!(code(&admin, "DeleteUser", &alice).await, "409 DeleteConflict.User.Policy");
    admin.ok("DetachPolicyFromUser", &read_only).await;
    assert_eq!(code(&admin, "DetachPolicyFromUser", &read_only).await, "404 EntityNotExist.User.Policy");
    admin.ok("DeleteUser", &[("UserName", "ALICE")]).await;
    for action in ["DeleteUser", "CreateAccessKey", "ListAccessKeys", "ListPoliciesForUser"] {
        assert_eq!(code(&admin, action, &alice).await, "404 EntityNotExist.User", "{action}");
    }
}

#[tokio::test]
async fn a_policy_comes_back_byte_for_byte_and_counts_its_attachments() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let document = "{\"Version\" : \"1\",\n \"Statement\":[ {\"Effect\":\"Allow\",\"Action\":\"kms:*\",\"Resource\":\"*\"} ]}";
    let custom = [("PolicyName", "p-1"), ("PolicyType", "Custom")];
    admin
        .ok("CreatePolicy", &[("PolicyName", "p-1"), ("PolicyDocument", document), ("Description", "d")])
        .await;
    let shown = admin.ok("GetPolicy", &custom).await;
    assert_eq!(shown["DefaultPolicyVersion"]["PolicyDocument"], document);
    assert_eq!(shown["Policy"]["AttachmentCount"], 0);
    for taken in ["P-1", "administratoraccess"] {
        let again = [("PolicyName", taken), ("PolicyDocument", document)];
        assert_eq!(code(&admin, "CreatePolicy", &again).await, "409 EntityAlreadyExists.Policy", "{taken}");
    }
    admin.ok("CreateUser", &[("UserName", "bob")]).await;
    let pair = [("UserName", "bob"), ("PolicyName", "p-1"), ("PolicyType", "Custom")];
    admin.ok("AttachPolicyToUser", &pair).await;
    assert_eq!(
        code(&admin, "DeletePolicy", &[("PolicyName", "p-1")]).await,
        "409 DeleteConflict.Policy.User"
    );
    let attached = admin.ok("ListPoliciesForUser", &[("UserName", "bob")]).await;
    assert_eq!(names(&attached, "Policies", "Policy", "PolicyName"), ["p-1"]);
    assert_eq!(admin.ok("GetPolicy", &custom).await["Policy"]["AttachmentCount"], 1);
    let listed = admin.ok("ListPolicies", &[("PolicyType", "Custom")]).await;
    assert_eq!(names(&listed, "Policies", "Policy", "PolicyName"), ["p-1"]);
    assert!(names(&admin.ok("ListPolicies", &[]).await, "Policies", "Policy", "PolicyName").len() > 1);
    admin.ok("DetachPolicyFromUser", &pair).await;
    admin.ok("DeletePolicy", &[("PolicyName", "p-1")]).await;
    assert_eq!(code(&admin, "GetPolicy", &custom).await, "404 EntityNotExist.Policy");
    assert_eq!(code(&admin, "AttachPolicyToUser", &pair).await, "404 EntityNotExist.Policy");
}

#[tokio::test]
async fn long_lists_come_in_pages_without_gaps_or_doubles() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let document = policy("Allow", &["kms:*"], &["*"]);
    for number in 0..9 {
        admin.ok("CreateUser", &[("UserName", &format!("U{number}"))]).await;
        admin
            .ok("CreatePolicy", &[("PolicyName", &format!("p{number}")), ("PolicyDocument", &document)])
            .await;
    }
    for (action, list, one, member) in
        [("ListUsers", "Users", "User", "UserName"), ("ListPolicies", "Policies", "Policy", "PolicyName")]
    {
        let all = names(&admin.ok(action, &[]).await, list, one, member);
        let (mut paged, mut marker) = (Vec::new(), String::new());
        loop {
            let page = admin.ok(action, &[("MaxItems", "4"), ("Marker", &marker)]).await;
            paged.extend(names(&page, list, one, member));
            if page["IsTruncated"] == false {
                assert!(page.get("Marker").is_none());
                break;
            }
            marker = page["Marker"].as_str().unwrap().to_owned();
        }
        assert_eq!(paged, all, "{action}");
    }
}

#[tokio::test]
async fn what_is_taken_away_no_longer_works_at_once_and_after_a_restart() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let read = [("SecretName", "db")];
    let reader =
        appliance.named_user_with("reader", &[policy("Allow", &["kms:GetSecretValue"], &["*"])]).await;
    assert_eq!(reader.value("db").await, "one");
    let id = reader.key().id.clone();
    let update = |status| [("UserName", "reader"), ("UserAccessKeyId", id.as_str()), ("Status", status)];

    admin.ok("UpdateAccessKey", &update("Inactive")).await;
    assert_eq!(code(&reader, "GetSecretValue", &read).await, "403 Forbidden.AccessKey");
    appliance.restart().await;
    let admin = appliance.admin();
    let reader = appliance.client(reader.key());
    assert_eq!(code(&reader, "GetSecretValue", &read).await, "403 Forbidden.AccessKey");
    admin.ok("UpdateAccessKey", &update("Active")).await;
    assert_eq!(reader.value("db").await, "one");

    let pair = [("UserName", "reader"), ("PolicyName", "reader-0"), ("PolicyType", "Custom")];
    admin.ok("DetachPolicyFromUser", &pair).await;
    assert_eq!(code(&reader, "GetSecretValue", &read).await, "403 Forbidden.NoPermission");
    admin.ok("AttachPolicyToUser", &pair).await;
    assert_eq!(reader.value("db").await, "one");

    admin.ok("DeleteAccessKey", &[("UserName", "reader"), ("UserAccessKeyId", &id)]).await;
    assert_eq!(code(&reader, "GetSecretValue", &read).await, "404 InvalidAccessKeyId.NotFound");
    appliance.restart().await;
    let reader = appliance.client(reader.key());
    assert_eq!(code(&reader, "GetSecretValue", &read).await, "404 InvalidAccessKeyId.NotFound");
}

#[tokio::test]
async fn a_user_without_a_name_in_the_call_is_the_caller_and_needs_the_right_on_himself() {
    let appliance = Appliance::running().await;
    let own = "acs:ram::1234567890123456:user/self";
    let actions = ["ram:ListAccessKeys", "ram:CreateAccessKey"];
    let user = appliance.named_user_with("self", &[policy("Allow", &actions, &[own])]).await;
    let listed = names(&user.ok("ListAccessKeys", &[]).await, "AccessKeys", "AccessKey", "AccessKeyId");
    assert_eq!(listed, std::slice::from_ref(&user.key().id));
    user.ok("CreateAccessKey", &[]).await;
    assert_eq!(code(&user, "ListAccessKeys", &[("UserName", "admin")]).await, "403 NoPermission");
    let other = appliance.named_user_with("other", &[]).await;
    assert_eq!(code(&other, "ListAccessKeys", &[]).await, "403 NoPermission");
    assert_eq!(code(&other, "CreateAccessKey", &[]).await, "403 NoPermission");
}

#[tokio::test]
async fn a_name_made_of_pattern_characters_is_no_name() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for bad in ["*", "a*", "a?", "a:b", "a/b", "ä", "a b", "a\u{0}", "\u{ff41}dmin", ""] {
        let (status, code) = admin.refused("CreateUser", &[("UserName", bad)]).await;
        assert_eq!(status, 400, "{bad:?} {code}");
        let attach = [("UserName", bad), ("PolicyName", "AdministratorAccess"), ("PolicyType", "System")];
        assert_eq!(admin.refused("AttachPolicyToUser", &attach).await.0, 400, "{bad:?}");
    }
    let wrong = AccessKey { id: appliance.admin_key().id.to_lowercase(), ..appliance.admin_key().clone() };
    let refused = appliance.client(&wrong).refused("ListUsers", &[]).await;
    assert_eq!(refused, (404, "InvalidAccessKeyId.NotFound".to_owned()));
}

#[tokio::test]
async fn another_spelling_of_a_user_or_policy_does_not_get_past_a_deny() {
    let appliance = Appliance::running().await;
    let denied = ["acs:ram:*:system:policy/AdministratorAccess", "acs:ram:*:*:user/admin"];
    let documents = [policy("Allow", &["ram:*"], &["*"]), policy("Deny", &["ram:*"], &denied)];
    let delegate = appliance.named_user_with("delegate", &documents).await;
    for policy in ["AdministratorAccess", "administratoraccess", "ADMINISTRATORACCESS"] {
        let attach = [("UserName", "delegate"), ("PolicyName", policy), ("PolicyType", "System")];
        assert_eq!(code(&delegate, "AttachPolicyToUser", &attach).await, "403 NoPermission", "{policy}");
    }
    for user in ["admin", "Admin", "ADMIN"] {
        assert_eq!(
            code(&delegate, "CreateAccessKey", &[("UserName", user)]).await,
            "403 NoPermission",
            "{user}"
        );
    }
    delegate.ok("CreateAccessKey", &[("UserName", "DELEGATE")]).await;
}
