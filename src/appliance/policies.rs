//! What the account itself may do whatever a policy says (ram.md, rule E2).
//!
//! Nobody signs requests as the account here: it is whoever holds the machine,
//! the token's PIN and the configuration.

use std::sync::Arc;

use super::cloud::assemble_without_cloud;
use super::notes::Notes;
use super::{ApplianceError, Config};
use crate::model::SecretName;
use crate::vault::Vault;

/// Gives a secret the default policy again, for one whose policy shuts out
/// everybody who could set another. The appliance must not be running.
///
/// # Errors
///
/// [`ApplianceError`]; nothing has changed then.
pub async fn reset_secret_policy(config: Config, name: &SecretName) -> Result<(), ApplianceError> {
    let parts = assemble_without_cloud(&config).await?;
    let opened = &parts.opened;
    let vault = Vault::new(
        config.account.clone(),
        config.region.clone(),
        Arc::clone(&opened.store),
        opened.sealer.clone(),
        Arc::clone(&opened.integrity),
        Arc::clone(&opened.clock),
        1,
    );
    let notes = Notes {
        account: &config.account,
        region: &config.region,
        clock: &*opened.clock,
        node: &opened.origin,
    };
    vault.find(name).await?;
    let (event, facts) = ("ResetSecretPolicy", [("SecretName", name.as_str())]);
    let access = notes.with(event, &facts, async |event| parts.recorder.change(event).await).await?;
    let reset = vault.change(&access, name, |record| {
        record.policy = None;
        Ok(())
    });
    reset.await?;
    let recorder = &parts.recorder;
    notes.with(event, &facts, async move |event| recorder.done(access, event).await).await?;
    parts.opened.keys.stop().await;
    parts.journal.close().await;
    Ok(())
}
