//! The journal as the rest of the appliance sees it: many tasks append, and each
//! waits until its record is durable. [`writer`](super::writer) makes it so.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;

use super::error::AuditError;
use super::event::{Encoded, EventId};
use super::record::Head;
use super::segment::{self, Limits, Segments};
use super::torn::TailRecovered;
use super::writer::{Batch, Shared, blocking, lock, look_after};

/// How often the journal looks after itself, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How the journal behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names this run of the program; written into each record.
    pub boot: EventId,
    /// Size at which a segment is full, in bytes: 64 MiB.
    pub segment_bytes: u64,
    /// Size of the file that is given up when space ends, in bytes: 1 MiB.
    pub reserve_bytes: u64,
    /// Free space that raises the alarm, in percent: 10.
    pub alarm_free_percent: u64,
    /// Free space that blocks the journal, in percent: 3.
    pub block_free_percent: u64,
    /// Most records that may wait to be written: 4,096.
    pub queue_records: usize,
    /// Longest time that a record may wait for the disk: 5 seconds.
    pub wait_limit: Duration,
    /// How often free space and the segment's name are looked at: 1 second.
    pub check_interval: Duration,
}

impl Settings {
    /// The usual settings, for the run named `boot`.
    #[must_use]
    pub fn new(boot: EventId) -> Self {
        Self {
            boot,
            segment_bytes: 64 * 1024 * 1024,
            reserve_bytes: 1024 * 1024,
            alarm_free_percent: 10,
            block_free_percent: 3,
            queue_records: 4096,
            wait_limit: Duration::from_secs(5),
            check_interval: Duration::from_secs(1),
        }
    }
}

/// Whether the journal takes records, for health and alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Running,
    /// It does, but free space has fallen below the alarm.
    SpaceLow {
        /// What is left.
        free_percent: u64,
    },
    /// It does not until there is more space.
    Blocked {
        /// What is left.
        free_percent: u64,
    },
    /// It does not until the disk answers.
    Stalled,
    /// It does not any more.
    Failed {
        /// What failed.
        reason: String,
    },
    /// It was closed.
    Closed,
}

/// Proof that a record is durable. Made by the journal only.
#[derive(Debug)]
pub struct Recorded {
    seq: u64,
}

impl Recorded {
    /// The record's number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// What was written since the journal was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records made durable.
    pub records: u64,
    /// Flushes that this took.
    pub batches: u64,
}

/// A journal that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// The name that it was created with.
    pub origin: String,
    /// The last record that it held.
    pub head: Head,
    /// What an interrupted write had left and was cut off; the caller records
    /// this as the first event.
    pub recovered: Option<TailRecovered>,
}

/// The journal. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    /// Opens the journal in `directory`, made by [`create`](segment::create),
    /// and locks it. Reads the last two segments, so that it blocks for up to
    /// about a second; must be called inside a Tokio runtime with a timer.
    ///
    /// # Errors
    ///
    /// [`AuditError::Locked`] when another process writes it,
    /// [`AuditError::NotAJournal`] when files are missing,
    /// [`AuditError::Damaged`] when they are wrong in a way that no interrupted
    /// write explains, [`AuditError::Io`].
    pub fn open(directory: &Path, settings: &Settings) -> Result<Opened, AuditError> {
        let limits = Limits {
            segment_bytes: settings.segment_bytes,
            reserve_bytes: settings.reserve_bytes,
            alarm_free_percent: settings.alarm_free_percent,
            block_free_percent: settings.block_free_percent,
        };
        let boot = settings.boot.to_string();
        let (mut segments, recovered) = Segments::open(directory, limits, boot)?;
        let origin = segment::read_origin(directory)?;
        let room = segments.check()?;
        let head = segments.head();
        let shared = Shared::new(segments, room, settings.queue_records, settings.wait_limit);
        let shared = Arc::new(shared);
        tokio::spawn(look_after(
            Arc::downgrade(&shared),
            settings.check_interval,
            LOOK_INTERVAL.min(settings.wait_limit / 4).min(settings.check_interval),
        ));
        Ok(Opened { journal: Self { shared }, origin, head, recovered })
    }

    /// Records an event; the future ends once the record is durable.
    ///
    /// The order of records is that in which their futures are first polled. A
    /// future dropped after that does not take its record back.
    pub fn append(&self, event: Encoded) -> Append<'_> {
        self.entry(event, false)
    }

    /// Records an event although free space has fallen below the limit: for the
    /// event that says so, for the outcome of what was begun before, and for the
    /// start and the stop of the appliance. What clients can cause without end is
    /// never recorded this way.
    pub fn append_despite_block(&self, event: Encoded) -> Append<'_> {
        self.entry(event, true)
    }

    /// Writes what waits, then gives up the file and the lock. Appends that
    /// come later answer [`AuditError::Closed`]. Waits as long as the disk takes.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        {
            let mut queue = lock(&shared.queue);
            queue.closed = true;
            shared.publish(&queue);
        }
        let (done, closed) = tokio::sync::oneshot::channel();
        blocking(move || {
            let mut segments = lock(&shared.segments);
            shared.flush_all(&mut segments);
            drop(segments.take());
            drop(segments);
            done.send(()).unwrap_or_default();
        });
        closed.await.unwrap_or_default();
    }

    /// Whether records are taken at present.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Whether a record would be taken now; costs one lock and no wait.
    ///
    /// # Errors
    ///
    /// What an [`append`](Self::append) would be refused with.
    pub fn usable(&self) -> Result<(), AuditError> {
        match lock(&self.shared.queue).refusal(false) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Tells of every change of [`status`](Self::status).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// The last durable record.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        lock(&self.shared.queue).head
    }

    /// What was written so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared.queue).stats
    }

    fn entry(&self, event: Encoded, despite_block: bool) -> Append<'_> {
        Append { journal: self, event: Some(event), despite_block, place: None }
    }
}

/// A record on its way to the disk.
#[must_use = "nothing is recorded before the future is polled"]
pub struct Append<'j> {
    journal: &'j Journal,
    event: Option<Encoded>,
    despite_block: bool,
    /// The batch that holds the record, and how many stand before it in there.
    place: Option<(Arc<Batch>, u64)>,
}

impl fmt::Debug for Append<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("waiting", &self.place.is_some()).finish_non_exhaustive()
    }
}

impl Future for Append<'_> {
    type Output = Result<Recorded, AuditError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(event) = self.event.take() {
            let shared = &self.journal.shared;
            match shared.enter(event, self.despite_block, cx.waker()) {
                Err(refusal) => return Poll::Ready(Err(refusal.into())),
                Ok((batch, index, at_rest)) => {
                    if at_rest {
                        shared.start_flush();
                    }
                    self.place = Some((batch, index));
                    return Poll::Pending;
                }
            }
        }
        let Some((batch, index)) = &self.place else {
            return Poll::Ready(Err(AuditError::Closed));
        };
        let mut waiting = lock(&batch.0);
        match waiting.outcome {
            Some(Ok(first)) => Poll::Ready(Ok(Recorded { seq: first.saturating_add(*index) })),
            Some(Err(refusal)) => Poll::Ready(Err(refusal.into())),
            None => {
                let at = usize::try_from(*index).unwrap_or(usize::MAX);
                match waiting.wakers.get_mut(at) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => waiting.wakers.push(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
