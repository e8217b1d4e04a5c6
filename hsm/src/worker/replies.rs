//! Replies on their way to the appliance.
//!
//! Session threads append; one thread writes what has gathered in one system
//! call.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::buffer::WipingBuffer;
use crate::error::HsmError;
use crate::protocol::{self, NOTICE};

/// Where replies gather.
pub(super) struct Replies {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    buffer: WipingBuffer,
    /// The writer waits for something to write.
    idle: bool,
    /// Nothing more will come.
    finished: bool,
}

impl Replies {
    pub(super) fn new() -> Arc<Self> {
        let state = State { buffer: WipingBuffer::new(), idle: false, finished: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Hands over whole frames; `frames` is empty and wiped afterwards.
    pub(super) fn send(&self, frames: &mut WipingBuffer) {
        if frames.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.buffer.push(frames.as_slice());
        let wake = state.idle;
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        frames.clear();
    }

    /// Answers one call with a failure.
    pub(super) fn fail(&self, id: u64, error: &HsmError) {
        let mut frames = WipingBuffer::new();
        protocol::write_failure(&mut frames, id, error);
        self.send(&mut frames);
    }

    /// Asks to be replaced.
    pub(super) fn notice(&self, why: &HsmError) {
        self.fail(NOTICE, why);
    }

    /// Lets the writer end once everything is written.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_one();
    }

    /// The writer thread's work. Ends when told to, or when the appliance is
    /// gone.
    pub(super) fn write_to(&self, mut socket: &UnixStream) {
        let mut sending = WipingBuffer::new();
        loop {
            let mut state = self.lock();
            while state.buffer.is_empty() {
                if state.finished {
                    return;
                }
                state.idle = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle = false;
            }
            std::mem::swap(&mut state.buffer, &mut sending);
            drop(state);
            if socket.write_all(sending.as_slice()).is_err() {
                return;
            }
            sending.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
