//! Where a credential must never be seen: in the processes of this machine and
//! of the host, in the cloud's records, in any file.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};

use super::{Credential, Kind, NAME, World};

/// What to look for: the secret as it is, and as programs like to write it.
pub(super) fn forms(credential: &Credential) -> Vec<String> {
    let secret = credential.secret();
    // Of a private key any line of its body; the first ones are alike in all keys.
    let parts: Vec<&str> = match secret.lines().count() {
        1 => vec![secret],
        count => secret.lines().skip(count / 2).take(2).collect(),
    };
    let mut forms = Vec::new();
    for part in parts {
        let bytes = part.as_bytes();
        forms.push(part.to_owned());
        forms.push(HEXLOWER.encode(bytes));
        // At each of the three places that a text can have in Base64, without its ends.
        for shift in 0..3 {
            let padded = [&b"xx"[..shift], bytes].concat();
            for encoded in [BASE64.encode(&padded), BASE64URL_NOPAD.encode(&padded)] {
                forms.push(encoded.chars().skip(4).take(encoded.len() - 8).collect());
            }
        }
    }
    forms
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that `ps` could show, of all processes, those of the host included.
fn processes(seen: &mut HashSet<String>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            for file in ["cmdline", "environ"] {
                seen.extend(fs::read(entry.path().join(file)).map(|bytes| lossy(&bytes)));
            }
        }
    }
}

pub(super) fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push((path.display().to_string(), lossy(&fs::read(&path).unwrap_or_default())));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_old_nor_the_new_credential_leaves_a_trace_anywhere() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let over = AtomicBool::new(false);
        let mut values = vec![world.current(NAME).await];
        let seen = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let (mut seen, mut rounds) = (HashSet::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    processes(&mut seen);
                    rounds += 1;
                }
                assert!(rounds > 10, "the processes were hardly looked at");
                seen
            });
            let rotations = async {
                for version in ["v2", "v3", "v4"] {
                    assert_eq!(world.rotate_to_the_end(version).await.state, "Done");
                    values.push(world.current(NAME).await);
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(rotations));
            over.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        let saw = |word: &str| seen.iter().any(|text| text.contains(word));
        assert!(saw("strongroom-rotator") && saw("--request"), "the plug-in was not seen at work");

        let mut places: Vec<(String, String)> =
            seen.into_iter().map(|text| ("a process".to_owned(), text)).collect();
        let records = serde_json::to_string(&world.cloud().records()).unwrap();
        places.push(("the cloud's records".to_owned(), records));
        files(&world.appliance.data_folder(), &mut places);
        files(world.cloud().state_dir(), &mut places);
        places.push(("the log".to_owned(), world.appliance.log()));
        // The host's own disk: scripts of the agent, the plug-in's journal, logs, everything that changed.
        let upper = world.folder().join("host/state/upper");
        let before = places.len();
        files(&upper, &mut places);
        let on_host: Vec<&str> = places[before..].iter().map(|(name, _)| name.as_str()).collect();
        assert!(on_host.iter().any(|name| name.contains("var/lib/strongroom/rotator")), "{on_host:?}");
        assert!(places.iter().any(|(name, _)| name.ends_with("strongroom.db")));

        // The search itself must be able to find.
        let marker = forms(&Credential::password("x", "strongroom-rotator"));
        assert!(places.iter().any(|(_, text)| text.contains(&marker[0])));
        for value in &values {
            for form in forms(value) {
                for (place, text) in &places {
                    assert!(!text.contains(&form), "{kind:?}: a credential stands in {place}");
                }
            }
        }
    }
}
