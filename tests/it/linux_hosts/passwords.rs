//! Passwords that change while somebody logs on with them.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::symm::{Cipher, encrypt_aead};
use serde_json::{Value, json};

use super::{Answer, FIRST, Host, USER, hash, password, request, with};

/// An `apply` sealed to the pair that `prepared` offers, by another library
/// than the plug-in's.
fn sealed(prepared: &Answer, generation: u32, new: &str) -> Value {
    let request = request("apply", generation, "password");
    let mut key = [0; 32];
    let mut iv = [0; 12];
    rand_bytes(&mut key).unwrap();
    rand_bytes(&mut iv).unwrap();
    let public = BASE64.decode(prepared.0["pub"].as_str().unwrap().as_bytes()).unwrap();
    let public = PKey::public_key_from_der(&public).unwrap();
    let mut encrypter = Encrypter::new(&public).unwrap();
    encrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    encrypter.set_rsa_oaep_md(MessageDigest::sha256()).unwrap();
    encrypter.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
    let text = BASE64URL_NOPAD.encode(&key);
    let mut ek = vec![0; encrypter.encrypt_len(text.as_bytes()).unwrap()];
    let length = encrypter.encrypt(text.as_bytes(), &mut ek).unwrap();
    ek.truncate(length);
    let bound_to = format!(
        "strongroom-v1|apply|{}|{}|{generation}|i-1|password|{}",
        request["sid"].as_str().unwrap(),
        request["rid"].as_str().unwrap(),
        BASE64URL_NOPAD.encode(USER.as_bytes()),
    );
    let payload = json!({ "hash": new }).to_string();
    let mut tag = [0; 16];
    let mut ct = encrypt_aead(
        Cipher::aes_256_gcm(),
        &key,
        Some(&iv),
        bound_to.as_bytes(),
        payload.as_bytes(),
        &mut tag,
    )
    .unwrap();
    ct.extend(tag);
    let envelope = json!({
        "kid": prepared.0["kid"], "ek": BASE64URL_NOPAD.encode(&ek),
        "iv": BASE64URL_NOPAD.encode(&iv), "ct": BASE64URL_NOPAD.encode(&ct),
    });
    with(request, "enc", envelope)
}

#[test]
fn a_password_that_a_person_chose_comes_sealed_and_logs_on() {
    let host = Host::new(&[]);
    let prepare = with(request("prepare", 1, "password"), "ks", "plugin");
    let prepared = host.ask(&prepare).expect("ok", "old");
    assert_eq!(host.shell("stat -f -c %T /run/strongroom").trim(), "tmpfs");
    assert_eq!(host.shell("stat -c '%a %U' /run/strongroom /run/strongroom/*"), "700 root\n600 root\n");
    let apply = sealed(&prepared, 1, &hash("Chosen-by-hand-1"));

    // What was sealed to a machine that lost its memory is sealed to it anew.
    host.host.reboot().unwrap();
    host.ask(&apply).expect("key_expired", "old").unchanged(false);
    assert!(host.takes_password(FIRST));
    let prepared = host.ask(&prepare).expect("ok", "old");
    let apply = sealed(&prepared, 1, &hash("Chosen-by-hand-1"));
    host.ask(&with(apply.clone(), "gen", 2)).expect("decrypt_failed", "old").unchanged(false);
    assert!(host.takes_password(FIRST));
    host.ask(&apply).expect("ok", "new");
    assert!(host.takes_password("Chosen-by-hand-1") && !host.takes_password(FIRST));
    host.ask(&apply).expect("already", "new");
    host.ask(&request("status", 1, "password")).expect("ok", "new");
    host.ask(&request("finalize", 1, "password")).expect("ok", "new");
    assert_eq!(host.shell("ls /run/strongroom"), "");
    let journals = host.shell("cat /var/lib/strongroom/rotator/*.json");
    assert!(!journals.contains("Chosen-by-hand-1"));
}

#[test]
fn hashes_of_both_kinds_are_set_and_put_back_as_they_were() {
    let host = Host::new(&[]);
    let first = host.field();
    assert!(first.starts_with("$y$"), "Debian's own chpasswd makes yescrypt: {first}");

    // A chpasswd that writes something else once, and says that all is well.
    host.shell("mv /usr/sbin/chpasswd /usr/sbin/chpasswd.real");
    let wrapper = "#!/bin/sh\n\
        if [ -e /spoil ]; then\n  rm /spoil\n  printf 'deploy:%s\\n' '$6$x$y' | /usr/sbin/chpasswd.real -e\n\
        else\n  exec /usr/sbin/chpasswd.real \"$@\"\nfi\n";
    host.write("/usr/sbin/chpasswd", "755", wrapper);
    host.shell("touch /spoil");
    let apply = password("apply", 1, &hash("Second-password-2"));
    host.ask(&apply).expect("restored", "old");
    assert_eq!(host.field(), first);
    assert!(host.takes_password(FIRST));
    host.ask(&apply).expect("ok", "new");
    assert!(host.takes_password("Second-password-2") && !host.takes_password(FIRST));

    // Local rules for passwords are for people, not for a hash.
    host.write("/etc/pam.d/chpasswd", "644", "password required pam_deny.so\n");
    host.ask(&password("apply", 2, &first)).expect("ok", "new");
    assert_eq!(host.field(), first);
    assert!(host.takes_password(FIRST) && !host.takes_password("Second-password-2"));
    host.ask(&password("apply", 2, &first)).expect("already", "new");
}

#[test]
fn a_password_changed_by_hand_is_named_and_taken_over() {
    let host = Host::new(&[]);
    let second = hash("Second-password-2");
    host.ask(&password("apply", 1, &second)).expect("ok", "new");
    host.ask(&password("finalize", 1, &second)).expect("ok", "new");
    host.shell("echo deploy:By-hand-3 | chpasswd");
    assert!(host.takes_password("By-hand-3"));
    host.ask(&request("status", 1, "password")).expect("ok", "other").warning("changed_outside");
    let new = hash("Fourth-password-4");
    for code in ["ok", "already"] {
        host.ask(&password("apply", 2, &new)).expect(code, "new").warning("changed_outside");
    }
    assert!(host.takes_password("Fourth-password-4") && !host.takes_password("By-hand-3"));

    // The system disk is replaced: nothing is known any more.
    host.shell("rm -r /var/lib/strongroom/rotator");
    let new = hash("Fifth-password-5");
    host.ask(&password("apply", 3, &new)).expect("ok", "new").warning("no_journal");
    host.ask(&password("finalize", 3, &new)).expect("ok", "new").warning("no_journal");
    assert!(host.takes_password("Fifth-password-5"));
}
