//! Parameters as they travel: percent-encoded in the query string and in form
//! bodies (kms-secrets.md section 2.3), and the encoding of RFC 3986 over which
//! signatures are computed (section 2.4).

use std::fmt;

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use zeroize::{Zeroize, Zeroizing};

/// How many parameters one request may have, query and body together.
pub const MAX_PARAMETERS: usize = 512;

/// How many bytes query and form body may have together, as sent.
///
/// A value of 30,720 bytes is 92,160 percent-encoded (kms-secrets.md section 0,
/// point 14); the rest leaves room for the longest documented policy.
pub const MAX_PARAMETER_BYTES: usize = 256 * 1024;

/// Parameters that cannot be believed to mean one thing only.
///
/// No variant says which parameter or what it held: what was sent may be a
/// secret under any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// A name occurs twice, or in both the query and the body.
    #[error("a parameter name occurs twice")]
    Duplicate,
    /// There is a body, and its content type is not that of a form.
    #[error("the body is not of type application/x-www-form-urlencoded")]
    NotAForm,
    /// More than [`MAX_PARAMETER_BYTES`].
    #[error("query and form body are longer than {MAX_PARAMETER_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_PARAMETERS`].
    #[error("there are more than {MAX_PARAMETERS} parameters")]
    TooMany,
    /// A bad escape, an empty name, or bytes that are not UTF-8.
    #[error("a parameter is not percent-encoded UTF-8 text with a name")]
    Undecodable,
}

impl ParameterError {
    /// The error code of the protocol (kms-secrets.md sections 2.3 and 10.1).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Undecodable => "ParseRequestParameterException",
            Self::Duplicate | Self::NotAForm | Self::TooLong | Self::TooMany => "InvalidParameter",
        }
    }
}

/// Where a parameter was found: only those of the query are signed by ACS3.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Form,
    Query,
}

/// The decoded parameters of one request, sorted by the bytes of their names.
///
/// All names and values lie in one buffer of the final size, wiped on drop;
/// parsing allocates that buffer and one index, whatever the number of
/// parameters. `Debug` shows how many there are and nothing else.
pub struct Parameters {
    text: Zeroizing<String>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name_end: usize,
    end: usize,
    origin: Origin,
}

impl Parameters {
    /// Reads the parameters of a request: its query string (without `?`), and
    /// its body when the content type begins with
    /// `application/x-www-form-urlencoded`.
    ///
    /// The content type of an empty body does not matter: SDKs send one
    /// (kms-secrets.md section 0, point 8).
    ///
    /// # Errors
    ///
    /// [`ParameterError`]; nothing of the input is kept then.
    pub fn received(query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self, ParameterError> {
        const FORM: &[u8] = b"application/x-www-form-urlencoded";
        let is_form = body.is_empty()
            || headers
                .get(CONTENT_TYPE)
                .and_then(|kind| kind.as_bytes().get(..FORM.len()))
                .is_some_and(|start| start.eq_ignore_ascii_case(FORM));
        if is_form { Self::parse(query, body) } else { Err(ParameterError::NotAForm) }
    }

    /// Reads a query string and a form body.
    ///
    /// Both are split at `&`, then at the first `=`; `+` and `%20` are a space;
    /// blank values are kept, empty pieces between two `&` skipped.
    ///
    /// ```
    /// use strongroom::rpc::encoding::Parameters;
    ///
    /// let parameters = Parameters::parse("SecretName=acs%2Fecs%2Fweb&SignatureType=", b"SecretData=a+b")?;
    /// assert_eq!(parameters.get("SecretName"), Some("acs/ecs/web"));
    /// assert_eq!(parameters.get("SignatureType"), Some(""));
    /// assert_eq!(parameters.get("SecretData"), Some("a b"));
    /// # Ok::<(), strongroom::rpc::encoding::ParameterError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParameterError`]; nothing of the input is kept then.
    pub fn parse(query: &str, form: &[u8]) -> Result<Self, ParameterError> {
        let length = query.len().saturating_add(form.len());
        if length > MAX_PARAMETER_BYTES {
            return Err(ParameterError::TooLong);
        }
        let pieces = |source: &[u8]| 1 + source.iter().filter(|byte| **byte == b'&').count();
        let count = pieces(query.as_bytes()) + pieces(form);
        if count > MAX_PARAMETERS {
            return Err(ParameterError::TooMany);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        let mut entries = Vec::with_capacity(count);
        decode(query.as_bytes(), Origin::Query, &mut bytes, &mut entries)?;
        decode(form, Origin::Form, &mut bytes, &mut entries)?;

        let text = match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                error.into_bytes().zeroize();
                return Err(ParameterError::Undecodable);
            }
        };
        // The whole is UTF-8, but a character could reach from one value into the next name.
        let whole = |entry: &Entry| {
            [entry.start, entry.name_end, entry.end].iter().all(|at| text.is_char_boundary(*at))
        };
        if !entries.iter().all(whole) {
            return Err(ParameterError::Undecodable);
        }
        entries.sort_unstable_by(|a, b| bytes_of_name(&text, a).cmp(bytes_of_name(&text, b)));
        let twice = |pair: &[Entry]| match pair {
            [a, b] => bytes_of_name(&text, a) == bytes_of_name(&text, b),
            _ => false,
        };
        if entries.windows(2).any(twice) {
            return Err(ParameterError::Duplicate);
        }
        Ok(Self { text, entries })
    }

    /// The value of a parameter; names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self
            .entries
            .binary_search_by(|entry| bytes_of_name(&self.text, entry).cmp(name.as_bytes()))
            .ok()?;
        self.entries.get(at).map(|entry| value_of(&self.text, entry))
    }

    /// All names with their values, in byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (name_of(&self.text, entry), value_of(&self.text, entry)))
    }

    /// The parameters that came in the query string, in byte order of the names.
    pub fn of_query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .filter(|entry| entry.origin == Origin::Query)
            .map(|entry| (name_of(&self.text, entry), value_of(&self.text, entry)))
    }

    /// At most how many bytes all names and values are when they are encoded
    /// twice and joined by `%3D` and `%26`.
    ///
    /// One pass over the whole buffer, which is much faster than one for each name and value.
    pub(crate) fn max_twice_encoded_len(&self) -> usize {
        self.text.len() + 4 * reserved_count(self.text.as_bytes()) + 6 * self.entries.len()
    }

    /// How many parameters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("count", &self.entries.len()).finish_non_exhaustive()
    }
}

/// Appends the RFC 3986 percent-encoding of `bytes`: `A-Z a-z 0-9 - _ . ~`
/// stay, everything else becomes `%` and two upper-case digits.
pub fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    append_escaped(out, bytes, |[high, low]| [b'%', high, low]);
}

/// Appends what [`encode_into`] would make of its own output: in the string
/// that V1 signs, values are encoded twice.
pub fn encode_twice_into(out: &mut Vec<u8>, bytes: &[u8]) {
    append_escaped(out, bytes, |[high, low]| [b'%', b'2', b'5', high, low]);
}

/// The RFC 3986 percent-encoding of a text that is not secret.
///
/// ```
/// assert_eq!(strongroom::rpc::encoding::encode("a b*~"), "a%20b%2A~");
/// ```
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(encoded_len(text.as_bytes()));
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(hex_digits(byte).map(char::from));
        }
    }
    out
}

/// How many bytes [`encode_into`] appends.
#[must_use]
pub fn encoded_len(bytes: &[u8]) -> usize {
    bytes.len() + 2 * reserved_count(bytes)
}

/// Whether the encoding of a text differs from it.
#[must_use]
pub fn needs_encoding(text: &str) -> bool {
    !text.bytes().all(is_unreserved)
}

/// Without branches, so that counting works on many bytes at once.
const fn is_unreserved(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit = byte.wrapping_sub(b'0') < 10;
    let is_mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
    is_letter | is_digit | is_mark
}

fn reserved_count(bytes: &[u8]) -> usize {
    // A byte counts to 255, and sums of bytes are what processors add 16 at a time.
    bytes
        .chunks(255)
        .map(|chunk| {
            let count =
                chunk.iter().fold(0_u8, |sum, byte| sum.wrapping_add(u8::from(!is_unreserved(*byte))));
            usize::from(count)
        })
        .sum()
}

/// Copies runs of unreserved bytes at once, which most of a request consists of.
fn append_escaped<const N: usize>(out: &mut Vec<u8>, bytes: &[u8], escape: impl Fn([u8; 2]) -> [u8; N]) {
    let mut rest = bytes;
    loop {
        let run = rest.iter().position(|byte| !is_unreserved(*byte)).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(run);
        out.extend_from_slice(plain);
        let Some((byte, after)) = tail.split_first() else {
            return;
        };
        out.extend_from_slice(&escape(hex_digits(*byte)));
        rest = after;
    }
}

const fn hex_digits(byte: u8) -> [u8; 2] {
    [hex_digit(byte >> 4), hex_digit(byte & 0x0f)]
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The name without the checks that make it text, for comparing.
fn bytes_of_name<'t>(text: &'t str, entry: &Entry) -> &'t [u8] {
    text.as_bytes().get(entry.start..entry.name_end).unwrap_or_default()
}

fn name_of<'t>(text: &'t str, entry: &Entry) -> &'t str {
    text.get(entry.start..entry.name_end).unwrap_or_default()
}

fn value_of<'t>(text: &'t str, entry: &Entry) -> &'t str {
    text.get(entry.name_end..entry.end).unwrap_or_default()
}

/// Appends the decoded names and values of `source` to `bytes`, side by side
/// without separators, and where they lie to `entries`.
fn decode(
    source: &[u8],
    origin: Origin,
    bytes: &mut Vec<u8>,
    entries: &mut Vec<Entry>,
) -> Result<(), ParameterError> {
    let mut rest = source;
    let mut start = bytes.len();
    let mut name_end = None;
    loop {
        let run =
            rest.iter().position(|byte| matches!(byte, b'%' | b'+' | b'&' | b'=')).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(run);
        bytes.extend_from_slice(plain);
        rest = match tail {
            [b'%', high, low, after @ ..] => {
                let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else {
                    return Err(ParameterError::Undecodable);
                };
                bytes.push(high << 4 | low);
                after
            }
            [b'+', after @ ..] => {
                bytes.push(b' ');
                after
            }
            [b'=', after @ ..] => {
                if name_end.is_none() {
                    name_end = Some(bytes.len());
                } else {
                    bytes.push(b'=');
                }
                after
            }
            [b'%', ..] => return Err(ParameterError::Undecodable),
            // The end, or an `&`.
            [_, ..] | [] => {
                let end = bytes.len();
                let name_end = name_end.take();
                if end > start || name_end.is_some() {
                    let name_end = name_end.unwrap_or(end);
                    if name_end == start {
                        return Err(ParameterError::Undecodable);
                    }
                    entries.push(Entry { start, name_end, end, origin });
                }
                start = end;
                match tail {
                    [_, after @ ..] => after,
                    [] => return Ok(()),
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str, form: &[u8]) -> Result<Vec<(String, String)>, ParameterError> {
        Parameters::parse(query, form).map(|p| p.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn pairs_are_decoded_and_sorted_by_name() {
        type Case<'a> = (&'a str, &'a [u8], &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            ("", b"", &[]),
            ("a=1", b"", &[("a", "1")]),
            ("b=2&a=1", b"", &[("a", "1"), ("b", "2")]),
            ("a=1", b"b=2", &[("a", "1"), ("b", "2")]),
            ("a", b"", &[("a", "")]),
            ("a=", b"", &[("a", "")]),
            ("a==b=", b"", &[("a", "=b=")]),
            ("a=%3d%3D&b=%26", b"", &[("a", "=="), ("b", "&")]),
            ("a=x+y%20z%2B", b"", &[("a", "x y z+")]),
            ("a%3Db=1", b"", &[("a=b", "1")]),
            ("&&a=1&&b=2&", b"&", &[("a", "1"), ("b", "2")]),
            ("a=*!'()~", b"", &[("a", "*!'()~")]),
            ("k=%C3%A9%E4%B8%AD", "l=é".as_bytes(), &[("k", "é中"), ("l", "é")]),
            ("A=1&a=2", b"", &[("A", "1"), ("a", "2")]),
        ];
        for (query, form, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(parsed(query, form), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_cannot_mean_one_thing_is_refused() {
        let cases: &[(&str, &[u8], ParameterError)] = &[
            ("a=%", b"", ParameterError::Undecodable),
            ("a=%4", b"", ParameterError::Undecodable),
            ("a=%4g", b"", ParameterError::Undecodable),
            ("a=%%41", b"", ParameterError::Undecodable),
            ("=1", b"", ParameterError::Undecodable),
            ("a=1&=", b"", ParameterError::Undecodable),
            ("a=%FF", b"", ParameterError::Undecodable),
            ("", b"a=\xff", ParameterError::Undecodable),
            ("a=%C3&%A9=1", b"", ParameterError::Undecodable),
            ("a=%C3", b"%A9=1", ParameterError::Undecodable),
            ("%C3=%A9", b"", ParameterError::Undecodable),
            ("a=1&a=1", b"", ParameterError::Duplicate),
            ("a=1&b=2&%61=3", b"", ParameterError::Duplicate),
            ("a=1", b"a=1", ParameterError::Duplicate),
        ];
        for (query, form, expected) in cases {
            assert_eq!(parsed(query, form), Err(*expected), "{query}");
        }
        let many: String = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=&")).collect();
        assert_eq!(parsed(&many, b""), Err(ParameterError::TooMany));
        let long = "a".repeat(MAX_PARAMETER_BYTES);
        assert_eq!(parsed("", long.as_bytes()).map(|p| p.len()), Ok(1));
        assert_eq!(parsed("b", long.as_bytes()), Err(ParameterError::TooLong));
    }

    #[test]
    fn a_value_is_found_by_its_exact_name() {
        let p = Parameters::parse("Tag.10.Key=ten&Tag.1.Key=one&Action=X", b"SecretData=s").unwrap();
        assert_eq!(p.get("Tag.1.Key"), Some("one"));
        assert_eq!(p.get("tag.1.key"), None);
        assert_eq!(p.get("SecretData"), Some("s"));
        assert_eq!(p.of_query().count(), 3);
        assert_eq!((p.len(), p.is_empty()), (4, false));
    }

    #[test]
    fn debug_output_shows_no_value_and_no_name() {
        let shown = format!("{:?}", Parameters::parse("SecretData=canary", b"").unwrap());
        assert!(!shown.contains("canary") && !shown.contains("SecretData"), "{shown}");
    }

    #[test]
    fn a_body_is_read_as_a_form_only_when_it_says_so() {
        let with = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
            headers
        };
        let form = with("Application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(Parameters::received("", &form, b"a=1").unwrap().get("a"), Some("1"));
        let json = with("application/json");
        assert!(Parameters::received("a=1", &json, b"").is_ok());
        for headers in [json, HeaderMap::new()] {
            let refused = Parameters::received("", &headers, b"{}").unwrap_err();
            assert_eq!((refused, refused.code()), (ParameterError::NotAForm, "InvalidParameter"));
        }
    }

    #[test]
    fn lengths_are_foretold_exactly() {
        for text in ["", "abc", "a b*~/=&%'()!\"{}[]:,", "é中"] {
            let mut once = Vec::new();
            encode_into(&mut once, text.as_bytes());
            assert_eq!(once.len(), encoded_len(text.as_bytes()));
            assert_eq!(once, encode(text).into_bytes());
            let mut twice = Vec::new();
            encode_twice_into(&mut twice, text.as_bytes());
            let mut again = Vec::new();
            encode_into(&mut again, &once);
            assert_eq!(twice, again);
            assert_eq!(needs_encoding(text), once != text.as_bytes());
        }
    }
}
