//! The one way to the terminal: standard output for what was asked for,
//! standard error for what is said about it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use strongroom_hsm::SecretBytes;

use super::table::Table;
use super::wiped::WipedBuffer;

/// For whom to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Programs: one JSON value a line.
    Json,
    /// People: sentences and tables.
    People,
}

/// Where a command writes.
///
/// Each call is one write, so that lines of several processes do not mix, and
/// nothing is buffered: a secret leaves no copy behind in this process. Lines
/// for people have their control characters replaced, because names and
/// messages come from elsewhere and a terminal obeys what it is shown.
pub(super) struct Output {
    form: Form,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Output {
    /// The standard output and error of this process.
    ///
    /// # Errors
    ///
    /// When a stream was closed before the program was started.
    pub(super) fn standard(form: Form) -> io::Result<Self> {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Ok(Self {
            form,
            stdout_is_terminal: stdout.is_terminal(),
            stderr_is_terminal: stderr.is_terminal(),
            stdout: Box::new(File::from(stdout.as_fd().try_clone_to_owned()?)),
            stderr: Box::new(File::from(stderr.as_fd().try_clone_to_owned()?)),
        })
    }

    /// Writes a line about what is going on to standard error, whatever the form.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.stderr.write_all(visible_line(text).as_bytes())
    }

    /// Writes one line to standard output.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(visible_line(text).as_bytes())
    }

    /// Writes a table to standard output.
    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        self.stdout.write_all(table.to_string().as_bytes())
    }

    /// Writes a service's answer, which is JSON, to standard output as it came.
    pub(super) fn answer(&mut self, body: &SecretBytes) -> io::Result<()> {
        self.stdout.write_all(body.expose())?;
        self.stdout.write_all(b"\n")
    }

    /// Writes a value that was asked for by itself: to a terminal with a line
    /// end after it, to anything else without.
    pub(super) fn lone_value(&mut self, value: &SecretBytes) -> io::Result<()> {
        self.stdout.write_all(value.expose())?;
        if self.stdout_is_terminal && !value.expose().ends_with(b"\n") {
            self.stdout.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes a label and a secret for people to read.
    pub(super) fn secret_line(&mut self, label: &str, value: &SecretBytes) -> io::Result<()> {
        let mut line = WipedBuffer::with_capacity(label.len() + value.len() + 16);
        write!(line, "{label:<12}")?;
        let text = String::from_utf8_lossy(value.expose());
        if text.trim_end().contains('\n') {
            line.write_all(b"\n")?;
        }
        for letter in text.trim_end_matches('\n').chars() {
            write!(line, "{}", visible(letter))?;
        }
        line.write_all(b"\n")?;
        self.stdout.write_all(line.bytes())
    }

    /// Writes one line of JSON to standard output.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.stdout.write_all(json_line(value)?.bytes())
    }

    /// Writes one line of JSON to standard error.
    pub(super) fn json_note(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.stderr.write_all(json_line(value)?.bytes())
    }

    /// Whether programs read the output.
    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Whether progress may be drawn: somebody looks at standard error.
    pub(super) fn may_draw(&self) -> bool {
        self.form == Form::People && self.stderr_is_terminal
    }
}

/// A control character as a visible one; line ends and tabs stay.
fn visible(letter: char) -> char {
    if letter.is_control() && letter != '\n' && letter != '\t' { '\u{fffd}' } else { letter }
}

fn visible_line(text: &str) -> String {
    text.chars().map(visible).chain(['\n']).collect()
}

fn json_line(value: &impl Serialize) -> io::Result<WipedBuffer> {
    let mut line = WipedBuffer::with_capacity(512);
    serde_json::to_writer(&mut line, value)?;
    line.write_all(b"\n")?;
    Ok(line)
}

#[cfg(test)]
pub(super) mod captured {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::{Form, Output};

    /// What a test's command wrote to one stream.
    #[derive(Debug, Clone, Default)]
    pub(in crate::cli) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output, and its two streams.
    pub(in crate::cli) fn output(form: Form, terminal: bool) -> (Output, Written, Written) {
        let (stdout, stderr) = (Written::default(), Written::default());
        let output = Output {
            form,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            stdout_is_terminal: terminal,
            stderr_is_terminal: terminal,
        };
        (output, stdout, stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_value_ends_its_line_on_a_terminal_only() {
        for (terminal, value, shown) in [
            (false, "s3cret", "s3cret"),
            (true, "s3cret", "s3cret\n"),
            (true, "key\n", "key\n"),
            (false, "key\n", "key\n"),
        ] {
            let (mut output, stdout, _) = captured::output(Form::People, terminal);
            output.lone_value(&SecretBytes::copy_of(value.as_bytes())).unwrap();
            assert_eq!(stdout.text(), shown);
        }
    }

    #[test]
    fn what_others_named_cannot_steer_the_terminal() {
        let (mut output, stdout, stderr) = captured::output(Form::People, true);
        output.line("a\u{1b}[2Jb\rc").unwrap();
        output.note("\u{9b}31m").unwrap();
        output.secret_line("Password", &SecretBytes::copy_of(b"x\x1b[0m\x07y")).unwrap();
        assert_eq!(stdout.text(), "a\u{fffd}[2Jb\u{fffd}c\nPassword    x\u{fffd}[0m\u{fffd}y\n");
        assert_eq!(stderr.text(), "\u{fffd}31m\n");
    }

    #[test]
    fn a_value_of_several_lines_begins_on_its_own() {
        let (mut output, stdout, _) = captured::output(Form::People, true);
        output.secret_line("PrivateKey", &SecretBytes::copy_of(b"-----A\nb\n")).unwrap();
        assert_eq!(stdout.text(), "PrivateKey  \n-----A\nb\n");
    }
}
