//! Who is worked on next: fair between instances, most overdue first, never
//! more at once than is allowed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::model::{CampaignId, InstanceId, RotationId, SecretId, Timestamp};

/// Something to do on an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::rotation) enum Job {
    /// Go on with a rotation.
    Drive(RotationId),
    /// Begin the rotation of a secret that is due.
    Begin(SecretId),
    /// Begin the rotation of a campaign's member.
    Member(CampaignId, u32),
}

/// How much may be done at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In the region.
    pub(super) region: usize,
    /// On one instance.
    pub(super) instance: usize,
}

impl Bounds {
    /// What instances that do not answer may take of the region together, so
    /// that however many they are the others go on.
    fn doubtful(self) -> usize {
        (self.region / 4).max(1)
    }
}

/// A job with what orders it: what is begun goes before what is not, then the
/// most overdue, then the first to come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    begun_last: bool,
    due: Timestamp,
    number: u64,
    doubt: bool,
    job: Job,
}

/// An instance with something to do.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<Waiting>,
    running: usize,
    served: u64,
    silent: bool,
    place: Option<(bool, Place)>,
}

/// Where an instance stands among those that could have a turn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    served: u64,
    due: Timestamp,
    instance: InstanceId,
}

/// A job's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) job: Job,
    pub(super) instance: InstanceId,
    pub(super) doubtful: bool,
}

/// Jobs that wait, and the count of those that run. An instance has its turn
/// when all others that could have one had theirs since its last.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    lanes: BTreeMap<InstanceId, Lane>,
    turns: BTreeSet<Place>,
    doubtful_turns: BTreeSet<Place>,
    known: HashSet<Job>,
    running: usize,
    doubtful_running: usize,
    unbegun: usize,
    clock: u64,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds { region: bounds.region.max(1), instance: bounds.instance.max(1) },
            lanes: BTreeMap::new(),
            turns: BTreeSet::new(),
            doubtful_turns: BTreeSet::new(),
            known: HashSet::new(),
            running: 0,
            doubtful_running: 0,
            unbegun: 0,
            clock: 0,
        }
    }

    /// Adds a job unless it waits, runs or rests already. `doubt` says that it
    /// is about an instance that may not answer.
    pub(super) fn add(&mut self, job: Job, instance: &InstanceId, due: Timestamp, doubt: bool) -> bool {
        if !self.known.insert(job.clone()) {
            return false;
        }
        self.put(job, instance, due, doubt);
        true
    }

    /// Has a job that is known wait for another turn.
    pub(super) fn again(&mut self, job: Job, instance: &InstanceId, due: Timestamp, doubt: bool) {
        self.known.insert(job.clone());
        self.put(job, instance, due, doubt);
    }

    fn put(&mut self, job: Job, instance: &InstanceId, due: Timestamp, doubt: bool) {
        self.clock += 1;
        let begun_last = !matches!(job, Job::Drive(_));
        self.unbegun += usize::from(begun_last);
        let waiting = Waiting { begun_last, due, number: self.clock, doubt, job };
        self.lanes.entry(instance.clone()).or_default().waiting.insert(waiting);
        self.place(instance);
    }

    /// The next job that may run; it counts as running until [`ended`](Self::ended).
    pub(super) fn next(&mut self) -> Option<Granted> {
        if self.running >= self.bounds.region {
            return None;
        }
        let sure = self.turns.first();
        let doubtful = self.doubtful_turns.first().filter(|_| self.doubtful_running < self.bounds.doubtful());
        let (is_doubtful, place) = match (sure, doubtful) {
            (Some(sure), Some(doubtful)) if doubtful < sure => (true, doubtful),
            (Some(sure), _) => (false, sure),
            (None, doubtful) => (true, doubtful?),
        };
        let instance = place.instance.clone();
        let lane = self.lanes.get_mut(&instance)?;
        let waiting = lane.waiting.pop_first()?;
        self.clock += 1;
        lane.served = self.clock;
        lane.running += 1;
        self.running += 1;
        self.doubtful_running += usize::from(is_doubtful);
        self.unbegun -= usize::from(waiting.begun_last);
        self.place(&instance);
        Some(Granted { job: waiting.job, instance, doubtful: is_doubtful })
    }

    /// Gives back what a job took. It stays known until [`forget`](Self::forget).
    pub(super) fn ended(&mut self, granted: &Granted) {
        self.running = self.running.saturating_sub(1);
        self.doubtful_running = self.doubtful_running.saturating_sub(usize::from(granted.doubtful));
        if let Some(lane) = self.lanes.get_mut(&granted.instance) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.place(&granted.instance);
    }

    /// Lets a job be added anew.
    pub(super) fn forget(&mut self, job: &Job) {
        self.known.remove(job);
    }

    /// Marks a job that is worked on without having had a turn of its own;
    /// `false` when it is known already.
    pub(super) fn claim(&mut self, job: &Job) -> bool {
        self.known.insert(job.clone())
    }

    /// Whether a job waits, runs or rests.
    pub(super) fn knows(&self, job: &Job) -> bool {
        self.known.contains(job)
    }

    /// Says whether an instance leaves questions without an answer.
    pub(super) fn silent(&mut self, instance: &InstanceId, silent: bool) {
        if silent {
            self.lanes.entry(instance.clone()).or_default().silent = true;
        } else if let Some(lane) = self.lanes.get_mut(instance) {
            lane.silent = false;
        }
        self.place(instance);
    }

    /// Jobs waiting that would begin something.
    pub(super) const fn unbegun(&self) -> usize {
        self.unbegun
    }

    /// Jobs waiting for an instance.
    pub(super) fn waiting_for(&self, instance: &InstanceId) -> usize {
        self.lanes.get(instance).map_or(0, |lane| lane.waiting.len())
    }

    /// Puts an instance where it belongs after anything about it has changed.
    fn place(&mut self, instance: &InstanceId) {
        let Some(lane) = self.lanes.get_mut(instance) else { return };
        match lane.place.take() {
            Some((true, place)) => self.doubtful_turns.remove(&place),
            Some((false, place)) => self.turns.remove(&place),
            None => false,
        };
        let Some(head) = lane.waiting.first() else {
            if lane.running == 0 && !lane.silent {
                self.lanes.remove(instance);
            }
            return;
        };
        let doubtful = lane.silent || head.doubt;
        // One that does not answer is asked one thing at a time.
        let limit = if lane.silent { 1 } else { self.bounds.instance };
        if lane.running < limit {
            let place = Place { served: lane.served, due: head.due, instance: instance.clone() };
            lane.place = Some((doubtful, place.clone()));
            let turns = if doubtful { &mut self.doubtful_turns } else { &mut self.turns };
            turns.insert(place);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
