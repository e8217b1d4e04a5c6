//! Passwords that travel sealed to a key pair of the machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use crate::sandbox::{Answer, KEY_A, Sandbox, USER, hash, key, password, wait_for, with, without};

/// A `prepare` that asks for a key pair.
pub(crate) fn prepare(generation: u64, rid: &str) -> Value {
    let request = without(password("prepare", USER, generation, rid, ""), "hash");
    with(request, "ks", json!("plugin"))
}

/// An `apply` whose hash is sealed to the pair that `prepared` offers.
pub(crate) fn sealed(prepared: &Answer, generation: u64, rid: &str, new: &str) -> Value {
    let request = without(password("apply", USER, generation, rid, ""), "hash");
    let payload = json!({ "hash": new }).to_string();
    let envelope = envelope(&prepared.line, &binding(&request), &payload);
    with(request, "enc", envelope)
}

/// What a request is bound to, put together from its members.
fn binding(request: &Value) -> String {
    let text = |name: &str| request[name].as_str().expect("text").to_owned();
    let user = BASE64URL_NOPAD.encode(text("user").as_bytes());
    let (op, sid, rid, inst, kind) = (text("op"), text("sid"), text("rid"), text("inst"), text("kind"));
    format!("strongroom-v1|{op}|{sid}|{rid}|{}|{inst}|{kind}|{user}", request["gen"])
}

fn envelope(offer: &Value, bound_to: &str, payload: &str) -> Value {
    let (mut key, mut iv) = ([0; 32], [0; 12]);
    rand::fill(&mut key).expect("random bytes");
    rand::fill(&mut iv).expect("random bytes");
    let public = BASE64.decode(offer["pub"].as_str().expect("a key").as_bytes()).expect("base64");
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&public).expect("a key"));
    let public = public.expect("a key");
    let mut ek = vec![0; public.ciphertext_size()];
    let text = BASE64URL_NOPAD.encode(&key);
    public.encrypt(&OAEP_SHA256_MGF1SHA256, text.as_bytes(), &mut ek, None).expect("sealed");
    let mut ct = payload.as_bytes().to_vec();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key"))
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::from(bound_to), &mut ct)
        .expect("sealed");
    json!({
        "kid": offer["kid"], "ek": BASE64URL_NOPAD.encode(&ek),
        "iv": BASE64URL_NOPAD.encode(&iv), "ct": BASE64URL_NOPAD.encode(&ct),
    })
}

/// The names in the folder of private keys.
pub(crate) fn kept(sandbox: &Sandbox) -> Vec<String> {
    let names = fs::read_dir(sandbox.path("run/strongroom")).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_sealed_password_is_set_without_its_hash_travelling_in_clear() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    prepared.expect("ok", 0, "old");
    assert_eq!(prepared.line["changed"], false);
    let [name] = kept(&sandbox).try_into().expect("one key");
    let path = format!("run/strongroom/{name}");
    assert_eq!(fs::metadata(sandbox.path(&path)).expect("there").mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(sandbox.path("run/strongroom")).expect("there").mode() & 0o777, 0o700);

    let new = hash("n");
    let request = sealed(&prepared, 1, "a", &new);
    assert!(!request.to_string().contains("$6$"));
    let done = sandbox.run(&request);
    done.expect("ok", 0, "new");
    assert_eq!((&done.line["changed"], sandbox.field(USER)), (&json!(true), new.clone()));
    sandbox.run(&request).expect("already", 0, "new");
    assert_eq!(sandbox.read("calls"), "good\n", "chpasswd ran again");
    sandbox.run(&without(password("status", USER, 1, "a", ""), "hash")).expect("ok", 0, "new");
    sandbox.run(&without(password("verify", USER, 1, "a", ""), "hash")).expect("ok", 0, "new");
    assert_eq!(kept(&sandbox).len(), 1, "the pair is needed until the rotation is over");
    sandbox.run(&without(password("finalize", USER, 1, "a", ""), "hash")).expect("ok", 0, "new");
    assert!(kept(&sandbox).is_empty());
}

#[test]
fn the_pair_is_the_same_for_one_rotation_and_another_for_the_next() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&prepare(1, "a"));
    let again = sandbox.run(&prepare(1, "a"));
    for member in ["pub", "kid", "exp"] {
        assert_eq!(first.line[member], again.line[member], "{member}");
    }
    let other = sandbox.run(&prepare(2, "b"));
    assert_ne!(first.line["kid"], other.line["kid"]);
    let public = BASE64.decode(first.line["pub"].as_str().expect("a key").as_bytes()).expect("base64");
    fs::write(sandbox.path("spki"), &public).expect("written");
    let sum = std::process::Command::new("sha256sum").arg(sandbox.path("spki")).output().expect("started");
    let sum = String::from_utf8(sum.stdout).expect("text");
    assert_eq!(first.line["kid"].as_str(), sum.get(..16));
    let told = std::process::Command::new("openssl")
        .args(["pkey", "-pubin", "-inform", "DER", "-noout", "-text", "-in"])
        .arg(sandbox.path("spki"))
        .output()
        .expect("openssl");
    assert!(String::from_utf8_lossy(&told.stdout).contains("2048 bit"), "{told:?}");
    let now = std::process::Command::new("date").arg("+%s").output().expect("started");
    let now: u64 = String::from_utf8(now.stdout).expect("text").trim().parse().expect("a time");
    let left = first.line["exp"].as_u64().expect("a time").saturating_sub(now);
    assert!((800..=900).contains(&left), "{left}");
}

#[test]
fn prepare_makes_no_pair_unless_it_is_asked_and_the_way_is_clear() {
    let sandbox = Sandbox::new();
    let plain = sandbox.run(&password("prepare", USER, 1, "a", &hash("n")));
    plain.expect("ok", 0, "old");
    assert!(plain.line.get("pub").is_none() && plain.line.get("kid").is_none());
    sandbox.shadow(USER, &format!("!{}:19000:0:99999:7:::", hash("o")));
    let refused = sandbox.run(&prepare(1, "a"));
    refused.expect("account_locked", 11, "old");
    assert!(refused.line.get("pub").is_none());
    assert!(!sandbox.path("run/strongroom").exists());
}

#[test]
fn an_envelope_whose_key_is_gone_changes_nothing_and_may_come_again() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    let request = sealed(&prepared, 1, "a", &hash("n"));
    fs::remove_dir_all(sandbox.path("run")).expect("a reboot");
    let refused = sandbox.run(&request);
    refused.expect("key_expired", 10, "old");
    assert_eq!((&refused.line["changed"], &refused.line["final"]), (&json!(false), &json!(false)));

    let anew = sandbox.run(&prepare(1, "a"));
    sandbox.run(&request).expect("key_expired", 10, "old");
    assert_eq!(sandbox.field(USER), hash("o"));
    sandbox.run(&sealed(&anew, 1, "a", &hash("n"))).expect("ok", 0, "new");
}

#[test]
fn a_pair_past_its_time_opens_nothing_and_is_removed() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    let request = sealed(&prepared, 1, "a", &hash("n"));
    let [name] = kept(&sandbox).try_into().expect("one key");
    let expires = prepared.line["exp"].to_string();
    let past = name.replace(&expires, "1700000000");
    let file = |name: &str| sandbox.path(&format!("run/strongroom/{name}"));
    fs::rename(file(&name), file(&past)).expect("renamed");
    sandbox.run(&request).expect("key_expired", 10, "old");
    assert!(kept(&sandbox).is_empty());

    // Of another secret, left by a rotation that nobody ended.
    let stray = past.replace(&"0".repeat(32), &"1".repeat(32));
    fs::write(file(&stray), "").expect("a file");
    sandbox.run(&key("status", 1, "b", KEY_A)).expect("ok", 0, "old");
    assert!(kept(&sandbox).is_empty());
}

#[test]
fn what_cannot_be_opened_is_refused_in_one_way_and_may_come_again() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    let good = sealed(&prepared, 1, "a", &hash("n"));
    let spoiled = |name: &str| {
        let mut bytes =
            BASE64URL_NOPAD.decode(good["enc"][name].as_str().expect("text").as_bytes()).expect("base64");
        bytes[3] ^= 1;
        let mut request = good.clone();
        request["enc"][name] = json!(BASE64URL_NOPAD.encode(&bytes));
        request
    };
    let bare = without(good.clone(), "enc");
    let sealed_as = |bound_to: &str, payload: &str| {
        with(bare.clone(), "enc", envelope(&prepared.line, bound_to, payload))
    };
    let own = binding(&bare);
    let right = json!({ "hash": hash("n") }).to_string();
    let cases = [
        spoiled("ek"),
        spoiled("iv"),
        spoiled("ct"),
        sealed_as(&own.replace("|apply|", "|status|"), &right),
        sealed_as(&own.replace("|1|", "|2|"), &right),
        sealed_as(&own.replace("|password|", "|sshkey|"), &right),
        sealed_as(&own, r#"{"hash":"!"}"#),
        sealed_as(&own, "not JSON"),
        with(good.clone(), "enc", with(good["enc"].clone(), "ct", json!("!"))),
    ];
    let mut details = Vec::new();
    for request in cases {
        let refused = sandbox.run(&request);
        refused.expect("decrypt_failed", 10, "old");
        assert_eq!((&refused.line["changed"], &refused.line["final"]), (&json!(false), &json!(false)));
        details.push(refused.line["detail"].clone());
    }
    details.dedup();
    assert_eq!(details.len(), 1, "the reason is told apart: {details:?}");
    assert_eq!(sandbox.field(USER), hash("o"));

    // An envelope for one user does not open for another.
    let of_root = with(with(good.clone(), "user", json!("root")), "sid", json!("0".repeat(32)));
    assert_eq!(sandbox.run(&of_root).line["code"], "decrypt_failed");
    assert_eq!(sandbox.field("root"), hash("o"));
    sandbox.run(&good).expect("ok", 0, "new");
}

#[test]
fn a_rotation_that_is_given_up_or_too_late_keeps_no_pair() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    let request = sealed(&prepared, 1, "a", &hash("n"));
    sandbox.run(&without(password("fence", USER, 1, "a", ""), "hash")).expect("ok", 0, "old");
    assert!(kept(&sandbox).is_empty());
    sandbox.run(&request).expect("fenced", 11, "old");
    let refused = sandbox.run(&prepare(1, "a"));
    refused.expect("fenced", 11, "old");
    assert!(refused.line.get("pub").is_none() && kept(&sandbox).is_empty());
    assert_eq!(sandbox.field(USER), hash("o"));
}

#[test]
fn only_a_journal_that_shows_it_says_that_a_sealed_password_is_not_in_force() {
    let ask = |sandbox: &Sandbox, op: &str| sandbox.run(&without(password(op, USER, 1, "a", ""), "hash"));
    let sandbox = Sandbox::new();
    ask(&sandbox, "status").expect("ok", 0, "unknown");
    let prepared = sandbox.run(&prepare(1, "a"));
    ask(&sandbox, "status").expect("ok", 0, "old");
    sandbox.run(&sealed(&prepared, 1, "a", &hash("n"))).expect("ok", 0, "new");
    ask(&sandbox, "status").expect("ok", 0, "new");
    let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
    fs::remove_file(sandbox.path(&file)).expect("removed");
    for op in ["status", "fence"] {
        let answer = ask(&sandbox, op);
        answer.expect("ok", 0, "unknown");
        assert!(answer.line["proof"]["field_sha256"].is_string(), "the vault can compare: {}", answer.text);
    }
}

#[test]
fn what_prepare_found_is_said_by_apply_as_well() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        assert!(sandbox.run(&prepare(7, "a")).warns("no_journal"));
    }
    let prepared = sandbox.run(&prepare(7, "a"));
    for _ in 0..2 {
        assert!(sandbox.run(&sealed(&prepared, 7, "a", &hash("n"))).warns("no_journal"));
    }
    assert!(!sandbox.run(&prepare(8, "b")).warns("no_journal"));
}

#[test]
fn the_same_rotation_sealed_anew_is_the_same_and_another_password_is_refused() {
    let sandbox = Sandbox::new();
    let prepared = sandbox.run(&prepare(1, "a"));
    sandbox.run(&sealed(&prepared, 1, "a", &hash("n"))).expect("ok", 0, "new");
    sandbox.run(&sealed(&prepared, 1, "a", &hash("n"))).expect("already", 0, "new");
    sandbox.run(&sealed(&prepared, 1, "a", &hash("m"))).expect("bad_request", 15, "other");
    sandbox.run(&password("apply", USER, 1, "a", &hash("n"))).expect("already", 0, "new");
    assert_eq!(sandbox.field(USER), hash("n"));
}

#[test]
fn neither_key_nor_hash_is_seen_outside_while_chpasswd_runs() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("waits");
    let gate = sandbox.path("gate");
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let prepared = sandbox.run(&prepare(1, "a"));
    let running = sandbox.start(&sealed(&prepared, 1, "a", &hash("n")));
    wait_for(&sandbox.path("started"));
    for process in fs::read_dir("/proc").expect("proc").flatten() {
        for part in ["cmdline", "environ"] {
            let content = fs::read(process.path().join(part)).unwrap_or_default();
            let needle = "n".repeat(86);
            assert!(!content.windows(86).any(|window| window == needle.as_bytes()), "{:?}", process.path());
        }
    }
    fs::write(&gate, "").expect("opened");
    assert!(running.wait_with_output().expect("ended").status.success());
}
