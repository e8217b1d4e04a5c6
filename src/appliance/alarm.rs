//! Watches the audit journal: says when space runs out, and has the block
//! itself on record.

use std::sync::Arc;

use super::Config;
use super::notes::Notes;
use crate::audit::{AuditError, Journal, Status};
use crate::model::Clock;

/// Runs until the journal is closed; says at once how it stands.
pub(super) async fn watch(config: Config, journal: Journal, clock: Arc<dyn Clock>, node: String) {
    let mut changes = journal.watch();
    changes.mark_changed();
    let mut blocked = false;
    while changes.changed().await.is_ok() {
        let status = changes.borrow_and_update().clone();
        let was_blocked = std::mem::replace(&mut blocked, matches!(status, Status::Blocked { .. }));
        match &status {
            Status::Running => tracing::info!("the audit journal takes records"),
            Status::SpaceLow { free_percent } => {
                tracing::warn!(
                    free_percent,
                    "the disk of the audit journal fills up: make room before all calls are refused"
                );
            }
            // Only the free space has changed.
            Status::Blocked { .. } if was_blocked => {}
            Status::Blocked { free_percent } => {
                tracing::error!(
                    free_percent,
                    "the disk of the audit journal is full: all calls are refused until there is room"
                );
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
            Status::Stalled => {
                tracing::error!("the disk of the audit journal does not answer: all calls are refused")
            }
            Status::Failed { reason } => {
                tracing::error!(
                    reason,
                    "the audit journal has failed: all calls are refused until a restart"
                );
            }
            Status::Closed => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::appliance::SystemClock;
    use crate::audit::{EventId, Settings, Tail, create};

    const CONFIG: &str = r#"
data_dir = "/nonexistent"
listen = "127.0.0.1:0"
account = "1"
region = "cn-hangzhou"
[hsm]
module = "/m.so"
token_label = "t"
pin_file = "pin"
"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_block_that_was_there_at_the_start_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("audit");
        create(&directory, "strongroom/test").unwrap();
        // No disk has that much free space.
        let settings = Settings { block_free_percent: 101, ..Settings::new(EventId::new(1, [1; 10])) };
        let journal = Journal::open(&directory, &settings).unwrap().journal;
        assert!(matches!(journal.status(), Status::Blocked { .. }));
        let config: Config = toml::from_str(CONFIG).unwrap();
        let watching =
            tokio::spawn(watch(config, journal.clone(), Arc::new(SystemClock), "strongroom/test".to_owned()));
        tokio::time::timeout(Duration::from_secs(10), async {
            while journal.stats().records == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        journal.close().await;
        watching.await.unwrap();
        let line = Tail::open(&directory, 1).unwrap().read().unwrap().unwrap();
        assert_eq!(line.event().unwrap()["eventName"], "AuditBlocked");
    }
}
