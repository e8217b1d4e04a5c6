//! The audit events of rotations: what the service does by itself
//! (audit.md section 1.4).

use super::ledger::LedgerError;
use super::{RotationError, Rotations};
use crate::audit::{
    Access, AdditionalEventData, CloudAssistant, Event, EventAccess, EventError, EventId, EventType,
    INTERNAL, IdentityType, Phase, RequestParameters, Rotation, RotationPhase, RotationTrigger, UserIdentity,
};
use crate::model::rotation::{RotationRecord, Trigger};
use crate::model::{AccountId, RegionId, RequestId, SecretRecord, VersionId, error_chain};
use crate::vault::VaultError;

/// What all events of this appliance have in common.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) account: AccountId,
    pub(super) region: RegionId,
    pub(super) host: String,
}

/// The role under which the service rotates (cloud-assistant.md section 3).
const ROLE: &str = "aliyunserviceroleforkmssecretsmanagerforecs:rotation";

/// The facts of one event.
struct Deed<'a> {
    /// `None` for one that nothing repeats.
    id: Option<EventId>,
    name: &'a str,
    service: &'a str,
    secret: &'a str,
    version: Option<&'a str>,
    error: Option<EventError<'a>>,
    rotation: Option<Rotation<'a>>,
    cloud: Option<CloudAssistant<'a>>,
    correlation: &'a str,
    /// Under which role it is done; `None` for what the appliance does as itself.
    role: Option<&'static str>,
    /// For a change that belongs to no rotation.
    phase: Option<Phase>,
}

impl Rotations {
    async fn note(&self, deed: &Deed<'_>) -> Result<(), LedgerError> {
        self.with_event(deed, async |recorder, event| recorder.note(event).await.map(drop)).await
    }

    async fn with_event<T>(
        &self,
        deed: &Deed<'_>,
        record: impl AsyncFnOnce(&crate::audit::Recorder, &Event<'_>) -> Result<T, crate::audit::AuditError>,
    ) -> Result<T, LedgerError> {
        let request_id = RequestId::from_random(self.vault.random_id()?);
        let time_ms = u64::try_from(self.vault.now().millis()).unwrap_or(0);
        let id = match deed.id {
            Some(id) => id,
            None => EventId::new(time_ms, first_ten(&self.vault.random_id()?)),
        };
        let mut parameters = RequestParameters::with_capacity(1);
        parameters.known("SecretName", deed.secret);
        let names = [deed.secret];
        let resources = [("ACS::KMS::Secret", &names[..])];
        let event = Event {
            id,
            time_ms,
            kind: EventType::AliyunServiceEvent,
            name: deed.name,
            access: EventAccess::Write,
            source: &self.record.host,
            service: deed.service,
            api_version: None,
            region: self.record.region.as_str(),
            request_id: request_id.as_str(),
            parameters,
            response: None,
            error: deed.error,
            identity: UserIdentity {
                kind: if deed.role.is_some() { IdentityType::AssumedRole } else { IdentityType::System },
                account_id: Some(self.record.account.as_str()),
                user_name: deed.role.map(Into::into),
                ..UserIdentity::system()
            },
            source_ip: INTERNAL,
            user_agent: None,
            resources: &resources,
            recipient_account_id: self.record.account.as_str(),
            vpc_id: None,
            additional: AdditionalEventData {
                secret_version_id: deed.version,
                rotation: deed.rotation,
                phase: deed.phase,
                cloud_assistant: deed.cloud,
                correlation_id: Some(deed.correlation),
                ..AdditionalEventData::default()
            },
        };
        Ok(record(&self.recorder, &event).await?)
    }

    /// The service is about to begin a rotation that is due, or that a campaign
    /// has come to: its leave to begin it. Both records of a beginning carry the
    /// id of what it belongs to, the secret or the campaign.
    pub(super) async fn record_beginning(
        &self,
        secret: &SecretRecord,
        belongs_to: &str,
    ) -> Result<Access, LedgerError> {
        let deed = Deed {
            id: None,
            name: "RotateSecret",
            service: "Kms",
            secret: secret.name.as_str(),
            version: None,
            error: None,
            rotation: None,
            cloud: None,
            correlation: belongs_to,
            role: Some(ROLE),
            phase: None,
        };
        self.with_event(&deed, async |recorder, event| recorder.change(event).await).await
    }

    /// What came of beginning it: the candidate is stored, or why not.
    pub(super) async fn record_begun(
        &self,
        access: Access,
        secret: &SecretRecord,
        belongs_to: &str,
        version: &VersionId,
        error: Option<&RotationError>,
    ) -> Result<(), LedgerError> {
        let text = error.map(|error| error_chain(error));
        let deed = Deed {
            id: None,
            name: "PutSecretValue",
            service: "Kms",
            secret: secret.name.as_str(),
            version: Some(version.as_str()),
            error: text.as_deref().map(|message| EventError { code: "RotationNotBegun", message }),
            rotation: None,
            cloud: None,
            correlation: belongs_to,
            role: Some(ROLE),
            phase: None,
        };
        self.with_event(&deed, async |recorder, event| recorder.done(access, event).await.map(drop)).await
    }

    /// A secret is about to be destroyed after its recovery window.
    pub(super) async fn record_destroying(&self, secret: &SecretRecord) -> Result<Access, LedgerError> {
        let deed = destruction(secret, Phase::Started, None);
        self.with_event(&deed, async |recorder, event| recorder.change(event).await).await
    }

    /// It is destroyed, or why not.
    pub(super) async fn record_destroyed(
        &self,
        access: Access,
        secret: &SecretRecord,
        error: Option<&VaultError>,
    ) -> Result<(), LedgerError> {
        let text = error.map(ToString::to_string);
        let error = text.as_deref().map(|message| EventError { code: "SecretNotDestroyed", message });
        let deed = destruction(secret, Phase::Finished, error);
        self.with_event(&deed, async |recorder, event| recorder.done(access, event).await.map(drop)).await
    }

    /// The candidate is stored, and the instance is about to hear of it.
    pub(super) async fn record_intent(&self, rotation: &RotationRecord) -> Result<(), LedgerError> {
        let cloud =
            CloudAssistant { instance_id: Some(rotation.instance.as_str()), ..CloudAssistant::default() };
        self.note(&Deed {
            name: "InvokeCommand",
            service: "Ecs",
            cloud: Some(cloud),
            ..about(rotation, RotationPhase::Started)
        })
        .await
    }

    /// The labels have moved.
    pub(super) async fn record_committed(&self, rotation: &RotationRecord) -> Result<(), LedgerError> {
        let cloud = CloudAssistant {
            instance_id: Some(rotation.instance.as_str()),
            invoke_id: rotation.invoke_id.as_deref(),
            ..CloudAssistant::default()
        };
        self.note(&Deed {
            name: "UpdateSecretVersionStage",
            cloud: Some(cloud),
            ..about(rotation, RotationPhase::Finished)
        })
        .await
    }

    /// The rotation ends without effect.
    pub(super) async fn record_failed(&self, rotation: &RotationRecord) -> Result<(), LedgerError> {
        self.note(&Deed { error: trouble(rotation), ..about(rotation, RotationPhase::Failed) }).await
    }

    /// The rotation is over, but the old key is still on the instance.
    pub(super) async fn record_old_key(&self, rotation: &RotationRecord) -> Result<(), LedgerError> {
        self.note(&Deed { error: trouble(rotation), ..about(rotation, RotationPhase::Finished) }).await
    }

    /// Nobody answers; both versions are kept.
    pub(super) async fn record_doubt(&self, rotation: &RotationRecord) -> Result<(), LedgerError> {
        self.note(&Deed { error: trouble(rotation), ..about(rotation, RotationPhase::Unknown) }).await
    }
}

fn destruction<'a>(secret: &'a SecretRecord, phase: Phase, error: Option<EventError<'a>>) -> Deed<'a> {
    Deed {
        id: None,
        name: "DeleteSecret",
        service: "Kms",
        secret: secret.name.as_str(),
        version: None,
        error,
        rotation: None,
        cloud: None,
        correlation: secret.id.as_str(),
        role: None,
        phase: Some(phase),
    }
}

fn trouble(rotation: &RotationRecord) -> Option<EventError<'_>> {
    rotation.trouble.as_ref().map(|t| EventError { code: &t.code, message: &t.text })
}

fn first_ten(bytes: &[u8]) -> [u8; 10] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// The id of an event that is recorded before the step it belongs to: after a
/// crash between the two it is recorded again, and the same id tells that it is
/// the same event.
fn id_of(rotation: &RotationRecord, phase: RotationPhase) -> EventId {
    let since = rotation.since.millis();
    let text = format!("{}/{phase:?}/{since}", rotation.id);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    EventId::new(u64::try_from(since).unwrap_or(0), first_ten(digest.as_ref()))
}

fn about(rotation: &RotationRecord, phase: RotationPhase) -> Deed<'_> {
    let trigger = match (rotation.trigger, rotation.attempt) {
        (_, 2..) => RotationTrigger::Retry,
        (Trigger::Campaign, _) => RotationTrigger::Campaign,
        (Trigger::Manual, _) => RotationTrigger::Manual,
        (Trigger::Scheduled, _) => RotationTrigger::Scheduled,
    };
    Deed {
        id: Some(id_of(rotation, phase)),
        name: "RotateSecret",
        service: "Kms",
        secret: rotation.secret_name.as_str(),
        version: Some(rotation.version.as_str()),
        error: None,
        rotation: Some(Rotation {
            task_id: rotation.id.as_str(),
            trigger,
            attempt: rotation.attempt.max(1),
            phase,
        }),
        cloud: None,
        correlation: rotation.id.as_str(),
        role: Some(ROLE),
        phase: None,
    }
}
