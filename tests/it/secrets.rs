//! The life of a Generic secret, through the API of a served vault.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Appliance, Client, Connection, Request, secret_arn};

const KMS: &str = "2016-01-20";

/// The versions of a secret with their stages, newest first.
async fn versions(client: &Client, name: &str) -> Vec<(String, Vec<String>)> {
    let parameters = [("SecretName", name), ("IncludeDeprecated", "true"), ("PageSize", "100")];
    let answer = client.ok("ListSecretVersionIds", &parameters).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = answer["VersionIds"]["VersionId"].as_array().unwrap();
    list.iter()
        .map(|v| {
            let stages = v["VersionStages"]["VersionStage"].as_array().unwrap();
            (text(&v["VersionId"]), stages.iter().map(text).collect())
        })
        .collect()
}

fn stages(of: &[&str]) -> Vec<String> {
    of.iter().map(|stage| (*stage).to_owned()).collect()
}

#[tokio::test]
async fn both_schemes_work_by_get_and_post_in_query_and_form() {
    let appliance = Appliance::running().await;
    let key = appliance.admin_key();
    let value = "p ü+&=%*'()!~\n\"\\{}";
    let mut connection = Connection::open(&appliance).await;
    let mut made = Vec::new();
    for way in ["v1 query post", "v1 query get", "v1 form", "acs3 form", "acs3 query get", "acs3 both"] {
        let name = format!("way/{}", way.replace(' ', "-"));
        for (action, extra) in
            [("CreateSecret", &[("VersionId", "v1"), ("SecretData", value)][..]), ("GetSecretValue", &[])]
        {
            let parameters = [&[("SecretName", name.as_str())], extra].concat();
            let v1 = || Request::v1(key, action, KMS, &parameters);
            let request = match way {
                "v1 query post" => v1().query("POST"),
                "v1 query get" => v1().query("GET"),
                "v1 form" => v1().form(),
                "acs3 form" => Request::acs3(&appliance, key, action, KMS, &parameters).sign(),
                "acs3 query get" => {
                    let mut request = Request::acs3(&appliance, key, action, KMS, &[]);
                    request.method = "GET";
                    parameters.iter().fold(request, |request, (n, v)| request.query(n, v)).sign()
                }
                _ => Request::acs3(&appliance, key, action, KMS, extra).query("SecretName", &name).sign(),
            };
            let reply = connection.send(&request).await;
            assert_eq!(reply.status, 200, "{way} {action}: {}", reply.json());
            let answer = reply.json();
            assert_eq!(reply.request_id(), answer["RequestId"].as_str().unwrap());
            assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8");
            assert_eq!(reply.headers["cache-control"], "no-store");
            assert_eq!(answer["SecretName"], *name);
            if action == "GetSecretValue" {
                assert_eq!(answer["SecretData"], value, "{way}");
            } else {
                assert_eq!(answer["Arn"], secret_arn(&name));
                assert_eq!(answer["SecretType"], "Generic");
            }
        }
        made.push(name);
    }
    for name in made {
        assert_eq!(appliance.admin().value(&name).await, value);
    }
}

#[tokio::test]
async fn a_new_value_becomes_current_and_the_one_before_previous() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let put = |version: &'static str, data: &'static str| {
        [("SecretName", "db"), ("VersionId", version), ("SecretData", data)]
    };
    for (version, data) in [("v2", "two"), ("v3", "three")] {
        let answer = admin.ok("PutSecretValue", &put(version, data)).await;
        assert_eq!(answer["VersionStages"]["VersionStage"], serde_json::json!(["ACSCurrent"]));
    }
    let get = async |more: &[(&str, &str)]| {
        admin.call("GetSecretValue", &[&[("SecretName", "db")], more].concat()).await
    };
    for (more, wanted) in [
        (&[][..], "three"),
        (&[("VersionStage", "ACSCurrent")], "three"),
        (&[("VersionStage", "ACSPrevious")], "two"),
        (&[("VersionId", "v1")], "one"),
        (&[("VersionId", "v2"), ("VersionStage", "ACSPrevious")], "two"),
    ] {
        assert_eq!(get(more).await.unwrap()["SecretData"], wanted, "{more:?}");
    }
    for more in [
        &[("VersionStage", "Nothing")][..],
        &[("VersionId", "v9")],
        &[("VersionId", "v2"), ("VersionStage", "ACSCurrent")],
        &[("VersionStage", "ACSPending")],
    ] {
        let refused = get(more).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (404, "Forbidden.ResourceNotFound"), "{more:?}");
    }
    let all = versions(&admin, "db").await;
    assert_eq!(
        all,
        [
            ("v3".to_owned(), stages(&["ACSCurrent"])),
            ("v2".to_owned(), stages(&["ACSPrevious"])),
            ("v1".to_owned(), stages(&[])),
        ]
    );
    // Only versions with a stage are listed unless all are asked for.
    let answer = admin.ok("ListSecretVersionIds", &[("SecretName", "db")]).await;
    assert_eq!(answer["TotalCount"], 2);
}

#[tokio::test]
async fn the_same_put_again_changes_nothing_and_another_value_is_refused() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let put = async |version: &str, data: &str, more: &[(&str, &str)]| {
        let all = [&[("SecretName", "db"), ("VersionId", version), ("SecretData", data)], more].concat();
        admin.call("PutSecretValue", &all).await
    };
    put("v2", "two", &[]).await.unwrap();
    let before = versions(&admin, "db").await;
    put("v2", "two", &[]).await.unwrap();
    put("v1", "one", &[]).await.unwrap();
    for (version, data, more) in
        [("v2", "other", &[][..]), ("v1", "two", &[]), ("v2", "two", &[("SecretDataType", "binary")])]
    {
        let refused = put(version, data, more).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (409, "Rejected.ResourceExist"));
    }
    assert_eq!(versions(&admin, "db").await, before);
}

#[tokio::test]
async fn stages_of_ones_own_move_alone() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let put = async |version: &str, stages: &str| {
        let all = [
            ("SecretName", "db"),
            ("VersionId", version),
            ("SecretData", version),
            ("VersionStages", stages),
        ];
        admin.call("PutSecretValue", &all).await
    };
    put("v2", r#"["Blue"]"#).await.unwrap();
    assert_eq!(admin.value("db").await, "one");
    put("v3", r#"{"VersionStage":["ACSCurrent","Blue"]}"#).await.unwrap();
    let all = versions(&admin, "db").await;
    assert_eq!(all[0].1.iter().collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(all[1], ("v2".to_owned(), stages(&[])));
    assert_eq!(all[2], ("v1".to_owned(), stages(&["ACSPrevious"])));
    for bad in [
        r#"["ACSPrevious"]"#,
        r#"["ACSPending"]"#,
        "[]",
        "x",
        r#"["a b"]"#,
        r#"["1","2","3","4","5","6","7","8","9"]"#,
    ] {
        assert_eq!(put("v4", bad).await.unwrap_err().code, "InvalidParameter", "{bad}");
    }
    assert_eq!(versions(&admin, "db").await.len(), 3);
}

#[tokio::test]
async fn the_eleventh_version_pushes_out_the_oldest_without_a_stage() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "1").await;
    let keep = [
        ("SecretName", "db"),
        ("VersionId", "kept"),
        ("SecretData", "kept"),
        ("VersionStages", r#"["Keep"]"#),
    ];
    admin.ok("PutSecretValue", &keep).await;
    for number in 2..=15 {
        let (version, value) = (format!("v{number}"), number.to_string());
        admin
            .ok("PutSecretValue", &[("SecretName", "db"), ("VersionId", &version), ("SecretData", &value)])
            .await;
    }
    let all: Vec<String> = versions(&admin, "db").await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(all, ["v15", "v14", "v13", "v12", "v11", "v10", "v9", "v8", "v7", "kept"]);
    assert_eq!(admin.value("db").await, "15");
    let gone = [("SecretName", "db"), ("VersionId", "v2")];
    assert_eq!(admin.refused("GetSecretValue", &gone).await.0, 404);
    let database = rusqlite::Connection::open(appliance.database()).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM versions", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 10, "what was pushed out is gone from the database too");

    // With a stage on each there is none to push out.
    for number in 0..8 {
        let (version, stage) = (format!("s{number}"), format!(r#"["S{number}"]"#));
        let all =
            [("SecretName", "db"), ("VersionId", &*version), ("SecretData", "s"), ("VersionStages", &*stage)];
        let result = admin.call("PutSecretValue", &all).await;
        if number < 7 {
            result.unwrap();
        } else {
            assert_eq!(result.unwrap_err().code, "Rejected.LimitExceeded");
        }
    }
    assert_eq!(admin.value("db").await, "15");
}

#[tokio::test]
async fn secrets_are_listed_by_name_in_pages_with_their_tags() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    for number in (0..7).rev() {
        let name = format!("s{number}");
        let tags = format!(r#"[{{"TagKey":"n","TagValue":"{number}"}}]"#);
        let all = [("SecretName", &*name), ("VersionId", "v1"), ("SecretData", "x"), ("Tags", &*tags)];
        admin.ok("CreateSecret", &all).await;
    }
    let page = async |number: &str, size: &str| {
        let answer = admin
            .ok("ListSecrets", &[("PageNumber", number), ("PageSize", size), ("FetchTags", "True")])
            .await;
        assert_eq!(answer["TotalCount"], 7);
        answer["SecretList"]["Secret"].as_array().unwrap().clone()
    };
    let names = |page: &[Value]| {
        page.iter().map(|s| s["SecretName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&page("1", "3").await), ["s0", "s1", "s2"]);
    assert_eq!(names(&page("3", "3").await), ["s6"]);
    assert!(page("4", "3").await.is_empty());
    assert_eq!(page("1", "1").await[0]["Tags"]["Tag"][0]["TagValue"], "0");
    assert_eq!(names(&page("1", "100").await).len(), 7);
    let described = admin.ok("DescribeSecret", &[("SecretName", "s3"), ("FetchTags", "true")]).await;
    assert_eq!(described["Tags"]["Tag"], serde_json::json!([{"TagKey": "n", "TagValue": "3"}]));
    assert!(admin.ok("DescribeSecret", &[("SecretName", "s3")]).await.get("Tags").is_none());
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_in_its_window_and_keeps_its_name_until_then() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let named = [("SecretName", "db")];
    admin.create_secret("db", "one").await;
    assert_eq!(admin.refused("RestoreSecret", &named).await, (409, "Rejected.ResourceInUse".to_owned()));
    let deleted = admin.ok("DeleteSecret", &[("SecretName", "db"), ("RecoveryWindowInDays", "7")]).await;
    let planned = deleted["PlannedDeleteTime"].as_str().unwrap();
    assert_eq!(planned.len(), "2024-05-13T07:08:09Z".len());

    let in_window = (409, "Rejected.ResourceInDeleteWindow".to_owned());
    assert_eq!(admin.refused("GetSecretValue", &named).await, in_window);
    let put = [("SecretName", "db"), ("VersionId", "v2"), ("SecretData", "two")];
    assert_eq!(admin.refused("PutSecretValue", &put).await, in_window);
    assert_eq!(admin.refused("CreateSecret", &put).await, in_window);
    assert_eq!(admin.refused("DeleteSecret", &named).await, in_window);
    assert_eq!(admin.ok("DescribeSecret", &named).await["PlannedDeleteTime"], planned);
    assert_eq!(admin.ok("ListSecrets", &[]).await["SecretList"]["Secret"][0]["PlannedDeleteTime"], planned);

    admin.ok("RestoreSecret", &named).await;
    assert_eq!(admin.value("db").await, "one");
    assert!(admin.ok("DescribeSecret", &named).await.get("PlannedDeleteTime").is_none());

    // At once, also when it is scheduled already; then the name is free.
    admin.ok("DeleteSecret", &named).await;
    admin.ok("DeleteSecret", &[("SecretName", "db"), ("ForceDeleteWithoutRecovery", "TRUE")]).await;
    let missing = (404, "Forbidden.ResourceNotFound".to_owned());
    for action in
        ["GetSecretValue", "DescribeSecret", "RestoreSecret", "DeleteSecret", "ListSecretVersionIds"]
    {
        assert_eq!(admin.refused(action, &named).await, missing, "{action}");
    }
    admin.create_secret("db", "another").await;
    assert_eq!(admin.value("db").await, "another");
}

#[tokio::test]
async fn a_secret_goes_by_its_arn_and_by_no_other_spelling() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("a/b", "one").await;
    assert_eq!(admin.value(&secret_arn("a/b")).await, "one");
    for arn in [
        "acs:kms:cn-beijing:1234567890123456:secret/a/b",
        "acs:kms:cn-hangzhou:9999999999999999:secret/a/b",
        "acs:kms:cn-hangzhou:1234567890123456:key/a/b",
    ] {
        let answer = admin.refused("GetSecretValue", &[("SecretName", arn)]).await;
        assert_eq!(answer, (404, "Forbidden.ResourceNotFound".to_owned()), "{arn}");
    }
    for other in ["A/B", "a/b.", "a/b-"] {
        assert_eq!(admin.refused("GetSecretValue", &[("SecretName", other)]).await.0, 404, "{other}");
    }
    for bad in ["a//b", "a/b/", "/a/b", "a/./b", "a/../b", "a b", "a\u{0}b", "ａ/b", "a*b", "a%2fb", "ä"] {
        let answer = admin.refused("GetSecretValue", &[("SecretName", bad)]).await;
        assert_eq!(answer, (400, "InvalidParameter".to_owned()), "{bad:?}");
    }
}

#[tokio::test]
async fn values_up_to_the_limit_come_back_byte_for_byte() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let long = "é".repeat(15_360);
    for (name, value) in
        [("long", long.as_str()), ("escapes", "\u{0}\u{1}\u{7f}\"\\/\u{2028}\u{10ffff}"), ("one", "x")]
    {
        admin.create_secret(name, value).await;
        assert_eq!(admin.value(name).await, value);
    }
    let parameters = [("SecretName", "longer"), ("VersionId", "v1"), ("SecretData", &*format!("{long}x"))];
    assert_eq!(admin.refused("CreateSecret", &parameters).await, (400, "InvalidParameter".to_owned()));
    // Old SDKs send even the longest value in the query.
    let key = appliance.admin_key();
    let query = [("SecretName", "query"), ("VersionId", "v1"), ("SecretData", &*"a".repeat(30_720))];
    let mut connection = Connection::open(&appliance).await;
    let reply = connection.send(&Request::v1(key, "CreateSecret", KMS, &query).query("POST")).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(admin.value("query").await.len(), 30_720);
}

#[tokio::test]
async fn writers_at_once_lose_nothing_and_readers_see_whole_values() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "v1").await;
    let put = async |writer: usize| {
        let client = appliance.admin();
        let version = format!("w{writer}");
        let parameters = [("SecretName", "db"), ("VersionId", &*version), ("SecretData", &*version)];
        client.ok("PutSecretValue", &parameters).await;
        // Everybody reads what was written, by themselves or later by another.
        let read = client.ok("GetSecretValue", &[("SecretName", "db"), ("VersionId", &version)]).await;
        assert_eq!(read["SecretData"], *version);
        let current = client.ok("GetSecretValue", &[("SecretName", "db")]).await;
        assert_eq!(current["SecretData"], current["VersionId"]);
    };
    let (a, b, c, d) = (put(0), put(1), put(2), put(3));
    tokio::join!(a, b, c, d, put(4), put(5), put(6), put(7));
    let all = versions(&admin, "db").await;
    assert_eq!(all.len(), 9);
    assert_eq!(all.iter().filter(|(_, stages)| stages.iter().any(|s| s == "ACSCurrent")).count(), 1);
    assert_eq!(all.iter().filter(|(_, stages)| stages.iter().any(|s| s == "ACSPrevious")).count(), 1);
}

#[tokio::test]
async fn random_passwords_keep_to_every_option() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let password = async |options: &[(&str, &str)]| {
        let answer = admin.ok("GetRandomPassword", options).await;
        answer["RandomPassword"].as_str().unwrap().to_owned()
    };
    let usual = password(&[]).await;
    assert_eq!(usual.len(), 32);
    for class in [
        char::is_lowercase as fn(char) -> bool,
        char::is_uppercase,
        |c| c.is_ascii_digit(),
        |c| c.is_ascii_punctuation(),
    ] {
        assert!(usual.contains(class), "one of each class: {usual}");
    }
    assert_ne!(usual, password(&[]).await);
    assert_eq!(password(&[("PasswordLength", "8")]).await.len(), 8);
    assert_eq!(password(&[("PasswordLength", "128")]).await.len(), 128);
    let digits = [("ExcludeLowercase", "true"), ("ExcludeUppercase", "True"), ("ExcludePunctuation", "true")];
    assert!(password(&digits).await.bytes().all(|b| b.is_ascii_digit()));
    let plain = password(&[
        ("ExcludePunctuation", "true"),
        ("ExcludeCharacters", "abc0O1l"),
        ("PasswordLength", "128"),
    ])
    .await;
    assert!(plain.chars().all(|c| c.is_ascii_alphanumeric() && !"abc0O1l".contains(c)), "{plain}");
    assert_eq!(password(&[("RequireEachIncludedType", "false")]).await.len(), 32);
    let nothing = [&digits[..], &[("ExcludeNumbers", "true")]].concat();
    for bad in [&nothing[..], &[("PasswordLength", "7")], &[("PasswordLength", "129")]] {
        assert_eq!(
            admin.refused("GetRandomPassword", bad).await,
            (400, "InvalidParameter".to_owned()),
            "{bad:?}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_gives_no_data() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    admin.create_secret("db", "Marker1").await;
    let refused =
        admin.call("GetSecretValue", &[("SecretName", "db"), ("DryRun", "true")]).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "DryRunOperationError"));
    assert!(!refused.message.contains("Marker1"));
}
