//! Leave to act, and the proof that what was done is on record.

use std::sync::Arc;

use super::{AuditError, Event, Journal, Recorded};

/// Leave to act on what a decision allowed.
///
/// For changes it exists only once the intent is on record; a read needs no
/// record yet, since nothing has left. Whoever holds it must hand it back to
/// [`Recorder::done`], which alone gives the [`Recorded`] without which no
/// answer is sent.
#[derive(Debug)]
#[must_use]
pub struct Access {
    /// An intent is on record, and its outcome must not be lost for lack of space.
    is_change: bool,
}

/// The way to the journal for everything that acts.
#[derive(Debug, Clone)]
pub struct Recorder {
    journal: Arc<Journal>,
}

impl Recorder {
    /// Records into this journal.
    #[must_use]
    pub const fn new(journal: Arc<Journal>) -> Self {
        Self { journal }
    }

    /// Leave to read.
    ///
    /// # Errors
    ///
    /// [`AuditError`] at once when the journal has failed: what could not be
    /// recorded must not be begun.
    pub fn read(&self) -> Result<Access, AuditError> {
        self.journal.usable()?;
        Ok(Access { is_change: false })
    }

    /// Leave to change something, once `intent` is durable.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when it could not be recorded; nothing may be done then.
    pub async fn change(&self, intent: &Event<'_>) -> Result<Access, AuditError> {
        self.journal.append(intent.encode()?).await?;
        Ok(Access { is_change: true })
    }

    /// Records what came of it.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when it could not be recorded; then nothing may be
    /// answered but the failure itself.
    pub async fn done(&self, access: Access, outcome: &Event<'_>) -> Result<Recorded, AuditError> {
        let outcome = outcome.encode()?;
        if access.is_change {
            // What was begun while there was room is also told when it has run out.
            self.journal.append_despite_block(outcome).await
        } else {
            self.journal.append(outcome).await
        }
    }

    /// Records a refusal, or an event that needs no leave.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done).
    pub async fn note(&self, event: &Event<'_>) -> Result<Recorded, AuditError> {
        self.journal.append(event.encode()?).await
    }

    /// Records what the appliance itself does, although free space has fallen
    /// below the limit: starting and stopping must be possible then, and are
    /// rare.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done), but for the block.
    pub async fn note_despite_block(&self, event: &Event<'_>) -> Result<Recorded, AuditError> {
        self.journal.append_despite_block(event.encode()?).await
    }

    /// The journal itself, for its status.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}
