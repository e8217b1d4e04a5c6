//! Changes credentials on instances, and never loses the way in.
//!
//! The states and what moves them are `model::rotation`; here is what is done
//! in each. A candidate is durable in the vault before the instance hears of
//! it, and is destroyed only when the instance has said that it will never be
//! in force. [`Rotations::run`] drives every rotation that is not over,
//! whichever process began it; [`Rotations::begin`] begins one.

mod advice;
mod ask;
mod belief;
pub mod crash;
mod decide;
#[cfg(test)]
mod explore;
pub mod fleet;
mod ledger;
mod material;
mod record;
pub mod schedule;
mod step;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::{Access, Recorder};
use crate::cloud_assistant::{CommandError, Commander};
use crate::model::rotation::{Entered, Event, RotationRecord, State, Trigger};
use crate::model::{
    InstanceId, OsFamily, RotationId, SecretName, SecretRecord, SecretSubType, SecretType, VersionId,
    VersionMeta, VersionStage,
};
use crate::runtime::Blocking;
use crate::store::{Change, StoreError};
use crate::vault::{Vault, VaultError};

pub use advice::{warning_in_words, what_to_do};
pub use material::{Chosen, KeyType, MaterialError, PasswordRule, openssh_public_key};

/// Why a rotation was not begun. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Another one of the secret, or of the same user on the instance, is going on.
    #[error("a rotation is going on")]
    InProgress,
    /// It is not due, or not any more.
    #[error("the rotation is not due")]
    NotDue,
    /// The secret is none that the service rotates.
    #[error("the secret is not managed")]
    NotManaged,
    /// Windows instances have passwords only.
    #[error("instances that run Windows have no SSH keys to rotate")]
    NoKeysOnWindows,
    /// No such rotation is going on.
    #[error("no such rotation is going on")]
    NotOpen,
    /// It can be given up only while nobody knows what is in force.
    #[error("the rotation is in state {}, in which it ends by itself", .0.as_str())]
    NotInDoubt(State),
    /// No Cloud Assistant is configured.
    #[error("no Cloud Assistant is configured")]
    NoCloud,
    /// Too many were begun by hand within an hour.
    #[error("the limit of manual rotations is reached")]
    Throttled {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// No new credential could be made.
    #[error("make the new credential")]
    Material,
    /// The vault's refusal or trouble.
    #[error("use the vault")]
    Vault(#[from] VaultError),
}

/// Why nothing is known of an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// No Cloud Assistant is configured.
    #[error("no Cloud Assistant is configured")]
    NoCloud,
    /// There is no such instance, or none that can be rotated.
    #[error("there is no such instance")]
    Unknown,
    /// It could not be asked.
    #[error("ask for the instance")]
    Unreachable(#[source] CommandError),
}

/// Limits and choices.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Commands in flight at once.
    pub concurrency: usize,
    /// Of these, commands in flight at once on one instance.
    pub per_instance: usize,
    /// Rotations begun by hand within an hour (kms-secrets.md section 5.11).
    pub manual_per_hour: u64,
    /// The kind of SSH key to make.
    pub key_type: KeyType,
    /// When Cloud Assistant ends a run of the plug-in.
    pub command_timeout: Duration,
    /// How long an old SSH key goes on working after its successor has become
    /// current, for clients that have read it before.
    pub key_grace: Duration,
    /// The unit in which polls are spaced; a second is what Cloud Assistant
    /// advises, and shorter only where it is known to bear it.
    pub pace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 10,
            per_instance: 2,
            manual_per_hour: 50,
            key_type: KeyType::default(),
            command_timeout: Duration::from_secs(60),
            key_grace: Duration::ZERO,
            pace: Duration::from_secs(1),
        }
    }
}

/// The rotations of a vault.
#[derive(Debug)]
pub struct Rotations {
    vault: Arc<Vault>,
    recorder: Recorder,
    commander: Option<Arc<dyn Commander>>,
    blocking: Blocking,
    settings: Settings,
    woken: Notify,
    work: worker::Work,
    fleet: fleet::Fleet,
    record: record::Origin,
}

/// A candidate, and whether the caller chose it.
struct Made {
    candidate: material::Candidate,
    custom: bool,
}

const HOUR_SECONDS: i64 = 3_600;
/// How often a beginning is made anew when the secret changes under it.
const CONFLICTS: usize = 8;

impl Rotations {
    /// Rotations of the secrets in `vault`, by way of `commander` if one is configured.
    #[must_use]
    pub fn new(
        vault: Arc<Vault>,
        recorder: Recorder,
        commander: Option<Arc<dyn Commander>>,
        blocking: Blocking,
        settings: Settings,
        host: String,
    ) -> Self {
        let record =
            record::Origin { account: vault.account().clone(), region: vault.region().clone(), host };
        Self {
            vault,
            recorder,
            commander,
            blocking,
            work: worker::Work::new(settings.concurrency, settings.per_instance),
            fleet: fleet::Fleet::default(),
            settings,
            woken: Notify::new(),
            record,
        }
    }

    /// Has the worker look at once whether there is something to do.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// The operating system of an instance.
    ///
    /// # Errors
    ///
    /// [`InstanceError`].
    pub async fn operating_system(&self, instance: &InstanceId) -> Result<OsFamily, InstanceError> {
        let commander = self.commander.as_ref().ok_or(InstanceError::NoCloud)?;
        let facts = commander.instance(instance).await.map_err(InstanceError::Unreachable)?;
        facts.and_then(|facts| facts.os).ok_or(InstanceError::Unknown)
    }

    /// Begins a rotation whose new version will be `version`: makes the
    /// candidate and stores it as pending, in one transaction with the
    /// rotation's row. It then goes on by itself. A version of that id that
    /// exists already is success without a new rotation (kms-secrets.md
    /// section 5.11). `chosen` is put in force instead of a value that is made.
    /// Gives the secret's row afterwards.
    ///
    /// # Errors
    ///
    /// [`RotationError`].
    pub async fn begin(
        &self,
        _access: &Access,
        name: &SecretName,
        version: VersionId,
        trigger: Trigger,
        mut chosen: Option<Chosen>,
    ) -> Result<SecretRecord, RotationError> {
        let mut made = None;
        for _ in 0..CONFLICTS {
            let record = self.vault.find(name).await?.record.clone();
            if let Some(until) = record.planned_delete {
                return Err(VaultError::InDeleteWindow { until }.into());
            }
            let Some(ecs) = record.ecs.clone().filter(|_| record.kind == SecretType::Ecs) else {
                return Err(RotationError::NotManaged);
            };
            if record.version(&version).is_some() {
                return Ok(record);
            }
            // It was due when the list was made; meanwhile it may have been
            // rotated by hand, or its rotation switched off.
            if trigger == Trigger::Scheduled && record.due().is_none_or(|due| due > self.vault.now()) {
                return Err(RotationError::NotDue);
            }
            if record.at_stage(&VersionStage::Pending).is_some() {
                return Err(RotationError::InProgress);
            }
            if self.commander.is_none() {
                return Err(RotationError::NoCloud);
            }
            if ecs.os == OsFamily::Windows && ecs.sub_type == SecretSubType::SshKey {
                return Err(RotationError::NoKeysOnWindows);
            }
            if trigger == Trigger::Manual {
                self.within_limit().await?;
            }
            if made.is_none() {
                made = Some(self.candidate(&record, chosen.take()).await?);
            }
            let Some(candidate) = &made else { return Err(RotationError::Material) };
            match self.stage(record, version.clone(), trigger, candidate).await {
                Ok(record) => {
                    self.wake();
                    return Ok(record);
                }
                Err(VaultError::Store(StoreError::Conflict)) => {}
                // The user on the instance is being rotated for another secret.
                Err(VaultError::Store(StoreError::Exists)) => return Err(RotationError::InProgress),
                Err(error) => return Err(error.into()),
            }
        }
        Err(VaultError::Contended.into())
    }

    /// Gives a rotation up, as an administrator decides: once the instance has
    /// confirmed that nothing of it will act any more, it ends without effect,
    /// or, where the new credential turns out to be in force, as a success.
    ///
    /// # Errors
    ///
    /// [`RotationError::NotOpen`], or [`RotationError::NotInDoubt`] while it
    /// comes to an end by itself.
    pub async fn give_up(
        &self,
        _access: &Access,
        name: &SecretName,
        version: &VersionId,
    ) -> Result<(), RotationError> {
        for _ in 0..CONFLICTS {
            let secret = self.vault.find(name).await?.record.clone();
            let open = self.open_rotation(&secret).await?.filter(|rotation| rotation.version == *version);
            let Some(mut rotation) = open else { return Err(RotationError::NotOpen) };
            if !matches!(rotation.state, State::Unknown | State::Stuck) {
                return Err(RotationError::NotInDoubt(rotation.state));
            }
            match self.advance(&mut rotation, Event::GiveUp).await {
                Ok(()) => {
                    self.wake();
                    return Ok(());
                }
                Err(ledger::LedgerError::Vault(VaultError::Store(StoreError::Conflict))) => {}
                Err(ledger::LedgerError::Vault(error)) => return Err(error.into()),
                Err(ledger::LedgerError::Audit(_) | ledger::LedgerError::Illegal(_)) => {
                    return Err(RotationError::NotOpen);
                }
            }
        }
        Err(VaultError::Contended.into())
    }

    async fn within_limit(&self) -> Result<(), RotationError> {
        let since = self.vault.now().plus_seconds(-HOUR_SECONDS);
        let begun = self.vault.store().rotations_since(since).await.map_err(VaultError::from)?;
        if begun >= self.settings.manual_per_hour {
            return Err(RotationError::Throttled { retry_after_ms: 60_000 });
        }
        Ok(())
    }

    async fn candidate(&self, record: &SecretRecord, chosen: Option<Chosen>) -> Result<Made, RotationError> {
        let Some(ecs) = &record.ecs else { return Err(RotationError::NotManaged) };
        let purpose = material::Purpose {
            kind: ecs.sub_type,
            os: ecs.os,
            key_type: self.settings.key_type,
            user: ecs.user.clone(),
            name: record.name.clone(),
        };
        let custom = chosen.is_some();
        let made = self.blocking.run(move || material::candidate(&purpose, chosen)).await;
        let candidate = made.ok().and_then(Result::ok).ok_or(RotationError::Material)?;
        Ok(Made { candidate, custom })
    }

    async fn stage(
        &self,
        mut secret: SecretRecord,
        version: VersionId,
        trigger: Trigger,
        made: &Made,
    ) -> Result<SecretRecord, VaultError> {
        let candidate = &made.candidate;
        let Some(ecs) = secret.ecs.clone() else { return Err(VaultError::WrongType) };
        let now = self.vault.now();
        secret.generation = secret.generation.saturating_add(1);
        secret.versions.push(VersionMeta {
            id: version.clone(),
            created: now,
            data_type: crate::model::SecretDataType::Text,
            stages: vec![VersionStage::Pending],
            key_fingerprint: candidate.fingerprint.clone(),
        });
        let dropped = self.vault.prune(&mut secret)?;
        let id = RotationId::from_random(&self.vault.random_id()?);
        let key = secret.encryption_key.as_ref();
        let material = self.seal_material(&id, key, &candidate.told).await?;
        let rotation = RotationRecord {
            id,
            secret: secret.id.clone(),
            secret_name: secret.name.clone(),
            version: version.clone(),
            kind: ecs.sub_type,
            instance: ecs.instance,
            user: ecs.user,
            generation: secret.generation,
            trigger,
            state: State::Staged,
            apply_sent: false,
            attempt: 0,
            tries: 0,
            asks: 0,
            invoke_id: None,
            since: now,
            doubt_since: None,
            next_try: now,
            started: now,
            ended: None,
            trouble: None,
            troubles: Vec::new(),
            warnings: Vec::new(),
            steps: vec![Entered { state: State::Staged, at: now }],
            os: ecs.os,
            rotated_before: secret.schedule.last.is_some(),
            given_up: false,
            custom: made.custom,
            secret_material: candidate.is_secret,
            sealing_key: None,
            payload: None,
            material,
            proof: candidate.proof.clone(),
            seen_generation: 0,
            revision: 1,
        };
        let mut changes = vec![self.vault.seal_version(&secret, &version, &candidate.value).await?];
        changes.extend(
            dropped.into_iter().map(|v| Change::DropVersion { secret: secret.id.clone(), version: v }),
        );
        changes.push(self.rotation_change(&rotation, None)?);
        crash::point(crash::Write::Enter(State::Staged), crash::Side::Before);
        let secret = self.vault.write(secret, changes).await?;
        crash::point(crash::Write::Enter(State::Staged), crash::Side::After);
        Ok(secret)
    }
}
