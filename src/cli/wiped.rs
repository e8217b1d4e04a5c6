//! Secrets on their way through JSON, without copies that stay behind.
//!
//! The JSON library unescapes strings in scratch memory that it does not wipe.
//! So a secret member of an answer is taken as raw text ([`read_string`]) and a
//! request's is written straight into a buffer that is wiped
//! ([`WipedBuffer`]).

use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A growing buffer that is wiped when it is dropped, and when it moves to grow.
#[derive(ZeroizeOnDrop)]
pub(super) struct WipedBuffer(Vec<u8>);

impl WipedBuffer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The contents in a buffer of their exact size.
    pub(super) fn into_secret(self) -> SecretBytes {
        SecretBytes::copy_of(&self.0)
    }
}

impl Write for WipedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.saturating_mul(2));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for WipedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WipedBuffer({} bytes)", self.0.len())
    }
}

/// A secret text that is to be written into JSON, straight into a
/// [`WipedBuffer`].
pub(super) struct Exposed<'a>(pub(super) &'a SecretBytes);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = str::from_utf8(self.0.expose()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}

/// A secret text in a file that is read, taken over at once.
pub(super) struct SecretText(pub(super) SecretBytes);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SecretText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(SecretBytes::copy_of(text.as_bytes())))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretText, E> {
                Ok(SecretText(SecretBytes::from_vec(text.into_bytes())))
            }
        }
        deserializer.deserialize_string(Visitor)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text that a JSON string stands for; `None` when `raw` is no string.
pub(super) fn read_string(raw: &RawValue) -> Option<SecretBytes> {
    let inner = raw.get().trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut text = WipedBuffer::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        let plain = match letter {
            '\\' => match letters.next()? {
                plain @ ('"' | '\\' | '/') => plain,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => unicode(&mut letters)?,
                _ => return None,
            },
            other => other,
        };
        let mut utf8 = [0; 4];
        text.write_all(plain.encode_utf8(&mut utf8).as_bytes()).ok()?;
        utf8.zeroize();
    }
    Some(text.into_secret())
}

/// The character of a `\u` escape, the second half of a surrogate pair included
/// (RFC 8259 section 7).
fn unicode(letters: &mut std::str::Chars<'_>) -> Option<char> {
    let unit = |letters: &mut std::str::Chars<'_>| {
        (0..4).try_fold(0_u32, |sum, _| Some(sum * 16 + letters.next()?.to_digit(16)?))
    };
    match unit(letters)? {
        high @ 0xd800..=0xdbff => {
            if (letters.next()?, letters.next()?) != ('\\', 'u') {
                return None;
            }
            let low = unit(letters)?;
            (0xdc00..=0xdfff)
                .contains(&low)
                .then(|| char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)))?
        }
        single => char::from_u32(single),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_reads_as_the_json_library_reads_it() {
        for text in [
            r#""""#,
            r#""plain""#,
            r#""{\"UserName\":\"root\",\"Password\":\"a\\b\/c\"}""#,
            r#""\b\f\n\r\t""#,
            r#""\u00e9\ud83d\ude00 é😀""#,
        ] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            let expected: String = serde_json::from_str(text).unwrap();
            assert_eq!(read_string(raw).unwrap().expose(), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for text in ["1", "null", "{}", "[\"a\"]", r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\udc00""#] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert!(read_string(raw).is_none(), "{text}");
        }
    }

    #[test]
    fn a_buffer_that_grows_keeps_its_contents() {
        let mut buffer = WipedBuffer::with_capacity(1);
        for _ in 0..100 {
            buffer.write_all(b"0123456789").unwrap();
        }
        assert_eq!(buffer.bytes().len(), 1000);
        assert_eq!(buffer.into_secret().expose(), "0123456789".repeat(100).as_bytes());
    }

    #[test]
    fn debug_output_of_wiped_things_shows_no_contents() {
        let mut buffer = WipedBuffer::with_capacity(1);
        buffer.write_all(b"marker").unwrap();
        let text = SecretText(SecretBytes::copy_of(b"marker"));
        assert!(!format!("{buffer:?}{text:?}").contains("marker"));
    }
}
