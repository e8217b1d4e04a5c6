//! What happens to the files of keys on a host.

use super::{Kind, NAME, USER, World};

const FILE: &str = "/home/deploy/.ssh/authorized_keys";

/// Lines of other people, as untidy as they are found.
const OTHERS: &str = "# the night shift\n\
    \n\
    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9bVZOLIbPGvIDcAdQKiKrrZ9r5kHh2O9VvM9VZgF2V night@shift\t \n\
    from=\"10.0.0.0/8\",command=\"/bin/echo \\\"hello  world\\\"\" ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIGn4CNSWuBSoCbXk5HcyZMTfTT5wl1Yc6rF4ZsPOkfLR backup  robot\r\n\
    this line is no key at all\n\
    #ssh-rsa AAAA commented out\n";

fn type_of(public: &str) -> &str {
    public.split(' ').next().unwrap()
}

#[tokio::test]
async fn the_kind_of_key_is_that_of_the_configuration_and_every_kind_logs_on() {
    for (key_type, name) in [("rsa2048", "ssh-rsa"), ("rsa4096", "ssh-rsa"), ("ed25519", "ssh-ed25519")] {
        let world = World::with(Kind::Key, &format!("key_type = \"{key_type}\""), false).await;
        assert_eq!(world.rotate_to_the_end("v2").await.state, "Done");
        let current = world.at_rest(key_type).await;
        assert_eq!(type_of(current.public()), name);
        let header = if name == "ssh-rsa" {
            "-----BEGIN RSA PRIVATE KEY-----"
        } else {
            "-----BEGIN OPENSSH PRIVATE KEY-----"
        };
        assert!(current.secret().starts_with(header), "{key_type}");
    }
}

#[tokio::test]
async fn lines_of_other_people_stay_as_they_are_byte_for_byte() {
    let world = World::with(Kind::Key, "key_type = \"ed25519\"", false).await;
    let first = world.current(NAME).await;
    let (before, after) = OTHERS.split_at(OTHERS.find("from=").unwrap());
    let file = [before, first.public(), "\n", after].concat();
    let written = world
        .host
        .record()
        .exec_with_input(&["sh", "-c", &format!("cat > {FILE}")], file.as_bytes())
        .unwrap();
    assert!(written.status.success());
    let stat = || world.shell(&format!("stat -c '%U:%G %a' {FILE} && stat -c '%U:%G %a' /home/{USER}/.ssh"));
    let access = stat();
    for version in ["v2", "v3"] {
        assert_eq!(world.rotate_to_the_end(version).await.state, "Done");
        let current = world.at_rest(version).await;
        let content = world.shell(&format!("cat {FILE}"));
        let blob = current.public().split(' ').nth(1).unwrap();
        let (ours, others): (Vec<&str>, Vec<&str>) =
            content.split_inclusive('\n').partition(|line| line.contains(blob));
        assert_eq!(ours.len(), 1, "{content}");
        assert_eq!(others.concat(), OTHERS, "{version}");
        assert_eq!(stat(), access);
    }
}
