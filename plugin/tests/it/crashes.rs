//! The process is killed before and after every durable step, and what is
//! left must lead to a good end.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::{Value, json};

use crate::sandbox::{
    Answer, KEY_A, KEY_B, OLD_KEY, Sandbox, USER, answer, fingerprint, hash, key, password, with, without,
};
use crate::sealing;

/// How many points `request` passes on a machine made by `make`.
fn count(make: &dyn Fn() -> Sandbox, request: &Value) -> u32 {
    let sandbox = make();
    let file = sandbox.path("count");
    // Some points are passed with the rights of the user.
    sandbox.write("count", "");
    sandbox.mode("count", 0o666);
    let output = sandbox.command(request).env("STRONGROOM_CRASH_COUNT", &file).output().expect("started");
    assert_eq!(answer(&output).status, Some(0), "{:?}", answer(&output));
    fs::read_to_string(file).expect("a count").parse().expect("a number")
}

/// Kills `request` at each point on a fresh machine, and has `judge` look.
fn at_every_point(make: &dyn Fn() -> Sandbox, request: &Value, judge: &dyn Fn(&Sandbox, u32)) {
    let points = count(make, request);
    assert!(points >= 6, "only {points} points");
    for point in 1..=points {
        let sandbox = make();
        let output =
            sandbox.command(request).env("STRONGROOM_CRASH_AT", point.to_string()).output().expect("started");
        assert_eq!(output.status.signal(), Some(9), "point {point} of {points}");
        judge(&sandbox, point);
    }
}

fn live(answer: &Answer) -> &str {
    answer.line["live"].as_str().expect("live")
}

#[test]
fn a_password_ends_well_wherever_its_change_is_cut_off() {
    let (old, new) = (hash("o"), hash("n"));
    let request = |op: &str| password(op, USER, 1, "a", &new);
    at_every_point(&Sandbox::new, &request("apply"), &|sandbox, point| {
        let field = sandbox.field(USER);
        let status = sandbox.run(&request("status"));
        let expected = if field == new { "new" } else { "old" };
        assert!(field == new || field == old, "point {point}");
        status.expect("ok", 0, expected);
        let again = sandbox.run(&request("apply"));
        assert_eq!((again.status, live(&again)), (Some(0), "new"), "point {point}");
        assert_eq!(sandbox.field(USER), new);
        sandbox.run(&request("verify")).expect("ok", 0, "new");
        sandbox.run(&request("finalize")).expect("ok", 0, "new");
        assert_eq!(sandbox.journal()["rotation"]["phase"], "finalized", "point {point}");
    });
}

#[test]
fn a_password_can_be_given_up_wherever_its_change_is_cut_off() {
    let new = hash("n");
    let request = |op: &str| password(op, USER, 1, "a", &new);
    at_every_point(&Sandbox::new, &request("apply"), &|sandbox, point| {
        let field = sandbox.field(USER);
        let fence = sandbox.run(&request("fence"));
        let expected = if field == new { "new" } else { "old" };
        fence.expect("ok", 0, expected);
        sandbox.run(&request("apply")).expect("fenced", 11, expected);
        assert_eq!(sandbox.field(USER), field, "point {point}");
    });
}

#[test]
fn a_key_pair_can_be_made_again_wherever_that_is_cut_off() {
    let request = sealing::prepare(1, "a");
    at_every_point(&Sandbox::new, &request, &|sandbox, point| {
        let again = sandbox.run(&request);
        again.expect("ok", 0, "old");
        let names = sealing::kept(sandbox);
        assert!(names.len() == 1 && names[0].ends_with(".key"), "point {point} left {names:?}");
        let apply = sealing::sealed(&again, 1, "a", &hash("n"));
        sandbox.run(&apply).expect("ok", 0, "new");
    });
}

#[test]
fn a_sealed_password_ends_well_wherever_its_change_is_cut_off() {
    let new = hash("n");
    let ask = |op: &str| without(password(op, USER, 1, "a", ""), "hash");
    for end in ["apply", "fence"] {
        for point in 1.. {
            let sandbox = Sandbox::new();
            let prepared = sandbox.run(&sealing::prepare(1, "a"));
            let apply = sealing::sealed(&prepared, 1, "a", &new);
            let mut command = sandbox.command(&apply);
            let output = command.env("STRONGROOM_CRASH_AT", point.to_string()).output().expect("started");
            if output.status.signal().is_none() {
                assert!(point > 8, "only {point} points");
                break;
            }
            let field = sandbox.field(USER);
            let expected = if field == new { "new" } else { "old" };
            if end == "fence" {
                sandbox.run(&ask("fence")).expect("ok", 0, expected);
                sandbox.run(&apply).expect("fenced", 11, expected);
                assert_eq!(sandbox.field(USER), field, "point {point}");
            } else {
                sandbox.run(&ask("status")).expect("ok", 0, expected);
                let again = sandbox.run(&apply);
                assert_eq!((again.status, live(&again)), (Some(0), "new"), "point {point}");
                sandbox.run(&ask("finalize")).expect("ok", 0, "new");
            }
            assert!(sealing::kept(&sandbox).is_empty(), "point {point}");
        }
    }
}

#[test]
fn no_key_pair_stays_wherever_the_end_of_its_rotation_is_cut_off() {
    for op in ["finalize", "fence"] {
        let request = without(password(op, USER, 1, "a", ""), "hash");
        let make = || {
            let sandbox = Sandbox::new();
            let prepared = sandbox.run(&sealing::prepare(1, "a"));
            sandbox.run(&sealing::sealed(&prepared, 1, "a", &hash("n"))).expect("ok", 0, "new");
            sandbox
        };
        at_every_point(&make, &request, &|sandbox, point| {
            sandbox.run(&request).expect("ok", 0, "new");
            assert!(sealing::kept(sandbox).is_empty(), "point {point} of {op}");
        });
    }
}

#[test]
fn one_line_of_the_key_stays_wherever_the_clearing_of_copies_is_cut_off() {
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.run(&key("apply", 1, "a", KEY_A)).expect("ok", 0, "new");
        sandbox.key_file(&format!("# mine\n{}{KEY_A} copy\n", sandbox.keys()));
        sandbox.second_key_file(&format!("{KEY_A} again\n"));
        sandbox
    };
    let request = key("apply", 1, "a", KEY_A);
    at_every_point(&make, &request, &|sandbox, point| {
        assert!(sandbox.keys().contains(KEY_A), "point {point}");
        let again = sandbox.run(&request);
        again.expect("already", 0, "new");
        assert!(again.warns("key_duplicates_removed"), "point {point}: {}", again.text);
        assert_eq!(sandbox.keys(), format!("# mine\n{KEY_A} strongroom:00000000:1\n"), "point {point}");
        assert_eq!(sandbox.read("home/ann/.ssh/authorized_keys2"), "", "point {point}");
        drafts_are_gone(sandbox, point);
    });
}

#[test]
fn the_former_password_is_remembered_when_putting_it_back_was_cut_off() {
    let request = password("apply", USER, 1, "a", &hash("n"));
    let mut spoiled = 0;
    for point in 1.. {
        let sandbox = Sandbox::new();
        sandbox.chpasswd("garbles-once");
        let mut command = sandbox.command(&request);
        command.env("STRONGROOM_CRASH_AT", point.to_string());
        let output = command.output().expect("started");
        if output.status.signal().is_none() {
            break;
        }
        if sandbox.field(USER) != "$1$garbage" {
            continue;
        }
        spoiled += 1;
        sandbox.chpasswd("fails");
        sandbox.run(&request).expect("tool_failed", 10, "other");
        assert_eq!(sandbox.journal()["rotation"]["prev"], json!(hash("o")), "point {point}");
        sandbox.chpasswd("garbles-anew");
        sandbox.run(&request).expect("restored", 12, "old");
        assert_eq!(sandbox.field(USER), hash("o"), "point {point}");
    }
    assert!(spoiled > 0, "no point lies between the wrong write and putting it back");
}

#[test]
fn a_key_ends_well_wherever_its_change_is_cut_off() {
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.write("home/ann/.profile", "");
        sandbox
    };
    let request = |op: &str| key(op, 1, "a", KEY_A);
    at_every_point(&make, &request("apply"), &|sandbox, point| {
        sandbox.run(&request("status"));
        let again = sandbox.run(&request("apply"));
        assert_eq!((again.status, live(&again)), (Some(0), "new"), "point {point}");
        assert_eq!(sandbox.keys().matches(KEY_A).count(), 1, "point {point}");
        assert_eq!(sandbox.journal()["rotation"]["added"], true, "point {point}");
        drafts_are_gone(sandbox, point);
    });
}

#[test]
fn there_is_a_key_that_works_wherever_a_removal_is_cut_off() {
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("# mine\n{OLD_KEY} me\n"));
        sandbox.run(&key("apply", 1, "a", KEY_A)).expect("ok", 0, "new");
        sandbox
    };
    let remove = json!([fingerprint(OLD_KEY)]);
    let finalize = with(key("finalize", 1, "a", KEY_A), "remove", remove);
    at_every_point(&make, &finalize, &|sandbox, point| {
        assert!(sandbox.keys().contains(KEY_A), "point {point}");
        sandbox.run(&key("status", 1, "a", KEY_A)).expect("ok", 0, "new");
        sandbox.run(&finalize).expect("ok", 0, "new");
        let keys = sandbox.keys();
        assert!(keys.starts_with("# mine\n") && !keys.contains(OLD_KEY), "point {point}");
        drafts_are_gone(sandbox, point);
    });
}

#[test]
fn a_key_is_taken_back_wherever_that_is_cut_off() {
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.key_file(&format!("{OLD_KEY} me\n"));
        sandbox.run(&key("apply", 1, "a", KEY_A)).expect("ok", 0, "new");
        let remove = json!([fingerprint(OLD_KEY)]);
        sandbox.run(&with(key("finalize", 1, "a", KEY_A), "remove", remove)).expect("ok", 0, "new");
        sandbox.run(&key("apply", 2, "b", KEY_B)).expect("ok", 0, "both");
        sandbox
    };
    let fence = with(key("fence", 2, "b", KEY_B), "opt", json!({"remove_added": true}));
    at_every_point(&make, &fence, &|sandbox, point| {
        assert!(sandbox.keys().contains(KEY_A), "point {point}");
        sandbox.run(&fence).expect("ok", 0, "old");
        assert!(!sandbox.keys().contains(KEY_B), "point {point}");
        sandbox.run(&key("apply", 2, "b", KEY_B)).expect("fenced", 11, "old");
        drafts_are_gone(sandbox, point);
    });
}

#[test]
fn a_damaged_journal_is_kept_wherever_putting_it_aside_is_cut_off() {
    let folder = "var/lib/strongroom/rotator";
    let journal = format!("{folder}/{}.json", "0".repeat(32));
    let make = || {
        let sandbox = Sandbox::new();
        sandbox.run(&password("apply", USER, 1, "a", &hash("n"))).expect("ok", 0, "new");
        sandbox.write(&journal, "{damaged");
        sandbox
    };
    let request = password("apply", USER, 2, "b", &hash("m"));
    at_every_point(&make, &request, &|sandbox, point| {
        let field = sandbox.field(USER);
        let expected = if field == hash("m") { "already" } else { "ok" };
        sandbox.run(&request).expect(expected, 0, "new");
        assert_eq!(sandbox.read(&format!("{journal}.damaged")), "{damaged", "point {point}");
    });
}

/// Calls that change files, and the only sources that may hold them: there a
/// point stands before and after each. What `locks.rs` makes holds nothing.
#[test]
fn every_durable_write_stands_where_the_points_are() {
    const CHANGES: [&str; 12] = [
        "fs::write",
        "fs::rename",
        "remove_file",
        "remove_dir",
        "create_dir",
        "DirBuilder",
        "set_permissions",
        "OpenOptions",
        "File::create",
        "unlinkat",
        "renameat",
        "mkdirat",
    ];
    const PLACES: [&str; 5] =
        ["crash.rs", "durable.rs", "locks.rs", "authorized_keys/replace.rs", "authorized_keys/walk.rs"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut points = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("a source");
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            points += source.matches("crash::point()").count();
            let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
            let found: Vec<&str> = CHANGES.into_iter().filter(|call| source.contains(call)).collect();
            assert!(found.is_empty() || PLACES.contains(&name.as_str()), "{name} calls {found:?}");
        }
    }
    assert!(points >= 18, "only {points} points in the sources");
}

#[test]
fn a_programming_error_is_answered_wherever_it_happens() {
    let make = Sandbox::new;
    for request in [password("apply", USER, 1, "a", &hash("n")), key("apply", 1, "a", KEY_A)] {
        for point in 1..=count(&make, &request) {
            let sandbox = make();
            let mut command = sandbox.command(&request);
            command.env("STRONGROOM_CRASH_AT", point.to_string()).env("STRONGROOM_CRASH_PANIC", "1");
            let failed = answer(&command.output().expect("started"));
            failed.expect("internal", 10, "unknown");
            assert_eq!(failed.line["rid"], "a".repeat(32));
            assert_eq!(failed.line["final"], false);
            let status = sandbox.run(&with(request.clone(), "op", json!("status")));
            assert_eq!(status.status, Some(0), "{}", status.text);
        }
    }
}

fn drafts_are_gone(sandbox: &Sandbox, point: u32) {
    let names = fs::read_dir(sandbox.path("home/ann/.ssh")).expect("a folder");
    for name in names.flatten().map(|entry| entry.file_name()) {
        let name = name.to_string_lossy().into_owned();
        assert!(!name.contains(".strongroom."), "point {point} left {name}");
    }
}
