//! What a rotation puts in force: passwords and keys, and the form in which
//! the instance hears of them (cloud-assistant.md section 4.1).

use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use serde::Serialize;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{HashAlg, LineEnding, Mpint, PrivateKey, PublicKey};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use crate::model::{OsFamily, OsUser, SecretName, SecretSubType};

/// No credential could be made: no random numbers, or a library refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("make a new credential")]
pub struct MaterialError;

/// Characters of a generated password. Of the punctuation only what neither
/// shells nor YAML nor `chpasswd` give a meaning to in the middle of a word.
const CLASSES: [&str; 4] =
    ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789", "-_.+=@,"];
/// Length of a generated password, as KMS makes them (kms-secrets.md section 6.4).
const PASSWORD_LENGTH: usize = 32;
/// Rounds of the crypt(3) hash (cloud-assistant.md section 4.2).
const CRYPT_ROUNDS: usize = 65_536;
/// How often a password is drawn anew before its rule is called impossible.
const DRAWS: usize = 100_000;

/// The kind of SSH key that rotations make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// Ed25519 (RFC 8709); needs OpenSSH 6.5 or later.
    Ed25519,
    /// RSA with 2048 bits, as KMS makes them.
    #[default]
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// How a password is drawn: uniformly from classes of characters.
#[derive(Debug, Clone)]
pub struct PasswordRule {
    length: usize,
    classes: Vec<Vec<u8>>,
    each: bool,
}

impl PasswordRule {
    /// Passwords of `length` characters out of `classes` (ASCII, none of them
    /// empty), with at least one of each when `each` is set. `None` when there
    /// is nothing to draw from, or no room for one of each.
    #[must_use]
    pub fn new(length: usize, classes: Vec<String>, each: bool) -> Option<Self> {
        let fits = !classes.is_empty()
            && classes.iter().all(|c| !c.is_empty() && c.is_ascii())
            && (1..=1_024).contains(&length)
            && (!each || classes.len() <= length);
        fits.then(|| Self { length, classes: classes.into_iter().map(String::into_bytes).collect(), each })
    }

    /// Draws one. All passwords that fit are equally likely: what does not fit
    /// is drawn anew as a whole.
    ///
    /// # Errors
    ///
    /// [`MaterialError`] when there are no random numbers.
    pub fn password(&self) -> Result<SecretBytes, MaterialError> {
        self.password_that(|_| true)
    }

    fn password_that(&self, fits: impl Fn(&[u8]) -> bool) -> Result<SecretBytes, MaterialError> {
        let alphabet: Vec<u8> = self.classes.concat();
        for _ in 0..DRAWS {
            let drawn = SecretBytes::filled(self.length, |out| {
                out.iter_mut().try_for_each(|slot| uniform(&alphabet).map(|byte| *slot = byte))
            })?;
            let text = drawn.expose();
            let each = !self.each || self.classes.iter().all(|class| text.iter().any(|b| class.contains(b)));
            if each && fits(text) {
                return Ok(drawn);
            }
        }
        Err(MaterialError)
    }
}

/// One of `choices`, each equally likely.
fn uniform(choices: &[u8]) -> Result<u8, MaterialError> {
    let count = u8::try_from(choices.len()).ok().filter(|n| *n > 0).ok_or(MaterialError)?;
    let limit = u8::MAX - u8::MAX % count;
    loop {
        let mut byte = [0_u8];
        aws_lc_rs::rand::fill(&mut byte).ok().ok_or(MaterialError)?;
        let [byte] = byte;
        if byte < limit {
            return choices.get(usize::from(byte % count)).copied().ok_or(MaterialError);
        }
    }
}

/// A new credential.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The secret's value: the JSON that GetSecretValue gives.
    pub(super) value: SecretBytes,
    /// What the instance is told: a crypt(3) hash, or a public key; or what is
    /// sealed to it, as JSON (cloud-assistant.md section 5.4).
    pub(super) told: SecretBytes,
    /// That must not be seen on its way.
    pub(super) is_secret: bool,
    /// What the instance must prove.
    pub(super) proof: String,
    /// For a key its fingerprint.
    pub(super) fingerprint: Option<String>,
}

/// A value that the caller of RotateSecret chose, checked already: of the
/// secret's kind, for its user, and within the rules of the operating system.
#[derive(Debug)]
pub enum Chosen {
    /// The password.
    Password(SecretBytes),
    /// The key pair: the value to be stored, and the public key in OpenSSH's form.
    SshKey {
        /// `SecretData` as it will be given out.
        value: SecretBytes,
        /// `<type> <base64>`.
        public: String,
    },
}

/// What a candidate is made for.
#[derive(Debug, Clone)]
pub(super) struct Purpose {
    pub(super) kind: SecretSubType,
    pub(super) os: OsFamily,
    pub(super) key_type: KeyType,
    pub(super) user: OsUser,
    pub(super) name: SecretName,
}

/// Makes the credential of one rotation, or takes the one that was chosen.
/// Takes up to a second of processor time: to be called where blocking is allowed.
pub(super) fn candidate(purpose: &Purpose, chosen: Option<Chosen>) -> Result<Candidate, MaterialError> {
    match (purpose.kind, chosen) {
        (SecretSubType::Password, None) => {
            let password = generated(&purpose.user)?;
            password_candidate(purpose, &password, false)
        }
        (SecretSubType::Password, Some(Chosen::Password(password))) => {
            password_candidate(purpose, &password, true)
        }
        (SecretSubType::SshKey, None) => ssh_key(purpose.key_type, &purpose.user, &purpose.name),
        (SecretSubType::SshKey, Some(Chosen::SshKey { value, public })) => {
            let key = PublicKey::from_openssh(&public).ok().ok_or(MaterialError)?;
            key_candidate(value, &key)
        }
        (SecretSubType::Password, Some(Chosen::SshKey { .. }))
        | (SecretSubType::SshKey, Some(Chosen::Password(_))) => Err(MaterialError),
    }
}

fn json(value: &impl Serialize) -> Result<SecretBytes, MaterialError> {
    // Room for everything, so that the buffer never grows and leaves copies behind.
    let mut out = Vec::with_capacity(16 * 1_024);
    serde_json::to_writer(&mut out, value).ok().ok_or(MaterialError)?;
    Ok(SecretBytes::from_vec(out))
}

/// A new password by the rules of cloud-assistant.md section 4.1.
fn generated(user: &OsUser) -> Result<SecretBytes, MaterialError> {
    let rule =
        PasswordRule::new(PASSWORD_LENGTH, CLASSES.map(str::to_owned).to_vec(), true).ok_or(MaterialError)?;
    let name = user.as_str().to_ascii_lowercase();
    rule.password_that(|text| {
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let holds_name = name.len() > 2 && lower.windows(name.len()).any(|w| w == name.as_bytes());
        text.first().is_some_and(u8::is_ascii_alphabetic) && !holds_name
    })
}

/// What the vault keeps of a password, and what the instance hears of it.
///
/// The hash of a generated password is useless to a thief. One that a person
/// chose could be found from its hash, so that goes sealed; and Windows takes
/// nothing but the password itself.
fn password_candidate(
    purpose: &Purpose,
    password: &SecretBytes,
    is_chosen: bool,
) -> Result<Candidate, MaterialError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Value<'a> {
        user_name: &'a OsUser,
        password: &'a str,
    }
    #[derive(Serialize)]
    struct ForLinux<'a> {
        hash: &'a str,
    }
    #[derive(Serialize)]
    struct ForWindows<'a> {
        password: &'a str,
        token: &'a str,
    }
    let text = str::from_utf8(password.expose()).ok().ok_or(MaterialError)?;
    let value = json(&Value { user_name: &purpose.user, password: text })?;
    let (told, proof) = match purpose.os {
        OsFamily::Linux => {
            let hash = crypt_hash(password)?;
            let proof = sha256(hash.expose());
            let hash_text = str::from_utf8(hash.expose()).ok().ok_or(MaterialError)?;
            (if is_chosen { json(&ForLinux { hash: hash_text })? } else { hash }, proof)
        }
        OsFamily::Windows => {
            // Whoever can show the token's digest has opened what was sealed,
            // the password in it included; the digest tells nothing of either.
            let mut token = Zeroizing::new([0_u8; 32]);
            aws_lc_rs::rand::fill(&mut *token).ok().ok_or(MaterialError)?;
            let token = Zeroizing::new(data_encoding::HEXLOWER.encode(&*token));
            (json(&ForWindows { password: text, token: &token })?, sha256(token.as_bytes()))
        }
    };
    let is_secret = is_chosen || purpose.os == OsFamily::Windows;
    Ok(Candidate { value, told, is_secret, proof, fingerprint: None })
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// `$6$rounds=65536$<16 characters of salt>$…`, understood by every libc
/// (cloud-assistant.md section 4.2).
fn crypt_hash(password: &SecretBytes) -> Result<SecretBytes, MaterialError> {
    const SALT: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut salt = [0_u8; 16];
    salt.iter_mut().try_for_each(|slot| uniform(SALT).map(|byte| *slot = byte))?;
    let params = sha_crypt::Sha512Params::new(CRYPT_ROUNDS).ok().ok_or(MaterialError)?;
    let hash = sha_crypt::sha512_crypt_b64(password.expose(), &salt, &params).ok().ok_or(MaterialError)?;
    let hash = Zeroizing::new(hash);
    let salt = str::from_utf8(&salt).ok().ok_or(MaterialError)?;
    let text = Zeroizing::new(format!("$6$rounds={CRYPT_ROUNDS}${salt}${}", *hash));
    Ok(SecretBytes::copy_of(text.as_bytes()))
}

fn ssh_key(key_type: KeyType, user: &OsUser, name: &SecretName) -> Result<Candidate, MaterialError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Value<'a> {
        user_name: &'a OsUser,
        public_key: &'a str,
        private_key: &'a str,
    }
    let (public, pem) = match key_type {
        KeyType::Ed25519 => ed25519(name)?,
        KeyType::Rsa2048 => rsa(2048)?,
        KeyType::Rsa4096 => rsa(4096)?,
    };
    let public = PublicKey::new(public, name.as_str());
    let line = public.to_openssh().ok().ok_or(MaterialError)?;
    let pem_text = str::from_utf8(pem.expose()).ok().ok_or(MaterialError)?;
    key_candidate(json(&Value { user_name: user, public_key: &line, private_key: pem_text })?, &public)
}

/// The instance hears of the public key, without its comment.
fn key_candidate(value: SecretBytes, public: &PublicKey) -> Result<Candidate, MaterialError> {
    let told = PublicKey::new(public.key_data().clone(), "").to_openssh().ok().ok_or(MaterialError)?;
    let fingerprint = public.fingerprint(HashAlg::Sha256).to_string();
    Ok(Candidate {
        value,
        told: SecretBytes::copy_of(told.trim_end().as_bytes()),
        is_secret: false,
        proof: fingerprint.clone(),
        fingerprint: Some(fingerprint),
    })
}

fn rsa(bits: u32) -> Result<(KeyData, SecretBytes), MaterialError> {
    let rsa = Rsa::generate(bits).ok().ok_or(MaterialError)?;
    // PKCS#1 (`BEGIN RSA PRIVATE KEY`), which every SSH client reads.
    let pem = SecretBytes::from_vec(rsa.private_key_to_pem().ok().ok_or(MaterialError)?);
    let key = PKey::from_rsa(rsa).ok().ok_or(MaterialError)?;
    let public = openssh_public_key(&key).ok_or(MaterialError)?;
    Ok((public.key_data().clone(), pem))
}

fn ed25519(name: &SecretName) -> Result<(KeyData, SecretBytes), MaterialError> {
    let key = PKey::generate_ed25519().ok().ok_or(MaterialError)?;
    let seed = Zeroizing::new(key.raw_private_key().ok().ok_or(MaterialError)?);
    let public = key.raw_public_key().ok().ok_or(MaterialError)?;
    let seed: &[u8; 32] = seed.as_slice().try_into().ok().ok_or(MaterialError)?;
    let public: [u8; 32] = public.as_slice().try_into().ok().ok_or(MaterialError)?;
    let pair =
        Ed25519Keypair { public: Ed25519PublicKey(public), private: Ed25519PrivateKey::from_bytes(seed) };
    let private = PrivateKey::new(KeypairData::Ed25519(pair), name.as_str()).ok().ok_or(MaterialError)?;
    // The only form in which OpenSSH itself reads Ed25519 private keys.
    let pem = private.to_openssh(LineEnding::LF).ok().ok_or(MaterialError)?;
    Ok((private.public_key().key_data().clone(), SecretBytes::copy_of(pem.as_bytes())))
}

/// The public half of a private key as SSH writes it; `None` for kinds that
/// OpenSSH has no name for.
#[must_use]
pub fn openssh_public_key(key: &PKey<Private>) -> Option<PublicKey> {
    let data = match key.id() {
        Id::RSA => {
            let rsa = key.rsa().ok()?;
            let number = |n: &openssl::bn::BigNumRef| Mpint::from_positive_bytes(&n.to_vec()).ok();
            KeyData::Rsa(RsaPublicKey { e: number(rsa.e())?, n: number(rsa.n())? })
        }
        Id::ED25519 => KeyData::Ed25519(Ed25519PublicKey(key.raw_public_key().ok()?.try_into().ok()?)),
        Id::EC => {
            let ec = key.ec_key().ok()?;
            let mut context = openssl::bn::BigNumContext::new().ok()?;
            let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
            let point = ec.public_key().to_bytes(ec.group(), form, &mut context).ok()?;
            KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(&point).ok()?)
        }
        _ => return None,
    };
    Some(PublicKey::from(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> OsUser {
        OsUser::parse("root").unwrap()
    }

    fn purpose(os: OsFamily) -> Purpose {
        let (kind, key_type) = (SecretSubType::Password, KeyType::Ed25519);
        Purpose { kind, os, key_type, user: user(), name: name() }
    }

    #[test]
    fn what_a_person_chose_and_what_windows_takes_travels_sealed_only() {
        let chosen = || Some(Chosen::Password(SecretBytes::copy_of(b"Correct-Horse-9")));
        let generated = candidate(&purpose(OsFamily::Linux), None).unwrap();
        assert!(!generated.is_secret && generated.told.expose().starts_with(b"$6$"));
        let made = candidate(&purpose(OsFamily::Linux), chosen()).unwrap();
        let told: serde_json::Value = serde_json::from_slice(made.told.expose()).unwrap();
        assert!(made.is_secret && made.proof == sha256(told["hash"].as_str().unwrap().as_bytes()));
        let made = candidate(&purpose(OsFamily::Windows), chosen()).unwrap();
        let told: serde_json::Value = serde_json::from_slice(made.told.expose()).unwrap();
        assert!(made.is_secret && told["password"] == "Correct-Horse-9");
        assert_eq!(made.proof, sha256(told["token"].as_str().unwrap().as_bytes()));
        assert!(candidate(&purpose(OsFamily::Windows), None).unwrap().is_secret);
    }

    fn name() -> SecretName {
        SecretName::parse("acs/ecs/web").unwrap()
    }

    #[test]
    fn generated_passwords_have_every_class_begin_with_a_letter_and_never_repeat() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let made = candidate(&purpose(OsFamily::Linux), None).unwrap();
            let value: serde_json::Value = serde_json::from_slice(made.value.expose()).unwrap();
            let text = value["Password"].as_str().unwrap().to_owned();
            assert_eq!(text.len(), 32);
            assert!(text.starts_with(|c: char| c.is_ascii_alphabetic()));
            for class in CLASSES {
                assert!(text.contains(|c| class.contains(c)), "{class}");
            }
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn every_character_of_the_alphabet_is_about_equally_frequent() {
        let rule = PasswordRule::new(128, vec!["abcdefg".to_owned()], false).unwrap();
        let mut counts = [0_u32; 7];
        for _ in 0..500 {
            for byte in rule.password().unwrap().expose() {
                counts[usize::from(byte - b'a')] += 1;
            }
        }
        let mean = 64_000 / 7;
        assert!(counts.iter().all(|c| c.abs_diff(mean) < mean / 10), "{counts:?}");
    }

    #[test]
    fn the_hash_is_one_that_crypt_makes_of_the_password() {
        let password = SecretBytes::copy_of(b"Passw0rd-x");
        let hash = crypt_hash(&password).unwrap();
        let text = std::str::from_utf8(hash.expose()).unwrap().to_owned();
        let salt = text.split('$').nth(3).unwrap();
        assert_eq!(salt.len(), 16);
        // The reference is libcrypt by way of Perl, which every test machine has.
        let script = "print crypt($ARGV[0], $ARGV[1])";
        let made =
            std::process::Command::new("perl").args(["-e", script, "Passw0rd-x", &text]).output().unwrap();
        assert_eq!(String::from_utf8(made.stdout).unwrap(), text);
    }

    #[test]
    fn every_kind_of_key_pair_fits_together_and_is_read_by_ssh_keygen() {
        for key_type in [KeyType::Rsa2048, KeyType::Ed25519] {
            let made = ssh_key(key_type, &user(), &name()).unwrap();
            let value: serde_json::Value = serde_json::from_slice(made.value.expose()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("key");
            std::fs::write(&file, value["PrivateKey"].as_str().unwrap()).unwrap();
            std::os::unix::fs::chown(&file, None, None).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, mode).unwrap();
            let shown =
                std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let public = value["PublicKey"].as_str().unwrap();
            let blob = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
            assert_eq!(blob(&shown), blob(public), "{key_type:?}");
            assert_eq!(Some(made.proof), made.fingerprint);
        }
    }
}
