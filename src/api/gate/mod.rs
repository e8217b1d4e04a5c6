//! The one way in.
//!
//! Every call takes the same steps in the same order: decode, claim, action,
//! signature, parameters, permission, leave to act, action, record, answer.
//! Each takes the last one's result; a call that fails at any of them is
//! recorded with what is known of the caller by then.

mod decision;
mod facts;
mod ration;
mod throttle;

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;

use super::ApiError;
use super::actions::{self, Action, Asking, Input, Scope, Service, Services};
use super::wire::{Call, Reply};
use crate::audit::{AuditError, EventAccess, Phase, Recorded, Recorder};
use crate::identity::{AuthError, Caller};
use crate::model::{Clock, RequestId};
use crate::rpc::encoding::Parameters;
use crate::rpc::signature::{Claim, Received, Rules};

pub use decision::Circumstances;
pub use throttle::{Class, Rates};

use decision::{LabelChange, Matter};
use facts::Facts;
use ration::Ration;
use throttle::Throttle;

/// The longest message of an error that carries a string to sign, in bytes.
const MAX_STRING_TO_SIGN: usize = 8 * 1_024;
/// Records of failed calls that an address may cause at once before it is
/// known who calls, and how many a second later.
const OF_STRANGERS: (u32, u32) = (2_000, 50);
/// The same for throttled calls of a principal.
const OF_THROTTLED: (u32, u32) = (20, 1);

/// The gate of one appliance.
#[derive(Debug)]
pub struct Gate {
    services: Services,
    recorder: Recorder,
    scope: Scope,
    rules: Rules,
    clock: Arc<dyn Clock>,
    node: String,
    strangers: Ration<IpAddr>,
    throttle: Throttle,
    throttled: Ration<Arc<str>>,
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
    pub fn new(
        services: Services,
        recorder: Recorder,
        scope: Scope,
        rules: Rules,
        rates: &Rates,
        clock: Arc<dyn Clock>,
        node: String,
    ) -> Self {
        Self {
            services,
            recorder,
            scope,
            rules,
            clock,
            node,
            strangers: Ration::new(OF_STRANGERS.0, OF_STRANGERS.1),
            throttle: Throttle::new(rates),
            throttled: Ration::new(OF_THROTTLED.0, OF_THROTTLED.1),
        }
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
            return self
                .refusal(&facts, ApiError::new("UnsupportedHTTPMethod", 403, "Use GET or POST."))
                .await;
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
        if let Err(wait_ms) = self.throttle.take(&caller.quota, row.spec.name, self.clock.now()) {
            facts.caller = Some(&caller);
            return self.refuse_throttled(&facts, &caller, wait_ms).await;
        }
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
    pub async fn pass<A: Action>(
        &self,
        call: &Call,
        signed: Signed<'_>,
    ) -> Result<(Reply, Recorded), ApiError> {
        let mut facts = Facts {
            name: A::SPEC.name,
            spec: Some(&const { A::SPEC }),
            parameters: Some(signed.parameters),
            caller: Some(signed.caller),
            nonce: signed.nonce,
            signed_seconds: Some(signed.signed_seconds),
            ..Facts::of(call)
        };
        let description = A::SPEC.description;
        let input = Input { parameters: signed.parameters, scope: &self.scope, description };
        let dry_run = is_dry_run(&input);
        let parsed = description.check(signed.parameters).and_then(|()| A::parse(&input));
        let mut action = match parsed {
            Ok(action) => action,
            Err(error) if dry_run => {
                return self.refusal(&facts, as_dry_run(error, "ValidationError", 400)).await;
            }
            Err(error) => return self.refusal(&facts, error).await,
        };
        action.resolve(&self.services);
        let secret = action.secret().cloned();
        facts.secret = secret.as_ref();
        let directory = self.services.identities.directory();
        let asking = Asking { scope: &self.scope, directory: &directory, caller: signed.caller };
        let items = action.items(&asking);
        let questions = action.questions(&asking);
        let parts = action.parts(&asking);
        facts.items = if items.is_empty() { &parts } else { &items };
        let trust = action.trust(&asking);
        let matter = Matter {
            about: action.secret(),
            labels: LabelChange { set: action.request_tags(), taken: action.untags() },
            conditions: &action.conditions(),
            trust: trust.as_deref(),
        };
        let (decided, refusal) = if !items.is_empty() {
            let (decided, verdicts) = self.decide_each(call, signed.caller, A::SPEC.service, &items).await;
            action.settle(verdicts);
            (decided, None)
        } else if !parts.is_empty() {
            self.decide_all(call, signed.caller, A::SPEC.service, &matter, &parts).await
        } else {
            let decided = self.decide(call, signed.caller, &matter, &questions).await;
            let refusal = decided.refusal(A::SPEC.service, signed.caller, &self.scope);
            (decided, refusal)
        };
        facts.decided = Some(&decided);
        let is_open = description.needs_no_right() && questions.is_empty();
        match refusal.filter(|_| !is_open) {
            Some(error) if dry_run => {
                return self.refusal(&facts, as_dry_run(error, "AccessDeniedError", 403)).await;
            }
            Some(error) => return self.refusal(&facts, error).await,
            None => {}
        }
        if let Some((right, selector)) = action.selection() {
            match self.choose(call, signed.caller, right, selector).await {
                Ok(chosen) => action.select(chosen),
                Err(error) => return self.refusal(&facts, error.into()).await,
            }
        }
        let access = match A::SPEC.access() {
            EventAccess::Read => self.recorder.read(),
            EventAccess::Write => {
                let store = facts.store(&self.node);
                let resources = store.resources();
                let intent = facts.event(&store, &resources, &self.scope, None, Phase::Started);
                self.recorder.change(&intent).await
            }
        };
        let access = access.map_err(unrecorded)?;
        action.meet(Circumstances::of(call));
        let done = action.run(&self.services, signed.caller, &access, &call.request_id).await;
        let mut store = facts.store(&self.node);
        if let Err(error) = &done {
            log_cause(&facts, error);
        }
        let (reply, recorded) = match done {
            Ok(done) => {
                store.outcome(done.version.as_ref(), &done.elements, &done.items);
                let resources = store.resources();
                let event = facts.event(&store, &resources, &self.scope, None, Phase::Finished);
                (Reply::Done(done.answer), self.recorder.done(access, &event).await)
            }
            Err(error) => {
                let error = in_words_of(A::SPEC.service, error);
                let resources = store.resources();
                let event = facts.event(&store, &resources, &self.scope, Some(&error), Phase::Finished);
                let recorded = self.recorder.done(access, &event).await;
                (Reply::Failed(error), recorded)
            }
        };
        Ok((reply, recorded.map_err(unrecorded)?))
    }

    async fn refusal(&self, facts: &Facts<'_>, error: ApiError) -> Result<(Reply, Recorded), ApiError> {
        if facts.caller.is_some() {
            return self.note_refusal(facts, error, 0).await;
        }
        match self.strangers.admit(source_address(facts.call), self.clock.now()) {
            Some(suppressed) => self.note_refusal(facts, error, suppressed).await,
            // Counted, and told in the next record of the same source.
            None => Err(too_many()),
        }
    }

    async fn refuse_throttled(
        &self,
        facts: &Facts<'_>,
        caller: &Caller,
        wait_ms: u64,
    ) -> Result<(Reply, Recorded), ApiError> {
        let error = throttled(facts.spec.map(|spec| spec.service), wait_ms);
        match self.throttled.admit(Arc::clone(&caller.quota), self.clock.now()) {
            Some(suppressed) => self.note_refusal(facts, error, suppressed).await,
            None => Err(error),
        }
    }

    async fn note_refusal(
        &self,
        facts: &Facts<'_>,
        error: ApiError,
        suppressed: u64,
    ) -> Result<(Reply, Recorded), ApiError> {
        let mut store = facts.store(&self.node);
        store.suppressed = suppressed;
        log_cause(facts, &error);
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

    /// How many calls were throttled since the start, by class.
    #[must_use]
    pub fn throttled_calls(&self) -> Vec<(&'static str, u64)> {
        self.throttle.refused().collect()
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

/// What a principal is told that calls too often (kms-secrets.md section 10.1,
/// ram.md section 3.5).
fn throttled(service: Option<Service>, wait_ms: u64) -> ApiError {
    let code = if matches!(service, Some(Service::Ram | Service::Sts)) {
        "Throttling.User"
    } else {
        "Rejected.Throttling"
    };
    ApiError {
        retry_after_ms: Some(wait_ms),
        ..ApiError::new(
            code,
            429,
            "You call this action, or others of its class, more often than the quota allows: wait as long as x-acs-retry-after says.",
        )
    }
}

/// What a source is told whose failed calls are too many to be recorded one by one.
fn too_many() -> ApiError {
    ApiError {
        retry_after_ms: Some(1_000),
        ..ApiError::new(
            "Rejected.Throttling",
            429,
            "Too many failed calls come from this address: wait, and mend them.",
        )
    }
}

/// The log has what the client is not told.
fn log_cause(facts: &Facts<'_>, error: &ApiError) {
    if error.status >= 500 {
        tracing::error!(request_id = %facts.call.request_id, action = facts.spec.map_or("", |s| s.name),
            code = %error.code, cause = error.cause.as_deref().unwrap_or(""), "a call failed");
    }
}

/// The RAM and STS APIs have their own words for the same failures (ram.md sections 3.5 and 4.4).
fn in_words_of(service: Service, mut error: ApiError) -> ApiError {
    if service != Service::Kms {
        match &*error.code {
            "InternalFailure" => error.code = "InternalError".into(),
            "ServiceUnavailableTemporary" => error.code = "ServiceUnavailable".into(),
            _ => {}
        }
    }
    error
}

/// Whether a call that knows `DryRun` asks for it.
fn is_dry_run(input: &Input<'_>) -> bool {
    input.description.parameter("DryRun").is_some() && matches!(input.boolean("DryRun"), Ok(Some(true)))
}

/// A dry run always fails, with codes of its own (kms-secrets.md section 10.3).
fn as_dry_run(error: ApiError, code: &'static str, status: u16) -> ApiError {
    ApiError { code: code.into(), status, ..error }
}

/// Whether a call plainly names an action that changes nothing. One that is
/// named in its body only, or names none, counts as a change.
#[must_use]
pub fn is_read(call: &Call) -> bool {
    // Which of the two counts is decided as the claim decides it.
    let name = if call.headers.contains_key(hyper::header::AUTHORIZATION) {
        call.headers.get("x-acs-action").and_then(|h| h.to_str().ok())
    } else {
        call.target.query().unwrap_or("").split('&').find_map(|part| part.strip_prefix("Action="))
    };
    name.is_some_and(actions::is_read)
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
        let shown =
            claim.string_to_sign().filter(|text| text.len() <= MAX_STRING_TO_SIGN).unwrap_or("redacted");
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
