//! Puts the plug-in on an instance, through Cloud Assistant alone.
//!
//! A command carries at most 24 KB, so the program goes in pieces into a folder
//! that only root (on Windows SYSTEM and the administrators) can write, is put together there, compared with its SHA-256
//! and moved into place in one step: at any moment the instance has the old
//! program or the new one, whole. The folder is named by that hash, so that an
//! installation that was broken off goes on where it stopped, and one that is
//! done finds nothing to do. Where the instance can unpack it, it is sent
//! packed: less than half as many pieces.

mod linux;
mod piece;
mod windows;

use std::io::Write as _;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;

use self::piece::Piece;
use super::client::{Client, Run, RunResult, Script};
use super::{CommandError, InvokeId};
use crate::model::{InstanceId, OsFamily};

/// Bytes of the program in one command: 16,936 characters of Base64, which with
/// the script around them stay below 24,000 when the command is encoded once more.
pub const PIECE: usize = 12_450;

/// The longest program that is installed. More pieces than it has would make
/// the list of what is there longer than an output may be.
pub const MAX_PROGRAM: usize = 4 * 1024 * 1024;

/// How many pieces are under way at once: an agent runs ten commands at a time,
/// and other work should find room.
const WINDOW: usize = 8;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// Exactly this program was there.
    AlreadyThere,
    /// It was put there.
    Now,
}

/// Why the plug-in is not installed. Whatever was in place still is.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Cloud Assistant gave no result of a command in time.
    #[error("the instance did not finish {step} in time; the installation can be repeated and goes on there")]
    NoResult {
        /// What was being done.
        step: &'static str,
    },
    /// The program is empty or longer than [`MAX_PROGRAM`].
    #[error("a program of {length} bytes cannot be installed")]
    Program {
        /// Its length.
        length: usize,
    },
    /// There is no randomness to name the commands with.
    #[error("could not draw a random number")]
    Random,
    /// The instance could not do it.
    #[error("the instance failed at {step}, status {status} {code}, exit code {exit_code:?}: {words}")]
    Remote {
        /// What was being done.
        step: &'static str,
        /// Cloud Assistant's status of the run.
        status: &'static str,
        /// Its error code.
        code: String,
        /// The script's exit code.
        exit_code: Option<i64>,
        /// The end of what it wrote, made harmless.
        words: String,
    },
    /// Cloud Assistant refused or could not be asked.
    #[error("could not have the instance do {step}")]
    Service {
        /// What was to be done.
        step: &'static str,
        /// Why.
        #[source]
        source: CommandError,
    },
}

impl Client {
    /// Installs the plug-in on an instance that runs `os`: on Linux as
    /// [`LINUX_PLUGIN`](super::plugin::LINUX_PLUGIN), mode 0755; on Windows as
    /// `%ProgramFiles%\Strongroom\strongroom-rotator.ps1`.
    ///
    /// `progress` is told how many of how many pieces are there. It may be
    /// repeated at any time, also after an error, and then sends only what is
    /// missing. Two installations at once do no harm: one of them may end with
    /// an error, and finds all done when it is repeated.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; the program that was in place, if any, still is.
    pub async fn install(
        &self,
        instance: &InstanceId,
        os: OsFamily,
        program: &[u8],
        mut progress: impl FnMut(usize, usize) + Send,
    ) -> Result<Installed, InstallError> {
        if program.is_empty() || program.len() > MAX_PROGRAM {
            return Err(InstallError::Program { length: program.len() });
        }
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).ok().ok_or(InstallError::Random)?;
        let job = Job { client: self, instance, os, run: HEXLOWER.encode(&random) };
        let scripts = Scripts::new(os, program);

        let found = job.finish("looking", &scripts.probe()).await?;
        if found.lines().any(|line| line == format!("SR-INSTALLED {}", scripts.program())) {
            let count = program.len().div_ceil(PIECE);
            progress(count, count);
            return Ok(Installed::AlreadyThere);
        }
        let packed = packed(program).filter(|_| found.lines().any(|line| line == "SR-GZIP"));
        let sent = packed.as_deref().unwrap_or(program);
        let pieces: Vec<Piece<'_>> = sent.chunks(PIECE).enumerate().map(Piece::new).collect();
        let missing: Vec<&Piece<'_>> =
            pieces.iter().filter(|piece| !found.lines().any(|line| line == piece.mark())).collect();
        let mut done = pieces.len() - missing.len();
        progress(done, pieces.len());
        for window in missing.chunks(WINDOW) {
            let mut started = Vec::with_capacity(WINDOW);
            for piece in window {
                let token = job.token(&piece.name);
                let invoke_id = job.start("copying", &scripts.piece(piece), &token).await?;
                started.push((invoke_id, token));
            }
            for (invoke_id, token) in started {
                job.end("copying", &invoke_id, &token).await?;
                done += 1;
                progress(done, pieces.len());
            }
        }
        job.finish("putting in place", &scripts.place(pieces.len(), packed.is_some())).await?;
        Ok(Installed::Now)
    }
}

/// The program in gzip's form (RFC 1952), where that takes fewer pieces.
fn packed(program: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(program).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len().div_ceil(PIECE) < program.len().div_ceil(PIECE)).then_some(packed)
}

/// The scripts of one installation.
enum Scripts {
    Linux(linux::Scripts),
    Windows(windows::Scripts),
}

impl Scripts {
    fn new(os: OsFamily, program: &[u8]) -> Self {
        match os {
            OsFamily::Linux => Self::Linux(linux::Scripts::new(program)),
            OsFamily::Windows => Self::Windows(windows::Scripts::new(program)),
        }
    }

    fn program(&self) -> &str {
        match self {
            Self::Linux(scripts) => &scripts.program,
            Self::Windows(scripts) => &scripts.program,
        }
    }

    fn probe(&self) -> String {
        match self {
            Self::Linux(scripts) => scripts.probe(),
            Self::Windows(scripts) => scripts.probe(),
        }
    }

    fn piece(&self, piece: &Piece<'_>) -> String {
        match self {
            Self::Linux(scripts) => scripts.piece(piece),
            Self::Windows(scripts) => scripts.piece(piece),
        }
    }

    fn place(&self, count: usize, packed: bool) -> String {
        match self {
            Self::Linux(scripts) => scripts.place(count, packed),
            Self::Windows(scripts) => scripts.place(count, packed),
        }
    }
}

/// One installation.
struct Job<'a> {
    client: &'a Client,
    instance: &'a InstanceId,
    os: OsFamily,
    /// Random, so that no command of an earlier installation answers for one of this.
    run: String,
}

impl Job<'_> {
    fn token(&self, step: &str) -> String {
        format!("si-{}-{step}", self.run)
    }

    async fn start(&self, step: &'static str, script: &str, token: &str) -> Result<InvokeId, InstallError> {
        let name = match self.os {
            OsFamily::Linux => "STRONGROOM-Install-For-Linux.sh",
            OsFamily::Windows => "STRONGROOM-Install-For-Windows.ps1",
        };
        let script = Script { os: self.os, text: script, parameter: None, name };
        self.client
            .run_command_patiently(&script, &self.run_of(token))
            .await
            .map_err(|source| InstallError::Service { step, source })
    }

    async fn end(
        &self,
        step: &'static str,
        invoke_id: &InvokeId,
        token: &str,
    ) -> Result<String, InstallError> {
        let result = self
            .client
            .await_end(invoke_id, &self.run_of(token))
            .await
            .map_err(|source| InstallError::Service { step, source })?
            .ok_or(InstallError::NoResult { step })?;
        let words = harmless(result.output.as_deref().unwrap_or_default());
        // The scripts end with this line, so that an output that was cut is no success.
        if result.status.as_str() == "Success" && words.lines().last() == Some("SR-DONE") {
            return Ok(words);
        }
        Err(failure(step, result, &words))
    }

    async fn finish(&self, step: &'static str, script: &str) -> Result<String, InstallError> {
        let token = self.token(if step == "looking" { "look" } else { "place" });
        let invoke_id = self.start(step, script, &token).await?;
        self.end(step, &invoke_id, &token).await
    }

    fn run_of<'t>(&'t self, token: &'t str) -> Run<'t> {
        Run { instance: self.instance, client_token: token, timeout: TIMEOUT }
    }
}

fn failure(step: &'static str, result: RunResult, words: &str) -> InstallError {
    let skipped = words.chars().count().saturating_sub(300);
    InstallError::Remote {
        step,
        status: result.status.as_str(),
        code: result.error_code,
        exit_code: result.exit_code,
        words: words.chars().skip(skipped).map(|c| if c == '\n' { ' ' } else { c }).collect(),
    }
}

/// Output as text: printable ASCII and line ends, anything else as `?`.
fn harmless(output: &[u8]) -> String {
    let text: String = output
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' | b'\r' | b'\n' => char::from(*byte),
            _ => '?',
        })
        .collect();
    // Windows ends its lines with both.
    text.replace("\r\n", "\n").replace('\r', "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_cannot_bring_control_characters_into_a_message() {
        assert_eq!(harmless(b"a\r\n\x1b[0m\xff\rb"), "a\n?[0m??b");
    }
}
