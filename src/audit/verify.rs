//! Checking a journal offline, in constant memory, with nothing but its files.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::AuditError;
use super::frames::{Chain, Fault, Frames};
use super::record::{Body, Hash, Head};
use super::segment;

/// Most rotations that are followed at a time; beyond it they are only counted.
const MAX_OPEN_INTENTS: usize = 100_000;

/// What to hold a journal against.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// A record that an earlier reader saw: the journal must still contain it.
    /// Without one, records cut off at the very end leave no trace.
    pub anchor: Option<Head>,
    /// How far the time of an event may lie before that of an earlier one
    /// without being counted as a step of the clock, in milliseconds. Requests
    /// are recorded when they end and dated when they began.
    pub clock_tolerance_ms: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { anchor: None, clock_tolerance_ms: 60_000 }
    }
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every record from the first to the last is there as it was written.
    Intact,
    /// A record is not what was written; those before it are.
    Broken {
        /// File name of the segment.
        segment: String,
        /// Where the record begins, in bytes.
        offset: u64,
        /// The record that should stand there.
        seq: u64,
        /// What is wrong.
        why: Fault,
    },
    /// What is there is good, but whole segments are missing; see
    /// [`Report::missing`].
    Incomplete,
    /// There is nothing to check, or it cannot be read.
    CannotCheck {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// The exit code of a program that reports this: 0, 1, 2 or 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Broken { .. } => 1,
            Self::Incomplete => 2,
            Self::CannotCheck { .. } => 3,
        }
    }
}

/// Records that are in no segment, first and last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

/// What a verification found. After a break the figures are those of the
/// records before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The verdict.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The journal's name, if it could be read.
    pub origin: Option<String>,
    /// Number of the first record that is there.
    pub first_seq: Option<u64>,
    /// Number of the last one.
    pub last_seq: Option<u64>,
    /// Hash of the last one: keep it elsewhere as the next anchor.
    pub last_hash: Option<Hash>,
    /// How many records were checked.
    pub records: u64,
    /// How many segments were looked at.
    pub segments: u64,
    /// Gaps between segments.
    pub missing: Vec<Missing>,
    /// Rotations that were begun and whose outcome is not on record.
    pub open_intents: u64,
    /// Events dated further back than the tolerance allows.
    pub clock_steps: u64,
}

/// Verifies the journal in `directory`.
///
/// May run while the journal is being written, on the records that were there
/// when it came to the last segment; a record just being written then shows as
/// an incomplete frame.
#[must_use]
pub fn verify(directory: &Path, options: &VerifyOptions) -> Report {
    let mut run = Run::new(options);
    let outcome = match run.directory(directory) {
        Ok(()) if run.report.missing.is_empty() => Outcome::Intact,
        Ok(()) => Outcome::Incomplete,
        Err(Stop::At(outcome)) => outcome,
        Err(Stop::Error(error)) => Outcome::CannotCheck { why: error.with_causes() },
    };
    run.report.open_intents = run.intents.open();
    Report { outcome, ..run.report }
}

enum Stop {
    At(Outcome),
    Error(AuditError),
}

impl From<AuditError> for Stop {
    fn from(error: AuditError) -> Self {
        Self::Error(error)
    }
}

struct Run<'o> {
    options: &'o VerifyOptions,
    report: Report,
    intents: Intents,
    latest_ms: u64,
}

impl<'o> Run<'o> {
    fn new(options: &'o VerifyOptions) -> Self {
        Self {
            options,
            report: Report {
                outcome: Outcome::Intact,
                origin: None,
                first_seq: None,
                last_seq: None,
                last_hash: None,
                records: 0,
                segments: 0,
                missing: Vec::new(),
                open_intents: 0,
                clock_steps: 0,
            },
            intents: Intents::default(),
            latest_ms: 0,
        }
    }

    fn directory(&mut self, directory: &Path) -> Result<(), Stop> {
        let origin = segment::read_origin(directory)?;
        let mut chain = Chain::new(0, Some(Hash::of_origin(&origin)));
        self.report.origin = Some(origin);
        let segments = segment::list(directory)?;
        if segments.is_empty() {
            return Err(Stop::Error(AuditError::NotAJournal {
                path: directory.to_owned(),
                lacks: "every segment",
            }));
        }
        let mut last = (PathBuf::new(), 0);
        for first_seq in segments {
            let path = segment::path_of(directory, first_seq);
            let next = chain.next_seq();
            if first_seq < next {
                return Err(broken(&path, 0, next, Fault::SegmentName));
            }
            if first_seq > next {
                self.report.missing.push(Missing { from: next, to: first_seq.saturating_sub(1) });
                chain = Chain::new(first_seq.saturating_sub(1), None);
            }
            self.report.segments = self.report.segments.saturating_add(1);
            let end = self.segment(&path, &mut chain)?;
            last = (path, end);
        }
        match self.options.anchor {
            Some(anchor) if anchor.seq >= chain.next_seq() => {
                Err(broken(&last.0, last.1, chain.next_seq(), Fault::CutOff))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks one segment and returns where it ends.
    fn segment(&mut self, path: &Path, chain: &mut Chain) -> Result<u64, Stop> {
        let file = File::open(path).map_err(AuditError::io("open", path))?;
        let mut frames = Frames::new(BufReader::with_capacity(1 << 18, file), 0);
        loop {
            let offset = frames.offset();
            let seq = chain.next_seq();
            let at = |fault| broken(path, offset, seq, fault);
            let body = match frames.read().map_err(AuditError::io("read", path))? {
                None => return Ok(offset),
                Some(Err(fault)) => return Err(at(fault)),
                Some(Ok(body)) => body,
            };
            let record = chain.follow(body).map_err(at)?;
            let head = chain.head().ok_or_else(|| at(Fault::Form))?;
            self.event(&record).map_err(at)?;
            if self.options.anchor.is_some_and(|anchor| anchor.seq == seq && anchor != head) {
                return Err(at(Fault::Anchor));
            }
            self.report.first_seq.get_or_insert(seq);
            self.report.last_seq = Some(seq);
            self.report.last_hash = Some(head.hash);
            self.report.records = self.report.records.saturating_add(1);
        }
    }

    fn event(&mut self, record: &Body<'_>) -> Result<(), Fault> {
        let event: Event = serde_json::from_slice(record.event).map_err(|_error| Fault::Form)?;
        let data = event.additional;
        if let Some(time_ms) = data.time_ms {
            let allowed = time_ms.saturating_add(self.options.clock_tolerance_ms);
            if allowed < self.latest_ms {
                self.report.clock_steps = self.report.clock_steps.saturating_add(1);
                self.latest_ms = time_ms;
            }
            self.latest_ms = self.latest_ms.max(time_ms);
        }
        if let (Some(id), Some(rotation)) = (data.correlation_id, data.rotation) {
            self.intents.note(id, &rotation.phase);
        }
        Ok(())
    }
}

fn broken(path: &Path, offset: u64, seq: u64, why: Fault) -> Stop {
    let name = path.file_name().unwrap_or_default();
    Stop::At(Outcome::Broken { segment: name.to_string_lossy().into_owned(), offset, seq, why })
}

/// What the verifier reads of an event; the rest need only be JSON.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "additionalEventData", default)]
    additional: Additional,
}

#[derive(Default, Deserialize)]
struct Additional {
    #[serde(rename = "eventTimeMs")]
    time_ms: Option<u64>,
    #[serde(rename = "correlationId")]
    correlation_id: Option<String>,
    rotation: Option<Rotation>,
}

#[derive(Deserialize)]
struct Rotation {
    phase: String,
}

/// Rotations whose outcome has not been seen yet.
#[derive(Default)]
struct Intents {
    open: HashSet<String>,
    uncounted: u64,
}

impl Intents {
    fn note(&mut self, id: String, phase: &str) {
        match phase {
            "started" if self.open.len() >= MAX_OPEN_INTENTS => {
                self.uncounted = self.uncounted.saturating_add(1);
            }
            "started" => {
                self.open.insert(id);
            }
            "finished" | "failed" | "unknown" if !self.open.remove(&id) => {
                self.uncounted = self.uncounted.saturating_sub(1);
            }
            _settled_or_stored => {}
        }
    }

    fn open(&self) -> u64 {
        u64::try_from(self.open.len()).unwrap_or(u64::MAX).saturating_add(self.uncounted)
    }
}
