//! Loading the vendor's library and finding the token behind it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::slot::{Slot, TokenInfo};

use super::faults;
use crate::error::HsmError;

/// Write permission for the group and for everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Loads and initialises the library at `path`.
///
/// It runs with our rights and is given the PIN, so nobody but root or
/// ourselves may be able to replace it: the path is absolute, and neither the
/// file, nor its folder, nor the folder of a link to it can be written by
/// others.
pub(super) fn load(path: &Path, token: &str) -> Result<Pkcs11, HsmError> {
    examine(path).map_err(|what| HsmError::Configuration {
        operation: "load the PKCS#11 module".into(),
        token: token.into(),
        ckr: what,
        hint: "the module receives the PIN: give the absolute path of a file that only root or this user can change".into(),
    })?;
    let failed = |error: &cryptoki::error::Error| HsmError::Configuration {
        operation: "load the PKCS#11 module".into(),
        token: token.into(),
        ckr: faults::name(error),
        hint: format!(
            "check that {} is a PKCS#11 library for this processor and that its own configuration can be read",
            path.display()
        ),
    };
    let context = Pkcs11::new(path).map_err(|error| failed(&error))?;
    context
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| failed(&error))?;
    refuse_spy(&context, path, token)?;
    Ok(context)
}

fn examine(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err(format!("{} is not an absolute path", path.display()));
    }
    let file = path.canonicalize().map_err(|error| format!("{} cannot be found: {error}", path.display()))?;
    let metadata = examine_one(&file)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", file.display()));
    }
    for folder in [path.parent(), file.parent()].into_iter().flatten() {
        examine_one(folder)?;
    }
    Ok(())
}

fn examine_one(path: &Path) -> Result<Metadata, String> {
    let metadata =
        path.metadata().map_err(|error| format!("{} cannot be examined: {error}", path.display()))?;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(format!(
            "{} can be written by others (mode {:04o})",
            path.display(),
            metadata.mode() & 0o7777
        ));
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!("{} belongs to user {owner}", path.display()));
    }
    Ok(metadata)
}

/// `pkcs11-spy` writes the PIN and every data key into its log.
fn refuse_spy(context: &Pkcs11, path: &Path, token: &str) -> Result<(), HsmError> {
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().contains("spy"));
    let described = context.get_library_info().is_ok_and(|info| {
        info.library_description().to_lowercase().contains("spy")
            || info.manufacturer_id().to_lowercase().contains("spy")
    });
    if named || described {
        return Err(HsmError::Configuration {
            operation: "load the PKCS#11 module".into(),
            token: token.into(),
            ckr: format!("{} records every call", path.display()),
            hint: "a spy module writes the PIN and all data keys into its log".into(),
        });
    }
    Ok(())
}

/// Finds the one token of that label, and of that serial number if given.
pub(super) fn find_token(
    context: &Pkcs11,
    label: &str,
    serial: Option<&str>,
) -> Result<(Slot, TokenInfo), HsmError> {
    let found = tokens(context, label)?
        .into_iter()
        .filter(|(_, info)| info.token_initialized() && info.label() == label)
        .filter(|(_, info)| serial.is_none_or(|serial| info.serial_number() == serial))
        .collect::<Vec<_>>();
    let what = match <[_; 1]>::try_from(found) {
        Ok([only]) => return Ok(only),
        Err(others) if others.is_empty() => match serial {
            Some(serial) => format!("no token of that label has serial number {serial}"),
            None => "there is no token of that label".to_owned(),
        },
        Err(others) => format!("{} tokens have that label", others.len()),
    };
    Err(HsmError::Configuration {
        operation: "find the token".into(),
        token: label.into(),
        ckr: what,
        hint: "check token_label and token_serial, that the token is present, and that the module's own configuration names the right folder or device".into(),
    })
}

/// Every slot with a token, initialised or not.
pub(super) fn tokens(context: &Pkcs11, label: &str) -> Result<Vec<(Slot, TokenInfo)>, HsmError> {
    let failed = |error: &cryptoki::error::Error| faults::token_error("list the tokens", label, error);
    context
        .get_slots_with_token()
        .map_err(|error| failed(&error))?
        .into_iter()
        .map(|slot| Ok((slot, context.get_token_info(slot).map_err(|error| failed(&error))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::examine;

    #[test]
    fn a_relative_module_path_is_refused() {
        assert!(examine(Path::new("libsofthsm2.so")).unwrap_err().contains("absolute"));
    }

    #[test]
    fn a_module_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module.so");
        fs::write(&module, b"library").unwrap();
        for (file_mode, folder_mode, accepted) in [
            (0o644, 0o755, true),
            (0o664, 0o755, false),
            (0o646, 0o755, false),
            (0o644, 0o775, false),
            (0o644, 0o757, false),
        ] {
            fs::set_permissions(&module, Permissions::from_mode(file_mode)).unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).unwrap();
            assert_eq!(examine(&module).is_ok(), accepted, "{file_mode:o} in {folder_mode:o}");
        }
    }

    #[test]
    fn a_link_in_a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module.so");
        fs::write(&module, b"library").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let link = open.join("module.so");
        std::os::unix::fs::symlink(&module, &link).unwrap();
        assert!(examine(&link).unwrap_err().contains("written by others"));
    }
}
