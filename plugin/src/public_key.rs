//! SSH public keys as requests carry them, and the fingerprints by which all
//! keys are told apart.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};

/// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
///
/// The blob names its own type, so equal fingerprints mean equal type and key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a decoded key.
    pub(crate) fn of(blob: &[u8]) -> Self {
        Self(format!("SHA256:{}", BASE64_NOPAD.encode(digest::digest(&digest::SHA256, blob).as_ref())))
    }

    /// Reads a fingerprint; `None` unless it is one of SHA-256.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digest = BASE64_NOPAD.decode(text.strip_prefix("SHA256:")?.as_bytes()).ok()?;
        (digest.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One plain public key: ssh-rsa, ssh-ed25519 or ecdsa-sha2-nistp256/384/521.
///
/// Certificates, `sk-` keys, options and comments never get this far, and what
/// is written to a file is [`line`](Self::line), made here from the decoded
/// key, never the text that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    kind: &'static str,
    blob: Vec<u8>,
}

impl PublicKey {
    /// Reads one line `type base64 [comment]`; `None` if it is anything else.
    ///
    /// The decoded key must be of the type that stands before it and complete
    /// to the last byte (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709
    /// section 4). RSA keys have 2048 to 16384 bits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return None;
        }
        let mut words = text.split(' ');
        let outer = words.next()?;
        let kind = *KINDS.iter().find(|kind| **kind == outer)?;
        let blob = BASE64.decode(words.next()?.as_bytes()).ok()?;
        is_complete(kind, &blob).then_some(Self { kind, blob })
    }

    /// The key in a decoded blob, by the same rules.
    pub(crate) fn from_blob(blob: &[u8]) -> Option<Self> {
        let inner = inner_kind(blob)?;
        let kind = *KINDS.iter().find(|kind| **kind == inner)?;
        let blob = blob.to_vec();
        is_complete(kind, &blob).then_some(Self { kind, blob })
    }

    /// The length of an RSA key in bits; none for other keys.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        let (kind, rest) = take_string(&self.blob)?;
        let (_, rest) = take_string(rest)?;
        let (modulus, _) = take_string(rest)?;
        (kind == b"ssh-rsa").then(|| rsa_bits(modulus))?
    }

    /// The type, such as `ssh-rsa`.
    pub(crate) const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Type and base64, one blank between, no comment.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.kind, BASE64.encode(&self.blob))
    }

    /// The key's fingerprint.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.blob)
    }
}

const KINDS: [&str; 5] =
    ["ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// The type that a decoded key names in its first string (RFC 4253 section 6.6).
pub(crate) fn inner_kind(blob: &[u8]) -> Option<&str> {
    let (kind, _) = take_string(blob)?;
    std::str::from_utf8(kind).ok()
}

fn is_complete(kind: &str, blob: &[u8]) -> bool {
    let read = || {
        let (inner, rest) = take_string(blob)?;
        if inner != kind.as_bytes() {
            return None;
        }
        let (first, rest) = take_string(rest)?;
        if kind == "ssh-ed25519" {
            return Some(first.len() == 32 && rest.is_empty());
        }
        let (second, rest) = take_string(rest)?;
        let sound = match kind {
            "ssh-rsa" => {
                is_positive(first) && rsa_bits(second).is_some_and(|bits| (2_048..=16_384).contains(&bits))
            }
            curve => {
                let (name, point) = match curve {
                    "ecdsa-sha2-nistp256" => ("nistp256", 65),
                    "ecdsa-sha2-nistp384" => ("nistp384", 97),
                    _ => ("nistp521", 133),
                };
                // 4: the uncompressed form, the only one that OpenSSH takes.
                first == name.as_bytes() && second.len() == point && second.first() == Some(&4)
            }
        };
        Some(sound && rest.is_empty())
    };
    read().unwrap_or(false)
}

/// A string of RFC 4251 section 5, and what follows it.
fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

/// Whether an mpint of RFC 4251 section 5 is above zero and written shortest.
fn is_positive(mpint: &[u8]) -> bool {
    match mpint {
        [] => false,
        [0, next, ..] => next & 0x80 != 0,
        [first, ..] => first & 0x80 == 0 && *first != 0,
    }
}

fn rsa_bits(modulus: &[u8]) -> Option<usize> {
    if !is_positive(modulus) {
        return None;
    }
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = usize::try_from(digits.first()?.leading_zeros()).ok()?;
    Some(digits.len() * 8 - unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

    fn blob(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
            bytes.extend(*part);
        }
        bytes
    }

    fn line(outer: &str, parts: &[&[u8]]) -> String {
        format!("{outer} {}", BASE64.encode(&blob(parts)))
    }

    fn modulus(bits: usize) -> Vec<u8> {
        let mut digits = vec![0u8];
        digits.extend(vec![0xc3; bits / 8]);
        digits
    }

    #[test]
    fn plain_keys_are_accepted_and_written_without_their_comment() {
        let point = |length: usize| {
            let mut point = vec![9; length];
            point[0] = 4;
            point
        };
        for key in [
            ED25519.to_owned(),
            line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &modulus(2048)]),
            line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp256", &point(65)]),
            line("ecdsa-sha2-nistp384", &[b"ecdsa-sha2-nistp384", b"nistp384", &point(97)]),
            line("ecdsa-sha2-nistp521", &[b"ecdsa-sha2-nistp521", b"nistp521", &point(133)]),
        ] {
            let commented = format!("{key} someone@somewhere else");
            let read = PublicKey::parse(&commented).expect("a key");
            assert_eq!(read.line(), key);
            assert_eq!(PublicKey::from_blob(&read.blob).as_ref(), Some(&read));
            let bits = (read.kind() == "ssh-rsa").then_some(2048);
            assert_eq!(read.rsa_bits(), bits);
        }
    }

    #[test]
    fn what_is_not_one_plain_key_is_refused() {
        let rsa = line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &modulus(2048)]);
        for text in [
            String::new(),
            "ssh-rsa".to_owned(),
            "ssh-rsa AAAA".to_owned(),
            format!("{ED25519}\n{ED25519}"),
            format!("{ED25519}\r"),
            format!("restrict {ED25519}"),
            format!("cert-authority {ED25519}"),
            format!("command=\"x\" {ED25519}"),
            format!(" {ED25519}"),
            ED25519.replace("ssh-ed25519 ", "ssh-rsa "),
            ED25519.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
            format!("{ED25519}AA"),
            line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &modulus(1024)]),
            line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &modulus(2048), b"more"]),
            line("ssh-rsa", &[b"ssh-rsa", &[], &modulus(2048)]),
            line("ssh-rsa", &[b"ssh-ed25519", &[1; 32]]),
            line("ssh-dss", &[b"ssh-dss", &[1; 32]]),
            line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp384", &[4; 65]]),
            line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp256", &[3; 65]]),
            line("sk-ssh-ed25519@openssh.com", &[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"ssh:"]),
            rsa.replace("ssh-rsa ", "ssh-rsa\t"),
            rsa.trim_end_matches('=').trim_end_matches(char::is_alphanumeric).to_owned(),
        ] {
            assert!(PublicKey::parse(&text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let key = PublicKey::parse(ED25519).expect("a key");
        let fingerprint = key.fingerprint();
        assert_eq!(Fingerprint::parse(fingerprint.as_str()), Some(fingerprint.clone()));
        for bad in ["", "SHA256:", "MD5:00", "SHA256:AAAA", &format!("{fingerprint}=")] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
}
