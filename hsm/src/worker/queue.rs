//! The bounded queue between the reader and the session threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use zeroize::Zeroizing;

use crate::protocol::Verb;

/// Most jobs that one thread takes at once.
const BATCH: usize = 8;

/// A call that waits for a session.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) verb: Verb,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) received: Instant,
}

/// Many threads take, one puts; never longer than its limit.
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    limit: usize,
    takers: usize,
}

struct State {
    jobs: VecDeque<Job>,
    closed: bool,
    idle: usize,
}

impl Queue {
    pub(super) fn new(limit: usize, takers: usize) -> Self {
        let state = State { jobs: VecDeque::new(), closed: false, idle: 0 };
        Self { state: Mutex::new(state), arrived: Condvar::new(), limit, takers: takers.max(1) }
    }

    /// Adds a job, or gives it back when the queue is full.
    pub(super) fn put(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.jobs.len() >= self.limit {
            return Err(job);
        }
        state.jobs.push_back(job);
        let wake = state.idle > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves the next jobs into `batch`: one, or a thread's fair share when
    /// many wait. False once the queue is closed.
    pub(super) fn take(&self, batch: &mut Vec<Job>) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            if !state.jobs.is_empty() {
                let share = (state.jobs.len() / (2 * self.takers)).clamp(1, BATCH);
                batch.extend(state.jobs.drain(..share));
                return true;
            }
            state.idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Drops what waits and sends every thread home.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use zeroize::Zeroizing;

    use super::{Job, Queue};
    use crate::protocol::Verb;

    fn job(id: u64) -> Job {
        Job { id, verb: Verb::Random, body: Zeroizing::new(Vec::new()), received: Instant::now() }
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let queue = Queue::new(2, 1);
        assert!(queue.put(job(1)).is_ok());
        assert!(queue.put(job(2)).is_ok());
        assert_eq!(queue.put(job(3)).err().map(|job| job.id), Some(3));
    }

    #[test]
    fn jobs_are_shared_out_in_order() {
        let queue = Queue::new(100, 2);
        for id in 0..20 {
            assert!(queue.put(job(id)).is_ok());
        }
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch));
        assert_eq!(batch.iter().map(|job| job.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        queue.close();
        assert!(!queue.take(&mut batch));
    }

    #[test]
    fn a_waiting_thread_is_woken_by_work_and_by_the_end() {
        let queue = Queue::new(10, 1);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let (mut batch, mut ids) = (Vec::new(), Vec::new());
                while queue.take(&mut batch) {
                    ids.extend(batch.drain(..).map(|job| job.id));
                    if ids.len() == 3 {
                        queue.close();
                    }
                }
                ids
            });
            for id in 1..=3 {
                assert!(queue.put(job(id)).is_ok());
            }
            assert_eq!(taker.join().unwrap(), [1, 2, 3]);
        });
    }
}
