//! Answers of the ECS API (cloud-assistant.md sections 1.3 to 1.9), as far as
//! the vault reads them. Members that are absent or null read as empty.

use std::net::IpAddr;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer};

use super::malformed;
use crate::cloud_assistant::{CommandError, InstanceFacts, InvokeId};
use crate::model::{InstanceId, OsFamily};
use crate::rpc::client::harmless;

/// Longest output that is read, in Base64; the service cuts at 24 KB (section 1.11).
const MAX_OUTPUT: usize = 64 * 1024;
/// How much of the service's words on a run is kept, in bytes.
const MAX_WORDS: usize = 512;

/// How a run stands on one instance (section 1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the values of InvocationStatus, explained in cloud-assistant.md section 1.6"
)]
pub enum RunStatus {
    Pending,
    Scheduled,
    Running,
    Stopping,
    Success,
    Failed,
    Error,
    Timeout,
    Invalid,
    Aborted,
    Cancelled,
    Terminated,
    /// A word that is not in the documentation; taken for "not over yet".
    Other,
}

impl RunStatus {
    /// Whether the run is over.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Pending | Self::Scheduled | Self::Running | Self::Stopping | Self::Other => false,
            Self::Success
            | Self::Failed
            | Self::Error
            | Self::Timeout
            | Self::Invalid
            | Self::Aborted
            | Self::Cancelled
            | Self::Terminated => true,
        }
    }

    /// Whether the script ran and ended, by itself or by force.
    pub(super) const fn script_ended(&self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Timeout | Self::Terminated)
    }

    /// The service's word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Scheduled => "Scheduled",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Timeout => "Timeout",
            Self::Invalid => "Invalid",
            Self::Aborted => "Aborted",
            Self::Cancelled => "Cancelled",
            Self::Terminated => "Terminated",
            Self::Other => "other",
        }
    }

    fn parse(text: &str) -> Self {
        [
            Self::Pending,
            Self::Scheduled,
            Self::Running,
            Self::Stopping,
            Self::Success,
            Self::Failed,
            Self::Error,
            Self::Timeout,
            Self::Invalid,
            Self::Aborted,
            Self::Cancelled,
            Self::Terminated,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .unwrap_or(Self::Other)
    }
}

/// One row of `DescribeInvocationResults`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// How it stands; decide on this alone (section 1.5).
    pub status: RunStatus,
    /// Exit code; meaningful in a terminal state only.
    pub exit_code: Option<i64>,
    /// What the script wrote; meaningful in a terminal state only. `None` when
    /// it is too long or not Base64. Untrusted.
    pub output: Option<Vec<u8>>,
    /// `ErrorCode`, or empty.
    pub error_code: String,
    /// `ErrorInfo`, a sentence, or empty.
    pub error_info: String,
}

/// One row of `DescribeCommands`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandInfo {
    /// Its id, `c-…`.
    pub id: String,
    /// Its text; `None` when it is too long or not Base64.
    pub content: Option<Vec<u8>>,
}

/// One row of `DescribeCloudAssistantStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentStatus {
    /// Whether the agent was heard of in the last two minutes.
    pub is_online: bool,
    /// Its version; empty when it is absent or down.
    pub version: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Invoked {
    #[serde(deserialize_with = "text")]
    invoke_id: String,
}

impl Invoked {
    pub(super) fn invoke_id(&self, action: &'static str) -> Result<InvokeId, CommandError> {
        InvokeId::parse(&self.invoke_id).ok_or_else(|| malformed(action, "it has no InvokeId"))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Created {
    #[serde(deserialize_with = "text")]
    command_id: String,
}

impl Created {
    pub(super) fn command_id(self, action: &'static str) -> Result<String, CommandError> {
        if self.command_id.is_empty() {
            return Err(malformed(action, "it has no CommandId"));
        }
        Ok(self.command_id)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Results {
    invocation: Invocation,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Invocation {
    invocation_results: InvocationResults,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InvocationResults {
    invocation_result: Vec<Row>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    #[serde(deserialize_with = "text")]
    invoke_id: String,
    #[serde(deserialize_with = "text")]
    instance_id: String,
    #[serde(deserialize_with = "text")]
    invocation_status: String,
    exit_code: Option<i64>,
    #[serde(deserialize_with = "text")]
    output: String,
    #[serde(deserialize_with = "text")]
    error_code: String,
    #[serde(deserialize_with = "text")]
    error_info: String,
}

impl Results {
    /// The row of this run, if it is there: a row of another run is no answer.
    pub(super) fn of(self, invoke_id: &InvokeId, instance: &InstanceId) -> Option<RunResult> {
        self.invocation
            .invocation_results
            .invocation_result
            .into_iter()
            .find(|row| row.invoke_id == invoke_id.as_str() && row.instance_id == instance.as_str())
            .map(|row| RunResult {
                status: RunStatus::parse(&row.invocation_status),
                exit_code: row.exit_code,
                output: decoded(&row.output),
                error_code: words(&row.error_code),
                error_info: words(&row.error_info),
            })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Commands {
    commands: CommandList,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommandList {
    command: Vec<CommandRow>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct CommandRow {
    #[serde(deserialize_with = "text")]
    command_id: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    command_content: String,
}

impl Commands {
    pub(super) fn named(self, name: &str) -> Vec<CommandInfo> {
        self.commands
            .command
            .into_iter()
            .filter(|row| row.name == name && !row.command_id.is_empty())
            .map(|row| CommandInfo { id: row.command_id, content: decoded(&row.command_content) })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentStatuses {
    instance_cloud_assistant_status_set: AgentList,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentList {
    instance_cloud_assistant_status: Vec<AgentRow>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct AgentRow {
    #[serde(deserialize_with = "text")]
    instance_id: String,
    #[serde(deserialize_with = "text")]
    cloud_assistant_status: String,
    #[serde(deserialize_with = "text")]
    cloud_assistant_version: String,
}

impl AgentStatuses {
    pub(super) fn of(self, instance: &InstanceId) -> Option<AgentStatus> {
        self.instance_cloud_assistant_status_set
            .instance_cloud_assistant_status
            .into_iter()
            .find(|row| row.instance_id == instance.as_str())
            .map(|row| AgentStatus {
                is_online: row.cloud_assistant_status.eq_ignore_ascii_case("true"),
                version: words(&row.cloud_assistant_version),
            })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instances {
    instances: InstanceList,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceList {
    instance: Vec<InstanceRow>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InstanceRow {
    #[serde(deserialize_with = "text")]
    instance_id: String,
    #[serde(deserialize_with = "text")]
    instance_name: String,
    #[serde(deserialize_with = "text")]
    status: String,
    #[serde(rename = "OSType", deserialize_with = "text")]
    os_type: String,
    #[serde(rename = "OSName", deserialize_with = "text")]
    os_name: String,
    operation_locks: Option<LockList>,
    vpc_attributes: Option<VpcAttributes>,
    network_interfaces: Option<InterfaceList>,
    inner_ip_address: Option<AddressList>,
    public_ip_address: Option<AddressList>,
    eip_address: Option<Eip>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct LockList {
    lock_reason: Vec<Lock>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Lock {
    #[serde(deserialize_with = "text")]
    lock_reason: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct VpcAttributes {
    private_ip_address: Option<AddressList>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InterfaceList {
    network_interface: Vec<Interface>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    private_ip_sets: Option<PrivateIpSets>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PrivateIpSets {
    private_ip_set: Vec<PrivateIp>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PrivateIp {
    #[serde(deserialize_with = "text")]
    private_ip_address: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct AddressList {
    ip_address: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Eip {
    #[serde(deserialize_with = "text")]
    ip_address: String,
}

impl Instances {
    pub(super) fn of(self, id: &InstanceId) -> Option<InstanceFacts> {
        self.instances
            .instance
            .into_iter()
            .find(|row| row.instance_id == id.as_str())
            .map(|row| row.into_facts(id))
    }
}

impl InstanceRow {
    fn into_facts(self, id: &InstanceId) -> InstanceFacts {
        let os = match self.os_type.to_ascii_lowercase().as_str() {
            "linux" => Some(OsFamily::Linux),
            "windows" => Some(OsFamily::Windows),
            _ => None,
        };
        let of_vpc = self.vpc_attributes.and_then(|vpc| vpc.private_ip_address);
        let of_interfaces = self
            .network_interfaces
            .into_iter()
            .flat_map(|list| list.network_interface)
            .filter_map(|interface| interface.private_ip_sets)
            .flat_map(|sets| sets.private_ip_set)
            .map(|set| set.private_ip_address);
        let lists = |list: Option<AddressList>| list.into_iter().flat_map(|list| list.ip_address);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for text in lists(of_vpc)
            .chain(of_interfaces)
            .chain(lists(self.inner_ip_address))
            .chain(lists(self.public_ip_address))
            .chain(self.eip_address.map(|eip| eip.ip_address))
        {
            match text.parse() {
                Ok(address) if !addresses.contains(&address) => addresses.push(address),
                Ok(_) | Err(_) => {}
            }
        }
        InstanceFacts {
            id: id.clone(),
            name: words(&self.instance_name),
            status: words(&self.status),
            os,
            os_name: words(&self.os_name),
            addresses,
            locks: self
                .operation_locks
                .into_iter()
                .flat_map(|locks| locks.lock_reason)
                .map(|lock| words(&lock.lock_reason))
                .collect(),
        }
    }
}

/// Text, or nothing where the service sends null.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    if base64.len() > MAX_OUTPUT {
        return None;
    }
    BASE64.decode(base64.as_bytes()).ok()
}

fn words(text: &str) -> String {
    harmless(text, MAX_WORDS)
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
