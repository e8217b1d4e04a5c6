//! Running the system's own programs, with a limit on everything.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::locks::Locks;

/// How long a program that was told to die is waited for.
const DYING: Duration = Duration::from_secs(3);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal of somebody else's.
    Signal,
    /// By us, because its time was over.
    Late,
    /// Not at all: it was told to die and still is there.
    Running,
}

/// Runs `path` with `input` on its standard input, and with the locks in its
/// hands. Its output is thrown away: it might repeat its input.
///
/// # Errors
///
/// Where the program cannot be started.
pub(crate) fn feed(
    path: &Path,
    arguments: &[&str],
    input: &[u8],
    limit: Duration,
    locks: &Locks,
) -> io::Result<Ended> {
    let mut command = command(path, arguments);
    // A group of its own: whoever kills ours leaves it to finish its write.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = locks.inherited(|| command.spawn())?;
    if let Some(mut pipe) = child.stdin.take() {
        // Less than a pipe holds, so this never waits; and a program that ends
        // without reading is judged by what it did, not by this.
        pipe.write_all(input).unwrap_or_default();
    }
    wait(&mut child, Instant::now() + limit)
}

/// Runs `path` and gives its status and up to `max_bytes` of its output.
///
/// # Errors
///
/// Where the program cannot be started, or does not end in time.
pub(crate) fn ask(
    path: &Path,
    arguments: &[&str],
    limit: Duration,
    max_bytes: u64,
) -> io::Result<(Ended, Vec<u8>)> {
    let deadline = Instant::now() + limit;
    let mut child =
        command(path, arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        thread::spawn(move || {
            let mut output = Vec::new();
            // Half an output is as good as none: the status decides.
            pipe.take(max_bytes).read_to_end(&mut output).unwrap_or_default();
            sender.send(output).unwrap_or_default();
        });
    }
    let output =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_default();
    let ended = wait(&mut child, deadline)?;
    Ok((ended, output))
}

fn command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("LANG", "C")
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Ended> {
    if let Some(ended) = wait_until(child, deadline)? {
        return Ok(ended);
    }
    child.kill()?;
    let ended = wait_until(child, Instant::now() + DYING)?;
    Ok(ended.map_or(Ended::Running, |_| Ended::Late))
}

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<Ended>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().map_or(Ended::Signal, Ended::Exit)));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "/bin/sh";

    fn shell(script: &str, limit: Duration) -> (Ended, Vec<u8>) {
        ask(Path::new(SHELL), &["-c", script], limit, 100).expect("started")
    }

    #[test]
    fn a_program_sees_an_environment_of_our_making() {
        let (ended, output) = shell("echo $HOME-$LANG; exit 3", Duration::from_secs(5));
        assert_eq!((ended, output.as_slice()), (Ended::Exit(3), &b"-C\n"[..]));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let started = Instant::now();
        let (ended, _) = shell("exec sleep 60", Duration::from_millis(50));
        assert_eq!(ended, Ended::Late);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn endless_output_is_cut() {
        let (_, output) = shell("exec cat /dev/zero", Duration::from_millis(200));
        assert_eq!(output.len(), 100);
    }
}
