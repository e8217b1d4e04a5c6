//! Seals a credential to a key pair that the plug-in made for one rotation
//! (cloud-assistant.md section 5.4), for what must not be seen on its way:
//! Windows passwords, and values that a person chose.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::Request;
use crate::model::Timestamp;
use crate::model::rotation::{SealedPayload, SealingKey};

/// How long a key on the instance is relied on after it was told of, in
/// seconds: less than the fifteen minutes that it lives, and by the vault's own
/// clock, because the instance's may be wrong.
const RELIED_SECONDS: i64 = 600;
/// Longest public key, in characters of base64: RSA with 4096 bits takes 736.
const MAX_PUBLIC: usize = 1_024;
/// Digits of a key's name.
const KID_DIGITS: usize = 16;

/// A credential could not be sealed: the key is not one that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("seal a credential to the instance's key")]
pub struct SealingError;

/// The key that a report tells of, if it is one to seal to: RSA with 2048 bits
/// or more, under the name that it must have.
#[must_use]
pub fn sealing_key(public: &str, kid: &str, now: Timestamp) -> Option<SealingKey> {
    if public.len() > MAX_PUBLIC {
        return None;
    }
    let der = BASE64.decode(public.as_bytes()).ok()?;
    let key = PKey::public_key_from_der(&der).ok()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let named = HEXLOWER.encode(digest.as_ref()).get(..KID_DIGITS).is_some_and(|name| name == kid);
    let is_fit = key.rsa().is_ok_and(|rsa| rsa.size() >= 256) && named;
    is_fit.then(|| SealingKey {
        kid: kid.to_owned(),
        public: public.to_owned(),
        expires: now.plus_seconds(RELIED_SECONDS),
    })
}

/// Seals `payload` for `request`, and for no other step, rotation, user or instance.
///
/// # Errors
///
/// [`SealingError`].
pub fn seal(
    key: &SealingKey,
    request: &Request,
    payload: &SecretBytes,
) -> Result<SealedPayload, SealingError> {
    let content_key = SecretBytes::filled(32, aws_lc_rs::rand::fill).ok().ok_or(SealingError)?;
    let mut iv = [0_u8; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut iv).ok().ok_or(SealingError)?;
    // Room for the tag, so that the buffer never grows and leaves a copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(payload.expose().len() + AES_256_GCM.tag_len()));
    content.extend_from_slice(payload.expose());
    let aes = UnboundKey::new(&AES_256_GCM, content_key.expose()).ok().ok_or(SealingError)?;
    let associated = associated_data(request);
    LessSafeKey::new(aes)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(associated.as_bytes()),
            &mut *content,
        )
        .ok()
        .ok_or(SealingError)?;
    Ok(SealedPayload {
        kid: key.kid.clone(),
        ek: BASE64URL_NOPAD.encode(&wrap(key, &content_key)?),
        iv: BASE64URL_NOPAD.encode(&iv),
        ct: BASE64URL_NOPAD.encode(&content),
    })
}

/// RSA-OAEP of the key as text: Cloud Assistant's own facility gives back text only (section 2.8).
fn wrap(key: &SealingKey, content_key: &SecretBytes) -> Result<Vec<u8>, SealingError> {
    let text = Zeroizing::new(BASE64URL_NOPAD.encode(content_key.expose()));
    let wrapped = (|| {
        let public = PKey::public_key_from_der(&BASE64.decode(key.public.as_bytes()).ok()?).ok()?;
        let mut encrypter = Encrypter::new(&public).ok()?;
        encrypter.set_rsa_padding(Padding::PKCS1_OAEP).ok()?;
        encrypter.set_rsa_oaep_md(MessageDigest::sha256()).ok()?;
        encrypter.set_rsa_mgf1_md(MessageDigest::sha256()).ok()?;
        let mut out = vec![0; encrypter.encrypt_len(text.as_bytes()).ok()?];
        let length = encrypter.encrypt(text.as_bytes(), &mut out).ok()?;
        out.truncate(length);
        Some(out)
    })();
    wrapped.ok_or(SealingError)
}

/// What a ciphertext is bound to.
fn associated_data(request: &Request) -> String {
    let kind = match request.kind {
        crate::model::SecretSubType::Password => "password",
        crate::model::SecretSubType::SshKey => "sshkey",
    };
    let user = BASE64URL_NOPAD.encode(request.user.as_str().as_bytes());
    let (op, sid, rid) = (request.op.as_str(), &request.sid, &request.rid);
    let (generation, instance) = (request.generation, &request.instance);
    format!("strongroom-v1|{op}|{sid}|{rid}|{generation}|{instance}|{kind}|{user}")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use openssl::encrypt::Decrypter;
    use openssl::rsa::Rsa;

    use super::super::{Op, Options};
    use super::*;
    use crate::model::{InstanceId, OsUser, RotationId, SecretId, SecretSubType};

    fn request(op: Op) -> Request {
        Request {
            op,
            sid: SecretId::from_random(&[1; 16]),
            rid: RotationId::from_random(&[2; 16]),
            generation: 7,
            attempt: 1,
            instance: InstanceId::parse("i-bp1").unwrap(),
            user: OsUser::parse("root").unwrap(),
            kind: SecretSubType::Password,
            hash: None,
            key: None,
            wants_key: false,
            payload: None,
            remove: Vec::new(),
            options: Options::default(),
        }
    }

    fn pair(bits: u32) -> (PKey<openssl::pkey::Private>, String, String) {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let der = key.public_key_to_der().unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        (key, BASE64.encode(&der), HEXLOWER.encode(digest.as_ref()).chars().take(16).collect())
    }

    #[test]
    fn what_is_sealed_opens_with_the_private_key_and_for_that_request_only() {
        let (private, public, kid) = pair(2048);
        let key = sealing_key(&public, &kid, Timestamp::from_millis(0)).unwrap();
        let sealed = seal(&key, &request(Op::Apply), &SecretBytes::copy_of(b"{\"hash\":\"x\"}")).unwrap();

        let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let mut decrypter = Decrypter::new(&private).unwrap();
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
        decrypter.set_rsa_oaep_md(MessageDigest::sha256()).unwrap();
        decrypter.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        let mut text = vec![0; 256];
        let length = decrypter.decrypt(&part(&sealed.ek), &mut text).unwrap();
        assert_eq!(length, 43);
        let content_key = part(std::str::from_utf8(&text[..length]).unwrap());

        let open = |associated: String| {
            let aes = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).unwrap());
            let nonce = Nonce::try_assume_unique_for_key(&part(&sealed.iv)).unwrap();
            let mut content = part(&sealed.ct);
            aes.open_in_place(nonce, Aad::from(associated.as_bytes()), &mut content).map(|text| text.to_vec())
        };
        assert_eq!(open(associated_data(&request(Op::Apply))).unwrap(), b"{\"hash\":\"x\"}");
        assert!(open(associated_data(&request(Op::Fence))).is_err());
        assert_eq!(
            associated_data(&request(Op::Apply)),
            format!("strongroom-v1|apply|{}|{}|7|i-bp1|password|cm9vdA", "01".repeat(16), "02".repeat(16))
        );
    }

    #[test]
    fn a_key_that_is_weak_or_under_another_name_is_not_sealed_to() {
        let now = Timestamp::from_millis(0);
        let (_, public, kid) = pair(1024);
        assert!(sealing_key(&public, &kid, now).is_none());
        let (_, public, kid) = pair(2048);
        assert!(sealing_key(&public, "0123456789abcdef", now).is_none());
        assert!(sealing_key("AAAA", &kid, now).is_none());
        assert_eq!(sealing_key(&public, &kid, now).unwrap().expires, now.plus_seconds(600));
    }
}
