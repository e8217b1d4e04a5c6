//! What is known of a call, as far as its audit record goes.

use super::decision::{Decided, layer_name, recorded};
use crate::api::ApiError;
use crate::api::actions::{Item, Scope, Spec};
use crate::api::describe::Audit;
use crate::api::wire::Call;
use crate::audit::{
    AdditionalEventData, Authorization, Check, Event, EventAccess, EventError, EventId, EventType,
    IdentityType, ItemOutcome, Phase, RequestParameters, SessionContext, Tls, UserIdentity,
};
use crate::identity::Caller;
use crate::model::{SecretName, VersionId, VersionStage};
use crate::ram::Decision;
use crate::rpc::encoding::Parameters;

/// What is known so far; more with each step that succeeded.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) call: &'a Call,
    pub(super) name: &'a str,
    pub(super) spec: Option<&'a Spec>,
    pub(super) parameters: Option<&'a Parameters>,
    pub(super) claimed_key: Option<&'a str>,
    pub(super) nonce: Option<&'a str>,
    pub(super) signed_seconds: Option<i64>,
    pub(super) caller: Option<&'a Caller>,
    pub(super) secret: Option<&'a SecretName>,
    pub(super) items: &'a [Item],
    pub(super) decided: Option<&'a Decided>,
}

/// Parameters of the protocol itself, which a record tells elsewhere or not at all.
const PROTOCOL: [&str; 12] = [
    "AccessKeyId",
    "Action",
    "Format",
    "RegionId",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureNonce",
    "SignatureType",
    "SignatureVersion",
    "Timestamp",
    "Version",
];

/// What an event borrows from.
#[derive(Debug)]
pub(super) struct Store<'a> {
    node: &'a str,
    secret: Option<[&'a str; 1]>,
    /// The secrets of the items, for a call with several.
    secrets: Vec<&'a str>,
    keys: Vec<&'a str>,
    aliases: Vec<&'a str>,
    checks: Vec<Check<'a>>,
    version: Option<String>,
    stages: Vec<&'static str>,
    elements: &'a [(&'static str, String)],
    items: &'a [ItemOutcome],
    done: bool,
    /// Failed calls of the same source that had no record since its last one.
    pub(super) suppressed: u64,
}

impl<'a> Store<'a> {
    /// The resources that the event names.
    pub(super) fn resources(&self) -> Vec<(&str, &[&str])> {
        let secret = self.secret.as_ref().map_or(&[][..], |names| &names[..]);
        let all = [
            ("ACS::KMS::Alias", &self.aliases[..]),
            ("ACS::KMS::Key", &self.keys),
            ("ACS::KMS::Secret", secret),
            ("ACS::KMS::Secret", &self.secrets),
        ];
        all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
    }

    /// What the action came to.
    pub(super) fn outcome(
        &mut self,
        version: Option<&(VersionId, Vec<VersionStage>)>,
        elements: &'a [(&'static str, String)],
        items: &'a [ItemOutcome],
    ) {
        self.done = true;
        if let Some((version, stages)) = version {
            self.version = Some(version.to_string());
            self.stages = stages.iter().map(stage_word).collect();
        }
        self.elements = elements;
        self.items = items;
        // A key that was made has its name only now.
        let made = elements.iter().filter(|(name, _)| *name == "KeyId").map(|(_, id)| id.as_str());
        self.keys.extend(made);
    }
}

/// The kind and name of the one resource of the service that an ARN stands for.
fn relative(arn: &str) -> Option<(&str, &str)> {
    let (kind, name) = arn.splitn(5, ':').nth(4)?.split_once('/')?;
    (arn.starts_with("acs:kms:") && !name.contains('*')).then_some((kind, name))
}

/// Stages of users' own making are named as what they are.
const fn stage_word(stage: &VersionStage) -> &'static str {
    match stage {
        VersionStage::Current => "ACSCurrent",
        VersionStage::Previous => "ACSPrevious",
        VersionStage::Pending => "ACSPending",
        VersionStage::Custom(_) => "custom",
    }
}

impl<'a> Facts<'a> {
    /// What is known of any call.
    pub(super) const fn of(call: &'a Call) -> Self {
        Self {
            call,
            name: "",
            spec: None,
            parameters: None,
            claimed_key: None,
            nonce: None,
            signed_seconds: None,
            caller: None,
            secret: None,
            items: &[],
            decided: None,
        }
    }

    /// Gathers what the event will borrow.
    pub(super) fn store(&self, node: &'a str) -> Store<'a> {
        let checks = self.decided.map_or_else(Vec::new, |decided| {
            decided
                .checks
                .iter()
                .map(|(question, decision)| Check {
                    action: question.action,
                    resource: question.resource.as_str(),
                    decision: recorded(decision),
                })
                .collect()
        });
        let (mut keys, mut aliases) = (Vec::new(), Vec::new());
        for check in &checks {
            match relative(check.resource) {
                Some(("key", id)) if !keys.contains(&id) => keys.push(id),
                // Its name is the prefix too.
                Some(("alias", _)) => aliases.extend(check.resource.rsplit(':').next()),
                Some(_) | None => {}
            }
        }
        Store {
            node,
            secret: self.secret.map(|s| [s.as_str()]),
            secrets: self.items.iter().filter_map(|item| Some(item.secret.as_ref()?.as_str())).collect(),
            keys,
            aliases,
            checks,
            version: None,
            stages: Vec::new(),
            elements: &[],
            items: &[],
            done: false,
            suppressed: 0,
        }
    }

    /// The event of this call.
    pub(super) fn event<'s>(
        &'s self,
        store: &'s Store<'a>,
        resources: &'s [(&'s str, &'s [&'s str])],
        scope: &'s Scope,
        error: Option<&'s ApiError>,
        phase: Phase,
    ) -> Event<'s>
    where
        'a: 's,
    {
        let time_ms = u64::try_from(self.call.arrived.millis()).unwrap_or(0);
        let mut random = [0_u8; 10];
        let write = self.spec.is_some_and(|s| s.access() == EventAccess::Write);
        // Without random numbers ids repeat; the sequence number still tells records apart.
        aws_lc_rs::rand::fill(&mut random).ok();
        Event {
            id: EventId::new(time_ms, random),
            time_ms,
            kind: EventType::ApiCall,
            name: self.name,
            access: self.spec.map_or(EventAccess::Read, |s| s.access()),
            source: self.call.host(),
            service: self.spec.map_or("Kms", |s| s.service.name()),
            api_version: self.spec.map(|s| s.service.version()),
            region: scope.region.as_str(),
            request_id: self.call.request_id.as_str(),
            parameters: self.request_parameters(),
            response: self.response(store),
            error: error.map(|e| EventError { code: &e.code, message: recorded_message(e) }),
            identity: self.identity(scope),
            source_ip: &self.call.peer.address_text,
            user_agent: self.call.user_agent(),
            resources,
            recipient_account_id: scope.account.as_str(),
            vpc_id: None,
            additional: AdditionalEventData {
                authorization: self.authorization(store),
                secret_version_id: store.version.as_deref(),
                secret_version_stages: &store.stages,
                items: store.items,
                // A read, and a refusal, has one record only.
                phase: (write && self.decided.is_some_and(Decided::allows)).then_some(phase),
                tls: Some(Tls {
                    version: self.call.peer.tls_version,
                    cipher_suite: &self.call.peer.cipher_suite,
                    client_cert_sha256: None,
                }),
                node: Some(store.node),
                authenticated: self.caller.is_none().then_some(false),
                suppressed_count: (store.suppressed > 0).then_some(store.suppressed),
                ..AdditionalEventData::default()
            },
        }
    }

    fn request_parameters(&self) -> RequestParameters<'_> {
        let (Some(parameters), Some(spec)) = (self.parameters, self.spec) else {
            return RequestParameters::new();
        };
        let mut out = RequestParameters::with_capacity(parameters.len() + 2);
        // What the appliance itself notes comes first, so that nothing a client
        // adds can crowd it out. With the nonce a restart can tell what was taken.
        if self.caller.is_some() {
            if let Some(nonce) = self.nonce {
                out.known("SignatureNonce", nonce);
            }
            if let Some(seconds) = self.signed_seconds.and_then(|s| u64::try_from(s).ok()) {
                out.number("SignedAt", seconds);
            }
        }
        if let Some(caller) = self.caller
            && let Some(session) = &caller.session
        {
            out.known("stsTokenPrincipalName", caller.name.replacen(':', "/", 1));
            if let Some(account) = caller.principal.account().and_then(|id| id.parse().ok()) {
                out.number("stsTokenPlayerUid", account);
            }
            out.known("stsTokenChain", session.chain.join(" > "));
            if let Some(identity) = &session.source_identity {
                out.known("stsTokenSourceIdentity", identity.as_str());
            }
        }
        let mut unknown = 0_u64;
        for (name, value) in parameters.iter() {
            if PROTOCOL.contains(&name) {
                continue;
            }
            // Nothing that a stranger sends is written in clear, and no name
            // that the action does not have: a value sent without its `=` would
            // stand in the place of a name.
            match spec.description.parameter(name).map(|p| p.audit) {
                Some(Audit::Clear)
                    if self.caller.is_some() && (name == "Policy" || name.ends_with("PolicyDocument")) =>
                {
                    out.document(name, value);
                }
                Some(Audit::Clear) if self.caller.is_some() => out.known(name, value),
                Some(Audit::Clear | Audit::Masked | Audit::Secret) => out.masked(name),
                None => unknown += 1,
            }
        }
        if unknown > 0 {
            out.number("UnknownParameters", unknown);
        }
        out
    }

    fn response<'s>(&self, store: &'s Store<'a>) -> Option<RequestParameters<'s>> {
        let write = self.spec.is_some_and(|s| s.access() == EventAccess::Write);
        (write && store.done).then(|| {
            let mut out = RequestParameters::with_capacity(store.elements.len());
            for (name, value) in store.elements {
                out.known(name, value.as_str());
            }
            out
        })
    }

    fn identity<'s>(&'s self, scope: &'s Scope) -> UserIdentity<'s> {
        match self.caller {
            Some(caller) => UserIdentity {
                kind: match caller.session {
                    Some(_) => IdentityType::AssumedRole,
                    None => IdentityType::RamUser,
                },
                principal_id: Some(&caller.id),
                account_id: Some(scope.account.as_str()),
                user_name: Some((&*caller.name).into()),
                access_key_id: Some(caller.access_key_id.as_str()),
                session_context: caller.session.as_ref().map(|session| SessionContext {
                    creation_ms: u64::try_from(session.issued.millis()).unwrap_or(0),
                    mfa_authenticated: false,
                }),
            },
            None => UserIdentity { access_key_id: self.claimed_key, ..UserIdentity::unknown() },
        }
    }

    fn authorization<'s>(&'s self, store: &'s Store<'a>) -> Option<Authorization<'s>> {
        let decided = self.decided?;
        let (_, decision) = decided.decisive()?;
        let (layer, by) = match decision {
            Decision::Allow { by } | Decision::DenyExplicit { by } => (by.layer, Some(by)),
            Decision::DenyImplicit { layer } | Decision::DenyBroken { layer, .. } => (*layer, None),
        };
        Some(Authorization {
            decision: recorded(decision),
            layer: Some(layer_name(layer)),
            policy_name: by.and_then(|b| b.policy.as_deref()),
            policy_version: by.and_then(|b| b.version.as_deref()),
            statement_index: by.and_then(|b| b.statement),
            policy_set_version: Some(decided.set_version),
            checks: &store.checks,
        })
    }
}

/// A string to sign is for the client only: parameters stand in it.
fn recorded_message(error: &ApiError) -> &str {
    if error.code == "SignatureDoesNotMatch" { "The signature does not fit." } else { &error.message }
}
