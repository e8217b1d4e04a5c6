//! Every parameter of every action, missing, empty, too long and wrong: the
//! answer says which parameter and why, a record is made, and nothing changes.
//!
//! What is wrong is taken from the descriptions in `schema/api`, so that a new
//! action is tried without a word here; what breaks rules that no description
//! tells stands in [`by_hand`].

use regex_lite::Regex;
use strongroom::api::actions::TABLE;
use strongroom::api::describe::{self, Kind, Parameter};

use crate::authorisation::{borrowed, sound_call};
use crate::harness::Appliance;

const BOOLEAN: &[&str] = &["", "yes", "1", "0", "truefalse", " true"];
const NUMBER: &[&str] = &["", "-1", "1.0", "1e1", "0x1", "one", " 1", "99999999999999999999", "１"];
const BASE64: &[&str] = &["a", "!!!!", "YQ", "YQ==YQ==", "Y Q=", "名前"];
/// Nobody's JSON.
const JSON: &[&str] = &["x", "{", r#"["#];
/// Whatever a pattern refuses of them.
const ODD: &[&str] = &[
    "a b", "a:b", "a/b", "a*", "a.b", "a\nb", "a\u{0}", "ü", "名前", "%", "-1", "101%", "1.5%", "five", " 5",
];

const NAME: &[&str] = &["a b", "a:b", "a*b", "a\nb", "\u{0}", "名前", "a//b", "/a", "a/", "a/../b", TOO_LONG];
/// A name of 193 characters.
const TOO_LONG: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "a",
);
const MOMENT: &[&str] = &["", "yesterday", "2024-05-06", "2024-05-06T07:08:09", "2024-13-06T07:08:09Z", "0"];
const TAGS: &[&str] = &[
    "{}",
    r#"[{"TagKey":"a"}]"#,
    r#"[{"TagKey":"","TagValue":"a"}]"#,
    r#"[{"TagKey":"acs:a","TagValue":"a"}]"#,
    r#"[{"TagKey":"aliyun","TagValue":"a"}]"#,
    r#"[{"TagKey":"a*","TagValue":"a"}]"#,
    r#"[{"TagKey":"a","TagValue":"${b}"}]"#,
    r#"[{"TagKey":"a","TagValue":"a"},{"TagKey":"a","TagValue":"b"}]"#,
];
const DOCUMENT: &[&str] = &[
    "",
    "{}",
    "[]",
    r#"{"Version":"1"}"#,
    r#"{"Version":"2","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Deny","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NoSuch":{"a":"b"}}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Effect":"Allow"}]}"#,
];
/// Policies that no secret can have.
const SECRET_POLICY: &[&str] = &[
    "{}",
    "[]",
    r#"{"Version":"1","Statement":[]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"RAM":"acs:ram::1:*"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:*","Resource":"*","Principal":{"RAM":"acs:ram::1:*"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:*:*:secret/a","Principal":{"RAM":"acs:ram::1:*"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"RAM":"*"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"Service":"ecs.aliyuncs.com"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"RAM":"acs:ram::1:*"},"Condition":{"NoSuch":{"a:b":"c"}}}]}"#,
    r#"{"Version":"1","Statement":[{"Sid":"a*","Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"RAM":"acs:ram::1:*"}}]}"#,
];
/// Policies that no session can have.
const SESSION_POLICY: &[&str] = &[
    "",
    "{}",
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"RAM":"acs:ram::1:root"}}]}"#,
];
/// Trust policies that no role can have.
const TRUST: &[&str] = &[
    "",
    "{}",
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Principal":{"RAM":"acs:ram::1:root"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"*"}}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"acs:ram::1:root"},"Resource":"*"}]}"#,
];
const FILTERS: &[&str] = &[
    "{}",
    "[1]",
    r#"[{"Key":"SecretName"}]"#,
    r#"[{"Key":"SecretName","Values":[]}]"#,
    r#"[{"Key":"SecretName","Values":"a"}]"#,
    r#"[{"Key":"SecretName","Values":[""]}]"#,
    r#"[{"Key":"SecretName","Values":["a"],"Other":1}]"#,
    r#"[{"Key":"secretname","Values":["a"]}]"#,
    r#"[{"Key":"Name","Values":["a"]}]"#,
    r#"[{"Key":"SecretType","Values":["Other"]}]"#,
    r#"[{"Key":"TagKey","Values":["0","1","2","3","4","5","6","7","8","9","10"]}]"#,
];
const BATCH: &[&str] = &[
    "{}",
    "[]",
    "[{}]",
    r#"["a"]"#,
    r#"[{"SecretName":""}]"#,
    r#"[{"SecretName":"a b"}]"#,
    r#"[{"SecretName":"a"},{"SecretName":"a"}]"#,
    r#"[{"SecretName":"a"},{"SecretName":"acs:kms:cn-hangzhou:1234567890123456:secret/a"}]"#,
    r#"[{"SecretName":"a","VersionId":""}]"#,
    r#"[{"SecretName":"a","VersionStage":"a b"}]"#,
    r#"[{"SecretName":"a","FetchExtendedConfig":"yes"}]"#,
    r#"[{"SecretName":"a","FetchExtendedConfig":1}]"#,
];
const WINDOWS: &[&str] = &["{}", "[1]", r#"["Sat 01:00-05:00"]"#, r#"["Someday 01:00-05:00 Z"]"#];
const AMOUNT: &[&str] = &["100001", "101%", "999999%"];
const KEY: &[&str] = &["a b", "a/b", "key/x", "alias/", "alias/a b", "alias/acs/kms", "名前", "\u{0}"];
const ALIAS: &[&str] = &["a", "alias/", "alias/a b", "alias/a.b", "alias/acs/kms", "alias//a"];
const KEY_INTERVAL: &[&str] = &["", "x", "6d", "366d", "7", "-7d"];
const KEY_FILTERS: &[&str] =
    &["{}", "[1]", r#"[{"Key":"KeyState","Values":[]}]"#, r#"[{"Key":"Colour","Values":["a"]}]"#];
const CONTEXT: &[&str] = &["[]", r#"{"a":1}"#, r#"{"a":"b","a":"b"}"#];

/// With the name of a secret it is one too many.
const NO_KEY: &[&str] = &["00000000-0000-0000-0000-000000000000"];
/// No places in a list of secrets, the last two encoded as such are.
const TOKEN: &[&str] = &["x", "*", "MTpzZWNyZXQ6MTph4", "MTpzZWNyZXQ6eDph", "MTpzZWNyZXQ6MTphIGI"];

/// Values that the action refuses for reasons that its description does not have.
fn by_hand(action: &str, parameter: &str) -> &'static [&'static str] {
    match (action, parameter) {
        ("CreateSecret", "SecretName") => &["a//b", "/a", "a/", "a/../b", "acs/x", "acs/ecs/x"],
        (_, "SecretName") => NAME,
        ("CreateSecret", "SecretType") => &["Rds", "Redis", "PolarDB", "RAMCredentials"],
        (_, "AliasName") => ALIAS,
        (_, "CiphertextBlob") => &["eA=="],
        (_, "EncryptionContext") => CONTEXT,
        ("TagResource" | "UntagResource" | "ListResourceTags", "KeyId") => NO_KEY,
        (_, "EncryptionKeyId" | "KeyId" | "ProtectedResourceArn") => KEY,
        ("DescribeKeyVersion", "KeyVersionId") => &["x", "a b"],
        ("CreateKey", "KeySpec") => &["AES", "Aliyun_SM4", "RSA_2048", "EC_P256"],
        ("CreateKey", "KeyUsage") => &["SIGN/VERIFY"],
        ("CreateKey", "KeyStorageMechanism") => &["HsmEncryptedDatabase"],
        ("CreateKey" | "UpdateRotationPolicy", "RotationInterval") => KEY_INTERVAL,
        ("ListKeys", "Filters") => KEY_FILTERS,
        ("ListKmsInstances", "Filters") => &["{}", "1"],
        ("AssumeRole", "Policy") => SESSION_POLICY,
        ("AssumeRole", "RoleArn") => &["r", "acs:ram::1:role/r", "acs:ram::1234567890123456:user/r"],
        (_, "Policy") => SECRET_POLICY,
        (_, "SecretsList") => BATCH,
        ("ListSecrets", "Filters") => FILTERS,
        ("UpdateSecret", "ExtendedConfig") => {
            &["", "{}", r#"{"CustomData":[]}"#, r#"{"CustomData":{},"RegionId":"cn-hangzhou"}"#]
        }
        ("UpdateSecret", "ExtendedConfig.CustomData") => &["", "[]", r#""a""#, r#"{"a":}"#],
        ("UpdateSecretVersionStage", "VersionStage") => &["ACSPending"],
        // A Generic secret does not rotate.
        ("CreateSecret", "EnableAutomaticRotation") => &["true"],
        (_, "CertificateId") => &["c"],
        (_, "RegionId") => &["cn-beijing", "CN-HANGZHOU"],
        (_, "ResourceId.N") => NAME,
        ("TagResources", "Tag.N.Key") | (_, "TagKey.N") => &["a b", "a*", "acs:a", "aliyun"],
        ("TagResources", "Tag.N.Value") => &["a b", "a*"],
        (_, "TagKeys") => &[",", "a b", "acs:a", "aliyun", "[", "[]", "[1]", r#"["a",""]"#, r#"{"a":1}"#],
        ("ListTagResources", "NextToken") => TOKEN,
        (_, "Tags") => TAGS,
        (_, "PolicyDocument") => DOCUMENT,
        ("SetAccountAlias", "AccountAlias") => &["Abc", "-abc", "abc-", "a--b", "a_b", "名前前"],
        ("DeletePolicyVersion" | "GetPolicyVersion" | "SetDefaultPolicyVersion", "VersionId") => {
            &["", "1", "v", "v0", "v01", "V1", "v-1", "v1 ", "v9999999999"]
        }
        (_, "AssumeRolePolicyDocument" | "NewAssumeRolePolicyDocument") => TRUST,
        (_, "CustomSuffix") => &["x"],
        (_, "ResourceGroupId") => &["rg-1"],
        (_, "Recipient") => &["{}"],
        ("PutSecretValue", "VersionStages") => &["[]", "{}", r#"["ACSPrevious"]"#, r#"["a b"]"#, "[1]"],
        (_, "StartTime" | "EndTime") => MOMENT,
        (_, "NamePrefix") => &[""],
        // With a prefix it is one too many.
        (_, "AllSecrets") => &["true"],
        (_, "WaveSize" | "MaxFailures") => AMOUNT,
        (_, "Windows") => WINDOWS,
        _ => &[],
    }
}

/// Parameters that are required by a rule that their description tells in words.
const NEEDED: [(&str, &str); 6] = [
    ("ListResourceTags", "SecretName"),
    ("PlanRotationCampaign", "NamePrefix"),
    ("StartRotationCampaign", "NamePrefix"),
    ("TagResource", "SecretName"),
    ("UntagResource", "SecretName"),
    ("UntagResources", "TagKey.N"),
];

/// Parameters beside those that are described.
const BESIDE: [(&str, &str, &str); 1] = [("UpdateSecret", "ExtendedConfig.CustomData.", "x")];

/// Documents that nobody reads where the rest of the sound call is as it is.
const UNREAD: [(&str, &str); 1] = [("CreateSecret", "ExtendedConfig")];

/// Values that break what the description says.
fn broken(parameter: &Parameter) -> Vec<String> {
    let fixed = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let longest = parameter.max_bytes.map(|bytes| u64::try_from(bytes).unwrap()).or(parameter.max);
    let mut bad = match parameter.kind {
        Kind::Boolean => return fixed(BOOLEAN),
        Kind::Integer => {
            let (min, max) = (parameter.min.unwrap(), parameter.max.unwrap());
            let below = min.checked_sub(1).map(|number| number.to_string());
            return [fixed(NUMBER), below.into_iter().collect(), vec![(max + 1).to_string()]].concat();
        }
        Kind::Base64 => fixed(BASE64),
        Kind::Json => fixed(JSON),
        Kind::String => Vec::new(),
    };
    if !parameter.values.is_empty() {
        let others = parameter.values.iter().flat_map(|value| {
            [value.to_lowercase(), value.to_uppercase(), format!("{value} "), format!("{value}x")]
        });
        bad.extend(others.filter(|value| !parameter.values.contains(&value.as_str())));
        bad.extend([String::new(), "Other".to_owned()]);
    }
    if let Some(pattern) = parameter.pattern {
        let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        bad.extend(fixed(ODD).into_iter().filter(|value| !whole.is_match(value)));
    }
    if parameter.min.is_some_and(|min| min > 0) {
        bad.push(String::new());
    }
    bad.extend(longest.map(|longest| "a".repeat(usize::try_from(longest).unwrap() + 1)));
    bad
}

/// All the ways in which a call is spoiled, each with what was done to it.
fn spoiled(action: &str) -> Vec<(String, Vec<(String, String)>)> {
    let sound = sound_call(action);
    let mut calls = Vec::new();
    for (_, name, value) in BESIDE.iter().filter(|(of, ..)| *of == action) {
        let beside = vec![((*name).to_owned(), (*value).to_owned())];
        calls.push((format!("{action} {name}={value}"), [sound.clone(), beside].concat()));
    }
    let description = describe::all().iter().find(|d| d.name == action).unwrap();
    for parameter in description.parameters {
        let name = parameter.name.replace(".N", ".1").replace(".*", ".x");
        let without: Vec<_> = sound.iter().filter(|(n, _)| *n != name).cloned().collect();
        if parameter.required || NEEDED.contains(&(action, parameter.name)) {
            assert!(without.len() < sound.len(), "{action} {name}");
            calls.push((format!("{action} without {name}"), without.clone()));
        }
        let mut bad = by_hand(action, parameter.name).iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        if !UNREAD.contains(&(action, parameter.name)) {
            bad.extend(broken(parameter));
        }
        for bad in bad {
            let what = format!("{action} {name}={}", bad.chars().take(60).collect::<String>());
            calls.push((what, [without.clone(), vec![(name.clone(), bad)]].concat()));
        }
        if let Some(most) = parameter.max_items {
            let example = parameter.example.unwrap_or("a");
            let many = (1..=most + 1)
                .map(|n| (parameter.name.replace(".N", &format!(".{n}")), format!("{example}{n}")));
            let what = format!("{action} {name} {} times", most + 1);
            calls.push((what, without.iter().cloned().chain(many).collect()));
        }
    }
    calls
}

#[tokio::test]
async fn every_parameter_of_every_action_is_checked_before_anything_is_done() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("existing", "value").await;
    let before = appliance.rows();
    let mut refusals = Vec::new();
    for row in TABLE {
        for (what, call) in spoiled(row.spec.name) {
            let refused = match admin.call(row.spec.name, &borrowed(&call)).await {
                Err(refused) => refused,
                Ok(answer) => panic!("{what} was accepted: {answer}"),
            };
            assert_eq!(refused.status, 400, "{what}: {refused:?}");
            let code = refused.code.as_str();
            let known = ["MissingParameter", "MalformedPolicyDocument", "UnsupportedOperation"];
            assert!(known.contains(&code) || code.starts_with("InvalidParameter"), "{what}: {refused:?}");
            assert_eq!(code == "MissingParameter", what.contains(" without "), "{what}: {refused:?}");
            refusals.push((what, row.spec.name, refused));
        }
    }
    assert_eq!(appliance.rows(), before, "nothing has changed");

    let events = appliance.audit_events();
    for (what, action, refused) in refusals {
        let of: Vec<_> = events.iter().filter(|event| event["requestId"] == refused.request_id).collect();
        // A document is read by the action itself, which is on record as begun.
        let begun = refused.code == "MalformedPolicyDocument";
        assert_eq!(of.len(), if begun { 2 } else { 1 }, "{what}: {of:?}");
        let record = of[of.len() - 1];
        assert_eq!(record["eventName"], action, "{what}");
        assert_eq!(record["errorCode"], refused.code, "{what}");
        assert_eq!(record["userIdentity"]["userName"], "admin", "{what}");
        assert_eq!(record["additionalEventData"].get("phase").is_some(), begun, "{what}");
    }
    let log = appliance.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn the_secret_of_a_spoiled_call_is_in_no_answer_record_or_log() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let marker = "Canary-7Q2x";
    for action in ["CreateSecret", "PutSecretValue"] {
        for (what, mut call) in spoiled(action) {
            if let Some((_, value)) = call.iter_mut().find(|(n, v)| *n == "SecretData" && v.len() < 100) {
                *value = marker.to_owned();
            }
            if let Err(refused) = admin.call(action, &borrowed(&call)).await {
                assert!(!refused.message.contains(marker), "{what}");
            }
        }
    }
    // A value of an ECS secret is read as JSON: its errors must not quote it.
    let config = r#"{"SecretSubType":"Password","RegionId":"cn-hangzhou","InstanceId":"i-1"}"#;
    for value in [
        format!("{{\"UserName\":\"root\",\"Password\":\"{marker}\",\"x\":1}}"),
        format!("{{\"UserName\":\"root\",\"{marker}\":1}}"),
        format!("{{\"UserName\":\"{marker}:\",\"Password\":\"Passw0rd1\"}}"),
        format!("\"{marker}"),
        marker.to_owned(),
    ] {
        let call = [
            ("SecretName", "acs/ecs/x"),
            ("VersionId", "v1"),
            ("SecretData", value.as_str()),
            ("SecretType", "ECS"),
            ("ExtendedConfig", config),
        ];
        let refused = admin.call("CreateSecret", &call).await.unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(!refused.message.contains(marker), "{}", refused.message);
    }
    let records = appliance.audit_events().iter().map(ToString::to_string).collect::<String>();
    assert!(!records.contains(marker));
    assert!(!appliance.log().contains(marker));
}
