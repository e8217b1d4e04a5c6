//! The files in which sshd looks for a user's keys.
//!
//! The user controls the folder, so the way there is walked without following
//! links, one folder at a time, each held open and checked; and inside a home
//! folder the kernel is asked to treat us as the user. Whatever the user does
//! meanwhile, nothing is read or written that he could not read or write.
//!
//! A file is only ever replaced as a whole, and all bytes of it that are not
//! the secret's own lines are kept.

mod edit;
mod entry;
mod identity;
mod peek;
mod replace;
mod walk;

pub(crate) use edit::{add, keep_one, remove};
pub(crate) use entry::{Entry, entries};

use rustix::io::Errno;

use crate::accounts::{Account, Group};
use crate::authorized_keys::walk::Place;
use crate::durable;
use crate::host::Host;
use crate::public_key::Fingerprint;
use crate::report::{Code, Refusal};
use crate::request::Id;

/// How often a change is tried anew because somebody else changed the file
/// meanwhile.
const MAX_TRIES: u32 = 5;

/// One key file of one user; it need not exist.
#[derive(Debug)]
pub(crate) struct KeyFile<'a> {
    host: &'a Host,
    account: &'a Account,
    groups: &'a [Group],
    path: &'a str,
}

impl<'a> KeyFile<'a> {
    /// The file at the absolute path `path`.
    pub(crate) const fn new(
        host: &'a Host,
        account: &'a Account,
        groups: &'a [Group],
        path: &'a str,
    ) -> Self {
        Self { host, account, groups, path }
    }

    /// The content; none if there is no such file.
    ///
    /// # Errors
    ///
    /// `home_unsafe`, `authorized_keys_symlink` or `authorized_keys_unsafe`
    /// where reading would follow what the user should not lead us along.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Refusal> {
        self.as_owner(&|| {
            let Some(place) = Place::find(self.host, self.account, self.path, false)? else {
                return Ok(None);
            };
            Ok(place.open_file(self.account)?.map(|file| file.content))
        })
    }

    /// Whether file or folder can be written by the user's own group, which
    /// not every sshd would bear.
    pub(crate) fn is_loose(&self) -> bool {
        let loose = self.as_owner(&|| {
            let place = Place::find(self.host, self.account, self.path, false)?;
            Ok(place.is_some_and(|place| place.is_loose(self.account)))
        });
        loose == Ok(true)
    }

    /// Whether nobody can replace the file before a person takes a mark off it
    /// or off its folder (chattr(1)).
    pub(crate) fn is_frozen(&self) -> bool {
        let frozen = self.as_owner(&|| {
            let place = Place::find(self.host, self.account, self.path, false)?;
            Ok(match place {
                Some(place) => {
                    let file = place.open_file(self.account)?.map(|found| found.file);
                    [Some(place.folder), file].iter().flatten().any(durable::is_frozen)
                }
                None => false,
            })
        });
        frozen == Ok(true)
    }

    /// Whether the user, with whose rights sshd reads, can read the file.
    pub(crate) fn is_readable_to_sshd(&self) -> bool {
        let opened = identity::as_user(self.account, self.groups, &|| match Place::find(
            self.host,
            self.account,
            self.path,
            false,
        )? {
            Some(place) => place.open_file(self.account).map(|_| ()),
            None => Ok(()),
        });
        opened.is_ok()
    }

    /// The keys that sshd may find in the file, also where it is not safe for
    /// us to read; none if that cannot be told.
    pub(crate) fn visible_keys(&self) -> Option<Vec<Fingerprint>> {
        let path = self.host.path(self.path);
        let peek = || peek::peek(&path);
        let content = identity::as_user(self.account, self.groups, &peek).ok()?;
        let keys = entries(&content).filter_map(|(_, entry)| entry);
        Some(keys.map(|entry| entry.fingerprint).collect())
    }

    /// Replaces the content by what `edit` makes of it, making folder and file
    /// where they are missing; an `edit` that gives none changes nothing.
    ///
    /// The value says whether anything was written.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read), and `disk_full`. Whatever happens, the
    /// file is whole: as it was, or as `edit` made it.
    pub(crate) fn change(
        &self,
        rid: &Id,
        edit: &(dyn Fn(&[u8]) -> Option<Vec<u8>> + Sync),
    ) -> Result<bool, Refusal> {
        let written = self.as_owner(&|| self.change_once(rid, edit)).map_err(|refusal| {
            let frozen = refusal.code == Code::AuthorizedKeysUnsafe && self.is_frozen();
            if frozen { frozen_file() } else { refusal }
        })?;
        if written {
            self.label();
        }
        Ok(written)
    }

    fn change_once(
        &self,
        rid: &Id,
        edit: &(dyn Fn(&[u8]) -> Option<Vec<u8>> + Sync),
    ) -> Result<bool, Refusal> {
        for _ in 0..MAX_TRIES {
            let found = Place::find(self.host, self.account, self.path, false)?;
            let file = match &found {
                Some(place) => place.open_file(self.account)?,
                None => None,
            };
            let former = file.as_ref().map_or(&[][..], |file| &file.content);
            let Some(content) = edit(former) else {
                return Ok(false);
            };
            let place = match found {
                Some(place) => Some(place),
                None => Place::find(self.host, self.account, self.path, true)?,
            };
            let place = place
                .ok_or_else(|| Refusal::new(Code::HomeUnsafe, "the folder of the key file is missing"))?;
            let replaced = replace::replace(&place, file.as_ref(), self.account, rid, &content);
            if replaced.map_err(|e| refused(e, "the key file cannot be written"))? {
                return Ok(true);
            }
        }
        Err(Refusal::new(Code::Internal, "somebody else keeps changing the key file"))
    }

    /// Does `work` as the user if the file is below the user's own home, else
    /// as root.
    ///
    /// A file of root's inside a home stays root's, so only root can replace
    /// it; the walk is the same and as safe.
    fn as_owner<T: Send>(&self, work: &(dyn Fn() -> Result<T, Refusal> + Sync)) -> Result<T, Refusal> {
        let home = self.account.home.trim_end_matches('/');
        let below = self.path.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'));
        if self.account.uid == 0 || home.is_empty() || !below {
            return work();
        }
        let user = |work: &(dyn Fn() -> Result<_, Refusal> + Sync)| {
            identity::as_user(self.account, self.groups, work)
        };
        let owner = identity::as_user(self.account, self.groups, &|| {
            Ok(match Place::find(self.host, self.account, self.path, false)? {
                Some(place) => place.owner(),
                None => None,
            })
        })?;
        if owner == Some(0) { work() } else { user(work) }
    }

    /// Gives folder and file the label that the policy of SELinux wants; sshd
    /// could not read them otherwise.
    fn label(&self) {
        let Some(tool) = self.host.tool("restorecon").filter(|_| self.host.has("/sys/fs/selinux/enforce"))
        else {
            return;
        };
        let file = self.host.path(self.path);
        let folder = file.parent().unwrap_or(&file);
        if let (Some(folder), Some(file)) = (folder.to_str(), file.to_str()) {
            // The key is there; a label that cannot be set shows when it is used.
            drop(crate::tool::ask(&tool, &["-F", folder, file], std::time::Duration::from_secs(5), 0));
        }
    }
}

/// The refusal of a file that nobody can replace.
pub(crate) fn frozen_file() -> Refusal {
    let detail = "the key file or its folder is immutable: see lsattr(1)";
    Refusal::new(Code::AuthorizedKeysUnsafe, detail)
}

/// The refusal that a failed system call means.
fn refused(e: Errno, what: &str) -> Refusal {
    let (code, why) = match e {
        Errno::NOSPC | Errno::DQUOT => (Code::DiskFull, "no room left"),
        Errno::ROFS => (Code::AuthorizedKeysUnsafe, "the file system is read-only"),
        Errno::PERM | Errno::ACCESS => (Code::AuthorizedKeysUnsafe, "permission denied"),
        _ => (Code::Internal, "the system call failed"),
    };
    Refusal::new(code, format!("{what}: {why}"))
}
