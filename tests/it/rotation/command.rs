//! `strongroom secret rotate` and `rotations`, as people and scripts see them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::{Credential, Kind, NAME, USER, World};

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.args(arguments).env("STRONGROOM_PROFILES", world.appliance.folder().join("admin.toml"));
    command
}

/// Runs the program; gives its exit code, standard output and standard error.
fn run(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(world, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let found = rest.split_once(part);
        rest = found.unwrap_or_else(|| panic!("{part} is not in its place in {text}")).1;
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn waiting_shows_each_step_and_what_is_in_force_to_people_and_to_scripts() {
    let world = World::new(Kind::Password).await;
    let file = world.folder().join("next-password");
    std::fs::write(&file, "Chosen-By-File-1\n").unwrap();
    let file = file.to_str().unwrap();
    let rotate = ["secret", "rotate", NAME, "--version-id", "v2", "--password-file", file, "--wait"];
    let (code, stdout, stderr) = run(&world, &rotate);
    assert_eq!(code, 0, "{stdout}{stderr}");
    in_order(&stderr, &["Staged", "Sending", "Sent", "Verified", "Committed", "Done"]);
    in_order(&stdout, &["version v2 is in force", "rotation is by hand only"]);
    assert!(world.at_rest("v2").await == Credential::password(USER, "Chosen-By-File-1"));

    let (code, stdout, stderr) =
        run(&world, &["--json", "secret", "rotate", NAME, "--version-id", "v3", "--wait"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let steps = lines(&stdout);
    assert!(
        steps
            .iter()
            .all(|line| line["Step"].is_string() && line["State"].is_string() && line["Time"].is_string()),
        "{stdout}"
    );
    assert_eq!((&steps[0]["Step"], &steps[0]["State"]), (&"preflight".into(), &"Staged".into()));
    let last = steps.last().unwrap();
    assert_eq!((&last["Step"], &last["State"]), (&"end".into(), &"Done".into()));
    assert_eq!((&last["VersionId"], &last["CurrentVersionId"]), (&"v3".into(), &"v3".into()));

    // Repeating it repeats nothing, and without --wait it says where to look.
    let (code, stdout, _) = run(&world, &["secret", "rotate", NAME, "--version-id", "v3"]);
    assert_eq!(code, 0);
    in_order(&stdout, &["has begun", &format!("secret rotations {NAME}")]);
    let (code, stdout, _) = run(&world, &["secret", "rotate", NAME, "--version-id", "v1", "--wait"]);
    assert!(code == 0 && stdout.contains("nothing was rotated; version v3 is in force"), "{stdout}");
    assert_eq!(world.rows().len(), 2);
}

#[tokio::test]
async fn a_failed_rotation_shows_step_code_text_and_what_to_do_and_can_be_read_afterwards() {
    let world = World::new(Kind::Password).await;
    world.shell("usermod -L deploy");
    let (code, stdout, stderr) = run(&world, &["secret", "rotate", NAME, "--version-id", "v2", "--wait"]);
    assert_eq!(code, 10, "{stdout}{stderr}");
    assert!(stdout.contains("version v1 is still in force"), "{stdout}");
    in_order(
        &stderr,
        &[
            "Staged",
            "account_locked",
            "what to do:",
            "Failed",
            "error:",
            "in step apply: account_locked",
            "next: Find out who",
        ],
    );

    let (code, stdout, stderr) =
        run(&world, &["--json", "secret", "rotate", NAME, "--version-id", "v3", "--wait"]);
    assert_eq!(code, 10);
    let steps = lines(&stdout);
    assert_eq!(steps.last().unwrap()["State"], "Failed");
    let trouble = steps.iter().find(|line| line["Code"] == "account_locked").unwrap();
    assert!(
        trouble["Step"] == "apply" && trouble["Advice"].as_str().unwrap().contains("unlocked"),
        "{trouble}"
    );
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(
        (&error["error"]["exit"], &error["error"]["code"], &error["error"]["step"]),
        (&10.into(), &"account_locked".into(), &"apply".into())
    );

    world.shell("usermod -U deploy");
    assert_eq!(run(&world, &["secret", "rotate", NAME, "--version-id", "v4", "--wait"]).0, 0);
    let (code, stdout, _) = run(&world, &["secret", "rotations", NAME]);
    assert_eq!(code, 0);
    in_order(
        &stdout,
        &[
            "version v4 is the current one",
            "Done to version v4",
            "Failed to version v3",
            "account_locked",
            "Failed to version v2",
        ],
    );
    let (_, stdout, _) = run(&world, &["secret", "rotations", NAME, "--limit", "1", "--json"]);
    let listed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(listed["Rotations"].as_array().unwrap().len(), 1);
    world.at_rest("v4").await;
}

#[tokio::test]
async fn ctrl_c_stops_the_watching_and_not_the_rotation() {
    let world = World::new(Kind::Key).await;
    world.suffer([Fault::new(FaultKind::DelayDelivery { millis: 2_000 }).op("apply")]);
    let mut child = command(&world, &["secret", "rotate", NAME, "--version-id", "v2", "--wait"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Staged") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before a step was shown");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    in_order(&rest, &["stopped watching", "goes on by itself", "secret rotations"]);
    assert_eq!(world.over("v2").await.state, "Done");
    world.at_rest("v2").await;
}

#[tokio::test]
async fn a_secret_whose_rotation_is_in_doubt_says_so_until_it_is_given_up() {
    let world = World::new(Kind::Password).await;
    let before = world.current(NAME).await;
    let never = || FaultKind::NeverDeliver { error_code: "ClientNotRunning".to_owned() };
    world.suffer(["apply", "status", "fence"].map(|op| Fault::new(never()).op(op).times(100_000)));
    let (code, _, stderr) =
        run(&world, &["secret", "rotate", NAME, "--version-id", "v2", "--wait", "--timeout", "3"]);
    assert_eq!(code, 6, "{stderr}");
    in_order(&stderr, &["Unknown", "is not over after 3 s", "keeps both credentials", "agent"]);
    for (arguments, said) in
        [(["secret", "describe", NAME], "both are kept"), (["secret", "rotations", NAME], "--give-up v2")]
    {
        let (code, stdout, _) = run(&world, &arguments);
        assert!(code == 0 && stdout.contains(said), "{stdout}");
    }
    let (_, _, stderr) = run(&world, &["secret", "list"]);
    assert!(stderr.contains(NAME) && stderr.contains("secret rotations"), "{stderr}");
    let described = world.admin().ok("DescribeSecret", &[("SecretName", NAME)]).await;
    assert_eq!(described["RotationInDoubt"], true);

    let (code, stdout, stderr) = run(&world, &["secret", "rotate", NAME, "--give-up", "v2"]);
    assert!(code == 0 && stdout.contains("until the instance has confirmed"), "{stdout}{stderr}");
    let row = world.row_that("v2", |row| row.state == "Fencing" || row.over).await;
    assert!(
        !row.over && world.value_of(NAME, "ACSPending").await.is_some(),
        "it was given up without an answer"
    );
    world.cloud().clear_faults();
    assert_eq!(world.over("v2").await.state, "Failed");
    assert!(world.at_rest("given up").await == before);
    let described = world.admin().ok("DescribeSecret", &[("SecretName", NAME)]).await;
    assert!(described.get("RotationInDoubt").is_none(), "{described}");
    let (code, _, stderr) = run(&world, &["secret", "rotate", NAME, "--give-up", "v2"]);
    assert!(code == 5 && stderr.contains("Unknown or Stuck"), "{stderr}");
    assert_eq!(run(&world, &["secret", "rotate", NAME, "--version-id", "v3", "--wait"]).0, 0);
    world.at_rest("v3").await;
}
