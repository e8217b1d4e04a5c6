//! What the state of a key allows (kms-secrets.md section 8.2).

use super::{create, describe, encrypt};
use crate::harness::Appliance;

/// kms-secrets.md section 8.2. The columns are the states that keys can have
/// here: Enabled, Disabled, PendingDeletion. Nothing is imported, so that no key
/// is ever PendingImport.
const STATES: &[(&str, [&str; 3])] = &[
    ("Encrypt", ["", "Rejected.Disabled", "Rejected.PendingDeletion"]),
    ("Decrypt", ["", "Rejected.Disabled", "Rejected.PendingDeletion"]),
    ("GenerateDataKey", ["", "Rejected.Disabled", "Rejected.PendingDeletion"]),
    ("GenerateDataKeyWithoutPlaintext", ["", "Rejected.Disabled", "Rejected.PendingDeletion"]),
    ("CreateKeyVersion", ["", "Rejected.Disabled", "Rejected.PendingDeletion"]),
    ("EnableKey", ["", "", "Rejected.StateModifiedFailed"]),
    ("DisableKey", ["", "", "Rejected.StateModifiedFailed"]),
    ("ScheduleKeyDeletion", ["", "", "Rejected.StateModifiedFailed"]),
    ("CancelKeyDeletion", ["Rejected.StateModifiedFailed", "Rejected.StateModifiedFailed", ""]),
    ("CreateAlias", ["", "", "Rejected.StateModifiedFailed"]),
    ("UpdateAlias", ["", "", "Rejected.PendingDeletion"]),
    ("UpdateKeyDescription", ["", "", "Rejected.PendingDeletion"]),
    ("SetDeletionProtection", ["", "", "Rejected.PendingDeletion"]),
    ("UpdateRotationPolicy", ["", "", "Rejected.PendingDeletion"]),
    ("DescribeKey", ["", "", ""]),
    ("ListKeyVersions", ["", "", ""]),
    ("ListAliasesByKeyId", ["", "", ""]),
    ("DeleteAlias", ["", "", ""]),
];

#[tokio::test]
async fn the_state_of_a_key_decides_what_can_be_done_with_it() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let other = create(&admin, &[]).await;
    admin.ok("CreateAlias", &[("AliasName", "alias/moved"), ("KeyId", &other)]).await;
    for (column, state) in ["Enabled", "Disabled", "PendingDeletion"].into_iter().enumerate() {
        for (action, codes) in STATES {
            let key = create(&admin, &[]).await;
            let own = format!("alias/{state}-{action}");
            admin.ok("CreateAlias", &[("AliasName", &own), ("KeyId", &key)]).await;
            let blob = encrypt(&admin, &key, b"x", &[]).await;
            match state {
                "Disabled" => drop(admin.ok("DisableKey", &[("KeyId", &key)]).await),
                "PendingDeletion" => {
                    admin.ok("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]).await;
                }
                _ => {}
            }
            assert_eq!(describe(&admin, &key).await["KeyState"], state);
            let fresh = format!("alias/new-{state}");
            let mut call = match *action {
                "Decrypt" => vec![("CiphertextBlob", blob.as_str())],
                "DeleteAlias" => vec![("AliasName", own.as_str())],
                _ => vec![("KeyId", key.as_str())],
            };
            call.extend(match *action {
                "Encrypt" => vec![("Plaintext", "eA==")],
                "ScheduleKeyDeletion" => vec![("PendingWindowInDays", "7")],
                "CreateAlias" => vec![("AliasName", fresh.as_str())],
                "UpdateAlias" => vec![("AliasName", "alias/moved")],
                "UpdateKeyDescription" => vec![("Description", "new")],
                "SetDeletionProtection" => vec![("EnableDeletionProtection", "true")],
                "UpdateRotationPolicy" => vec![("EnableAutomaticRotation", "false")],
                _ => vec![],
            });
            let before = describe(&admin, &key).await;
            let outcome = admin.call(action, &call).await;
            let code = codes[column];
            let found = outcome.as_ref().err().map(|refused| (refused.status, refused.code.as_str()));
            let wanted = Some((409, code)).filter(|_| !code.is_empty());
            assert_eq!(found, wanted, "{action} of a key that is {state}: {outcome:?}");
            let after = describe(&admin, &key).await;
            match *action {
                _ if !code.is_empty() => {
                    assert_eq!(after, before, "{action} was refused, and changed the key")
                }
                "EnableKey" | "CancelKeyDeletion" => assert_eq!(after["KeyState"], "Enabled"),
                "DisableKey" => assert_eq!(after["KeyState"], "Disabled"),
                "ScheduleKeyDeletion" => assert_eq!(after["KeyState"], "PendingDeletion"),
                _ => assert_eq!(after["KeyState"], state, "{action}"),
            }
            assert_eq!(after["DeleteDate"] == "", after["KeyState"] != "PendingDeletion", "{after}");
        }
    }
}
