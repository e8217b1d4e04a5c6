//! Values that come in: from files, standard input, or somebody at the
//! terminal. Never from the command line, which every user of the machine can
//! read.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::error::CliError;

/// The longest value that a secret can have (kms-secrets.md section 5.1).
pub(super) const MAX_VALUE_BYTES: usize = 30_720;

/// Reads a file, or standard input when the path is `-`, byte for byte.
///
/// # Errors
///
/// [`CliError::File`], or [`CliError::Usage`] when it is empty, longer than
/// `limit`, or standard input is a terminal, which would show what is typed.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<SecretBytes, CliError> {
    let failed = |source| CliError::File { deed: "read", path: path.to_owned(), source };
    let value = if path.as_os_str() == "-" {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(CliError::Usage(
                "standard input is a terminal, which shows what is typed: use a pipe or a file".to_owned(),
            ));
        }
        bounded(stdin.lock(), limit)
    } else {
        File::open(path).and_then(|file| bounded(file, limit))
    }
    .map_err(failed)?;
    match value {
        Some(value) if value.is_empty() => Err(CliError::Usage(format!("{} is empty", path.display()))),
        Some(value) => Ok(value),
        None => Err(CliError::Usage(format!("{} is longer than {limit} bytes", path.display()))),
    }
}

/// As [`read_file`], for a value of one line: the line end, which editors add,
/// is left out.
///
/// # Errors
///
/// As [`read_file`].
pub(super) fn read_line_file(path: &Path, limit: usize) -> Result<SecretBytes, CliError> {
    let value = read_file(path, limit)?;
    let line = value.expose();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(CliError::Usage(format!("{} is empty", path.display())));
    }
    Ok(SecretBytes::copy_of(line))
}

/// More than the longest policy that a vault takes, so that the limit is told
/// by the vault, in its own words.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Reads a policy from a file, or from standard input for `-`.
///
/// # Errors
///
/// As [`read_file`], and when it is no JSON.
pub(super) fn read_document(path: &Path) -> Result<String, CliError> {
    let document = read_file(path, MAX_DOCUMENT_BYTES)?;
    let text = str::from_utf8(document.expose())
        .ok()
        .ok_or_else(|| CliError::Usage(format!("{} is not UTF-8 text", path.display())))?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(CliError::Usage(format!("{} is not JSON: {error}", path.display()))),
    }
}

/// Everything that is there, or `None` when that is more than `limit` bytes.
/// The buffer has its final size at once, so that no copy is left by growing.
fn bounded(mut from: impl Read, limit: usize) -> io::Result<Option<SecretBytes>> {
    let mut buffer = Zeroizing::new(vec![0; limit + 1]);
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).filter(|all| all.len() <= limit).map(SecretBytes::copy_of))
}

/// Asks at the terminal, without showing what is typed.
///
/// # Errors
///
/// [`CliError::Usage`] when there is no terminal or nothing was typed.
pub(super) fn prompt(question: &str) -> Result<SecretBytes, CliError> {
    let terminal = || CliError::Usage("there is no terminal to ask at: give the value in a file".to_owned());
    let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_absent| terminal())?;
    let before = tcgetattr(&tty).map_err(|_absent| terminal())?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tty.write_all(question.as_bytes())?;
    tcsetattr(&tty, OptionalActions::Flush, &quiet).map_err(io::Error::from)?;
    let line = read_typed(&mut tty);
    tcsetattr(&tty, OptionalActions::Flush, &before).map_err(io::Error::from)?;
    tty.write_all(b"\n")?;
    let line = line?;
    if line.is_empty() {
        return Err(CliError::Usage("nothing was typed".to_owned()));
    }
    Ok(line)
}

/// As [`prompt`], twice, since what is typed cannot be seen.
///
/// # Errors
///
/// As [`prompt`], and when the two differ.
pub(super) fn prompt_twice(question: &str) -> Result<SecretBytes, CliError> {
    let first = prompt(question)?;
    let second = prompt("Once more: ")?;
    if first.matches(second.expose()) {
        return Ok(first);
    }
    Err(CliError::Usage("the two are not the same: nothing was done".to_owned()))
}

/// One line of a terminal, which hands out whole lines.
fn read_typed(tty: &mut File) -> io::Result<SecretBytes> {
    let mut buffer = Zeroizing::new([0; 4096]);
    let count = tty.read(&mut buffer[..])?;
    let line = buffer.get(..count).unwrap_or_default();
    Ok(SecretBytes::copy_of(line.strip_suffix(b"\n").unwrap_or(line)))
}

/// Writes a value into a new file that only its owner can read.
///
/// # Errors
///
/// [`CliError::File`], also when the file exists already.
pub(super) fn write_new_file(path: &Path, value: &[u8]) -> Result<(), CliError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(value).and_then(|()| file.sync_all()))
        .map_err(|source| CliError::File { deed: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_value_is_kept_byte_for_byte_and_a_line_without_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        for (stored, whole, line) in [
            ("a\n", "a\n", Some("a")),
            ("a\r\n", "a\r\n", Some("a")),
            (" a \n\n", " a \n\n", Some(" a \n")),
            ("\n", "\n", None),
        ] {
            fs::write(&path, stored).unwrap();
            assert_eq!(read_file(&path, 10).unwrap().expose(), whole.as_bytes());
            let read = read_line_file(&path, 10).ok();
            assert_eq!(read.as_ref().map(SecretBytes::expose), line.map(str::as_bytes));
        }
    }

    #[test]
    fn empty_and_overlong_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        for (stored, fits) in [("", false), ("1234567890", true), ("12345678901", false)] {
            fs::write(&path, stored).unwrap();
            assert_eq!(read_file(&path, 10).is_ok(), fits, "{stored:?}");
        }
    }

    #[test]
    fn a_value_is_never_written_over_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        write_new_file(&path, b"first").unwrap();
        assert!(write_new_file(&path, b"second").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
