//! The public key that belongs to a private one, as the line of OpenSSH.

use openssl::pkey::PKey;
use ssh_key::public::KeyData;
use ssh_key::{PrivateKey, PublicKey};
use strongroom_hsm::SecretBytes;

use crate::rotation::openssh_public_key;

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
    let public = if text.contains("BEGIN OPENSSH PRIVATE KEY") {
        let key = PrivateKey::from_openssh(text).ok().ok_or(PublicKeyError::Unreadable)?;
        if key.is_encrypted() {
            return Err(PublicKeyError::Encrypted);
        }
        key.public_key().key_data().clone()
    } else if text.contains("ENCRYPTED") {
        return Err(PublicKeyError::Encrypted);
    } else {
        let key = PKey::private_key_from_pem(private.expose()).ok().ok_or(PublicKeyError::Unreadable)?;
        openssh_public_key(&key).ok_or(PublicKeyError::Unsupported)?.key_data().clone()
    };
    if !matches!(public, KeyData::Rsa(_) | KeyData::Ecdsa(_) | KeyData::Ed25519(_)) {
        return Err(PublicKeyError::Unsupported);
    }
    let line = PublicKey::new(public, comment).to_openssh().ok().ok_or(PublicKeyError::Unsupported)?;
    Ok(line.trim_end().to_owned())
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
        for text in
            ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
        {
            let refused = of_private(&SecretBytes::copy_of(text.as_bytes()), "");
            assert!(matches!(refused, Err(PublicKeyError::Unreadable)), "{text:?}");
        }
    }
}
