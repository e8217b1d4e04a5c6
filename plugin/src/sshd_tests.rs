//! Tests of what is made of the settings.

use super::*;

fn sshd(text: &str) -> Sshd {
    Sshd { installed: true, settings: Sshd::read(text) }
}

fn account(name: &str, uid: u32) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: format!("/home/{name}"),
        shell: "/bin/sh".to_owned(),
        shadowed: true,
        has_own_group: false,
    }
}

#[test]
fn key_files_are_expanded_as_sshd_does() {
    let files = |value: &str| sshd(&format!("authorizedkeysfile {value}\n")).key_files(&account("a", 7));
    assert_eq!(
        files(".ssh/authorized_keys /etc/keys/%u %h/k /k/%U/100%%"),
        Ok(vec![
            "/home/a/.ssh/authorized_keys".to_owned(),
            "/etc/keys/a".to_owned(),
            "/home/a/k".to_owned(),
            "/k/7/100%".to_owned(),
        ])
    );
    assert!(files("none").is_err());
    assert!(files("%x/keys").is_err());
    assert_eq!(Sshd::default().key_files(&account("a", 7)).map(|files| files.len()), Ok(2));
}

#[test]
fn the_way_in_follows_the_settings() {
    let root = account("root", 0);
    let user = account("ann", 1000);
    let groups = [Group { gid: 1, name: "ops".to_owned() }];
    let base = "passwordauthentication yes\npubkeyauthentication yes\npermitrootlogin without-password\n";
    for (more, who, password, key) in [
        ("", &root, Way::Blocked, Way::Open),
        ("", &user, Way::Open, Way::Open),
        ("denyusers an?\n", &user, Way::Blocked, Way::Blocked),
        ("allowusers bob\nallowusers a*\n", &user, Way::Open, Way::Open),
        ("allowusers bob\n", &user, Way::Blocked, Way::Blocked),
        ("allowusers ann@10.0.0.0/8\n", &user, Way::Unknown, Way::Unknown),
        ("allowgroups ops\n", &user, Way::Open, Way::Open),
        ("denygroups ops\n", &user, Way::Blocked, Way::Blocked),
        ("pubkeyacceptedalgorithms ssh-rsa,rsa-sha2-512\n", &user, Way::Open, Way::Blocked),
    ] {
        let sshd = sshd(&format!("{base}{more}"));
        assert_eq!(sshd.password_way(who, &groups), password, "{more}");
        assert_eq!(sshd.key_way(who, &groups, Some(&plain(ED25519))), key, "{more}");
    }
    assert_eq!(Sshd::default().password_way(&user, &groups), Way::Unknown);
}

#[test]
fn every_setting_that_shuts_a_key_out_is_found() {
    let base = "pubkeyauthentication yes\npermitrootlogin without-password\n";
    let (root, ann) = (account("root", 0), account("ann", 1000));
    let (rsa, ed25519) = (rsa_2048(), plain(ED25519));
    let old = "permitrootlogin no\npubkeyauthentication yes\n";
    let forced = "permitrootlogin forced-commands-only\n";
    for (settings, who, key, shut) in [
        (base, &root, &ed25519, false),
        ("pubkeyauthentication no\n", &ann, &ed25519, true),
        (old, &root, &ed25519, true),
        (forced, &root, &ed25519, true),
        (forced, &ann, &ed25519, false),
        ("allowusers bob\n", &ann, &ed25519, true),
        ("allowusers ann@10.*\n", &ann, &ed25519, false),
        ("authenticationmethods any\n", &ann, &ed25519, false),
        ("authenticationmethods password keyboard-interactive\n", &ann, &ed25519, true),
        ("authenticationmethods publickey,password\n", &ann, &ed25519, false),
        ("pubkeyacceptedalgorithms ssh-ed25519\n", &ann, &rsa, true),
        ("pubkeyacceptedalgorithms rsa-sha2-256\n", &ann, &rsa, false),
        ("pubkeyacceptedalgorithms rsa-sha2-512\n", &ann, &rsa, false),
        ("pubkeyacceptedalgorithms rsa-sha2-512-cert-v01@openssh.com\n", &ann, &rsa, true),
        ("pubkeyacceptedkeytypes ssh-rsa\n", &ann, &rsa, false),
        ("pubkeyacceptedkeytypes ssh-rsa\n", &ann, &ed25519, true),
        ("pubkeyacceptedalgorithms ssh-*\n", &ann, &ed25519, false),
        ("pubkeyacceptedalgorithms !ssh-ed*,*\n", &ann, &ed25519, true),
        ("requiredrsasize 3072\n", &ann, &rsa, true),
        ("requiredrsasize 3072\n", &ann, &ed25519, false),
        ("requiredrsasize 2048\n", &ann, &rsa, false),
        ("rsaminsize 4096\n", &ann, &rsa, true),
        ("", &ann, &ed25519, false),
    ] {
        let found = sshd(settings).key_obstacle(who, &[], Some(key));
        assert_eq!(found.is_some(), shut, "{settings}{}: {found:?}", key.kind());
    }
}

#[test]
fn an_sshd_that_does_not_tell_its_settings_has_no_known_key_files() {
    assert!(sshd("").key_files(&account("ann", 1000)).is_err());
}

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

fn plain(line: &str) -> PublicKey {
    PublicKey::parse(line).expect("a key")
}

fn rsa_2048() -> PublicKey {
    let modulus = [&[0][..], &[0xc3; 256]].concat();
    let mut blob = Vec::new();
    for part in [&b"ssh-rsa"[..], &[1, 0, 1], &modulus] {
        blob.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
        blob.extend(part);
    }
    PublicKey::from_blob(&blob).expect("a key")
}
