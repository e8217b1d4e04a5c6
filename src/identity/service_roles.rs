//! The roles of services, one for each (ram.md section 2.4).

/// What the role of a service is like. Its trust policy names the service alone.
#[derive(Debug)]
pub struct ServiceRole {
    /// The service.
    pub service: &'static str,
    /// The role's name.
    pub role: &'static str,
    /// The system policy that it has.
    pub policy: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its trust policy.
    pub trust: &'static str,
}

/// Those that there are: the grant to look after secrets of ECS instances.
pub const SERVICE_ROLES: [ServiceRole; 1] = [ServiceRole {
    service: "secretsmanager-ecs.kms.aliyuncs.com",
    role: "AliyunServiceRoleForKMSSecretsManagerForECS",
    policy: "AliyunServiceRolePolicyForKMSSecretsManagerForECS",
    description: "Rotates the passwords and keys of ECS instances.",
    trust: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":["secretsmanager-ecs.kms.aliyuncs.com"]}}]}"#,
}];

#[cfg(test)]
mod tests {
    use super::SERVICE_ROLES;
    use crate::identity::SYSTEM_POLICIES;
    use crate::model::{PolicyName, RoleName};
    use crate::ram::{Policy, PolicyKind};

    #[test]
    fn roles_of_services_name_a_system_policy_and_trust_their_service() {
        for role in &SERVICE_ROLES {
            assert!(SYSTEM_POLICIES.iter().any(|policy| policy.name == role.policy), "{}", role.policy);
            assert!(Policy::parse(PolicyKind::Trust, role.trust).is_ok(), "{}", role.role);
            assert!(RoleName::parse(role.role).is_ok() && PolicyName::parse(role.policy).is_ok());
            assert!(role.trust.contains(role.service));
        }
    }
}
