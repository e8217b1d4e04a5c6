//! The public key that belongs to a private one, as the line of OpenSSH.

use data_encoding::BASE64;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use strongroom_hsm::SecretBytes;

/// Why there is no public key. No variant shows anything of the private one.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublicKeyError {
    /// It asks for a passphrase, which the vault could not give either.
    #[error("the private key is protected by a passphrase: store it without, ssh-keygen -p removes it")]
    Encrypted,
    /// It cannot be read at all.
    #[error("the file is no private key in PEM or OpenSSH form")]
    Unreadable,
    /// It is of a kind that SSH or the vault does not use.
    #[error("the private key is neither RSA nor ECDSA on P-256, P-384 or P-521 nor Ed25519")]
    Unsupported,
}

/// The public key of a private key in OpenSSH's form, PKCS #1, PKCS #8 or SEC 1,
/// as one line with `comment` at its end and no line end.
///
/// # Errors
///
/// [`PublicKeyError`].
pub(super) fn of_private(private: &SecretBytes, comment: &str) -> Result<String, PublicKeyError> {
    let text = str::from_utf8(private.expose()).ok().ok_or(PublicKeyError::Unreadable)?;
    let blob = match text.trim().strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----") {
        Some(rest) => of_openssh(rest)?,
        None if text.contains("ENCRYPTED") => return Err(PublicKeyError::Encrypted),
        None => {
            let key = PKey::private_key_from_pem(private.expose()).ok().ok_or(PublicKeyError::Unreadable)?;
            of_key(&key).ok().flatten().ok_or(PublicKeyError::Unsupported)?
        }
    };
    let kind = field(&blob).and_then(|(kind, _)| str::from_utf8(kind).ok());
    match kind {
        Some(kind @ ("ssh-rsa" | "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521")) => {
            Ok(format!("{kind} {} {comment}", BASE64.encode(&blob)).trim_end().to_owned())
        }
        _ => Err(PublicKeyError::Unsupported),
    }
}

/// The public part of OpenSSH's own form, which stands in it in clear
/// (OpenSSH, PROTOCOL.key section 1).
fn of_openssh(rest: &str) -> Result<Vec<u8>, PublicKeyError> {
    let unreadable = PublicKeyError::Unreadable;
    let Some((body, _)) = rest.split_once("-----END") else { return Err(unreadable) };
    let mut letters = zeroize::Zeroizing::new(Vec::with_capacity(body.len()));
    letters.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let Ok(bytes) = BASE64.decode(&letters).map(zeroize::Zeroizing::new) else { return Err(unreadable) };
    let read = || {
        let (cipher, rest) = field(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
        let (_kdf, rest) = field(rest)?;
        let (_kdf_options, rest) = field(rest)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (public, _) = field(rest)?;
        (*count == [0, 0, 0, 1]).then(|| (cipher == b"none", public.to_vec()))
    };
    match read() {
        Some((true, public)) => Ok(public),
        Some((false, _)) => Err(PublicKeyError::Encrypted),
        None => Err(unreadable),
    }
}

/// The wire form of a public key (RFC 4253 section 6.6, RFC 5656 section 3.1,
/// RFC 8709 section 4); `None` for other kinds.
fn of_key(key: &PKey<Private>) -> Result<Option<Vec<u8>>, ErrorStack> {
    let mut blob = Vec::new();
    match key.id() {
        Id::RSA => {
            let rsa = key.rsa()?;
            put(&mut blob, b"ssh-rsa");
            put_number(&mut blob, &rsa.e().to_vec());
            put_number(&mut blob, &rsa.n().to_vec());
        }
        Id::ED25519 => {
            put(&mut blob, b"ssh-ed25519");
            put(&mut blob, &key.raw_public_key()?);
        }
        Id::EC => {
            let ec = key.ec_key()?;
            let curve = match ec.group().curve_name() {
                Some(Nid::X9_62_PRIME256V1) => "nistp256",
                Some(Nid::SECP384R1) => "nistp384",
                Some(Nid::SECP521R1) => "nistp521",
                _ => return Ok(None),
            };
            let mut context = BigNumContext::new()?;
            let point = ec.public_key().to_bytes(ec.group(), PointConversionForm::UNCOMPRESSED, &mut context)?;
            put(&mut blob, format!("ecdsa-sha2-{curve}").as_bytes());
            put(&mut blob, curve.as_bytes());
            put(&mut blob, &point);
        }
        _ => return Ok(None),
    }
    Ok(Some(blob))
}

/// A length and that many bytes, and what follows (RFC 4251 section 5, `string`).
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn put(blob: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(bytes);
}

/// A positive number (RFC 4251 section 5, `mpint`): a zero byte keeps the sign.
fn put_number(blob: &mut Vec<u8>, magnitude: &[u8]) {
    match magnitude.first() {
        Some(first) if first & 0x80 != 0 => put(blob, &[&[0], magnitude].concat()),
        _ => put(blob, magnitude),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// A key pair of ssh-keygen: the private file, and the public line.
    fn made(folder: &Path, name: &str, arguments: &[&str]) -> (SecretBytes, String) {
        let path = folder.join(name);
        let status = Command::new("ssh-keygen")
            .args(["-q", "-C", "a comment", "-f"])
            .arg(&path)
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        (SecretBytes::copy_of(&fs::read(path).unwrap()), public.trim_end().to_owned())
    }

    #[test]
    fn the_public_line_is_the_one_that_ssh_keygen_writes() {
        let folder = tempfile::tempdir().unwrap();
        for (index, arguments) in [
            &["-t", "ed25519", "-N", ""][..],
            &["-t", "rsa", "-b", "2048", "-N", ""],
            &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"],
            &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PKCS8"],
            &["-t", "ecdsa", "-b", "256", "-N", ""],
            &["-t", "ecdsa", "-b", "256", "-N", "", "-m", "PEM"],
            &["-t", "ecdsa", "-b", "521", "-N", "", "-m", "PKCS8"],
        ]
        .iter()
        .enumerate()
        {
            let (private, public) = made(folder.path(), &format!("key{index}"), arguments);
            assert_eq!(of_private(&private, "a comment").unwrap(), public, "{arguments:?}");
        }
    }

    #[test]
    fn an_ed25519_key_of_openssl_is_read_too() {
        let key = PKey::generate_ed25519().unwrap();
        let line = of_private(&SecretBytes::copy_of(&key.private_key_to_pem_pkcs8().unwrap()), "").unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"), "{line}");
    }

    #[test]
    fn a_key_with_a_passphrase_is_refused_as_such() {
        let folder = tempfile::tempdir().unwrap();
        for (index, format) in ["RFC4716", "PEM", "PKCS8"].iter().enumerate() {
            let arguments = ["-t", "rsa", "-b", "2048", "-N", "passphrase", "-m", format];
            let (private, _) = made(folder.path(), &format!("key{index}"), &arguments);
            assert!(matches!(of_private(&private, ""), Err(PublicKeyError::Encrypted)), "{format}");
        }
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"] {
            let refused = of_private(&SecretBytes::copy_of(text.as_bytes()), "");
            assert!(matches!(refused, Err(PublicKeyError::Unreadable)), "{text:?}");
        }
    }
}
