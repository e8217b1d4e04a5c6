//! The plug-in as it is shipped on hosts with a real sshd, one host a group of
//! scenarios: what it answers is held against who can log on afterwards.

mod accounts;
mod busybox;
mod disks;
mod keys;
mod passwords;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use strongroom_fixtures::hosts::{
    HostError, HostSpec, HostUser, TestHost, ssh_key_login, ssh_password_login,
};
use tempfile::TempDir;

use crate::rotation::plugin;

/// Where the plug-in lies on a host.
const PROGRAM: &str = "/usr/local/lib/strongroom/strongroom-rotator";

/// The user whose credential is changed.
const USER: &str = "deploy";

/// The password that she has at first.
const FIRST: &str = "First-password-1";

/// A host with the plug-in.
struct Host {
    host: TestHost,
    _folder: TempDir,
}

/// What the plug-in said.
#[derive(Debug)]
struct Answer(Value);

impl Host {
    /// A host with one user, who has a password and these lines in her key file.
    fn new(keys: &[&str]) -> Self {
        Self::with_disks(keys, &[])
    }

    /// The same with small disks.
    fn with_disks(keys: &[&str], disks: &[(&str, u64)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "test hosts are made of namespaces: run this test as root"
        );
        let folder = tempfile::tempdir().unwrap();
        let name = format!("lin-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let user =
            keys.iter().fold(HostUser::new(USER).password(FIRST), |user, line| user.authorized_key(*line));
        let spec = HostSpec::new(name, folder.path().join("host")).user(user);
        let spec = disks.iter().fold(spec, |spec, (path, bytes)| spec.disk(*path, *bytes));
        let host = Self { host: TestHost::start(&spec).unwrap(), _folder: folder };
        // A wrong password would be answered two seconds later.
        host.shell("sed -i '/pam_unix.so/s/$/ nodelay/' /etc/pam.d/common-auth");
        host.host.install(plugin(), PROGRAM, 0o755).unwrap();
        host
    }

    /// Runs a shell command that must succeed; gives its output.
    #[track_caller]
    fn shell(&self, command: &str) -> String {
        let output = self.host.exec(&["sh", "-c", command]).unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file with that mode, given in octal.
    #[track_caller]
    fn write(&self, path: &str, mode: &str, content: &str) {
        let script = r#"cat >"$1" && chmod "$2" "$1""#;
        let words = ["sh", "-c", script, "sh", path, mode];
        let output = self.host.record().exec_with_input(&words, content.as_bytes()).unwrap();
        assert!(output.status.success(), "{path}: {output:?}");
    }

    /// Runs the plug-in as Cloud Assistant's script does, in the host's own shell.
    #[track_caller]
    fn ask(&self, request: &Value) -> Answer {
        let script = r#"exec "$0" run --instance "$1" --request "$2""#;
        let request = BASE64URL_NOPAD.encode(request.to_string().as_bytes());
        let words = ["sh", "-c", script, PROGRAM, "i-1", &request];
        let output = self.host.exec(&words).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("$6$") && !text.contains("$y$") && said.is_empty(), "{text}{said}");
        Answer(serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap())
    }

    /// The user's field of `/etc/shadow`.
    fn field(&self) -> String {
        self.shell(&format!("grep ^{USER}: /etc/shadow | cut -d: -f2")).trim().to_owned()
    }

    /// Whether a password logs the user on.
    #[track_caller]
    fn takes_password(&self, password: &str) -> bool {
        ssh_password_login(self.host.address(), USER, password).unwrap()
    }

    /// Whether a key that sshd knows does not log the user on: PAM closes the
    /// connection then without the words of a refusal.
    #[track_caller]
    fn shuts_out(&self, key: &Key) -> bool {
        match ssh_key_login(self.host.address(), USER, &key.private) {
            Ok(taken) => !taken,
            Err(HostError::Unreachable { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether a key logs the user on.
    #[track_caller]
    fn takes_key(&self, key: &Key) -> bool {
        ssh_key_login(self.host.address(), USER, &key.private).unwrap()
    }
}

impl Answer {
    /// Asserts the code and what is in force; gives the answer back.
    #[track_caller]
    fn expect(self, code: &str, live: &str) -> Self {
        let found = (self.0["code"].as_str(), self.0["live"].as_str());
        assert_eq!(found, (Some(code), Some(live)), "{}", self.0);
        self
    }

    /// Asserts a warning.
    #[track_caller]
    fn warning(self, word: &str) -> Self {
        let warnings = self.0["warn"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning == word), "no {word} in {}", self.0);
        self
    }

    /// Asserts that nothing was changed, and whether that is so for ever.
    #[track_caller]
    fn unchanged(self, is_final: bool) -> Self {
        let found = (&self.0["changed"], &self.0["final"]);
        assert_eq!(found, (&json!(false), &json!(is_final)), "{}", self.0);
        self
    }
}

/// A key pair of a person.
struct Key {
    public: String,
    private: String,
}

impl Key {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let read = |path| std::fs::read_to_string(path).unwrap();
        let public = read(file.with_extension("pub")).trim().to_owned();
        Self { public, private: read(file) }
    }

    /// As `ssh-keygen -l` prints it.
    fn fingerprint(&self) -> String {
        let text = output("ssh-keygen", &["-l", "-f", "-"], &self.public);
        text.split(' ').nth(1).unwrap().to_owned()
    }
}

/// A SHA-512 hash of a password, as `openssl passwd` makes it.
fn hash(password: &str) -> String {
    output("openssl", &["passwd", "-6", "-stdin"], password).trim().to_owned()
}

fn output(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// A request; the rotation of generation 10 is `aaaa...`.
fn request(op: &str, generation: u32, kind: &str) -> Value {
    json!({
        "v": 1, "op": op, "sid": "5".repeat(32), "rid": format!("{generation:x}").repeat(32),
        "gen": generation, "att": 1, "inst": "i-1", "user": USER, "kind": kind,
    })
}

/// The same with one more member.
fn with(mut request: Value, name: &str, member: impl Into<Value>) -> Value {
    request[name] = member.into();
    request
}

/// A request for the password with that hash.
fn password(op: &str, generation: u32, hash: &str) -> Value {
    with(request(op, generation, "password"), "hash", hash)
}

/// A request for that key.
fn key(op: &str, generation: u32, key: &Key) -> Value {
    with(request(op, generation, "sshkey"), "key", key.public.as_str())
}

/// The end of a rotation to `new`, which takes `old` out.
fn finalize_key(generation: u32, new: &Key, old: &Key) -> Value {
    with(key("finalize", generation, new), "remove", json!([old.fingerprint()]))
}
