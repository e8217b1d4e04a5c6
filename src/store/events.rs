//! What the store knows of events, their receivers, and the state of all rotations.

use crate::model::{EventName, Guarded, SecretName, Timestamp};

/// An event as found. Whoever reads it checks the row.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Its place in the order of the commits.
    pub seq: u64,
    /// Its id, the row's key.
    pub id: String,
    /// The row.
    pub row: Guarded,
}

/// Which events, newest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this secret.
    pub secret: Option<SecretName>,
    /// Of this name.
    pub name: Option<EventName>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// With smaller numbers.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// How secrets that rotate by themselves stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ages {
    /// How many there are.
    pub scheduled: u64,
    /// When the oldest of their current versions was stored.
    pub oldest_current: Option<Timestamp>,
    /// Sum of the ages of their current versions, in seconds.
    pub sum_seconds: u64,
    /// How many current versions are at most so old, one for each bound asked for.
    pub up_to: Vec<u64>,
    /// Secrets past their date by more than the grace.
    pub overdue: u64,
    /// The earliest date that was missed so.
    pub earliest_missed: Option<Timestamp>,
}

/// One secret that rotates by itself, for monitoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// When its current version was stored.
    pub current: Option<Timestamp>,
    /// By when it must be rotated.
    pub promised: Timestamp,
}
