//! `strongroom cmk` against a served vault.

use std::process::{Command, Stdio};

use crate::harness::Appliance;

#[tokio::test]
async fn the_commands_make_use_and_delete_a_key() {
    let appliance = Appliance::running().await;
    let run = |arguments: &str| {
        let words =
            arguments.split(' ').map(|word| word.replace("FOLDER", appliance.folder().to_str().unwrap()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command
            .args(words)
            .env("STRONGROOM_PROFILES", appliance.folder().join("admin.toml"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let ok = |arguments: &str| {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, 0, "{arguments}: {stderr}");
        stdout
    };
    let made = ok("cmk create --description shop --alias shop --tag env=prod --rotate-every 30d");
    let id = made.lines().next().unwrap().strip_prefix("created ").unwrap().to_owned();
    assert!(ok("cmk describe alias/shop").contains(&id));
    assert!(ok("cmk list --state enabled --tag-key env").contains(&id));
    assert!(ok("cmk alias list").contains("alias/shop"));

    std::fs::write(appliance.folder().join("plain"), "Marker\0Plain\n").unwrap();
    let encrypted = ok("cmk encrypt alias/shop --in FOLDER/plain --context order=1 --out FOLDER/blob");
    assert!(!encrypted.contains("Marker"));
    assert_eq!(ok("cmk decrypt --in FOLDER/blob --context order=1"), "Marker\0Plain\n");
    ok("cmk decrypt --in FOLDER/blob --context order=1 --out FOLDER/again");
    assert_eq!(std::fs::read(appliance.folder().join("again")).unwrap(), b"Marker\0Plain\n");
    assert_eq!(run("cmk decrypt --in FOLDER/blob").0, 1, "another context");

    ok(&format!("cmk rotate {id}"));
    ok(&format!("cmk rotation-policy {id} --off"));
    ok(&format!("cmk protect {id} --reason backups"));
    assert_eq!(run(&format!("cmk delete {id}")).0, 1);
    ok(&format!("cmk protect {id} --off"));
    ok(&format!("cmk delete {id} --window-days 7"));
    assert!(ok(&format!("cmk describe {id}")).contains("PendingDeletion"));
    let (code, _, stderr) = run("cmk decrypt --in FOLDER/blob --context order=1");
    assert!(code == 1 && stderr.contains("cmk restore"), "{stderr}");
    ok(&format!("cmk restore {id}"));
    ok(&format!("cmk disable {id}"));
    ok(&format!("cmk enable {id}"));
    assert_eq!(ok("cmk decrypt --in FOLDER/blob --context order=1"), "Marker\0Plain\n");
    let (code, _, stderr) = run("cmk disable alias/shop");
    assert!(code == 1 && stderr.contains("cmk describe"), "{stderr}");
    ok("cmk alias delete shop");
    assert_eq!(run("cmk describe alias/shop").0, 5);
}
