//! Watches the audit journal: says when space runs out, and has the block
//! itself on record.

use std::sync::Arc;

use super::Config;
use super::notes::Notes;
use crate::audit::{AuditError, Journal, Status};
use crate::model::Clock;

/// Runs until the journal is closed.
pub(super) async fn watch(config: Config, journal: Journal, clock: Arc<dyn Clock>, node: String) {
    let mut changes = journal.watch();
    while changes.changed().await.is_ok() {
        let status = changes.borrow_and_update().clone();
        match &status {
            Status::Running => tracing::info!("the audit journal takes records"),
            Status::SpaceLow { free_percent } => {
                tracing::warn!(free_percent, "the disk of the audit journal fills up: make room before all calls are refused");
            }
            Status::Blocked { free_percent } => {
                tracing::error!(free_percent, "the disk of the audit journal is full: all calls are refused until there is room");
                let notes =
                    Notes { account: &config.account, region: &config.region, clock: &*clock, node: &node };
                let noted = notes.with("AuditBlocked", &[], async |event| {
                    journal.append_despite_block(event.encode()?).await?;
                    Ok::<(), AuditError>(())
                });
                if let Err(error) = noted.await {
                    tracing::error!(error = ?error, "the block of the audit journal could not be recorded");
                }
            }
            Status::Stalled => tracing::error!("the disk of the audit journal does not answer: all calls are refused"),
            Status::Failed { reason } => {
                tracing::error!(reason, "the audit journal has failed: all calls are refused until a restart");
            }
            Status::Closed => return,
        }
    }
}
