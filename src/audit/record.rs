//! One record: its frame, its body and its hash.
//!
//! Frame: body length (4 bytes, big endian), body, CRC-32C of the body (4
//! bytes, big endian). Body, one line of UTF-8 JSON:
//! `{"v":1,"seq":N,"prev":"<hex>","boot":"<uuid>","mono":<ns>,"event":{…}}`.
//! Hash: SHA-256 of a zero byte and the body, which is the leaf hash of RFC
//! 6962 section 2.1 over the bytes as they are stored.

use std::fmt;
use std::io::Write as _;
use std::str;

use aws_lc_rs::digest::{self, Context};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Serialize, Serializer};

use super::error::AuditError;

/// Longest body, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// Longest event, in bytes: what surrounds it in the body always fits.
pub(super) const MAX_EVENT_BYTES: usize = MAX_BODY_BYTES - 512;

/// How every body of this version begins. Quotes inside JSON text are escaped,
/// so that these bytes occur nowhere else in a record.
pub(super) const BODY_START: &[u8] = b"{\"v\":1,\"seq\":";

/// Bytes that a frame adds to its body.
pub(super) const FRAME_BYTES: usize = 8;

/// SHA-256 of a record, or of the origin; printed in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first record of a journal names as its predecessor.
    #[must_use]
    pub fn of_origin(origin: &str) -> Self {
        Self::finish(digest::digest(&digest::SHA256, origin.as_bytes()))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn of_body(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&digest::SHA256);
        context.update(&[0]);
        for part in parts {
            context.update(part);
        }
        Self::finish(context.finish())
    }

    fn finish(digest: digest::Digest) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    fn hex(&self) -> [u8; 64] {
        let mut hex = [0; 64];
        HEXLOWER.encode_mut(&self.0, &mut hex);
        hex
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// The end of a journal: all that a later reader needs to see whether a log
/// still contains what it contained before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Number of the last record; 0 before the first.
    pub seq: u64,
    /// Its hash; that of the origin before the first.
    pub hash: Hash,
}

/// Appends the frame of record `seq` to `buffer` and returns its hash.
///
/// `prefix` is scratch space; `boot` names the run of the program, and
/// `mono_ns` counts nanoseconds since it began.
pub(super) fn write_frame(
    buffer: &mut Vec<u8>,
    prefix: &mut Vec<u8>,
    head: &Head,
    boot: &str,
    mono_ns: u64,
    event: &[u8],
) -> Result<Head, AuditError> {
    const BODY_END: &[u8] = b"}";
    let too_large = || AuditError::TooLarge { limit: MAX_BODY_BYTES };
    let seq = head.seq.checked_add(1).ok_or_else(too_large)?;

    prefix.clear();
    prefix.extend_from_slice(BODY_START);
    // INVARIANT: writing to a vector cannot fail.
    write!(prefix, "{seq},\"prev\":\"").map_err(|_error| too_large())?;
    prefix.extend_from_slice(&head.hash.hex());
    prefix.extend_from_slice(b"\",\"boot\":\"");
    prefix.extend_from_slice(boot.as_bytes());
    write!(prefix, "\",\"mono\":{mono_ns},\"event\":").map_err(|_error| too_large())?;

    let bytes = prefix.len().saturating_add(event.len()).saturating_add(1);
    if bytes > MAX_BODY_BYTES {
        return Err(too_large());
    }
    let length = u32::try_from(bytes).map_err(|_error| too_large())?;
    buffer.extend_from_slice(&length.to_be_bytes());
    let mut checksum = 0;
    for part in [prefix.as_slice(), event, BODY_END] {
        buffer.extend_from_slice(part);
        checksum = crc32c::crc32c_append(checksum, part);
    }
    buffer.extend_from_slice(&checksum.to_be_bytes());
    Ok(Head { seq, hash: Hash::of_body(&[prefix, event, BODY_END]) })
}

/// The parts of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body<'b> {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) boot: &'b str,
    pub(super) mono_ns: u64,
    /// The event's JSON, not yet looked at.
    pub(super) event: &'b [u8],
}

impl<'b> Body<'b> {
    /// Takes a body apart; `None` when it is not exactly of the form above.
    pub(super) fn parse(body: &'b [u8]) -> Option<Self> {
        if body.contains(&b'\n') {
            return None;
        }
        let (seq, rest) = number(body.strip_prefix(BODY_START)?)?;
        let (prev, rest) = quoted(rest.strip_prefix(b",\"prev\":")?)?;
        let (boot, rest) = quoted(rest.strip_prefix(b",\"boot\":")?)?;
        let (mono_ns, rest) = number(rest.strip_prefix(b",\"mono\":")?)?;
        let event = rest.strip_prefix(b",\"event\":")?.strip_suffix(b"}")?;
        let prev = match prev.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => return None,
            false => Hash::parse(prev)?,
        };
        let object = event.len() >= 2 && event.starts_with(b"{") && event.ends_with(b"}");
        object.then_some(Self { seq, prev, boot, mono_ns, event })
    }
}

/// Digits without leading zeros, and what follows.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    Some((str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// A short text in quotes that has no escapes, and what follows.
fn quoted(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    let (inner, rest) = text.split_at_checked(end)?;
    let plain = inner.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    plain.then_some((str::from_utf8(inner).ok()?, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "019CA846-B148-7BAB-ABAB-ABABABABABAB";

    fn start() -> Head {
        Head { seq: 0, hash: Hash::of_origin("strongroom/test") }
    }

    #[test]
    fn a_frame_holds_what_went_in() {
        let (mut buffer, mut prefix) = (Vec::new(), Vec::new());
        let head = write_frame(&mut buffer, &mut prefix, &start(), BOOT, 7, b"{\"a\":1}").unwrap();
        let body = &buffer[4..buffer.len() - 4];
        assert_eq!(buffer[..4], u32::try_from(body.len()).unwrap().to_be_bytes());
        assert_eq!(buffer[buffer.len() - 4..], crc32c::crc32c(body).to_be_bytes());
        assert_eq!(head, Head { seq: 1, hash: Hash::of_body(&[body]) });
        let parts = Body::parse(body).unwrap();
        assert_eq!((parts.seq, parts.mono_ns, parts.boot), (1, 7, BOOT));
        assert_eq!((parts.prev, parts.event), (start().hash, &b"{\"a\":1}"[..]));
        assert!(serde_json::from_slice::<serde_json::Value>(body).is_ok());
    }

    #[test]
    fn the_hash_is_the_leaf_hash_of_rfc_6962() {
        assert_eq!(
            Hash::of_body(&[b""]).to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn bodies_of_another_form_are_refused() {
        let (mut buffer, mut prefix) = (Vec::new(), Vec::new());
        write_frame(&mut buffer, &mut prefix, &start(), BOOT, 7, b"{}").unwrap();
        let good = String::from_utf8(buffer[4..buffer.len() - 4].to_vec()).unwrap();
        assert!(Body::parse(good.as_bytes()).is_some());
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"seq\":1", "\"seq\":01"),
            ("\"seq\":1", "\"seq\":-1"),
            ("\"seq\":1", "\"seq\":99999999999999999999"),
            ("\"seq\"", " \"seq\""),
            ("\"prev\":\"", "\"prev\":\"zz"),
            ("\"boot\":\"", "\"boot\":\"\\n"),
            ("\"mono\":7", "\"mono\":\"7\""),
            ("\"event\":{", "\"event\":["),
            ("\"event\":{", "\"event\":{\n"),
            ("{}}", "{}"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert_eq!(Body::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_event_beyond_the_limit_is_refused() {
        let (mut buffer, mut prefix) = (Vec::new(), Vec::new());
        let huge = vec![b' '; MAX_BODY_BYTES];
        let result = write_frame(&mut buffer, &mut prefix, &start(), BOOT, 7, &huge);
        assert!(matches!(result, Err(AuditError::TooLarge { .. })));
        assert!(buffer.is_empty());
    }
}
