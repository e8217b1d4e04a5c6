//! One job's turn, given back however it ends.

use std::sync::Arc;
use std::time::Duration;

use super::queue::Granted;
use super::{Job, Rotations, SHORT_MILLIS};
use crate::model::Timestamp;

/// A job that runs. When it is dropped, others may run, and the job may be
/// found anew.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    rotations: &'a Arc<Rotations>,
    granted: Granted,
    keeps: bool,
}

impl<'a> Turn<'a> {
    pub(super) const fn new(rotations: &'a Arc<Rotations>, granted: Granted) -> Self {
        Self { rotations, granted, keeps: false }
    }

    pub(super) const fn job(&self) -> &Job {
        &self.granted.job
    }

    /// Goes on as another job on the same instance, unless somebody works on that already.
    pub(super) fn becomes(mut self, job: Job) -> Option<Self> {
        let mut queue = self.rotations.work.queue();
        if !queue.claim(&job) {
            return None;
        }
        queue.forget(&self.granted.job);
        self.granted.job = job;
        drop(queue);
        Some(self)
    }

    /// Says whether the instance leaves questions without an answer.
    pub(super) fn instance_is(&self, silent: bool) {
        self.rotations.work.queue().silent(&self.granted.instance, silent);
    }

    /// Gives the turn back, to have another one after a while. A long wait is
    /// left to the database, which knows it too.
    pub(super) fn later(mut self, wait: Duration, due: Timestamp, doubt: bool) {
        if wait > Duration::from_millis(SHORT_MILLIS) {
            return;
        }
        self.keeps = true;
        let (rotations, job, instance) =
            (Arc::clone(self.rotations), self.granted.job.clone(), self.granted.instance.clone());
        tokio::spawn(async move {
            rotations.wait_until(due).await;
            rotations.work.queue().again(job, &instance, due, doubt);
            rotations.hand_out();
        });
    }

    /// Gives the turn back; the job is not found anew for a while.
    pub(super) fn rest(mut self, wait: Duration) {
        self.keeps = true;
        let (rotations, job) = (Arc::clone(self.rotations), self.granted.job.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            rotations.work.queue().forget(&job);
            rotations.wake();
        });
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.rotations.work.queue();
        queue.ended(&self.granted);
        if !self.keeps {
            queue.forget(&self.granted.job);
        }
    }
}
