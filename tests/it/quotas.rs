//! How many secrets there may be, and how often a principal may call
//! (docs/quotas.md).

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::wire::nonce;
use crate::harness::{AccessKey, Appliance, Client, Connection, Reply, Request, eventually, policy};

const KMS: &str = "2016-01-20";

async fn with_quotas(settings: &str) -> Appliance {
    let mut appliance = Appliance::new();
    appliance.configure(|text| text.push_str(settings));
    appliance.start().await;
    appliance
}

async fn reader(appliance: &Appliance) -> Client {
    appliance.user_with(&[policy("Allow", &["kms:*"], &["*"])]).await
}

fn read(key: &AccessKey, name: &str) -> Request {
    Request::v1(key, "GetSecretValue", KMS, &[("SecretName", name)]).query("GET")
}

/// The milliseconds that a throttled call was told to wait.
fn told_to_wait(reply: &Reply) -> u64 {
    let answer = reply.json();
    assert_eq!((reply.status, answer["Code"].as_str()), (429, Some("Rejected.Throttling")), "{answer}");
    assert_eq!(answer["HttpStatus"], 429);
    assert!(answer["Message"].as_str().unwrap().contains("quota"), "{answer}");
    let millis: u64 = reply.headers["x-acs-retry-after"].parse().unwrap();
    let seconds: u64 = reply.headers["retry-after"].parse().unwrap();
    assert!((1..=1_000).contains(&millis), "{millis}");
    assert_eq!(seconds, millis.div_ceil(1_000));
    millis
}

#[tokio::test]
async fn no_burst_gets_through_and_who_waits_as_told_is_served() {
    const RATE: u32 = 4;
    const CALLS: usize = 120;
    let appliance = with_quotas(&format!("\n[quotas.per_second]\nread_secrets = {RATE}\n")).await;
    appliance.admin().create_secret("db", "one").await;
    let (greedy, modest) = (reader(&appliance).await, reader(&appliance).await);

    let since = Instant::now();
    let worker = async |calls: usize| {
        let mut connection = Connection::open(&appliance).await;
        let mut served = 0;
        for _ in 0..calls {
            let reply = connection.send(&read(greedy.key(), "db")).await;
            if reply.status == 200 {
                served += 1;
            } else {
                told_to_wait(&reply);
            }
        }
        served
    };
    let quarter = CALLS / 4;
    let served = tokio::join!(worker(quarter), worker(quarter), worker(quarter), worker(quarter));
    let served = served.0 + served.1 + served.2 + served.3;
    let most = f64::from(RATE) * (1.0 + since.elapsed().as_secs_f64());
    assert!(f64::from(served) <= most, "{served} calls of at most {most} were let through");
    assert!(served >= RATE, "{served}");

    // Neither another class nor another principal pays for it.
    greedy.ok("ListSecrets", &[]).await;
    modest.ok("GetSecretValue", &[("SecretName", "db")]).await;

    // Alone, the first try after the time told succeeds.
    let mut connection = Connection::open(&appliance).await;
    let mut waits = 0;
    while waits < 3 {
        let reply = connection.send(&read(greedy.key(), "db")).await;
        if reply.status == 200 {
            continue;
        }
        waits += 1;
        // What is tested is the time itself.
        tokio::time::sleep(Duration::from_millis(told_to_wait(&reply))).await;
        let again = connection.send(&read(greedy.key(), "db")).await;
        assert_eq!(again.status, 200, "{}", again.json());
    }
}

#[tokio::test]
async fn a_throttled_call_is_on_record_and_a_flood_of_them_is_counted() {
    let appliance = with_quotas("\n[quotas.per_second]\nGetSecretValue = 1\n").await;
    appliance.admin().create_secret("db", "one").await;
    let greedy = reader(&appliance).await;
    let mut connection = Connection::open(&appliance).await;
    let mut answers = BTreeMap::new();
    let since = Instant::now();
    for _ in 0..200 {
        let reply = connection.send(&read(greedy.key(), "db")).await;
        answers.insert(reply.request_id(), reply.status);
    }
    let throttled = answers.values().filter(|status| **status == 429).count();
    // A record more a second: one of them tells what had none.
    let counted = eventually("the record that tells of the others", async || {
        let reply = connection.send(&read(greedy.key(), "db")).await;
        let record = appliance.audit_of(&reply.request_id()).pop()?;
        record["additionalEventData"]["suppressedCount"].as_u64()
    })
    .await;
    let records: Vec<_> = appliance
        .audit_events()
        .into_iter()
        .filter(|e| answers.get(e["requestId"].as_str().unwrap()) == Some(&429))
        .collect();
    let most = 22 + since.elapsed().as_secs();
    assert!(records.len() as u64 <= most, "{} records of {most}", records.len());
    assert!(records.len() >= 20);
    let told: u64 = records.iter().filter_map(|e| e["additionalEventData"]["suppressedCount"].as_u64()).sum();
    assert!(told + counted + records.len() as u64 >= throttled as u64, "{told} {counted} {throttled}");
    for record in &records {
        assert_eq!(record["errorCode"], "Rejected.Throttling");
        assert_eq!(record["eventName"], "GetSecretValue");
        assert_eq!(record["userIdentity"]["accessKeyId"], greedy.key().id.as_str());
        assert_eq!(record["userIdentity"]["type"], "ram-user");
    }
    // What was served is all there.
    for (id, _) in answers.iter().filter(|(_, status)| **status == 200) {
        assert_eq!(appliance.audit_of(id).len(), 1);
    }
    // A throttled request is used up like any other.
    let spent = read(greedy.key(), "db");
    let mut replies = Vec::new();
    for _ in 0..2 {
        replies.push(connection.send(&spent).await.code());
    }
    assert_eq!(replies[1], "SignatureNonceUsed", "{replies:?}");
}

#[tokio::test]
async fn who_cannot_sign_spends_nobodys_budget() {
    let appliance = with_quotas("\n[quotas.per_second]\nread_secrets = 1\n").await;
    appliance.admin().create_secret("db", "one").await;
    let user = reader(&appliance).await;
    let forger = AccessKey { secret: "no-such-secret".to_owned(), ..user.key().clone() };
    let mut connection = Connection::open(&appliance).await;
    for _ in 0..50 {
        assert_eq!(connection.send(&read(&forger, "db")).await.code(), "SignatureDoesNotMatch");
    }
    // The same for a request that was served before: its nonce is used.
    let once = read(user.key(), "db");
    assert_eq!(connection.send(&once).await.status, 200);
    eventually("the second is over", async || {
        assert_eq!(connection.send(&once).await.code(), "SignatureNonceUsed");
        let probe = Request::v1(user.key(), "DescribeSecret", KMS, &[("SecretName", "db")]);
        let probe = probe.set("SignatureNonce", &nonce()).query("GET");
        (connection.send(&probe).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_number_of_secrets_holds_however_many_are_created_at_once() {
    const QUOTA: usize = 6;
    let mut appliance = Appliance::new();
    appliance.configure(|text| *text = text.replace("secrets = 1000000", &format!("secrets = {QUOTA}")));
    appliance.start().await;
    let create = async |number: usize| {
        let admin = appliance.admin();
        let name = format!("s-{number}");
        admin
            .call("CreateSecret", &[("SecretName", &name), ("VersionId", "v1"), ("SecretData", "x")])
            .await
            .map_err(|refused| (refused.status, refused.code))
    };
    let four = async |first: usize| {
        let all = tokio::join!(create(first), create(first + 1), create(first + 2), create(first + 3));
        [all.0, all.1, all.2, all.3]
    };
    let all = tokio::join!(four(0), four(4), four(8), four(12));
    let all: Vec<_> = [all.0, all.1, all.2, all.3].into_iter().flatten().collect();
    let refused: Vec<_> = all.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(all.len() - refused.len(), QUOTA, "{refused:?}");
    assert!(refused.iter().all(|why| **why == (400, "Rejected.LimitExceeded".to_owned())), "{refused:?}");

    let admin = appliance.admin();
    let listed = admin.ok("ListSecrets", &[]).await;
    assert_eq!(listed["TotalCount"], QUOTA);
    let name = listed["SecretList"]["Secret"][0]["SecretName"].as_str().unwrap().to_owned();
    let version = [("SecretName", name.as_str()), ("VersionId", "v2"), ("SecretData", "y")];
    admin.ok("PutSecretValue", &version).await;
    // One that can be restored still counts; one that is gone does not.
    admin.ok("DeleteSecret", &[("SecretName", &name)]).await;
    assert!(create(90).await.is_err());
    admin.ok("RestoreSecret", &[("SecretName", &name)]).await;
    appliance.restart().await;
    let admin = appliance.admin();
    let secret = [("SecretName", "s-91"), ("VersionId", "v1"), ("SecretData", "x")];
    assert_eq!(admin.refused("CreateSecret", &secret).await, (400, "Rejected.LimitExceeded".to_owned()));
    admin.ok("DeleteSecret", &[("SecretName", &name), ("ForceDeleteWithoutRecovery", "true")]).await;
    admin.ok("CreateSecret", &secret).await;
}

#[tokio::test]
async fn throttled_calls_are_counted_for_prometheus() {
    let mut appliance = Appliance::new();
    let free = TcpListener::bind((appliance.address().ip(), 0)).unwrap();
    let metrics: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let settings = format!("\n[quotas.per_second]\nusers = 1\n[metrics]\nlisten = \"{metrics}\"\n");
    appliance.configure(|text| text.push_str(&settings));
    appliance.start().await;
    let refused =
        eventually("a call is throttled", async || appliance.admin().call("ListUsers", &[]).await.err())
            .await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "Throttling.User"));
    assert!(refused.retry_after_ms.is_some_and(|millis| (1..=1_000).contains(&millis)));
    let mut stream = TcpStream::connect(metrics).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("strongroom_throttled_calls_total{class=\"users\"} 1\n"), "{page}");
    assert!(page.contains("strongroom_throttled_calls_total{class=\"read_secrets\"} 0\n"), "{page}");
}

#[tokio::test]
async fn a_rate_for_something_that_does_not_exist_keeps_the_vault_from_starting() {
    let mut appliance = Appliance::new();
    for wrong in ["getsecretvalue = 1", "reads = 1", "read_secrets = 1000001", "read_secrets = -1"] {
        let mut before = String::new();
        appliance.configure(|text| {
            before = text.clone();
            text.push_str(&format!("\n[quotas.per_second]\n{wrong}\n"));
        });
        assert!(appliance.try_start().await.is_err(), "{wrong}");
        assert!(appliance.log().contains("quotas.per_second") || appliance.log().contains("read_secrets"));
        appliance.configure(|text| *text = before);
    }
    // None of it is a limit.
    appliance.configure(|text| text.push_str("\n[quotas.per_second]\nread_secrets = 0\n"));
    appliance.start().await;
}

#[tokio::test]
async fn as_many_versions_are_kept_as_the_quota_says() {
    let mut appliance = Appliance::new();
    appliance.configure(|text| *text = text.replace("versions = 10", "versions = 4"));
    appliance.start().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    let put = async |client: &Client, version: &str, stages: &str| {
        let call = [
            ("SecretName", "db"),
            ("VersionId", version),
            ("SecretData", version),
            ("VersionStages", stages),
        ];
        client.call("PutSecretValue", &call).await
    };
    let versions = async |client: &Client| {
        let call = [("SecretName", "db"), ("IncludeDeprecated", "true")];
        client.ok("ListSecretVersionIds", &call).await["TotalCount"].clone()
    };
    for version in ["v2", "v3", "v4", "v5", "v6"] {
        put(&admin, version, r#"["ACSCurrent"]"#).await.unwrap();
    }
    assert_eq!(versions(&admin).await, 4);
    // With a stage on each there is nothing to drop.
    for (version, stage) in [("v3", "old"), ("v4", "older")] {
        let call = [("SecretName", "db"), ("VersionStage", stage), ("MoveToVersion", version)];
        admin.ok("UpdateSecretVersionStage", &call).await;
    }
    let refused = put(&admin, "v7", r#"["new"]"#).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "Rejected.LimitExceeded"));
    assert!(refused.message.contains("4 versions"), "{}", refused.message);

    appliance.stop();
    appliance.configure(|text| *text = text.replace("versions = 4", "versions = 3"));
    assert!(appliance.try_start().await.is_err(), "three are too few for a rotation");
}
