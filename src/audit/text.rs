//! How text that a stranger may have chosen enters a record.
//!
//! Two things are settled here, once: every text is cut to a length, and no
//! text can look like the end of a line or steer a terminal, whatever tool
//! later splits or prints the log.

use std::io;

use serde::Serializer;
use serde_json::ser::Formatter;

/// Longest value written, in bytes; what is longer ends in `…`.
pub(super) const MAX_VALUE_BYTES: usize = 1024;

/// Longest name of a parameter that a client invented, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// Longest user agent, in characters.
const MAX_AGENT_CHARS: usize = 512;

const ELLIPSIS: &str = "…";

/// Writes `text` cut to [`MAX_VALUE_BYTES`].
pub(super) fn short<S: Serializer>(text: &str, out: S) -> Result<S::Ok, S::Error> {
    cut(text, MAX_VALUE_BYTES, out)
}

/// Writes an optional text as [`short`] does, and nothing as `null`.
pub(super) fn short_option<S: Serializer>(text: &Option<&str>, out: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => short(text, out),
        None => out.serialize_none(),
    }
}

/// Writes a user agent cut to 512 characters.
pub(super) fn user_agent<S: Serializer>(text: &str, out: S) -> Result<S::Ok, S::Error> {
    let bytes = text.char_indices().nth(MAX_AGENT_CHARS).map_or(text.len(), |(at, _)| at);
    out.serialize_str(text.get(..bytes).unwrap_or_default())
}

fn cut<S: Serializer>(text: &str, max_bytes: usize, out: S) -> Result<S::Ok, S::Error> {
    if text.len() <= max_bytes {
        return out.serialize_str(text);
    }
    let head = head(text, max_bytes.saturating_sub(ELLIPSIS.len()));
    out.collect_str(&format_args!("{head}{ELLIPSIS}"))
}

/// The longest beginning of `text` that has at most `max_bytes` bytes and ends
/// between two characters.
pub(super) fn head(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

/// JSON on one line in which characters that end lines in some tool, steer a
/// terminal or turn the direction of writing appear as `\u` escapes.
///
/// RFC 8259 section 7 only demands this of U+0000 to U+001F; U+0085, U+2028
/// and U+2029 split lines in common languages as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if is_hostile(character) {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            } else {
                writer.write_all(character.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// True for DEL, the C1 controls, the separators of lines and paragraphs, the
/// marks of writing direction, and the byte order mark; all lie in the basic
/// plane, so that one `\u` escape holds each.
fn is_hostile(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    fn written(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut out = serde_json::Serializer::with_formatter(&mut bytes, OneLine);
        text.serialize(&mut out).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_ends_a_line_in_any_tool_is_escaped() {
        let hostile = "a\nb\r\u{b}\u{c}\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{feff}é名";
        let json = written(hostile);
        assert!(!json.chars().any(|c| c.is_control() || is_hostile(c)), "{json}");
        assert!(json.ends_with("é名\""));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn a_cut_never_divides_a_character() {
        for length in 0..12 {
            assert!("aé名😀x".starts_with(head("aé名😀x", length)));
        }
        let long = "名".repeat(1000);
        let mut bytes = Vec::new();
        short(&long, &mut serde_json::Serializer::new(&mut bytes)).unwrap();
        let back: String = serde_json::from_slice(&bytes).unwrap();
        assert!(back.len() <= MAX_VALUE_BYTES && back.ends_with('…'));
    }
}
