//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Changes one credential of this instance, as Strongroom asks.

Usage:
  strongroom-rotator run --instance ID --request TEXT
  strongroom-rotator --version
  strongroom-rotator --help

  --instance ID    the instance that this is, as Cloud Assistant names it
  --request TEXT   the request: JSON in base64url without padding

Must run as root. The last line of the output is the result, one JSON object.

Exit status:
   0  done
  10  not done, nothing changed; the same request may be sent again
  11  not done, nothing changed, and never will be by this rotation
  12  changed, found wrong, and put back
  13  changed, found wrong, and could not be put back
  14  another run works on the same user or secret
  15  the request makes no sense here
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Print name and version.
    Version,
    /// Carry out one request.
    Run(Run),
}

/// The arguments of `run`, not yet believed.
#[derive(Debug)]
pub(crate) struct Run {
    /// The instance that the agent says this is.
    pub(crate) instance: String,
    /// The request as it travelled: base64url of JSON.
    pub(crate) request: String,
    /// Below which folder all files and tools are looked up; `/` outside tests.
    pub(crate) root: PathBuf,
}

/// Reads the words after the program's name.
///
/// # Errors
///
/// A sentence for the result's `detail`; it never repeats an argument.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, &'static str> {
    let mut words = words.map(|word| word.into_string().ok().ok_or("an argument is not UTF-8"));
    match words.next().transpose()?.as_deref() {
        Some("--help" | "-h") => Ok(Command::Help),
        Some("--version" | "-V") => Ok(Command::Version),
        Some("run") => parse_run(words),
        Some(_) => Err("unknown command; try --help"),
        None => Err("no command; try --help"),
    }
}

fn parse_run(mut words: impl Iterator<Item = Result<String, &'static str>>) -> Result<Command, &'static str> {
    let (mut instance, mut request, mut root) = (None, None, None);
    while let Some(word) = words.next().transpose()? {
        let place = match word.as_str() {
            "--help" => return Ok(Command::Help),
            "--instance" => &mut instance,
            "--request" => &mut request,
            "--root" if cfg!(feature = "test-root") => &mut root,
            _ => return Err("unknown argument of run"),
        };
        let value = words.next().transpose()?.ok_or("an argument lacks its value")?;
        if place.replace(value).is_some() {
            return Err("an argument is given twice");
        }
    }
    Ok(Command::Run(Run {
        instance: instance.ok_or("--instance is missing")?,
        request: request.ok_or("--request is missing")?,
        root: PathBuf::from(root.unwrap_or_else(|| "/".to_owned())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Command, &'static str> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn run_takes_both_arguments_in_any_order() {
        for words in [
            ["run", "--instance", "i-1", "--request", "e30"],
            ["run", "--request", "e30", "--instance", "i-1"],
        ] {
            let Ok(Command::Run(run)) = read(&words) else {
                panic!("not read");
            };
            assert_eq!((run.instance.as_str(), run.request.as_str()), ("i-1", "e30"));
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused() {
        for words in [
            &[][..],
            &["walk"],
            &["run"],
            &["run", "--instance", "i-1"],
            &["run", "--instance", "i-1", "--request"],
            &["run", "--instance", "a", "--instance", "b", "--request", "c"],
            &["run", "--instance", "a", "--request", "c", "d"],
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert!(matches!(read(&["--help"]), Ok(Command::Help)));
        assert!(matches!(read(&["run", "--help"]), Ok(Command::Help)));
        assert!(matches!(read(&["--version"]), Ok(Command::Version)));
    }
}
