//! Sealed tickets: texts that a client keeps for the appliance, which alone can
//! read and make them. Session tokens are such texts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::{Integrity, SealError};

/// What the first byte of a ticket says: how it is made.
const FORM: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Associated data, so that no other use of the key shares it.
const DOMAIN: &[u8] = b"strongroom session token v1";

const LETTERS_AND_DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes and opens tickets. Its keys are derived from the one that guards rows,
/// and with it in the token: whoever copies the disk can make none.
pub struct Tickets {
    key: RandomizedNonceKey,
    secrets: hmac::Key,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// The tickets of the vault whose rows `integrity` guards.
    ///
    /// # Errors
    ///
    /// [`SealError::Local`] when the keys cannot be prepared.
    pub fn new(integrity: &Integrity) -> Result<Self, SealError> {
        let sealing = integrity.subkey(b"strongroom session token key v1");
        let key = RandomizedNonceKey::new(&AES_256_GCM, sealing.as_ref()).ok().ok_or(SealError::Local)?;
        let secrets = integrity.subkey(b"strongroom session secret key v1");
        Ok(Self { key, secrets: hmac::Key::new(hmac::HMAC_SHA512, secrets.as_ref()) })
    }

    /// The ticket that says `text`: letters, digits, `-` and `_`, four for three
    /// bytes of the text and 29 more.
    ///
    /// # Errors
    ///
    /// [`SealError::Local`] without random numbers.
    pub fn seal(&self, text: &[u8]) -> Result<Zeroizing<String>, SealError> {
        let mut body = Zeroizing::new(Vec::with_capacity(text.len() + TAG));
        body.extend_from_slice(text);
        let sealed = self.key.seal_in_place_append_tag(Aad::from(DOMAIN), &mut *body);
        let nonce = sealed.ok().ok_or(SealError::Local)?;
        let ticket = [&[FORM][..], nonce.as_ref(), &body].concat();
        Ok(Zeroizing::new(BASE64URL_NOPAD.encode(&ticket)))
    }

    /// What a ticket says.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAuthentic`] for anything that this vault did not seal.
    pub fn open(&self, ticket: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let bytes = BASE64URL_NOPAD.decode(ticket.as_bytes()).ok().ok_or(SealError::NotAuthentic)?;
        let (form, rest) = bytes.split_first().ok_or(SealError::NotAuthentic)?;
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or(SealError::NotAuthentic)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok().ok_or(SealError::NotAuthentic)?;
        if *form != FORM {
            return Err(SealError::NotAuthentic);
        }
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self.key.open_in_place(nonce, Aad::from(DOMAIN), &mut body);
        let length = opened.ok().ok_or(SealError::NotAuthentic)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// The secret that belongs to `name`, always the same: `length` letters and
    /// digits, 44 at most.
    ///
    /// # Errors
    ///
    /// [`SealError::Local`] when the bytes of the derivation do not suffice,
    /// which for 44 of 64 does not happen.
    pub fn secret(&self, name: &str, length: usize) -> Result<SecretBytes, SealError> {
        let derived = hmac::sign(&self.secrets, name.as_bytes());
        // 248 is the largest multiple of 62 in a byte: what lies above is left out.
        let mut letters = derived
            .as_ref()
            .iter()
            .filter(|byte| **byte < 248)
            .filter_map(|byte| LETTERS_AND_DIGITS.get(usize::from(byte % 62)));
        SecretBytes::filled(length, |out| {
            for slot in out {
                *slot = *letters.next().ok_or(SealError::Local)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(key: &[u8]) -> Tickets {
        Tickets::new(&Integrity::of(key)).unwrap()
    }

    #[test]
    fn a_ticket_opens_for_its_vault_alone_and_not_when_any_of_it_was_changed() {
        let (ours, other) = (tickets(b"a"), tickets(b"b"));
        let ticket = ours.seal(b"text").unwrap();
        assert_eq!(ours.open(&ticket).unwrap().as_slice(), b"text");
        assert_ne!(*ticket, *ours.seal(b"text").unwrap(), "no two are alike");
        assert!(other.open(&ticket).is_err());
        for at in 0..ticket.len() {
            let mut spoiled = ticket.as_bytes().to_vec();
            spoiled[at] = if spoiled[at] == b'A' { b'B' } else { b'A' };
            assert!(ours.open(str::from_utf8(&spoiled).unwrap()).is_err(), "{at}");
        }
        let (_, without_head) = ticket.split_at(1);
        let (without_tail, _) = ticket.split_at(ticket.len() - 1);
        for bad in ["", "A", "AQ", "*", without_head, without_tail] {
            assert!(ours.open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_letters_and_digits_that_name_and_vault_decide() {
        let ours = tickets(b"a");
        for number in 0..1_000 {
            let name = format!("STS.{number}");
            let secret = ours.secret(&name, 44).unwrap();
            assert_eq!(secret.len(), 44);
            assert!(secret.expose().iter().all(u8::is_ascii_alphanumeric));
            assert!(secret.matches(ours.secret(&name, 44).unwrap().expose()));
            assert!(!secret.matches(tickets(b"b").secret(&name, 44).unwrap().expose()));
            assert!(!secret.matches(ours.secret("STS.", 44).unwrap().expose()));
        }
    }
}
