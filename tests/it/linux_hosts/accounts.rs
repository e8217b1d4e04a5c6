//! Accounts that are not as they should be: refused with a code of their own,
//! and who could log on still can.

use serde_json::json;

use super::{FIRST, Host, Key, USER, hash, key, password, with};

const SECOND: &str = "Second-password-2";

#[test]
fn accounts_that_cannot_have_a_password_are_told_apart() {
    let host = Host::new(&[]);
    let new = hash(SECOND);
    let of = |user: &str, generation| host.ask(&with(password("apply", generation, &new), "user", user));

    of("nobody-here", 1).expect("user_missing", "old").unchanged(true);

    // A user of a directory service, for which NSS has a module of its own.
    host.shell(
        "mkdir -p /var/lib/extrausers && \
         echo 'ldapuser:x:60001:60001::/home/ldapuser:/bin/sh' > /var/lib/extrausers/passwd && \
         sed -i 's/^passwd:.*/passwd: files extrausers/' /etc/nsswitch.conf",
    );
    let known = host.shell("getent passwd ldapuser || true");
    assert!(known.starts_with("ldapuser:"), "the Debian package libnss-extrausers is needed");
    of("ldapuser", 2).expect("not_local_user", "old").unchanged(true);

    host.shell("useradd ghost && sed -i '/^ghost:/d' /etc/shadow");
    of("ghost", 3).expect("no_shadow_entry", "old").unchanged(true);
    host.shell("useradd plain && sed -i 's/^plain:x:/plain:*:/' /etc/passwd");
    of("plain", 4).expect("no_shadow_entry", "old").unchanged(true);
    assert_eq!(host.shell("grep -c ldapuser /etc/shadow || true").trim(), "0");
    assert!(host.takes_password(FIRST));
}

#[test]
fn accounts_that_are_shut_stay_shut_and_others_open() {
    let friend = Key::new();
    let host = Host::new(&[&friend.public]);
    let first = host.field();
    let new = hash(SECOND);
    let apply = |generation| password("apply", generation, &new);

    host.shell("usermod --lock deploy");
    host.ask(&password("prepare", 1, &new)).expect("account_locked", "old").unchanged(true);
    assert_eq!(host.field(), format!("!{first}"));
    assert!(!host.takes_password(FIRST) && host.takes_key(&friend));
    host.shell("usermod --unlock deploy");

    host.shell("chage -E 1 deploy");
    host.ask(&apply(2)).expect("account_expired", "old").unchanged(true);
    host.ask(&key("apply", 3, &Key::new())).expect("account_expired", "old").unchanged(true);
    assert_eq!(host.field(), first);
    assert!(host.shuts_out(&friend), "the account has expired for keys as well");
    host.shell("chage -E -1 deploy");
    assert!(host.takes_key(&friend));

    // Expired beyond its days of grace: closed to keys, and a new password opens it.
    host.shell("chage -d 2020-01-01 -M 30 -I 5 deploy");
    assert!(host.shuts_out(&friend));
    host.ask(&key("apply", 4, &Key::new())).expect("account_expired", "old").unchanged(true);
    host.ask(&apply(5)).expect("ok", "new").warning("password_expired").warning("max_days_limited");
    assert!(host.takes_password(SECOND) && host.takes_key(&friend));

    host.shell("chage -d 0 -M -1 -I -1 deploy");
    assert!(host.shuts_out(&friend), "the password must be changed first");
    let third = hash("Third-password-3");
    host.ask(&password("apply", 6, &third)).expect("ok", "new").warning("password_expired");
    assert!(host.takes_password("Third-password-3") && host.takes_key(&friend));

    host.shell("usermod --lock deploy");
    let unlock = with(password("apply", 7, &new), "opt", json!({"unlock": true}));
    host.ask(&unlock).expect("ok", "new").warning("account_unlocked");
    assert!(host.takes_password(SECOND));
}

#[test]
fn an_account_without_a_password_gets_one_and_is_warned_of() {
    let host = Host::new(&[]);
    for (generation, field) in [(1, "!"), (2, "*"), (3, "!!")] {
        host.shell(&format!("usermod -p '{field}' {USER}"));
        let new = format!("Password-number-{generation}");
        host.ask(&password("apply", generation, &hash(&new))).expect("ok", "new").warning("had_no_password");
        assert!(host.takes_password(&new), "{field}");
    }
}

#[test]
fn a_lock_that_nobody_holds_any_more_is_told_from_one_in_use() {
    let host = Host::new(&[]);
    let new = hash(SECOND);
    let first = host.field();
    host.shell("touch /etc/shadow.lock");
    host.ask(&password("apply", 1, &new)).expect("shadow_busy", "old").unchanged(false);
    assert_eq!(host.field(), first);
    assert_eq!(host.shell("ls /etc/shadow.lock").trim(), "/etc/shadow.lock", "it is not ours to remove");
    // Of a process that lives: the init of the host.
    host.shell("printf '1\\0' > /etc/shadow.lock");
    host.ask(&password("apply", 1, &new)).expect("shadow_busy", "old").unchanged(false);
    assert!(host.takes_password(FIRST));
    // Of one that has died: chpasswd itself sees to it.
    host.shell("printf '4000000\\0' > /etc/shadow.lock");
    host.ask(&password("apply", 1, &new)).expect("ok", "new");
    assert!(host.takes_password(SECOND) && !host.takes_password(FIRST));
}
