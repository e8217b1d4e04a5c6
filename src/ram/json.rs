//! JSON as strict as rule V1 demands it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::PolicyError;

/// Objects and lists within each other at most.
const MAX_DEPTH: usize = 16;

/// A JSON value. What is neither text, list nor object has no place in a
/// policy, so that its value is not kept.
#[derive(Debug)]
pub(super) enum Json {
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
    Other,
}

impl Json {
    /// Reads a whole document.
    ///
    /// `serde_json` takes care of syntax, of unpaired surrogates and of what
    /// follows the document; duplicate names and depth are checked here, since
    /// its own values keep the last of two members.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Json`].
    pub(super) fn read(text: &str) -> Result<Self, PolicyError> {
        let reason = Cell::new("it does not follow RFC 8259");
        let mut reader = serde_json::Deserializer::from_str(text);
        Level { depth: 0, reason: &reason }
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value))
            .map_err(|error| PolicyError::Json {
                line: error.line(),
                column: error.column(),
                reason: reason.get(),
            })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(_) | Self::Object(_) | Self::Other => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            Self::Text(_) | Self::Object(_) | Self::Other => None,
        }
    }

    pub(super) const fn object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            Self::Text(_) | Self::List(_) | Self::Other => None,
        }
    }

    /// A text, or a list of texts that is not empty; both mean the same.
    pub(super) fn one_or_list(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => Some(vec![text]),
            Self::List(list) if !list.is_empty() => list.iter().map(Self::text).collect(),
            Self::List(_) | Self::Object(_) | Self::Other => None,
        }
    }
}

/// Reads one value that lies within `depth` lists and objects.
#[derive(Clone, Copy)]
struct Level<'r> {
    depth: usize,
    reason: &'r Cell<&'static str>,
}

impl Level<'_> {
    fn refuse<E: Error>(self, reason: &'static str) -> E {
        self.reason.set(reason);
        E::custom(reason)
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse("it is nested deeper than 16 levels"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let level = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(level)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let level = self.deeper()?;
        let mut object = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            // Two parsers that pick different ones of two members are a bypass.
            if object.contains_key(&name) {
                return Err(self.refuse("a member name occurs twice"));
            }
            object.insert(name, members.next_value_seed(level)?);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_8259_does_not_allow_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "// c\n1",
            "'a'",
            "NaN",
            "[Infinity]",
            "01",
            "+1",
            "1 2",
            "\u{feff}{}",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "{\"\\ud800\":1}",
            "\"\t\"",
            "tru",
            "\"\\x41\"",
            "{a:1}",
            "\u{a0}1",
        ] {
            assert!(matches!(Json::read(text), Err(PolicyError::Json { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_name_written_in_two_ways_is_still_the_same_name() {
        let error = Json::read("{\"a\":1,\"b\":[{\"c\":1,\"\\u0063\":2}]}").unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn sixteen_levels_are_read_and_seventeen_are_not() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::read(&nested(16)).is_ok());
        assert!(Json::read(&nested(17)).unwrap_err().to_string().contains("deeper"));
    }
}
