//! Roles, and the roles of services.

use crate::harness::{Appliance, Client};
use crate::ram_calls::{ECS, ECS_ROLE, trust, trust_of};

async fn code(client: &Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, code) = client.refused(action, parameters).await;
    format!("{status} {code}")
}

#[tokio::test]
async fn a_role_lives_from_creation_to_deletion() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    let document = trust().replace("{\"Effect", " {\n\"Effect");
    let call = [("RoleName", "Deploy"), ("AssumeRolePolicyDocument", &*document), ("Description", "d")];
    let made = admin.ok("CreateRole", &call).await;
    assert_eq!(made["Role"]["Arn"], "acs:ram::1234567890123456:role/deploy");
    assert_eq!(made["Role"]["MaxSessionDuration"], 3600);
    assert_eq!(made["Role"]["IsServiceLinkedRole"], false);
    assert_eq!(
        code(&admin, "CreateRole", &[("RoleName", "dEPLOY"), call[1]]).await,
        "409 EntityAlreadyExists.Role"
    );

    let changed = trust_of("acs:ram::1234567890123456:user/admin");
    let change = [
        ("RoleName", "deploy"),
        ("NewAssumeRolePolicyDocument", &*changed),
        ("NewMaxSessionDuration", "7200"),
    ];
    admin.ok("UpdateRole", &change).await;
    appliance.restart().await;
    let admin = appliance.admin();
    let role = [("RoleName", "DEPLOY")];
    let shown = admin.ok("GetRole", &role).await;
    assert_eq!(shown["Role"]["RoleName"], "Deploy");
    assert_eq!(shown["Role"]["RoleId"], made["Role"]["RoleId"]);
    assert_eq!(shown["Role"]["AssumeRolePolicyDocument"], changed, "byte for byte");
    assert_eq!(shown["Role"]["MaxSessionDuration"], 7200);
    assert_eq!(shown["Role"]["Description"], "d");

    let read = [("RoleName", "deploy"), ("PolicyName", "AliyunKMSReadOnlyAccess"), ("PolicyType", "System")];
    admin.ok("AttachPolicyToRole", &read).await;
    assert_eq!(code(&admin, "AttachPolicyToRole", &read).await, "409 EntityAlreadyExists.Role.Policy");
    let listed = admin.ok("ListPoliciesForRole", &role).await;
    assert_eq!(listed["Policies"]["Policy"][0]["PolicyName"], "AliyunKMSReadOnlyAccess");
    let entities = admin.ok("ListEntitiesForPolicy", &read[1..]).await;
    assert_eq!(entities["Roles"]["Role"][0]["RoleName"], "Deploy");
    assert_eq!(admin.ok("ListRoles", &[]).await["Roles"]["Role"][0]["RoleName"], "Deploy");
    assert_eq!(code(&admin, "DeleteRole", &role).await, "409 DeleteConflict.Role.Policy");
    admin.ok("DetachPolicyFromRole", &read).await;
    assert_eq!(code(&admin, "DetachPolicyFromRole", &read).await, "404 EntityNotExist.Role.Policy");
    admin.ok("DeleteRole", &role).await;
    for action in ["GetRole", "DeleteRole", "UpdateRole", "ListPoliciesForRole"] {
        assert_eq!(code(&admin, action, &role).await, "404 EntityNotExist.Role", "{action}");
    }
}

#[tokio::test]
async fn the_role_of_a_service_is_made_whole_and_left_alone_until_nobody_needs_it() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let service = [("ServiceName", ECS)];
    // The right hangs on the service.
    let condition = serde_json::json!({ "Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "ram:CreateServiceLinkedRole", "Resource": "*",
        "Condition": { "StringEquals": { "ram:ServiceName": "secretsmanager-rds.kms.aliyuncs.com" } },
    }]});
    let other = appliance.user_with(&[condition.to_string()]).await;
    assert_eq!(code(&other, "CreateServiceLinkedRole", &service).await, "403 NoPermission");
    let condition = condition.to_string().replace("-rds", "-ecs");
    let one = appliance.user_with(&[condition]).await;
    let made = one.ok("CreateServiceLinkedRole", &service).await;
    assert_eq!(made["Role"]["RoleName"], ECS_ROLE);
    assert_eq!(made["Role"]["IsServiceLinkedRole"], true);
    assert_eq!(code(&one, "CreateServiceLinkedRole", &service).await, "409 EntityAlreadyExists.Role");
    let template = admin.ok("GetServiceLinkedRoleTemplate", &service).await;
    let policy_name = template["ServiceLinkedRoleTemplate"]["SystemPolicyName"].as_str().unwrap();
    let role = [("RoleName", ECS_ROLE)];
    let attached = admin.ok("ListPoliciesForRole", &role).await;
    assert_eq!(attached["Policies"]["Policy"][0]["PolicyName"], policy_name);

    let pair = [role[0], ("PolicyName", policy_name), ("PolicyType", "System")];
    let anybody = trust();
    for (action, call) in [
        ("UpdateRole", &[role[0], ("NewAssumeRolePolicyDocument", anybody.as_str())][..]),
        ("DeleteRole", &role[..]),
        ("AttachPolicyToRole", &pair[..]),
        ("DetachPolicyFromRole", &pair[..]),
    ] {
        assert_eq!(code(&admin, action, call).await, "400 UnsupportedOperation", "{action}");
    }

    let task = admin.ok("DeleteServiceLinkedRole", &role).await;
    let task = task["DeletionTaskId"].as_str().unwrap().to_owned();
    let status = admin.ok("GetServiceLinkedRoleDeletionStatus", &[("DeletionTaskId", &task)]).await;
    assert_eq!(status["Status"], "SUCCEEDED");
    assert_eq!(code(&admin, "DeleteServiceLinkedRole", &role).await, "404 EntityNotExist.Role");
    let unknown = [("DeletionTaskId", "x")];
    assert_eq!(
        code(&admin, "GetServiceLinkedRoleDeletionStatus", &unknown).await,
        "404 EntityNotExist.Role.DeletionTask"
    );
    // A role that somebody made by himself is none of a service.
    let document = trust();
    admin.ok("CreateRole", &[("RoleName", "own"), ("AssumeRolePolicyDocument", &document)]).await;
    let own = [("RoleName", "own")];
    assert_eq!(code(&admin, "DeleteServiceLinkedRole", &own).await, "404 EntityNotExist.Role");
}
