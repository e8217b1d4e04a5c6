//! The real `useradd`, `chpasswd`, `sshd -T` and `/etc/shadow`.

use serde_json::json;

use crate::machine::Machine;
use crate::sandbox::{KEY_A, OLD_KEY, USER, fingerprint, hash, key, password, with};

fn machine() -> Machine {
    let machine = Machine::new();
    machine.shell("useradd --create-home --shell /bin/sh ann");
    machine
}

#[test]
fn the_real_chpasswd_sets_exactly_the_hash_that_was_sent() {
    let machine = machine();
    assert_eq!(machine.field(USER), "!");
    let new = hash("n");
    let done = machine.run(&password("apply", USER, 1, "a", &new));
    done.expect("ok", 0, "new");
    assert!(done.warns("had_no_password"));
    assert_eq!(machine.field(USER), new);
    assert_eq!(done.line["facts"]["sshd"]["found"], true);
    assert_eq!(done.line["facts"]["login_path"], "password:open,key:open");
    machine.run(&password("finalize", USER, 1, "a", &new)).expect("ok", 0, "new");

    machine.shell("usermod --lock ann");
    machine.run(&password("apply", USER, 2, "b", &hash("m"))).expect("account_locked", 11, "other");
    assert_eq!(machine.field(USER), format!("!{new}"));
    let unlock = with(password("apply", USER, 3, "c", &hash("m")), "opt", json!({"unlock": true}));
    machine.run(&unlock).expect("ok", 0, "new");
    assert_eq!(machine.field(USER), hash("m"));
}

#[test]
fn a_real_client_logs_on_with_the_new_password_only() {
    let machine = machine();
    let made = |password: &str| {
        let hash = machine.shell(&format!("openssl passwd -6 -salt saltsaltsaltsalt {password}"));
        hash.trim().to_owned()
    };
    let logs_on = |password: &str| {
        let command = format!(
            "sshpass -p {password} ssh -F none -o ProxyCommand='/usr/sbin/sshd -i' \
             -o LogLevel=ERROR -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 ann@localhost id -un"
        );
        let output = machine.output("sh", &["-c", &command]);
        assert_ne!(output.status.code(), Some(127), "sshpass is needed");
        output.status.success() && output.stdout == b"ann\n"
    };
    machine.run(&password("apply", USER, 1, "a", &made("first-horse"))).expect("ok", 0, "new");
    assert!(logs_on("first-horse"));
    machine.run(&password("apply", USER, 2, "b", &made("second-horse"))).expect("ok", 0, "new");
    assert!(logs_on("second-horse") && !logs_on("first-horse"));
}

#[test]
fn must_change_expiry_and_lock_files_are_seen() {
    let machine = machine();
    machine.shell("echo ann:start | chpasswd -c SHA512 && chage -d 0 -M 20 ann");
    let done = machine.run(&password("apply", USER, 1, "a", &hash("n")));
    done.expect("ok", 0, "new");
    assert!(done.warns("password_expired") && done.warns("max_days_limited"));
    assert_ne!(machine.shell("grep ^ann: /etc/shadow | cut -d: -f3").trim(), "0");

    machine.shell("touch /etc/shadow.lock");
    machine.run(&password("apply", USER, 2, "b", &hash("m"))).expect("shadow_busy", 10, "old");
    machine.shell("rm /etc/shadow.lock && chage -E 1 ann");
    machine.run(&password("apply", USER, 3, "c", &hash("m"))).expect("account_expired", 11, "old");
    assert_eq!(machine.field(USER), hash("n"));
}

#[test]
fn a_read_only_or_full_etc_is_told_apart() {
    let machine = machine();
    machine.shell("mount -o remount,ro /etc");
    machine.run(&password("apply", USER, 1, "a", &hash("n"))).expect("shadow_readonly", 10, "old");
    machine.shell("mount -o remount,rw /etc");
    machine.run(&password("apply", USER, 1, "a", &hash("n"))).expect("ok", 0, "new");
}

#[test]
fn a_full_disk_changes_nothing() {
    let machine = machine();
    machine.shell(
        "mkdir -p /var/lib/strongroom && mount -t tmpfs -o size=64k,mode=700 tmpfs /var/lib/strongroom",
    );
    machine.shell("head -c 1000000 /dev/zero > /var/lib/strongroom/fill 2> /dev/null || true");
    let before = machine.field(USER);
    let refused = machine.run(&password("apply", USER, 1, "a", &hash("n")));
    assert_eq!(refused.line["code"], "disk_full", "{}", refused.text);
    assert_eq!(machine.field(USER), before);
    machine.shell("rm /var/lib/strongroom/fill");
    machine.run(&password("apply", USER, 1, "a", &hash("n"))).expect("ok", 0, "new");
}

#[test]
fn keys_follow_the_settings_of_the_real_sshd() {
    let machine = machine();
    let done = machine.run(&key("apply", 1, "a", KEY_A));
    done.expect("ok", 0, "new");
    assert_eq!(
        machine.shell("stat -c '%U %a' /home/ann/.ssh /home/ann/.ssh/authorized_keys"),
        "ann 700\nann 600\n"
    );
    machine.shell("mkdir -p /etc/ssh/keys && echo 'AuthorizedKeysFile /etc/ssh/keys/%u' > /etc/ssh/sshd_config.d/keys.conf");
    machine.shell(&format!("echo '{OLD_KEY} x' > /etc/ssh/keys/ann"));
    let remove = json!([fingerprint(OLD_KEY), fingerprint(KEY_A)]);
    let new = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMCAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
    machine.run(&with(key("apply", 2, "b", new), "remove", remove.clone())).expect("ok", 0, "both");
    machine.run(&with(key("finalize", 2, "b", new), "remove", remove)).expect("ok", 0, "new");
    assert_eq!(machine.shell("cat /etc/ssh/keys/ann"), format!("{new} strongroom:00000000:2\n"));
}

#[test]
fn settings_of_the_real_sshd_that_shut_the_key_out_are_refused() {
    let machine = machine();
    let set = |line: &str| machine.shell(&format!("echo '{line}' > /etc/ssh/sshd_config.d/00.conf"));
    for line in [
        "PubkeyAuthentication no",
        "AllowUsers root",
        "DenyGroups ann",
        "PubkeyAcceptedAlgorithms rsa-sha2-512",
        "AuthenticationMethods password",
        "AuthorizedKeysFile none",
        "Match User ann\n    PubkeyAuthentication no",
        "not a setting",
    ] {
        set(line);
        machine.run(&key("apply", 1, "a", KEY_A)).expect("keys_disabled", 10, "old");
    }
    set("RequiredRSASize 4096");
    machine.run(&key("apply", 1, "a", KEY_A)).expect("ok", 0, "new");
}

#[test]
fn a_real_client_logs_on_with_the_new_key_and_not_with_the_old() {
    let machine = machine();
    machine.shell("cd /home && for k in old new; do ssh-keygen -q -t ed25519 -N '' -f $k; done");
    let public = |name: &str| machine.shell(&format!("cut -d' ' -f1,2 /home/{name}.pub")).trim().to_owned();
    let (old, new) = (public("old"), public("new"));
    // Without a port: the client's other end is sshd itself.
    let logs_on = |name: &str| {
        let command = format!(
            "ssh -F none -o ProxyCommand='/usr/sbin/sshd -i' -o BatchMode=yes -o LogLevel=ERROR \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o IdentitiesOnly=yes -i /home/{name} ann@localhost id -un"
        );
        let output = machine.output("sh", &["-c", &command]);
        output.status.success() && output.stdout == b"ann\n"
    };
    machine.run(&key("apply", 1, "a", &old)).expect("ok", 0, "new");
    assert!(logs_on("old") && !logs_on("new"));
    machine.run(&key("apply", 2, "b", &new)).expect("ok", 0, "both");
    assert!(logs_on("old") && logs_on("new"));
    let finalize = with(key("finalize", 2, "b", &new), "remove", json!([fingerprint(&old)]));
    machine.run(&finalize).expect("ok", 0, "new");
    assert!(!logs_on("old") && logs_on("new"));
}
