//! Starting a worker process and talking it into service.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::link::{Carriers, Link};
use crate::buffer::WipingBuffer;
use crate::config::{TokenConfig, WorkerProgram};
use crate::error::HsmError;
use crate::key::KnownKey;
use crate::protocol::{self, NewToken, Opened, Opening, Verb};
use crate::secret::SecretBytes;

/// How long a worker may take until it serves: a token with many thousands of
/// objects takes a second to initialise and a third of one a key to search.
const OPENING: Duration = Duration::from_secs(60);

/// How long a worker may take to end when it is asked to.
const PARTING: Duration = Duration::from_secs(4);

/// How long a killed worker may take until it is gone. One that sleeps inside
/// the kernel, waiting for its device, may never be.
const DYING: Duration = Duration::from_secs(2);

/// A running worker. Dropping it kills the process.
pub(super) struct Worker {
    pub(super) link: Arc<Link>,
    pub(super) carriers: Carriers,
    child: Child,
}

impl Worker {
    /// Starts the program with a socket as standard input and an environment
    /// that holds nothing but SoftHSM's configuration, if there is one.
    fn start(
        program: &WorkerProgram,
        softhsm_conf: Option<&Path>,
        limit: usize,
        token: &str,
    ) -> Result<Self, HsmError> {
        let failed = |error: std::io::Error| HsmError::Configuration {
            operation: "start the key worker".into(),
            token: token.to_owned(),
            ckr: error.to_string(),
            hint: format!(
                "check that {} can be run and that processes and files are left",
                program.program.display()
            ),
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        let mut command = Command::new(&program.program);
        command
            .args(&program.args)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // A key pressed at a terminal is meant for the appliance.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(conf) = softhsm_conf {
            command.env("SOFTHSM2_CONF", conf);
        }
        let child = command.spawn().map_err(failed)?;
        let (link, carriers) = Link::start(socket, limit);
        Ok(Self { link, carriers, child })
    }

    /// Starts a worker that has opened the token and proven the keys.
    pub(super) async fn open(
        program: &WorkerProgram,
        token: &TokenConfig,
        pin: &SecretBytes,
        keys: Vec<KnownKey>,
    ) -> Result<(Self, Opened), HsmError> {
        let opening = protocol::to_json(&Opening {
            module: token.module.clone(),
            token_label: token.token_label.clone(),
            token_serial: token.token_serial.clone(),
            sessions: token.sessions,
            queue: token.queue.max(1),
            call_deadline_millis: u64::try_from(token.call_deadline.as_millis()).unwrap_or(u64::MAX),
            pin_marker: token.pin_marker.clone(),
            keys,
        })?;
        let mut worker =
            Self::start(program, token.softhsm_conf.as_deref(), token.queue.max(1), &token.token_label)?;
        let reply = worker.first_call(Verb::Open, &[&opening, pin.expose()]).await?;
        let opened = protocol::read_json(reply.expose())?;
        Ok((worker, opened))
    }

    /// Starts a worker that makes a token and ends.
    pub(super) async fn initialize(
        program: &WorkerProgram,
        softhsm_conf: Option<&Path>,
        new: &NewToken,
        so_pin: &SecretBytes,
        user_pin: &SecretBytes,
    ) -> Result<String, HsmError> {
        let mut worker = Self::start(program, softhsm_conf, 1, &new.label)?;
        let arguments = protocol::to_json(new)?;
        let reply =
            worker.first_call(Verb::Initialize, &[&arguments, so_pin.expose(), user_pin.expose()]).await?;
        let serial = protocol::read_json(reply.expose())?;
        worker.part().await;
        Ok(serial)
    }

    /// Process id, until the process was waited for.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks the worker to end, and kills it if it does not.
    pub(super) async fn part(mut self) {
        self.carriers.part();
        if timeout(PARTING, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends the process, and waits a moment until it is gone; one that stays is
    /// left to die by itself.
    pub(super) async fn kill(mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::warn!(%error, "the key worker could not be killed");
        }
        if timeout(DYING, self.child.wait()).await.is_err() {
            tracing::error!(pid = self.child.id(), "the killed key worker does not end and is left behind");
            let mut child = self.child;
            tokio::spawn(async move { child.wait().await });
        }
    }

    async fn first_call(&mut self, verb: Verb, parts: &[&[u8]]) -> Result<SecretBytes, HsmError> {
        let size = parts.iter().map(|part| part.len() + 4).sum();
        let write = |buffer: &mut WipingBuffer| parts.iter().for_each(|part| buffer.push_sized(part));
        let link = Arc::clone(&self.link);
        match timeout(OPENING, link.call(verb, OPENING, size, write)).await {
            Ok(Err(HsmError::Unavailable { why })) => Err(self.explain(why).await),
            Ok(answer) => answer,
            Err(_elapsed) => Err(HsmError::Deadline { operation: verb.deed().into(), after: OPENING }),
        }
    }

    /// Adds how the process ended to why the connection did.
    async fn explain(&mut self, why: String) -> HsmError {
        match timeout(Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) => HsmError::unavailable(format!("{why} ({status})")),
            Ok(Err(_)) | Err(_) => HsmError::unavailable(why),
        }
    }
}
