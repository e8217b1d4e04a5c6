//! Credentials that travel sealed to a key pair made here (contract section
//! 5.4): a random key under RSA-OAEP, the credential under that key with
//! AES-256-GCM, bound to the one request that it belongs to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::crypt::Field;
use crate::key_pair::KeyPair;

/// Length of the key of AES-256, in bytes.
const KEY_BYTES: usize = 32;

/// A sealed credential as it came; every member is base64url but `kid`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    /// Which key pair it is sealed to.
    pub(crate) kid: String,
    /// The text of the random key, sealed.
    ek: String,
    /// The nonce.
    iv: String,
    /// The payload, sealed, with its tag.
    ct: String,
}

/// What is inside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    hash: Field,
}

impl Envelope {
    /// Opens the envelope with the pair that it is sealed to; `bound_to` is
    /// what the request says of itself.
    ///
    /// `None` whatever is wrong with it: which part it was is nobody's concern
    /// who could not have sealed it.
    pub(crate) fn open(&self, pair: &KeyPair, bound_to: &[u8]) -> Option<Field> {
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let text = pair.decrypt(&bytes(&self.ek)?)?;
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        if BASE64URL_NOPAD.decode_len(text.len()).ok()? != key.len() {
            return None;
        }
        BASE64URL_NOPAD.decode_mut(&text, key.as_mut_slice()).ok()?;
        let nonce: [u8; NONCE_LEN] = bytes(&self.iv)?.try_into().ok()?;
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?);
        let mut content = Zeroizing::new(bytes(&self.ct)?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let payload = cipher.open_in_place(nonce, Aad::from(bound_to), &mut content).ok()?;
        let payload: Payload = serde_json::from_slice(payload).ok()?;
        Field::parse_hash(payload.hash.expose())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand;
    use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
    use data_encoding::BASE64;

    use super::*;

    const BOUND: &[u8] = b"strongroom-v1|apply|0|a|1|i-1|password|YW5u";

    fn hash() -> String {
        format!("$6$rounds=65536$saltsaltsaltsalt${}", "a".repeat(86))
    }

    fn seal_key(pair: &KeyPair, text: &[u8]) -> String {
        let public = BASE64.decode(pair.public().as_bytes()).expect("base64");
        let public = PublicEncryptingKey::from_der(&public).expect("a key");
        let public = OaepPublicEncryptingKey::new(public).expect("a key");
        let mut sealed = vec![0; public.ciphertext_size()];
        public.encrypt(&OAEP_SHA256_MGF1SHA256, text, &mut sealed, None).expect("sealed");
        BASE64URL_NOPAD.encode(&sealed)
    }

    fn seal(pair: &KeyPair, payload: &str) -> Envelope {
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key).expect("random bytes");
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key"));
        let mut content = payload.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([7; NONCE_LEN]);
        cipher.seal_in_place_append_tag(nonce, Aad::from(BOUND), &mut content).expect("sealed");
        Envelope {
            kid: pair.kid(),
            ek: seal_key(pair, BASE64URL_NOPAD.encode(&key).as_bytes()),
            iv: BASE64URL_NOPAD.encode(&[7; NONCE_LEN]),
            ct: BASE64URL_NOPAD.encode(&content),
        }
    }

    #[test]
    fn what_was_sealed_is_opened_for_its_own_request_only() {
        let pair = KeyPair::generate(900).expect("a pair");
        let sealed = seal(&pair, &format!(r#"{{"hash":"{}"}}"#, hash()));
        assert_eq!(sealed.open(&pair, BOUND).expect("opened").expose(), hash());
        assert!(sealed.open(&pair, b"strongroom-v1|apply|0|a|2|i-1|password|YW5u").is_none());
        let other = KeyPair::generate(900).expect("a pair");
        assert!(sealed.open(&other, BOUND).is_none());
    }

    #[test]
    fn a_spoiled_envelope_stays_shut_whatever_is_wrong_with_it() {
        let pair = KeyPair::generate(900).expect("a pair");
        let good = seal(&pair, &format!(r#"{{"hash":"{}"}}"#, hash()));
        let spoil = |change: &dyn Fn(&mut Envelope)| {
            let mut envelope = good.clone();
            change(&mut envelope);
            assert!(envelope.open(&pair, BOUND).is_none(), "{envelope:?}");
        };
        let swapped = |text: &str| {
            let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64");
            bytes[0] ^= 1;
            BASE64URL_NOPAD.encode(&bytes)
        };
        spoil(&|envelope| envelope.ct = swapped(&envelope.ct));
        spoil(&|envelope| envelope.ek = swapped(&envelope.ek));
        spoil(&|envelope| envelope.iv = swapped(&envelope.iv));
        spoil(&|envelope| envelope.iv.clear());
        spoil(&|envelope| envelope.ct.clear());
        spoil(&|envelope| envelope.ek.clear());
        spoil(&|envelope| envelope.ct.push('!'));
        spoil(&|envelope| envelope.ek = seal_key(&pair, &[b'A'; 42]));
        spoil(&|envelope| envelope.ek = seal_key(&pair, &[7; KEY_BYTES]));
        spoil(&|envelope| envelope.ek = seal_key(&pair, &[b'A'; 43]));
    }

    #[test]
    fn only_a_hash_that_may_be_set_is_taken_out() {
        let pair = KeyPair::generate(900).expect("a pair");
        for payload in [
            "",
            "{}",
            r#"{"hash":"!"}"#,
            r#"{"hash":"$1$salt$aaaaaaaaaaaaaaaaaaaaaa"}"#,
            r#"{"password":"clear"}"#,
            &format!(r#"{{"hash":"{}","old":"x"}}"#, hash()),
            &format!(r#"{{"hash":"{}\nroot:x"}}"#, hash()),
        ] {
            assert!(seal(&pair, payload).open(&pair, BOUND).is_none(), "{payload}");
        }
    }
}
