//! Every parameter of every action, missing, empty, too long and wrong: the
//! answer says which parameter and why, a record is made, and nothing changes.

use strongroom::api::actions::TABLE;

use crate::authorisation::sound_call;
use crate::harness::Appliance;

/// What is wrong with a parameter, and how it may be.
#[derive(Clone)]
struct Parameter {
    name: &'static str,
    /// It must be there.
    required: bool,
    /// Values that are refused.
    bad: &'static [&'static str],
    /// More characters than this are refused.
    longest: usize,
}

const fn required(name: &'static str, bad: &'static [&'static str], longest: usize) -> Parameter {
    Parameter { name, required: true, bad, longest }
}

const fn optional(name: &'static str, bad: &'static [&'static str], longest: usize) -> Parameter {
    Parameter { name, required: false, bad, longest }
}

const NAME: &[&str] = &["", "a b", "a:b", "a*b", "a\nb", "\u{0}", "名前", "a//b", "/a", "a/", "a/../b"];
const VERSION: &[&str] = &["", "a b", "a:b", "a\u{0}", "ü", "*"];
const BOOLEAN: &[&str] = &["", "yes", "1", "0", "truefalse", " true"];
const USER: &[&str] = &["", "a b", "a/b", "a*", "a:b", "名前", "a\u{0}"];
const POLICY: &[&str] = &["", "a b", "a.b", "a/b", "a*", "名前", "a\u{0}"];
const NUMBER: &[&str] = &["", "-1", "1.0", "1e1", "0x1", "one", " 1", "99999999999999999999", "１"];
const MOMENT: &[&str] = &["", "yesterday", "2024-05-06", "2024-05-06T07:08:09", "2024-13-06T07:08:09Z", "0"];
const KIND: &[&str] = &["", "custom", "SYSTEM", "Other"];
const DOCUMENT: &[&str] = &[
    "",
    "x",
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
    "x",
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
/// The only name that a policy of a secret has is default.
const POLICY_OF_SECRET: Parameter = optional("PolicyName", &["", "Default", "other"], 8);

const FILTERS: &[&str] = &[
    "x",
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

const SECRET_NAME: Parameter = required("SecretName", NAME, 192);
const USER_NAME: Parameter = required("UserName", USER, 64);
/// Left out it means the caller (ram.md section 3.3).
const OWN_NAME: Parameter = optional("UserName", USER, 64);
const POLICY_NAME: Parameter = required("PolicyName", POLICY, 128);
const POLICY_TYPE: Parameter = required("PolicyType", KIND, 16);
const VERSION_ID: Parameter = required("VersionId", VERSION, 64);
const KEY_ID: Parameter = required("UserAccessKeyId", &["", "a b", "名前", "a\u{0}"], 128);
const SECRET_DATA: Parameter = required("SecretData", &[""], 30_720);
const DATA_TYPE: Parameter = optional("SecretDataType", &["", "Text", "json"], 16);
const PAGE_NUMBER: Parameter = optional("PageNumber", NUMBER, 16);
const PAGE_SIZE: Parameter = optional("PageSize", &["0", "101", "-1", "x", ""], 16);
const CAMPAIGN_ID: Parameter = required("CampaignId", &["", "a b", "a/b", "ü", "a\u{0}", "a.b"], 40);
const AMOUNT: &[&str] = &["", "%", "-1", "101%", "1.5%", "100001", " 5", "five"];

/// What PlanRotationCampaign and StartRotationCampaign have in common.
fn campaign() -> Vec<Parameter> {
    vec![
        required("NamePrefix", &["a b", "ü", "a\u{0}", "a\nb"], 192),
        optional("NamePrefix", &[""], 192),
        // With a prefix it is one too many.
        optional("AllSecrets", &["true", "yes", "1", ""], 8),
        optional("Tags", &["x", "{}", r#"[{"TagKey":"a"}]"#, r#"[{"TagKey":"","TagValue":"a"}]"#], 4_000),
        optional("Canary", &["-1", "1001", "x", ""], 8),
        optional("WaveSize", AMOUNT, 8),
        optional("MaxFailures", AMOUNT, 8),
        optional("PauseSeconds", &["-1", "604801", "x", ""], 8),
        optional(
            "Windows",
            &["", "x", "{}", "[1]", r#"["Sat 01:00-05:00"]"#, r#"["Someday 01:00-05:00 Z"]"#],
            4_000,
        ),
    ]
}

const MAX_ITEMS: Parameter = optional("MaxItems", &["0", "1001", "-1", "x", ""], 16);

fn parameters(action: &str) -> Vec<Parameter> {
    match action {
        "AttachPolicyToUser" | "DetachPolicyFromUser" => {
            vec![USER_NAME, POLICY_NAME, POLICY_TYPE, optional("ResourceGroupId", &["rg-1"], 1)]
        }
        "DeleteUser" | "ListPoliciesForUser" => vec![USER_NAME],
        "CreateAccessKey" | "ListAccessKeys" => vec![OWN_NAME],
        "CreatePolicy" => {
            vec![
                POLICY_NAME,
                required("PolicyDocument", DOCUMENT, 60_000),
                optional("Description", &[], 1_024),
            ]
        }
        "CreateSecret" => vec![
            SECRET_NAME,
            VERSION_ID,
            SECRET_DATA,
            DATA_TYPE,
            optional("SecretName", &["acs/x", "acs/ecs/x"], 192),
            optional(
                "SecretType",
                &["", "generic", "ecs", "Rds", "Redis", "PolarDB", "RAMCredentials", "Other"],
                16,
            ),
            optional("EncryptionKeyId", &["key-1"], 1),
            optional("Policy", SECRET_POLICY, 32_768),
            optional("DKMSInstanceId", &[], 128),
            optional("Description", &[], 8_192),
            optional("EnableAutomaticRotation", BOOLEAN, 8),
            optional("EnableAutomaticRotation", &["true"], 8),
            optional(
                "Tags",
                &[
                    "x",
                    "{}",
                    r#"[{"TagKey":"a"}]"#,
                    r#"[{"TagKey":"","TagValue":"a"}]"#,
                    r#"[{"TagKey":"acs:a","TagValue":"a"}]"#,
                    r#"[{"TagKey":"aliyun","TagValue":"a"}]"#,
                    r#"[{"TagKey":"a*","TagValue":"a"}]"#,
                    r#"[{"TagKey":"a","TagValue":"${b}"}]"#,
                    r#"[{"TagKey":"a","TagValue":"a"},{"TagKey":"a","TagValue":"b"}]"#,
                ],
                4_000,
            ),
        ],
        "CreateUser" => vec![USER_NAME, optional("DisplayName", &[], 128), optional("Comments", &[], 128)],
        "DeleteAccessKey" => vec![OWN_NAME, KEY_ID],
        "DeletePolicy" => vec![POLICY_NAME, optional("CascadingDelete", &["true", "x"], 8)],
        "DeleteSecret" => vec![
            SECRET_NAME,
            optional("ForceDeleteWithoutRecovery", BOOLEAN, 8),
            optional("RecoveryWindowInDays", &["6", "31", "0", "-7", "7.5", "x", ""], 8),
        ],
        "DescribeSecret" => vec![SECRET_NAME, optional("FetchTags", BOOLEAN, 8)],
        "GetPolicy" => vec![POLICY_NAME, POLICY_TYPE],
        "GetRandomPassword" => vec![
            optional("PasswordLength", &["7", "129", "x", ""], 8),
            optional("ExcludeCharacters", &["é", "\n", " "], 128),
            optional("ExcludeLowercase", BOOLEAN, 8),
            optional("ExcludeUppercase", BOOLEAN, 8),
            optional("ExcludeNumbers", BOOLEAN, 8),
            optional("ExcludePunctuation", BOOLEAN, 8),
            optional("RequireEachIncludedType", BOOLEAN, 8),
        ],
        "GetSecretValue" => vec![
            SECRET_NAME,
            optional("VersionId", VERSION, 64),
            optional("VersionStage", &["", "a b", "ü", "a/b"], 64),
            optional("FetchExtendedConfig", BOOLEAN, 8),
            optional("DryRun", BOOLEAN, 8),
            optional("Recipient", &["{}"], 1),
        ],
        "ListPolicies" => {
            vec![MAX_ITEMS, optional("PolicyType", KIND, 16), optional("Marker", POLICY.split_at(1).1, 128)]
        }
        "ListRotationEvents" => vec![
            optional("SecretName", NAME, 192),
            optional("EventName", &["", "Success", "secret:rotatesecret:success", "*"], 64),
            optional("StartTime", MOMENT, 32),
            optional("EndTime", MOMENT, 32),
            optional("MaxResults", &["0", "101", "-1", "x", ""], 16),
            optional("NextToken", NUMBER, 18),
        ],
        "ListSecretVersionIds" => {
            vec![SECRET_NAME, optional("IncludeDeprecated", BOOLEAN, 8), PAGE_NUMBER, PAGE_SIZE]
        }
        "ListSecrets" => {
            vec![
                PAGE_NUMBER,
                PAGE_SIZE,
                optional("FetchTags", BOOLEAN, 8),
                optional("Filters", FILTERS, 4_000),
            ]
        }
        "ListUsers" => vec![MAX_ITEMS, optional("Marker", USER.split_at(1).1, 64)],
        "PutSecretValue" => vec![
            SECRET_NAME,
            VERSION_ID,
            SECRET_DATA,
            DATA_TYPE,
            optional("VersionStages", &["x", "[]", "{}", r#"["ACSPrevious"]"#, r#"["a b"]"#, "[1]"], 2_000),
        ],
        "RestoreSecret" => vec![SECRET_NAME],
        "BatchGetSecretValue" => vec![required(
            "SecretsList",
            &[
                "",
                "x",
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
            ],
            40_000,
        )],
        "GetSecretPolicy" => vec![SECRET_NAME, POLICY_OF_SECRET],
        "SetSecretPolicy" => {
            vec![
                SECRET_NAME,
                POLICY_OF_SECRET,
                required("Policy", SECRET_POLICY, 32_768),
                required("Policy", &[""], 1),
            ]
        }
        "UpdateSecret" => vec![
            SECRET_NAME,
            optional("Description", &[], 8_192),
            optional("ExtendedConfig.CustomData", &["", "x", "[]", r#""a""#, r#"{"a":}"#], 1_024),
            optional("ExtendedConfig.CustomData.key", &[], 1_024),
            optional("ExtendedConfig.CustomData.", &["x"], 1_024),
            optional(
                "ExtendedConfig",
                &["", "x", "{}", r#"{"CustomData":[]}"#, r#"{"CustomData":{},"RegionId":"cn-hangzhou"}"#],
                1_024,
            ),
        ],
        "UpdateSecretVersionStage" => vec![
            SECRET_NAME,
            required("VersionStage", &["", "a b", "ü", "a/b", "ACSPending"], 64),
            required("MoveToVersion", VERSION, 64),
            optional("RemoveFromVersion", VERSION, 64),
        ],
        "GiveUpSecretRotation" => vec![SECRET_NAME, VERSION_ID],
        "ListSecretRotations" => {
            vec![SECRET_NAME, optional("MaxResults", &["0", "101", "-1", "x", ""], 8)]
        }
        "RotateSecret" => vec![SECRET_NAME, VERSION_ID, optional("SecretData", &[""], 30_720)],
        "UpdateAccessKey" => vec![OWN_NAME, KEY_ID, required("Status", &["", "active", "Off"], 16)],
        "UpdateSecretRotationPolicy" => vec![SECRET_NAME, required("EnableAutomaticRotation", BOOLEAN, 8)],
        "CancelRotationCampaign"
        | "DescribeRotationCampaign"
        | "PauseRotationCampaign"
        | "ResumeRotationCampaign" => vec![CAMPAIGN_ID],
        "ListRotationCampaigns" => vec![optional("MaxItems", &["0", "101", "-1", "x", ""], 16)],
        "PlanRotationCampaign" => campaign(),
        "StartRotationCampaign" => {
            [vec![CAMPAIGN_ID, optional("PlanDigest", &["", "x"], 64)], campaign()].concat()
        }
        other => panic!("the action {other} has no row in the tests of parameters"),
    }
}

/// All the ways in which a call is spoiled, each with what was done to it.
fn spoiled(action: &str) -> Vec<(String, Vec<(&'static str, String)>)> {
    let sound = sound_call(action);
    let mut calls = Vec::new();
    for parameter in parameters(action) {
        let name = parameter.name;
        let without: Vec<_> = sound.iter().filter(|(n, _)| *n != name).cloned().collect();
        if parameter.required {
            assert!(without.len() < sound.len(), "{action} {name}");
            calls.push((format!("{action} without {name}"), without.clone()));
        }
        let long = "a".repeat(parameter.longest + 1);
        for bad in parameter.bad.iter().copied().chain([long.as_str()]) {
            let what = format!("{action} {name}={}", bad.chars().take(60).collect::<String>());
            calls.push((what, [without.clone(), vec![(name, bad.to_owned())]].concat()));
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
            let call: Vec<_> = call.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let refused = match admin.call(row.spec.name, &call).await {
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
            let call: Vec<_> = call.iter().map(|(n, v)| (*n, v.as_str())).collect();
            if let Err(refused) = admin.call(action, &call).await {
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
