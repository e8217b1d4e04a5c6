//! Runs the appliance until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::notes::Notes;
use super::parts::{AUDIT, Parts, assemble};
use super::replay::{Begun, UNKNOWN_OUTCOME, look_back};
use super::{ApplianceError, Config, alarm, hardening, keys, monitoring};
use crate::api::listener;

/// How often data keys are wiped whose time is over, or whose token is away.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, then ends what is being answered, and stops.
///
/// # Errors
///
/// [`ApplianceError`] when it cannot start; each names what to do.
pub async fn serve(config: Config) -> Result<(), ApplianceError> {
    hardening::harden();
    enough_files(config.limits.connections)?;
    let tls = acceptor(&config)?;
    let parts = assemble(&config).await?;
    let directory = config.path(Path::new(AUDIT));
    let identities = Arc::clone(&parts.identities);
    let now = parts.opened.clock.now();
    let begun = parts.opened.blocking.run(move || look_back(&directory, &identities, now)).await;
    let begun = begun.unwrap_or(Err(crate::audit::AuditError::Closed))?;
    note_start(&config, &parts, &begun).await?;
    let listener = TcpListener::bind(&config.listen).await;
    let listener =
        listener.map_err(|source| ApplianceError::Listen { address: config.listen.clone(), source })?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(alarm::watch(
        config.clone(),
        parts.journal.clone(),
        Arc::clone(&parts.opened.clock),
        parts.opened.origin.clone(),
    ));
    // Before the first rotation takes a step, so that no receiver misses it.
    let mut telling = monitoring::start(&config, &parts).await?;
    let rotations = tokio::spawn(Arc::clone(&parts.rotations).run());
    let record = crate::keys::Record::new(parts.recorder.clone(), config.listen.clone());
    let seeing_to_keys = tokio::spawn(Arc::clone(&parts.keys).run(record));
    let keys = parts.opened.keys.clone();
    let sweeper = parts.opened.data_keys.clone().map(|cache| {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                if keys.is_ready() {
                    cache.sweep();
                } else {
                    cache.clear();
                }
            }
        })
    });
    let address = listener.local_addr().map_or_else(|_| config.listen.clone(), |a| a.to_string());
    tracing::info!(%address, account = %config.account, region = %config.region, "serving");
    let serving = tokio::spawn(listener::serve(
        listener,
        tls,
        Arc::clone(&parts.gate),
        config.listener_limits(),
        stopped,
    ));
    told_to_stop().await?;
    tracing::info!("stopping");
    stop.send(true).ok();
    serving.await.ok();
    // A rotation goes on from its row at the next start: it may be cut anywhere.
    rotations.abort();
    // So may the making of a key: the next start undoes it.
    seeing_to_keys.abort();
    telling.abort_all();
    if let Some(sweeper) = sweeper {
        sweeper.abort();
    }
    notes(&config, &parts)
        .with("ApplianceStop", &[], async |event| parts.recorder.note_despite_block(event).await)
        .await?;
    parts.opened.keys.stop().await;
    parts.journal.close().await;
    let stats = parts.journal.stats();
    tracing::info!(records = stats.records, batches = stats.batches, "audit journal closed");
    Ok(())
}

fn notes<'a>(config: &'a Config, parts: &'a Parts) -> Notes<'a> {
    Notes {
        account: &config.account,
        region: &config.region,
        clock: &*parts.opened.clock,
        node: &parts.opened.origin,
    }
}

async fn note_start(config: &Config, parts: &Parts, begun: &[Begun]) -> Result<(), ApplianceError> {
    let notes = notes(config, parts);
    if let Some(torn) = &parts.recovered {
        let bytes = torn.bytes.to_string();
        let facts = [("Bytes", bytes.as_str())];
        notes
            .with("AuditTailRecovered", &facts, async |event| parts.recorder.note_despite_block(event).await)
            .await?;
        tracing::warn!(bytes = torn.bytes, "the audit journal had an interrupted write at its end");
    }
    let seq = parts.head.seq.to_string();
    let serial = parts.opened.keys.status().token_serial;
    let facts = [
        ("Version", env!("CARGO_PKG_VERSION")),
        ("AuditHead", seq.as_str()),
        ("TokenSerial", serial.as_str()),
    ];
    notes
        .with("ApplianceStart", &facts, async |event| parts.recorder.note_despite_block(event).await)
        .await?;
    // A crash came between the intent and the outcome: the change either is
    // wholly in the database or not at all, and the journal says that much.
    for change in begun {
        let facts = [("BegunRequestId", change.request_id.as_str()), ("EventName", change.action.as_str())];
        notes
            .with(UNKNOWN_OUTCOME, &facts, async |event| parts.recorder.note_despite_block(event).await)
            .await?;
    }
    Ok(())
}

/// Files that are open beside connections: database, journal, worker, logs.
const OTHER_FILES: u64 = 256;

/// A connection too many must not cost the journal its next segment: the limit
/// of open files is raised, and has to hold all of them.
fn enough_files(connections: usize) -> Result<(), ApplianceError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match current {
        Some(current) if current < needed => Err(ApplianceError::Files { needed, current }),
        Some(_) | None => Ok(()),
    }
}

async fn told_to_stop() -> Result<(), ApplianceError> {
    let wait = |kind| signal(kind).map_err(ApplianceError::file("listen for", Path::new("signals")));
    let (mut terminate, mut interrupt) = (wait(SignalKind::terminate())?, wait(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Certificate and key, checked against each other by rustls.
pub(super) fn acceptor(config: &Config) -> Result<TlsAcceptor, ApplianceError> {
    let chain = CertificateDer::pem_file_iter(config.path(&config.tls.certificate))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(ApplianceError::tls("the file of [tls] certificate is no PEM certificate chain"))?;
    let pem = keys::secret_file(&config.path(&config.tls.key))?;
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(ApplianceError::tls("the file of [tls] key is no PEM private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(ApplianceError::tls("certificate and key of [tls] do not fit together"))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}
