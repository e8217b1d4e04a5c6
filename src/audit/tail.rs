//! Reading the end of a journal while it is being written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::error::AuditError;
use super::frames::{Fault, Frames};
use super::record::{Body, Hash};
use super::segment;

/// One record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The record's number.
    pub seq: u64,
    /// The record's hash.
    pub hash: Hash,
    body: Vec<u8>,
}

impl Line {
    /// The record's JSON, one line without a line end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The event inside the record.
    ///
    /// # Errors
    ///
    /// [`AuditError::Encode`] when it is not JSON.
    pub fn event(&self) -> Result<Value, AuditError> {
        let event = Body::parse(&self.body).map_or(&[][..], |body| body.event);
        serde_json::from_slice(event).map_err(AuditError::Encode)
    }
}

/// A reader that stands between two records of a journal.
///
/// It takes no lock, and checks frames but not the chain: that is what
/// [`verify`](super::verify) is for. Its methods block; a server calls them
/// through its helper for blocking work.
#[derive(Debug)]
pub struct Tail {
    directory: PathBuf,
    /// First number of the segment that is being read.
    segment: u64,
    /// Where the next frame begins.
    offset: u64,
    next_seq: u64,
    frames: Frames<BufReader<File>>,
}

impl Tail {
    /// Stands before the last `count` records of the journal in `directory`, or
    /// before its first where there are fewer.
    ///
    /// # Errors
    ///
    /// [`AuditError::NotAJournal`] without segments, [`AuditError::Damaged`]
    /// when one of them cannot be read to its end, [`AuditError::Io`].
    pub fn open(directory: &Path, count: usize) -> Result<Self, AuditError> {
        let segments = segment::list(directory)?;
        let mut wanted = count;
        let mut place = None;
        for first_seq in segments.into_iter().rev() {
            let mut tail = Self::at(directory, first_seq, 0, first_seq)?;
            let mut last = VecDeque::new();
            loop {
                let here = (tail.offset, tail.next_seq);
                if tail.frame()?.is_none() {
                    last.push_back(here);
                    break;
                }
                last.push_back(here);
                if last.len() > wanted {
                    last.pop_front();
                }
            }
            while last.len() > wanted.saturating_add(1) {
                last.pop_front();
            }
            let found = last.len().saturating_sub(1);
            let (offset, seq) = last.front().copied().unwrap_or((0, first_seq));
            place = Some((first_seq, offset, seq));
            wanted = wanted.saturating_sub(found);
            if wanted == 0 {
                break;
            }
        }
        let Some((segment, offset, seq)) = place else {
            return Err(AuditError::NotAJournal { path: directory.to_owned(), lacks: "every segment" });
        };
        Self::at(directory, segment, offset, seq)
    }

    /// The next record, or `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// [`AuditError::Damaged`], [`AuditError::Io`].
    pub fn read(&mut self) -> Result<Option<Line>, AuditError> {
        loop {
            if let Some(line) = self.frame()? {
                return Ok(Some(line));
            }
            let next = segment::path_of(&self.directory, self.next_seq);
            if self.next_seq == self.segment || !next.exists() {
                return Ok(None);
            }
            // The writer makes the next segment only after the last record of
            // this one, which may have come since.
            if let Some(line) = self.frame()? {
                return Ok(Some(line));
            }
            *self = Self::at(&self.directory, self.next_seq, 0, self.next_seq)?;
        }
    }

    /// The next record; looks for it every `interval` until there is one.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn wait(&mut self, interval: Duration) -> Result<Line, AuditError> {
        loop {
            if let Some(line) = self.read()? {
                return Ok(line);
            }
            thread::sleep(interval);
        }
    }

    fn at(directory: &Path, segment: u64, offset: u64, seq: u64) -> Result<Self, AuditError> {
        let path = segment::path_of(directory, segment);
        let mut file = File::open(&path).map_err(AuditError::io("open", &path))?;
        file.seek(SeekFrom::Start(offset)).map_err(AuditError::io("read", &path))?;
        Ok(Self {
            directory: directory.to_owned(),
            segment,
            offset,
            next_seq: seq,
            frames: Frames::new(BufReader::with_capacity(1 << 16, file), offset),
        })
    }

    /// The next whole frame of this segment.
    fn frame(&mut self) -> Result<Option<Line>, AuditError> {
        let path = segment::path_of(&self.directory, self.segment);
        let damaged = |offset, seq, fault| AuditError::Damaged { path: path.clone(), offset, seq, fault };
        let (offset, seq) = (self.offset, self.next_seq);
        let body = match self.frames.read().map_err(AuditError::io("read", &path))? {
            Some(Ok(body)) => body,
            None => return Ok(None),
            Some(Err(Fault::IncompleteFrame)) => {
                // Being written at this moment: stand before it again.
                *self = Self::at(&self.directory, self.segment, offset, seq)?;
                return Ok(None);
            }
            Some(Err(fault)) => return Err(damaged(offset, seq, fault)),
        };
        match Body::parse(body) {
            Some(record) if record.seq == seq => {}
            Some(_) => return Err(damaged(offset, seq, Fault::Sequence)),
            None => return Err(damaged(offset, seq, Fault::Form)),
        }
        let line = Line { seq, hash: Hash::of_body(&[body]), body: body.to_vec() };
        self.offset = self.frames.offset();
        self.next_seq = seq.saturating_add(1);
        Ok(Some(line))
    }
}
