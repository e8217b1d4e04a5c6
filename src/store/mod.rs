//! Keeps rows: secrets, versions, rotations, users, keys, policies, settings.
//!
//! One [`commit`](Store::commit) is one transaction, durable when it returns; a
//! list of [`Change`]s either happens whole or not at all. The store knows the
//! rows' keys and order, and carries their MACs without understanding them:
//! whoever reads a row checks it (`seal::Integrity`). It promises nothing that
//! only a single process could keep: changes name the revision they were made
//! from, and a stale one is a [`StoreError::Conflict`].

mod events;
mod keys;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;

use crate::model::campaign::{CampaignRecord, MemberRecord};
use crate::model::rotation::RotationRecord;
use crate::model::{
    CampaignId, Guarded, InstanceId, KeyId, RotationEvent, RotationId, SecretFilter, SecretId, SecretName,
    SecretRecord, Timestamp, VersionId,
};

pub use events::{Ages, EventQuery, EventRow, Standing};
pub use keys::KeyTable;

/// How many rotations of a secret that are over are kept.
pub const KEPT_ROTATIONS: u32 = 50;

/// What a store cannot do, or was kept from doing. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row was changed by somebody else since it was read.
    #[error("the row was changed in the meantime")]
    Conflict,
    /// A row with that key, name or target exists already.
    #[error("a row like that exists already")]
    Exists,
    /// The database cannot be used now; trying again may help.
    #[error("the database cannot be used")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file holds something this program cannot have written.
    #[error("the database holds a row that is damaged: {0}")]
    Damaged(&'static str),
    /// The file was written by a later version of the program.
    #[error(
        "the database has schema {found}, this program knows up to {known}: use the version of strongroom that wrote it"
    )]
    Newer {
        /// The schema number in the file.
        found: u32,
        /// The last one this program knows.
        known: u32,
    },
    /// Another process has it open.
    #[error("the database is in use by another strongroom process")]
    Locked,
    /// The change would leave more rows than it said there may be.
    #[error("there would be more rows than there may be")]
    Full,
}

/// The tables whose rows have a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Secrets, those that wait for their deletion included.
    Secrets,
}

/// The tables that say who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityTable {
    /// Access keys, by id.
    AccessKeys,
    /// Which policy is attached to whom, by `holder/kind/policy` in lower case.
    Attachments,
    /// Groups, by name in lower case.
    Groups,
    /// Who is in which group, by `group/user` in lower case.
    Members,
    /// Policies, by name in lower case.
    Policies,
    /// Roles, by name in lower case.
    Roles,
    /// Users, by name in lower case.
    Users,
}

impl IdentityTable {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AccessKeys,
        Self::Attachments,
        Self::Groups,
        Self::Members,
        Self::Policies,
        Self::Roles,
        Self::Users,
    ];

    /// The table's name, which its rows' MACs cover.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessKeys => "access_keys",
            Self::Attachments => "attachments",
            Self::Groups => "user_groups",
            Self::Members => "group_members",
            Self::Policies => "policies",
            Self::Roles => "roles",
            Self::Users => "users",
        }
    }
}

/// One change of a transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Keeps an event with the next number, unless one of that id is kept already.
    AddEvent {
        /// The event.
        event: Box<RotationEvent>,
        /// The same as a guarded row.
        row: Guarded,
    },
    /// Changes nothing, but is [`StoreError::Full`] when the changes before it
    /// leave more rows than that, whoever else changes the same table.
    AtMost {
        /// The table.
        table: Counted,
        /// How many rows it may have.
        rows: u64,
    },
    /// Removes an identity row.
    DropIdentity {
        /// The table.
        table: IdentityTable,
        /// The key of the row.
        key: String,
    },
    /// Removes a row of a table of keys.
    DropKeyRow {
        /// The table.
        table: KeyTable,
        /// The key of the row.
        key: String,
    },
    /// Removes a secret with its versions and rotations, if it still has the
    /// revision named.
    DropSecret {
        /// The secret.
        id: SecretId,
        /// Its revision.
        expect: u64,
    },
    /// Removes a version's sealed value for good.
    DropVersion {
        /// The secret.
        secret: SecretId,
        /// The version.
        version: VersionId,
    },
    /// Remembers that it was told that a secret missed this date.
    NoteOverdue {
        /// The secret.
        secret: SecretId,
        /// The date.
        promised: Timestamp,
    },
    /// Removes events, the oldest first: those from before a moment, and those
    /// over a number. A bounded piece of work; what is left goes the next time.
    PruneEvents {
        /// Older ones go.
        before: Timestamp,
        /// So many stay at most.
        keep: u64,
    },
    /// Adds a campaign, or replaces it if it still has the revision named.
    PutCampaign {
        /// The campaign.
        record: Box<CampaignRecord>,
        /// The same as a guarded row.
        row: Guarded,
        /// Its revision in the store; `None` when it is new.
        expect: Option<u64>,
    },
    /// Adds or replaces an identity row.
    PutIdentity {
        /// The table.
        table: IdentityTable,
        /// The key of the row.
        key: String,
        /// The row.
        row: Guarded,
        /// Whether a row with that key is replaced, instead of being [`StoreError::Exists`].
        replace: bool,
    },
    /// Adds or replaces a row of a table of keys.
    PutKeyRow {
        /// The table.
        table: KeyTable,
        /// The key of the row.
        key: String,
        /// The row.
        row: Guarded,
        /// Whether a row with that key is replaced, instead of being [`StoreError::Exists`].
        replace: bool,
    },
    /// Adds a member of a campaign, or replaces it if it still has the revision named.
    PutMember {
        /// The member.
        record: Box<MemberRecord>,
        /// The same as a guarded row.
        row: Guarded,
        /// Its revision in the store; `None` when it is new.
        expect: Option<u64>,
    },
    /// Adds a rotation, or replaces it if it still has the revision named. With
    /// one that is added, those of the secret go that are over, but for the
    /// newest [`KEPT_ROTATIONS`] and those of the last hour.
    PutRotation {
        /// The rotation.
        record: Box<RotationRecord>,
        /// The same as a guarded row.
        row: Guarded,
        /// Its revision in the store; `None` when it is new.
        expect: Option<u64>,
    },
    /// Adds a secret, or replaces it if it still has the revision named.
    PutSecret {
        /// The secret.
        record: Box<SecretRecord>,
        /// The same as a guarded row.
        row: Guarded,
        /// Its revision in the store; `None` when it is new.
        expect: Option<u64>,
    },
    /// Sets or replaces a setting.
    PutSetting {
        /// Its name.
        name: &'static str,
        /// The row.
        row: Guarded,
    },
    /// Sets how far a receiver of events is.
    PutSink {
        /// Its name.
        name: String,
        /// The row.
        row: Guarded,
    },
    /// Adds a version's sealed value.
    PutVersion {
        /// The secret.
        secret: SecretId,
        /// The version.
        version: VersionId,
        /// The encoded [`Sealed`](crate::model::Sealed).
        sealed: Vec<u8>,
    },
    /// Changes nothing, and is a [`StoreError::Conflict`] while a secret is
    /// encrypted under that key.
    RequireUnused {
        /// The key.
        key: KeyId,
    },
}

/// A secret as found: the row, and the sealed value of its current version.
#[derive(Debug, Clone)]
pub struct FoundSecret {
    /// The id, from the row's key.
    pub id: SecretId,
    /// The row.
    pub row: Guarded,
    /// When the store believes that its next rotation is due.
    pub next_rotation: Option<Timestamp>,
    /// When the store believes that it is to be destroyed.
    pub planned_delete: Option<Timestamp>,
    /// The sealed value that the row calls current.
    pub current: Option<Vec<u8>>,
}

/// A page of secrets in the order of their names.
#[derive(Debug, Clone)]
pub struct SecretPage {
    /// How many there are on all pages.
    pub total: u64,
    /// The ids and rows of the page.
    pub rows: Vec<(SecretId, Guarded)>,
}

/// A secret whose rotation is due, as the copies beside its row tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueSecret {
    /// The secret.
    pub id: SecretId,
    /// Since when.
    pub due: Timestamp,
    /// The instance it logs on to.
    pub instance: InstanceId,
}

/// A rotation that is not over, as far as the order of work depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRotation {
    /// The rotation.
    pub id: RotationId,
    /// When it may be worked on.
    pub next_try: Timestamp,
    /// The instance.
    pub instance: InstanceId,
    /// Whether it is not known what is in force there.
    pub in_doubt: bool,
}

/// What a store method gives: its answer, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The rows of the vault.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Makes all changes, or none, in one transaction that is durable when this
    /// returns. Concurrent commits share one flush.
    fn commit(&self, changes: Vec<Change>) -> Answer<'_, ()>;

    /// The secret of that name.
    fn secret<'a>(&'a self, name: &'a SecretName) -> Answer<'a, Option<FoundSecret>>;

    /// The secret with that id.
    fn secret_by_id<'a>(&'a self, id: &'a SecretId) -> Answer<'a, Option<FoundSecret>>;

    /// The secrets that a filter takes, in the order of their names, from the
    /// `offset`th on, at most `limit`. What that costs does not depend on the
    /// offset when all are taken, else on how many are.
    fn secrets<'a>(&'a self, filter: &'a SecretFilter, offset: u64, limit: u32) -> Answer<'a, SecretPage>;

    /// Up to `limit` secrets that carry a tag, those whose names stand behind
    /// `after`, in the order of their names, which stand beside them. With
    /// `label` only those that carry that key, and that value if there is one.
    fn tagged<'a>(
        &'a self,
        after: &'a str,
        label: Option<(&'a str, Option<&'a str>)>,
        limit: u32,
    ) -> Answer<'a, Vec<(String, SecretId, Guarded)>>;

    /// Up to `limit` secrets whose names stand at `from` or after it, byte by
    /// byte, in the order of their names, which stand beside them.
    fn secrets_from<'a>(&'a self, from: &'a str, limit: u32) -> Answer<'a, Vec<(String, SecretId, Guarded)>>;

    /// Secrets whose rotation is due at `now`, the most overdue first, without
    /// those that have one going on; from `after` on, not including it.
    fn due<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DueSecret>,
        limit: u32,
    ) -> Answer<'a, Vec<DueSecret>>;

    /// When the next rotation will be due, if any is scheduled.
    fn next_due(&self) -> Answer<'_, Option<Timestamp>>;

    /// Secrets whose planned deletion lies before `now`.
    fn expired(&self, now: Timestamp, limit: u32) -> Answer<'_, Vec<SecretId>>;

    /// The sealed value of a version.
    fn version<'a>(&'a self, secret: &'a SecretId, version: &'a VersionId) -> Answer<'a, Option<Vec<u8>>>;

    /// Rotations that are not over and may be worked on at `now`, and those
    /// whose next time lies beyond `horizon`, which no clock that goes right can
    /// have written.
    fn workable(&self, now: Timestamp, horizon: Timestamp) -> Answer<'_, Vec<OpenRotation>>;

    /// When the next rotation that is not over may be worked on after `now`.
    fn next_workable(&self, now: Timestamp) -> Answer<'_, Option<Timestamp>>;

    /// A rotation.
    fn rotation<'a>(&'a self, id: &'a RotationId) -> Answer<'a, Option<Guarded>>;

    /// All rotations that are not over.
    fn open_rotations(&self) -> Answer<'_, Vec<(RotationId, Guarded)>>;

    /// The newest rotations of a secret, newest first.
    fn rotations<'a>(&'a self, secret: &'a SecretId, limit: u32) -> Answer<'a, Vec<(RotationId, Guarded)>>;

    /// The rotation of a secret that is not over, if there is one.
    fn open_rotation<'a>(&'a self, secret: &'a SecretId) -> Answer<'a, Option<(RotationId, Guarded)>>;

    /// How many rotations begun by hand lie between `since` and now.
    fn rotations_since(&self, since: Timestamp) -> Answer<'_, u64>;

    /// A campaign.
    fn campaign<'a>(&'a self, id: &'a CampaignId) -> Answer<'a, Option<Guarded>>;

    /// The newest campaigns, newest first; only those that are not over when `open`.
    fn campaigns(&self, open: bool, limit: u32) -> Answer<'_, Vec<(CampaignId, Guarded)>>;

    /// The members of a campaign from a position on.
    fn members<'a>(
        &'a self,
        campaign: &'a CampaignId,
        from: u32,
        limit: u32,
    ) -> Answer<'a, Vec<(u32, Guarded)>>;

    /// All rows of an identity table, by key.
    fn identities(&self, table: IdentityTable) -> Answer<'_, Vec<(String, Guarded)>>;

    /// All rows of a table of keys, by key.
    fn key_rows(&self, table: KeyTable) -> Answer<'_, Vec<(String, Guarded)>>;

    /// How many secrets are encrypted under a key, those included that wait for
    /// their deletion.
    fn secrets_under<'a>(&'a self, key: &'a KeyId) -> Answer<'a, u64>;

    /// A setting.
    fn setting<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Guarded>>;

    /// The events that follow a number, in their order, at most `limit`.
    fn events_after(&self, seq: u64, limit: u32) -> Answer<'_, Vec<EventRow>>;

    /// The newest events that fit, newest first.
    fn events(&self, query: EventQuery) -> Answer<'_, Vec<EventRow>>;

    /// The last number that an event was given; 0 before the first.
    fn last_event(&self) -> Answer<'_, u64>;

    /// How many events follow a number.
    fn count_events_after(&self, seq: u64) -> Answer<'_, u64>;

    /// How far a receiver of events is.
    fn sink<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Guarded>>;

    /// Secrets that must have been rotated by `before` and were not, of which
    /// this was not yet noted, the earliest date first.
    fn missed(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<SecretId>>;

    /// How many rotations are going on, by state.
    fn rotation_states(&self) -> Answer<'_, Vec<(String, u64)>>;

    /// How the secrets that rotate by themselves stand at `now`; those whose
    /// date lies before `missed_before` count as overdue.
    fn ages(
        &self,
        now: Timestamp,
        missed_before: Timestamp,
        bounds_seconds: &'static [i64],
    ) -> Answer<'_, Ages>;

    /// The secrets that rotate by themselves, one by one.
    fn standings(&self) -> Answer<'_, Vec<Standing>>;
}
