//! What a request brings along for conditions (ram.md section 1.6).

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::value::{self, Decimal, Moment};

/// A value that is longer, in bytes, is unreadable (ram.md section 6.1).
const MAX_VALUE_BYTES: usize = 8_192;

/// The value of a condition key. Those that are not text cost nothing until a
/// condition asks for them; asked for as text, they are written in the API's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text; also read as number, date, truth value or address.
    Text(&'a str),
    /// An address, such as that of the peer.
    Ip(IpAddr),
    /// A truth value.
    Bool(bool),
    /// An instant, such as the arrival of the request.
    Time {
        /// Seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
        /// The rest, below 10⁹.
        nanoseconds: u32,
    },
}

impl Value<'_> {
    /// Calls `test` with the value as text, unless it has none.
    pub(super) fn with_text(self, test: impl FnOnce(&str) -> bool) -> bool {
        let mut text = ShortText { bytes: [0; 48], length: 0 };
        let written = match self {
            Value::Text(text) => return text.len() <= MAX_VALUE_BYTES && test(text),
            Value::Ip(address) => write!(text, "{}", address.to_canonical()),
            Value::Bool(truth) => write!(text, "{truth}"),
            Value::Time { seconds, .. } => {
                let [year, month, day, hour, minute, second] = value::civil(seconds);
                write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
            }
        };
        written.is_ok() && text.as_str().is_some_and(test)
    }

    pub(super) fn decimal(self) -> Option<Decimal> {
        match self {
            Value::Text(text) => Decimal::parse(text),
            Value::Ip(_) | Value::Bool(_) | Value::Time { .. } => None,
        }
    }

    pub(super) fn moment(self) -> Option<Moment> {
        match self {
            Value::Text(text) => Moment::parse(text),
            Value::Time { seconds, nanoseconds } => Some(Moment::new(seconds, nanoseconds)),
            Value::Ip(_) | Value::Bool(_) => None,
        }
    }

    pub(super) const fn truth(self) -> Option<bool> {
        match self {
            Value::Text(text) => value::parse_bool(text),
            Value::Bool(truth) => Some(truth),
            Value::Ip(_) | Value::Time { .. } => None,
        }
    }

    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Value::Text(text) => text.parse().ok(),
            Value::Ip(address) => Some(address),
            Value::Bool(_) | Value::Time { .. } => None,
        }
    }
}

/// Room for the longest address and for every date.
struct ShortText {
    bytes: [u8; 48],
    length: usize,
}

impl ShortText {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length.checked_add(text.len()).ok_or(fmt::Error)?;
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// One value of one condition key. A key with several values has several
/// entries; one without entries is missing.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    value: Value<'a>,
}

impl<'a> Entry<'a> {
    /// A value of the key `key`, such as `acs:SourceIp` or `acs:ResourceTag/env`.
    #[must_use]
    pub fn new(key: &'a str, value: Value<'a>) -> Self {
        let (name, tag) = key.split_once('/').map_or((key, None), |(name, tag)| (name, Some(tag)));
        Self { name, tag, value }
    }

    /// The value of a tag: `tagged("acs:ResourceTag", "env", "prod")` is that
    /// of the key `acs:ResourceTag/env`.
    #[must_use]
    pub const fn tagged(name: &'a str, tag: &'a str, value: &'a str) -> Self {
        Self { name, tag: Some(tag), value: Value::Text(value) }
    }
}

/// The condition keys of one request, borrowed from where they are gathered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    entries: &'a [Entry<'a>],
}

impl<'a> Context<'a> {
    /// These keys and no others.
    #[must_use]
    pub const fn new(entries: &'a [Entry<'a>]) -> Self {
        Self { entries }
    }

    pub(super) fn values(&self, key: &Key) -> impl Iterator<Item = Value<'a>> {
        self.entries
            .iter()
            .filter(move |entry| {
                entry.tag == key.tag.as_deref() && entry.name.eq_ignore_ascii_case(&key.name)
            })
            .map(|entry| entry.value)
    }
}

/// The name of a condition key as policies write it. It compares without ASCII
/// case up to the first `/` and exactly after it (rule C6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// In lower case.
    name: Box<str>,
    tag: Option<Box<str>>,
}

impl Key {
    /// Reads `prefix:name`, with anything after a first `/`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, tag) = text.split_once('/').map_or((text, None), |(name, tag)| (name, Some(tag)));
        let (prefix, rest) = name.split_once(':')?;
        let complete = !prefix.is_empty() && !rest.is_empty();
        complete.then(|| Self { name: name.to_ascii_lowercase().into(), tag: tag.map(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_values_have_the_text_of_the_api() {
        let v6: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        for (value, text) in [
            (Value::Ip("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1"),
            (Value::Ip(v6), "2001:db8:1:2:3:4:5:6"),
            (Value::Bool(true), "true"),
            (Value::Time { seconds: 1_772_366_400, nanoseconds: 5 }, "2026-03-01T12:00:00Z"),
        ] {
            assert!(value.with_text(|t| t == text), "{value:?}");
        }
    }

    #[test]
    fn a_value_of_more_than_8_kib_is_unreadable() {
        assert!(Value::Text(&"a".repeat(8_192)).with_text(|_| true));
        assert!(!Value::Text(&"a".repeat(8_193)).with_text(|_| true));
    }

    #[test]
    fn a_key_needs_a_prefix_and_a_name() {
        for text in ["", "SourceIp", ":x", "acs:", "acs/x:y"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
        assert_eq!(Key::parse("ACS:resourcetag/A/b"), Key::parse("acs:ResourceTag/A/b"));
        assert_ne!(Key::parse("acs:ResourceTag/A"), Key::parse("acs:ResourceTag/a"));
    }
}
