//! A mount namespace with its own `/etc`, `/var/lib`, `/home` and `/run`, and
//! the machine's real tools.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::sandbox::{Answer, PROGRAM, answer, arguments, need_root};

/// Mounts, says that it is done, and stays until its input ends.
const SETUP: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
for place in etc var/lib; do
  name=$(echo "$place" | tr / -)
  mkdir "$1/$name" "$1/$name.work"
  mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/$name,workdir=$1/$name.work" "/$place"
done
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
echo ready
exec cat > /dev/null
"#;

/// The machine; gone when dropped.
pub(crate) struct Machine {
    keeper: Child,
    _folder: TempDir,
}

impl Machine {
    /// A copy of this machine whose users can be changed.
    pub(crate) fn new() -> Self {
        need_root();
        let folder = tempfile::tempdir().expect("a folder");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", SETUP, "setup"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux is needed");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("read");
        assert_eq!(line, "ready\n", "the mounts failed: overlay and tmpfs are needed");
        Self { keeper, _folder: folder }
    }

    /// Runs a program in the namespace.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter of util-linux is needed")
    }

    /// Runs a shell command that must succeed, and gives its output.
    #[track_caller]
    pub(crate) fn shell(&self, command: &str) -> String {
        let output = self.output("sh", &["-c", command]);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the program under test on the namespace's own root folder.
    pub(crate) fn run(&self, request: &Value) -> Answer {
        let words = arguments(request);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        answer(&self.output(PROGRAM, &words))
    }

    /// The password field of a user.
    pub(crate) fn field(&self, user: &str) -> String {
        let line = self.shell(&format!("grep '^{user}:' /etc/shadow"));
        line.split(':').nth(1).expect("a field").to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().expect("ended");
    }
}
