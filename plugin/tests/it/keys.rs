//! SSH keys in files that the user controls.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;

use serde_json::json;

use crate::sandbox::{Answer, KEY_A, KEY_B, OLD_KEY, Sandbox, UID, USER, fingerprint, key, with};

fn mark(generation: u64) -> String {
    format!("strongroom:00000000:{generation}")
}

fn apply(sandbox: &Sandbox, generation: u64, rid: &str, new: &str) -> Answer {
    sandbox.run(&key("apply", generation, rid, new))
}

fn finalize(sandbox: &Sandbox, generation: u64, rid: &str, new: &str, old: &str) -> Answer {
    let request = key("finalize", generation, rid, new);
    sandbox.run(&with(request, "remove", json!([fingerprint(old)])))
}

#[test]
fn a_key_is_added_and_later_takes_the_old_ones_place() {
    let sandbox = Sandbox::new();
    let before = format!("# mine\r\nrestrict,from=\"10.0.0.0/8\" {OLD_KEY} me@home\nssh-rsa broken");
    sandbox.key_file(&before);
    let request = with(key("apply", 1, "a", KEY_A), "remove", json!([fingerprint(OLD_KEY)]));
    let done = sandbox.run(&request);
    done.expect("ok", 0, "both");
    assert_eq!(done.line["proof"]["key_sha256"], fingerprint(KEY_A));
    let line = format!("restrict,from=\"10.0.0.0/8\" {KEY_A} {}\n", mark(1));
    assert_eq!(sandbox.keys(), format!("{before}\n{line}"));
    let stat = fs::metadata(sandbox.path("home/ann/.ssh/authorized_keys")).expect("there");
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (UID, UID, 0o600));

    sandbox.run(&request).expect("already", 0, "both");
    sandbox.run(&key("verify", 1, "a", KEY_A)).expect("ok", 0, "new");
    finalize(&sandbox, 1, "a", KEY_A, OLD_KEY).expect("ok", 0, "new");
    assert_eq!(sandbox.keys(), format!("# mine\r\nssh-rsa broken\n{line}"));
    let again = finalize(&sandbox, 1, "a", KEY_A, OLD_KEY);
    again.expect("ok", 0, "new");
    assert_eq!(again.line["changed"], false);

    apply(&sandbox, 2, "b", KEY_B).expect("ok", 0, "both");
    let line = format!("restrict,from=\"10.0.0.0/8\" {KEY_B} {}\n", mark(2));
    assert!(sandbox.keys().ends_with(&line), "{}", sandbox.keys());
    finalize(&sandbox, 2, "b", KEY_B, KEY_A).expect("ok", 0, "new");
    assert_eq!(sandbox.keys(), format!("# mine\r\nssh-rsa broken\n{line}"));
    assert_eq!(sandbox.journal()["managed_keys"], json!([fingerprint(KEY_B)]));
}

#[test]
fn a_missing_folder_is_made_by_the_user() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    for (path, mode) in [(".ssh", 0o700), (".ssh/authorized_keys", 0o600)] {
        let stat = fs::metadata(sandbox.path(&format!("home/ann/{path}"))).expect("there");
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (UID, UID, mode), "{path}");
    }
    assert_eq!(sandbox.keys(), format!("{KEY_A} {}\n", mark(1)));
}

#[test]
fn mode_owner_and_attributes_of_the_file_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.key_file("");
    let file = sandbox.path("home/ann/.ssh/authorized_keys");
    sandbox.mode("home/ann/.ssh/authorized_keys", 0o644);
    rustix::fs::setxattr(&file, "user.note", b"kept", rustix::fs::XattrFlags::empty()).expect("an attribute");
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    let mut value = [0_u8; 16];
    let length = rustix::fs::getxattr(&file, "user.note", &mut value).expect("an attribute");
    assert_eq!(&value[..length], b"kept");
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o644);
}

#[test]
fn a_file_of_roots_in_a_home_stays_roots() {
    let sandbox = Sandbox::new();
    sandbox.key_file("# by root\n");
    let file = sandbox.path("home/ann/.ssh/authorized_keys");
    chown(&file, Some(0), Some(0)).expect("owner");
    sandbox.mode("home/ann/.ssh/authorized_keys", 0o644);
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    let stat = fs::metadata(&file).expect("there");
    assert_eq!((stat.uid(), stat.mode() & 0o777), (0, 0o644));
}

#[test]
fn nothing_is_written_where_the_user_could_lead_us() {
    type Trap = fn(&Sandbox);
    let cases: [(&str, &str, Trap); 10] = [
        ("a link for a file", "authorized_keys_symlink", |sandbox| {
            sandbox.key_file("");
            let file = sandbox.path("home/ann/.ssh/authorized_keys");
            fs::remove_file(&file).expect("removed");
            symlink(sandbox.path("etc/shadow"), &file).expect("a link");
        }),
        ("a link for a folder", "home_unsafe", |sandbox| {
            symlink(sandbox.path("root"), sandbox.path("home/ann/.ssh")).expect("a link");
            rustix::fs::chownat(
                rustix::fs::CWD,
                sandbox.path("home/ann/.ssh"),
                Some(rustix::fs::Uid::from_raw(UID)),
                None,
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .expect("owner");
        }),
        ("a link of root's in a folder of the user's", "home_unsafe", |sandbox| {
            symlink(sandbox.path("root"), sandbox.path("home/ann/.ssh")).expect("a link");
        }),
        ("a folder that others can write", "home_unsafe", |sandbox| {
            sandbox.mode("home/ann", 0o777);
        }),
        ("a folder that a group can write", "home_unsafe", |sandbox| {
            sandbox.key_file("");
            chown(sandbox.path("home/ann/.ssh"), Some(UID), Some(4_711)).expect("owner");
            sandbox.mode("home/ann/.ssh", 0o770);
        }),
        ("a stranger's folder", "home_unsafe", |sandbox| {
            chown(sandbox.path("home/ann"), Some(4_711), Some(4_711)).expect("owner");
            sandbox.mode("home/ann", 0o755);
        }),
        ("a second name", "authorized_keys_unsafe", |sandbox| {
            sandbox.key_file("");
            let file = sandbox.path("home/ann/.ssh/authorized_keys");
            fs::hard_link(file, sandbox.path("home/ann/other")).expect("a name");
        }),
        ("a pipe", "authorized_keys_unsafe", |sandbox| {
            sandbox.key_file("");
            let file = sandbox.path("home/ann/.ssh/authorized_keys");
            fs::remove_file(&file).expect("removed");
            let made = Command::new("mkfifo").arg(&file).status().expect("mkfifo");
            assert!(made.success());
            sandbox.own("home/ann/.ssh/authorized_keys");
        }),
        ("a file that others can write", "authorized_keys_unsafe", |sandbox| {
            sandbox.key_file("");
            sandbox.mode("home/ann/.ssh/authorized_keys", 0o666);
        }),
        ("a file of two megabytes", "authorized_keys_unsafe", |sandbox| {
            sandbox.key_file(&"#\n".repeat(1 << 20));
        }),
    ];
    for (what, code, trap) in cases {
        let sandbox = Sandbox::new();
        let shadow = sandbox.read("etc/shadow");
        trap(&sandbox);
        let refused = apply(&sandbox, 1, "a", KEY_A);
        assert_eq!(refused.line["code"], code, "{what}: {}", refused.text);
        assert_eq!(refused.status, Some(11), "{what}");
        assert_eq!(sandbox.read("etc/shadow"), shadow, "{what}");
        assert_eq!(fs::read_dir(sandbox.path("root")).expect("a folder").count(), 0, "{what}");
    }
}

#[test]
fn the_users_own_group_may_write_where_the_sshd_of_the_system_bears_it() {
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.key_file("");
        sandbox.mode("home/ann", 0o770);
        sandbox.mode("home/ann/.ssh/authorized_keys", 0o664);
        sandbox
    };
    let sandbox = make();
    let done = apply(&sandbox, 1, "a", KEY_A);
    done.expect("ok", 0, "new");
    assert!(done.warns("key_file_group_writable"), "{}", done.text);
    let mode = |path: &str| fs::metadata(sandbox.path(path)).expect("there").mode() & 0o777;
    assert_eq!(mode("home/ann/.ssh/authorized_keys"), 0o644, "what we make is stricter");

    let sandbox = make();
    sandbox.write("etc/os-release", "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n");
    apply(&sandbox, 1, "a", KEY_A).expect("home_unsafe", 11, "old");
    let sandbox = make();
    let group = sandbox.read("etc/group").replace("54321:\n", "54321:bob\n");
    sandbox.write("etc/group", &group);
    apply(&sandbox, 1, "a", KEY_A).expect("home_unsafe", 11, "old");
    let sandbox = make();
    let passwd = sandbox.read("etc/passwd");
    sandbox.write("etc/passwd", &format!("{passwd}bob:x:4711:{UID}::/:/bin/sh\n"));
    apply(&sandbox, 1, "a", KEY_A).expect("home_unsafe", 11, "old");
}

#[test]
fn time_that_stops_a_password_stops_a_key_too() {
    let sandbox = Sandbox::new();
    sandbox.shadow(USER, "*:19000:0:30:7:5::");
    let refused = apply(&sandbox, 1, "a", KEY_A);
    refused.expect("account_expired", 11, "old");
    assert!(!sandbox.path("home/ann/.ssh").exists());
    sandbox.sshd("usepam no");
    apply(&sandbox, 2, "b", KEY_A).expect("ok", 0, "new");
    sandbox.shadow(USER, "*:0:0:30:7:::");
    let done = sandbox.run(&key("verify", 2, "b", KEY_A));
    assert!(done.warns("password_expired") && done.warns("max_days_limited"), "{}", done.text);
}

#[test]
fn a_file_that_nobody_can_replace_is_named() {
    for frozen in ["home/ann/.ssh/authorized_keys", "home/ann/.ssh"] {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY}\n"));
        apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
        sandbox.freeze(frozen, true);
        apply(&sandbox, 1, "a", KEY_A).expect("already", 0, "new");
        let refused = apply(&sandbox, 2, "b", KEY_B);
        refused.expect("authorized_keys_unsafe", 11, "old");
        let left = finalize(&sandbox, 1, "a", KEY_A, OLD_KEY);
        left.expect("authorized_keys_unsafe", 10, "both");
        for answer in [refused, left] {
            assert!(
                answer.line["detail"].as_str().is_some_and(|d| d.contains("immutable")),
                "{}",
                answer.text
            );
        }
        sandbox.freeze(frozen, false);
        finalize(&sandbox, 1, "a", KEY_A, OLD_KEY).expect("ok", 0, "new");
        assert!(!sandbox.keys().contains(OLD_KEY));
    }
}

#[test]
fn a_link_that_root_put_on_the_way_is_followed() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).expect("a folder");
    sandbox.mode("data", 0o755);
    fs::rename(sandbox.path("home"), sandbox.path("data/home")).expect("moved");
    symlink("/data/home", sandbox.path("home")).expect("a link");
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    assert!(sandbox.read("data/home/ann/.ssh/authorized_keys").contains(KEY_A));
}

#[test]
fn the_work_in_a_home_is_done_with_the_rights_of_the_user() {
    let sandbox = Sandbox::new();
    sandbox.key_file("");
    // Only root could write here.
    sandbox.mode("home/ann/.ssh", 0o500);
    let refused = apply(&sandbox, 1, "a", KEY_A);
    assert_eq!(refused.line["code"], "authorized_keys_unsafe", "{}", refused.text);
    assert_eq!(sandbox.keys(), "");
}

#[test]
fn files_outside_the_home_belong_to_root() {
    let sandbox = Sandbox::new();
    sandbox.write("sshd.settings", "pubkeyauthentication yes\nauthorizedkeysfile /etc/ssh/keys/%u\n");
    apply(&sandbox, 1, "a", KEY_A).expect("home_unsafe", 11, "old");
    fs::create_dir_all(sandbox.path("etc/ssh/keys")).expect("folders");
    sandbox.mode("etc/ssh", 0o755);
    sandbox.mode("etc/ssh/keys", 0o755);
    apply(&sandbox, 2, "b", KEY_A).expect("ok", 0, "new");
    let stat = fs::metadata(sandbox.path("etc/ssh/keys/ann")).expect("there");
    assert_eq!((stat.uid(), stat.mode() & 0o777), (0, 0o644));

    sandbox.mode("etc/ssh/keys/ann", 0o600);
    let verified = sandbox.run(&key("verify", 2, "b", KEY_A));
    verified.expect("keys_disabled", 10, "new");
    assert!(verified.line["proof"].is_null(), "{}", verified.text);
}

#[test]
fn old_keys_go_from_every_file_that_sshd_reads() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY} one\n"));
    sandbox.write("home/ann/.ssh/authorized_keys2", &format!("{OLD_KEY} two\n# end\n"));
    sandbox.own("home/ann/.ssh/authorized_keys2");
    sandbox.mode("home/ann/.ssh/authorized_keys2", 0o600);
    apply(&sandbox, 1, "a", KEY_A);
    finalize(&sandbox, 1, "a", KEY_A, OLD_KEY).expect("ok", 0, "new");
    assert_eq!(sandbox.read("home/ann/.ssh/authorized_keys2"), "# end\n");
    assert!(!sandbox.keys().contains(OLD_KEY));
}

#[test]
fn no_key_goes_while_the_new_one_is_missing() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    apply(&sandbox, 1, "a", KEY_A);
    sandbox.key_file(&format!("{OLD_KEY}\n"));
    finalize(&sandbox, 1, "a", KEY_A, OLD_KEY).expect("verify_failed", 10, "old");
    assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"));
    finalize(&sandbox, 2, "b", KEY_B, OLD_KEY).expect("stale_gen", 10, "old");
    assert_eq!(sandbox.keys(), format!("{OLD_KEY}\n"));
}

#[test]
fn a_fence_takes_an_added_key_back_only_if_another_stays() {
    let sandbox = Sandbox::new();
    let take_back = |generation, rid, new| {
        let request = key("fence", generation, rid, new);
        sandbox.run(&with(request, "opt", json!({"remove_added": true})))
    };
    sandbox.key_file(&format!("{OLD_KEY} me\n"));
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    let fenced = take_back(1, "a", KEY_A);
    fenced.expect("ok", 0, "old");
    assert_eq!((fenced.line["changed"].as_bool(), fenced.line["final"].as_bool()), (Some(true), Some(true)));
    assert_eq!(sandbox.keys(), format!("{OLD_KEY} me\n"));

    apply(&sandbox, 2, "b", KEY_A).expect("ok", 0, "new");
    finalize(&sandbox, 2, "b", KEY_A, OLD_KEY).expect("ok", 0, "new");
    apply(&sandbox, 3, "c", KEY_B).expect("ok", 0, "both");
    sandbox.key_file(&format!("{KEY_B}\n"));
    let kept = take_back(3, "c", KEY_B);
    kept.expect("ok", 0, "new");
    assert!(kept.warns("added_key_kept"));
    assert_eq!(sandbox.keys(), format!("{KEY_B}\n"));
}

#[test]
fn a_key_that_somebody_else_put_there_is_not_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{KEY_A} by hand\n"));
    apply(&sandbox, 1, "a", KEY_A).expect("already", 0, "new");
    let request = with(key("fence", 1, "a", KEY_A), "opt", json!({"remove_added": true}));
    assert!(sandbox.run(&request).warns("added_key_kept"));
    assert_eq!(sandbox.keys(), format!("{KEY_A} by hand\n"));
}

#[test]
fn drafts_of_runs_that_were_cut_off_are_cleared_away() {
    let sandbox = Sandbox::new();
    sandbox.key_file("");
    let stale = format!("home/ann/.ssh/.authorized_keys.strongroom.{}", "f".repeat(32));
    sandbox.write(&stale, "half");
    sandbox.own(&stale);
    let mine = "home/ann/.ssh/.authorized_keys.strongroom.mine";
    sandbox.write(mine, "kept");
    apply(&sandbox, 1, "a", KEY_A).expect("ok", 0, "new");
    assert!(!sandbox.path(&stale).exists() && sandbox.path(mine).exists());
}
