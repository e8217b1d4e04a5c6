//! A second evaluator of ram.md section 1: no index, nothing compiled, every
//! rule spelled out on JSON values and text. It knows nothing of the first.

use serde_json::Value;

use super::Case;

pub(super) fn decide(case: &Case) -> &'static str {
    let parts: Vec<&str> = case.principal.splitn(5, ':').collect();
    let in_account = parts.len() == 5 && !parts[4].contains("-provider/");
    let account = if in_account { parts[3] } else { "" };
    let owner = case.resource.split(':').nth(3).unwrap_or("");
    let root = in_account && parts[4] == "root";
    let assume = case.action.to_lowercase().starts_with("sts:assumerole");

    if root && assume {
        return "ImplicitDeny";
    }
    if root && account == owner {
        return "Allow";
    }
    let b = pool(case, if assume { "trust" } else { "resource" });
    if !in_account {
        return b;
    }
    if !root {
        for layer in ["control", "session"] {
            let exists = case.policies.iter().any(|p| p.kind == layer);
            let result = pool(case, layer);
            if exists && result != "Allow" {
                return result;
            }
        }
    }
    let mut a = pool(case, "identity");
    if a == "ImplicitDeny" {
        a = pool(case, "resource-group");
    }
    let allows = [a, b].iter().filter(|r| **r == "Allow").count();
    if a == "ExplicitDeny" || b == "ExplicitDeny" {
        "ExplicitDeny"
    } else if allows == 2 || (allows == 1 && !assume && account == owner) {
        "Allow"
    } else {
        "ImplicitDeny"
    }
}

fn pool(case: &Case, kind: &str) -> &'static str {
    let mut allow = false;
    let mut deny = false;
    for policy in case.policies.iter().filter(|p| p.kind == kind) {
        if kind == "resource-group" && policy.group != case.group {
            continue;
        }
        let document: Value = serde_json::from_str(&policy.text).unwrap();
        for statement in document["Statement"].as_array().unwrap() {
            if applies(case, kind, statement) {
                if statement["Effect"] == "Deny" { deny = true } else { allow = true }
            }
        }
    }
    if deny {
        "ExplicitDeny"
    } else if allow {
        "Allow"
    } else {
        "ImplicitDeny"
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![],
    }
}

fn applies(case: &Case, kind: &str, statement: &Value) -> bool {
    let fold = |text: &str| text.to_ascii_lowercase();
    let action = fold(&case.action);
    let listed = |name: &str| texts(&statement[name]).iter().any(|p| wild(&fold(p), &action));
    if statement.get("Action").is_some() && !listed("Action") {
        return false;
    }
    if statement.get("NotAction").is_some() && listed("NotAction") {
        return false;
    }
    let listed = |name: &str| texts(&statement[name]).iter().any(|p| wild(p, &case.resource));
    if statement.get("Resource").is_some() && !listed("Resource") {
        return false;
    }
    if statement.get("NotResource").is_some() && listed("NotResource") {
        return false;
    }
    if let Some(kinds) = statement.get("Principal").and_then(Value::as_object) {
        let named = kinds.values().flat_map(texts);
        let deny = statement["Effect"] == "Deny";
        if !named.into_iter().any(|named| names(&named, &case.principal, kind == "trust", deny)) {
            return false;
        }
    }
    let Some(condition) = statement.get("Condition").and_then(Value::as_object) else {
        return true;
    };
    for (operator, keys) in condition {
        for (key, values) in keys.as_object().unwrap() {
            if !holds(case, operator, key, &texts(values)) {
                return false;
            }
        }
    }
    true
}

/// Whether `named`, out of a policy, means `who`.
fn names(named: &str, who: &str, trust: bool, deny: bool) -> bool {
    let split = |text: &str| -> Vec<String> { text.split([':', '/']).map(str::to_owned).collect() };
    let (named_parts, who_parts) = (split(named), split(who));
    if named_parts.len() < 5
        || who_parts.len() < 5
        || named.contains("-provider/")
        || who.contains("-provider/")
    {
        return named == who;
    }
    if named_parts[3] != who_parts[3] {
        return false;
    }
    let lower = |text: &str| text.to_ascii_lowercase();
    match (named_parts[4].as_str(), who_parts[4].as_str()) {
        ("root" | "*", "root") => !trust,
        ("root" | "*", _) => trust || deny,
        ("user", "user") | ("role", "assumed-role") => lower(&named_parts[5]) == lower(&who_parts[5]),
        ("assumed-role", "assumed-role") => {
            lower(&named_parts[5]) == lower(&who_parts[5]) && named_parts[6] == who_parts[6]
        }
        _ => false,
    }
}

fn same_key(a: &str, b: &str) -> bool {
    let split = |text: &str| -> (String, String) {
        let (name, tag) = text.split_once('/').unwrap_or((text, "no tag at all"));
        (name.to_ascii_lowercase(), tag.to_owned())
    };
    split(a) == split(b)
}

fn holds(case: &Case, operator: &str, key: &str, values: &[String]) -> bool {
    let base = operator.replace("Not", "");
    let mut found = false;
    for (_, given) in case.context.iter().filter(|(name, _)| same_key(name, key)) {
        for request in given {
            for value in values {
                found |= compare(&base, request, value);
            }
        }
    }
    found != (base != operator)
}

fn compare(base: &str, request: &str, policy: &str) -> bool {
    let ordered = |pair: Option<std::cmp::Ordering>, class: &str| match (pair, base.trim_start_matches(class))
    {
        (Some(o), "Equals") => o.is_eq(),
        (Some(o), "LessThan") => o.is_lt(),
        (Some(o), "LessThanEquals") => o.is_le(),
        (Some(o), "GreaterThan") => o.is_gt(),
        (Some(o), "GreaterThanEquals") => o.is_ge(),
        _ => false,
    };
    match base {
        "StringEquals" => request == policy,
        "StringEqualsIgnoreCase" => request.eq_ignore_ascii_case(policy),
        "StringLike" => wild(policy, request),
        "Bool" => {
            let (r, p) = (request.to_ascii_lowercase(), policy.to_ascii_lowercase());
            r == p && (r == "true" || r == "false")
        }
        "IpAddress" => {
            let (address, length) = policy.split_once('/').unwrap_or((policy, "128"));
            match (bits(request), bits(address)) {
                (Some(r), Some(p)) if r.len() == p.len() => {
                    let length = length.parse::<usize>().unwrap().min(p.len());
                    r.get(..length) == p.get(..length)
                }
                _ => false,
            }
        }
        _ if base.starts_with("Numeric") => ordered(compare_numbers(request, policy), "Numeric"),
        _ => {
            let pair = date(request).zip(date(policy)).map(|(r, p)| r.cmp(&p));
            ordered(pair, "Date")
        }
    }
}

fn bits(address: &str) -> Option<String> {
    Some(match address.parse::<std::net::IpAddr>().ok()?.to_canonical() {
        std::net::IpAddr::V4(a) => a.octets().iter().map(|b| format!("{b:08b}")).collect(),
        std::net::IpAddr::V6(a) => a.octets().iter().map(|b| format!("{b:08b}")).collect(),
    })
}

/// Compares the digits as text, padded to 30 on either side.
fn compare_numbers(a: &str, b: &str) -> Option<std::cmp::Ordering> {
    let pad = |text: &str| -> Option<(bool, String)> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let good = |t: &str| (1..=30).contains(&t.len()) && t.chars().all(|c| c.is_ascii_digit());
        let padded = format!("{whole:0>30}{fraction:0<30}");
        let negative = text.starts_with('-') && padded.contains(|c| c != '0');
        (good(whole) && good(fraction)).then_some((negative, padded))
    };
    Some(match (pad(a)?, pad(b)?) {
        ((false, a), (false, b)) => a.cmp(&b),
        ((true, a), (true, b)) => b.cmp(&a),
        ((false, _), (true, _)) => std::cmp::Ordering::Greater,
        ((true, _), (false, _)) => std::cmp::Ordering::Less,
    })
}

/// Nanoseconds since the year 0, counted year by year and month by month.
/// Dates in documents are valid; those in requests need not be.
fn date(text: &str) -> Option<i128> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i128>().ok();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if !shape.starts_with("0000-00-00T00:00:00") {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let leap = |y: i128| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = lengths.get(usize::try_from(month - 1).ok()?)?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if day < 1 || day > *length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut days = day - 1;
    for y in 0..year {
        days += if leap(y) { 366 } else { 365 };
    }
    for length in lengths.iter().take(usize::try_from(month - 1).ok()?) {
        days += length;
    }
    let after_clock = text.get(19..)?;
    let decimals: String = match after_clock.strip_prefix('.') {
        Some(after) => after.chars().take_while(char::is_ascii_digit).collect(),
        None => String::new(),
    };
    let zone = match after_clock.strip_prefix('.') {
        Some(after) if (1..=9).contains(&decimals.len()) => after.get(decimals.len()..)?,
        Some(_) => return None,
        None => after_clock,
    };
    let nanoseconds: i128 = format!("{decimals:0<9}").parse().ok()?;
    let shape: String = zone.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let offset = match shape.as_str() {
        "Z" => 0,
        "+00:00" | "-00:00" => {
            let of_zone = |from: usize, to: usize| zone.get(from..to)?.parse::<i128>().ok();
            let (hours, minutes) = (of_zone(1, 3)?, of_zone(4, 6)?);
            if hours > 14 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if zone.starts_with('-') { -60 } else { 60 }
        }
        _ => return None,
    };
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * 1_000_000_000 + nanoseconds)
}

/// Every prefix of the pattern against every prefix of the text.
fn wild(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // row[t]: whether the pattern so far fits the first t characters.
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for p in pattern.chars() {
        let mut diagonal = false;
        for t in 0..=text.len() {
            let above = row[t];
            row[t] = match p {
                '*' => above || (t > 0 && row[t - 1]),
                '?' => diagonal,
                _ => diagonal && p == text[t - 1],
            };
            diagonal = above;
        }
    }
    row[text.len()]
}
