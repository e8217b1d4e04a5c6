//! Numbers for Prometheus, on a listener of their own.
//!
//! What the database knows is asked when somebody looks; what happened is
//! counted from the events, since the start of the process. Nothing but counts
//! and ages leaves here, names of secrets only where that is switched on.

mod text;
mod watch;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::model::Clock;
use crate::notify::SinkStatus;
use crate::seal::Integrity;
use crate::store::{Store, StoreError};

use text::Page;
pub use watch::{Counts, Watcher};

/// The media type of the text format 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Bounds of the ages of current versions: 6 hours to a year.
const AGES: [i64; 10] =
    [21_600, 86_400, 259_200, 604_800, 1_209_600, 2_592_000, 5_184_000, 7_776_000, 15_552_000, 31_536_000];
/// Scrapes at once at most.
const CONNECTIONS: usize = 16;
/// How long the head of a request may take, and a whole connection.
const HEAD: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(60);

/// What works, as a health probe is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Records can be written.
    pub audit: bool,
    /// The token answers.
    pub hsm: bool,
}

/// Asks how the appliance is.
pub type AskHealth = Box<dyn Fn() -> Health + Send + Sync>;

/// Asks how many calls were throttled since the start, by class of actions.
pub type AskThrottled = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// What is shown, and where it comes from.
pub struct Metrics {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// Checks them.
    pub integrity: Arc<Integrity>,
    /// The time by which things are old.
    pub clock: Arc<dyn Clock>,
    /// When a date counts as missed, in seconds after it.
    pub overdue_seconds: i64,
    /// Whether secrets are shown by name.
    pub per_secret: bool,
    /// The receivers of events.
    pub sinks: Vec<Arc<SinkStatus>>,
    /// How the appliance is.
    pub health: AskHealth,
    /// What happened since the start.
    pub counts: Arc<Counts>,
    /// How often principals were told to wait.
    pub throttled: AskThrottled,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("per_secret", &self.per_secret).finish_non_exhaustive()
    }
}

impl Metrics {
    /// All numbers in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// The store's trouble.
    pub async fn page(&self) -> Result<String, StoreError> {
        let mut page = Page::default();
        let now = self.clock.now();
        self.counts.inner.lock().unwrap_or_else(PoisonError::into_inner).write(&mut page);
        page.gauge("strongroom_rotations_in_flight", "Rotations going on, by state");
        for (state, count) in self.store.rotation_states().await? {
            page.value("strongroom_rotations_in_flight", &[("state", &state)], count);
        }
        let ages = self.store.ages(now, now.plus_seconds(-self.overdue_seconds), &AGES).await?;
        let past = |moment: Option<crate::model::Timestamp>| {
            moment.map_or(0, |then| u64::try_from(now.seconds_since(then)).unwrap_or(0))
        };
        page.single("strongroom_scheduled_secrets", "Secrets that rotate by themselves", ages.scheduled);
        page.single(
            "strongroom_overdue_secrets",
            "Secrets past their date by more than the grace",
            ages.overdue,
        );
        page.single(
            "strongroom_overdue_seconds_max",
            "How long the earliest missed date is past",
            past(ages.earliest_missed),
        );
        page.single(
            "strongroom_oldest_current_version_seconds",
            "Age of the oldest current version of a secret that rotates by itself",
            past(ages.oldest_current),
        );
        page.histogram(
            "strongroom_current_version_age_seconds",
            "Ages of the current versions of secrets that rotate by themselves",
        );
        let counts = AGES.iter().zip(&ages.up_to).map(|(bound, count)| (bound.to_string(), *count));
        page.buckets(
            "strongroom_current_version_age_seconds",
            &[],
            counts,
            ages.scheduled,
            &ages.sum_seconds.to_string(),
        );
        self.write_sinks(&mut page).await?;
        let health = (self.health)();
        page.single(
            "strongroom_audit_usable",
            "Whether audit records can be written",
            u64::from(health.audit),
        );
        page.single("strongroom_token_ready", "Whether the token answers", u64::from(health.hsm));
        let name = "strongroom_throttled_calls_total";
        page.counter(name, "Calls refused since the start because their principal called too often");
        for (class, count) in (self.throttled)() {
            page.value(name, &[("class", class)], count);
        }
        if self.per_secret {
            self.write_secrets(&mut page, now).await?;
        }
        Ok(page.finish())
    }

    async fn write_sinks(&self, page: &mut Page) -> Result<(), StoreError> {
        let mut pending = Vec::new();
        for sink in &self.sinks {
            pending.push(self.store.count_events_after(sink.seq()).await?);
        }
        page.gauge("strongroom_event_deliveries_pending", "Events that a receiver has not taken yet");
        for (sink, count) in self.sinks.iter().zip(pending) {
            page.value("strongroom_event_deliveries_pending", &[("sink", sink.name())], count);
        }
        type Read = fn(&SinkStatus) -> u64;
        let counters: [(&str, &str, Read); 3] = [
            ("strongroom_event_deliveries_total", "Events that a receiver took", SinkStatus::delivered),
            (
                "strongroom_event_delivery_failures_total",
                "Attempts to deliver that failed",
                SinkStatus::failed,
            ),
            ("strongroom_event_deliveries_put_aside_total", "Events given up", SinkStatus::put_aside),
        ];
        for (name, help, read) in counters {
            page.counter(name, help);
            for sink in &self.sinks {
                page.value(name, &[("sink", sink.name())], read(sink));
            }
        }
        Ok(())
    }

    async fn write_secrets(&self, page: &mut Page, now: crate::model::Timestamp) -> Result<(), StoreError> {
        let standings = self.store.standings().await?;
        let seconds = |moment| u64::try_from(now.seconds_since(moment)).unwrap_or(0);
        page.gauge("strongroom_secret_current_version_age_seconds", "Age of a secret's current version");
        for standing in &standings {
            if let Some(current) = standing.current {
                page.value(
                    "strongroom_secret_current_version_age_seconds",
                    &[("secret", &standing.name)],
                    seconds(current),
                );
            }
        }
        page.gauge(
            "strongroom_secret_overdue_seconds",
            "How long a secret's date is past; 0 while it is not",
        );
        for standing in &standings {
            let past = seconds(standing.promised);
            page.value("strongroom_secret_overdue_seconds", &[("secret", &standing.name)], past);
        }
        Ok(())
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => match self.page().await {
                Ok(page) => (StatusCode::OK, TEXT, page),
                Err(error) => {
                    tracing::error!(error = ?error, "the numbers for monitoring cannot be read");
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "text/plain",
                        "the database cannot be read\n".to_owned(),
                    )
                }
            },
            (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "the path is /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    }

    /// Answers scrapes until the future is dropped. Plain HTTP: the address
    /// says who may look.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = ?error, "a connection to the listener of metrics failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let metrics = Arc::clone(&self);
            tokio::spawn(async move {
                let _permit = permit;
                let service = service_fn(|request| {
                    let metrics = Arc::clone(&metrics);
                    async move { Ok::<_, Infallible>(metrics.answer(&request).await) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
                let served = http.serve_connection(TokioIo::new(stream), service);
                // What became of a scrape is the scraper's business.
                tokio::time::timeout(WHOLE, served).await.ok();
            });
        }
    }
}
