//! The description of the API: served, printed, and the same as the page.

use serde_json::Value;
use strongroom::api::describe;

use crate::harness::{Appliance, Connection, Request, strongroom};

#[test]
fn the_reference_in_the_repository_is_what_the_program_prints() {
    let printed = strongroom(&["api", "reference"]);
    assert!(printed.status.success());
    let page = include_str!("../../docs/api.md");
    assert!(
        String::from_utf8_lossy(&printed.stdout) == page,
        "docs/api.md is not what `strongroom api reference` prints: run it again"
    );
}

#[tokio::test]
async fn the_openapi_document_is_served_to_everybody_and_names_every_action() {
    let appliance = Appliance::running().await;
    let reply = Connection::open(&appliance).await.send(&Request::new("GET", "/openapi.json")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8");
    let served = reply.json();
    let printed = strongroom(&["api", "openapi"]);
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), served);

    let paths = served["paths"].as_object().unwrap();
    assert_eq!(paths.len(), describe::all().len());
    for action in describe::all() {
        let operation = &paths[&format!("/#{}", action.name)]["post"];
        assert_eq!(operation["operationId"], action.name);
        assert_eq!(operation["parameters"][0]["schema"]["const"], action.name);
        let form = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
        for parameter in action.parameters.iter().filter(|p| !p.is_repeated()) {
            assert!(form["properties"].get(parameter.name).is_some(), "{} {}", action.name, parameter.name);
        }
        assert!(operation["responses"]["403"].is_object(), "{} can be denied", action.name);
    }
}
