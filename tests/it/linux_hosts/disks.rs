//! Disks that are full, read-only or frozen: nothing changes, the answer says
//! what is to be done, and once it is done the same request ends well.

use super::{Answer, FIRST, Host, Key, finalize_key, hash, key, password};

const SECOND: &str = "Second-password-2";
const MIB: u64 = 1 << 20;

/// Fills a disk to the last byte.
fn fill(host: &Host, path: &str) {
    host.shell(&format!("cat /dev/zero > {path}/fill 2>/dev/null || true"));
    host.shell(&format!("! echo x > {path}/more 2>/dev/null; rm -f {path}/more"));
}

#[track_caller]
fn says(answer: &Answer, word: &str) {
    let detail = answer.0["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(word), "no {word} in {}", answer.0);
}

#[test]
fn a_password_is_as_it_was_where_its_disk_takes_no_writes() {
    let host = Host::with_disks(&[], &[("etc", 16 * MIB), ("var/lib/strongroom", MIB)]);
    let first = host.field();
    let apply = password("apply", 1, &hash(SECOND));
    let refused = |code: &str, live: &str, word: &str| {
        let answer = host.ask(&apply).expect(code, live).unchanged(false);
        says(&answer, word);
        assert_eq!(host.field(), first, "{word}");
        assert!(host.takes_password(FIRST), "{word}");
    };

    fill(&host, "/etc");
    refused("disk_full", "old", "/etc");
    host.shell("rm /etc/fill");

    fill(&host, "/var/lib/strongroom");
    refused("disk_full", "old", "journal");
    host.shell("rm /var/lib/strongroom/fill");

    host.shell("mount -o remount,bind,ro /etc");
    refused("shadow_readonly", "old", "read-only");
    host.shell("mount -o remount,bind,rw /etc");

    host.shell("mount -o remount,bind,ro /var/lib/strongroom");
    // Without its lock nothing is so much as looked at.
    refused("shadow_readonly", "unknown", "read-only");
    host.shell("mount -o remount,bind,rw /var/lib/strongroom");

    host.shell("chattr +i /etc/shadow");
    refused("shadow_readonly", "old", "immutable");
    host.shell("chattr -i /etc/shadow");

    host.ask(&apply).expect("ok", "new");
    assert!(host.takes_password(SECOND) && !host.takes_password(FIRST));
}

#[test]
fn a_key_file_is_as_it_was_where_its_disk_takes_no_writes() {
    let (old, new, next) = (Key::new(), Key::new(), Key::new());
    let host = Host::with_disks(&[&old.public], &[("home", MIB)]);
    let keys = host.shell("cat /home/deploy/.ssh/authorized_keys");
    let apply = key("apply", 1, &new);

    fill(&host, "/home");
    host.ask(&apply).expect("disk_full", "old").unchanged(false);
    assert_eq!(
        host.shell("ls -A /home/deploy/.ssh; cat /home/deploy/.ssh/*"),
        format!("authorized_keys\n{keys}")
    );
    assert!(host.takes_key(&old));
    host.shell("rm /home/fill");

    host.shell("mount -o remount,bind,ro /home");
    says(&host.ask(&apply).expect("authorized_keys_unsafe", "old").unchanged(false), "read-only");
    host.shell("mount -o remount,bind,rw /home");
    assert_eq!(host.shell("cat /home/deploy/.ssh/authorized_keys"), keys);

    host.ask(&apply).expect("ok", "new");
    host.shell("chattr +i /home/deploy/.ssh/authorized_keys");
    says(&host.ask(&finalize_key(1, &new, &old)).expect("authorized_keys_unsafe", "both"), "immutable");
    says(
        &host.ask(&key("apply", 2, &next)).expect("authorized_keys_unsafe", "old").unchanged(true),
        "immutable",
    );
    assert!(host.takes_key(&old) && host.takes_key(&new) && !host.takes_key(&next));
    host.shell("chattr -i /home/deploy/.ssh/authorized_keys");
    host.ask(&finalize_key(1, &new, &old)).expect("ok", "new");
    assert!(!host.takes_key(&old) && host.takes_key(&new));
}
