//! What the appliance does to keys unasked, on record before and after
//! (audit.md section 1.4).

use super::{KeyError, Keys, random};
use crate::audit::{
    Access, AdditionalEventData, AuditError, Event, EventAccess, EventError, EventId, EventType, INTERNAL,
    Phase, Recorder, RequestParameters, UserIdentity,
};
use crate::model::{KeyId, RequestId};

/// Where such deeds are recorded.
#[derive(Debug, Clone)]
pub struct Record {
    recorder: Recorder,
    /// The address that the appliance listens on.
    host: String,
}

impl Record {
    /// Records of the appliance that listens on `host`.
    #[must_use]
    pub const fn new(recorder: Recorder, host: String) -> Self {
        Self { recorder, host }
    }
}

/// A deed on a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed<'a> {
    /// What it is, as the API names it.
    pub(super) name: &'static str,
    /// The key.
    pub(super) key: &'a KeyId,
}

impl Keys {
    /// It is about to be done: the leave to do it.
    pub(super) async fn record_begun(&self, record: &Record, deed: Deed<'_>) -> Result<Access, KeyError> {
        let begun = async |event: &Event<'_>| record.recorder.change(event).await;
        self.with_event(record, deed, Phase::Started, None, begun).await
    }

    /// It is done, or why not.
    pub(super) async fn record_ended(
        &self,
        record: &Record,
        deed: Deed<'_>,
        access: Access,
        error: Option<&KeyError>,
    ) -> Result<(), KeyError> {
        let text = error.map(ToString::to_string);
        let error = text.as_deref().map(|message| EventError { code: "KeyNotSeenTo", message });
        let ended = async |event: &Event<'_>| record.recorder.done(access, event).await.map(drop);
        self.with_event(record, deed, Phase::Finished, error, ended).await
    }

    async fn with_event<T>(
        &self,
        record: &Record,
        deed: Deed<'_>,
        phase: Phase,
        error: Option<EventError<'_>>,
        write: impl AsyncFnOnce(&Event<'_>) -> Result<T, AuditError>,
    ) -> Result<T, KeyError> {
        let request_id = RequestId::from_random(random()?);
        let time_ms = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let mut unique = [0; 10];
        unique.copy_from_slice(random()?.split_at(10).0);
        let mut parameters = RequestParameters::with_capacity(1);
        parameters.known("KeyId", deed.key.as_str());
        let ids = [deed.key.as_str()];
        let resources = [("ACS::KMS::Key", &ids[..])];
        let event = Event {
            id: EventId::new(time_ms, unique),
            time_ms,
            kind: EventType::AliyunServiceEvent,
            name: deed.name,
            access: EventAccess::Write,
            source: &record.host,
            service: "Kms",
            api_version: None,
            region: self.region.as_str(),
            request_id: request_id.as_str(),
            parameters,
            response: None,
            error,
            identity: UserIdentity { account_id: Some(self.account.as_str()), ..UserIdentity::system() },
            source_ip: INTERNAL,
            user_agent: None,
            resources: &resources,
            recipient_account_id: self.account.as_str(),
            vpc_id: None,
            additional: AdditionalEventData {
                phase: Some(phase),
                correlation_id: Some(deed.key.as_str()),
                ..AdditionalEventData::default()
            },
        };
        Ok(write(&event).await?)
    }
}
