//! What somebody else did between two rotations is noticed and named, and the
//! rotation goes on.

use std::fs;

use serde_json::json;

use crate::sandbox::{Answer, KEY_A, KEY_B, OLD_KEY, Sandbox, USER, fingerprint, hash, key, password, with};

const WORDS: [&str; 4] = ["changed_outside", "managed_key_missing", "no_journal", "key_duplicates_removed"];

/// Those of the warnings that say what somebody else did.
#[track_caller]
fn says(answer: &Answer, expected: &[&str]) {
    let found: Vec<&str> = WORDS.into_iter().filter(|word| answer.warns(word)).collect();
    assert_eq!(found, expected, "{}", answer.text);
}

fn password_step(sandbox: &Sandbox, op: &str, generation: u64, rid: &str, new: &str) -> Answer {
    sandbox.run(&password(op, USER, generation, rid, new))
}

fn key_step(sandbox: &Sandbox, op: &str, generation: u64, rid: &str, new: &str) -> Answer {
    sandbox.run(&key(op, generation, rid, new))
}

fn finalize_key(sandbox: &Sandbox, generation: u64, rid: &str, new: &str, old: &str) -> Answer {
    let request = key("finalize", generation, rid, new);
    sandbox.run(&with(request, "remove", json!([fingerprint(old)])))
}

#[test]
fn a_password_changed_by_hand_is_named_by_every_answer_of_the_next_rotation() {
    let sandbox = Sandbox::new();
    let first = password_step(&sandbox, "apply", 1, "a", &hash("n"));
    first.expect("ok", 0, "new");
    says(&first, &[]);
    says(&password_step(&sandbox, "finalize", 1, "a", &hash("n")), &[]);
    says(&password_step(&sandbox, "prepare", 2, "b", &hash("m")), &[]);

    sandbox.shadow(USER, &format!("{}:19000:0:99999:7:::", hash("h")));
    let looked = password_step(&sandbox, "status", 1, "a", &hash("n"));
    looked.expect("ok", 0, "other");
    says(&looked, &["changed_outside"]);
    says(&password_step(&sandbox, "prepare", 2, "b", &hash("m")), &["changed_outside"]);
    let done = password_step(&sandbox, "apply", 2, "b", &hash("m"));
    done.expect("ok", 0, "new");
    says(&done, &["changed_outside"]);
    for op in ["apply", "status", "verify", "finalize", "apply", "status"] {
        says(&password_step(&sandbox, op, 2, "b", &hash("m")), &["changed_outside"]);
    }
    let next = password_step(&sandbox, "apply", 3, "c", &hash("l"));
    next.expect("ok", 0, "new");
    says(&next, &[]);
}

#[test]
fn what_a_failed_rotation_left_is_not_called_a_change_by_hand() {
    let sandbox = Sandbox::new();
    password_step(&sandbox, "apply", 1, "a", &hash("n"));
    sandbox.chpasswd("garbles-once");
    password_step(&sandbox, "apply", 2, "b", &hash("m")).expect("restored", 12, "old");
    let again = password_step(&sandbox, "apply", 2, "b", &hash("m"));
    again.expect("ok", 0, "new");
    says(&again, &[]);

    sandbox.chpasswd("garbles");
    password_step(&sandbox, "apply", 3, "c", &hash("l")).expect("restore_failed", 13, "other");
    sandbox.chpasswd("good");
    let again = password_step(&sandbox, "apply", 3, "c", &hash("l"));
    again.expect("ok", 0, "new");
    says(&again, &[]);

    // Given up with the new one in force, or with the old one.
    password_step(&sandbox, "fence", 3, "c", &hash("l")).expect("ok", 0, "new");
    says(&password_step(&sandbox, "prepare", 4, "d", &hash("k")), &[]);
    password_step(&sandbox, "fence", 4, "d", &hash("k")).expect("ok", 0, "old");
    says(&password_step(&sandbox, "apply", 5, "e", &hash("j")), &[]);
}

#[test]
fn a_password_changed_while_chpasswd_fails_is_named() {
    let sandbox = Sandbox::new();
    sandbox.chpasswd("overtaken");
    let overtaken = password_step(&sandbox, "apply", 1, "a", &hash("n"));
    overtaken.expect("tool_failed", 10, "other");
    says(&overtaken, &["changed_outside"]);
    sandbox.chpasswd("good");
    says(&password_step(&sandbox, "apply", 1, "a", &hash("n")), &["changed_outside"]);
}

#[test]
fn a_later_rotation_without_a_journal_says_so_until_it_is_over() {
    for trap in ["none", "another instance's"] {
        let sandbox = Sandbox::new();
        if trap != "none" {
            password_step(&sandbox, "apply", 6, "f", &hash("f"));
            let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
            sandbox.write(&file, &sandbox.read(&file).replace("\"i-1\"", "\"i-2\""));
        }
        says(&password_step(&sandbox, "prepare", 7, "a", &hash("n")), &["no_journal"]);
        says(&password_step(&sandbox, "status", 7, "a", &hash("n")), &["no_journal"]);
        for _ in 0..2 {
            says(&password_step(&sandbox, "apply", 7, "a", &hash("n")), &["no_journal"]);
        }
        says(&password_step(&sandbox, "status", 7, "a", &hash("n")), &["no_journal"]);
        says(&password_step(&sandbox, "apply", 8, "b", &hash("m")), &[]);
    }
    let sandbox = Sandbox::new();
    says(&key_step(&sandbox, "apply", 2, "a", KEY_A), &["no_journal"]);
    let damaged = Sandbox::new();
    password_step(&damaged, "apply", 1, "a", &hash("n"));
    damaged.write(&format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32)), "{");
    let done = password_step(&damaged, "apply", 2, "b", &hash("m"));
    assert!(done.warns("journal_damaged"));
    says(&done, &[]);
}

#[test]
fn a_managed_key_that_vanished_is_named_and_the_rotation_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY} mine\n"));
    says(&key_step(&sandbox, "apply", 1, "a", KEY_A), &[]);
    says(&finalize_key(&sandbox, 1, "a", KEY_A, &format!("{KEY_B} x")), &[]);
    sandbox.key_file(&format!("{OLD_KEY} mine\n"));
    says(&key_step(&sandbox, "status", 1, "a", KEY_A), &["managed_key_missing"]);
    says(&key_step(&sandbox, "prepare", 2, "b", KEY_B), &["managed_key_missing"]);
    for _ in 0..2 {
        let done = key_step(&sandbox, "apply", 2, "b", KEY_B);
        assert_eq!(done.status, Some(0), "{}", done.text);
        says(&done, &["managed_key_missing"]);
    }
    assert_eq!(sandbox.keys(), format!("{OLD_KEY} mine\n{KEY_B} strongroom:00000000:2\n"));
    says(&key_step(&sandbox, "apply", 3, "c", KEY_A), &[]);
}

#[test]
fn after_a_rotation_that_was_taken_back_the_key_before_it_is_expected() {
    let sandbox = Sandbox::new();
    key_step(&sandbox, "apply", 1, "a", KEY_A).expect("ok", 0, "new");
    finalize_key(&sandbox, 1, "a", KEY_A, OLD_KEY).expect("ok", 0, "new");
    key_step(&sandbox, "apply", 2, "b", KEY_B).expect("ok", 0, "both");
    let fence = with(key("fence", 2, "b", KEY_B), "opt", json!({"remove_added": true}));
    sandbox.run(&fence).expect("ok", 0, "old");
    says(&key_step(&sandbox, "prepare", 3, "c", OLD_KEY), &[]);
    sandbox.key_file("");
    says(&key_step(&sandbox, "prepare", 3, "c", OLD_KEY), &["managed_key_missing"]);
}

#[test]
fn one_line_of_a_managed_key_stays_however_often_it_was_copied() {
    let sandbox = Sandbox::new();
    key_step(&sandbox, "apply", 1, "a", KEY_A).expect("ok", 0, "new");
    let line = sandbox.keys();
    let others = format!("# mine\r\n{OLD_KEY} friend\n");
    sandbox.key_file(&format!("{others}expiry-time=\"20200101\" {KEY_A} dead\n{line}{KEY_A} copy\n"));
    sandbox.second_key_file(&format!("# second\n{KEY_A} again\n{KEY_B} friend\n"));
    for _ in 0..2 {
        let done = key_step(&sandbox, "apply", 1, "a", KEY_A);
        done.expect("already", 0, "new");
        says(&done, &["key_duplicates_removed"]);
        assert_eq!(sandbox.keys(), format!("{others}{line}"));
        assert_eq!(sandbox.read("home/ann/.ssh/authorized_keys2"), format!("# second\n{KEY_B} friend\n"));
    }
    says(&key_step(&sandbox, "status", 1, "a", KEY_A), &["key_duplicates_removed"]);
}

#[test]
fn a_line_that_opens_nothing_gives_way_to_one_that_does() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("expiry-time=\"20200101\" {KEY_A} dead\n{OLD_KEY} friend\n"));
    let done = key_step(&sandbox, "apply", 1, "a", KEY_A);
    done.expect("ok", 0, "new");
    says(&done, &["key_duplicates_removed"]);
    assert_eq!(sandbox.keys(), format!("{OLD_KEY} friend\n{KEY_A} strongroom:00000000:1\n"));
}

#[test]
fn copies_of_the_former_key_go_with_it_and_are_named() {
    let sandbox = Sandbox::new();
    sandbox.key_file(&format!("{OLD_KEY} one\n{OLD_KEY} two\n"));
    key_step(&sandbox, "apply", 1, "a", KEY_A).expect("ok", 0, "new");
    let done = finalize_key(&sandbox, 1, "a", KEY_A, OLD_KEY);
    done.expect("ok", 0, "new");
    says(&done, &["key_duplicates_removed"]);
    assert_eq!(sandbox.keys(), format!("{KEY_A} strongroom:00000000:1\n"));
    says(&finalize_key(&sandbox, 1, "a", KEY_A, OLD_KEY), &["key_duplicates_removed"]);
    says(&key_step(&sandbox, "apply", 2, "b", KEY_B), &[]);
}

#[test]
fn copies_that_cannot_be_removed_are_said_to_be_left() {
    let sandbox = Sandbox::new();
    key_step(&sandbox, "apply", 1, "a", KEY_A).expect("ok", 0, "new");
    sandbox.second_key_file(&format!("{KEY_A} again\n"));
    sandbox.mode("home/ann/.ssh/authorized_keys2", 0o444);
    sandbox.mode("home/ann/.ssh", 0o500);
    let done = key_step(&sandbox, "apply", 1, "a", KEY_A);
    done.expect("already", 0, "new");
    assert!(done.warns("key_duplicates_left"), "{}", done.text);
    says(&done, &[]);
    sandbox.mode("home/ann/.ssh", 0o700);
    says(&key_step(&sandbox, "apply", 1, "a", KEY_A), &["key_duplicates_removed"]);
    assert_eq!(fs::read_to_string(sandbox.path("home/ann/.ssh/authorized_keys2")).expect("read"), "");
}

#[test]
fn a_journal_of_the_version_before_is_read() {
    let sandbox = Sandbox::new();
    password_step(&sandbox, "apply", 1, "a", &hash("n")).expect("ok", 0, "new");
    let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
    let mut journal = sandbox.journal();
    journal["rotation"].as_object_mut().expect("an object").remove("notes").expect("notes");
    sandbox.write(&file, &journal.to_string());
    let status = password_step(&sandbox, "status", 1, "a", &hash("n"));
    status.expect("ok", 0, "new");
    assert!(!status.warns("journal_damaged") && status.line["phase"] == "applied", "{}", status.text);
}
