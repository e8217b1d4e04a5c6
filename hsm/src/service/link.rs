//! One connection to one worker: calls out, replies back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::buffer::{Frame, Inbox, WipingBuffer};
use crate::error::HsmError;
use crate::protocol::{self, FAILED, MAX_CALL_BYTES, NOTICE, OK, Verb};
use crate::secret::SecretBytes;

type Answer = Result<SecretBytes, HsmError>;

/// Calls under way on one socket. Once closed it answers at once and stays so.
pub(super) struct Link {
    calls: Mutex<Calls>,
    outgoing: Mutex<WipingBuffer>,
    wake: Notify,
    limit: usize,
}

struct Calls {
    waiting: HashMap<u64, Waiting>,
    last_id: u64,
    last_reply: Instant,
    closed: Option<HsmError>,
}

/// A call that the worker has not answered. It stays here when its caller gave
/// up, so that the limit counts what really is under way.
struct Waiting {
    answer: Option<oneshot::Sender<Answer>>,
    verb: Verb,
    sent: Instant,
    allowed: Duration,
}

/// The tasks that carry a link; aborted when dropped.
pub(super) struct Carriers {
    reader: JoinHandle<HsmError>,
    writer: JoinHandle<()>,
}

impl Link {
    /// Takes over `socket`; at most `limit` calls may be under way.
    pub(super) fn start(socket: UnixStream, limit: usize) -> (Arc<Self>, Carriers) {
        let link = Arc::new(Self {
            calls: Mutex::new(Calls {
                waiting: HashMap::new(),
                last_id: NOTICE,
                last_reply: Instant::now(),
                closed: None,
            }),
            outgoing: Mutex::new(WipingBuffer::new()),
            wake: Notify::new(),
            limit,
        });
        let (incoming, outgoing) = socket.into_split();
        let carriers = Carriers {
            reader: tokio::spawn(read(Arc::clone(&link), incoming)),
            writer: tokio::spawn(write(Arc::clone(&link), outgoing)),
        };
        (link, carriers)
    }

    /// Sends a call of `size` argument bytes, written by `encode`, and waits
    /// for its answer.
    ///
    /// The deadline is kept by [`expire`](Self::expire), not by a timer a call.
    pub(super) async fn call(
        &self,
        verb: Verb,
        allowed: Duration,
        size: usize,
        encode: impl FnOnce(&mut WipingBuffer),
    ) -> Answer {
        if size > MAX_CALL_BYTES {
            return Err(HsmError::protocol(format!(
                "a call of {size} bytes exceeds the limit of {MAX_CALL_BYTES}"
            )));
        }
        let (answer, arrival) = oneshot::channel();
        let id = self.enter(Waiting { answer: Some(answer), verb, sent: Instant::now(), allowed })?;
        {
            let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
            let start = outgoing.begin_frame(id, verb as u8);
            encode(&mut outgoing);
            outgoing.end_frame(start);
        }
        self.wake.notify_one();
        arrival.await.unwrap_or_else(|_dropped| Err(HsmError::unavailable("the connection ended")))
    }

    /// Refuses everything from now on with `error`, and what waits with it.
    pub(super) fn close(&self, error: &HsmError) {
        let mut calls = self.lock();
        calls.closed = Some(error.clone());
        let waiting = std::mem::take(&mut calls.waiting);
        drop(calls);
        for answer in waiting.into_values().filter_map(|waiting| waiting.answer) {
            // A caller that gave up needs no answer.
            drop(answer.send(Err(error.clone())));
        }
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Tells every caller whose time is over, and says why the worker must be
    /// taken for hung, if so: it has answered nothing at all since a call that
    /// is over its time, or one call is over twice its time.
    pub(super) fn expire(&self, now: Instant) -> Option<String> {
        let mut calls = self.lock();
        let last_reply = calls.last_reply;
        let mut hung = None;
        for waiting in calls.waiting.values_mut() {
            let (age, allowed) = (now.saturating_duration_since(waiting.sent), waiting.allowed);
            if age < allowed {
                continue;
            }
            let operation = waiting.verb.deed();
            if let Some(answer) = waiting.answer.take() {
                // A caller that gave up needs no answer.
                drop(answer.send(Err(HsmError::Deadline { operation: operation.into(), after: allowed })));
            }
            if last_reply < waiting.sent || age > 2 * allowed {
                hung = Some(format!("a call to {operation} was not answered within {allowed:?}"));
            }
        }
        hung
    }

    /// Calls under way.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().waiting.len()
    }

    fn enter(&self, waiting: Waiting) -> Result<u64, HsmError> {
        let mut calls = self.lock();
        if let Some(error) = &calls.closed {
            return Err(error.clone());
        }
        if calls.waiting.len() >= self.limit {
            return Err(HsmError::Busy {
                operation: waiting.verb.deed().into(),
                what: format!("{} calls are under way", self.limit),
            });
        }
        calls.last_id += 1;
        let id = calls.last_id;
        calls.waiting.insert(id, waiting);
        Ok(id)
    }

    fn deliver(&self, frame: &Frame<'_>) -> Result<(), HsmError> {
        let answer = match frame.tag {
            OK => Ok(SecretBytes::copy_of(frame.body)),
            FAILED => Err(protocol::read_failure(frame.body)),
            _ => return Err(HsmError::protocol("a reply of an unknown form")),
        };
        if frame.id == NOTICE {
            return Err(answer.err().unwrap_or_else(|| HsmError::protocol("a notice without a reason")));
        }
        let mut calls = self.lock();
        calls.last_reply = Instant::now();
        let waiting = calls.waiting.remove(&frame.id);
        drop(calls);
        if let Some(caller) = waiting.and_then(|waiting| waiting.answer) {
            // A caller that gave up needs no answer.
            drop(caller.send(answer));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carriers {
    /// Waits until the connection is of no more use, and says why.
    pub(super) async fn ended(&mut self) -> HsmError {
        (&mut self.reader)
            .await
            .unwrap_or_else(|_panic| HsmError::unavailable("the reader of replies failed"))
    }

    /// Closes our sending side, which asks the worker to end.
    pub(super) fn part(&self) {
        self.writer.abort();
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// Delivers replies until the socket ends; closes the link at once then.
async fn read(link: Arc<Link>, mut socket: OwnedReadHalf) -> HsmError {
    let mut inbox = Inbox::new();
    let why = loop {
        match inbox.next() {
            Ok(Some(frame)) => {
                if let Err(why) = link.deliver(&frame) {
                    break why;
                }
                continue;
            }
            Ok(None) => {}
            Err(malformed) => break malformed.into(),
        }
        match socket.read(inbox.space()).await {
            Ok(0) => break HsmError::unavailable("the worker ended"),
            Ok(count) => inbox.filled(count),
            Err(error) => break HsmError::unavailable(format!("the worker ended: {error}")),
        }
    };
    link.close(&HsmError::unavailable(why.to_string()));
    why
}

/// Sends what has gathered, as much at once as there is.
async fn write(link: Arc<Link>, mut socket: OwnedWriteHalf) {
    let mut sending = WipingBuffer::new();
    loop {
        link.wake.notified().await;
        // Lets callers that are ready add theirs to the same system call.
        tokio::task::yield_now().await;
        std::mem::swap(&mut *link.outgoing.lock().unwrap_or_else(PoisonError::into_inner), &mut sending);
        if socket.write_all(sending.as_slice()).await.is_err() {
            // The reader notices the same and closes the link.
            return;
        }
        sending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::Link;
    use crate::buffer::{Inbox, WipingBuffer};
    use crate::error::HsmError;
    use crate::protocol::{self, NOTICE, OK, Verb};

    const ALLOWED: Duration = Duration::from_secs(1);

    /// Waits for the ids of `count` calls, as a worker would.
    async fn calls(peer: &mut UnixStream, count: usize) -> Vec<u64> {
        let (mut inbox, mut ids) = (Inbox::new(), Vec::new());
        while ids.len() < count {
            let read = peer.read(inbox.space()).await.unwrap();
            inbox.filled(read);
            while let Some(frame) = inbox.next().unwrap() {
                ids.push(frame.id);
            }
        }
        ids
    }

    fn reply(id: u64, body: &[u8]) -> WipingBuffer {
        let mut frames = WipingBuffer::new();
        let start = frames.begin_frame(id, OK);
        frames.push(body);
        frames.end_frame(start);
        frames
    }

    #[tokio::test]
    async fn replies_find_their_calls_in_any_order() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let (link, _carriers) = Link::start(ours, 8);
        let call = || link.call(Verb::Random, ALLOWED, 0, |_| {});
        let worker = async {
            for id in calls(&mut peer, 3).await.into_iter().rev() {
                peer.write_all(reply(id, &id.to_le_bytes()).as_slice()).await.unwrap();
            }
        };
        let (first, second, third, ()) = tokio::join!(call(), call(), call(), worker);
        for (id, answer) in [(1_u64, first), (2, second), (3, third)] {
            assert!(answer.unwrap().matches(&id.to_le_bytes()));
        }
        assert_eq!(link.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_notice_ends_the_link_and_every_call_at_once() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let (link, mut carriers) = Link::start(ours, 8);
        let worker = async {
            calls(&mut peer, 1).await;
            let mut frames = WipingBuffer::new();
            protocol::write_failure(&mut frames, NOTICE, &HsmError::unavailable("the token left"));
            peer.write_all(frames.as_slice()).await.unwrap();
            carriers.ended().await
        };
        let (answer, why) = tokio::join!(link.call(Verb::Random, ALLOWED, 0, |_| {}), worker);
        assert!(why.to_string().contains("the token left"), "{why}");
        assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
        let later = link.call(Verb::Random, ALLOWED, 0, |_| {}).await;
        assert!(matches!(later, Err(HsmError::Unavailable { .. })), "{later:?}");
    }

    #[tokio::test]
    async fn a_slow_call_is_over_before_a_worker_that_answers_others_is_hung() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let (link, _carriers) = Link::start(ours, 8);
        let begun = Instant::now();
        let slow = async {
            let answer = link.call(Verb::Sign, ALLOWED, 0, |_| {}).await;
            assert!(matches!(answer, Err(HsmError::Deadline { .. })), "{answer:?}");
        };
        let quick = async {
            let first = calls(&mut peer, 1).await;
            assert_eq!(first, [1]);
            let answer = async {
                let id = calls(&mut peer, 1).await[0];
                peer.write_all(reply(id, b"").as_slice()).await.unwrap();
            };
            let (answered, ()) = tokio::join!(link.call(Verb::Random, ALLOWED, 0, |_| {}), answer);
            answered.unwrap();
            assert_eq!(link.expire(begun + ALLOWED / 2), None);
            assert_eq!(link.expire(begun + ALLOWED * 3 / 2), None);
        };
        tokio::join!(slow, quick);
        assert_eq!(link.in_flight(), 1, "the worker still has it");
        assert!(link.expire(begun + ALLOWED * 3).is_some());
    }
}
