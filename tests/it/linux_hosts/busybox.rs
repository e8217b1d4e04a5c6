//! A user land like Alpine's: a shell and tools that are busybox.
//!
//! Debian builds its busybox without `chpasswd`, so that one is written here
//! after the manner of busybox: run by its shell with its applets, it takes no
//! lock of the shadow tools, and says on its error output what it changed.

use super::{FIRST, Host, Key, USER, finalize_key, hash, key, password, request, with};

const CHPASSWD: &str = r#"#!/bin/busybox ash
set -e
[ "$1" = -e ] || exit 1
while IFS=: read -r name field; do
    grep -q "^$name:" /etc/shadow || { echo "chpasswd: unknown user $name" >&2; exit 1; }
    day=$(($(date +%s) / 86400))
    awk -F: -v OFS=: -v n="$name" -v f="$field" -v d="$day" \
        '$1 == n { $2 = f; $3 = d } { print }' /etc/shadow > /etc/shadow+
    chmod 640 /etc/shadow+
    mv /etc/shadow+ /etc/shadow
    echo "chpasswd: password for '$name' changed" >&2
done
"#;

/// What the shadow tools and GNU's have, and Alpine has not.
const ABSENT: &str = "getent nscd restorecon chage usermod useradd passwd";

fn host(keys: &[&str]) -> Host {
    let host = Host::new(keys);
    assert_eq!(host.shell("busybox echo there").trim(), "there", "the Debian package busybox is needed");
    host.write("/usr/sbin/chpasswd", "755", CHPASSWD);
    for tool in ABSENT.split(' ') {
        host.shell(&format!("rm -f /usr/sbin/{tool} /usr/bin/{tool}"));
    }
    for tool in ["sh", "awk", "chmod", "date", "grep", "mv"] {
        host.shell(&format!("ln -sf /bin/busybox /usr/bin/{tool}"));
    }
    assert!(host.shell("sh --help 2>&1 || true; ls -l /bin/sh").contains("busybox"));
    host
}

#[test]
fn both_kinds_are_rotated_with_a_user_land_of_busybox() {
    let (old, new) = (Key::new(), Key::new());
    let host = host(&[&old.public]);
    let second = hash("Second-password-2");
    host.ask(&password("apply", 1, &second)).expect("ok", "new");
    assert!(host.takes_password("Second-password-2") && !host.takes_password(FIRST));
    assert_eq!(host.field(), second);
    host.ask(&password("finalize", 1, &second)).expect("ok", "new");
    host.ask(&with(request("status", 2, "password"), "user", "nobody-here"))
        .expect("user_missing", "unknown");

    host.ask(&key("apply", 2, &new)).expect("ok", "new");
    host.ask(&finalize_key(2, &new, &old)).expect("ok", "new");
    assert!(host.takes_key(&new) && !host.takes_key(&old));
}

#[test]
fn what_a_chpasswd_of_another_make_says_or_leaves_out_is_not_believed() {
    let host = host(&[]);
    let first = host.field();
    let apply = password("apply", 1, &hash("Second-password-2"));
    // A lock file of the shadow tools means nothing to it.
    host.shell("touch /etc/shadow.lock");
    host.ask(&apply).expect("ok", "new");
    host.shell("rm /etc/shadow.lock");

    let says_so = CHPASSWD.replace("    mv /etc/shadow+ /etc/shadow\n", "");
    host.write("/usr/sbin/chpasswd", "755", &says_so);
    let third = password("apply", 2, &hash("Third-password-3"));
    host.ask(&third).expect("tool_failed", "old").unchanged(false);
    assert!(host.takes_password("Second-password-2"));
    host.shell("rm /usr/sbin/chpasswd");
    host.ask(&password("apply", 3, &first)).expect("tool_missing", "old").unchanged(true);
    host.write("/usr/sbin/chpasswd", "755", CHPASSWD);
    host.ask(&password("apply", 4, &first)).expect("ok", "new");
    assert!(host.takes_password(FIRST), "{USER} has her first password again");
}
