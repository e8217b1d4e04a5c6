//! The texts that are signed. Each is written once into a buffer of its final
//! size: it may hold secrets, and a growing buffer would leave copies behind.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use openssl::hash::MessageDigest;
use zeroize::Zeroizing;

use crate::rpc::encoding::{Parameters, encode_into, encode_twice_into, encoded_len};

/// What ends the scope of an ACS4 credential.
pub(super) const ACS4_REQUEST: &str = "aliyun_v4_request";

/// The V1 parameter that is not signed.
pub(super) const V1_SIGNATURE: &str = "Signature";

/// The string that V1 signs (kms-secrets.md section 2.4): all parameters of
/// query and form, without `Signature`.
///
/// Encoding twice in one pass saves the intermediate query string. One allocation.
pub(super) fn v1_string_to_sign(method: &str, path: &str, parameters: &Parameters) -> Zeroizing<Vec<u8>> {
    let signed = || parameters.iter().filter(|(name, _)| *name != V1_SIGNATURE);
    let length = method.len() + 2 + encoded_len(path.as_bytes()) + parameters.max_twice_encoded_len();
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    out.extend_from_slice(method.as_bytes());
    out.push(b'&');
    encode_into(&mut out, path.as_bytes());
    out.push(b'&');
    for (index, (name, value)) in signed().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"%26");
        }
        encode_twice_into(&mut out, name.as_bytes());
        out.extend_from_slice(b"%3D");
        encode_twice_into(&mut out, value.as_bytes());
    }
    out
}

/// How parameter names stand in the canonical query string: the Python SDK does
/// not encode them (kms-secrets.md section 2.5, quirk).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Encoded,
    Raw,
}

/// What the header schemes sign. The functions give the same sequence each time.
pub(super) struct HeaderRequest<'a, Q, H> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The parameters of the query, in byte order of the names.
    pub(super) query: Q,
    /// The signed headers in order, values trimmed.
    pub(super) headers: H,
    /// Their names joined by `;`.
    pub(super) signed_headers: &'a str,
    /// Hexadecimal hash of the body.
    pub(super) body_hash: &'a str,
}

impl<'a, Q, H, Qi, Hi> HeaderRequest<'a, Q, H>
where
    Q: Fn() -> Qi,
    Qi: Iterator<Item = (&'a str, &'a str)>,
    H: Fn() -> Hi,
    Hi: Iterator<Item = (&'a str, &'a [u8])>,
{
    /// The canonical request (kms-secrets.md section 2.5). One allocation.
    pub(super) fn canonical(&self, names: Names) -> Zeroizing<Vec<u8>> {
        let query: usize = (self.query)()
            .map(|(name, value)| 2 + encoded_len(name.as_bytes()) + encoded_len(value.as_bytes()))
            .sum();
        let headers: usize = (self.headers)().map(|(name, value)| name.len() + value.len() + 2).sum();
        let length = self.method.len()
            + self.path.len()
            + query
            + headers
            + self.signed_headers.len()
            + self.body_hash.len()
            + 5;
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        for line in [self.method, self.path] {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        for (index, (name, value)) in (self.query)().enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            match names {
                Names::Encoded => encode_into(&mut out, name.as_bytes()),
                Names::Raw => out.extend_from_slice(name.as_bytes()),
            }
            out.push(b'=');
            encode_into(&mut out, value.as_bytes());
        }
        out.push(b'\n');
        for (name, value) in (self.headers)() {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(self.signed_headers.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.body_hash.as_bytes());
        out
    }
}

/// The hash of a header scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sm3,
}

impl Hash {
    /// Lower-case hexadecimal hash of `data`; `None` when the library refuses
    /// the algorithm, as OpenSSL in FIPS mode does with SM3.
    pub(super) fn hex(self, data: &[u8]) -> Option<HexHash> {
        const EMPTY: [u8; 64] = *b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let mut text = [0; 64];
        match self {
            Self::Sha256 if data.is_empty() => text = EMPTY,
            Self::Sha256 => {
                HEXLOWER.encode_mut(digest::digest(&digest::SHA256, data).as_ref(), &mut text);
            }
            Self::Sm3 => {
                let hash = openssl::hash::hash(MessageDigest::sm3(), data).ok()?;
                if hash.len() != 32 {
                    return None;
                }
                HEXLOWER.encode_mut(&hash, &mut text);
            }
        }
        Some(HexHash(text))
    }
}

/// 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HexHash([u8; 64]);

impl HexHash {
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_of_v1_is_the_encoding_of_an_encoding() {
        let parameters = Parameters::parse("b=x+y%26&Signature=zz&a=", b"c=%2A").unwrap();
        let text = v1_string_to_sign("POST", "/", &parameters);
        assert_eq!(*text, b"POST&%2F&a%3D%26b%3Dx%2520y%2526%26c%3D%252A");
    }

    #[test]
    fn the_buffer_of_the_string_is_never_outgrown() {
        for (query, form) in [("a=1", ""), ("a=%25%25%25&b", "c=%C3%A9"), ("é=é", "x==="), ("", "x=+")] {
            let parameters = Parameters::parse(query, form.as_bytes()).unwrap();
            let text = v1_string_to_sign("POST", "/", &parameters);
            assert!(text.len() <= 4 + 2 + 3 + parameters.max_twice_encoded_len());
        }
    }

    #[test]
    fn a_canonical_request_ends_its_headers_with_an_empty_line() {
        let request = HeaderRequest {
            method: "POST",
            path: "/",
            query: || [("a b", "c d")].into_iter(),
            headers: || [("host", b"h:1".as_slice())].into_iter(),
            signed_headers: "host",
            body_hash: "00",
        };
        assert_eq!(*request.canonical(Names::Encoded), b"POST\n/\na%20b=c%20d\nhost:h:1\n\nhost\n00");
        assert_eq!(*request.canonical(Names::Raw), b"POST\n/\na b=c%20d\nhost:h:1\n\nhost\n00");
    }

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        let empty = Hash::Sha256.hex(b"").unwrap();
        assert_eq!(
            HEXLOWER.decode(empty.as_str().as_bytes()).unwrap(),
            digest::digest(&digest::SHA256, b"").as_ref()
        );
        // GB/T 32905-2016 appendix A.1.
        assert_eq!(
            Hash::Sm3.hex(b"abc").unwrap().as_str(),
            "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
        );
    }
}
