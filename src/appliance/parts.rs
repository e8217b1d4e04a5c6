//! Puts the parts together, once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_hsm::KeyService;

use super::cloud::commander;
use super::keys::{self, VaultKeys};
use super::notes::random;
use super::{ApplianceError, Config, SystemClock};
use crate::api::actions::{Scope, Services};
use crate::api::gate::Gate;
use crate::audit::{EventId, Head, Journal, Recorder, Settings, TailRecovered};
use crate::identity::Identities;
use crate::keys::Keys;
use crate::model::Clock;
use crate::rotation::Rotations;
use crate::rpc::signature::Rules;
use crate::runtime::Blocking;
use crate::seal::{DataKeyCache, Integrity, Sealer};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::vault::Vault;

/// Blocking calls at once: readers of the database and other files.
const BLOCKING: usize = 8;

/// The database file below the data folder.
pub(super) const DATABASE: &str = "strongroom.db";
/// The audit folder below the data folder.
pub(super) const AUDIT: &str = "audit";

/// A vault that is open: token logged in, rows checked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) blocking: Blocking,
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: KeyService,
    pub(super) integrity: Arc<Integrity>,
    pub(super) sealer: Sealer,
    pub(super) data_keys: Option<Arc<DataKeyCache>>,
    pub(super) origin: String,
}

/// Opens database and token, and checks that they belong together.
pub(super) async fn open(config: &Config) -> Result<Opened, ApplianceError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let blocking = Blocking::new(BLOCKING);
    let file = config.path(Path::new(DATABASE));
    if !file.exists() {
        return Err(ApplianceError::OtherVault);
    }
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file, blocking.clone())?);
    let (vault, row) = VaultKeys::read(&*store).await?;
    let service = keys::start(config, &vault).await?;
    let integrity = Arc::new(vault.open(&service, &row, config).await?);
    let data_keys = (config.cache.data_key_seconds > 0).then(|| {
        let time_to_live = Duration::from_secs(config.cache.data_key_seconds);
        Arc::new(DataKeyCache::new(config.cache.data_keys.max(1), time_to_live))
    });
    let sealer = Sealer::new(service.clone(), vault.masters(), data_keys.clone());
    Ok(Opened { clock, blocking, store, keys: service, integrity, sealer, data_keys, origin: vault.origin })
}

/// The customer master keys, which the sealer uses from then on.
pub(super) async fn customer_keys(config: &Config, opened: &Opened) -> Result<Keys, ApplianceError> {
    let keys = Keys::load(
        config.account.clone(),
        config.region.clone(),
        opened.origin.clone(),
        Arc::clone(&opened.store),
        Arc::clone(&opened.integrity),
        opened.sealer.clone(),
        Arc::clone(&opened.clock),
        config.keys_settings(),
    );
    Ok(keys.await?)
}

/// The whole appliance, not yet listening.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) opened: Opened,
    pub(super) journal: Journal,
    pub(super) head: Head,
    pub(super) recovered: Option<TailRecovered>,
    pub(super) recorder: Recorder,
    pub(super) identities: Arc<Identities>,
    pub(super) keys: Arc<Keys>,
    pub(super) rotations: Arc<Rotations>,
    pub(super) gate: Arc<Gate>,
}

/// Opens everything and puts it together.
pub(super) async fn assemble(config: &Config) -> Result<Parts, ApplianceError> {
    // The journal first: its lock also keeps a second appliance away.
    let directory = config.path(Path::new(AUDIT));
    let settings =
        Settings::new(EventId::new(u64::try_from(SystemClock.now().millis()).unwrap_or(0), random()));
    let audit = Journal::open(&directory, &settings)?;
    let opened = open(config).await?;
    let recorder = Recorder::new(Arc::new(audit.journal.clone()));
    let identities = Identities::load(
        config.account.clone(),
        config.region.clone(),
        Arc::clone(&opened.store),
        Arc::clone(&opened.integrity),
        opened.sealer.clone(),
        Arc::clone(&opened.clock),
    )
    .await?;
    let identities = Arc::new(identities);
    let keys = Arc::new(customer_keys(config, &opened).await?);
    let vault = Vault::new(
        config.account.clone(),
        config.region.clone(),
        Arc::clone(&opened.store),
        opened.sealer.clone(),
        Arc::clone(&opened.integrity),
        Arc::clone(&opened.clock),
        config.cache.secrets.max(1),
    );
    let vault = Arc::new(vault.with_quotas(config.quotas.secrets, config.quotas.versions));
    let commander = commander(config, &opened).await?;
    let rotations = Arc::new(Rotations::new(
        Arc::clone(&vault),
        recorder.clone(),
        commander,
        opened.blocking.clone(),
        config.rotation_settings(),
        config.listen.clone(),
    ));
    let services = Services {
        vault,
        identities: Arc::clone(&identities),
        keys: Arc::clone(&keys),
        rotations: Arc::clone(&rotations),
    };
    let rules = Rules { v1: config.signatures.v1, v1_needs_nonce: config.signatures.v1_needs_nonce };
    let gate = Arc::new(Gate::new(
        services,
        recorder.clone(),
        Scope { account: config.account.clone(), region: config.region.clone() },
        rules,
        &config.quotas.rates(),
        Arc::clone(&opened.clock),
        opened.origin.clone(),
    ));
    Ok(Parts {
        opened,
        journal: audit.journal,
        head: audit.head,
        recovered: audit.recovered,
        recorder,
        identities,
        keys,
        rotations,
        gate,
    })
}
