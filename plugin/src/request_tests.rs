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
    let sealed = with(password(), "enc", json!({"kid": "x"}));
    assert!(detail(&sealed).contains("not supported by this version"));
    let pam = with(password(), "opt", json!({"mode": "pam"}));
    assert!(detail(&pam).contains("not supported by this version"));
    let agent = with(password(), "ks", json!("agent"));
    assert!(detail(&agent).contains("not supported by this version"));
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
