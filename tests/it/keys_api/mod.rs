//! Keys and aliases through the API of a served vault
//! (kms-secrets.md section 8).

mod command;
mod cryptography;
mod life;
mod lists;
mod names;
mod states;

use data_encoding::BASE64;
use serde_json::Value;

use crate::harness::{ACCOUNT, Client, REGION};

/// An id that no key has.
const NO_KEY: &str = "01234567-89ab-4cde-8f01-23456789abcd";

fn arn(relative: &str) -> String {
    format!("acs:kms:{REGION}:{ACCOUNT}:{relative}")
}

async fn create(client: &Client, more: &[(&str, &str)]) -> String {
    let answer = client.ok("CreateKey", more).await;
    answer["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

async fn describe(client: &Client, key: &str) -> Value {
    client.ok("DescribeKey", &[("KeyId", key)]).await["KeyMetadata"].clone()
}

async fn encrypt(client: &Client, key: &str, plain: &[u8], more: &[(&str, &str)]) -> String {
    let text = BASE64.encode(plain);
    let answer = client.ok("Encrypt", &[&[("KeyId", key), ("Plaintext", &text)], more].concat()).await;
    answer["CiphertextBlob"].as_str().unwrap().to_owned()
}

async fn decrypt(client: &Client, blob: &str, more: &[(&str, &str)]) -> Result<Vec<u8>, (u16, String)> {
    match client.call("Decrypt", &[&[("CiphertextBlob", blob)], more].concat()).await {
        Ok(answer) => Ok(BASE64.decode(answer["Plaintext"].as_str().unwrap().as_bytes()).unwrap()),
        Err(refused) => Err((refused.status, refused.code)),
    }
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A member of every item of a list.
async fn listed(
    client: &Client,
    action: &str,
    more: &[(&str, &str)],
    wrapper: &str,
    member: &str,
) -> Vec<String> {
    let answer = client.ok(action, &[&[("PageSize", "100")], more].concat()).await;
    let (outer, inner) = wrapper.split_once('.').unwrap();
    let items = answer[outer][inner].as_array().unwrap();
    assert_eq!(answer["TotalCount"], items.len(), "{answer}");
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

/// Every action that changes a key, with what it needs besides.
const MANAGING: &[(&str, &[(&str, &str)])] = &[
    ("EnableKey", &[]),
    ("DisableKey", &[]),
    ("CancelKeyDeletion", &[]),
    ("ScheduleKeyDeletion", &[("PendingWindowInDays", "7")]),
    ("UpdateKeyDescription", &[("Description", "d")]),
    ("SetDeletionProtection", &[("EnableDeletionProtection", "true")]),
    ("CreateAlias", &[("AliasName", "alias/new")]),
    ("UpdateAlias", &[("AliasName", "alias/k")]),
    ("ListAliasesByKeyId", &[]),
    ("CreateKeyVersion", &[]),
    ("ListKeyVersions", &[]),
    ("DescribeKeyVersion", &[("KeyVersionId", NO_KEY)]),
    ("UpdateRotationPolicy", &[("EnableAutomaticRotation", "false")]),
];

/// Those that take any name of a key.
const USING: &[(&str, &[(&str, &str)])] = &[
    ("DescribeKey", &[]),
    ("Encrypt", &[("Plaintext", "eA==")]),
    ("GenerateDataKey", &[]),
    ("GenerateDataKeyWithoutPlaintext", &[]),
];
