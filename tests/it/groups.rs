//! Groups, the versions of policies, and what a renamed user keeps.

use serde_json::Value;

use crate::harness::{Appliance, Client, policy};

fn names(answer: &Value, list: &str, one: &str, member: &str) -> Vec<String> {
    let items = answer[list][one].as_array().unwrap();
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

async fn code(client: &Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, code) = client.refused(action, parameters).await;
    format!("{status} {code}")
}

const READ: [(&str, &str); 1] = [("SecretName", "db")];
const DENIED: &str = "403 Forbidden.NoPermission";

#[tokio::test]
async fn the_policies_of_a_group_are_those_of_its_members_and_of_nobody_else() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let member = appliance.named_user_with("Member", &[]).await;
    let other = appliance.named_user_with("other", &[]).await;
    let made = admin.ok("CreateGroup", &[("GroupName", "Readers"), ("Comments", "c")]).await;
    assert_eq!(made["Group"]["Comments"], "c");
    assert_eq!(
        code(&admin, "CreateGroup", &[("GroupName", "READERS")]).await,
        "409 EntityAlreadyExists.Group"
    );
    let document = policy("Allow", &["kms:GetSecretValue"], &["*"]);
    admin.ok("CreatePolicy", &[("PolicyName", "read"), ("PolicyDocument", &document)]).await;
    let pair = [("GroupName", "readers"), ("PolicyName", "read"), ("PolicyType", "Custom")];
    admin.ok("AttachPolicyToGroup", &pair).await;
    assert_eq!(code(&admin, "AttachPolicyToGroup", &pair).await, "409 EntityAlreadyExists.Group.Policy");
    assert_eq!(code(&member, "GetSecretValue", &READ).await, DENIED);

    let membership = [("UserName", "member"), ("GroupName", "readers")];
    admin.ok("AddUserToGroup", &membership).await;
    assert_eq!(code(&admin, "AddUserToGroup", &membership).await, "409 EntityAlreadyExists.User.Group");
    assert_eq!(member.value("db").await, "one");
    assert_eq!(code(&other, "GetSecretValue", &READ).await, DENIED);

    // The names of user and group change, what hangs on them stays.
    admin.ok("UpdateGroup", &[("GroupName", "readers"), ("NewGroupName", "Team")]).await;
    admin.ok("UpdateUser", &[("UserName", "member"), ("NewUserName", "renamed")]).await;
    assert_eq!(member.value("db").await, "one");
    appliance.restart().await;
    let (admin, member) = (appliance.admin(), appliance.client(member.key()));
    assert_eq!(member.value("db").await, "one");
    let listed = admin.ok("ListUsersForGroup", &[("GroupName", "team")]).await;
    assert_eq!(names(&listed, "Users", "User", "UserName"), ["renamed"]);
    let listed = admin.ok("ListGroupsForUser", &[("UserName", "renamed")]).await;
    assert_eq!(names(&listed, "Groups", "Group", "GroupName"), ["Team"]);
    let listed = admin.ok("ListPoliciesForGroup", &[("GroupName", "team")]).await;
    assert_eq!(names(&listed, "Policies", "Policy", "PolicyName"), ["read"]);
    let custom = [("PolicyName", "read"), ("PolicyType", "Custom")];
    let entities = admin.ok("ListEntitiesForPolicy", &custom).await;
    assert_eq!(names(&entities, "Groups", "Group", "GroupName"), ["Team"]);
    assert_eq!(entities["Users"]["User"].as_array().unwrap().len(), 0);

    // A deny of the group wins over an allow of the user.
    let own = [("UserName", "renamed"), ("PolicyName", "read"), ("PolicyType", "Custom")];
    admin.ok("AttachPolicyToUser", &own).await;
    let deny = policy("Deny", &["kms:*"], &["*"]);
    admin.ok("CreatePolicy", &[("PolicyName", "never"), ("PolicyDocument", &deny)]).await;
    let never = [("GroupName", "team"), ("PolicyName", "never"), ("PolicyType", "Custom")];
    admin.ok("AttachPolicyToGroup", &never).await;
    assert_eq!(code(&member, "GetSecretValue", &READ).await, DENIED);

    let team = [("GroupName", "team")];
    assert_eq!(code(&admin, "DeleteGroup", &team).await, "409 DeleteConflict.Group.User");
    assert_eq!(
        code(&admin, "DeletePolicy", &[("PolicyName", "never")]).await,
        "409 DeleteConflict.Policy.Group"
    );
    let leaving = [("UserName", "renamed"), ("GroupName", "team")];
    admin.ok("RemoveUserFromGroup", &leaving).await;
    assert_eq!(code(&admin, "RemoveUserFromGroup", &leaving).await, "404 EntityNotExist.User.Group");
    assert_eq!(member.value("db").await, "one");
    assert_eq!(code(&admin, "DeleteGroup", &team).await, "409 DeleteConflict.Group.Policy");
    admin.ok("DetachPolicyFromGroup", &never).await;
    assert_eq!(code(&admin, "DetachPolicyFromGroup", &never).await, "404 EntityNotExist.Group.Policy");
    let read = [("GroupName", "team"), ("PolicyName", "read"), ("PolicyType", "Custom")];
    admin.ok("DetachPolicyFromGroup", &read).await;
    admin.ok("DeleteGroup", &team).await;
    assert_eq!(code(&admin, "GetGroup", &team).await, "404 EntityNotExist.Group");
}

#[tokio::test]
async fn a_renamed_user_keeps_keys_and_policies_and_takes_no_other_users_name() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let user = appliance.named_user_with("old", &[policy("Allow", &["kms:GetSecretValue"], &["*"])]).await;
    let id = admin.ok("GetUser", &[("UserName", "old")]).await["User"]["UserId"].clone();
    let taken = [("UserName", "old"), ("NewUserName", "ADMIN")];
    assert_eq!(code(&admin, "UpdateUser", &taken).await, "409 EntityAlreadyExists.User");
    let change = [("UserName", "old"), ("NewUserName", "New"), ("NewEmail", "new@example.test")];
    let changed = admin.ok("UpdateUser", &change).await;
    assert_eq!(changed["User"]["UserName"], "New");
    assert_eq!(changed["User"]["Email"], "new@example.test");
    assert_eq!(changed["User"]["UserId"], id);
    assert_eq!(code(&admin, "GetUser", &[("UserName", "old")]).await, "404 EntityNotExist.User");
    assert_eq!(user.value("db").await, "one");
    let keys = admin.ok("ListAccessKeys", &[("UserName", "new")]).await;
    assert_eq!(names(&keys, "AccessKeys", "AccessKey", "AccessKeyId"), std::slice::from_ref(&user.key().id));
    let attached = admin.ok("ListPoliciesForUser", &[("UserName", "new")]).await;
    assert_eq!(names(&attached, "Policies", "Policy", "PolicyName"), ["old-0"]);
    // Another spelling of the same name is a change as well.
    admin.ok("UpdateUser", &[("UserName", "new"), ("NewUserName", "NEW")]).await;
    assert_eq!(user.value("db").await, "one");
    let records = appliance.audit_events();
    assert_eq!(records.last().unwrap()["userIdentity"]["userName"], "NEW");

    // Names are rights: whoever may change one user cannot make it another.
    let own = "acs:ram::1234567890123456:user/helper*";
    let delegate = appliance.named_user_with("helper", &[policy("Allow", &["ram:*"], &[own])]).await;
    let grab = [("UserName", "helper"), ("NewUserName", "boss")];
    assert_eq!(code(&delegate, "UpdateUser", &grab).await, "403 NoPermission");
    delegate.ok("UpdateUser", &[("UserName", "helper"), ("NewUserName", "helper-2")]).await;
}

#[tokio::test]
async fn the_default_version_of_a_policy_decides_and_is_named_in_the_record() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let user = appliance.named_user_with("user", &[policy("Allow", &["kms:List*"], &["*"])]).await;
    let custom = [("PolicyName", "user-0"), ("PolicyType", "Custom")];
    assert_eq!(code(&user, "GetSecretValue", &READ).await, DENIED);
    let reads = "{ \"Version\":\"1\", \"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"kms:GetSecretValue\",\"Resource\":\"*\"}]}";
    let add =
        |as_default| [("PolicyName", "user-0"), ("PolicyDocument", reads), ("SetAsDefault", as_default)];
    let made = admin.ok("CreatePolicyVersion", &add("false")).await;
    assert_eq!(made["PolicyVersion"]["VersionId"], "v2");
    assert_eq!(made["PolicyVersion"]["IsDefaultVersion"], false);
    assert_eq!(code(&user, "GetSecretValue", &READ).await, DENIED);
    admin.ok("SetDefaultPolicyVersion", &[("PolicyName", "user-0"), ("VersionId", "v2")]).await;
    assert_eq!(user.value("db").await, "one");
    let record = appliance.audit_events().pop().unwrap();
    let authorization = &record["additionalEventData"]["authorization"];
    assert_eq!(authorization["policyName"], "user-0");
    assert_eq!(authorization["policyVersion"], "v2");
    let shown = admin.ok("GetPolicyVersion", &[custom[0], custom[1], ("VersionId", "v2")]).await;
    assert_eq!(shown["PolicyVersion"]["PolicyDocument"], reads, "byte for byte");
    assert_eq!(admin.ok("GetPolicy", &custom).await["Policy"]["DefaultVersion"], "v2");

    // Five at most, and no id twice.
    for _ in 0..3 {
        admin.ok("CreatePolicyVersion", &add("false")).await;
    }
    assert_eq!(code(&admin, "CreatePolicyVersion", &add("true")).await, "409 LimitExceeded.Policy.Version");
    let rotate = ("RotateStrategy", "DeleteOldestNonDefaultVersionWhenLimitExceeded");
    let made = admin.ok("CreatePolicyVersion", &[&add("true")[..], &[rotate]].concat()).await;
    assert_eq!(made["PolicyVersion"]["VersionId"], "v6");
    let listed = admin.ok("ListPolicyVersions", &custom).await;
    let ids = |answer: &Value| names(answer, "PolicyVersions", "PolicyVersion", "VersionId");
    assert_eq!(ids(&listed), ["v2", "v3", "v4", "v5", "v6"]);
    let delete = |version| [("PolicyName", "user-0"), ("VersionId", version)];
    assert_eq!(
        code(&admin, "DeletePolicyVersion", &delete("v6")).await,
        "409 DeleteConflict.Policy.Version.Default"
    );
    admin.ok("DeletePolicyVersion", &delete("v5")).await;
    assert_eq!(code(&admin, "DeletePolicyVersion", &delete("v5")).await, "404 EntityNotExist.Policy.Version");
    assert_eq!(
        code(&admin, "SetDefaultPolicyVersion", &delete("v1")).await,
        "404 EntityNotExist.Policy.Version"
    );
    appliance.restart().await;
    let (admin, user) = (appliance.admin(), appliance.client(user.key()));
    assert_eq!(user.value("db").await, "one");
    assert_eq!(ids(&admin.ok("ListPolicyVersions", &custom).await), ["v2", "v3", "v4", "v6"]);

    let pair = [("UserName", "user"), custom[0], custom[1]];
    let policy = [("PolicyName", "user-0")];
    assert_eq!(code(&admin, "DeletePolicy", &policy).await, "409 DeleteConflict.Policy.User");
    admin.ok("DetachPolicyFromUser", &pair).await;
    assert_eq!(code(&admin, "DeletePolicy", &policy).await, "409 DeleteConflict.Policy.Version");
    admin.ok("AttachPolicyToUser", &pair).await;
    admin.ok("DeletePolicy", &[policy[0], ("CascadingDelete", "true")]).await;
    assert_eq!(code(&admin, "GetPolicy", &custom).await, "404 EntityNotExist.Policy");
    assert_eq!(code(&user, "GetSecretValue", &READ).await, DENIED);
}

#[tokio::test]
async fn limits_of_groups_are_kept() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for number in 0..6 {
        let name = format!("g{number}");
        admin.ok("CreateGroup", &[("GroupName", &name)]).await;
        let pair = [("UserName", "admin"), ("GroupName", name.as_str())];
        match number {
            5 => assert_eq!(code(&admin, "AddUserToGroup", &pair).await, "409 LimitExceeded.User.Group"),
            _ => drop(admin.ok("AddUserToGroup", &pair).await),
        }
        let policy_name = format!("p{number}");
        let document = policy("Allow", &["kms:*"], &["*"]);
        admin.ok("CreatePolicy", &[("PolicyName", &policy_name), ("PolicyDocument", &document)]).await;
        let pair = [("GroupName", "g0"), ("PolicyName", policy_name.as_str()), ("PolicyType", "Custom")];
        match number {
            5 => {
                assert_eq!(
                    code(&admin, "AttachPolicyToGroup", &pair).await,
                    "409 LimitExceeded.Group.Policy"
                );
            }
            _ => drop(admin.ok("AttachPolicyToGroup", &pair).await),
        }
    }
}

#[tokio::test]
async fn the_account_has_the_alias_that_it_was_given() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    assert_eq!(admin.ok("GetAccountAlias", &[]).await["AccountAlias"], "");
    admin.ok("SetAccountAlias", &[("AccountAlias", "example-corp")]).await;
    appliance.restart().await;
    let admin = appliance.admin();
    assert_eq!(admin.ok("GetAccountAlias", &[]).await["AccountAlias"], "example-corp");
    admin.ok("ClearAccountAlias", &[]).await;
    assert_eq!(admin.ok("GetAccountAlias", &[]).await["AccountAlias"], "");
}
