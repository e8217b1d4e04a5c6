//! The protocol once more, as plainly as it can be written.

/// Names and values, decoded.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The pairs of a query or form in the order in which they stand; `None` for
/// what kms-secrets.md section 2.3 refuses in a single pair.
pub(super) fn pairs(source: &[u8]) -> Option<Pairs> {
    let mut pairs = Vec::new();
    for piece in source.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
        let at = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
        let (name, value) = (unescape(&piece[..at])?, unescape(piece.get(at + 1..).unwrap_or_default())?);
        if name.is_empty() || std::str::from_utf8(&name).is_err() || std::str::from_utf8(&value).is_err() {
            return None;
        }
        pairs.push((name, value));
    }
    Some(pairs)
}

/// Undoes percent-encoding; `+` is a space.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(out)
}

/// RFC 3986 percent-encoding.
pub(super) fn escape(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `name=value` of all pairs in byte order, joined by `&`.
pub(super) fn canonical_query(pairs: &Pairs) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    let lines: Vec<_> =
        sorted.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    lines.join("&")
}
