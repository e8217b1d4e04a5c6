use super::*;

fn results(rows: &str) -> Option<RunResult> {
    let json = format!(
        r#"{{"RequestId":"R","Invocation":{{"PageNumber":1,"TotalCount":1,"InvocationResults":{{"InvocationResult":[{rows}]}}}}}}"#
    );
    serde_json::from_str::<Results>(&json)
        .unwrap()
        .of(&InvokeId::parse("t-1").unwrap(), &InstanceId::parse("i-1").unwrap())
}

#[test]
fn a_row_is_read_with_its_output_decoded() {
    let row = results(
        r#"{"CommandId":"c","InvokeId":"t-1","InstanceId":"i-1","InvocationStatus":"Failed","InvokeRecordStatus":"Finished",
        "ExitCode":10,"Output":"aGkK","Dropped":0,"ErrorCode":"ExitCodeNonzero","ErrorInfo":"a\nb"}"#,
    )
    .unwrap();
    assert_eq!(row.status, RunStatus::Failed);
    assert_eq!(row.exit_code, Some(10));
    assert_eq!(row.output.as_deref(), Some(b"hi\n".as_slice()));
    assert_eq!((row.error_code.as_str(), row.error_info.as_str()), ("ExitCodeNonzero", "a b"));
}

#[test]
fn members_that_are_not_there_yet_read_as_empty() {
    let row = results(r#"{"InvokeId":"t-1","InstanceId":"i-1","InvocationStatus":"Pending","Output":null}"#)
        .unwrap();
    assert_eq!(row.status, RunStatus::Pending);
    assert_eq!((row.exit_code, row.output), (None, Some(Vec::new())));
    assert_eq!(results(""), None);
}

#[test]
fn a_row_of_another_run_is_no_answer() {
    assert_eq!(results(r#"{"InvokeId":"t-2","InstanceId":"i-1","InvocationStatus":"Success"}"#), None);
    assert_eq!(results(r#"{"InvokeId":"t-1","InstanceId":"i-2","InvocationStatus":"Success"}"#), None);
}

#[test]
fn output_that_is_too_long_or_not_base64_is_not_read() {
    let long = BASE64.encode(&vec![b'a'; MAX_OUTPUT]);
    for output in ["%%%", "aGkK=", long.as_str()] {
        let row = results(&format!(
            r#"{{"InvokeId":"t-1","InstanceId":"i-1","InvocationStatus":"Success","Output":"{output}"}}"#
        ));
        assert_eq!(row.unwrap().output, None);
    }
}

#[test]
fn a_status_outside_the_documentation_is_not_the_end() {
    assert!(!RunStatus::parse("Finished").is_terminal());
    for text in ["Success", "Failed", "Error", "Timeout", "Invalid", "Aborted", "Cancelled", "Terminated"] {
        let status = RunStatus::parse(text);
        assert!(status.is_terminal() && status.as_str() == text);
    }
    for text in ["Pending", "Scheduled", "Running", "Stopping"] {
        let status = RunStatus::parse(text);
        assert!(!status.is_terminal() && status.as_str() == text);
    }
}

#[test]
fn addresses_come_private_first_and_once_each() {
    let json = r#"{"Instances":{"Instance":[{"InstanceId":"i-0"},{
        "InstanceId":"i-1","InstanceName":"web","Status":"Running","OSType":"linux","OSName":"Debian 12",
        "OperationLocks":{"LockReason":[{"LockReason":"security"}]},
        "PublicIpAddress":{"IpAddress":["203.0.113.5"]},"InnerIpAddress":{"IpAddress":[]},
        "EipAddress":{"IpAddress":"","AllocationId":""},
        "VpcAttributes":{"PrivateIpAddress":{"IpAddress":["10.0.0.7"]}},
        "NetworkInterfaces":{"NetworkInterface":[{"PrivateIpSets":{"PrivateIpSet":[
            {"PrivateIpAddress":"10.0.0.7","Primary":true},{"PrivateIpAddress":"10.0.0.8","Primary":false}]}}]}}]}}"#;
    let id = InstanceId::parse("i-1").unwrap();
    let facts = serde_json::from_str::<Instances>(json).unwrap().of(&id).unwrap();
    assert!(facts.is_running());
    assert_eq!(facts.os, Some(OsFamily::Linux));
    assert_eq!(facts.locks, ["security"]);
    let shown: Vec<_> = facts.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.7", "10.0.0.8", "203.0.113.5"]);
    let none = serde_json::from_str::<Instances>(r#"{"Instances":{"Instance":[]}}"#).unwrap();
    assert_eq!(none.of(&id), None);
}

#[test]
fn an_agent_is_online_only_when_the_text_says_true() {
    for (text, online) in [("true", true), ("false", false), ("", false)] {
        let json = format!(
            r#"{{"InstanceCloudAssistantStatusSet":{{"InstanceCloudAssistantStatus":[{{"InstanceId":"i-1","CloudAssistantStatus":"{text}","CloudAssistantVersion":"2.2.3"}}]}}}}"#
        );
        let status = serde_json::from_str::<AgentStatuses>(&json)
            .unwrap()
            .of(&InstanceId::parse("i-1").unwrap())
            .unwrap();
        assert_eq!((status.is_online, status.version.as_str()), (online, "2.2.3"));
    }
}

#[test]
fn only_commands_of_exactly_the_name_count() {
    let json = r#"{"Commands":{"Command":[{"CommandId":"c-1","Name":"a","CommandContent":"aGkK"},{"CommandId":"c-2","Name":"ab"}]}}"#;
    let found = serde_json::from_str::<Commands>(json).unwrap().named("a");
    assert_eq!(found, [CommandInfo { id: "c-1".to_owned(), content: Some(b"hi\n".to_vec()) }]);
}
