//! What sshd would do for one user, as `sshd -T` tells it.

use std::time::Duration;

use crate::accounts::{Account, Group};
use crate::host::Host;
use crate::public_key::PublicKey;
use crate::tool::{self, Ended};
use crate::user_name::UserName;

/// How long sshd may take to print its settings.
const LIMIT: Duration = Duration::from_secs(5);

/// Where keys are if sshd does not say: its own default (`sshd_config(5)`).
const DEFAULT_FILES: &str = ".ssh/authorized_keys .ssh/authorized_keys2";

/// The settings of sshd that apply to one user who comes from the machine
/// itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sshd {
    /// There is an sshd.
    pub(crate) installed: bool,
    settings: Vec<(String, String)>,
}

/// Whether a way in is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As far as the settings go.
    Open,
    /// A setting closes it.
    Blocked,
    /// It depends on what cannot be seen from here.
    Unknown,
}

impl Way {
    /// The word of a result's `login_path`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
        }
    }
}

impl Sshd {
    /// Asks sshd. All three parts of `-C` are given since old versions demand
    /// them; without an sshd, or if it fails, no settings are known.
    pub(crate) fn ask(host: &Host, user: &UserName) -> Self {
        let Some(path) = host.tool("sshd") else {
            return Self::default();
        };
        let whom = format!("user={user},host=localhost,addr=127.0.0.1");
        let answer = tool::ask(&path, &["-T", "-C", &whom], LIMIT, 1 << 18);
        let text = match &answer {
            Ok((Ended::Exit(0), output)) => String::from_utf8_lossy(output),
            Ok(_) | Err(_) => "".into(),
        };
        Self { installed: true, settings: Self::read(&text) }
    }

    /// Whether the settings are known.
    pub(crate) const fn is_known(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The value of a setting, by its name in lower case.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.settings.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The key files of the user, expanded and absolute, in sshd's order.
    ///
    /// # Errors
    ///
    /// A clause, where there are none, one cannot be expanded, or there is an
    /// sshd that does not say: the default may be a file that it never reads.
    pub(crate) fn key_files(&self, account: &Account) -> Result<Vec<String>, &'static str> {
        if self.installed && !self.is_known() {
            return Err("sshd does not tell its settings: see what `sshd -T` says");
        }
        let files = self.value("authorizedkeysfile").unwrap_or(DEFAULT_FILES);
        if files == "none" {
            return Err("sshd reads no key files for this user");
        }
        if !account.home.starts_with('/') {
            return Err("the home folder is not an absolute path");
        }
        let files: Option<Vec<String>> =
            files.split_ascii_whitespace().map(|file| expand(file, account)).collect();
        match files {
            Some(files) if !files.is_empty() => Ok(files),
            Some(_) | None => Err("the names of the key files cannot be expanded"),
        }
    }

    /// Whether this user may log on with a password.
    pub(crate) fn password_way(&self, account: &Account, groups: &[Group]) -> Way {
        if !self.is_known() {
            return Way::Unknown;
        }
        let is = |name: &str, wanted: &str| self.value(name) == Some(wanted);
        let keyboard =
            is("kbdinteractiveauthentication", "yes") || is("challengeresponseauthentication", "yes");
        let asked = is("passwordauthentication", "yes") || (keyboard && is("usepam", "yes"));
        let root = account.uid != 0 || is("permitrootlogin", "yes");
        self.admits(account, groups).and(asked && root)
    }

    /// Whether this user may log on with `key`; without one, with some key.
    pub(crate) fn key_way(&self, account: &Account, groups: &[Group], key: Option<&PublicKey>) -> Way {
        if !self.is_known() {
            return Way::Unknown;
        }
        let open = self.key_obstacle(account, groups, key).is_none();
        self.admits(account, groups).and(open)
    }

    /// The setting for which this user certainly cannot log on with `key`, as
    /// a clause; none if nothing is known to be in the way.
    pub(crate) fn key_obstacle(
        &self,
        account: &Account,
        groups: &[Group],
        key: Option<&PublicKey>,
    ) -> Option<&'static str> {
        if !self.is_known() {
            return None;
        }
        let root_may =
            matches!(self.value("permitrootlogin"), Some("yes" | "without-password" | "prohibit-password"));
        let checks = [
            (self.value("pubkeyauthentication") == Some("no"), "sshd takes no keys (PubkeyAuthentication)"),
            (!self.asks_for_keys(), "sshd asks for no key (AuthenticationMethods)"),
            (account.uid == 0 && !root_may, "sshd lets root in with no key (PermitRootLogin)"),
            (
                self.admits(account, groups) == Way::Blocked,
                "sshd shuts this user out (AllowUsers, DenyUsers, AllowGroups, DenyGroups)",
            ),
            (
                key.is_some_and(|key| !self.accepts(key.kind())),
                "sshd takes no keys of this type (PubkeyAcceptedAlgorithms)",
            ),
            (
                key.and_then(PublicKey::rsa_bits).is_some_and(|bits| bits < self.least_rsa_bits()),
                "the key is too short for sshd (RequiredRSASize)",
            ),
        ];
        let mut found = checks.into_iter().filter(|(stands, _)| *stands);
        found.next().map(|(_, clause)| clause)
    }

    /// Whether one of the lists of AuthenticationMethods names keys.
    fn asks_for_keys(&self) -> bool {
        let lists = self.value("authenticationmethods").unwrap_or("any");
        lists == "any"
            || lists.split([' ', ',']).any(|method| method == "publickey" || method.starts_with("publickey:"))
    }

    /// Whether signatures of a key of type `kind` are taken. RSA keys sign by
    /// three names, of which one is that of the key (RFC 8332 section 3).
    fn accepts(&self, kind: &str) -> bool {
        let list = self.value("pubkeyacceptedalgorithms").or_else(|| self.value("pubkeyacceptedkeytypes"));
        let names: &[&str] = match kind {
            "ssh-rsa" => &["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"],
            kind => &[kind],
        };
        let is_listed = |list: &str, name: &str| {
            let is_meant = |pattern: &str| matches(pattern.as_bytes(), name.as_bytes());
            let denied = list.split(',').filter_map(|pattern| pattern.strip_prefix('!')).any(is_meant);
            !denied && list.split(',').any(is_meant)
        };
        list.is_none_or(|list| names.iter().any(|name| is_listed(list, name)))
    }

    /// The shortest RSA key that is taken, in bits; 0 where sshd has no such
    /// rule. `RSAMinSize` is what Red Hat called it first.
    fn least_rsa_bits(&self) -> usize {
        self.value("requiredrsasize")
            .or_else(|| self.value("rsaminsize"))
            .and_then(|bits| bits.parse().ok())
            .unwrap_or(0)
    }

    /// The lists of users and groups.
    fn admits(&self, account: &Account, groups: &[Group]) -> Way {
        let user = [account.name.as_str()];
        let groups: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let lists = [
            (self.listed("denyusers", &user), true),
            (self.listed("allowusers", &user), false),
            (self.listed("denygroups", &groups), true),
            (self.listed("allowgroups", &groups), false),
        ];
        let mut way = Way::Open;
        for (listed, denies) in lists {
            match listed {
                Some(Way::Open) if denies => return Way::Blocked,
                Some(Way::Blocked) if !denies => return Way::Blocked,
                Some(Way::Unknown) => way = Way::Unknown,
                Some(Way::Open | Way::Blocked) | None => {}
            }
        }
        way
    }

    /// Whether a list names one of `names`: none if there is no such list,
    /// unknown if it depends on where the client is.
    fn listed(&self, name: &str, names: &[&str]) -> Option<Way> {
        let mut entries = self
            .settings
            .iter()
            .filter(|(known, _)| known == name)
            .flat_map(|(_, value)| value.split_ascii_whitespace())
            .peekable();
        entries.peek()?;
        let mut way = Way::Blocked;
        for entry in entries {
            let (pattern, place) = entry.split_once('@').unwrap_or((entry, ""));
            if names.iter().any(|name| matches(pattern.as_bytes(), name.as_bytes())) {
                if place.is_empty() {
                    return Some(Way::Open);
                }
                way = Way::Unknown;
            }
        }
        Some(way)
    }

    fn read(text: &str) -> Vec<(String, String)> {
        text.lines()
            .filter_map(|line| line.trim().split_once(' '))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect()
    }
}

impl Way {
    const fn and(self, open: bool) -> Self {
        if open { self } else { Self::Blocked }
    }
}

/// Expands `%h`, `%u`, `%U` and `%%`, and puts the home folder before what is
/// relative (`sshd_config(5)`, AuthorizedKeysFile).
fn expand(file: &str, account: &Account) -> Option<String> {
    let mut path = String::new();
    let mut chars = file.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            path.push(c);
            continue;
        }
        match chars.next()? {
            'h' => path.push_str(&account.home),
            'u' => path.push_str(&account.name),
            'U' => path.push_str(&account.uid.to_string()),
            '%' => path.push('%'),
            _ => return None,
        }
    }
    if path.starts_with('/') {
        Some(path)
    } else {
        Some(format!("{}/{path}", account.home.trim_end_matches('/')))
    }
}

/// Whether `text` is of the form `pattern`, with `*` and `?` (ssh_config(5),
/// PATTERNS).
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, text),
        (Some((b'*', rest)), Some((_, later))) => matches(rest, text) || matches(pattern, later),
        (Some((wanted, rest)), Some((found, later))) if *wanted == b'?' || wanted == found => {
            matches(rest, later)
        }
        (Some(_) | None, Some(_) | None) => false,
    }
}

#[cfg(test)]
#[path = "sshd_tests.rs"]
mod tests;
