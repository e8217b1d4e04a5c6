//! Policy documents (ram.md section 1): the first byte is the kind, the rest the text.

use std::sync::Arc;

use strongroom::ram::{
    Attached, Context, Decision, Entry, Policy, PolicyKind, PolicySet, Principal, Request, Value, decide,
};

const KINDS: [PolicyKind; 6] = [
    PolicyKind::Identity,
    PolicyKind::ResourceGroup,
    PolicyKind::Session,
    PolicyKind::Control,
    PolicyKind::Trust,
    PolicyKind::Resource,
];

const DENY_ALL: &str = r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
const ALLOW_ALL: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

const REQUESTS: [(&str, &str); 5] = [
    ("kms:GetSecretValue", "acs:kms:cn-hangzhou:1234567890123456:secret/db/prod"),
    ("kms:CreateSecret", "acs:kms:cn-hangzhou:1234567890123456:secret"),
    ("ram:CreateUser", "acs:ram::1234567890123456:user/alice"),
    ("sts:AssumeRole", "acs:ram::1234567890123456:role/ops"),
    ("*", ""),
];

/// A document is refused or compiled, and a compiled one decides the same each
/// time; it grants nothing against a deny and nothing without an allow.
///
/// # Panics
///
/// When that does not hold.
pub fn policy(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let policy = match Policy::parse(kind, text) {
        Ok(policy) => Arc::new(policy),
        Err(error) => {
            let again = Policy::parse(kind, text).unwrap_err();
            assert_eq!(error.to_string(), again.to_string());
            return;
        }
    };
    assert_eq!(policy.kind(), kind);
    let entries = [
        Entry::new("acs:SourceIp", Value::Ip([10, 1, 2, 3].into())),
        Entry::new("acs:SecureTransport", Value::Bool(true)),
        Entry::new("acs:CurrentTime", Value::Time { seconds: 1_714_979_289, nanoseconds: 0 }),
        Entry::new("acs:UserAgent", Value::Text("aliyun-cli")),
        Entry::tagged("acs:ResourceTag", "env", "prod"),
        Entry::tagged("kms:tag", "env", "prod"),
    ];
    let principals = [
        Principal::User { account: "1234567890123456".into(), name: "alice".into() },
        Principal::AssumedRole {
            account: "1234567890123456".into(),
            role: "ops".into(),
            session: "s".into(),
        },
    ];
    let parsed = |text| Arc::new(Policy::parse(PolicyKind::Identity, text).unwrap());
    let (deny, allow) = (parsed(DENY_ALL), parsed(ALLOW_ALL));
    for context in [Context::new(&entries), Context::default()] {
        for principal in &principals {
            for (action, resource) in REQUESTS {
                let request =
                    Request { principal, action, resource, resource_group: None, context: &context };
                let by_resource = matches!(kind, PolicyKind::Resource | PolicyKind::Trust);
                let set = |more: &[&Arc<Policy>]| {
                    let own = (!by_resource).then_some(&policy);
                    let all = own.into_iter().chain(more.iter().copied());
                    PolicySet::identity(all.map(|policy| Attached::new("p", Arc::clone(policy))))
                };
                let of_resource = by_resource.then_some(&*policy);
                let decided = |more: &[&Arc<Policy>]| decide(&set(more), of_resource, &request);
                let first = decided(&[]);
                assert_eq!(first, decided(&[]));
                let denied = decided(&[&deny, &allow]);
                assert!(!denied.is_allow(), "a deny wins over every allow");
                // An allow takes no deny away.
                if matches!(first, Decision::DenyExplicit { .. }) {
                    assert!(!decided(&[&allow]).is_allow());
                }
                // A document of one kind means nothing as another.
                if !matches!(kind, PolicyKind::Identity) && !by_resource {
                    assert!(!first.is_allow());
                }
            }
        }
    }
}
