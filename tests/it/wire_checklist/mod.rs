//! The fifteen things that are easy to get wrong (kms-secrets.md section 0),
//! one test each, named by its number; then section 2 by its parts, as far as
//! `bad_requests`, `transport` and `signature_vectors` do not have it. Point 15,
//! the spellings of UpdateSecret, is in `secrets_api::ecs`.

mod protocol;
mod signers;

use strongroom::api::actions::{Service, TABLE};
use strongroom::api::describe;

use self::signers::{Draft, FORM, Scheme};
use crate::authorisation::{borrowed, sound_call};
use crate::harness::wire::encode;
use crate::harness::{AccessKey, Appliance, Connection, Reply, Request};

const KMS: &str = "2016-01-20";

async fn send(appliance: &Appliance, request: &Request) -> Reply {
    Connection::open(appliance).await.send(request).await
}

async fn served(appliance: &Appliance, request: &Request) -> serde_json::Value {
    let reply = send(appliance, request).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()
}

fn acs3(appliance: &Appliance, action: &str) -> Draft {
    Draft::new(appliance, Scheme::Acs3Sha256, appliance.admin_key(), action, KMS)
}

fn wrong(key: &AccessKey) -> AccessKey {
    AccessKey { secret: "wrong".to_owned(), ..key.clone() }
}

#[tokio::test]
async fn point_1_the_action_is_in_the_header_with_acs3_and_in_the_parameters_with_v1() {
    let appliance = Appliance::running().await;
    for scheme in Scheme::ALL {
        let others = [("Action", "DeleteSecret"), ("Version", "2015-05-01"), ("Format", "json")];
        let request =
            Draft::new(&appliance, scheme, appliance.admin_key(), "ListSecrets", KMS).query(&others);
        assert!(served(&appliance, &request.sign()).await["SecretList"].is_object(), "{scheme:?}");
        let mut without = Draft::new(&appliance, scheme, appliance.admin_key(), "ListSecrets", KMS)
            .query(&[("Action", "ListSecrets"), ("Version", KMS)]);
        without.headers.remove("x-acs-action");
        assert_eq!(send(&appliance, &without.sign()).await.code(), "MissingParameter");
    }
    let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).query("POST");
    let agreeing = v1.header("x-acs-action", "ListSecrets").header("x-acs-version", KMS);
    assert!(served(&appliance, &agreeing).await["SecretList"].is_object());
    // Headers are not signed with V1: nothing hangs on them.
    let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).query("POST");
    let other = v1.header("x-acs-action", "DeleteSecret").header("x-acs-version", "2015-05-01");
    assert!(served(&appliance, &other).await["SecretList"].is_object());
}

#[tokio::test]
async fn point_2_every_action_takes_its_parameters_from_query_and_body() {
    let appliance = Appliance::running().await;
    // Parameters are read before rights: who may nothing learns that they are good.
    let nobody = appliance.user_with(&[]).await;
    let mut connection = Connection::open(&appliance).await;
    for row in TABLE {
        let (name, version) = (row.spec.name, row.spec.service.version());
        let call = sound_call(name);
        let call = borrowed(&call);
        let (some, others) = call.split_at(call.len() / 2);
        let draft = |scheme| Draft::new(&appliance, scheme, nobody.key(), name, version);
        let v1 = || Request::v1(nobody.key(), name, version, &call);
        let mut requests = vec![
            ("V1 query GET", v1().query("GET")),
            ("V1 query POST", v1().query("POST")),
            ("V1 form", v1().form()),
            ("ACS3 GET", Draft { method: "GET", ..draft(Scheme::Acs3Sha256).query(&call) }.sign()),
            ("ACS3 query and form", draft(Scheme::Acs3Sha256).query(some).form(others).sign()),
        ];
        for scheme in Scheme::ALL {
            requests.push(("query", draft(scheme).query(&call).sign()));
            requests.push(("form", draft(scheme).form(&call).sign()));
        }
        for (place, request) in requests {
            let reply = connection.send(&request).await;
            let allowed_to_all = reply.status == 200 && call.is_empty();
            // A batch is refused item by item.
            let item = &reply.json()["Errors"][0]["Code"];
            assert!(
                reply.code().ends_with("NoPermission") || allowed_to_all || item == "Forbidden.NoPermission",
                "{name} {place}: {}",
                reply.json()
            );
        }
        // Without them it is another answer, so that they were read each time.
        let described = describe::all().iter().find(|d| d.name == name).unwrap();
        if described.parameters.iter().any(|parameter| parameter.required) {
            let reply = connection.send(&draft(Scheme::Acs3Sha256).sign()).await;
            assert_eq!(reply.code(), "MissingParameter", "{name}: {}", reply.json());
        }
    }
}

#[tokio::test]
async fn point_3_no_request_target_is_logged() {
    const MARKER: &str = "Canary-7Kq2";
    let appliance = Appliance::running().await;
    let parameters = [("SecretName", "db"), ("VersionId", "v1"), ("SecretData", MARKER)];
    let admin = appliance.admin_key();
    let long = "x".repeat(70_000);
    let too_long = [&parameters[..], &[("Description", long.as_str())]].concat();
    for (request, status) in [
        (Request::v1(admin, "CreateSecret", KMS, &parameters).query("POST"), 200),
        (Request::v1(admin, "CreateSecret", KMS, &parameters).query("GET"), 409),
        (Request::v1(&wrong(admin), "CreateSecret", KMS, &parameters).query("POST"), 400),
        (acs3(&appliance, "CreateSecret").query(&parameters).sign(), 409),
        (Request::v1(admin, "CreateSecret", KMS, &parameters).query("PATCH"), 403),
        (Request::v1(admin, "CreateSecret", KMS, &too_long).query("POST"), 414),
    ] {
        assert_eq!(send(&appliance, &request).await.status, status);
    }
    let log = appliance.log();
    for part in [MARKER, "SecretData=", "Signature=", "/?"] {
        assert!(!log.contains(part), "{part} is in the log: {log}");
    }
}

#[tokio::test]
async fn point_4_booleans_are_read_whatever_the_case_of_their_letters() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for (number, spelling) in ["True", "true", "TRUE", "tRuE"].into_iter().enumerate() {
        let name = format!("s-{number}");
        admin.create_secret(&name, "x").await;
        let answer = admin
            .ok("DeleteSecret", &[("SecretName", &name), ("ForceDeleteWithoutRecovery", spelling)])
            .await;
        assert_eq!(answer["SecretName"], name.as_str());
        // Gone at once, and not kept for some days.
        assert_eq!(admin.refused("DescribeSecret", &[("SecretName", &name)]).await.0, 404, "{spelling}");
    }
    admin.create_secret("kept", "x").await;
    for spelling in ["False", "false", "FALSE"] {
        admin.ok("DeleteSecret", &[("SecretName", "kept"), ("ForceDeleteWithoutRecovery", spelling)]).await;
        admin.ok("RestoreSecret", &[("SecretName", "kept")]).await;
    }
    for spelling in ["", "1", "yes", "True "] {
        let refused = admin
            .refused("DeleteSecret", &[("SecretName", "kept"), ("ForceDeleteWithoutRecovery", spelling)])
            .await;
        assert_eq!(refused, (400, "InvalidParameter".to_owned()), "{spelling:?}");
    }
}

#[tokio::test]
async fn point_5_the_query_is_decoded_and_encoded_anew_before_it_is_signed() {
    let appliance = Appliance::running().await;
    let text = "it's (a) *test*! ~ 50% + é=&中";
    let spellings: [fn(&str) -> String; 4] = [
        |text| encode(text),
        |text| encode(text).replace("%20", "+"),
        |text| {
            encode(text)
                .replace("%27", "'")
                .replace("%28", "(")
                .replace("%29", ")")
                .replace("%2A", "*")
                .replace("%21", "!")
        },
        |text| encode(text).replace('~', "%7E").replace("%C3", "%c3").replace("test", "%74est"),
    ];
    for (number, spelling) in spellings.into_iter().enumerate() {
        for scheme in ["V1", "ACS3"] {
            let name = format!("{scheme}-{number}");
            let parameters = [
                ("SecretName", name.as_str()),
                ("VersionId", "v1"),
                ("SecretData", text),
                ("Description", text),
            ];
            let mut request = match scheme {
                "V1" => Request::v1(appliance.admin_key(), "CreateSecret", KMS, &parameters).query("POST"),
                _ => acs3(&appliance, "CreateSecret").query(&parameters).sign(),
            };
            request.target = request.target.replace(&encode(text), &spelling(text));
            served(&appliance, &request).await;
            let admin = appliance.admin();
            assert_eq!(admin.value(&name).await, text, "{name}");
            let described = admin.ok("DescribeSecret", &[("SecretName", &name)]).await;
            assert_eq!(described["Description"], text, "{name}");
        }
    }
}

#[tokio::test]
async fn point_6_exactly_the_headers_are_signed_that_the_client_names() {
    let appliance = Appliance::running().await;
    for scheme in Scheme::ALL {
        let node = Draft::new(&appliance, scheme, appliance.admin_key(), "ListSecrets", KMS);
        let python = node
            .clone()
            .header("x-acs-signature-nonce", &crate::harness::wire::nonce())
            .header("accept", "application/json")
            .header("user-agent", "AlibabaCloud (Linux; x86_64) Python/3.11 Core/1.0.9 TeaDSL/2")
            .header("x-acs-credentials-provider", "static_ak");
        served(&appliance, &node.sign().header("accept", "*/*").header("user-agent", "node")).await;
        let mut python = python.sign();
        served(&appliance, &python).await;
        // A signed header counts, whichever it is.
        for (_, value) in python.headers.iter_mut().filter(|(name, _)| name == "accept") {
            "text/plain".clone_into(value);
        }
        assert_eq!(send(&appliance, &python).await.code(), "SignatureDoesNotMatch", "{scheme:?}");
    }
}

#[tokio::test]
async fn point_7_a_chunked_body_is_signed_like_any_other() {
    let appliance = Appliance::running().await;
    for (number, scheme) in Scheme::ALL.into_iter().enumerate() {
        let name = format!("s-{number}");
        let form = [("SecretName", name.as_str()), ("VersionId", "v1"), ("SecretData", "chunked")];
        let draft = Draft::new(&appliance, scheme, appliance.admin_key(), "CreateSecret", KMS).form(&form);
        let mut request = draft.sign().header("transfer-encoding", "chunked");
        let (first, second) = request.body.split_at(11);
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        request.body = [chunk(first), chunk(second), b"0\r\n\r\n".to_vec()].concat();
        served(&appliance, &request).await;
        assert_eq!(appliance.admin().value(&name).await, "chunked");
    }
}

#[tokio::test]
async fn point_8_an_empty_body_may_say_that_it_is_a_form() {
    let appliance = Appliance::running().await;
    appliance.admin().create_secret("db", "one").await;
    for content_type in [FORM, "application/x-www-form-urlencoded; charset=utf-8", "application/json", ""] {
        let draft = acs3(&appliance, "GetSecretValue").query(&[("SecretName", "db")]);
        let answer = served(&appliance, &draft.header("content-type", content_type).sign()).await;
        assert_eq!(answer["SecretData"], "one", "{content_type}");
    }
    let v1 = Request::v1(appliance.admin_key(), "GetSecretValue", KMS, &[("SecretName", "db")]);
    served(&appliance, &v1.query("POST").header("content-type", FORM)).await;
    // Without a length too: there is no body then.
    let v1 = Request::v1(appliance.admin_key(), "GetSecretValue", KMS, &[("SecretName", "db")]);
    served(&appliance, &v1.query("GET").header("content-type", FORM)).await;
}

#[tokio::test]
async fn point_9_an_empty_signature_type_is_part_of_what_is_signed() {
    let appliance = Appliance::running().await;
    let v1 = || Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).set("RegionId", "cn-hangzhou");
    served(&appliance, &v1().set("SignatureType", "").query("POST")).await;
    let mut added = v1().query("POST");
    added.target.push_str("&SignatureType=");
    assert_eq!(send(&appliance, &added).await.code(), "SignatureDoesNotMatch");
    let mut removed = v1().set("SignatureType", "").query("POST");
    removed.target = removed.target.replace("&SignatureType=", "");
    assert_eq!(send(&appliance, &removed).await.code(), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn point_10_a_wrong_signature_is_told_the_servers_string_to_sign_unless_a_secret_is_in_it() {
    const PHRASE: &str = "server string to sign is:";
    let appliance = Appliance::running().await;
    let forger = wrong(appliance.admin_key());
    let told = async |request: &Request| {
        let reply = send(&appliance, request).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "SignatureDoesNotMatch"));
        let message = reply.json()["Message"].as_str().unwrap().to_owned();
        message.split_once(PHRASE).unwrap().1.to_owned()
    };
    let v1 = Request::v1(&forger, "ListSecrets", KMS, &[("PageSize", "5")]);
    let pairs = v1.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let own = format!("POST&%2F&{}", encode(&crate::harness::wire::encode_all(pairs)));
    assert_eq!(told(&v1.query("POST")).await, own);
    for scheme in Scheme::ALL {
        let mut draft = Draft::new(&appliance, scheme, &forger, "CreateSecret", KMS)
            .query(&[("SecretName", "db"), ("SecretData", "not-shown")]);
        let request = draft.clone().sign();
        draft.headers.extend(request.headers.iter().filter(|(n, _)| n.starts_with("x-acs-content")).cloned());
        assert_eq!(told(&request).await, draft.string_to_sign().0, "{scheme:?}");
    }
    for name in ["SecretData", "Plaintext", "CiphertextBlob"] {
        let v1 = Request::v1(&forger, "CreateSecret", KMS, &[(name, "not-shown")]);
        assert_eq!(told(&v1.query("POST")).await, "redacted", "{name}");
        assert_eq!(told(&v1.form()).await, "redacted", "{name}");
    }
}

#[tokio::test]
async fn point_11_every_error_is_json_with_code_message_and_request_id() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin_key();
    let v1 = |action: &str| Request::v1(admin, action, KMS, &[]).query("POST");
    let long = format!("/?a={}", "a".repeat(66_000));
    for (request, status) in [
        (Request::new("POST", "/"), 400),
        (v1("Nothing"), 404),
        (Request::new("GET", "/favicon.ico"), 404),
        (Request::new("GET", "//"), 404),
        (Request::v1(admin, "ListSecrets", KMS, &[]).query("PUT"), 403),
        (Request::new("POST", "/").header("content-type", FORM).body(vec![b'a'; 300_000]), 413),
        (Request::new("GET", &long), 414),
        (v1("ListSecrets").header("x-fill", &"f".repeat(600_000)), 431),
        (Request::new("POST", "/").header("content-length", "x"), 400),
    ] {
        let reply = send(&appliance, &request).await;
        let answer = reply.json();
        assert_eq!(reply.status, status, "{answer}");
        assert_eq!(answer["HttpStatus"], status, "{answer}");
        for member in ["Code", "Message", "RequestId", "HostId", "Recommend"] {
            assert!(answer[member].is_string(), "{member}: {answer}");
        }
        assert_eq!(answer["RequestId"], reply.request_id());
        assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["content-length"], reply.body.len().to_string());
    }
}

#[tokio::test]
async fn point_12_a_list_without_items_is_there_and_empty() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let mut seen = 0;
    for (action, parameters, wrapper, items) in [
        ("ListSecrets", &[][..], "SecretList", "Secret"),
        ("ListSecretVersionIds", &[("SecretName", "db"), ("PageNumber", "9")], "VersionIds", "VersionId"),
        ("DescribeSecret", &[("SecretName", "db"), ("FetchTags", "true")], "Tags", "Tag"),
        ("ListKeys", &[], "Keys", "Key"),
        ("ListAliases", &[], "Aliases", "Alias"),
        (
            "ListTagResources",
            &[("RegionId", "cn-hangzhou"), ("ResourceType", "secret"), ("ResourceId.1", "db")],
            "TagResources",
            "TagResource",
        ),
    ] {
        if !TABLE.iter().any(|row| row.spec.name == action) {
            continue;
        }
        let answer = admin.ok(action, parameters).await;
        assert_eq!(answer[wrapper][items], serde_json::json!([]), "{action}: {answer}");
        if seen == 0 {
            admin.create_secret("db", "one").await;
        }
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn point_13_extended_config_and_policy_are_texts_that_contain_json() {
    fn walk(name: &str, schema: &serde_json::Value, seen: &mut Vec<String>) {
        for (member, inner) in schema["properties"].as_object().into_iter().flatten() {
            if member == "ExtendedConfig" || (member == "Policy" && !inner["properties"].is_object()) {
                assert_eq!(inner["type"], "string", "{name}.{member}");
                assert_eq!(inner["contentMediaType"], "application/json", "{name}.{member}");
                seen.push(name.to_owned());
            }
            walk(name, inner, seen);
        }
        if schema["items"].is_object() {
            walk(name, &schema["items"], seen);
        }
    }
    // Each answer of every test is held to its description.
    let mut seen = Vec::new();
    for described in describe::all().iter().filter(|d| d.service == Service::Kms) {
        walk(described.name, &described.answer_schema(), &mut seen);
    }
    for action in ["CreateSecret", "DescribeSecret", "GetSecretValue"] {
        assert!(seen.iter().any(|name| name == action), "{action} of {seen:?}");
    }
}

#[tokio::test]
async fn point_14_a_long_value_is_refused_in_the_query_and_taken_in_the_body() {
    let appliance = Appliance::running().await;
    // 30,720 bytes, of which each becomes three.
    let value = "/".repeat(30_720);
    let parameters = [("SecretName", "long"), ("VersionId", "v1"), ("SecretData", value.as_str())];
    let request = Request::v1(appliance.admin_key(), "CreateSecret", KMS, &parameters).query("POST");
    let reply = send(&appliance, &request).await;
    let answer = reply.json();
    assert_eq!((reply.status, answer["Code"].as_str()), (414, Some("RequestURITooLong")), "{answer}");
    assert!(answer["Message"].as_str().unwrap().contains("body"), "it says what to do: {answer}");
    served(&appliance, &acs3(&appliance, "CreateSecret").form(&parameters).sign()).await;
    assert_eq!(appliance.admin().value("long").await, value);
    // The longest target that is read, and one byte more.
    let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]);
    let shortest = v1.set("Padding", "").query("GET").target.len();
    for (length, status) in [(60_000, 200), (65_534 - shortest - 60, 200), (65_600, 414)] {
        let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[("Padding", &"x".repeat(length))]);
        assert_eq!(send(&appliance, &v1.query("GET")).await.status, status, "{length}");
    }
}
