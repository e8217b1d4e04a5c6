//! Keeps a worker running.
//!
//! ```text
//!            worker ends, hangs, or asks for it
//!   Ready ─────────────────────────────────────► Down ──► start again, at once
//!     ▲                                           │ ▲     the first time, then
//!     └───────────── it serves ───────────────────┘ │     after 1 s … 60 s
//!                                                   │
//!   PinRefused ◄── the token refuses the PIN ───────┘     never started again
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::process::Worker;
use super::{INTRODUCED_AT_ONCE, Shared};
use crate::error::HsmError;
use crate::protocol::{self, Verb};
use crate::report::State;

/// A worker that served this long has earned an immediate restart.
const STEADY: Duration = Duration::from_secs(60);

/// First and longest pause between restarts that follow each other.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Asks the supervisor to stop; answered once the worker is gone.
pub(super) type Stop = oneshot::Sender<()>;

/// Why the watch over a worker ended.
enum Ending {
    Stopped(Option<Stop>),
    Lost(HsmError),
}

/// Runs until it is told to stop or every handle is gone.
pub(super) async fn run(shared: Arc<Shared>, worker: Worker, mut orders: mpsc::Receiver<Stop>) {
    let stop = keep(&shared, worker, &mut orders).await;
    shared.end(State::Stopped, &HsmError::unavailable("the key service was stopped"));
    if let Some(stop) = stop {
        // Whoever asked may have gone.
        stop.send(()).ok();
    }
}

async fn keep(shared: &Arc<Shared>, mut worker: Worker, orders: &mut mpsc::Receiver<Stop>) -> Option<Stop> {
    let mut pauses = Pauses::new();
    loop {
        let begun = Instant::now();
        let why = match watch(shared, &mut worker, orders).await {
            Ending::Stopped(stop) => {
                worker.part().await;
                return stop;
            }
            Ending::Lost(why) => why,
        };
        tracing::warn!(%why, "the key worker is replaced");
        worker.link.close(&HsmError::unavailable(why.to_string()));
        shared.down(&why);
        worker.kill().await;
        if begun.elapsed() > STEADY {
            pauses = Pauses::new();
        }
        worker = loop {
            let started = tokio::select! {
                stop = orders.recv() => return stop,
                started = start_after(shared, pauses.next()) => started,
            };
            match started {
                Ok(worker) => break worker,
                Err(refused @ HsmError::PinRefused { .. }) => {
                    tracing::error!(%refused, "the key worker stays down");
                    shared.end(State::PinRefused { why: refused.to_string() }, &refused);
                    return orders.recv().await;
                }
                Err(why) => {
                    tracing::warn!(%why, "the key worker could not be started");
                    shared.down(&why);
                }
            }
        };
        tracing::info!(pid = worker.pid(), "the key worker serves again");
    }
}

/// Waits until something ends the worker's service.
async fn watch(shared: &Shared, worker: &mut Worker, orders: &mut mpsc::Receiver<Stop>) -> Ending {
    let step = (shared.token.call_deadline / 20).clamp(Duration::from_millis(5), Duration::from_millis(100));
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stop = orders.recv() => return Ending::Stopped(stop),
            why = worker.carriers.ended() => return Ending::Lost(why),
            _ = ticks.tick() => {
                if let Some(why) = worker.link.expire(Instant::now()) {
                    return Ending::Lost(HsmError::unavailable(why));
                }
            }
        }
    }
}

async fn start_after(shared: &Shared, pause: Duration) -> Result<Worker, HsmError> {
    sleep(pause).await;
    let (keys, later) = shared.known_keys();
    let (worker, opened) = Worker::open(&shared.program, &shared.token, &shared.pin, keys).await?;
    // In parts: all together may be more than one call may carry. Nobody else
    // watches the calls of a worker that does not serve yet.
    for part in later.chunks(INTRODUCED_AT_ONCE) {
        let body = protocol::to_json(&part)?;
        let allowed = shared.token.call_deadline;
        let introduced = worker.link.call(Verb::Introduce, allowed, body.len(), |buffer| buffer.push(&body));
        match tokio::time::timeout(allowed, introduced).await {
            Ok(reply) => drop(reply?),
            Err(_) => {
                return Err(HsmError::unavailable("the new key worker does not learn its keys in time"));
            }
        }
    }
    shared.up(&worker, opened);
    Ok(worker)
}

/// Nothing, then 1 s, 2 s, 4 s … 60 s, each with up to a quarter more, so that
/// several appliances do not return to one token in step.
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { next: Duration::ZERO }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        let (first, longest) = PAUSES;
        self.next = (pause * 2).clamp(first, longest);
        let mut byte = [0];
        // Without chance there is no spread, which harms nothing.
        rand::fill(&mut byte).ok();
        pause + pause * u32::from(byte[0]) / 1024
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pauses;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_longer() {
        let mut pauses = Pauses::new();
        assert_eq!(pauses.next(), Duration::ZERO);
        for least in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = pauses.next();
            let least = Duration::from_secs(least);
            assert!(pause >= least && pause <= least + least / 4, "{pause:?}");
        }
    }
}
