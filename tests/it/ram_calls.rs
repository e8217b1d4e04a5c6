//! What must be there before calls of the RAM and STS actions.

use crate::authorisation::borrowed;
use crate::harness::{ACCOUNT, Client, policy};

/// A policy that lets everybody of the account take a role on.
pub(crate) fn trust() -> String {
    trust_of(&format!("acs:ram::{ACCOUNT}:root"))
}

/// A policy that lets one principal take a role on.
pub(crate) fn trust_of(principal: &str) -> String {
    let statement = serde_json::json!({
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "RAM": [principal] },
    });
    serde_json::json!({ "Version": "1", "Statement": [statement] }).to_string()
}

/// The service that looks after secrets of ECS instances, and its role.
pub(crate) const ECS: &str = "secretsmanager-ecs.kms.aliyuncs.com";
pub(crate) const ECS_ROLE: &str = "AliyunServiceRoleForKMSSecretsManagerForECS";

/// Makes what the call is about.
pub(crate) async fn prepare(admin: &Client, action: &str, call: &mut [(String, String)]) {
    let of = |name: &str| call.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
    if let Some(name) = of("PolicyName").filter(|_| action != "CreatePolicy") {
        let document = policy("Allow", &["kms:*"], &["*"]);
        admin.ok("CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &document)]).await;
        if of("VersionId").is_some() {
            admin.ok("CreatePolicyVersion", &[("PolicyName", &name), ("PolicyDocument", &document)]).await;
        }
    }
    if let Some(name) = of("GroupName").filter(|_| action != "CreateGroup") {
        admin.ok("CreateGroup", &[("GroupName", &name)]).await;
    }
    if action == "AssumeRole" {
        let role = format!("r-{action}");
        admin.ok("CreateRole", &[("RoleName", &role), ("AssumeRolePolicyDocument", &trust())]).await;
    }
    if let Some(name) = of("RoleName").filter(|name| action != "CreateRole" && name != ECS_ROLE) {
        admin.ok("CreateRole", &[("RoleName", &name), ("AssumeRolePolicyDocument", &trust())]).await;
    }
    if let Some(name) = of("UserName").filter(|_| action != "CreateUser") {
        admin.ok("CreateUser", &[("UserName", &name)]).await;
        if let Some((_, id)) = call.iter_mut().find(|(n, _)| *n == "UserAccessKeyId") {
            let made = admin.ok("CreateAccessKey", &[("UserName", &name)]).await;
            *id = made["AccessKey"]["AccessKeyId"].as_str().unwrap().to_owned();
        }
    }
    let before = match action {
        "DetachPolicyFromRole" => Some("AttachPolicyToRole"),
        "DetachPolicyFromGroup" => Some("AttachPolicyToGroup"),
        "DetachPolicyFromUser" => Some("AttachPolicyToUser"),
        "RemoveUserFromGroup" => Some("AddUserToGroup"),
        _ => None,
    };
    if let Some(before) = before {
        admin.ok(before, &borrowed(call)).await;
    }
}
