//! The system policies that are shipped (ram.md section 2.4).

/// A policy with a fixed name and document.
#[derive(Debug, Clone, Copy)]
pub struct SystemPolicy {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its document.
    pub document: &'static str,
}

/// The system policies, in the order of their names.
pub const SYSTEM_POLICIES: [SystemPolicy; 9] = [
    SystemPolicy {
        name: "AdministratorAccess",
        description: "Everything on everything.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSCryptoAdminAccess",
        description: "Everything on keys and aliases.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":["acs:kms:*:*:key*","acs:kms:*:*:alias*"]},{"Effect":"Allow","Action":["ecs:TagResources","ecs:UntagResources","ecs:ListTagResources"],"Resource":["acs:kms:*:*:key/*","acs:kms:*:*:secret/*"]}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSCryptoUserAccess",
        description: "Encryption, decryption and signatures with all keys.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey","kms:GenerateDataKeyWithoutPlaintext","kms:AsymmetricDecrypt","kms:AsymmetricEncrypt","kms:AsymmetricSign","kms:AsymmetricVerify","kms:GetPublicKey"],"Resource":"*"}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSFullAccess",
        description: "Everything on secrets and keys; not the first creation of an ECS secret's role.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"},{"Effect":"Allow","Action":"ram:CreateServiceLinkedRole","Resource":"*","Condition":{"StringEquals":{"ram:ServiceName":["secretsmanager-rds.kms.aliyuncs.com","keystore.kms.aliyuncs.com"]}}}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSReadOnlyAccess",
        description: "Lists and descriptions of secrets and keys, no values.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:List*","kms:Describe*","kms:GetPublicKey","kms:GetUploadBackupDataInfo","kms:GetKmsInstanceSharedAccounts","kms:GetKmsInstanceQuotaInfos","kms:GetCheckAssociateResourceTaskResults","kms:GetKeyPolicy","kms:GetKeyDefaultPolicy","kms:GetSecretPolicy","kms:GetSecretDefaultPolicy","kms:GetKmsInstance","kms:GetDefaultKmsInstance"],"Resource":"*"}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSSecretAdminAccess",
        description: "Everything on secrets, including those of ECS instances.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:*:*:secret*"},{"Effect":"Allow","Action":"kms:GetRandomPassword","Resource":"*"},{"Effect":"Allow","Action":["rds:DescribeDBInstances","rds:DescribeDBInstanceAttribute","rds:DescribeDatabases","rds:DescribeAccounts","rds:DescribeDBInstanceNetInfo","rds:CreateAccount","rds:GrantAccountPrivilege"],"Resource":"*"},{"Effect":"Allow","Action":"ecs:DescribeInstances","Resource":"acs:ecs:*:*:instance/*"},{"Effect":"Allow","Action":["ecs:TagResources","ecs:UntagResources","ecs:ListTagResources"],"Resource":["acs:kms:*:*:key/*","acs:kms:*:*:secret/*"]},{"Effect":"Allow","Action":"ram:CreateServiceLinkedRole","Resource":"*","Condition":{"StringEquals":{"ram:ServiceName":["secretsmanager-rds.kms.aliyuncs.com","secretsmanager-ecs.kms.aliyuncs.com"]}}}]}"#,
    },
    SystemPolicy {
        name: "AliyunKMSSecretUserAccess",
        description: "The values of all secrets that need no key of a user.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:GetSecretValue","Resource":"*"},{"Effect":"Allow","Action":["kms:DescribeSecret","kms:ListSecretVersionIds"],"Resource":"*"}]}"#,
    },
    SystemPolicy {
        name: "AliyunSTSAssumeRoleAccess",
        description: "Taking on every role that lets the caller.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#,
    },
    SystemPolicy {
        name: "AliyunServiceRolePolicyForKMSSecretsManagerForECS",
        description: "What the rotation of secrets of ECS instances needs.",
        document: r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["ecs:DescribeInstances","ecs:InvokeCommand","ecs:DescribeInvocationResults"],"Resource":["acs:ecs:*:*:instance/*","acs:ecs:*:*:command/cmd-ACS-KMS-RotateECSSecret*"]},{"Effect":"Allow","Action":["kms:ListSecretVersionIds","kms:GetSecretValue","kms:DescribeSecret","kms:PutSecretValue","kms:UpdateSecretVersionStage"],"Resource":"acs:kms:*:*:secret/acs/ecs/*"},{"Effect":"Allow","Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":"acs:kms:*:*:key/*"},{"Effect":"Allow","Action":"ram:DeleteServiceLinkedRole","Resource":"*","Condition":{"StringEquals":{"ram:ServiceName":"secretsmanager-ecs.kms.aliyuncs.com"}}}]}"#,
    },
];
