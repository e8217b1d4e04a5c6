//! The event: what was asked, by whom, and what came of it, in the shape of an
//! ActionTrail management event.
//!
//! The types are an allow-list: a record holds what has a field here and
//! nothing else. All text is borrowed, so that building an event for a read
//! allocates little, and it is serialised once, by the task that serves the
//! request.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use time::OffsetDateTime;

use super::additional::AdditionalEventData;
use super::error::AuditError;
use super::parameters::RequestParameters;
use super::record::MAX_EVENT_BYTES;
use super::text::{self, OneLine};

/// The source address of what the appliance does by itself.
pub const INTERNAL: &str = "Internal";

/// Most events fit, so that the buffer seldom grows.
const USUAL_EVENT_BYTES: usize = 1536;

/// Names of one kind of resource that are written; the rest is left out.
const MAX_RESOURCE_NAMES: usize = 64;

/// One event of the audit journal.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// `eventId`, unique per event.
    pub id: EventId,
    /// Arrival of the request, in milliseconds since 1970-01-01T00:00:00Z;
    /// written as `eventTime` in seconds and as `eventTimeMs`.
    pub time_ms: u64,
    /// `eventType`.
    pub kind: EventType,
    /// `eventName`: the API name, or the name of the operation.
    pub name: &'a str,
    /// `eventRW`.
    pub access: EventAccess,
    /// `eventSource`: the host that was addressed, or the internal service.
    pub source: &'a str,
    /// `serviceName`: `Kms`, `Ram`, `Sts`, ...
    pub service: &'a str,
    /// `apiVersion`, for API calls.
    pub api_version: Option<&'a str>,
    /// `acsRegion`.
    pub region: &'a str,
    /// `requestId`, the id that the client was told.
    pub request_id: &'a str,
    /// `requestParameters`; left out when empty.
    pub parameters: RequestParameters<'a>,
    /// `responseElements`: for changes that succeeded; `null` otherwise.
    pub response: Option<RequestParameters<'a>>,
    /// `errorCode` and `errorMessage`, as the client was told.
    pub error: Option<EventError<'a>>,
    /// `userIdentity`.
    pub identity: UserIdentity<'a>,
    /// `sourceIpAddress`: the peer, or [`INTERNAL`].
    pub source_ip: &'a str,
    /// `userAgent`, cut at 512 characters.
    pub user_agent: Option<&'a str>,
    /// `referencedResources`: each kind of resource with its names.
    pub resources: &'a [(&'a str, &'a [&'a str])],
    /// `recipientAccountId`: the account that owns the log.
    pub recipient_account_id: &'a str,
    /// `vpcId`.
    pub vpc_id: Option<&'a str>,
    /// `additionalEventData`.
    pub additional: AdditionalEventData<'a>,
}

impl Event<'_> {
    /// Serialises the event for [`Journal::append`](super::Journal::append).
    ///
    /// # Errors
    ///
    /// [`AuditError::Encode`] when the time lies beyond the year 9999;
    /// [`AuditError::TooLarge`] beyond 2 MiB, which the limits on the parts
    /// leave out of reach of a client.
    pub fn encode(&self) -> Result<Encoded, AuditError> {
        let mut bytes = Vec::with_capacity(USUAL_EVENT_BYTES);
        let mut out = serde_json::Serializer::with_formatter(&mut bytes, OneLine);
        self.serialize(&mut out).map_err(AuditError::Encode)?;
        match bytes.len() <= MAX_EVENT_BYTES {
            true => Ok(Encoded(bytes)),
            false => Err(AuditError::TooLarge { limit: MAX_EVENT_BYTES }),
        }
    }
}

/// An event in the form in which it enters the journal.
///
/// Made only by [`Event::encode`], so that nothing else is ever recorded.
#[derive(Debug, Clone)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An identifier that begins with its time (RFC 9562 section 5.7), so that
/// indexes over it grow at one end; printed as an upper-case UUID.
///
/// ```
/// use strongroom::audit::EventId;
///
/// let id = EventId::new(1_772_352_930_120, [0xab; 10]);
/// assert_eq!(id.to_string(), "019CA877-8148-7EAE-ABAB-ABABABABABAB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    /// Combines a time in milliseconds since 1970 with 74 of 80 random bits.
    #[must_use]
    pub fn new(time_ms: u64, random: [u8; 10]) -> Self {
        let random = random.iter().fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        let time = u128::from(time_ms & 0xffff_ffff_ffff) << 80;
        let version = 0x7_u128 << 76;
        let variant = 0b10_u128 << 62;
        let chance_high = ((random >> 62) & 0xfff) << 64;
        let chance_low = random & 0x3fff_ffff_ffff_ffff;
        Self(time | version | chance_high | variant | chance_low)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xffff,
            (bits >> 48) & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// `eventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum EventType {
    /// A call of the API.
    ApiCall,
    /// A deed on the console.
    ConsoleOperation,
    /// A person logged on to the console.
    ConsoleSignin,
    /// A person logged off.
    ConsoleSignout,
    /// The appliance acted by itself.
    AliyunServiceEvent,
}

/// `eventRW`: whether the event changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum EventAccess {
    /// Nothing was to change.
    Read,
    /// Something was to change.
    Write,
}

/// What the client was told about a failure.
#[derive(Debug, Clone, Copy)]
pub struct EventError<'a> {
    /// `errorCode`.
    pub code: &'a str,
    /// `errorMessage`.
    pub message: &'a str,
}

/// `userIdentity.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityType {
    /// The account itself.
    RootAccount,
    /// A RAM user.
    RamUser,
    /// A session of a role.
    AssumedRole,
    /// A user known by a SAML assertion.
    SamlUser,
    /// The appliance.
    System,
    /// Nobody was authenticated.
    Unknown,
}

/// `userIdentity`: who asked.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity<'a> {
    /// What kind of principal it is.
    #[serde(rename = "type")]
    pub kind: IdentityType,
    /// Account id, user id, or `ROLEID:SESSION`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub principal_id: Option<&'a str>,
    /// Account of the caller.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub account_id: Option<&'a str>,
    /// User name; `ROLE:SESSION` for roles, `root` for the account.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short_cow")]
    pub user_name: Option<Cow<'a, str>>,
    /// Access key id in clear; as claimed when nobody was authenticated.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::short_option")]
    pub access_key_id: Option<&'a str>,
    /// For temporary credentials: their session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_context: Option<SessionContext>,
}

impl UserIdentity<'_> {
    /// Nobody known, as for a request whose signature is wrong.
    #[must_use]
    pub fn unknown() -> Self {
        Self::of(IdentityType::Unknown)
    }

    /// The appliance itself.
    #[must_use]
    pub fn system() -> Self {
        Self::of(IdentityType::System)
    }

    fn of(kind: IdentityType) -> Self {
        Self {
            kind,
            principal_id: None,
            account_id: None,
            user_name: None,
            access_key_id: None,
            session_context: None,
        }
    }
}

/// `userIdentity.sessionContext`.
#[derive(Debug, Clone, Copy)]
pub struct SessionContext {
    /// When the session was made, in milliseconds since 1970.
    pub creation_ms: u64,
    /// Whether a second factor was shown.
    pub mfa_authenticated: bool,
}

impl Serialize for SessionContext {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        struct Attributes<'s>(&'s SessionContext);
        impl Serialize for Attributes<'_> {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                let mut map = out.serialize_map(Some(2))?;
                map.serialize_entry("creationDate", &Seconds(self.0.creation_ms))?;
                let mfa = if self.0.mfa_authenticated { "true" } else { "false" };
                map.serialize_entry("mfaAuthenticated", mfa)?;
                map.end()
            }
        }
        let mut map = out.serialize_map(Some(1))?;
        map.serialize_entry("attributes", &Attributes(self))?;
        map.end()
    }
}

/// A text that is cut when written.
pub(super) struct Short<'a>(pub(super) &'a str);

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        text::short(self.0, out)
    }
}

fn short_cow<S: Serializer>(value: &Option<Cow<'_, str>>, out: S) -> Result<S::Ok, S::Error> {
    text::short_option(&value.as_deref(), out)
}

/// A time in milliseconds, written as `YYYY-MM-DDThh:mm:ssZ`.
struct Seconds(u64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(self.0 / 1000).map_err(S::Error::custom)?;
        let t = OffsetDateTime::from_unix_timestamp(seconds).map_err(S::Error::custom)?;
        out.collect_str(&format_args!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        ))
    }
}

struct Agent<'a>(&'a str);

impl Serialize for Agent<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        text::user_agent(self.0, out)
    }
}

struct Resources<'a>(&'a [(&'a str, &'a [&'a str])]);

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.iter().map(|(kind, names)| (kind, Names(names))))
    }
}

struct Names<'a>(&'a [&'a str]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().take(MAX_RESOURCE_NAMES).map(|name| Short(name)))
    }
}

struct Id(EventId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("eventId", &Id(self.id))?;
        map.serialize_entry("eventVersion", &1)?;
        map.serialize_entry("eventTime", &Seconds(self.time_ms))?;
        map.serialize_entry("eventType", &self.kind)?;
        map.serialize_entry("eventCategory", "Management")?;
        map.serialize_entry("eventName", &Short(self.name))?;
        map.serialize_entry("eventRW", &self.access)?;
        map.serialize_entry("eventSource", &Short(self.source))?;
        map.serialize_entry("serviceName", &Short(self.service))?;
        if let Some(version) = self.api_version {
            map.serialize_entry("apiVersion", &Short(version))?;
        }
        map.serialize_entry("acsRegion", &Short(self.region))?;
        map.serialize_entry("requestId", &Short(self.request_id))?;
        if !self.parameters.is_empty() {
            map.serialize_entry("requestParameters", &self.parameters)?;
        }
        map.serialize_entry("responseElements", &self.response)?;
        if let Some(error) = self.error {
            map.serialize_entry("errorCode", &Short(error.code))?;
            map.serialize_entry("errorMessage", &Short(error.message))?;
        }
        map.serialize_entry("userIdentity", &self.identity)?;
        map.serialize_entry("sourceIpAddress", &Short(self.source_ip))?;
        if let Some(agent) = self.user_agent {
            map.serialize_entry("userAgent", &Agent(agent))?;
        }
        if !self.resources.is_empty() {
            map.serialize_entry("referencedResources", &Resources(self.resources))?;
        }
        map.serialize_entry("recipientAccountId", &Short(self.recipient_account_id))?;
        if let Some(vpc) = self.vpc_id {
            map.serialize_entry("vpcId", &Short(vpc))?;
        }
        map.serialize_entry("additionalEventData", &self.additional.at(self.time_ms))?;
        map.end()
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
