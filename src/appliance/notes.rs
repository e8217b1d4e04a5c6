//! Audit events of the appliance itself (audit.md section 1.4, last paragraph).

use crate::audit::{
    AdditionalEventData, Event, EventAccess, EventId, EventType, INTERNAL, RequestParameters, UserIdentity,
};
use crate::model::{AccountId, Clock, RegionId, RequestId};

/// Writes events of the appliance.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) account: &'a AccountId,
    pub(super) region: &'a RegionId,
    pub(super) clock: &'a dyn Clock,
    pub(super) node: &'a str,
}

/// Random bytes; zeros where the system has none, which only makes ids repeat.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok();
    bytes
}

impl Notes<'_> {
    /// Has `record` write an event of that name with these facts.
    pub(super) async fn with<T>(
        &self,
        name: &str,
        facts: &[(&str, &str)],
        record: impl AsyncFnOnce(&Event<'_>) -> T,
    ) -> T {
        let time_ms = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let request_id = RequestId::from_random(random());
        let mut parameters = RequestParameters::with_capacity(facts.len());
        for (name, value) in facts {
            parameters.known(name, *value);
        }
        let event = Event {
            id: EventId::new(time_ms, random()),
            time_ms,
            kind: EventType::AliyunServiceEvent,
            name,
            access: EventAccess::Write,
            source: "strongroom",
            service: "Strongroom",
            api_version: None,
            region: self.region.as_str(),
            request_id: request_id.as_str(),
            parameters,
            response: None,
            error: None,
            identity: UserIdentity::system(),
            source_ip: INTERNAL,
            user_agent: None,
            resources: &[],
            recipient_account_id: self.account.as_str(),
            vpc_id: None,
            additional: AdditionalEventData { node: Some(self.node), ..AdditionalEventData::default() },
        };
        record(&event).await
    }
}
