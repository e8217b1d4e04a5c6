//! Lines of an `authorized_keys` file (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

use data_encoding::BASE64;

use crate::clock;
use crate::public_key::{Fingerprint, inner_kind};

/// A line that holds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The whole line with its end.
    pub(crate) line: &'a [u8],
    /// Options as written; empty if there are none.
    pub(crate) options: &'a [u8],
    /// The key itself, decoded.
    pub(crate) blob: Vec<u8>,
    /// Which key.
    pub(crate) fingerprint: Fingerprint,
    /// All that follows the key.
    pub(crate) comment: &'a [u8],
}

/// All lines of `content` with their ends, and the key of each that has one.
pub(crate) fn entries(content: &[u8]) -> impl Iterator<Item = (&[u8], Option<Entry<'_>>)> {
    content.split_inclusive(|b| *b == b'\n').map(|line| (line, parse(line)))
}

impl Entry<'_> {
    /// Whether sshd would let the key in: it is no certification authority,
    /// and its time is not over at `now`, seconds since 1970.
    pub(crate) fn is_accepted(&self, now: u64) -> bool {
        options(self.options).all(|option| {
            let name = option.split(|b| *b == b'=').next().unwrap_or_default();
            match name.to_ascii_lowercase().as_slice() {
                b"cert-authority" => false,
                b"expiry-time" => !is_past(option, now),
                _ => true,
            }
        })
    }

    /// The options that a key which takes this one's place should have: all
    /// but the end of its time, and never the rights of an authority.
    pub(crate) fn inherited_options(&self) -> Vec<u8> {
        let kept: Vec<&[u8]> = options(self.options)
            .filter(|option| {
                let name = option.split(|b| *b == b'=').next().unwrap_or_default();
                !name.eq_ignore_ascii_case(b"cert-authority") && !name.eq_ignore_ascii_case(b"expiry-time")
            })
            .collect();
        kept.join(&b","[..])
    }
}

fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let text = line.trim_ascii();
    if text.is_empty() || text.starts_with(b"#") {
        return None;
    }
    key(line, &[], text).or_else(|| {
        let (options, rest) = text.split_at_checked(options_length(text))?;
        key(line, options, rest.trim_ascii_start())
    })
}

/// Reads `type base64 comment`; the key must be of the type that it follows.
fn key<'a>(line: &'a [u8], options: &'a [u8], text: &'a [u8]) -> Option<Entry<'a>> {
    let (kind, rest) = word(text);
    let (encoded, comment) = word(rest);
    let blob = BASE64.decode(encoded).ok()?;
    (inner_kind(&blob)?.as_bytes() == kind).then(|| Entry {
        line,
        options,
        fingerprint: Fingerprint::of(&blob),
        blob,
        comment,
    })
}

/// The first word, and what follows the blanks after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| is_blank(*b)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, rest.trim_ascii_start())
}

/// Where the options end: at the first blank outside quotes. A backslash
/// protects a quote inside quotes, as in sshd's own reader.
fn options_length(text: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, b) in text.iter().enumerate() {
        match b {
            b'"' if !escaped => quoted = !quoted,
            b if !quoted && is_blank(*b) => return at,
            _ => {}
        }
        escaped = *b == b'\\' && !escaped;
    }
    text.len()
}

/// The single options, split at commas outside quotes.
fn options(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |b| {
        if *b == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = *b == b'\\' && !escaped;
        *b == b',' && !quoted
    })
    .filter(|option| !option.is_empty())
}

/// Whether `expiry-time="YYYYMMDD[HHMM[SS]][Z]"` lies before `now`.
///
/// Taken as UTC also where the local time is meant: it decides about a
/// warning, not about access.
fn is_past(option: &[u8], now: u64) -> bool {
    let digits: String = option.iter().filter(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
    format!("{digits:0<14}") <= clock::compact_utc(now)
}

const fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

    fn only(line: &str) -> Option<Entry<'_>> {
        entries(line.as_bytes()).next().and_then(|(_, entry)| entry)
    }

    #[test]
    fn keys_are_found_behind_options_and_blanks() {
        let plain = only(KEY).expect("a key").fingerprint;
        for (line, options, comment) in [
            (format!("{KEY}\n"), "", ""),
            (format!("  {KEY}  a b \r\n"), "", "a b"),
            (format!("restrict,pty {KEY} c"), "restrict,pty", "c"),
            (
                format!("command=\"echo \\\"a b\\\", # {KEY}\",from=\"10.*\" \t{KEY} c"),
                &format!("command=\"echo \\\"a b\\\", # {KEY}\",from=\"10.*\""),
                "c",
            ),
        ] {
            let entry = only(&line).unwrap_or_else(|| panic!("no key in {line}"));
            assert_eq!(entry.fingerprint, plain);
            assert_eq!(entry.options, options.as_bytes());
            assert_eq!(entry.comment, comment.as_bytes());
        }
    }

    #[test]
    fn lines_without_a_key_are_none() {
        for line in [
            "\n",
            "# comment",
            &format!("#{KEY}"),
            "ssh-rsa",
            "ssh-rsa AAAA",
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            "garbage \u{0} more",
            &format!("command=\"open {KEY}"),
        ] {
            assert_eq!(only(line), None, "{line}");
        }
    }

    #[test]
    fn options_decide_whether_a_key_is_let_in() {
        let now = 1_750_000_000; // 15 June 2025
        for (options, accepted) in [
            ("restrict ", true),
            ("cert-authority ", false),
            ("restrict,CERT-AUTHORITY ", false),
            ("expiry-time=\"20250101\" ", false),
            ("expiry-time=\"20250615\" ", false),
            ("expiry-time=\"20250616Z\" ", true),
            ("expiry-time=\"203001011200\" ", true),
            ("command=\"a,cert-authority\" ", true),
            ("", true),
        ] {
            let line = format!("{options}{KEY}");
            assert_eq!(only(&line).expect("a key").is_accepted(now), accepted, "{options}");
        }
    }

    #[test]
    fn options_are_handed_on_without_authority_and_without_an_end() {
        let line =
            format!("from=\"a,b\",cert-authority,expiry-time=\"20300101\",command=\"x \\\"y,z\\\"\" {KEY}");
        assert_eq!(
            only(&line).expect("a key").inherited_options(),
            b"from=\"a,b\",command=\"x \\\"y,z\\\"\""
        );
    }
}
