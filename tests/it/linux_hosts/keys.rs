//! Keys where sshd really looks for them, beside those of other people.

use super::{Host, Key, finalize_key, key};

/// Changes a setting of sshd, and has it read.
fn set(host: &Host, setting: &str) {
    host.shell(&format!("sed -i '1i {setting}' /etc/ssh/sshd_config && kill -HUP $(cat /run/sshd.pid)"));
    // It starts itself anew, with another process id in the file.
    host.shell("for _ in $(seq 200); do ss -Hltn 'sport = 22' | grep -q . && break; sleep 0.02; done");
}

#[test]
fn a_key_goes_where_sshd_looks_and_the_keys_of_others_stay_byte_for_byte() {
    let (old, new, friend) = (Key::new(), Key::new(), Key::new());
    let host = Host::new(&[]);
    let others = format!("# by hand\r\n\nno-pty {} friend@home\nssh-rsa broken\n", friend.public);
    host.shell("mkdir -p /etc/ssh/keys && install -d -m 700 -o deploy -g deploy /home/deploy/.ssh");
    host.write("/etc/ssh/keys/deploy", "644", &others);
    host.write("/home/deploy/.ssh/more", "600", &format!("{others}{} old\n", old.public));
    host.shell("chown deploy:deploy /home/deploy/.ssh/more");
    set(&host, "AuthorizedKeysFile /etc/ssh/keys/%u .ssh/more");
    assert!(host.takes_key(&old) && host.takes_key(&friend));

    host.ask(&key("apply", 1, &new)).expect("ok", "new");
    assert!(host.takes_key(&new) && host.takes_key(&old) && host.takes_key(&friend));
    let line = format!("{} strongroom:55555555:1\n", new.public);
    assert_eq!(host.shell("cat /etc/ssh/keys/deploy"), format!("{others}{line}"));
    host.ask(&finalize_key(1, &new, &old)).expect("ok", "new");
    assert!(host.takes_key(&new) && !host.takes_key(&old) && host.takes_key(&friend));
    assert_eq!(host.shell("cat /etc/ssh/keys/deploy"), format!("{others}{line}"));
    assert_eq!(host.shell("cat /home/deploy/.ssh/more"), others);

    set(&host, "AuthorizedKeysFile none");
    let refused = host.ask(&key("apply", 2, &old)).expect("keys_disabled", "old");
    refused.unchanged(false);
}

#[test]
fn files_that_lead_elsewhere_are_refused_and_the_way_in_stays() {
    let (old, new) = (Key::new(), Key::new());
    let host = Host::new(&[&old.public]);
    host.shell("cd /home/deploy/.ssh && mv authorized_keys real && ln -s real authorized_keys && chown -h deploy authorized_keys");
    let shadow = host.shell("cat /etc/shadow");
    host.ask(&key("apply", 1, &new)).expect("authorized_keys_symlink", "old").unchanged(true);
    assert!(host.takes_key(&old), "sshd follows the link");
    host.shell("cd /home/deploy/.ssh && mv real authorized_keys && chown root /home/deploy/.ssh && chmod 777 /home/deploy/.ssh");
    host.ask(&key("apply", 2, &new)).expect("home_unsafe", "old").unchanged(true);
    host.shell("chown deploy /home/deploy/.ssh && chmod 700 /home/deploy/.ssh && ln /home/deploy/.ssh/authorized_keys /home/deploy/second");
    host.ask(&key("apply", 3, &new)).expect("authorized_keys_unsafe", "old").unchanged(true);
    assert!(host.takes_key(&old) && !host.takes_key(&new));
    assert_eq!(host.shell("cat /etc/shadow"), shadow);
    host.shell("rm /home/deploy/second");
    host.ask(&key("apply", 4, &new)).expect("ok", "new");
    assert!(host.takes_key(&old) && host.takes_key(&new));
}

#[test]
fn the_users_own_group_may_write_as_sshd_here_bears_it() {
    let (old, new) = (Key::new(), Key::new());
    let host = Host::new(&[&old.public]);
    host.shell("chmod 775 /home/deploy /home/deploy/.ssh && chmod 664 /home/deploy/.ssh/authorized_keys");
    assert!(host.takes_key(&old), "Debian's sshd takes no offence");
    host.ask(&key("apply", 1, &new)).expect("ok", "new").warning("key_file_group_writable");
    assert!(host.takes_key(&new) && host.takes_key(&old));

    host.shell("useradd -g deploy mate");
    assert!(!host.takes_key(&new), "now it does: the group has another member");
    host.ask(&key("verify", 1, &new)).expect("home_unsafe", "unknown");
    host.ask(&key("apply", 2, &Key::new())).expect("home_unsafe", "old").unchanged(true);
}

#[test]
fn one_managed_line_stays_and_a_lost_one_is_named() {
    let (first, second, friend) = (Key::new(), Key::new(), Key::new());
    let host = Host::new(&[&friend.public]);
    host.ask(&key("apply", 1, &first)).expect("ok", "new");
    host.shell("cd /home/deploy/.ssh && grep strongroom authorized_keys > line && cat line line >> authorized_keys && cp line authorized_keys2 && chown deploy authorized_keys2 && rm line");
    host.ask(&key("apply", 1, &first)).expect("already", "new").warning("key_duplicates_removed");
    assert_eq!(host.shell("cat /home/deploy/.ssh/authorized_keys* | grep -c strongroom").trim(), "1");
    host.ask(&key("finalize", 1, &first)).expect("ok", "new");
    assert!(host.takes_key(&first) && host.takes_key(&friend));

    host.shell("sed -i /strongroom/d /home/deploy/.ssh/authorized_keys");
    assert!(!host.takes_key(&first));
    host.ask(&key("status", 1, &first)).expect("ok", "other").warning("managed_key_missing");
    host.ask(&key("apply", 2, &second)).expect("ok", "new").warning("managed_key_missing");
    host.ask(&finalize_key(2, &second, &first)).expect("ok", "new").warning("managed_key_missing");
    assert!(host.takes_key(&second) && host.takes_key(&friend) && !host.takes_key(&first));
}
