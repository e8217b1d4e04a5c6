//! What can go wrong with the journal.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::frames::Fault;

/// Why the journal was not opened, or a record not made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Too much waits to be written, or the disk has not answered in time. The
    /// record may nevertheless come to be written.
    #[error("audit journal is too far behind")]
    Backpressure,
    /// Free space has fallen below the limit; passes when there is space again.
    #[error("audit journal is blocked for lack of free space")]
    Blocked,
    /// The journal was closed.
    #[error("audit journal is closed")]
    Closed,
    /// A write or flush failed earlier, or the file was taken away: nothing is
    /// recorded any more by this process.
    #[error("audit journal has failed")]
    Failed,
    /// One event exceeds the size of a record.
    #[error("event exceeds {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The event cannot be written as JSON.
    #[error("serialise event")]
    Encode(#[source] serde_json::Error),
    /// A file operation failed.
    #[error("{deed} {}", path.display())]
    Io {
        /// What was attempted.
        deed: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process writes this journal.
    #[error("audit directory {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The directory holds a journal already, or other files.
    #[error("audit directory {} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// The directory lacks its origin or its segments.
    #[error("{} is not an audit directory: {lacks} is missing", path.display())]
    NotAJournal {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        lacks: &'static str,
    },
    /// The origin is empty, too long, or not one line of printable text.
    #[error("origin is not one line of 1 to 200 printable ASCII characters")]
    Origin,
    /// A segment is damaged otherwise than by an interrupted write.
    #[error("segment {} is damaged at byte {offset}, record {seq}: {fault}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the record begins, in bytes.
        offset: u64,
        /// The record that should stand there.
        seq: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl AuditError {
    /// Makes an [`AuditError::Io`] of a cause.
    pub(super) fn io(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { deed, path: path.to_owned(), source }
    }

    /// The error and its causes on one line.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
