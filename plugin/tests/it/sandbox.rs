//! A root folder with users, and with tools that do as they are told.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The user of the sandbox, with a home folder.
pub(crate) const USER: &str = "ann";
/// Her user id and group id, which nobody has on the machine itself.
pub(crate) const UID: u32 = 54_321;
/// The key of which the tests say that it was there before.
pub(crate) const OLD_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
/// The first key that is put in.
pub(crate) const KEY_A: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
/// The second.
pub(crate) const KEY_B: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMCAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

/// Takes `user:field` from its standard input, as `chpasswd -e` does, and does
/// with it what the file `mode` of the sandbox says.
const CHPASSWD: &str = r#"#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
[ "$1" = -e ] || exit 9
IFS=: read -r user field
mode=$(cat "$root/mode")
echo "$mode" >> "$root/calls"
put() {
  awk -F: -v OFS=: -v u="$user" -v f="$1" '$1==u {$2=f; $3=20000} {print}' \
    "$root/etc/shadow" > "$root/etc/shadow+" && mv "$root/etc/shadow+" "$root/etc/shadow"
}
case $mode in
  good) put "$field" ;;
  undated) awk -F: -v OFS=: -v u="$user" -v f="$field" '$1==u {$2=f} {print}' \
    "$root/etc/shadow" > "$root/etc/shadow+" && mv "$root/etc/shadow+" "$root/etc/shadow" ;;
  lies) exit 0 ;;
  fails) exit 1 ;;
  dies-after) put "$field"; kill -9 $$ ;;
  garbles) put '$1$garbage' ;;
  garbles-once) echo good > "$root/mode"; put '$1$garbage' ;;
  garbles-anew) echo good > "$root/mode"; put '$1$rubbish' ;;
  overtaken) put '$1$by-hand'; exit 1 ;;
  waits) : > "$root/started"; cat "$root/gate" > /dev/null; put "$field" ;;
esac
"#;

const SSHD: &str = r#"#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
exec cat "$root/sshd.settings"
"#;

/// The answer of one run.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit status; none if a signal ended it.
    pub(crate) status: Option<i32>,
    /// The last line, read.
    pub(crate) line: Value,
    /// Everything that was printed.
    pub(crate) text: String,
}

impl Answer {
    /// Asserts code, exit status and what is in force.
    #[track_caller]
    pub(crate) fn expect(&self, code: &str, status: i32, live: &str) -> &Self {
        assert_eq!(
            (self.line["code"].as_str(), self.status, self.line["live"].as_str()),
            (Some(code), Some(status), Some(live)),
            "{}",
            self.text
        );
        self
    }

    /// Whether the answer bears a warning.
    pub(crate) fn warns(&self, word: &str) -> bool {
        self.line["warn"].as_array().is_some_and(|words| words.iter().any(|w| w == word))
    }
}

/// Asserts that the tests run as root.
pub(crate) fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests must run as root: they change users of a sandbox"
    );
}

/// A complete hash that differs for each `letter`.
pub(crate) fn hash(letter: &str) -> String {
    format!("$6$rounds=65536$saltsaltsaltsalt${}", letter.repeat(86))
}

/// A request for the password of `user`.
pub(crate) fn password(op: &str, user: &str, generation: u64, rid: &str, hash: &str) -> Value {
    json!({
        "v": 1, "op": op, "sid": "0".repeat(32), "rid": rid.repeat(32), "gen": generation,
        "att": 1, "inst": "i-1", "user": user, "kind": "password", "hash": hash,
    })
}

/// A request for a key of the sandbox's user.
pub(crate) fn key(op: &str, generation: u64, rid: &str, key: &str) -> Value {
    json!({
        "v": 1, "op": op, "sid": "0".repeat(32), "rid": rid.repeat(32), "gen": generation,
        "att": 1, "inst": "i-1", "user": USER, "kind": "sshkey", "key": key,
    })
}

/// The same request with one more member.
pub(crate) fn with(mut request: Value, name: &str, member: Value) -> Value {
    request[name] = member;
    request
}

/// The same request without a member.
pub(crate) fn without(mut request: Value, name: &str) -> Value {
    request.as_object_mut().expect("an object").remove(name);
    request
}

/// The fingerprint of a key, as the system's own tool computes it.
pub(crate) fn fingerprint(key: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key.pub");
    fs::write(&file, format!("{key}\n")).expect("a key");
    let output = Command::new("ssh-keygen").arg("-lf").arg(&file).output().expect("ssh-keygen");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// The arguments of a run for `request`.
pub(crate) fn arguments(request: &Value) -> [String; 5] {
    [
        "run".to_owned(),
        "--instance".to_owned(),
        "i-1".to_owned(),
        "--request".to_owned(),
        BASE64URL_NOPAD.encode(request.to_string().as_bytes()),
    ]
}

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom-rotator");

/// Reads what a run left.
pub(crate) fn answer(output: &std::process::Output) -> Answer {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let line = text.lines().last().unwrap_or_default();
    assert!(line.len() <= 4_000 && text.is_ascii(), "{text}");
    assert!(!text.contains("aaaaaaaa$") && !text.contains("$6$"), "a hash in {text}");
    Answer { status: output.status.code(), line: serde_json::from_str(line).unwrap_or_default(), text }
}

/// A root folder of its own.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// A machine with root and one user, who both have a password, and tools
    /// that work.
    pub(crate) fn new() -> Self {
        need_root();
        let sandbox = Self { folder: tempfile::tempdir().expect("a folder") };
        let root = sandbox.path("");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("mode");
        for folder in ["etc", "usr/sbin", "home/ann", "root", "var/lib"] {
            fs::create_dir_all(root.join(folder)).expect("folders");
        }
        for folder in ["etc", "usr", "usr/sbin", "home", "var", "var/lib"] {
            sandbox.mode(folder, 0o755);
        }
        sandbox.mode("home/ann", 0o750);
        sandbox.own("home/ann");
        let user = format!("{USER}:x:{UID}:{UID}::/home/{USER}:/bin/sh\n");
        sandbox.write("etc/passwd", &format!("root:x:0:0:root:/root:/bin/bash\n{user}"));
        sandbox.write("etc/group", &format!("root:x:0:\n{USER}:x:{UID}:\n"));
        let old = hash("o");
        sandbox.write(
            "etc/shadow",
            &format!("root:{old}:19000:0:99999:7:::\n{USER}:{old}:19000:0:99999:7:::\n"),
        );
        sandbox.write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        sandbox.write("mode", "good\n");
        sandbox.write(
            "sshd.settings",
            "passwordauthentication yes\npubkeyauthentication yes\npermitrootlogin without-password\nusepam yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n",
        );
        sandbox.tool("chpasswd", CHPASSWD);
        sandbox.tool("sshd", SSHD);
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).expect("written");
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("read")
    }

    /// Sets the mode of a file.
    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).expect("mode");
    }

    /// Gives a file to the user.
    pub(crate) fn own(&self, path: &str) {
        chown(self.path(path), Some(UID), Some(UID)).expect("owner");
    }

    /// Puts the mark on a file that keeps everybody from replacing it, or takes
    /// it off.
    #[track_caller]
    pub(crate) fn freeze(&self, path: &str, frozen: bool) {
        let sign = if frozen { "+i" } else { "-i" };
        let status = Command::new("chattr").arg(sign).arg(self.path(path)).status();
        assert!(
            status.expect("chattr of e2fsprogs is needed").success(),
            "the file system of the temporary folder does not know chattr {sign}"
        );
    }

    /// Installs a tool.
    pub(crate) fn tool(&self, name: &str, script: &str) {
        let path = format!("usr/sbin/{name}");
        self.write(&path, script);
        self.mode(&path, 0o755);
    }

    /// Sets what chpasswd does from now on.
    pub(crate) fn chpasswd(&self, mode: &str) {
        self.write("mode", &format!("{mode}\n"));
    }

    /// Sets what sshd says of itself, beside where the keys are.
    pub(crate) fn sshd(&self, settings: &str) {
        let files = "authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2";
        self.write("sshd.settings", &format!("{settings}\n{files}\n"));
    }

    /// Puts the user's second key file there, owned by the user.
    pub(crate) fn second_key_file(&self, content: &str) {
        self.write("home/ann/.ssh/authorized_keys2", content);
        self.mode("home/ann/.ssh/authorized_keys2", 0o600);
        self.own("home/ann/.ssh/authorized_keys2");
    }

    /// Puts the user's key file there, owned by the user.
    pub(crate) fn key_file(&self, content: &str) {
        let folder = self.path("home/ann/.ssh");
        if !folder.exists() {
            fs::create_dir(&folder).expect("a folder");
            self.mode("home/ann/.ssh", 0o700);
            self.own("home/ann/.ssh");
        }
        self.write("home/ann/.ssh/authorized_keys", content);
        self.mode("home/ann/.ssh/authorized_keys", 0o600);
        self.own("home/ann/.ssh/authorized_keys");
    }

    /// The content of the user's key file.
    pub(crate) fn keys(&self) -> String {
        self.read("home/ann/.ssh/authorized_keys")
    }

    /// The password field of a user.
    pub(crate) fn field(&self, user: &str) -> String {
        let shadow = self.read("etc/shadow");
        let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:")));
        line.expect("a line").split(':').nth(1).expect("a field").to_owned()
    }

    /// Replaces the shadow line of a user: all after the name.
    pub(crate) fn shadow(&self, user: &str, rest: &str) {
        let shadow = self.read("etc/shadow");
        let lines: Vec<String> = shadow
            .lines()
            .map(|line| {
                if line.starts_with(&format!("{user}:")) { format!("{user}:{rest}") } else { line.to_owned() }
            })
            .collect();
        self.write("etc/shadow", &format!("{}\n", lines.join("\n")));
    }

    /// The journal of the tests' secret.
    pub(crate) fn journal(&self) -> Value {
        let file = format!("var/lib/strongroom/rotator/{}.json", "0".repeat(32));
        serde_json::from_str(&self.read(&file)).expect("a journal")
    }

    /// How a run is started.
    pub(crate) fn command(&self, request: &Value) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments(request)).arg("--root").arg(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, request: &Value) -> Answer {
        answer(&self.command(request).output().expect("started"))
    }

    /// Starts the program.
    pub(crate) fn start(&self, request: &Value) -> Child {
        self.command(request).stdout(Stdio::piped()).spawn().expect("started")
    }
}

/// Waits until `path` is there, for at most ten seconds.
pub(crate) fn wait_for(path: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !path.exists() {
        assert!(std::time::Instant::now() < deadline, "{} never came", path.display());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
