//! The one way in.
//!
//! Every call takes the same steps in the same order: decode, claim, action,
//! signature, parameters, permission, leave to act, action, record, answer.
//! Each takes the last one's result; a call that fails at any of them is
//! recorded with what is known of the caller by then.

mod decision;
mod facts;

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;

use super::ApiError;
use super::actions::{self, Action, Input, Scope, Services};
use super::wire::{Call, Reply};
use crate::audit::{AuditError, EventAccess, Phase, Recorded, Recorder};
use crate::identity::{AuthError, Caller};
use crate::model::{Clock, RequestId};
use crate::rpc::encoding::Parameters;
use crate::rpc::signature::{Claim, Received, Rules};

use facts::Facts;

/// The longest message of an error that carries a string to sign, in bytes.
const MAX_STRING_TO_SIGN: usize = 8 * 1_024;

/// The gate of one appliance.
#[derive(Debug)]
pub struct Gate {
    services: Services,
    recorder: Recorder,
    scope: Scope,
    rules: Rules,
    clock: Arc<dyn Clock>,
    node: String,
}

/// A call whose signer is known.
#[derive(Debug)]
pub struct Signed<'a> {
    caller: &'a Caller,
    parameters: &'a Parameters,
    nonce: Option<&'a str>,
    signed_seconds: i64,
}

impl Gate {
    /// A gate before these services, recording into that journal.
    #[must_use]
    pub const fn new(
        services: Services,
        recorder: Recorder,
        scope: Scope,
        rules: Rules,
        clock: Arc<dyn Clock>,
        node: String,
    ) -> Self {
        Self { services, recorder, scope, rules, clock, node }
    }

    /// Serves a call from its bytes to its response. There is no response but
    /// an error unless a record of it is durable.
    pub async fn serve(&self, call: Call) -> Response<Full<Bytes>> {
        match self.enter(&call).await {
            Ok((reply, recorded)) => reply.recorded(&call.request_id, call.host(), &recorded),
            Err(error) => Reply::unrecorded(error, &call.request_id, call.host()),
        }
    }

    /// Refuses what is no call: a request that broke a limit before it was
    /// complete. It is recorded like any other refusal.
    pub async fn refuse(&self, call: &Call, error: ApiError) -> Response<Full<Bytes>> {
        match self.refusal(&Facts::of(call), error).await {
            Ok((reply, recorded)) => reply.recorded(&call.request_id, call.host(), &recorded),
            Err(error) => Reply::unrecorded(error, &call.request_id, call.host()),
        }
    }

    async fn enter(&self, call: &Call) -> Result<(Reply, Recorded), ApiError> {
        let mut facts = Facts::of(call);
        if call.method != hyper::Method::GET && call.method != hyper::Method::POST {
            return self.refusal(&facts, ApiError::new("UnsupportedHTTPMethod", 403, "Use GET or POST.")).await;
        }
        if !matches!(call.target.path(), "/" | "") {
            let error = ApiError::new("InvalidAction.NotFound", 404, "The path of every action is /.");
            return self.refusal(&facts, error).await;
        }
        let query = call.target.query().unwrap_or("");
        let parameters = match Parameters::received(query, &call.headers, &call.body) {
            Ok(parameters) => parameters,
            Err(error) => return self.refusal(&facts, error.into()).await,
        };
        facts.parameters = Some(&parameters);
        if let Some(format) = parameters.get("Format")
            && !format.eq_ignore_ascii_case("json")
        {
            return self.refusal(&facts, ApiError::invalid("The parameter Format must be JSON.")).await;
        }
        let received = Received {
            method: call.method.as_str(),
            path: call.target.path(),
            authority: call.target.authority().map(hyper::http::uri::Authority::as_str),
            parameters: &parameters,
            headers: &call.headers,
            body: &call.body,
        };
        facts.name = named(call, &parameters);
        let claim = match Claim::read(&received, self.rules) {
            Ok(claim) => claim,
            Err(error) => return self.refusal(&facts, error.into()).await,
        };
        facts.name = claim.action();
        facts.claimed_key = Some(claim.access_key_id());
        facts.nonce = claim.nonce();
        facts.signed_seconds = Some(claim.unix_seconds());
        let row = match actions::find(claim.action(), claim.version()) {
            Ok(row) => row,
            Err(error) => return self.refusal(&facts, error).await,
        };
        facts.spec = Some(&row.spec);
        let caller = match self.services.identities.authenticate(&claim).await {
            Ok(caller) => caller,
            Err(error) => return self.refusal(&facts, unauthenticated(error, &claim)).await,
        };
        let signed = Signed {
            caller: &caller,
            parameters: &parameters,
            nonce: claim.nonce(),
            signed_seconds: claim.unix_seconds(),
        };
        (row.serve)(self, call, signed).await
    }

    /// The rest of the way, for a known action and a known caller.
    ///
    /// # Errors
    ///
    /// [`ApiError`] when the call could not be recorded: nothing but that
    /// error may be answered.
    pub async fn pass<A: Action>(&self, call: &Call, signed: Signed<'_>) -> Result<(Reply, Recorded), ApiError> {
        let mut facts = Facts {
            name: A::SPEC.name,
            spec: Some(&const { A::SPEC }),
            parameters: Some(signed.parameters),
            caller: Some(signed.caller),
            nonce: signed.nonce,
            signed_seconds: Some(signed.signed_seconds),
            ..Facts::of(call)
        };
        let input = Input { parameters: signed.parameters, scope: &self.scope };
        let action = match A::parse(&input) {
            Ok(action) => action,
            Err(error) => return self.refusal(&facts, error).await,
        };
        let secret = action.secret().cloned();
        facts.secret = secret.as_ref();
        let questions = action.questions(&self.scope);
        let decided = self.decide(call, signed.caller, &action, &questions).await;
        facts.decided = Some(&decided);
        if let Some(error) = decided.refusal(A::SPEC.service, signed.caller, &self.scope) {
            return self.refusal(&facts, error).await;
        }
        let access = match A::SPEC.access {
            EventAccess::Read => self.recorder.read(),
            EventAccess::Write => {
                let store = facts.store(&self.node);
                let resources = store.resources();
                let intent = facts.event(&store, &resources, &self.scope, None, Phase::Started);
                self.recorder.change(&intent).await
            }
        };
        let access = access.map_err(unrecorded)?;
        let done = action.run(&self.services, signed.caller, &access, &call.request_id).await;
        let mut store = facts.store(&self.node);
        let (reply, recorded) = match done {
            Ok(done) => {
                store.outcome(&done);
                let resources = store.resources();
                let event = facts.event(&store, &resources, &self.scope, None, Phase::Finished);
                (Reply::Done(done.answer), self.recorder.done(access, &event).await)
            }
            Err(error) => {
                if error.status >= 500 {
                    tracing::error!(request_id = %call.request_id, action = A::SPEC.name, code = %error.code, "a call failed");
                }
                let resources = store.resources();
                let event = facts.event(&store, &resources, &self.scope, Some(&error), Phase::Finished);
                let recorded = self.recorder.done(access, &event).await;
                (Reply::Failed(error), recorded)
            }
        };
        Ok((reply, recorded.map_err(unrecorded)?))
    }

    async fn refusal(&self, facts: &Facts<'_>, error: ApiError) -> Result<(Reply, Recorded), ApiError> {
        let store = facts.store(&self.node);
        let resources = store.resources();
        let event = facts.event(&store, &resources, &self.scope, Some(&error), Phase::Finished);
        let recorded = self.recorder.note(&event).await.map_err(unrecorded)?;
        Ok((Reply::Failed(error), recorded))
    }

    /// Whether the appliance can serve: what a health probe is told.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            audit: self.recorder.journal().usable().is_ok(),
            hsm: self.services.vault.sealer().keys().is_ready(),
        }
    }

    /// A fresh request id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        let mut bytes = [0_u8; 16];
        // Without random numbers ids repeat, which harms nobody's secrets.
        aws_lc_rs::rand::fill(&mut bytes).ok();
        RequestId::from_random(bytes)
    }

    /// The clock that calls are stamped with.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// What works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Records can be written.
    pub audit: bool,
    /// The token answers.
    pub hsm: bool,
}

/// The action that a call names, before anything about it is believed.
fn named<'a>(call: &'a Call, parameters: &'a Parameters) -> &'a str {
    let header = call.headers.get("x-acs-action").and_then(|h| h.to_str().ok());
    parameters.get("Action").or(header).unwrap_or("")
}

/// The load-bearing text of kms-secrets.md section 2.10: without a colon in
/// it the old Python core dies instead of raising an error.
fn unauthenticated(error: AuthError, claim: &Claim<'_>) -> ApiError {
    if let AuthError::Key(cause) = &error {
        tracing::error!(error = ?cause, "the secret of an access key cannot be opened");
    }
    let mismatch = matches!(error, AuthError::BadSignature);
    let mut public = ApiError::from(error);
    if mismatch {
        let shown = claim.string_to_sign().filter(|text| text.len() <= MAX_STRING_TO_SIGN).unwrap_or("redacted");
        public.message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{shown}"
        )
        .into();
    }
    public
}

/// What is answered when a record could not be made (audit.md section 4.5).
fn unrecorded(error: AuditError) -> ApiError {
    tracing::error!(error = ?error, "a call could not be recorded");
    match error {
        AuditError::Backpressure => ApiError {
            retry_after_ms: Some(1_000),
            ..ApiError::new(
                "ServiceUnavailable.AuditBackpressure",
                503,
                "The audit journal cannot keep up, and nothing is answered unrecorded: try again.",
            )
        },
        AuditError::Blocked
        | AuditError::Closed
        | AuditError::Failed
        | AuditError::TooLarge { .. }
        | AuditError::Encode(_)
        | AuditError::Io { .. }
        | AuditError::Locked(_)
        | AuditError::NotEmpty(_)
        | AuditError::NotAJournal { .. }
        | AuditError::Origin
        | AuditError::Damaged { .. } => ApiError::new(
            "ServiceUnavailable",
            503,
            "The audit journal cannot be written, and nothing is answered unrecorded: tell the operator.",
        ),
    }
}

/// The address as policies see it.
fn source_address(call: &Call) -> IpAddr {
    call.peer.address.to_canonical()
}
