//! The machine: where its files and tools are.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Where tools are looked for, in this order and nowhere else: `PATH` belongs
/// to whoever started us.
const TOOL_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Largest system file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The machine whose credential is changed, seen from its root folder.
#[derive(Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine below `root`, which is `/` outside tests.
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the absolute path `path` of the machine really is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The program `name` of the system, if there is one.
    pub(crate) fn tool(&self, name: &str) -> Option<PathBuf> {
        TOOL_FOLDERS.iter().map(|folder| self.path(folder).join(name)).find(|path| {
            fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
    }

    /// The content of a system file, wiped when dropped.
    ///
    /// # Errors
    ///
    /// Those of the file, and one for a file of more than 16 MiB.
    pub(crate) fn read(&self, path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let file = fs::File::open(self.path(path))?;
        let size = file.metadata()?.len();
        // Reserved before reading, so that growing leaves no copies behind.
        let room = usize::try_from(size.min(MAX_FILE_BYTES)).unwrap_or(0);
        let mut content = Zeroizing::new(Vec::with_capacity(room.saturating_add(4_096)));
        file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) >= MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "file too large"));
        }
        Ok(content)
    }

    /// Whether the absolute path `path` of the machine exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Whether this is Debian or made from it, going by os-release(5).
    pub(crate) fn is_debian(&self) -> bool {
        let names = format!("{} {}", self.release("ID"), self.release("ID_LIKE"));
        names.split_ascii_whitespace().any(|name| name == "debian")
    }

    /// `ID` and `VERSION_ID` of os-release(5), such as `debian 12`; `unknown`
    /// where there is no such file.
    pub(crate) fn distribution(&self) -> String {
        let both = format!("{} {}", self.release("ID"), self.release("VERSION_ID"));
        let plain: String = both
            .trim()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || " ._-+".contains(*c))
            .take(48)
            .collect();
        if plain.is_empty() { "unknown".to_owned() } else { plain }
    }

    /// A value of os-release(5); empty where there is none.
    fn release(&self, name: &str) -> String {
        let text =
            self.read("/etc/os-release").or_else(|_| self.read("/usr/lib/os-release")).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_read_from_os_release() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("etc")).expect("etc");
        let host = Host::new(folder.path().to_owned());
        assert_eq!(host.distribution(), "unknown");
        fs::write(folder.path().join("etc/os-release"), "PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n")
            .expect("os-release");
        assert_eq!(host.distribution(), "debian 12");
        assert!(host.is_debian());
        for (release, debian) in
            [("ID=ubuntu\nID_LIKE=debian\n", true), ("ID=alinux\nID_LIKE=\"rhel\"\n", false)]
        {
            fs::write(folder.path().join("etc/os-release"), release).expect("os-release");
            assert_eq!(host.is_debian(), debian, "{release}");
        }
    }

    #[test]
    fn only_executable_files_in_the_fixed_folders_are_tools() {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("usr/sbin");
        fs::create_dir_all(&bin).expect("folders");
        fs::write(bin.join("chpasswd"), "").expect("file");
        let host = Host::new(folder.path().to_owned());
        assert_eq!(host.tool("chpasswd"), None);
        fs::set_permissions(bin.join("chpasswd"), fs::Permissions::from_mode(0o755)).expect("mode");
        assert_eq!(host.tool("chpasswd"), Some(bin.join("chpasswd")));
    }
}
