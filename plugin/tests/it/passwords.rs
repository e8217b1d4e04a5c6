//! Passwords, with a `chpasswd` that does as it is told.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::sandbox::{Answer, PROGRAM, Sandbox, USER, answer, hash, password, wait_for, with};

fn apply(sandbox: &Sandbox, generation: u64, rid: &str, new: &str) -> Answer {
    sandbox.run(&password("apply", USER, generation, rid, new))
}

#[test]
fn a_password_is_set_in_one_command_and_proven() {
    let sandbox = Sandbox::new();
    let new = hash("n");
    let done = apply(&sandbox, 1, "a", &new);
    done.expect("ok", 0, "new");
    assert_eq!(done.line["changed"], true);
    assert_eq!(done.line["phase"], "applied");
    let digest = done.line["proof"]["field_sha256"].as_str().expect("a proof");
    let sum =
        Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", &new]).output().expect("sha256sum");
    assert!(String::from_utf8(sum.stdout).expect("text").starts_with(digest));
    assert_eq!(sandbox.field(USER), new);
    assert_eq!(sandbox.field("root"), hash("o"));
    assert_eq!(done.line["facts"]["distro"], "debian 12");
    assert_eq!(done.line["facts"]["login_path"], "password:open,key:open");

    apply(&sandbox, 1, "a", &new).expect("already", 0, "new");
    assert_eq!(sandbox.read("calls"), "good\n", "chpasswd ran again");
    sandbox.run(&password("verify", USER, 1, "a", &new)).expect("ok", 0, "new");
    sandbox.run(&password("finalize", USER, 1, "a", &new)).expect("ok", 0, "new");
    assert_eq!(sandbox.journal()["rotation"]["prev"], json!(null));
    sandbox.run(&password("finalize", USER, 1, "a", &new)).expect("ok", 0, "new");
    apply(&sandbox, 1, "a", &new).expect("already", 0, "new");
}

#[test]
fn prepare_changes_nothing() {
    let sandbox = Sandbox::new();
    let looked = sandbox.run(&password("prepare", USER, 1, "a", &hash("n")));
    looked.expect("ok", 0, "old");
    assert_eq!(looked.line["changed"], false);
    assert_eq!(sandbox.field(USER), hash("o"));
    assert!(!sandbox.path("calls").exists());
    let folder = fs::read_dir(sandbox.path("var/lib/strongroom/rotator")).expect("a folder");
    assert!(folder.flatten().all(|file| file.path().extension().is_some_and(|e| e == "lock")));
}

#[test]
fn the_shadow_field_is_believed_and_not_the_exit_status() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("lies");
    let failed = apply(&sandbox, 1, "a", &hash("n"));
    failed.expect("tool_failed", 10, "old");
    assert_eq!(
        (failed.line["changed"].as_bool(), failed.line["final"].as_bool()),
        (Some(false), Some(false))
    );

    sandbox.chpasswd("dies-after");
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
}

#[test]
fn a_wrong_field_is_put_back() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("garbles-once");
    apply(&sandbox, 1, "a", &hash("n")).expect("restored", 12, "old");
    assert_eq!(sandbox.field(USER), hash("o"));
    assert_eq!(sandbox.journal()["rotation"]["phase"], "restored");
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");

    sandbox.chpasswd("garbles");
    apply(&sandbox, 2, "b", &hash("m")).expect("restore_failed", 13, "other");
}

#[test]
fn the_reason_of_an_unchanged_field_is_looked_up() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("fails");
    apply(&sandbox, 1, "a", &hash("n")).expect("tool_failed", 10, "old");
    sandbox.write("etc/shadow.lock", "");
    apply(&sandbox, 1, "a", &hash("n")).expect("shadow_busy", 10, "old");
    fs::remove_file(sandbox.path("etc/shadow.lock")).expect("removed");
    fs::remove_file(sandbox.path("usr/sbin/chpasswd")).expect("removed");
    let missing = apply(&sandbox, 1, "a", &hash("n"));
    missing.expect("tool_missing", 10, "old");
    assert_eq!(missing.line["final"], false, "this rotation had begun before");
    apply(&sandbox, 2, "b", &hash("n")).expect("tool_missing", 11, "old");
}

#[test]
fn a_lock_of_the_password_files_that_a_program_holds_is_seen() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("fails");
    sandbox.write("etc/.pwd.lock", "");
    apply(&sandbox, 1, "a", &hash("n")).expect("tool_failed", 10, "old");
    let file = fs::OpenOptions::new().write(true).open(sandbox.path("etc/.pwd.lock")).expect("opened");
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("locked");
    apply(&sandbox, 1, "a", &hash("n")).expect("shadow_busy", 10, "old");
    drop(file);
    apply(&sandbox, 1, "a", &hash("n")).expect("tool_failed", 10, "old");
}

#[test]
fn an_account_that_was_locked_on_purpose_stays_locked_unless_asked() {
    let sandbox = Sandbox::new();
    let locked = format!("!{}", hash("o"));
    sandbox.shadow(USER, &format!("{locked}:19000:0:99999:7:::"));
    let refused = apply(&sandbox, 1, "a", &hash("n"));
    refused.expect("account_locked", 11, "old");
    assert_eq!(sandbox.field(USER), locked);
    apply(&sandbox, 1, "a", &hash("n")).expect("fenced", 11, "old");
    let unlock = with(password("apply", USER, 2, "b", &hash("n")), "opt", json!({"unlock": true}));
    let done = sandbox.run(&unlock);
    done.expect("ok", 0, "new");
    assert!(done.warns("account_unlocked"));
}

#[test]
fn a_field_without_a_password_is_set_with_a_warning_and_restored_exactly() {
    for field in ["!", "!!", "*", "", "!*"] {
        let sandbox = Sandbox::new();
        sandbox.shadow(USER, &format!("{field}:19000:0:99999:7:::"));
        sandbox.chpasswd("garbles-once");
        apply(&sandbox, 1, "a", &hash("n")).expect("restored", 12, "old");
        assert_eq!(sandbox.field(USER), field);
        let done = apply(&sandbox, 1, "a", &hash("n"));
        done.expect("ok", 0, "new");
        assert!(done.warns("had_no_password"), "{field}");
    }
}

#[test]
fn ageing_is_refused_or_reported() {
    let sandbox = Sandbox::new();
    sandbox.shadow(USER, &format!("{}:19000:0:99999:7::100:", hash("o")));
    apply(&sandbox, 1, "a", &hash("n")).expect("account_expired", 11, "old");

    sandbox.shadow(USER, &format!("{}:0:0:30:7:::", hash("o")));
    let request = password("apply", USER, 2, "b", &hash("n"));
    let done = sandbox.run(&with(request, "opt", json!({"interval_days": 31})));
    done.expect("ok", 0, "new");
    assert!(done.warns("password_expired") && done.warns("max_days_shorter_than_interval"));
    assert_eq!(done.line["facts"]["user"]["max_days"], 30);
}

#[test]
fn a_password_that_must_be_changed_still_is_said_to_be_so() {
    let sandbox = Sandbox::new();
    sandbox.shadow(USER, &format!("{}:0:0:99999:7:::", hash("o")));
    let done = apply(&sandbox, 1, "a", &hash("n"));
    done.expect("ok", 0, "new");
    assert!(done.warns("password_expired") && !done.warns("password_still_expired"), "{}", done.text);
    sandbox.shadow(USER, &format!("{}:0:0:99999:7:::", hash("n")));
    sandbox.chpasswd("undated");
    let done = apply(&sandbox, 2, "b", &hash("m"));
    done.expect("ok", 0, "new");
    assert!(done.warns("password_still_expired"), "{}", done.text);
}

#[test]
fn failed_logons_that_pam_counts_are_reported() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("var/run/faillock")).expect("folders");
    sandbox.write("var/run/faillock/ann", "");
    assert!(!apply(&sandbox, 1, "a", &hash("n")).warns("failed_logons_counted"));
    sandbox.write("var/run/faillock/ann", "a record");
    assert!(apply(&sandbox, 2, "b", &hash("m")).warns("failed_logons_counted"));
}

#[test]
fn a_shadow_file_that_nobody_can_replace_is_named() {
    for frozen in ["etc/shadow", "etc"] {
        let sandbox = Sandbox::new();
        apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
        sandbox.freeze(frozen, true);
        apply(&sandbox, 1, "a", &hash("n")).expect("already", 0, "new");
        for op in ["prepare", "apply"] {
            let refused = sandbox.run(&password(op, USER, 2, "b", &hash("m")));
            refused.expect("shadow_readonly", 10, "old");
            assert!(
                refused.line["detail"].as_str().is_some_and(|d| d.contains("immutable")),
                "{}",
                refused.text
            );
        }
        sandbox.freeze(frozen, false);
        apply(&sandbox, 2, "b", &hash("m")).expect("ok", 0, "new");
    }
}

#[test]
fn users_are_those_of_the_files() {
    let sandbox = Sandbox::new();
    let of = |user: &str, generation, rid| sandbox.run(&password("apply", user, generation, rid, &hash("n")));
    of("nobody-here", 1, "a").expect("user_missing", 11, "old");
    sandbox.tool("getent", "#!/bin/sh\necho \"$2:x:1:1::/:/bin/sh\"\n");
    of("ldap-user", 2, "b").expect("not_local_user", 11, "old");
    let passwd = sandbox.read("etc/passwd");
    sandbox.write("etc/passwd", &format!("{passwd}old:x:7:7::/:\nplain::8:8::/:\n"));
    of("old", 3, "c").expect("no_shadow_entry", 11, "old");
    of("plain", 4, "d").expect("no_shadow_entry", 11, "old");
    assert!(!sandbox.path("calls").exists());
}

#[test]
fn a_rotation_of_a_missing_user_can_be_given_up_unless_it_had_begun() {
    let sandbox = Sandbox::new();
    let passwd = sandbox.read("etc/passwd");
    let request = |op: &str, generation, rid| password(op, USER, generation, rid, &hash("n"));
    sandbox.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    let fenced = sandbox.run(&request("fence", 1, "a"));
    fenced.expect("ok", 0, "old");
    assert!(fenced.line["final"] == true && fenced.warns("not_observed"), "{}", fenced.text);
    sandbox.run(&request("apply", 1, "a")).expect("fenced", 11, "old");

    sandbox.write("etc/passwd", &passwd);
    sandbox.run(&request("apply", 2, "b")).expect("ok", 0, "new");
    sandbox.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    let fenced = sandbox.run(&request("fence", 2, "b"));
    fenced.expect("user_missing", 11, "unknown");
    assert_eq!(fenced.line["final"], true);
}

#[test]
fn a_journal_that_was_lost_proves_nothing_about_what_began() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
    let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
    sandbox.write(&file, "{\"inst\":");
    sandbox.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    let fence = password("fence", USER, 1, "a", &hash("n"));
    for _ in 0..2 {
        sandbox.run(&fence).expect("user_missing", 11, "unknown");
    }
    apply(&sandbox, 1, "a", &hash("n")).expect("fenced", 11, "unknown");
}

#[test]
fn a_new_password_that_was_locked_is_neither_in_force_nor_gone() {
    let sandbox = Sandbox::new();
    let request = |op: &str| password(op, USER, 1, "a", &hash("n"));
    sandbox.run(&request("apply")).expect("ok", 0, "new");
    let locked = format!("!{}", hash("n"));
    sandbox.shadow(USER, &format!("{locked}:19000:0:99999:7:::"));
    sandbox.run(&request("status")).expect("ok", 0, "unknown");
    sandbox.run(&request("verify")).expect("verify_failed", 10, "unknown");
    sandbox.run(&request("apply")).expect("account_locked", 10, "unknown");
    sandbox.run(&request("fence")).expect("ok", 0, "unknown");
    assert_eq!(sandbox.field(USER), locked);
}

#[test]
fn what_somebody_else_sets_while_chpasswd_fails_is_not_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("overtaken");
    let overtaken = apply(&sandbox, 1, "a", &hash("n"));
    overtaken.expect("tool_failed", 10, "other");
    assert_eq!((&overtaken.line["changed"], &overtaken.line["final"]), (&json!(false), &json!(false)));
    assert_eq!(sandbox.field(USER), "$1$by-hand");
    assert_eq!(sandbox.read("calls"), "overtaken\n", "the former field was put back");
    sandbox.chpasswd("good");
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
    assert_eq!(sandbox.journal()["rotation"]["prev"], "$1$by-hand");
}

#[test]
fn the_gate_refuses_what_comes_too_late() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 5, "a", &hash("n")).expect("ok", 0, "new");
    let late = apply(&sandbox, 4, "b", &hash("m"));
    late.expect("stale_gen", 11, "old");
    assert_eq!(late.line["final"], true);
    apply(&sandbox, 5, "c", &hash("m")).expect("wrong_rid", 11, "old");
    apply(&sandbox, 5, "a", &hash("m")).expect("bad_request", 15, "other");
    sandbox.run(&password("finalize", USER, 4, "b", &hash("m"))).expect("stale_gen", 11, "old");

    let fenced = sandbox.run(&password("fence", USER, 6, "d", &hash("m")));
    fenced.expect("ok", 0, "old");
    assert_eq!(fenced.line["final"], true);
    apply(&sandbox, 6, "d", &hash("m")).expect("fenced", 11, "old");
    apply(&sandbox, 6, "e", &hash("m")).expect("fenced", 11, "old");
    assert_eq!(sandbox.field(USER), hash("n"));
    apply(&sandbox, 7, "f", &hash("m")).expect("ok", 0, "new");
    sandbox.run(&password("fence", USER, 7, "f", &hash("m"))).expect("ok", 0, "new");
    sandbox.run(&password("finalize", USER, 7, "f", &hash("m"))).expect("ok", 0, "new");
}

#[test]
fn a_fence_does_not_undo_what_was_committed() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
    let request = |op: &str| password(op, USER, 1, "a", &hash("n"));
    sandbox.run(&request("finalize")).expect("ok", 0, "new");
    let fenced = sandbox.run(&request("fence"));
    fenced.expect("ok", 0, "new");
    assert_eq!(fenced.line["phase"], "finalized");
    sandbox.run(&request("apply")).expect("fenced", 11, "new");
}

#[test]
fn a_fence_before_anything_was_begun_says_that_the_old_one_lives() {
    let sandbox = Sandbox::new();
    sandbox.run(&password("fence", USER, 1, "a", &hash("n"))).expect("ok", 0, "old");
    apply(&sandbox, 1, "a", &hash("n")).expect("fenced", 11, "old");
    assert_eq!(sandbox.field(USER), hash("o"));
}

#[test]
fn a_change_by_somebody_else_is_seen_and_overwritten() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
    sandbox.shadow(USER, &format!("{}:19000:0:99999:7:::", hash("x")));
    sandbox.run(&password("status", USER, 1, "a", &hash("n"))).expect("ok", 0, "other");
    sandbox.run(&password("verify", USER, 1, "a", &hash("n"))).expect("verify_failed", 10, "other");
    apply(&sandbox, 1, "a", &hash("n")).expect("ok", 0, "new");
}

#[test]
fn status_needs_no_credential_once_one_was_begun() {
    let sandbox = Sandbox::new();
    let mut status = password("status", USER, 1, "a", "");
    status.as_object_mut().expect("an object").remove("hash");
    sandbox.run(&status).expect("ok", 0, "unknown");
    apply(&sandbox, 1, "a", &hash("n"));
    sandbox.run(&status).expect("ok", 0, "new");
}

#[test]
fn the_journal_of_another_instance_means_nothing() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 5, "a", &hash("n")).expect("ok", 0, "new");
    let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
    sandbox.write(&file, &sandbox.read(&file).replace("\"i-1\"", "\"i-2\""));
    apply(&sandbox, 1, "b", &hash("m")).expect("ok", 0, "new");
}

#[test]
fn a_damaged_journal_is_put_aside_and_reported() {
    let sandbox = Sandbox::new();
    apply(&sandbox, 5, "a", &hash("n")).expect("ok", 0, "new");
    let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
    sandbox.write(&file, "{\"inst\":");
    let status = sandbox.run(&password("status", USER, 5, "a", &hash("n")));
    status.expect("ok", 0, "new");
    assert!(status.warns("journal_damaged"));
    apply(&sandbox, 5, "a", &hash("n")).expect("already", 0, "new");
    assert!(sandbox.path(&format!("{file}.damaged")).exists());
    assert!(!sandbox.run(&password("status", USER, 5, "a", &hash("n"))).warns("journal_damaged"));
}

#[test]
fn after_a_kill_the_next_run_waits_for_chpasswd_to_end() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("waits");
    let gate = sandbox.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let mut killed = sandbox.start(&password("apply", USER, 1, "a", &hash("n")));
    wait_for(&sandbox.path("started"));
    killed.kill().expect("killed");
    killed.wait().expect("ended");

    let other = with(password("status", USER, 1, "b", &hash("n")), "sid", json!("1".repeat(32)));
    sandbox.run(&other).expect("busy", 14, "unknown");
    let waiting = sandbox.start(&password("status", USER, 1, "a", &hash("n")));
    fs::write(&gate, "").expect("opened");
    let done = answer(&waiting.wait_with_output().expect("ended"));
    done.expect("ok", 0, "new");
    assert_eq!(done.line["phase"], "applied");
}

#[test]
fn a_bad_command_line_or_request_gets_a_line_too() {
    let sandbox = Sandbox::new();
    let pam = json!({"mode": "pam"});
    let refused = sandbox.run(&with(password("apply", USER, 1, "a", &hash("n")), "opt", pam));
    assert_eq!((refused.status, refused.line["code"].as_str()), (Some(15), Some("bad_request")));
    assert_eq!(refused.line["rid"], "a".repeat(32));
    assert!(refused.line["detail"].as_str().is_some_and(|d| d.contains("not supported by this version")));

    let refused = sandbox.run(&with(password("apply", USER, 1, "a", &hash("n")), "inst", json!("i-2")));
    assert_eq!((refused.status, refused.line["code"].as_str()), (Some(15), Some("wrong_instance")));

    let output = Command::new(PROGRAM).arg("run").output().expect("started");
    let refused = answer(&output);
    assert_eq!((refused.status, refused.line["strongroom"].as_u64()), (Some(15), Some(1)));
    let version = Command::new(PROGRAM).arg("--version").output().expect("started");
    assert!(version.status.success() && version.stdout.starts_with(b"strongroom-rotator "));
}

#[test]
fn without_root_nothing_is_done() {
    use std::os::unix::process::CommandExt as _;
    let sandbox = Sandbox::new();
    let copy = sandbox.path("rotator");
    fs::copy(PROGRAM, &copy).expect("copied");
    let output = Command::new(copy)
        .args(crate::sandbox::arguments(&password("apply", USER, 1, "a", &hash("n"))))
        .uid(54_321)
        .gid(54_321)
        .output()
        .expect("started");
    let refused = answer(&output);
    assert_eq!((refused.status, refused.line["code"].as_str()), (Some(15), Some("not_root")));
}
