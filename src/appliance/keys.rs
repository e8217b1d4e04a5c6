//! The keys of a vault in its token, and the service that uses them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use strongroom_hsm::{KeyService, KnownKey, SecretBytes, TokenConfig, WorkerProgram};

use super::{ApplianceError, Config};
use crate::seal::{Integrity, MasterKey};
use crate::store::{Store, StoreError};

/// The name of the setting that keeps the vault's identity and keys.
pub(super) const VAULT: &str = "vault";

/// The file, below the data folder, that remembers which PIN a token refused.
pub(super) const PIN_REFUSED: &str = "pin-refused";

/// What makes a database the database of one vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VaultKeys {
    /// The vault's own name, in audit records and in the derivation of its keys.
    pub(super) origin: String,
    /// Account and region, so that another configuration is noticed.
    pub(super) account: String,
    pub(super) region: String,
    /// Master keys with their versions, the newest last.
    pub(super) masters: Vec<(u32, KnownKey)>,
    /// The key that row MACs are derived from.
    pub(super) integrity: KnownKey,
    /// The key for audit checkpoints.
    pub(super) audit: KnownKey,
}

impl VaultKeys {
    /// Reads them from a database, as yet unchecked: the key that checks the
    /// row is named in it. [`open`](Self::open) checks it.
    pub(super) async fn read(store: &dyn Store) -> Result<(Self, crate::model::Guarded), ApplianceError> {
        let row = store.setting(VAULT).await?.ok_or(ApplianceError::OtherVault)?;
        let keys = serde_json::from_str(&row.body).ok();
        Ok((keys.ok_or(StoreError::Damaged("settings.vault"))?, row))
    }

    /// All keys, to be located and checked by the key worker.
    pub(super) fn known(&self) -> Vec<KnownKey> {
        let masters = self.masters.iter().map(|(_, key)| key.clone());
        masters.chain([self.integrity.clone(), self.audit.clone()]).collect()
    }

    /// The master keys for the sealer.
    pub(super) fn masters(&self) -> Vec<MasterKey> {
        self.masters
            .iter()
            .map(|(version, known)| MasterKey { key: known.key.clone(), version: *version })
            .collect()
    }

    /// Derives the integrity key and checks with it the very row that named it.
    pub(super) async fn open(
        &self,
        service: &KeyService,
        row: &crate::model::Guarded,
        config: &Config,
    ) -> Result<Integrity, ApplianceError> {
        let integrity = Integrity::derive(service, &self.integrity.key, &self.origin).await?;
        integrity.check::<Self>("settings", VAULT, row)?;
        if self.account != config.account.as_str() || self.region != config.region.as_str() {
            return Err(ApplianceError::OtherVault);
        }
        Ok(integrity)
    }
}

/// This very program as the key worker.
pub(super) fn worker() -> Result<WorkerProgram, ApplianceError> {
    let program = std::env::current_exe().map_err(ApplianceError::file("find", Path::new("this program")))?;
    Ok(WorkerProgram { program, args: vec!["hsm-worker".to_owned()] })
}

/// The token as the configuration names it.
pub(super) fn token(config: &Config) -> TokenConfig {
    TokenConfig {
        token_serial: config.hsm.token_serial.clone(),
        sessions: config.hsm.sessions,
        softhsm_conf: config.hsm.softhsm_conf.as_ref().map(|path| config.path(path)),
        call_deadline: Duration::from_secs(config.hsm.call_deadline_seconds),
        pin_marker: Some(config.path(Path::new(PIN_REFUSED))),
        ..TokenConfig::new(config.hsm.module.clone(), config.hsm.token_label.clone())
    }
}

/// Starts the key worker, which logs in and checks every key.
pub(super) async fn start(config: &Config, keys: &VaultKeys) -> Result<KeyService, ApplianceError> {
    let pin = pin_file(&config.path(&config.hsm.pin_file))?;
    Ok(KeyService::start(worker()?, token(config), pin, keys.known()).await?)
}

/// Longest secret in a file.
const MAX_SECRET: usize = 4_096;

/// Reads a secret from a file that only its owner may read, without the line
/// end that editors add. The owner must be root or the user of this process:
/// anybody else could put another secret there.
pub(super) fn secret_file(path: &Path) -> Result<SecretBytes, ApplianceError> {
    let file = fs::File::open(path).map_err(ApplianceError::file("open", path))?;
    read_secret(file, path)
}

/// As [`secret_file`], for the PIN, whose file must stand there itself: systemd
/// puts plain files, and a link could lead the PIN of another token here.
pub(super) fn pin_file(path: &Path) -> Result<SecretBytes, ApplianceError> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(flags).open(path);
    read_secret(file.map_err(ApplianceError::file("open, and not by way of a link,", path))?, path)
}

fn read_secret(mut file: fs::File, path: &Path) -> Result<SecretBytes, ApplianceError> {
    let meta = file.metadata().map_err(ApplianceError::file("look at", path))?;
    if meta.mode() & 0o077 != 0 {
        return Err(ApplianceError::OpenFile(path.to_owned()));
    }
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let reason = format!("it belongs to user {owner}, and not to root or the user of this process");
        return Err(ApplianceError::file("trust", path)(std::io::Error::other(reason)));
    }
    let mut buffer = zeroize::Zeroizing::new(vec![0_u8; MAX_SECRET]);
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(ApplianceError::file("read", path))? {
            0 => break,
            read => length += read,
        }
    }
    let text = buffer.get(..length).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    Ok(SecretBytes::copy_of(text.strip_suffix(b"\r").unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_pin_comes_from_a_plain_file_of_root_or_ourselves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        fs::write(&path, "1234\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(pin_file(&path).unwrap().matches(b"1234"));

        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(pin_file(&link), Err(ApplianceError::File { .. })));
        assert!(secret_file(&link).unwrap().matches(b"1234"), "certificates are often links");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(matches!(pin_file(&path), Err(ApplianceError::OpenFile(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();

        // Only root can give a file away, and only root could read it then.
        if chown(&path, Some(4711), None).is_ok() {
            assert!(matches!(pin_file(&path), Err(ApplianceError::File { deed: "trust", .. })));
        }
    }
}
