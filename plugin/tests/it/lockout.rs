//! Keys that sshd would not take, and files that hide keys: nobody may be
//! locked out, and no old key may stay unnoticed.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::json;

use crate::sandbox::{Answer, KEY_A, KEY_B, OLD_KEY, Sandbox, fingerprint, hash, key, with};

fn apply(sandbox: &Sandbox, generation: u64, rid: &str, new: &str) -> Answer {
    sandbox.run(&key("apply", generation, rid, new))
}

fn finalize(sandbox: &Sandbox) -> Answer {
    let request = key("finalize", 1, "a", KEY_A);
    sandbox.run(&with(request, "remove", json!([fingerprint(OLD_KEY)])))
}

/// Settings with which the sandbox's user cannot log on with an ed25519 key.
const SHUT: [&str; 6] = [
    "pubkeyauthentication no",
    "denyusers ann",
    "allowusers root",
    "denygroups ann",
    "pubkeyacceptedalgorithms rsa-sha2-512,ecdsa-sha2-nistp256",
    "authenticationmethods password",
];

#[test]
fn a_key_that_sshd_would_not_take_is_refused_before_anything_is_changed() {
    for settings in SHUT {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY}\n"));
        sandbox.sshd(settings);
        sandbox.run(&key("prepare", 1, "a", KEY_A)).expect("keys_disabled", 10, "old");
        let refused = apply(&sandbox, 1, "a", KEY_A);
        refused.expect("keys_disabled", 10, "old");
        assert_eq!((&refused.line["changed"], &refused.line["final"]), (&json!(false), &json!(false)));
        assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"), "{settings}");

        sandbox.sshd("pubkeyauthentication yes");
        apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    }
}

#[test]
fn no_key_goes_while_sshd_would_not_take_the_new_one() {
    for settings in SHUT {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY}\n"));
        apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
        let keys = sandbox.keys();
        sandbox.sshd(settings);
        for op in ["apply", "verify"] {
            let refused = sandbox.run(&key(op, 1, "a", KEY_A));
            refused.expect("keys_disabled", 10, "new");
            assert!(refused.line["proof"].is_null(), "{settings}: {}", refused.text);
        }
        let status = sandbox.run(&key("status", 1, "a", KEY_A));
        status.expect("ok", 0, "new");
        assert!(status.line["proof"].is_null(), "{settings}: {}", status.text);
        let refused = finalize(&sandbox);
        refused.expect("keys_disabled", 10, "both");
        assert_eq!(refused.line["changed"], false);
        assert_eq!(sandbox.keys(), keys, "{settings}");

        sandbox.sshd("pubkeyauthentication yes");
        sandbox.run(&key("verify", 1, "a", KEY_A)).expect("ok", 0, "new");
        finalize(&sandbox).expect("ok", 0, "new");
        assert!(!sandbox.keys().contains(OLD_KEY));
    }
}

#[test]
fn the_type_of_the_key_is_known_also_where_the_request_does_not_bring_it() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    sandbox.sshd("pubkeyacceptedalgorithms rsa-sha2-512");
    let mut request = key("finalize", 1, "a", KEY_A);
    request.as_object_mut().expect("an object").remove("key");
    let refused = sandbox.run(&with(request, "remove", json!([fingerprint(OLD_KEY)])));
    refused.expect("keys_disabled", 10, "both");
    assert!(sandbox.keys().contains(OLD_KEY));
}

#[test]
fn an_sshd_that_does_not_tell_its_settings_is_not_guessed_at() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    sandbox.tool("sshd", "#!/bin/sh\nexit 255\n");
    let refused = apply(&sandbox, 1, "a", KEY_A);
    refused.expect("keys_disabled", 10, "old");
    assert!(refused.line["detail"].as_str().is_some_and(|detail| detail.contains("sshd -T")));
    assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"));

    fs::remove_file(sandbox.path("usr/sbin/sshd")).expect("removed");
    let done = apply(&sandbox, 1, "a", KEY_A);
    done.expect("ok", 0, "new");
    assert!(done.warns("sshd_not_found"));
    sandbox.tool("sshd", "#!/bin/sh\nexit 255\n");
    sandbox.run(&key("verify", 1, "a", KEY_A)).expect("keys_disabled", 10, "unknown");
    finalize(&sandbox).expect("keys_disabled", 10, "unknown");
    assert!(sandbox.keys().contains(OLD_KEY));
}

#[test]
fn where_sshd_reads_no_files_a_rotation_can_be_tried_again_or_given_up() {
    let sandbox = Sandbox::new();
    sandbox.write("sshd.settings", "authorizedkeysfile none\n");
    let refused = apply(&sandbox, 1, "a", KEY_A);
    refused.expect("keys_disabled", 10, "old");
    assert_eq!(refused.line["final"], false);
    let fenced = sandbox.run(&key("fence", 1, "a", KEY_A));
    fenced.expect("ok", 0, "old");
    assert!(fenced.line["final"] == true && fenced.warns("not_observed"), "{}", fenced.text);
    apply(&sandbox, 1, "a", KEY_A).expect("fenced", 11, "old");
}

#[test]
fn a_locked_account_takes_no_key_where_sshd_does_not_use_pam() {
    let sandbox = Sandbox::new();
    sandbox.shadow("ann", &format!("!{}:19000:0:99999:7:::", hash("o")));
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    sandbox.sshd("usepam no");
    apply(&sandbox, 2, "b", KEY_B).expect("keys_disabled", 10, "old");
    sandbox.shadow("ann", "*:19000:0:99999:7:::");
    apply(&sandbox, 2, "b", KEY_B).expect("ok", 0, "both");
}

#[test]
fn a_file_that_sshd_cannot_read_is_refused_before_anything_is_changed() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    chown(sandbox.path("home/ann/.ssh/authorized_keys"), Some(0), Some(0)).expect("owner");
    apply(&sandbox, 1, "a", KEY_A).expect("keys_disabled", 10, "old");
    assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"));
    sandbox.mode("home/ann/.ssh/authorized_keys", 0o644);
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
}

/// Makes the second key file a link of the user's to a file with `content`.
fn link_second(sandbox: &Sandbox, content: &str) {
    sandbox.write("home/ann/shared", content);
    sandbox.own("home/ann/shared");
    let link = sandbox.path("home/ann/.ssh/authorized_keys2");
    symlink(sandbox.path("home/ann/shared"), link).expect("a link");
}

#[test]
fn a_second_file_that_hides_a_key_is_refused_before_anything_is_changed() {
    for content in [format!("{OLD_KEY} hidden\n"), "#\n".repeat(1 << 20)] {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY}\n"));
        link_second(&sandbox, &content);
        apply(&sandbox, 1, "a", KEY_A).expect("authorized_keys_symlink", 11, "old");
        assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"));
    }
}

#[test]
fn an_unsafe_second_file_without_the_keys_in_question_hinders_nothing() {
    type Trap = fn(&Sandbox);
    let traps: [Trap; 4] = [
        |sandbox| link_second(sandbox, "# nothing\n"),
        |sandbox| {
            let link = sandbox.path("home/ann/.ssh/authorized_keys2");
            symlink("nowhere", link).expect("a link");
        },
        |sandbox| fs::create_dir(sandbox.path("home/ann/.ssh/authorized_keys2")).expect("a folder"),
        |sandbox| {
            // sshd could not read it either.
            sandbox.second_key_file(&format!("{OLD_KEY}\n"));
            chown(sandbox.path("home/ann/.ssh/authorized_keys2"), Some(4_711), None).expect("owner");
        },
    ];
    for trap in traps {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY}\n"));
        trap(&sandbox);
        let done = apply(&sandbox, 1, "a", KEY_A);
        done.expect("ok", 0, "new");
        assert!(done.warns("other_key_file_unsafe"), "{}", done.text);
        let done = finalize(&sandbox);
        done.expect("ok", 0, "new");
        assert!(done.warns("other_key_file_unsafe"), "{}", done.text);
        assert!(!sandbox.keys().contains(OLD_KEY));
    }
}

#[test]
fn a_second_file_that_became_unsafe_keeps_finalize_open_only_while_it_holds_the_old_key() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    link_second(&sandbox, &format!("{OLD_KEY}\n"));
    finalize(&sandbox).expect("authorized_keys_symlink", 10, "new");
    sandbox.write("home/ann/shared", &format!("{KEY_B} of somebody else\n"));
    let done = finalize(&sandbox);
    done.expect("ok", 0, "new");
    assert!(done.warns("other_key_file_unsafe"));
    assert!(sandbox.read("home/ann/shared").contains(KEY_B));
    assert_eq!(sandbox.journal()["rotation"]["phase"], "finalized");
}

#[test]
fn what_cannot_be_seen_and_never_began_is_over_with_the_old_key_in_force() {
    let sandbox = Sandbox::new();
    sandbox.key_file("");
    sandbox.mode("home/ann/.ssh/authorized_keys", 0o666);
    let fenced = sandbox.run(&key("fence", 1, "a", KEY_A));
    fenced.expect("ok", 0, "old");
    assert!(fenced.line["final"] == true && fenced.warns("not_observed"), "{}", fenced.text);
    let refused = apply(&sandbox, 2, "b", KEY_A);
    refused.expect("authorized_keys_unsafe", 11, "old");
    apply(&sandbox, 2, "b", KEY_A).expect("fenced", 11, "old");
    sandbox.run(&key("verify", 2, "b", KEY_A)).expect("authorized_keys_unsafe", 10, "unknown");

    sandbox.mode("home/ann/.ssh/authorized_keys", 0o600);
    apply(&sandbox, 3, "c", KEY_A).expect("ok", 0, "new");
    sandbox.mode("home/ann/.ssh/authorized_keys", 0o666);
    let fenced = sandbox.run(&key("fence", 3, "c", KEY_A));
    fenced.expect("authorized_keys_unsafe", 11, "unknown");
    assert_eq!(fenced.line["final"], true, "the fence stands all the same");
}

#[test]
fn an_rsa_key_must_be_as_long_as_sshd_demands() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f"])
        .arg(&file)
        .status()
        .expect("ssh-keygen");
    assert!(made.success());
    let rsa = fs::read_to_string(file.with_extension("pub")).expect("a key");
    let sandbox = Sandbox::new();
    sandbox.sshd("requiredrsasize 3072");
    apply(&sandbox, 1, "a", rsa.trim()).expect("keys_disabled", 10, "old");
    sandbox.sshd("requiredrsasize 2048\npubkeyacceptedalgorithms rsa-sha2-512");
    apply(&sandbox, 1, "a", rsa.trim()).expect("ok", 0, "new");
}
