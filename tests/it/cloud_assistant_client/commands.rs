//! Cloud Assistant's client: what it sends, and what it makes of answers.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use strongroom::cloud_assistant::client::{Client, Delivery, Settings};
use strongroom::cloud_assistant::plugin::{Code, NoReport, Op, Options, Request, client_token, script};
use strongroom::cloud_assistant::{CommandError, Commander, Finished, Invocation, InvokeId, Outcome};
use strongroom::model::rotation::Live;
use strongroom::model::{InstanceId, OsFamily, OsUser, RegionId, RotationId, SecretId, SecretSubType};

use super::server::{Reply, Server};
use super::{credentials, now};

const PENDING: &str =
    r#"{"InvokeId":"t-1","InstanceId":"i-1","InvocationStatus":"Pending","ExitCode":0,"Output":""}"#;

pub(super) fn commander(server: &Server, delivery: Delivery) -> Client {
    let settings = Settings {
        region: RegionId::parse("cn-hangzhou").unwrap(),
        delivery,
        pace: Duration::from_millis(2),
    };
    Client::new(super::client(server), Arc::new(credentials()), settings, now())
}

pub(super) fn instance() -> InstanceId {
    InstanceId::parse("i-1").unwrap()
}

fn request() -> Request {
    Request {
        op: Op::Apply,
        sid: SecretId::from_random(&[1; 16]),
        rid: RotationId::from_random(&[2; 16]),
        generation: 1,
        attempt: 1,
        instance: instance(),
        user: OsUser::parse("root").unwrap(),
        kind: SecretSubType::SshKey,
        hash: None,
        key: Some("ssh-ed25519 AAAA".to_owned()),
        wants_key: false,
        payload: None,
        remove: Vec::new(),
        options: Options::default(),
    }
}

async fn invoke(commander: &dyn Commander, os: OsFamily) -> Result<InvokeId, CommandError> {
    let request = request();
    let client_token = client_token(&request.rid, request.op, 1);
    commander
        .invoke(Invocation {
            instance: &request.instance,
            os,
            request: &request,
            client_token: &client_token,
            timeout: Duration::from_secs(60),
        })
        .await
}

async fn outcome(server: &Server) -> Result<Outcome, CommandError> {
    commander(server, Delivery::Inline)
        .outcome(&InvokeId::parse("t-1").unwrap(), &instance(), &request().asked())
        .await
}

fn rows(rows: &str) -> String {
    format!(r#"{{"RequestId":"R","Invocation":{{"InvocationResults":{{"InvocationResult":[{rows}]}}}}}}"#)
}

fn row(status: &str, code: &str, output: &str) -> String {
    let output = BASE64.encode(output.as_bytes());
    rows(&format!(
        r#"{{"InvokeId":"t-1","InstanceId":"i-1","InvocationStatus":"{status}","ExitCode":0,"Output":"{output}","ErrorCode":"{code}","ErrorInfo":"why"}}"#
    ))
}

async fn finished(answer: String) -> Finished {
    let server = Server::start(move |_| Reply::json(200, &answer)).await;
    match outcome(&server).await.unwrap() {
        Outcome::Finished(finished) => *finished,
        Outcome::NotYet => panic!("not yet"),
    }
}

#[tokio::test]
async fn inline_delivery_sends_the_script_with_its_parameter() {
    let server =
        Server::start(|_| Reply::json(200, r#"{"RequestId":"R","CommandId":"c-1","InvokeId":"t-1"}"#)).await;
    let commander = commander(&server, Delivery::Inline);
    for (os, kind) in [(OsFamily::Linux, "RunShellScript"), (OsFamily::Windows, "RunPowerShellScript")] {
        assert_eq!(invoke(&commander, os).await.unwrap().as_str(), "t-1");
        let seen = server.seen().pop().unwrap();
        assert!(seen.signature_is_right);
        assert_eq!(seen.action, "RunCommand");
        assert_eq!(seen.query["Type"], kind);
        assert_eq!(seen.query["ContentEncoding"], "Base64");
        let content = BASE64.decode(seen.query["CommandContent"].as_bytes()).unwrap();
        assert_eq!(content, script(os).as_bytes());
        assert_eq!(seen.query["EnableParameter"], "true");
        assert_eq!(seen.query["InstanceId.1"], "i-1");
        assert_eq!(seen.query["RegionId"], "cn-hangzhou");
        assert_eq!(seen.query["Timeout"], "60");
        assert_eq!(seen.query["ClientToken"], format!("sr-{}-a-1", "02".repeat(16)));
        let parameters: serde_json::Value = serde_json::from_str(&seen.query["Parameters"]).unwrap();
        let sent = BASE64URL_NOPAD.decode(parameters["SR_REQUEST"].as_str().unwrap().as_bytes()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!((&sent["key"], &sent["kind"]), (&"ssh-ed25519 AAAA".into(), &"sshkey".into()));
    }
}

#[tokio::test]
async fn stored_delivery_invokes_the_command_of_the_system_by_id() {
    let server = Server::start(|_| Reply::json(200, r#"{"RequestId":"R","InvokeId":"t-1"}"#)).await;
    let stored = Delivery::Stored { linux: "c-linux".to_owned(), windows: "c-windows".to_owned() };
    let commander = commander(&server, stored);
    for (os, id) in [(OsFamily::Linux, "c-linux"), (OsFamily::Windows, "c-windows")] {
        invoke(&commander, os).await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.action.as_str(), seen.query["CommandId"].as_str()), ("InvokeCommand", id));
        assert!(!seen.query.contains_key("CommandContent"));
    }
}

#[tokio::test]
async fn commands_are_created_with_parameters_and_found_by_name() {
    let content = BASE64.encode(script(OsFamily::Linux).as_bytes());
    let listed = format!(
        r#"{{"Commands":{{"Command":[{{"CommandId":"c-9","Name":"STRONGROOM-RotateECSSecret-For-Linux.sh","CommandContent":"{content}"}}]}}}}"#
    );
    let server = Server::start(move |seen| match seen.action.as_str() {
        "CreateCommand" => Reply::json(200, r#"{"RequestId":"R","CommandId":"c-9"}"#),
        _ => Reply::json(200, &listed),
    })
    .await;
    let client = commander(&server, Delivery::Inline);
    let id = client.create_command(OsFamily::Linux, Duration::from_secs(60), "token").await.unwrap();
    assert_eq!(id, "c-9");
    assert_eq!(server.seen()[0].query["EnableParameter"], "true");
    let found = client.describe_commands("STRONGROOM-RotateECSSecret-For-Linux.sh").await.unwrap();
    assert_eq!(found[0].id, "c-9");
    assert_eq!(found[0].content.as_deref(), Some(script(OsFamily::Linux).as_bytes()));
}

#[tokio::test]
async fn a_run_that_is_not_over_or_not_visible_is_not_yet_known() {
    for answer in
        [rows(""), rows(PENDING), row("Running", "", ""), row("Stopping", "", ""), row("Whatever", "", "")]
    {
        let server = Server::start(move |_| Reply::json(200, &answer)).await;
        assert_eq!(outcome(&server).await.unwrap(), Outcome::NotYet);
    }
}

#[tokio::test]
async fn a_report_is_read_out_of_the_output() {
    let rid = "02".repeat(16);
    let line = format!(
        r#"{{"strongroom":1,"op":"apply","rid":"{rid}","ok":true,"code":"ok","changed":true,"final":true,"live":"both"}}"#
    );
    for status in ["Success", "Failed", "Timeout", "Aborted"] {
        let finished = finished(row(status, "", &format!("chatter\n{line}\n"))).await;
        let report = finished.report.unwrap();
        assert_eq!((report.code, report.live), (Code::Ok, Live::Both));
        assert!(finished.possibly_ran, "{status}");
    }
    let foreign = finished(row("Success", "", &line.replace("apply", "verify"))).await;
    assert_eq!(foreign.report, Err(NoReport::Other));
}

#[tokio::test]
async fn without_a_report_only_the_table_excludes_a_run() {
    for (status, code, possibly_ran) in [
        ("Success", "", true),
        ("Failed", "ExitCodeNonzero", true),
        ("Timeout", "ExecutionTimeout", true),
        ("Aborted", "DeliveryTimeout", true),
        ("Aborted", "ClientNotRunning", true),
        ("Aborted", "", true),
        ("Invalid", "CommandNotApplicable", false),
        ("Aborted", "SecurityGroupRuleDenied", false),
        ("Error", "AccountNotExists", false),
        ("Success", "AccountNotExists", true),
    ] {
        let finished = finished(row(status, code, "")).await;
        assert_eq!(finished.possibly_ran, possibly_ran, "{status} {code}");
        assert_eq!(finished.report, Err(NoReport::NoOutput));
        assert_eq!((finished.trouble.status.as_str(), finished.trouble.code.as_str()), (status, code));
    }
}

#[tokio::test]
async fn refusals_are_sorted_by_what_to_do() {
    let error = |status: u16, code: &str| {
        let body = format!(r#"{{"RequestId":"R","HostId":"h","Code":"{code}","Message":"m"}}"#);
        async move {
            let server = Server::start(move |_| Reply::json(status, &body)).await;
            invoke(&commander(&server, Delivery::Inline), OsFamily::Linux).await.unwrap_err()
        }
    };
    assert!(matches!(error(500, "InternalError").await, CommandError::Again { after: None, .. }));
    assert!(matches!(error(403, "IdempotentProcessing").await, CommandError::Again { after: None, .. }));
    let CommandError::Again { after: Some(after), .. } = error(400, "Throttling.User").await else {
        panic!()
    };
    assert!(after <= Duration::from_secs(60));
    assert!(matches!(error(403, "IdempotentParameterMismatch").await, CommandError::Unknown { .. }));
    let CommandError::Definitive { code, .. } = error(404, "InvalidInstance.NotFound").await else {
        panic!()
    };
    assert_eq!(code, "InvalidInstance.NotFound");
}

#[tokio::test]
async fn a_lost_or_broken_answer_may_be_asked_for_again() {
    for broken in ["", "{", "[]", "{}", r#"{"InvokeId":null}"#, r#"{"InvokeId":"a b"}"#, r#"{"InvokeId":7}"#]
    {
        let server = Server::start(move |_| Reply::json(200, broken)).await;
        let error = invoke(&commander(&server, Delivery::Inline), OsFamily::Linux).await.unwrap_err();
        assert!(matches!(error, CommandError::Again { after: None, .. }), "{broken} {error:?}");
        let server = Server::start(move |_| Reply::json(200, broken)).await;
        assert!(matches!(outcome(&server).await, Err(CommandError::Again { .. })), "{broken}");
    }
    let server = Server::start(|_| Reply::Break).await;
    let error = invoke(&commander(&server, Delivery::Inline), OsFamily::Linux).await.unwrap_err();
    assert!(matches!(error, CommandError::Again { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_too_long_for_a_command_is_refused_before_it_is_sent() {
    let server = Server::start(|_| Reply::json(200, "{}")).await;
    let request = Request { key: Some("k".repeat(20_000)), ..request() };
    let error = commander(&server, Delivery::Inline)
        .invoke(Invocation {
            instance: &request.instance,
            os: OsFamily::Linux,
            request: &request,
            client_token: "t",
            timeout: Duration::from_secs(60),
        })
        .await
        .unwrap_err();
    assert!(matches!(error, CommandError::Definitive { .. }));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn instances_and_agents_are_described() {
    let server = Server::start(|seen| match seen.action.as_str() {
        "DescribeInstances" if seen.query["InstanceIds"] == "[\"i-1\"]" => Reply::json(
            200,
            r#"{"Instances":{"Instance":[{"InstanceId":"i-1","Status":"Running","OSType":"linux",
            "VpcAttributes":{"PrivateIpAddress":{"IpAddress":["10.0.0.7"]}}}]}}"#,
        ),
        "DescribeInstances" => Reply::json(200, r#"{"Instances":{"Instance":[]}}"#),
        _ => Reply::json(
            200,
            r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":[
            {"InstanceId":"i-1","CloudAssistantStatus":"true","CloudAssistantVersion":"2.2.3.578"}]}}"#,
        ),
    })
    .await;
    let client = commander(&server, Delivery::Inline);
    let facts = Commander::instance(&client, &instance()).await.unwrap().unwrap();
    assert!(facts.is_running());
    assert_eq!(facts.os, Some(OsFamily::Linux));
    let unknown = InstanceId::parse("i-2").unwrap();
    assert_eq!(Commander::instance(&client, &unknown).await.unwrap(), None);
    let agent = client.describe_cloud_assistant_status(&instance()).await.unwrap().unwrap();
    assert!(agent.is_online);
}
