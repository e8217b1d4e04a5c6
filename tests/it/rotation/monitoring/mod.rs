//! What operators are told of rotations: kept, listed, delivered, counted.

mod receiver;

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::receiver::{Act, Receiver};
use super::{Kind, NAME, World};
use crate::harness::{ACCOUNT, Appliance, REGION, eventually, policy, secret_arn};

const SECRET: &str = "a-secret-of-the-webhook-0123456789";
const HOUR: i64 = 3_600;

/// Restarts the vault with more settings.
async fn with_settings(world: &mut World, settings: &str) {
    world.appliance.stop();
    world.appliance.configure(|text| text.push_str(settings));
    world.appliance.start().await;
}

fn free_address(appliance: &Appliance) -> SocketAddr {
    TcpListener::bind((appliance.address().ip(), 0)).unwrap().local_addr().unwrap()
}

async fn events(world: &World, filters: &[(&str, &str)]) -> Vec<Value> {
    let answer = world.admin().ok("ListRotationEvents", filters).await;
    answer["Events"]["Event"].as_array().unwrap().clone()
}

fn id(event: &Value) -> String {
    event["content"]["eventId"].as_str().unwrap().to_owned()
}

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

async fn scrape(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The samples of a page, by name with labels; every line must have the form.
async fn samples(address: SocketAddr) -> HashMap<String, f64> {
    let answer = scrape(address, "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let mut found = HashMap::new();
    let mut typed = None;
    for line in body.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            typed = line.split(' ').next();
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(sample.starts_with(typed.unwrap()), "{line}");
            assert!(found.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
    }
    found
}

fn check_common(event: &Value, name: &str) {
    let arn = secret_arn(NAME);
    assert_eq!(
        members(event),
        [
            "content",
            "eventTime",
            "instanceName",
            "level",
            "name",
            "product",
            "regionId",
            "resourceId",
            "status",
            "ver"
        ]
    );
    assert_eq!(event["name"], name);
    assert_eq!((&event["product"], &event["ver"]), (&"KMS".into(), &"1.0".into()));
    assert_eq!((&event["regionId"], &event["instanceName"]), (&REGION.into(), &NAME.into()));
    assert_eq!(event["resourceId"], arn.as_str());
    assert!(arn.contains(ACCOUNT));
    let time = event["eventTime"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with("+0800") && time.as_bytes()[8] == b'T', "{time}");
    let content = &event["content"];
    assert_eq!((&content["secretName"], &content["secretType"]), (&NAME.into(), &"ECS".into()));
    assert_eq!(content["RotationEntityArn"], arn.as_str());
    assert_eq!(content["secretSubType"], content["rotationSubType"]);
    assert_eq!(content["secretSubType"], "Password");
}

#[tokio::test]
async fn manual_and_scheduled_rotations_are_told_as_the_contract_says() {
    let mut world = World::with_clock(Kind::Password).await;
    let metrics = free_address(&world.appliance);
    let file = world.folder().join("events.jsonl");
    let socket = world.folder().join("log");
    let syslog = UnixDatagram::bind(&socket).unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    with_settings(
        &mut world,
        &format!("\n[events]\nfile = {file:?}\nsyslog = {socket:?}\n[metrics]\nlisten = \"{metrics}\"\nper_secret = true\n"),
    )
    .await;
    let schedule = [("SecretName", NAME), ("EnableAutomaticRotation", "true"), ("RotationInterval", "6h")];
    world.admin().ok("UpdateSecretRotationPolicy", &schedule).await;
    world.rotate_to_the_end("v2").await;
    let listed = events(&world, &[]).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let success = &listed[0];
    check_common(success, "Secret:RotateSecret:Success");
    assert_eq!((&success["level"], &success["status"]), (&"INFO".into(), &"Normal".into()));
    let content = &success["content"];
    let common = ["RotationEntityArn", "eventId"];
    let shape = |more: [&'static str; 6]| {
        let mut all = [&common[..], &more[..]].concat();
        all.sort_unstable();
        all
    };
    assert_eq!(
        members(content),
        shape([
            "rotationStatus",
            "rotationSubType",
            "secretName",
            "secretSubType",
            "secretType",
            "successTime"
        ])
    );
    assert_eq!(content["rotationStatus"], "Enabled");

    world.shell("chage -E 1 deploy");
    world.put_forward(6 * HOUR + 5);
    let failure = eventually("a failure", async || {
        events(&world, &[("EventName", "Secret:RotateSecret:Failure")]).await.pop()
    })
    .await;
    check_common(&failure, "Secret:RotateSecret:Failure");
    assert_eq!((&failure["level"], &failure["status"]), (&"CRITICAL".into(), &"Failed".into()));
    let content = &failure["content"];
    assert_eq!(members(content), {
        let mut all = shape([
            "rotationStatus",
            "rotationSubType",
            "secretName",
            "secretSubType",
            "secretType",
            "failureInfo",
        ]);
        all.push("failureTime");
        all.sort_unstable();
        all
    });
    assert_eq!(content["rotationStatus"], "Invalid");
    assert_eq!(content["failureInfo"]["errorCode"], "Kms:account_expired");
    assert_eq!(members(&content["failureInfo"]), ["errorCode", "errorMessage"]);

    // Past the date by more than an hour: told once, however long it lasts.
    world.put_forward(HOUR + 60);
    let overdue = eventually("a missed date", async || {
        events(&world, &[("EventName", "Secret:RotateSecret:Overdue")]).await.pop()
    })
    .await;
    check_common(&overdue, "Secret:RotateSecret:Overdue");
    eventually("the second failure", async || {
        (events(&world, &[("EventName", "Secret:RotateSecret:Failure")]).await.len() == 2).then_some(())
    })
    .await;
    world.shell("chage -E -1 deploy");
    let counted = eventually("the counts", async || {
        let found = samples(metrics).await;
        let failed = r#"strongroom_rotations_total{result="failed",code="Kms:account_expired"}"#;
        (found.get(failed) == Some(&2.0)).then_some(found)
    })
    .await;
    for (sample, value) in [
        (r#"strongroom_rotations_total{result="done",code=""}"#, 1.0),
        (r#"strongroom_rotation_warnings_total{event="Overdue"}"#, 1.0),
        ("strongroom_overdue_secrets", 1.0),
        ("strongroom_scheduled_secrets", 1.0),
        (r#"strongroom_current_version_age_seconds_bucket{le="21600"}"#, 0.0),
        (r#"strongroom_current_version_age_seconds_bucket{le="86400"}"#, 1.0),
        ("strongroom_audit_usable", 1.0),
        ("strongroom_token_ready", 1.0),
        (r#"strongroom_rotation_step_seconds_count{state="Staged"}"#, 3.0),
    ] {
        assert_eq!(counted.get(sample), Some(&value), "{sample}: {counted:?}");
    }
    let past = counted["strongroom_overdue_seconds_max"];
    assert!((3_600.0..10_000.0).contains(&past), "{past}");
    assert_eq!(counted[&format!(r#"strongroom_secret_overdue_seconds{{secret="{NAME}"}}"#)], past);
    assert!(scrape(metrics, "/").await.starts_with("HTTP/1.1 404"));

    // File and syslog have the same events in the same order.
    let listed = events(&world, &[]).await;
    assert_eq!(listed.iter().filter(|e| e["name"] == "Secret:RotateSecret:Overdue").count(), 1);
    let lines = eventually("the lines", async || {
        let text = fs::read_to_string(&file).ok()?;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == listed.len()).then_some(lines)
    })
    .await;
    assert!(lines.iter().eq(listed.iter().rev()), "{lines:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut buffer = vec![0; 8_192];
    for event in &lines {
        let length = syslog.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(message.starts_with('<') && message.contains(" strongroom - "), "{message}");
        let body = message.split_once(" - {").unwrap().1;
        let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        assert_eq!(&body, event);
    }
    who_may_list(&world, &listed).await;
}

/// Pages, filters, and the rights on single secrets.
async fn who_may_list(world: &World, listed: &[Value]) {
    let first = world.admin().ok("ListRotationEvents", &[("MaxResults", "1")]).await;
    let token = first["NextToken"].as_str().unwrap();
    let second = events(world, &[("MaxResults", "1"), ("NextToken", token)]).await;
    assert_eq!((&first["Events"]["Event"][0], &second[0]), (&listed[0], &listed[1]));
    assert!(events(world, &[("StartTime", "2999-01-01T00:00:00Z")]).await.is_empty());
    assert!(events(world, &[("EndTime", "2000-01-01T00:00:00Z")]).await.is_empty());
    assert_eq!(events(world, &[("SecretName", NAME)]).await.len(), listed.len());

    let action = ["kms:ListRotationEvents"];
    let (all, one) = (policy("Allow", &action, &["*"]), policy("Deny", &action, &[&secret_arn(NAME)]));
    let denied = world.appliance.user_with(&[all, one]).await;
    let shown = denied.ok("ListRotationEvents", &[]).await;
    assert_eq!(shown["Events"]["Event"].as_array().unwrap().len(), 0, "{shown}");
    let named = [("SecretName", NAME)];
    assert_eq!(denied.refused("ListRotationEvents", &named).await.0, 403);
    let only = world.appliance.user_with(&[policy("Allow", &action, &[&secret_arn(NAME)])]).await;
    let shown = only.ok("ListRotationEvents", &named).await;
    assert_eq!(shown["Events"]["Event"].as_array().unwrap().len(), listed.len());
    assert_eq!(only.refused("ListRotationEvents", &[]).await.0, 403);
}

fn webhook(name: &str, url: &str, secret: &Path, more: &str) -> String {
    format!(
        "\n[[events.webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_file = {secret:?}\ntimeout_seconds = 1\n{more}\n"
    )
}

/// The example of docs/monitoring.md, which verifies a signature.
fn example() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn is_genuine(secret: &Path, timestamp: &str, signature: &str, body: &str) -> bool {
    let script = format!(
        "{}\nimport sys\nsecret = open(sys.argv[1], 'rb').read().rstrip(b'\\n')\n\
         print(is_genuine(secret, sys.argv[2], sys.argv[3], sys.stdin.buffer.read()))\n",
        example()
    );
    let mut python = Command::new("python3")
        .args(["-c", &script, secret.to_str().unwrap(), timestamp, signature])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), body.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout == b"True\n"
}

fn secret_file(folder: &Path) -> PathBuf {
    let path = folder.join("webhook.secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    path
}

#[tokio::test]
async fn a_webhook_gets_each_event_in_order_whatever_fails_and_others_do_not_wait() {
    let mut world = World::new(Kind::Password).await;
    let metrics = free_address(&world.appliance);
    let secret = secret_file(world.folder());
    let slow = Receiver::start(Some(world.folder()), vec![Act::Answer(500), Act::Hang]);
    let target = Receiver::start(None, Vec::new());
    let redirect = Act::Redirect(target.url.clone());
    let moved = Receiver::start(None, vec![redirect.clone(), redirect, Act::Answer(410)]);
    let inside = Receiver::start(None, Vec::new());
    let ca = world.folder().join("cert.pem");
    let allowed = "allow_addresses = [\"127.0.0.0/8\"]";
    let settings = [
        webhook("ops", &slow.url, &secret, &format!("ca_file = {ca:?}\n{allowed}")),
        webhook("moved", &moved.url, &secret, &format!("allow_http = true\n{allowed}")),
        webhook("inside", &inside.url, &secret, "allow_http = true"),
        format!("\n[metrics]\nlisten = \"{metrics}\"\n"),
    ];
    with_settings(&mut world, &settings.concat()).await;
    world.rotate_to_the_end("v2").await;
    world.rotate_to_the_end("v3").await;
    let ids: Vec<String> = events(&world, &[]).await.iter().rev().map(id).collect();
    assert_eq!(ids.len(), 2);
    eventually("both events", async || (slow.taken().len() == 2).then_some(())).await;
    assert_eq!(slow.taken(), ids);
    let got = slow.got();
    assert_eq!(got.iter().map(|g| g.status).collect::<Vec<_>>(), [500, 0, 200, 200]);
    for got in &got {
        let event: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(id(&event), got.id);
        assert!(is_genuine(&secret, &got.timestamp, &got.signature, &got.body), "{got:?}");
        assert!(!is_genuine(&secret, &got.timestamp, &got.signature, &format!("{} ", got.body)));
    }
    // The redirect is not followed; the first is put aside at the third try, which says that all is gone.
    eventually("the second at the one that has moved", async || (moved.taken().len() == 1).then_some(()))
        .await;
    assert_eq!(moved.taken(), ids[1..]);
    assert!(target.got().is_empty() && inside.got().is_empty());
    let counted = eventually("the counts", async || {
        let found = samples(metrics).await;
        let settled = found[r#"strongroom_event_deliveries_pending{sink="webhook:ops"}"#] == 0.0
            && found[r#"strongroom_event_deliveries_pending{sink="webhook:moved"}"#] == 0.0;
        settled.then_some(found)
    })
    .await;
    for (sample, value) in [
        (r#"strongroom_event_deliveries_put_aside_total{sink="webhook:moved"}"#, 1.0),
        (r#"strongroom_event_deliveries_total{sink="webhook:ops"}"#, 2.0),
        (r#"strongroom_event_delivery_failures_total{sink="webhook:ops"}"#, 2.0),
        (r#"strongroom_event_deliveries_pending{sink="webhook:inside"}"#, 2.0),
    ] {
        assert_eq!(counted.get(sample), Some(&value), "{sample}: {counted:?}");
    }
    assert!(!scrape(metrics, "/metrics").await.contains(NAME));
    assert!(world.appliance.log().contains("allow_addresses"), "the log does not say what to do");

    // After a crash it goes on where it stood.
    world.appliance.kill();
    world.appliance.start().await;
    world.rotate_to_the_end("v4").await;
    eventually("the third event", async || (slow.taken().len() == 3).then_some(())).await;
    let ids: Vec<String> = events(&world, &[]).await.iter().rev().map(id).collect();
    assert_eq!(slow.taken(), ids);
    the_command_shows(&world, &ids);
}

fn the_command_shows(world: &World, ids: &[String]) {
    let key = world.appliance.admin_key();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(arguments)
            .env("STRONGROOM_ENDPOINT", world.appliance.endpoint())
            .env("STRONGROOM_CA_FILE", world.appliance.ca_file())
            .env("STRONGROOM_REGION", REGION)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", &key.id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &key.secret)
            .env_remove("STRONGROOM_PROFILES")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&["events", "--secret", NAME, "--since", "24h", "--json"]);
    let shown: Vec<String> = shown.lines().map(|line| id(&serde_json::from_str(line).unwrap())).collect();
    assert_eq!(shown, ids);
    assert_eq!(run(&["events", "--failures", "--json"]), "");
    let table = run(&["events"]);
    assert!(table.starts_with("TIME") && table.contains(NAME) && table.contains("Success"), "{table}");
    let config = world.appliance.config();
    let doctor = run(&["doctor", "--json", "--config", config.to_str().unwrap()]);
    for (webhook, level) in [("webhook ops", "ok"), ("webhook inside", "warning")] {
        let line = doctor.lines().find(|line| line.contains(webhook)).unwrap_or(&doctor);
        assert!(line.contains(webhook) && line.contains(level), "{doctor}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let mut appliance = Appliance::new();
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_file(folder.path());
    let open = folder.path().join("open.secret");
    fs::write(&open, SECRET).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let plain = fs::read_to_string(appliance.config()).unwrap();
    for (settings, word) in [
        (webhook("a", "http://hooks.test/", &secret, ""), "allow_http"),
        (webhook("a", "https://hooks.test/", &open, ""), "chmod 0400"),
        (webhook("a b", "https://hooks.test/", &secret, ""), "events.webhook.name"),
        (webhook("a", "https://hooks.test/", &secret, "allow_addresses = [\"10.0.0.1/8\"]"), "ADDRESS/BITS"),
        ("\n[events]\nsyslog = \"log.example\"\n".to_owned(), "udp://HOST:PORT"),
        ("\n[events]\nkeep_days = 0\n".to_owned(), "events.keep_days"),
    ] {
        fs::write(appliance.config(), format!("{plain}{settings}")).unwrap();
        assert!(appliance.try_start().await.is_err(), "{settings}");
        let log = appliance.log();
        let last = log.lines().rev().take(6).collect::<Vec<_>>().join("\n");
        assert!(last.contains(word), "{settings}: {last}");
    }
}
