//! The receivers of events and the listener of metrics, as configured.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::config::WebhookConfig;
use super::keys::secret_file;
use super::parts::Parts;
use super::{ApplianceError, Config};
use crate::metrics::{Counts, Health, Metrics, Watcher};
use crate::model::Clock;
use crate::notify::{Delivery, FileSink, Keeper, Keeping, Sink, SyslogSink, Webhook, WebhookSettings};
use crate::rpc::client::Roots;

/// A webhook with its secret, ready to be used.
pub(super) fn webhook(
    config: &Config,
    webhook: &WebhookConfig,
    clock: Arc<dyn Clock>,
) -> Result<Webhook, ApplianceError> {
    let settings = WebhookSettings {
        name: webhook.name.clone(),
        url: webhook.url.clone(),
        secret: secret_file(&config.path(&webhook.secret_file))?,
        roots: webhook.ca_file.as_ref().map_or(Roots::System, |file| Roots::File(config.path(file))),
        allow_http: webhook.allow_http,
        allow_addresses: webhook.allow_addresses.clone(),
        timeout: Duration::from_secs(webhook.timeout_seconds),
    };
    Ok(Webhook::new(settings, clock)?)
}

fn sinks(config: &Config, parts: &Parts) -> Result<Vec<Arc<dyn Sink>>, ApplianceError> {
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    for entry in &config.events.webhook {
        sinks.push(Arc::new(webhook(config, entry, Arc::clone(&parts.opened.clock))?));
    }
    if let Some(file) = &config.events.file {
        sinks.push(Arc::new(FileSink::new(config.path(file), parts.opened.blocking.clone())));
    }
    if let Some(target) = &config.events.syslog {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        sinks.push(Arc::new(SyslogSink::new(target.clone(), host)));
    }
    Ok(sinks)
}

/// Starts what tells of rotations; it ends when the set is dropped.
///
/// # Errors
///
/// [`ApplianceError`] when a receiver or the listener cannot be used as configured.
pub(super) async fn start(config: &Config, parts: &Parts) -> Result<JoinSet<()>, ApplianceError> {
    let (store, integrity) = (&parts.opened.store, &parts.opened.integrity);
    let mut tasks = JoinSet::new();
    let mut statuses = Vec::new();
    for sink in sinks(config, parts)? {
        let delivery =
            Delivery::new(Arc::clone(store), Arc::clone(integrity), Arc::clone(&parts.opened.clock), sink);
        delivery.settle().await?;
        statuses.push(delivery.status());
        tasks.spawn(delivery.run());
    }
    let keeping = Keeping {
        days: config.events.keep_days,
        count: config.events.keep_count,
        overdue_seconds: config.events.overdue_seconds,
    };
    let keeper =
        Keeper::new(Arc::clone(store), Arc::clone(integrity), Arc::clone(&parts.opened.clock), keeping);
    tasks.spawn(keeper.run());
    let Some(settings) = &config.metrics else { return Ok(tasks) };
    let listener = TcpListener::bind(&settings.listen).await;
    let listener =
        listener.map_err(|source| ApplianceError::Listen { address: settings.listen.clone(), source })?;
    let counts = Arc::new(Counts::default());
    tasks.spawn(Watcher::new(Arc::clone(store), Arc::clone(integrity), Arc::clone(&counts)).run());
    let (gate, throttling) = (Arc::clone(&parts.gate), Arc::clone(&parts.gate));
    let metrics = Metrics {
        store: Arc::clone(store),
        integrity: Arc::clone(integrity),
        clock: Arc::clone(&parts.opened.clock),
        overdue_seconds: config.events.overdue_seconds,
        per_secret: settings.per_secret,
        sinks: statuses,
        health: Box::new(move || {
            let health = gate.health();
            Health { audit: health.audit, hsm: health.hsm }
        }),
        counts,
        throttled: Box::new(move || throttling.throttled_calls()),
    };
    tasks.spawn(Arc::new(metrics).serve(listener));
    Ok(tasks)
}
