//! Conditions (rules V11 and C1 to C14).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::context::{Context, Key, Value};
use super::error::Fault;
use super::json::Json;
use super::pattern::Pattern;
use super::value::{Decimal, IpRange, Moment, parse_bool};

/// One key under one operator. All clauses of a statement must hold (rule C1).
#[derive(Debug)]
pub(super) struct Clause {
    key: Key,
    /// Whether it holds when no value matches, instead of when one does (rule C2).
    negated: bool,
    test: Test,
}

/// What one value of the request is compared with. It matches when one of the
/// policy's values fits; a value that cannot be read never matches (rule C5).
#[derive(Debug)]
enum Test {
    Equal(Box<[Box<str>]>),
    EqualIgnoringCase(Box<[Box<str>]>),
    Like(Box<[Pattern]>),
    Number(Ordered, Box<[Decimal]>),
    Date(Ordered, Box<[Moment]>),
    Bool(Box<[bool]>),
    Ip(Box<[IpRange]>),
}

/// How the request's value stands to the policy's.
#[derive(Debug, Clone, Copy)]
enum Ordered {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Ordered {
    fn holds<T: Ord>(self, request: &T, policy: &T) -> bool {
        let ordering = request.cmp(policy);
        match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::Less => ordering == Ordering::Less,
            Self::LessOrEqual => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::GreaterOrEqual => ordering != Ordering::Less,
        }
    }
}

impl Clause {
    /// Compiles the `Condition` of a statement.
    pub(super) fn compile(condition: &Json) -> Result<Box<[Self]>, Fault> {
        let operators = condition.object().ok_or(Fault::new("V11", "Condition is an object"))?;
        let mut clauses = Vec::new();
        for (operator, keys) in operators {
            clauses.append(&mut compile_operator(operator, keys).map_err(|fault| fault.under(operator))?);
        }
        Ok(clauses.into())
    }

    /// Whether the request fulfils this clause. A missing key matches nothing,
    /// so that a positive operator fails and a negated one holds (rule C3).
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        context.values(&self.key).any(|value| self.test.matches(value)) != self.negated
    }
}

fn compile_operator(operator: &str, keys: &Json) -> Result<Vec<Clause>, Fault> {
    let keys = keys.object().filter(|keys| !keys.is_empty());
    let keys = keys.ok_or(Fault::new("V11", "an operator has an object that is not empty"))?;
    let mut seen = BTreeSet::new();
    let mut compile_key = |(name, values): (&String, &Json)| {
        let key = Key::parse(name).ok_or(Fault::new("V11", "a condition key is written prefix:name"))?;
        if !seen.insert(key.clone()) {
            return Err(Fault::new("V11", "a condition key occurs twice under one operator"));
        }
        let values = values.one_or_list();
        let values =
            values.ok_or(Fault::new("V11", "a value is a text or a list of texts that is not empty"))?;
        let (negated, test) = Test::compile(operator, &values)?;
        Ok(Clause { key, negated, test })
    };
    keys.iter().map(|member| compile_key(member).map_err(|fault| fault.under(member.0))).collect()
}

impl Test {
    /// The operators of ram.md section 1.5, and whether each is a negated one.
    fn compile(operator: &str, values: &[&str]) -> Result<(bool, Self), Fault> {
        let text = || values.iter().map(|value| Box::from(*value)).collect();
        let number = |ordered| {
            each(values, Decimal::parse, "a number has 1 to 30 digits, and as many after a point")
                .map(|values| Self::Number(ordered, values))
        };
        let date = |ordered| {
            each(values, Moment::parse, "a date is written YYYY-MM-DDThh:mm:ss, then Z or an offset")
                .map(|values| Self::Date(ordered, values))
        };
        let ip = || {
            each(values, IpRange::parse, "an address is IPv4 or IPv6, with or without /bits").map(Self::Ip)
        };
        Ok(match operator {
            "StringEquals" => (false, Self::Equal(text())),
            "StringNotEquals" => (true, Self::Equal(text())),
            "StringEqualsIgnoreCase" => (false, Self::EqualIgnoringCase(text())),
            "StringNotEqualsIgnoreCase" => (true, Self::EqualIgnoringCase(text())),
            "StringLike" => (false, Self::Like(values.iter().map(|value| Pattern::new(value)).collect())),
            "StringNotLike" => (true, Self::Like(values.iter().map(|value| Pattern::new(value)).collect())),
            "NumericEquals" => (false, number(Ordered::Equal)?),
            "NumericNotEquals" => (true, number(Ordered::Equal)?),
            "NumericLessThan" => (false, number(Ordered::Less)?),
            "NumericLessThanEquals" => (false, number(Ordered::LessOrEqual)?),
            "NumericGreaterThan" => (false, number(Ordered::Greater)?),
            "NumericGreaterThanEquals" => (false, number(Ordered::GreaterOrEqual)?),
            "DateEquals" => (false, date(Ordered::Equal)?),
            "DateNotEquals" => (true, date(Ordered::Equal)?),
            "DateLessThan" => (false, date(Ordered::Less)?),
            "DateLessThanEquals" => (false, date(Ordered::LessOrEqual)?),
            "DateGreaterThan" => (false, date(Ordered::Greater)?),
            "DateGreaterThanEquals" => (false, date(Ordered::GreaterOrEqual)?),
            "Bool" => (false, each(values, parse_bool, "a truth value is true or false").map(Self::Bool)?),
            "IpAddress" => (false, ip()?),
            "NotIpAddress" => (true, ip()?),
            _ => return Err(Fault::new("V11", "there is no such operator")),
        })
    }

    fn matches(&self, value: Value<'_>) -> bool {
        match self {
            Self::Equal(texts) => value.with_text(|value| texts.iter().any(|text| **text == *value)),
            Self::EqualIgnoringCase(texts) => {
                value.with_text(|value| texts.iter().any(|text| text.eq_ignore_ascii_case(value)))
            }
            Self::Like(patterns) => {
                value.with_text(|value| patterns.iter().any(|pattern| pattern.matches(value)))
            }
            Self::Number(ordered, numbers) => value
                .decimal()
                .is_some_and(|value| numbers.iter().any(|number| ordered.holds(&value, number))),
            Self::Date(ordered, dates) => {
                value.moment().is_some_and(|value| dates.iter().any(|date| ordered.holds(&value, date)))
            }
            Self::Bool(truths) => value.truth().is_some_and(|value| truths.contains(&value)),
            Self::Ip(ranges) => {
                value.address().is_some_and(|value| ranges.iter().any(|range| range.contains(value)))
            }
        }
    }
}

fn each<T>(
    values: &[&str],
    parse: impl Fn(&str) -> Option<T>,
    reason: &'static str,
) -> Result<Box<[T]>, Fault> {
    values.iter().map(|value| parse(value).ok_or(Fault::new("V11", reason))).collect()
}
