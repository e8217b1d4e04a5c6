use serde_json::{Value, json};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

fn password() -> Value {
    json!({
        "v": 1, "op": "apply", "sid": "0".repeat(32), "rid": "a".repeat(32), "gen": 7, "att": 1,
        "inst": "i-1", "user": "root", "kind": "password",
        "hash": format!("$6$rounds=65536$salt${}", "a".repeat(86)),
    })
}

fn key() -> Value {
    let mut value = password();
    let members = value.as_object_mut().expect("an object");
    members.remove("hash");
    members.insert("kind".to_owned(), json!("sshkey"));
    members.insert("key".to_owned(), json!(KEY));
    value
}

fn read(value: &Value) -> Result<Request, BadRequest> {
    Request::parse(&BASE64URL_NOPAD.encode(value.to_string().as_bytes()), "i-1")
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn detail(value: &Value) -> &'static str {
    read(value).expect_err("accepted").detail
}

#[test]
fn both_kinds_are_read() {
    let request = read(&password()).expect("a password");
    assert_eq!(request.kind(), Kind::Password);
    assert_eq!(request.generation, 7);
    let request = read(&key()).expect("a key");
    assert_eq!(request.kind(), Kind::SshKey);
    let all = with(
        key(),
        "opt",
        json!({"unlock": true, "mode": "hash", "preserve_dpapi": false, "remove_added": true}),
    );
    let all = with(all, "ks", json!("plugin"));
    let all = with(all, "remove", json!([format!("SHA256:{}", "A".repeat(43))]));
    let request = read(&all).expect("all members");
    assert!(request.choices.unlock && request.choices.remove_added);
    assert_eq!(request.remove.len(), 1);
}

#[test]
fn every_member_is_held_to_its_form() {
    for (name, member) in [
        ("v", json!(2)),
        ("op", json!("delete")),
        ("sid", json!("A".repeat(32))),
        ("sid", json!("../../../../../../../../etc/shadow")),
        ("rid", json!("a".repeat(31))),
        ("gen", json!(0)),
        ("gen", json!(-1)),
        ("gen", json!(1.5)),
        ("gen", json!(1_u64 << 53)),
        ("att", json!(0)),
        ("inst", json!("")),
        ("inst", json!("i-1/..")),
        ("user", json!("-R")),
        ("user", json!("a:b")),
        ("user", json!("a\nb")),
        ("kind", json!("pin")),
        ("hash", json!("!")),
        ("hash", json!(null)),
        ("key", json!(KEY)),
        ("remove", json!(["SHA256:x"])),
        ("remove", json!([format!("SHA256:{}", "A".repeat(43))])),
        ("opt", json!({"force": true})),
        ("ks", json!("other")),
        ("more", json!(1)),
    ] {
        assert!(read(&with(password(), name, member.clone())).is_err(), "{name} {member}");
    }
    for (name, member) in [
        ("key", json!(format!("{KEY}\n{KEY}"))),
        ("hash", json!("$6$x$y")),
        ("remove", json!(vec![format!("SHA256:{}", "A".repeat(43)); 65])),
    ] {
        assert!(read(&with(key(), name, member.clone())).is_err(), "{name} {member}");
    }
}

#[test]
fn what_this_version_cannot_do_is_said_in_words() {
    let pam = with(password(), "opt", json!({"mode": "pam"}));
    assert!(detail(&pam).contains("not supported by this version"));
    let agent = with(password(), "ks", json!("agent"));
    assert!(detail(&agent).contains("not supported by this version"));
}

/// The same request without its hash.
fn bare(mut value: Value) -> Value {
    value.as_object_mut().expect("an object").remove("hash");
    value
}

fn envelope() -> Value {
    json!({"kid": "0123456789abcdef", "ek": "AA", "iv": "AA", "ct": "AA"})
}

#[test]
fn a_sealed_password_stands_in_place_of_the_hash_and_only_in_apply() {
    let sealed = with(bare(password()), "enc", envelope());
    let request = read(&sealed).expect("a sealed password");
    assert!(request.envelope.is_some() && request.credential().is_none());
    assert_eq!(detail(&with(password(), "enc", envelope())), "hash and enc exclude each other");
    for op in ["prepare", "verify", "finalize", "status", "fence"] {
        assert!(read(&with(sealed.clone(), "op", json!(op))).is_err(), "{op}");
    }
    assert!(read(&with(key(), "enc", envelope())).is_err());
    for (name, member) in [("kid", json!(1)), ("ek", json!(null)), ("more", json!("AA"))] {
        assert!(read(&with(sealed.clone(), "enc", with(envelope(), name, member))).is_err(), "{name}");
    }
    assert!(read(&with(sealed, "enc", json!({"kid": "0123456789abcdef"}))).is_err());
}

#[test]
fn a_sealed_password_is_bound_to_all_that_names_the_step() {
    let request = read(&with(bare(password()), "enc", envelope())).expect("a sealed password");
    let (sid, rid) = ("0".repeat(32), "a".repeat(32));
    assert_eq!(request.binding(), format!("strongroom-v1|apply|{sid}|{rid}|7|i-1|password|cm9vdA"));
    let request = read(&with(key(), "op", json!("status"))).expect("a key");
    assert_eq!(request.binding(), format!("strongroom-v1|status|{sid}|{rid}|7|i-1|sshkey|cm9vdA"));
}

#[test]
fn a_key_pair_is_made_only_where_prepare_asks_for_it() {
    let prepare = with(bare(password()), "op", json!("prepare"));
    assert!(!read(&prepare).expect("prepare").wants_pair);
    let asking = with(prepare, "ks", json!("plugin"));
    assert!(read(&asking).expect("prepare").wants_pair);
    assert!(!read(&with(asking, "op", json!("status"))).expect("status").wants_pair);
    let of_key = with(with(key(), "op", json!("prepare")), "ks", json!("plugin"));
    assert_eq!(detail(&of_key), "a public key is not sealed");
}

#[test]
fn the_new_key_cannot_be_named_for_removal() {
    let fingerprint = PublicKey::parse(KEY).expect("a key").fingerprint();
    let request = with(key(), "remove", json!([fingerprint.as_str()]));
    assert_eq!(detail(&request), "remove names the new key");
}

#[test]
fn only_apply_needs_the_credential() {
    for op in ["prepare", "verify", "finalize", "status", "fence"] {
        let mut value = with(password(), "op", json!(op));
        value.as_object_mut().expect("an object").remove("hash");
        assert!(read(&value).is_ok(), "{op}");
    }
}

#[test]
fn a_request_for_another_instance_is_told_apart() {
    let refused = read(&with(password(), "inst", json!("i-2"))).expect_err("accepted");
    assert!(refused.wrong_instance);
}

#[test]
fn a_refusal_names_the_rotation_where_it_can() {
    let refused = read(&with(password(), "more", json!(1))).expect_err("accepted");
    assert_eq!(refused.op, Some(Op::Apply));
    assert_eq!(refused.rid, Some("a".repeat(32)));
    let twice = r#"{"v":1,"v":1}"#;
    for text in [
        "".to_owned(),
        "***".to_owned(),
        BASE64URL_NOPAD.encode(twice.as_bytes()),
        BASE64URL_NOPAD.encode("[".repeat(9_000).as_bytes()),
        "A".repeat(12_289),
    ] {
        let refused = Request::parse(&text, "i-1").expect_err("accepted");
        assert_eq!((refused.op, refused.rid), (None, None));
    }
}
