//! The ECS API of Cloud Assistant (cloud-assistant.md sections 1.3 to 1.9).

mod answers;
mod classes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde::de::DeserializeOwned;

use super::plugin::{self, NoReport, REQUEST_PARAMETER, Report};
use super::{
    Answer, Cause, CommandError, Commander, Finished, InstanceFacts, Invocation, InvokeId, Outcome,
    RunTrouble,
};
use crate::model::{InstanceId, OsFamily, RegionId};
use crate::rpc;
use crate::rpc::client::{Credentials, Now};

pub use self::answers::{AgentStatus, CommandInfo, RunResult, RunStatus};
pub use self::classes::{Ran, poll_deadline, poll_pause, until_next_minute, whether_it_ran};

/// Version of the ECS API.
pub const API_VERSION: &str = "2014-05-26";

/// The endpoint of a region where none is configured (section 1.2).
#[must_use]
pub fn default_host(region: &RegionId) -> String {
    match region.as_str() {
        "cn-hangzhou" => "ecs-cn-hangzhou.aliyuncs.com".to_owned(),
        other => format!("ecs.{other}.aliyuncs.com"),
    }
}

/// How the plug-in's script reaches the instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is sent along each time, by `RunCommand`.
    Inline,
    /// The operator created it once per region, by [`Client::create_command`];
    /// `InvokeCommand` names it. The vault then needs no right to run commands
    /// of its own making.
    Stored {
        /// CommandId of the Linux script.
        linux: String,
        /// CommandId of the Windows script.
        windows: String,
    },
}

/// What a client needs besides a connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Region of the instances.
    pub region: RegionId,
    /// How scripts are delivered.
    pub delivery: Delivery,
    /// Pause between polls, in [`Client::run_to_end`] and the installation, as a
    /// multiple of the schedule's seconds: 1 s is the schedule of section 5.9.
    pub pace: Duration,
}

/// Cloud Assistant in one region.
pub struct Client {
    rpc: rpc::client::Client,
    credentials: Arc<Credentials>,
    settings: Settings,
    now: Now,
}

/// A shell script to run, for [`Client::run_command`].
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// What runs there.
    pub os: OsFamily,
    /// The script. Cloud Assistant keeps and shows it: no secrets.
    pub text: &'a str,
    /// Values for `{{name}}` in the script; `None` turns substitution off.
    pub parameter: Option<(&'a str, &'a str)>,
    /// Shown in the console.
    pub name: &'a str,
}

/// Where and how a command runs.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The instance.
    pub instance: &'a InstanceId,
    /// Makes repetitions one: at most 64 ASCII characters.
    pub client_token: &'a str,
    /// At least 10 s, in whole seconds.
    pub timeout: Duration,
}

impl Client {
    /// A client on top of a connection to the region's endpoint, which must have
    /// been made for [`API_VERSION`].
    #[must_use]
    pub fn new(
        rpc: rpc::client::Client,
        credentials: Arc<Credentials>,
        settings: Settings,
        now: Now,
    ) -> Self {
        Self { rpc, credentials, settings, now }
    }

    /// `RunCommand`: creates a command and runs it once, as root.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn run_command(&self, script: &Script<'_>, run: &Run<'_>) -> Result<InvokeId, CommandError> {
        const ACTION: &str = "RunCommand";
        let content = BASE64.encode(script.text.as_bytes());
        let parameters = script.parameter.map(parameters_json);
        let timeout = run.timeout.as_secs().to_string();
        let mut query = vec![
            ("Type", command_type(script.os)),
            ("CommandContent", content.as_str()),
            ("ContentEncoding", "Base64"),
            ("Name", script.name),
            ("InstanceId.1", run.instance.as_str()),
            ("Timeout", timeout.as_str()),
            ("TerminationMode", "Process"),
            ("ClientToken", run.client_token),
        ];
        if let Some(parameters) = &parameters {
            query.push(("EnableParameter", "true"));
            query.push(("Parameters", parameters));
        }
        let answer: answers::Invoked = self.call(ACTION, &query).await?;
        answer.invoke_id(ACTION)
    }

    /// `CreateCommand`: keeps a script under a name, with parameters turned on.
    /// Gives its CommandId.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn create_command(
        &self,
        os: OsFamily,
        timeout: Duration,
        client_token: &str,
    ) -> Result<String, CommandError> {
        const ACTION: &str = "CreateCommand";
        let content = BASE64.encode(plugin::script(os).as_bytes());
        let timeout = timeout.as_secs().to_string();
        let answer: answers::Created = self
            .call(
                ACTION,
                &[
                    ("Name", plugin::command_name(os)),
                    ("Type", command_type(os)),
                    ("CommandContent", &content),
                    ("ContentEncoding", "Base64"),
                    ("EnableParameter", "true"),
                    ("Timeout", &timeout),
                    ("ClientToken", client_token),
                ],
            )
            .await?;
        answer.command_id(ACTION)
    }

    /// `InvokeCommand`: runs a kept command once, as root.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn invoke_command(
        &self,
        command_id: &str,
        parameter: (&str, &str),
        run: &Run<'_>,
    ) -> Result<InvokeId, CommandError> {
        const ACTION: &str = "InvokeCommand";
        let parameters = parameters_json(parameter);
        let timeout = run.timeout.as_secs().to_string();
        let answer: answers::Invoked = self
            .call(
                ACTION,
                &[
                    ("CommandId", command_id),
                    ("InstanceId.1", run.instance.as_str()),
                    ("Parameters", &parameters),
                    ("Timeout", &timeout),
                    ("TerminationMode", "Process"),
                    ("ClientToken", run.client_token),
                ],
            )
            .await?;
        answer.invoke_id(ACTION)
    }

    /// `DescribeInvocationResults` of one run on one instance; `None` while the
    /// run is not visible yet, or when there is no such run: the API does not
    /// tell these apart (section 1.5).
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn describe_invocation_results(
        &self,
        invoke_id: &InvokeId,
        instance: &InstanceId,
    ) -> Result<Option<RunResult>, CommandError> {
        let answer: answers::Results = self
            .call(
                "DescribeInvocationResults",
                &[
                    ("InvokeId", invoke_id.as_str()),
                    ("InstanceId", instance.as_str()),
                    ("ContentEncoding", "Base64"),
                ],
            )
            .await?;
        Ok(answer.of(invoke_id, instance))
    }

    /// `DescribeInstances` for one instance; `None` when there is no such one.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn describe_instance(&self, id: &InstanceId) -> Result<Option<InstanceFacts>, CommandError> {
        // An identifier has no character that JSON escapes.
        let ids = format!("[\"{id}\"]");
        let answer: answers::Instances = self.call("DescribeInstances", &[("InstanceIds", &ids)]).await?;
        Ok(answer.of(id))
    }

    /// `DescribeCommands`: the commands of exactly this name, kept in this account.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn describe_commands(&self, name: &str) -> Result<Vec<CommandInfo>, CommandError> {
        let answer: answers::Commands = self
            .call("DescribeCommands", &[("Name", name), ("ContentEncoding", "Base64"), ("MaxResults", "50")])
            .await?;
        Ok(answer.named(name))
    }

    /// `DescribeCloudAssistantStatus` of one instance; `None` when the API says
    /// nothing about it.
    ///
    /// # Errors
    ///
    /// [`CommandError`], by what to do about it.
    pub async fn describe_cloud_assistant_status(
        &self,
        instance: &InstanceId,
    ) -> Result<Option<AgentStatus>, CommandError> {
        let answer: answers::AgentStatuses =
            self.call("DescribeCloudAssistantStatus", &[("InstanceId.1", instance.as_str())]).await?;
        Ok(answer.of(instance))
    }

    /// Runs a script and waits for its end: for commands that an operator waits
    /// for. Calls that may be repeated are, five times each.
    ///
    /// `None` when the run did not end in its time, a minute for delivery and
    /// another one for slack.
    ///
    /// # Errors
    ///
    /// [`CommandError`] of the last attempt.
    pub async fn run_to_end(
        &self,
        script: &Script<'_>,
        run: &Run<'_>,
    ) -> Result<Option<RunResult>, CommandError> {
        let invoke_id = self.run_command_patiently(script, run).await?;
        self.await_end(&invoke_id, run).await
    }

    /// [`run_command`](Self::run_command), repeated while that is safe and useful.
    pub(super) async fn run_command_patiently(
        &self,
        script: &Script<'_>,
        run: &Run<'_>,
    ) -> Result<InvokeId, CommandError> {
        let mut tries = 0;
        loop {
            match self.run_command(script, run).await {
                Err(CommandError::Again { after, cause }) => self.pause(&mut tries, after, cause).await?,
                other => return other,
            }
        }
    }

    /// Polls a run until it is over.
    pub(super) async fn await_end(
        &self,
        invoke_id: &InvokeId,
        run: &Run<'_>,
    ) -> Result<Option<RunResult>, CommandError> {
        let deadline = tokio::time::Instant::now() + poll_deadline(run.timeout);
        let mut tries = 0;
        let mut polls = 0;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(self.settings.pace * poll_pause(polls)).await;
            polls += 1;
            match self.describe_invocation_results(invoke_id, run.instance).await {
                Ok(Some(result)) if result.status.is_terminal() => return Ok(Some(result)),
                Ok(_) => tries = 0,
                Err(CommandError::Again { after, cause }) => self.pause(&mut tries, after, cause).await?,
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    async fn pause(
        &self,
        tries: &mut u32,
        after: Option<Duration>,
        cause: Box<Cause>,
    ) -> Result<(), CommandError> {
        const TRIES: u32 = 5;
        *tries += 1;
        if *tries >= TRIES {
            return Err(CommandError::Again { after, cause });
        }
        tokio::time::sleep(after.unwrap_or(self.settings.pace * *tries)).await;
        Ok(())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        query: &[(&str, &str)],
    ) -> Result<T, CommandError> {
        let mut query = query.to_vec();
        query.push(("RegionId", self.settings.region.as_str()));
        let body = self
            .rpc
            .call(&self.credentials, action, &query, &[])
            .await
            .map_err(|source| classes::classify(action, source, (self.now)()))?;
        serde_json::from_slice(body.expose())
            .ok()
            .ok_or_else(|| malformed(action, "it is not the documented JSON"))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("rpc", &self.rpc)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Commander for Client {
    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> Answer<'a, InvokeId> {
        Box::pin(async move {
            let request = invocation.request.encode().map_err(|source| CommandError::Definitive {
                code: "InvalidRequest".to_owned(),
                cause: Box::new(Cause::Request { source }),
            })?;
            let parameter = (REQUEST_PARAMETER, request.as_str());
            let run = Run {
                instance: invocation.instance,
                client_token: invocation.client_token,
                timeout: invocation.timeout,
            };
            match (&self.settings.delivery, invocation.os) {
                (Delivery::Inline, os) => {
                    let script = Script {
                        os,
                        text: plugin::script(os),
                        parameter: Some(parameter),
                        name: plugin::command_name(os),
                    };
                    self.run_command(&script, &run).await
                }
                (Delivery::Stored { linux: id, .. }, OsFamily::Linux)
                | (Delivery::Stored { windows: id, .. }, OsFamily::Windows) => {
                    self.invoke_command(id, parameter, &run).await
                }
            }
        })
    }

    fn outcome<'a>(
        &'a self,
        invoke_id: &'a InvokeId,
        instance: &'a InstanceId,
        asked: &'a plugin::Asked,
    ) -> Answer<'a, Outcome> {
        Box::pin(async move {
            let result = self.describe_invocation_results(invoke_id, instance).await?;
            Ok(match result {
                Some(result) if result.status.is_terminal() => {
                    Outcome::Finished(Box::new(result.into_finished(asked)))
                }
                Some(_) | None => Outcome::NotYet,
            })
        })
    }

    fn instance<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Option<InstanceFacts>> {
        Box::pin(self.describe_instance(id))
    }
}

impl RunResult {
    /// Reads the output as what a plug-in said about `asked`.
    fn into_finished(self, asked: &plugin::Asked) -> Finished {
        let possibly_ran = self.status.script_ended() || whether_it_ran(&self.error_code) != Ran::No;
        let report = match &self.output {
            Some(output) => Report::find(output, asked),
            None => Err(NoReport::Absent),
        };
        Finished {
            // A report proves a run, whatever the service says about it.
            possibly_ran: possibly_ran || report.is_ok(),
            report,
            trouble: RunTrouble {
                status: self.status.as_str().to_owned(),
                code: self.error_code,
                info: self.error_info,
                exit_code: self.exit_code,
            },
        }
    }
}

const fn command_type(os: OsFamily) -> &'static str {
    match os {
        OsFamily::Linux => "RunShellScript",
        OsFamily::Windows => "RunPowerShellScript",
    }
}

fn parameters_json((name, value): (&str, &str)) -> String {
    serde_json::json!({ name: value }).to_string()
}

/// An answer to a request that was accepted, or so it seems.
fn malformed(action: &'static str, what: &'static str) -> CommandError {
    CommandError::Again { after: None, cause: Box::new(Cause::Answer { action, what }) }
}
