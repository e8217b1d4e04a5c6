//! One command to the plug-in, from asking to its report.

use super::Rotations;
use super::crash::Write;
use super::decide::NoAnswer;
use super::ledger::LedgerError;
use crate::cloud_assistant::client::{poll_deadline, poll_pause};
use crate::cloud_assistant::plugin::{self, Op, Report, Request};
use crate::cloud_assistant::{CommandError, Commander, Finished, Invocation, InvokeId, Outcome};
use crate::model::rotation::{RotationRecord, SealedPayload, Trouble};
use crate::model::{OsFamily, SecretSubType, error_chain};

impl NoAnswer {
    pub(super) fn of(error: &CommandError) -> Self {
        let text = error_chain(error);
        match error {
            CommandError::Again { after, .. } => {
                Self { code: "NoAnswer".to_owned(), text, again: Some(after.unwrap_or_default()) }
            }
            CommandError::Definitive { code, .. } | CommandError::Unknown { code, .. } => {
                Self { code: code.clone(), text, again: None }
            }
        }
    }

    pub(super) fn of_run(finished: &Finished) -> Self {
        let run = &finished.trouble;
        let code = if run.code.is_empty() { run.status.clone() } else { run.code.clone() };
        let why = match &finished.report {
            Ok(_) => String::new(),
            Err(why) => format!("{why}. "),
        };
        Self { code, text: format!("{why}{}", run.info), again: None }
    }
}

impl Rotations {
    /// The request of an operation. `told` goes with what puts it in force or compares with it.
    pub(super) fn request(
        &self,
        rotation: &RotationRecord,
        op: Op,
        attempt: u32,
        told: Option<&strongroom_hsm::SecretBytes>,
        remove: Vec<String>,
    ) -> Request {
        // The hash of a generated password and a public key are fit to be
        // shown: that is why they, and nothing else, travel as they are.
        let open = told.filter(|_| !rotation.secret_material);
        let text = open.and_then(|told| str::from_utf8(told.expose()).ok()).map(str::to_owned);
        let (hash, key) = match rotation.kind {
            SecretSubType::Password => (text, None),
            SecretSubType::SshKey => (None, text),
        };
        Request {
            op,
            sid: rotation.secret.clone(),
            rid: rotation.id.clone(),
            generation: rotation.generation,
            attempt,
            instance: rotation.instance.clone(),
            user: rotation.user.clone(),
            kind: rotation.kind,
            hash,
            key,
            wants_key: op == Op::Prepare,
            payload: None,
            remove,
            options: plugin::Options::default(),
        }
    }

    /// The credential, sealed to the instance's key for one operation; `None`
    /// while there is no such key.
    pub(super) fn sealed_for(
        &self,
        rotation: &RotationRecord,
        op: Op,
        told: &strongroom_hsm::SecretBytes,
    ) -> Option<SealedPayload> {
        let key = rotation.sealing_key.as_ref().filter(|key| key.expires > self.vault.now())?;
        let request = self.request(rotation, op, 1, None, Vec::new());
        plugin::seal(key, &request, told).ok()
    }

    /// Sends a request under its ClientToken.
    pub(super) async fn invoke(
        &self,
        commander: &dyn Commander,
        request: &Request,
        os: OsFamily,
    ) -> Result<InvokeId, CommandError> {
        let client_token = plugin::client_token(&request.rid, request.op, request.attempt);
        commander
            .invoke(Invocation {
                instance: &request.instance,
                os,
                request,
                client_token: &client_token,
                timeout: self.settings.command_timeout,
            })
            .await
    }

    /// Asks the instance something that can be asked again: sends, and waits
    /// for the report. The credential goes along so that the plug-in can compare;
    /// while the token is away, it compares with its own journal. The number of the question is durable first, so that no
    /// later question shares its ClientToken.
    pub(super) async fn ask(
        &self,
        commander: &dyn Commander,
        rotation: &mut RotationRecord,
        op: Op,
    ) -> Result<Result<Report, NoAnswer>, LedgerError> {
        let told = self.material(rotation).await.ok();
        let remove = self.other_keys(rotation).await?;
        rotation.asks = rotation.asks.saturating_add(1);
        self.keep_at(Write::Question, rotation).await?;
        let mut request = self.request(rotation, op, rotation.asks, told.as_ref(), remove);
        if rotation.os == OsFamily::Windows && op.compares() {
            request.payload = told.as_ref().and_then(|told| self.sealed_for(rotation, op, told));
            if request.payload.is_none() {
                // What is answered was not tried, whatever the clock says then.
                rotation.sealing_key = None;
            }
        }
        let invoke_id = match self.invoke(commander, &request, rotation.os).await {
            Ok(id) => id,
            Err(error) => return Ok(Err(NoAnswer::of(&error))),
        };
        let deadline = tokio::time::Instant::now() + poll_deadline(self.settings.command_timeout);
        let asked = request.asked();
        let mut polls = 0;
        let mut last =
            NoAnswer { code: "NoResult".to_owned(), text: "no result came in time".to_owned(), again: None };
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(self.settings.pace.saturating_mul(poll_pause(polls))).await;
            polls += 1;
            match commander.outcome(&invoke_id, &request.instance, &asked).await {
                Ok(Outcome::NotYet) => {}
                Ok(Outcome::Finished(finished)) => {
                    return Ok(match finished.report {
                        Ok(report) => Ok(report),
                        Err(_) => Err(NoAnswer::of_run(&finished)),
                    });
                }
                Err(error) => last = NoAnswer::of(&error),
            }
        }
        Ok(Err(last))
    }

    /// Notes what went wrong, for whoever looks at the rotation.
    pub(super) fn trouble(&self, rotation: &mut RotationRecord, step: &str, code: &str, text: &str) {
        tracing::warn!(rotation = %rotation.id, secret = %rotation.secret_name, step, code, text, "a rotation does not get on");
        let text: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
        rotation.note_trouble(Trouble {
            step: step.to_owned(),
            code: code.chars().take(64).collect(),
            text,
            at: self.vault.now(),
        });
    }
}
