//! Events as lines of JSON in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Outgoing, SendError, Sending, Sink};
use crate::runtime::Blocking;

/// Lines written and flushed at once at most.
const BATCH: u32 = 64;
/// The longest line that is ours: a torn one is looked for within this.
const LONGEST_LINE: u64 = 64 * 1_024;

/// A file of JSON lines, mode 0600. It is made when it is missing, and opened
/// anew when another stands under its name, as logrotate leaves it.
#[derive(Debug)]
pub struct FileSink {
    path: Arc<Path>,
    open: Arc<Mutex<Option<File>>>,
    blocking: Blocking,
}

impl FileSink {
    /// The file at that path, not yet opened.
    #[must_use]
    pub fn new(path: PathBuf, blocking: Blocking) -> Self {
        Self { path: path.into(), open: Arc::new(Mutex::new(None)), blocking }
    }
}

/// Opens the file for appending, and takes away a last line that a crash cut
/// off: its event was not settled, so it is written again.
fn open(path: &Path) -> io::Result<File> {
    let fresh = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if fresh && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    if end.last().is_some_and(|last| *last != b'\n') {
        let kept = end.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        match kept.or((from == 0).then_some(0)) {
            Some(kept) => {
                let kept = from.saturating_add(u64::try_from(kept).unwrap_or(0));
                file.set_len(kept)?;
                tracing::warn!(file = %path.display(), bytes = length.saturating_sub(kept),
                    "the last line of the file of events was cut off by a crash, and is written again");
            }
            // No line of ours is that long: it is left as it is.
            None => file.write_all(b"\n")?,
        }
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), path.metadata()) else { return false };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

fn append(kept: &mut Option<File>, path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = match kept.take().filter(|file| is_at(file, path)) {
        Some(file) => file,
        None => open(path)?,
    };
    file.write_all(lines)?;
    file.sync_data()?;
    // After an error it is opened anew, which mends what was half written.
    *kept = Some(file);
    Ok(())
}

impl Sink for FileSink {
    fn name(&self) -> &str {
        "file"
    }

    fn batch(&self) -> u32 {
        BATCH
    }

    fn send<'a>(&'a self, events: &'a [Outgoing]) -> Sending<'a> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend_from_slice(event.body.as_bytes());
            lines.push(b'\n');
        }
        Box::pin(async move {
            let (path, open) = (Arc::clone(&self.path), Arc::clone(&self.open));
            let write =
                move || append(&mut open.lock().unwrap_or_else(PoisonError::into_inner), &path, &lines);
            match self.blocking.run(write).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(SendError::Later(Box::new(error))),
                Err(error) => Err(SendError::Later(Box::new(error))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::{EventName, Timestamp};

    fn event(number: u32) -> Outgoing {
        let at = Timestamp::from_millis(0);
        let body = format!("{{\"n\":{number}}}");
        Outgoing { id: number.to_string(), name: EventName::Success, at, body }
    }

    #[tokio::test]
    async fn lines_follow_one_another_whatever_happens_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let sink = || FileSink::new(path.clone(), Blocking::new(1));
        let read = || fs::read_to_string(&path).unwrap();
        let first = sink();
        first.send(&[event(1), event(2)]).await.unwrap();
        assert_eq!(read(), "{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::rename(&path, folder.path().join("events.1")).unwrap();
        first.send(&[event(3)]).await.unwrap();
        assert_eq!(read(), "{\"n\":3}\n");

        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"n\":4").unwrap();
        sink().send(&[event(4)]).await.unwrap();
        assert_eq!(read(), "{\"n\":3}\n{\"n\":4}\n");

        fs::write(&path, "{\"n\":5").unwrap();
        sink().send(&[event(5)]).await.unwrap();
        assert_eq!(read(), "{\"n\":5}\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/events.jsonl");
        let sink = FileSink::new(path.clone(), Blocking::new(1));
        assert!(matches!(sink.send(&[event(1)]).await, Err(SendError::Later(_))));
        fs::create_dir(folder.path().join("missing")).unwrap();
        sink.send(&[event(1)]).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n");
    }
}
