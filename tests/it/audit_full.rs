//! The disk of the journal is full: nothing is answered unrecorded, nothing is
//! done, and all works again when there is space.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Appliance, eventually};

/// A small file system in the place of the journal's folder, with what was in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under(appliance: &Appliance) -> Self {
        let folder = appliance.audit_folder();
        let kept: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
            .collect();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=80m,mode=700", "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mounted.unwrap().success(), "a tmpfs is needed, and root to mount it");
        for (name, bytes) in kept {
            fs::write(folder.join(name), bytes).unwrap();
        }
        Self(folder)
    }

    /// Takes all space that there is.
    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_stops_every_answer_and_change_until_there_is_space() {
    let mut appliance = Appliance::new();
    let disk = SmallDisk::under(&appliance);
    appliance.start().await;
    let admin = appliance.admin();
    admin.create_secret("db", "one").await;
    disk.fill();
    eventually("the vault refuses", async || {
        admin.call("GetSecretValue", &[("SecretName", "db")]).await.is_err().then_some(())
    })
    .await;
    let before = appliance.rows();
    for (action, parameters) in [
        ("GetSecretValue", &[("SecretName", "db")][..]),
        ("PutSecretValue", &[("SecretName", "db"), ("VersionId", "v2"), ("SecretData", "two")]),
        ("DeleteSecret", &[("SecretName", "db"), ("ForceDeleteWithoutRecovery", "true")]),
        ("CreateUser", &[("UserName", "alice")]),
        ("ListSecrets", &[]),
        ("GetSecretValue", &[("SecretName", "missing")]),
        ("GetSecretValue", &[]),
    ] {
        let refused = admin.call(action, parameters).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (503, "ServiceUnavailable"), "{action}");
        assert!(!refused.message.contains("one"));
    }
    assert_eq!(appliance.rows(), before, "nothing was done");
    assert!(!appliance.is_healthy().await);
    assert!(appliance.is_running());

    disk.empty();
    eventually("it serves again", async || appliance.is_healthy().await.then_some(())).await;
    assert_eq!(admin.value("db").await, "one");
    let put = [("SecretName", "db"), ("VersionId", "v2"), ("SecretData", "two")];
    admin.ok("PutSecretValue", &put).await;
    appliance.kill();
    appliance.start().await;
    assert_eq!(appliance.admin().value("db").await, "two");
    let events = appliance.audit_events();
    assert!(
        events.iter().filter(|e| e["eventName"] == "PutSecretValue").count() == 2,
        "begun and ended, once"
    );
    appliance.stop();
    drop(disk);
}
