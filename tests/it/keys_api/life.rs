//! A key from its making to its deletion.

use data_encoding::BASE64;
use serde_json::json;

use super::{NO_KEY, arn, create, describe, encrypt, is, listed};
use crate::harness::{ACCOUNT, Appliance};

#[tokio::test]
async fn a_key_is_what_it_was_made_as_also_after_a_restart() {
    let mut appliance = Appliance::running().await;
    let admin = appliance.admin();
    let tags = r#"[{"TagKey":"env","TagValue":"prod"}]"#;
    let more = [
        ("Description", "orders\n\"ü\""),
        ("EnableAutomaticRotation", "True"),
        ("RotationInterval", "7d"),
        ("Tags", tags),
    ];
    let made = admin.ok("CreateKey", &more).await["KeyMetadata"].clone();
    let id = made["KeyId"].as_str().unwrap().to_owned();
    for (member, value) in [
        ("Arn", arn(&format!("key/{id}")).as_str()),
        ("KeySpec", "Aliyun_AES_256"),
        ("KeyUsage", "ENCRYPT/DECRYPT"),
        ("Origin", "Aliyun_KMS"),
        ("ProtectionLevel", "HSM"),
        ("KeyState", "Enabled"),
        ("Description", "orders\n\"ü\""),
        ("Creator", ACCOUNT),
        ("DeleteDate", ""),
        ("MaterialExpireTime", ""),
        ("AutomaticRotation", "Enabled"),
        ("RotationInterval", "604800s"),
        ("DKMSInstanceId", ""),
    ] {
        assert_eq!(made[member], value, "{member} of {made}");
    }
    assert_eq!(made["LastRotationDate"], made["CreationDate"]);
    assert!(made.get("DeletionProtection").is_none());
    let protection = [("EnableDeletionProtection", "true"), ("DeletionProtectionDescription", "backups")];
    admin.ok("SetDeletionProtection", &[&[("KeyId", id.as_str())], &protection[..]].concat()).await;
    admin.ok("CreateAlias", &[("AliasName", "alias/orders"), ("KeyId", &id)]).await;
    let before = describe(&admin, &id).await;
    assert_eq!(
        (&before["DeletionProtection"], &before["DeletionProtectionDescription"]),
        (&json!("Enabled"), &json!("backups"))
    );
    for member in made.as_object().unwrap().keys() {
        assert_eq!(before[member], made[member], "{member}");
    }
    appliance.restart().await;
    let admin = appliance.admin();
    for name in [id.as_str(), &arn(&format!("key/{id}")), "alias/orders", &arn("alias/orders")] {
        assert_eq!(describe(&admin, name).await, before, "{name}");
    }

    // The level that a client asks for is the one that it reads again.
    let soft = create(&admin, &[("ProtectionLevel", "SOFTWARE")]).await;
    let soft = describe(&admin, &soft).await;
    assert_eq!(
        (&soft["ProtectionLevel"], &soft["AutomaticRotation"]),
        (&json!("SOFTWARE"), &json!("Disabled"))
    );
    assert!(soft.get("RotationInterval").is_none() && soft.get("NextRotationDate").is_none(), "{soft}");
}

#[tokio::test]
async fn keys_that_the_vault_cannot_make_are_refused_with_the_code_of_the_contract() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let before = appliance.rows();
    for (name, value, code) in [
        ("KeySpec", "Aliyun_SM4", "UnsupportedOperation"),
        ("KeySpec", "RSA_2048", "UnsupportedOperation"),
        ("KeySpec", "EC_P256", "UnsupportedOperation"),
        ("KeySpec", "AES", "InvalidParameter"),
        ("KeyUsage", "SIGN/VERIFY", "UnsupportedOperation"),
        ("KeyUsage", "OTHER", "InvalidParameter"),
        ("Origin", "EXTERNAL", "Unsupported.Origin"),
        ("Origin", "other", "InvalidParameter"),
        ("ProtectionLevel", "LOW", "InvalidParameter"),
        ("KeyStorageMechanism", "HsmEncryptedDatabase", "UnsupportedOperation"),
        ("Policy", "{}", "UnsupportedOperation"),
        ("EnableAutomaticRotation", "true", "MissingParameter"),
        ("RotationInterval", "6d", "InvalidParameter"),
    ] {
        assert_eq!(admin.refused("CreateKey", &[(name, value)]).await, is(400, code), "{name}={value}");
    }
    assert_eq!(appliance.rows(), before);
    assert!(listed(&admin, "ListKeys", &[], "Keys.Key", "KeyId").await.is_empty());
    // What clients of dedicated instances add changes nothing.
    create(&admin, &[("DKMSInstanceId", "kst-1"), ("KeyStorageMechanism", "HsmInternal")]).await;
}

#[tokio::test]
async fn an_older_version_still_decrypts_and_the_newest_encrypts() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let key = create(&admin, &[]).await;
    let first = describe(&admin, &key).await["PrimaryKeyVersion"].as_str().unwrap().to_owned();
    let old = encrypt(&admin, &key, b"old", &[]).await;
    let made = admin.ok("CreateKeyVersion", &[("KeyId", &key)]).await["KeyVersion"].clone();
    let second = made["KeyVersionId"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    assert_eq!(made["KeyId"], key);
    assert_eq!(describe(&admin, &key).await["PrimaryKeyVersion"], *second);
    let new = encrypt(&admin, &key, b"new", &[]).await;
    for (blob, plain, version) in [(&old, "old", &first), (&new, "new", &second)] {
        let answer = admin.ok("Decrypt", &[("CiphertextBlob", blob)]).await;
        assert_eq!(
            (&answer["Plaintext"], &answer["KeyVersionId"]),
            (&json!(BASE64.encode(plain.as_bytes())), &json!(version))
        );
    }
    let versions =
        listed(&admin, "ListKeyVersions", &[("KeyId", &key)], "KeyVersions.KeyVersion", "KeyVersionId").await;
    assert_eq!(versions, [second.as_str(), &first]);
    let page = [("KeyId", key.as_str()), ("PageSize", "1"), ("PageNumber", "2")];
    let page = admin.ok("ListKeyVersions", &page).await;
    assert_eq!(
        (&page["TotalCount"], &page["PageNumber"], &page["PageSize"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!(page["KeyVersions"]["KeyVersion"][0]["KeyVersionId"], *first);
    let one = admin.ok("DescribeKeyVersion", &[("KeyId", &key), ("KeyVersionId", &first)]).await;
    assert_eq!(one["KeyVersion"]["KeyVersionId"], *first);
    for (version, wanted) in
        [(NO_KEY, is(404, "Forbidden.KeyVersionNotFound")), ("x y", is(400, "InvalidParameter"))]
    {
        let call = [("KeyId", key.as_str()), ("KeyVersionId", version)];
        assert_eq!(admin.refused("DescribeKeyVersion", &call).await, wanted);
    }

    let policy = |enable: &'static str, every: &'static str| {
        [
            ("KeyId", key.clone()),
            ("EnableAutomaticRotation", enable.to_owned()),
            ("RotationInterval", every.to_owned()),
        ]
    };
    for (enable, every, status) in
        [("true", "7d", "Enabled"), ("False", "30d", "Disabled"), ("true", "365d", "Enabled")]
    {
        let call = policy(enable, every);
        let call: Vec<_> = call.iter().map(|(name, value)| (*name, value.as_str())).collect();
        admin.ok("UpdateRotationPolicy", &call).await;
        assert_eq!(describe(&admin, &key).await["AutomaticRotation"], status);
    }
    assert_eq!(describe(&admin, &key).await["RotationInterval"], "31536000s");
    admin.ok("DisableKey", &[("KeyId", &key)]).await;
    assert_eq!(describe(&admin, &key).await["AutomaticRotation"], "Suspended");
    let lone = [("KeyId", key.as_str()), ("EnableAutomaticRotation", "true")];
    assert_eq!(admin.refused("UpdateRotationPolicy", &lone).await, is(400, "MissingParameter"));
    for every in ["6d", "366d", "x", ""] {
        let call = [lone[0], lone[1], ("RotationInterval", every)];
        assert_eq!(
            admin.refused("UpdateRotationPolicy", &call).await,
            is(400, "InvalidParameter"),
            "{every}"
        );
    }
}

#[tokio::test]
async fn a_protected_key_is_not_deleted() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let key = create(&admin, &[]).await;
    let protect = async |selector: (&str, &str), on: &str| {
        admin.ok("SetDeletionProtection", &[selector, ("EnableDeletionProtection", on)]).await;
    };
    let by_arn = arn(&format!("key/{key}"));
    protect(("ProtectedResourceArn", &by_arn), "true").await;
    let schedule = [("KeyId", key.as_str()), ("PendingWindowInDays", "7")];
    assert_eq!(
        admin.refused("ScheduleKeyDeletion", &schedule).await,
        is(409, "Rejected.StateModifiedFailed")
    );
    protect(("KeyId", &key), "false").await;
    admin.ok("ScheduleKeyDeletion", &schedule).await;
    for days in ["6", "367", "0", "x", ""] {
        let call = [("KeyId", key.as_str()), ("PendingWindowInDays", days)];
        assert_eq!(admin.refused("ScheduleKeyDeletion", &call).await, is(400, "InvalidParameter"), "{days}");
    }
    let neither = admin.refused("SetDeletionProtection", &[("EnableDeletionProtection", "true")]).await;
    assert_eq!(neither, is(400, "MissingParameter"));
}
