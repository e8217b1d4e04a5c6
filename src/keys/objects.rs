//! The objects of the token: made and destroyed, so that a crash anywhere in
//! between leaves neither an object that no row names nor a key without one.
//!
//! ```text
//!   a row announces the object ──► the object is made ──► the row tells of it
//!   the row condemns the key ──► the objects are destroyed ──► the row goes
//! ```
//!
//! What was announced and is not told of is undone by the next round: nobody
//! was answered. What is condemned is destroyed by the next round.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_hsm::{HsmError, KnownKey};

use super::administration::{NewKey, next_version, period};
use super::crash::{self, Step};
use super::record::{Deed, Record};
use super::snapshot::{Snapshot, reference};
use super::{Edit, KeyError, Keys, Plan, random};
use crate::audit::Access;
use crate::model::key::{
    KeyName, KeyOrigin, KeyRecord, KeyRotation, KeySpec, KeyState, KeyUsage, KeyVersion, TokenObject,
};
use crate::model::{KeyId, KeyVersionId, Timestamp, error_chain};
use crate::seal::{KeyRefusal, SealError};
use crate::store::{Change, KeyTable, StoreError};

/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(5);
/// How long a key rests of which something could not be done, at first and at most.
const REST_SECONDS: [i64; 2] = [60, 3_600];
/// Versions of a key at most: each is an object of the token for good.
const MAX_VERSIONS: usize = 500;

/// What the rounds remember.
#[derive(Debug, Default)]
pub(super) struct Work {
    resting: Mutex<HashMap<KeyId, (Timestamp, i64)>>,
}

/// An object that the token does not have, or has another in its place.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The key.
    pub key: KeyId,
    /// The version of the key.
    pub version: u32,
    /// What is wrong.
    pub why: String,
}

/// What is due with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Condemn,
    Destroy,
    NewVersion,
    Undo,
}

impl Keys {
    /// Creates a key: an object in the token, enabled.
    ///
    /// # Errors
    ///
    /// [`KeyError::Limit`], [`KeyError::Invalid`] for a period under 7 days, and
    /// [`KeyError::Seal`] when the token is away.
    pub async fn create(&self, _access: &Access, new: NewKey) -> Result<Arc<KeyRecord>, KeyError> {
        let interval = new.interval.map(period).transpose()?;
        let _one_at_a_time = self.making.lock().await;
        let now = self.clock.now();
        let id = KeyId::from_random(random()?);
        let mut record = KeyRecord {
            making: Some(self.new_version(&id, 1)?),
            id: id.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            spec: KeySpec::Aes256,
            usage: KeyUsage::EncryptDecrypt,
            origin: KeyOrigin::Kms,
            protection: new.protection,
            description: new.description,
            creator: new.creator,
            created: now,
            state: KeyState::Creating,
            delete_at: None,
            rotation: KeyRotation { automatic: interval.is_some(), interval, ..KeyRotation::OFF },
            deletion_protection: false,
            deletion_protection_description: String::new(),
            tags: new.tags,
            versions: Vec::new(),
            revision: 0,
        };
        record.rotation.next = next_version(&record, now);
        self.edit(|snapshot| {
            if snapshot.keys.len() >= self.settings.max_keys {
                return Err(KeyError::Limit("keys"));
            }
            Ok(Plan { edits: vec![self.put_key(&mut record, false)?], ..Plan::default() })
        })
        .await?;
        self.make(&id).await
    }

    /// Gives a key a new version, which encrypts from then on; what the older
    /// ones have encrypted can still be decrypted.
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyNotFound`], [`KeyError::Seal`] when it is not in use, or
    /// the token is away, [`KeyError::Limit`].
    pub async fn create_version(&self, _access: &Access, key: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        let _one_at_a_time = self.making.lock().await;
        self.add_version(key).await
    }

    /// Looks for every object in the token; gives those that are not there, or
    /// are not what was made.
    ///
    /// # Errors
    ///
    /// [`KeyError::Seal`] when the token is away.
    pub async fn examine(&self) -> Result<Vec<Lost>, KeyError> {
        let mut lost = Vec::new();
        for key in self.list() {
            for version in &key.versions {
                let known = KnownKey { key: reference(&version.object), check: version.object.check.clone() };
                match self.sealer.keys().add_key(known).await {
                    Ok(()) => {}
                    Err(error @ (HsmError::KeyMissing { .. } | HsmError::KeyAltered { .. })) => {
                        lost.push(Lost {
                            key: key.id.clone(),
                            version: version.number,
                            why: error.to_string(),
                        });
                    }
                    Err(error) => return Err(SealError::Token(error).into()),
                }
            }
        }
        Ok(lost)
    }

    /// Does what is due, again and again, until the future is dropped. To be
    /// called once.
    pub async fn run(self: Arc<Self>, record: Record) {
        match self.examine().await {
            Ok(lost) => {
                for lost in lost {
                    tracing::error!(key = %lost.key, version = lost.version, why = lost.why,
                        "a customer master key cannot be used");
                }
            }
            Err(error) => tracing::warn!(error = ?error, "the customer master keys were not looked for"),
        }
        loop {
            self.round(&record).await;
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Does what is due now: undoes what a crash has left, destroys keys past
    /// their window, and makes new versions. What fails rests for a while, and
    /// so does what cannot be recorded.
    pub async fn round(&self, record: &Record) {
        let now = self.clock.now();
        for (id, due) in self.due(now) {
            let _one_at_a_time = self.making.lock().await;
            // While the lock was waited for, whoever had it may have done it.
            let still = self.snapshot.load().keys.get(&id).and_then(|key| due_of(key, now));
            if still != Some(due) {
                continue;
            }
            let done = self.see_to(&id, due, record).await;
            let mut resting = self.work.resting.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok(()) => {
                    resting.remove(&id);
                    tracing::info!(key = %id, done = ?due, "a customer master key was seen to");
                }
                Err(error) => {
                    let [first, most] = REST_SECONDS;
                    let seconds = resting.get(&id).map_or(first, |(_, seconds)| (seconds * 2).min(most));
                    resting.insert(id.clone(), (now.plus_seconds(seconds), seconds));
                    tracing::error!(key = %id, due = ?due, error = error_chain(&error), "a customer master key was not seen to");
                }
            }
        }
    }

    async fn see_to(&self, key: &KeyId, due: Due, record: &Record) -> Result<(), KeyError> {
        let name = match due {
            Due::Condemn | Due::Destroy => "DeleteKey",
            Due::NewVersion => "CreateKeyVersion",
            // Nobody ever knew of it.
            Due::Undo => return self.undo(key).await,
        };
        let deed = Deed { name, key };
        let access = self.record_begun(record, deed).await?;
        let done = match due {
            Due::Condemn => self.condemn(key).await,
            Due::Destroy | Due::Undo => self.destroy(key).await,
            Due::NewVersion => self.add_version(key).await.map(drop),
        };
        self.record_ended(record, deed, access, done.as_ref().err()).await?;
        done
    }

    fn due(&self, now: Timestamp) -> Vec<(KeyId, Due)> {
        let resting = self.work.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = |id: &KeyId| resting.get(id).is_some_and(|(until, _)| *until > now);
        let snapshot = self.snapshot.load();
        let keys = snapshot.keys.values().filter(|key| !rests(&key.id));
        keys.filter_map(|key| Some((key.id.clone(), due_of(key, now)?))).collect()
    }

    fn new_version(&self, key: &KeyId, number: u32) -> Result<KeyVersion, KeyError> {
        Ok(KeyVersion {
            id: KeyVersionId::from_random(random()?),
            number,
            created: self.clock.now(),
            object: TokenObject {
                label: format!("{}/key/{key}/v{number}", self.origin),
                id: random()?,
                check: Vec::new(),
            },
        })
    }

    async fn add_version(&self, key: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        let found = self.find(&KeyName::Id(key.clone()))?;
        let last = found.primary().map_or(0, |version| version.number);
        let version = self.new_version(key, last.saturating_add(1))?;
        self.change(key, |record| {
            match record.state {
                KeyState::Enabled => {}
                KeyState::Disabled => return Err(KeyRefusal::Disabled.into()),
                KeyState::PendingDeletion => return Err(KeyError::PendingDeletion),
                KeyState::Creating | KeyState::Destroying => return Err(KeyError::KeyNotFound),
            }
            if record.versions.len() >= MAX_VERSIONS {
                return Err(KeyError::Limit("versions of a key"));
            }
            record.making = Some(version);
            Ok(())
        })
        .await?;
        self.make(key).await
    }

    /// Makes the object that the row announces, and tells of it in the row.
    async fn make(&self, id: &KeyId) -> Result<Arc<KeyRecord>, KeyError> {
        crash::point(Step::Announced);
        let announced = self.snapshot.load().keys.get(id).and_then(|key| key.making.clone());
        let mut version = announced.ok_or(KeyError::KeyNotFound)?;
        match self.sealer.keys().generate(&reference(&version.object)).await {
            Ok(known) => version.object.check = known.check,
            Err(error) => {
                // The next round tries again if the token is away for that too.
                if let Err(undone) = self.undo(id).await {
                    tracing::warn!(key = %id, error = error_chain(&undone), "a key that was not made is undone later");
                }
                return Err(SealError::Token(error).into());
            }
        }
        crash::point(Step::Made);
        let now = self.clock.now();
        self.edit_row(id, |record| {
            if record.state == KeyState::Creating {
                record.state = KeyState::Enabled;
            } else {
                record.rotation.last = Some(now);
            }
            record.making = None;
            record.versions.push(version);
            record.rotation.next = next_version(record, now);
            Ok(())
        })
        .await?;
        crash::point(Step::Told);
        self.find(&KeyName::Id(id.clone()))
    }

    /// Undoes what was announced: the object, if it was made, and the word of it.
    async fn undo(&self, id: &KeyId) -> Result<(), KeyError> {
        let Some(record) = self.snapshot.load().keys.get(id).cloned() else { return Ok(()) };
        if let Some(version) = &record.making {
            self.destroy_object(&version.object).await?;
        }
        if record.state == KeyState::Creating {
            return self.forget(id).await;
        }
        self.edit_row(id, |record| {
            record.making = None;
            Ok(())
        })
        .await
    }

    /// The window of a key is over: it is gone for everybody from here on.
    async fn condemn(&self, id: &KeyId) -> Result<(), KeyError> {
        self.while_unused(id, |record| {
            record.state = KeyState::Destroying;
            Ok(())
        })
        .await?;
        crash::point(Step::Condemned);
        self.destroy(id).await
    }

    async fn destroy(&self, id: &KeyId) -> Result<(), KeyError> {
        let Some(record) = self.snapshot.load().keys.get(id).cloned() else { return Ok(()) };
        for version in record.versions.iter().chain(&record.making) {
            self.destroy_object(&version.object).await?;
        }
        crash::point(Step::Destroyed);
        self.forget(id).await
    }

    async fn destroy_object(&self, object: &TokenObject) -> Result<(), KeyError> {
        self.sealer.keys().destroy(&reference(object)).await.map_err(|error| SealError::Token(error).into())
    }

    async fn forget(&self, id: &KeyId) -> Result<(), KeyError> {
        self.edit(|_| {
            let edits = vec![Edit::Drop { table: KeyTable::Keys, key: id.to_string() }];
            Ok(Plan { edits, ..Plan::default() })
        })
        .await?;
        crash::point(Step::Forgotten);
        Ok(())
    }

    /// Changes the row of a key, whether anybody may know of it or not.
    async fn edit_row(
        &self,
        id: &KeyId,
        change: impl FnOnce(&mut KeyRecord) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        self.edit(|snapshot| {
            let mut record = KeyRecord::clone(snapshot.keys.get(id).ok_or(KeyError::KeyNotFound)?);
            change(&mut record)?;
            Ok(Plan { edits: vec![self.put_key(&mut record, true)?], ..Plan::default() })
        })
        .await
    }

    /// Changes the row of a key, by the settings only while no secret is
    /// encrypted under it. The aliases of a key that is condemned go with it.
    pub(super) async fn while_unused(
        &self,
        id: &KeyId,
        change: impl FnOnce(&mut KeyRecord) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let outcome = self.edit(|snapshot| {
            let found = snapshot.find(&KeyName::Id(id.clone())).ok_or(KeyError::KeyNotFound)?;
            let mut record = KeyRecord::clone(found);
            change(&mut record)?;
            let mut edits = vec![self.put_key(&mut record, true)?];
            if record.state == KeyState::Destroying {
                edits.extend(aliases_of(snapshot, id));
            }
            let protect = self.settings.protect_used;
            let conditions = protect.then(|| Change::RequireUnused { key: id.clone() });
            Ok(Plan { edits, conditions: conditions.into_iter().collect() })
        });
        match outcome.await {
            Err(KeyError::Store(StoreError::Conflict)) => {
                Err(KeyError::InUse { secrets: self.store.secrets_under(id).await? })
            }
            other => other,
        }
    }
}

fn aliases_of(snapshot: &Snapshot, key: &KeyId) -> Vec<Edit> {
    let aliases = snapshot.aliases.values().filter(|alias| alias.key == *key);
    aliases.map(|alias| Edit::Drop { table: KeyTable::Aliases, key: alias.name.to_string() }).collect()
}

fn due_of(key: &KeyRecord, now: Timestamp) -> Option<Due> {
    let past = |moment: Option<Timestamp>| moment.is_some_and(|at| at <= now);
    match key.state {
        KeyState::Destroying => Some(Due::Destroy),
        KeyState::Creating => Some(Due::Undo),
        _ if key.making.is_some() => Some(Due::Undo),
        KeyState::PendingDeletion => past(key.delete_at).then_some(Due::Condemn),
        KeyState::Enabled => past(key.rotation.next).then_some(Due::NewVersion),
        KeyState::Disabled => None,
    }
}
