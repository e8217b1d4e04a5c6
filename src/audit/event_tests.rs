use serde_json::{Value, json};

use super::super::additional::{Authorization, AuthorizationDecision, Check};
use super::*;

fn parameters() -> RequestParameters<'static> {
    let mut list = RequestParameters::new();
    list.known("SecretName", "acs/ecs/i-bp1web/root");
    list.known("VersionStage", "ACSCurrent");
    list.known("AcsProduct", "Kms");
    list.known("RegionId", "cn-hangzhou");
    list
}

fn read<'a>(checks: &'a [Check<'a>]) -> Event<'a> {
    Event {
        id: EventId::new(1_772_352_930_120, [0xab; 10]),
        time_ms: 1_772_352_930_120,
        kind: EventType::ApiCall,
        name: "GetSecretValue",
        access: EventAccess::Read,
        source: "kms.vault.example.test",
        service: "Kms",
        api_version: Some("2016-01-20"),
        region: "cn-hangzhou",
        request_id: "7D1F6F0E-0B42-5B6B-8C0E-2B9D1E4A7731",
        parameters: parameters(),
        response: None,
        error: None,
        identity: UserIdentity {
            principal_id: Some("201234567890123457"),
            account_id: Some("1234567890123456"),
            user_name: Some("alice".into()),
            access_key_id: Some("LTAI5tExampleExampleExam"),
            ..UserIdentity::of(IdentityType::RamUser)
        },
        source_ip: "10.1.4.27",
        user_agent: Some("AlibabaCloud (linux; amd64) Core/1.0"),
        resources: &[
            ("ACS::KMS::Secret", &["acs/ecs/i-bp1web/root"]),
            ("ACS::KMS::Key", &["key-hzzexample"]),
        ],
        recipient_account_id: "1234567890123456",
        vpc_id: None,
        additional: AdditionalEventData {
            secret_version_id: Some("v-20260228-0001"),
            authorization: Some(Authorization {
                decision: AuthorizationDecision::Allow,
                layer: Some("identity"),
                policy_name: Some("dba-read"),
                policy_version: Some("v3"),
                statement_index: Some(0),
                policy_set_version: Some(812),
                checks,
            }),
            ..AdditionalEventData::default()
        },
    }
}

fn written(event: &Event<'_>) -> Value {
    serde_json::from_slice(event.encode().unwrap().as_bytes()).unwrap()
}

#[test]
fn a_read_looks_as_the_vendor_writes_it() {
    let resource = "acs:kms:cn-hangzhou:1234567890123456:secret/acs/ecs/i-bp1web/root";
    let checks = [Check { action: "kms:GetSecretValue", resource, decision: AuthorizationDecision::Allow }];
    assert_eq!(
        written(&read(&checks)),
        json!({
            "eventId": "019CA877-8148-7EAE-ABAB-ABABABABABAB", "eventVersion": 1,
            "eventCategory": "Management", "eventType": "ApiCall", "eventRW": "Read",
            "eventName": "GetSecretValue", "serviceName": "Kms", "apiVersion": "2016-01-20",
            "eventSource": "kms.vault.example.test", "acsRegion": "cn-hangzhou",
            "eventTime": "2026-03-01T08:15:30Z", "requestId": "7D1F6F0E-0B42-5B6B-8C0E-2B9D1E4A7731",
            "sourceIpAddress": "10.1.4.27", "userAgent": "AlibabaCloud (linux; amd64) Core/1.0",
            "recipientAccountId": "1234567890123456",
            "userIdentity": {"type": "ram-user", "principalId": "201234567890123457",
                "accountId": "1234567890123456", "userName": "alice",
                "accessKeyId": "LTAI5tExampleExampleExam"},
            "requestParameters": {"SecretName": "acs/ecs/i-bp1web/root",
                "VersionStage": "ACSCurrent", "AcsProduct": "Kms", "RegionId": "cn-hangzhou"},
            "responseElements": null,
            "referencedResources": {"ACS::KMS::Secret": ["acs/ecs/i-bp1web/root"],
                "ACS::KMS::Key": ["key-hzzexample"]},
            "additionalEventData": {"eventTimeMs": 1_772_352_930_120_u64,
                "secretVersionId": "v-20260228-0001",
                "authorization": {"decision": "Allow", "layer": "identity",
                    "policyName": "dba-read", "policyVersion": "v3", "statementIndex": 0,
                    "policySetVersion": 812,
                    "checks": [{"action": "kms:GetSecretValue", "resource": resource, "decision": "Allow"}]}}
        })
    );
}

#[test]
fn a_refused_role_session_names_code_session_and_layer() {
    let mut event = read(&[]);
    event.error = Some(EventError {
        code: "Forbidden.NoPermission",
        message: "This operation is forbidden by permission system.",
    });
    event.identity = UserIdentity {
        user_name: Some("ci:ci-42".into()),
        session_context: Some(SessionContext { creation_ms: 1_772_352_000_000, mfa_authenticated: false }),
        ..UserIdentity::of(IdentityType::AssumedRole)
    };
    let json = written(&event);
    assert_eq!(json["errorCode"], json!("Forbidden.NoPermission"));
    assert_eq!(
        json["userIdentity"],
        json!({"type": "assumed-role", "userName": "ci:ci-42", "sessionContext":
            {"attributes": {"creationDate": "2026-03-01T08:00:00Z", "mfaAuthenticated": "false"}}})
    );
}

#[test]
fn every_text_of_a_client_is_cut_and_stays_on_one_line() {
    let long = "\u{1}\n\u{2028}x".repeat(100_000);
    let mut event = read(&[]);
    event.name = &long;
    event.request_id = &long;
    event.source = &long;
    event.source_ip = &long;
    event.user_agent = Some(&long);
    event.vpc_id = Some(&long);
    event.error = Some(EventError { code: &long, message: &long });
    event.identity.access_key_id = Some(&long);
    event.identity.user_name = Some(long.as_str().into());
    let names: Vec<&str> = vec![&long; 1000];
    let resources = [("ACS::KMS::Secret", names.as_slice())];
    event.resources = &resources;
    event.parameters.known("SecretName", long.as_str());
    let encoded = event.encode().unwrap();
    assert!(encoded.as_bytes().len() < 512 * 1024);
    assert!(!encoded.as_bytes().iter().any(|byte| *byte < 0x20));
    let json = written(&event);
    assert_eq!(json["userAgent"].as_str().unwrap().chars().count(), 512);
    assert!(json["requestParameters"]["SecretName"].as_str().unwrap().len() <= 1024);
}

#[test]
fn a_time_beyond_the_calendar_is_an_error_and_not_a_panic() {
    let mut event = read(&[]);
    event.time_ms = u64::MAX;
    assert!(matches!(event.encode(), Err(AuditError::Encode(_))));
}

#[test]
fn ids_sort_by_time_and_keep_version_and_variant() {
    let early = EventId::new(1, [0xff; 10]);
    let late = EventId::new(2, [0; 10]);
    assert!(early < late && early.to_string() < late.to_string());
    assert_eq!(late.to_string(), "00000000-0002-7000-8000-000000000000");
    assert_eq!(early.to_string(), "00000000-0001-7FFF-BFFF-FFFFFFFFFFFF");
}
