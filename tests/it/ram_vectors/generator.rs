//! Cases in which policies and requests are made of the same few words, so
//! that matches are frequent.

use serde_json::{Value, json};

use super::{Case, PolicyText};

/// A linear congruential generator (Knuth, MMIX): the same cases in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    pub(super) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.roll(at + 1));
        }
    }
}

const ACTIONS: [&str; 7] = [
    "kms:GetSecretValue",
    "kms:getsecretvalue",
    "kms:DescribeSecret",
    "KMS:PutSecretValue",
    "ecs:RunCommand",
    "sts:AssumeRole",
    "STS:assumerole",
];
const ACTION_PATTERNS: [&str; 14] = [
    "*",
    "kms:*",
    "kms:GetSecretValue",
    "KMS:GETSECRETVALUE",
    "kms:Get*",
    "kms:*Secret*",
    "k*:*",
    "kms:???SecretValue",
    "*:*Value",
    "sts:AssumeRole",
    "sts:*",
    "ecs:*",
    "kms:Describe?ecret",
    "?ms:*",
];
const RESOURCES: [&str; 7] = [
    "acs:kms:cn-a:1:secret/db/prod",
    "acs:kms:cn-b:1:secret/db/prod",
    "acs:kms:cn-a:1:secret/密/钥",
    "acs:kms:cn-a:1:secret",
    "acs:kms:cn-a:2:secret/db/prod",
    "acs:ram::1:role/ops",
    "acs:ram::2:role/Ops",
];
const RESOURCE_PATTERNS: [&str; 15] = [
    "*",
    "acs:*:*:*:*",
    "acs:kms:*:*:secret/db/*",
    "acs:kms:cn-a:1:secret/db/prod",
    "acs:kms:*:*:secret*",
    "acs:kms:*:1:*prod",
    "acs:kms:cn-?:*:secret/*/????",
    "acs:kms:cn-a:*:secret/?/?",
    "acs:kms:*:*:secret/*d*",
    "acs:kms:*:2:*",
    "acs:ram:*:1:role/*",
    "acs:ram::*:role/ops",
    "acs:ram:*:*:role/?ps",
    "acs:kms:*:*:secret/DB/*",
    "acs:kms:*b*:*:*p?o*",
];
const PRINCIPALS: [&str; 12] = [
    "acs:ram::1:user/alice",
    "acs:ram::1:user/alice",
    "acs:ram::1:user/alice",
    "acs:ram::1:user/Bob",
    "acs:ram::1:assumed-role/ops/s1",
    "acs:ram::1:assumed-role/ops/s1",
    "acs:ram::1:root",
    "acs:ram::2:user/alice",
    "acs:ram::2:root",
    "acs:ram::2:assumed-role/ops/S1",
    "ecs.aliyuncs.com",
    "acs:ram::1:saml-provider/corp",
];
const NAMED: [&str; 14] = [
    "acs:ram::1:root",
    "acs:ram::1:*",
    "acs:ram::2:*",
    "acs:ram::2:root",
    "acs:ram::1:user/ALICE",
    "acs:ram::1:user/alice",
    "acs:ram::1:user/bob",
    "acs:ram::2:user/alice",
    "acs:ram::1:role/ops",
    "acs:ram::1:role/Ops",
    "acs:ram::2:role/ops",
    "acs:ram::1:assumed-role/OPS/s1",
    "acs:ram::1:assumed-role/ops/S1",
    "acs:ram::2:assumed-role/ops/S1",
];
/// Keys, each with values of a class, and how they are written in requests.
const KEYS: [(&str, &str, &[&str], &[&str]); 6] = [
    (
        "String",
        "acs:ResourceTag/env",
        &["prod", "PROD", "pr*", "*", "?", "", "p?od", "café"],
        &["prod", "Prod", "pr*", "", "dev"],
    ),
    (
        "String",
        "ACS:principalarn",
        &["acs:ram::1:user/alice", "*alice", "acs:ram:*:*:role/*"],
        &["acs:ram::1:user/alice"],
    ),
    (
        "Numeric",
        "kms:Days",
        &["10", "9.5", "-3", "0", "10.000", "007"],
        &["10.0", "9", "-0", "7", "soon", "1e1", "-3.0001"],
    ),
    (
        "Date",
        "acs:CurrentTime",
        &[
            "2026-03-01T12:00:00Z",
            "2026-03-01T20:00:00+08:00",
            "2026-03-01T12:00:00.000000001Z",
            "2000-02-29T00:00:00-05:30",
        ],
        &[
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00:00.000000001Z",
            "2026-02-30T00:00:00Z",
            "yesterday",
            "1999-12-31T23:59:59Z",
        ],
    ),
    ("Bool", "acs:SecureTransport", &["true", "False"], &["TRUE", "false", "yes"]),
    (
        "IpAddress",
        "acs:SourceIp",
        &["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/33", "10.1.2.77/28"],
        &["10.1.2.3", "::ffff:10.1.2.70", "2001:db8::1", "11.0.0.1", "nowhere"],
    ),
];

fn operator(dice: &mut Dice, class: &str) -> String {
    let rest: &[&str] = match class {
        "String" => &["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"],
        "Bool" => &[""],
        "IpAddress" => return dice.pick(&["IpAddress", "NotIpAddress"]).to_owned(),
        _ => &["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"],
    };
    format!("{class}{}", dice.pick(rest))
}

fn some(dice: &mut Dice, from: &[&str]) -> Value {
    if dice.one_in(2) {
        return json!(dice.pick(from));
    }
    let count = 1 + dice.roll(3);
    json!((0..count).map(|_| dice.pick(from)).collect::<Vec<_>>())
}

pub(super) fn statement(dice: &mut Dice, kind: &str, effect: &str) -> Value {
    let mut statement = json!({ "Effect": effect });
    let prefix = match kind {
        "trust" => "sts:",
        "resource" => "kms:",
        _ => "",
    };
    let patterns: Vec<&str> =
        ACTION_PATTERNS.iter().copied().filter(|p| p.to_lowercase().starts_with(prefix)).collect();
    statement[if dice.one_in(8) { "NotAction" } else { "Action" }] = some(dice, &patterns);
    match kind {
        "trust" => {}
        "resource" => statement["Resource"] = json!("*"),
        _ => {
            statement[if dice.one_in(8) { "NotResource" } else { "Resource" }] =
                some(dice, &RESOURCE_PATTERNS)
        }
    }
    if matches!(kind, "trust" | "resource") {
        statement["Principal"] = json!({ "RAM": some(dice, &NAMED) });
        if kind == "trust" && dice.one_in(3) {
            statement["Principal"]["Service"] = json!("ecs.aliyuncs.com");
            statement["Principal"]["Federated"] = json!(["acs:ram::1:saml-provider/corp"]);
        }
    }
    if dice.one_in(2) {
        let mut condition = json!({});
        for _ in 0..dice.roll(3) {
            let (class, key, values, _) = dice.pick(&KEYS);
            condition[operator(dice, class)] = json!({ key: some(dice, values) });
        }
        statement["Condition"] = condition;
    }
    statement
}

fn policy(dice: &mut Dice, kind: &'static str, generous: bool) -> PolicyText {
    // Now and then so many that they are found in another way.
    let many = kind == "identity" && dice.one_in(4);
    let count = if many { 12 } else { 1 + dice.roll(4) };
    let mut statements: Vec<Value> = (0..count)
        .map(|_| {
            let effect = if dice.one_in(4) { "Deny" } else { "Allow" };
            statement(dice, kind, effect)
        })
        .collect();
    if generous {
        statements.push(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }));
    }
    let text = json!({ "Version": "1", "Statement": statements }).to_string();
    let group = (kind == "resource-group").then(|| dice.pick(&["rg-1", "rg-2"]).to_owned());
    PolicyText { kind: kind.to_owned(), text, group }
}

pub(super) fn case(dice: &mut Dice) -> Case {
    let action = dice.pick(&ACTIONS).to_owned();
    let mut policies: Vec<PolicyText> = (0..dice.roll(4)).map(|_| policy(dice, "identity", false)).collect();
    for (kind, sides) in [("control", 4), ("session", 4), ("resource-group", 2), ("resource-group", 2)] {
        if dice.one_in(sides) {
            let generous = kind != "resource-group" && !dice.one_in(4);
            policies.push(policy(dice, kind, generous));
        }
    }
    if dice.one_in(2) {
        let kind = if action.to_lowercase().starts_with("sts") { "trust" } else { "resource" };
        policies.push(policy(dice, kind, false));
    }
    let principal = dice.pick(&PRINCIPALS).to_owned();
    if !principal.contains("assumed-role") {
        policies.retain(|policy| policy.kind != "session");
    }
    let mut context = Vec::new();
    for (_, key, _, values) in KEYS {
        if dice.one_in(2) {
            let key = if dice.one_in(2) { key.replacen("acs:", "ACS:", 1) } else { key.to_owned() };
            let count = if dice.one_in(4) { dice.roll(3) } else { 1 };
            context.push((key, (0..count).map(|_| dice.pick(values).to_owned()).collect()));
        }
    }
    let group = dice.one_in(2).then(|| dice.pick(&["rg-1", "rg-2"]).to_owned());
    Case { policies, principal, action, resource: dice.pick(&RESOURCES).to_owned(), group, context }
}
