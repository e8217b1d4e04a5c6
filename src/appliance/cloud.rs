//! The vault's own credentials for the cloud, and the client that uses them.

use std::sync::Arc;
use std::time::Duration;

use strongroom_hsm::SecretBytes;

use super::clock::for_clients;
use super::config::Delivery;
use super::parts::{Opened, assemble, open};
use super::{ApplianceError, Config, notes::Notes};
use crate::cloud_assistant::Commander;
use crate::cloud_assistant::client::{self, API_VERSION, Client, Settings};
use crate::model::{Binding, CloudCredentials, Sealed};
use crate::rpc::client::{Credentials, Endpoint, Roots, Timeouts};
use crate::seal::SealError;
use crate::store::Change;

/// The setting that keeps the credentials.
const CREDENTIALS: &str = "cloud-credentials";

fn binding<'a>(config: &'a Config, access_key_id: &'a str) -> Binding<'a> {
    Binding {
        purpose: "cloud-credentials",
        account: &config.account,
        region: &config.region,
        owner: access_key_id,
        part: "secret",
    }
}

/// The way to the instances, if one is configured and has credentials.
pub(super) async fn commander(
    config: &Config,
    opened: &Opened,
) -> Result<Option<Arc<dyn Commander>>, ApplianceError> {
    let Some(cloud) = &config.cloud else { return Ok(None) };
    let Some(row) = opened.store.setting(CREDENTIALS).await? else {
        tracing::warn!(
            "no cloud credentials are stored, so no instance can be rotated: run `strongroom cloud credentials`"
        );
        return Ok(None);
    };
    let kept: CloudCredentials = opened.integrity.check("settings", CREDENTIALS, &row)?;
    let sealed = Sealed::decode(&kept.sealed).map_err(SealError::from)?;
    let secret = opened.sealer.open(&binding(config, &kept.access_key_id), &sealed).await?;
    let credentials = Credentials::new(kept.access_key_id, &secret, None);
    let endpoint = Endpoint {
        host: cloud.endpoint.clone(),
        roots: cloud.ca_file.as_ref().map_or(Roots::System, |file| Roots::File(config.path(file))),
        version: API_VERSION,
        timeouts: Timeouts::default(),
    };
    let rpc = crate::rpc::client::Client::new(endpoint, for_clients()).map_err(ApplianceError::Cloud)?;
    let delivery = match cloud.delivery {
        Delivery::Inline => client::Delivery::Inline,
        Delivery::Stored => client::Delivery::Stored {
            linux: cloud.linux_command.clone(),
            windows: cloud.windows_command.clone(),
        },
    };
    let settings =
        Settings { region: config.region.clone(), delivery, pace: Duration::from_millis(cloud.pace_ms) };
    Ok(Some(Arc::new(Client::new(rpc, Arc::new(credentials), settings, for_clients()))))
}

/// Stores the access key with which the vault signs its calls to the cloud,
/// sealed under the token. The appliance must not be running; it uses the new
/// key from its next start on.
///
/// # Errors
///
/// [`ApplianceError`]; nothing has changed then.
pub async fn set_cloud_credentials(
    config: Config,
    access_key_id: &str,
    secret: SecretBytes,
) -> Result<(), ApplianceError> {
    let parts = assemble_without_cloud(&config).await?;
    let sealed = parts.opened.sealer.seal(&binding(&config, access_key_id), &secret).await?;
    let sealed = sealed.encode().map_err(SealError::from)?;
    let kept = CloudCredentials { access_key_id: access_key_id.to_owned(), sealed };
    let row = parts.opened.integrity.guard("settings", CREDENTIALS, &kept)?;
    let notes = Notes {
        account: &config.account,
        region: &config.region,
        clock: &*parts.opened.clock,
        node: &parts.opened.origin,
    };
    let facts = [("AccessKeyId", access_key_id)];
    notes.with("SetCloudCredentials", &facts, async |event| parts.recorder.note(event).await).await?;
    parts.opened.store.commit(vec![Change::PutSetting { name: CREDENTIALS, row }]).await?;
    parts.opened.keys.stop().await;
    parts.journal.close().await;
    Ok(())
}

/// The present credentials may be the very thing that is wrong: they are not looked at.
pub(super) async fn assemble_without_cloud(config: &Config) -> Result<super::parts::Parts, ApplianceError> {
    assemble(&Config { cloud: None, ..config.clone() }).await
}

/// Whether credentials are stored, for the doctor.
pub(super) async fn has_credentials(opened: &Opened) -> Result<bool, ApplianceError> {
    Ok(opened.store.setting(CREDENTIALS).await?.is_some())
}

/// Opens database and token for the doctor, who must not disturb a running appliance.
pub(super) async fn look(config: &Config) -> Result<Opened, ApplianceError> {
    open(config).await
}
