//! Reading a segment frame by frame, in constant memory.

use std::fmt;
use std::io::{self, BufRead};

use serde::Serialize;

use super::record::{Body, FRAME_BYTES, Hash, Head, MAX_BODY_BYTES};

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// The file ends inside the frame.
    IncompleteFrame,
    /// The length is zero or above the limit.
    Length,
    /// The checksum does not fit the body.
    Checksum,
    /// The body is not of the form of a record.
    Form,
    /// Another number stands where this record should.
    Sequence,
    /// The record does not name the hash of the one before.
    Chain,
    /// The monotonic clock goes backwards within one run of the program.
    Clock,
    /// The segment's name does not follow from the records before it.
    SegmentName,
    /// The record is not the one that an earlier reader saw under its number.
    Anchor,
    /// The journal ends before a record that an earlier reader saw.
    CutOff,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IncompleteFrame => "the file ends inside a frame",
            Self::Length => "the length of the frame is impossible",
            Self::Checksum => "the checksum does not fit the body",
            Self::Form => "the body is not a record",
            Self::Sequence => "the record has another number",
            Self::Chain => "the record does not follow from the one before",
            Self::Clock => "the monotonic clock goes backwards",
            Self::SegmentName => "the segment's name does not fit",
            Self::Anchor => "the record differs from the anchor",
            Self::CutOff => "the journal ends before the anchor",
        })
    }
}

/// Reads frames one after the other.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    /// Where the next frame begins.
    offset: u64,
    body: Vec<u8>,
}

impl<R: BufRead> Frames<R> {
    /// Reads frames from `reader`, which stands at `offset` of its file.
    pub(super) fn new(reader: R, offset: u64) -> Self {
        Self { reader, offset, body: Vec::new() }
    }

    /// The body of the next frame, or `None` at the end of the file.
    ///
    /// After a fault [`offset`](Self::offset) is where the faulty frame begins.
    pub(super) fn read(&mut self) -> io::Result<Option<Result<&[u8], Fault>>> {
        let mut length = [0; 4];
        match fill(&mut self.reader, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Ok(Some(Err(Fault::IncompleteFrame))),
        }
        let bytes = match usize::try_from(u32::from_be_bytes(length)) {
            Ok(bytes) if (1..=MAX_BODY_BYTES).contains(&bytes) => bytes,
            Ok(_) | Err(_) => return Ok(Some(Err(Fault::Length))),
        };
        self.body.resize(bytes, 0);
        let mut checksum = [0; 4];
        if fill(&mut self.reader, &mut self.body)? < bytes
            || fill(&mut self.reader, &mut checksum)? < checksum.len()
        {
            return Ok(Some(Err(Fault::IncompleteFrame)));
        }
        if crc32c::crc32c(&self.body) != u32::from_be_bytes(checksum) {
            return Ok(Some(Err(Fault::Checksum)));
        }
        let frame = u64::try_from(bytes.saturating_add(FRAME_BYTES)).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(frame);
        Ok(Some(Ok(&self.body)))
    }

    /// Where the next frame begins; after a fault, where the faulty one does.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// Fills `buffer` as far as the file goes and returns how far that was.
fn fill(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Checks that records follow each other.
#[derive(Debug)]
pub(super) struct Chain {
    /// Number of the last record.
    seq: u64,
    /// Its hash; `None` when the record before is not at hand.
    hash: Option<Hash>,
    boot: String,
    mono_ns: u64,
}

impl Chain {
    /// A chain whose next record is number `seq + 1`; without a hash the first
    /// record's predecessor is taken on trust.
    pub(super) fn new(seq: u64, hash: Option<Hash>) -> Self {
        Self { seq, hash, boot: String::new(), mono_ns: 0 }
    }

    /// Takes the next record, or says what is wrong with it.
    pub(super) fn follow<'b>(&mut self, body: &'b [u8]) -> Result<Body<'b>, Fault> {
        let record = Body::parse(body).ok_or(Fault::Form)?;
        if record.seq != self.next_seq() {
            return Err(Fault::Sequence);
        }
        if self.hash.is_some_and(|hash| hash != record.prev) {
            return Err(Fault::Chain);
        }
        if record.boot != self.boot {
            record.boot.clone_into(&mut self.boot);
        } else if record.mono_ns < self.mono_ns {
            return Err(Fault::Clock);
        }
        self.mono_ns = record.mono_ns;
        self.seq = record.seq;
        self.hash = Some(Hash::of_body(&[body]));
        Ok(record)
    }

    /// The number that the next record must have.
    pub(super) fn next_seq(&self) -> u64 {
        self.seq.saturating_add(1)
    }

    /// What the clock of run `boot` has reached, if that wrote the last record.
    pub(super) fn mono_ns_of(&self, boot: &str) -> u64 {
        match self.boot == boot {
            true => self.mono_ns,
            false => 0,
        }
    }

    /// The last record, if its hash is known.
    pub(super) fn head(&self) -> Option<Head> {
        self.hash.map(|hash| Head { seq: self.seq, hash })
    }
}
