//! Everything the system says of the user whose credential is changed.

use std::time::Duration;

use serde::Serialize;

use crate::accounts::{self, Account, Group, Shadow};
use crate::clock;
use crate::crypt::FieldState;
use crate::host::Host;
use crate::journal::{Journal, Phase};
use crate::public_key::PublicKey;
use crate::report::{Code, Refusal};
use crate::sshd::{Sshd, Way};
use crate::tool::{self, Ended};
use crate::user_name::UserName;

/// How long the name service may take.
const GETENT_LIMIT: Duration = Duration::from_secs(3);

/// A local user.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// From `/etc/passwd`.
    pub(crate) account: Account,
    /// From `/etc/shadow`, if the user is there.
    pub(crate) shadow: Option<Shadow>,
    /// From `/etc/group`.
    pub(crate) groups: Vec<Group>,
    /// What sshd says.
    pub(crate) sshd: Sshd,
}

impl Target {
    /// Looks the user up in the files.
    ///
    /// # Errors
    ///
    /// `user_missing`; `not_local_user` if the name service knows the user and
    /// the files do not; `internal` if a file cannot be read.
    pub(crate) fn find(host: &Host, user: &UserName) -> Result<Self, Refusal> {
        let unreadable = |file: &str| {
            let detail = format!("{file} cannot be read");
            move |_| Refusal::new(Code::Internal, detail)
        };
        let account = accounts::account(host, user).map_err(unreadable("/etc/passwd"))?;
        let Some(account) = account else {
            return Err(missing(host, user));
        };
        Ok(Self {
            shadow: accounts::shadow(host, user).map_err(unreadable("/etc/shadow"))?,
            groups: accounts::groups(host, &account).map_err(unreadable("/etc/group"))?,
            sshd: Sshd::ask(host, user),
            account,
        })
    }

    /// What would stop a login whatever the credential.
    ///
    /// # Errors
    ///
    /// `account_expired`.
    pub(crate) fn check_open(&self) -> Result<(), Refusal> {
        let today = clock::unix_days();
        match &self.shadow {
            Some(shadow) if shadow.is_expired(today) => {
                Err(Refusal::new(Code::AccountExpired, "the account has expired"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Says what time does to a password that is set every `interval_days`, if
    /// it is known how often; PAM minds it for keys as well.
    pub(crate) fn warn_of_ageing(&self, interval_days: Option<u32>, warn: &mut dyn FnMut(&'static str)) {
        let Some(shadow) = &self.shadow else {
            return;
        };
        if shadow.must_change(clock::unix_days()) {
            warn("password_expired");
        }
        if let Some(max) = shadow.max_days.filter(|max| (0..99_999).contains(max)) {
            match interval_days {
                Some(interval) if max < i64::from(interval) => warn("max_days_shorter_than_interval"),
                Some(_) => {}
                None => warn("max_days_limited"),
            }
        }
    }

    /// Says that `pam_faillock` counts failed logons of this user: too many,
    /// and it refuses a good password as well.
    pub(crate) fn warn_of_failures(&self, host: &Host, warn: &mut dyn FnMut(&'static str)) {
        let tally = host.path("/var/run/faillock").join(&self.account.name);
        if std::fs::metadata(tally).is_ok_and(|found| found.len() > 0) {
            warn("failed_logons_counted");
        }
    }

    /// Why this user certainly cannot log on with `key`, as a clause.
    pub(crate) fn key_obstacle(&self, key: Option<&PublicKey>) -> Option<&'static str> {
        // A field that begins so is what OpenSSH calls locked on Linux.
        let locked = self.shadow.as_ref().is_some_and(|shadow| shadow.field.expose().starts_with('!'));
        if locked && self.sshd.value("usepam") == Some("no") {
            return Some("the account is locked, which sshd minds where it does not use PAM");
        }
        self.sshd.key_obstacle(&self.account, &self.groups, key)
    }

    /// The ways in, by password and by `key`.
    pub(crate) fn ways(&self, host: &Host, key: Option<&PublicKey>) -> (Way, Way) {
        let shell = self.account.shell.as_str();
        let shut = shell.ends_with("/nologin")
            || shell.ends_with("/false")
            || (self.account.uid != 0 && host.has("/etc/nologin"));
        if shut {
            return (Way::Blocked, Way::Blocked);
        }
        let by_key = match self.key_obstacle(key) {
            Some(_) => Way::Blocked,
            None => self.sshd.key_way(&self.account, &self.groups, key),
        };
        (self.sshd.password_way(&self.account, &self.groups), by_key)
    }
}

fn missing(host: &Host, user: &UserName) -> Refusal {
    let known = host.tool("getent").is_some_and(|path| {
        let answer = tool::ask(&path, &["passwd", user.as_str()], GETENT_LIMIT, 1 << 16);
        matches!(answer, Ok((Ended::Exit(0), output)) if !output.is_empty())
    });
    if known {
        Refusal::new(Code::NotLocalUser, "the user is not in /etc/passwd but comes from a directory")
    } else {
        Refusal::new(Code::UserMissing, "no such user")
    }
}

/// The `facts` of a result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    os: &'static str,
    distro: String,
    user: UserFacts,
    sshd: SshdFacts,
    login_path: String,
    journal: Option<JournalFacts>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct UserFacts {
    exists: bool,
    local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<FieldState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_days: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive_days: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct SshdFacts {
    found: bool,
    #[serde(flatten)]
    settings: std::collections::BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, Serialize)]
struct JournalFacts {
    #[serde(rename = "gen")]
    generation: Option<u64>,
    rid: Option<String>,
    phase: Option<Phase>,
    fence_gen: u64,
}

/// The settings of sshd that a person wants to see beside a result.
const SHOWN: [&str; 8] = [
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "pubkeyauthentication",
    "permitrootlogin",
    "usepam",
    "authorizedkeysfile",
    "authorizedkeyscommand",
    "authenticationmethods",
];

impl Facts {
    /// Collects what is known of the machine, the user and the journal.
    pub(crate) fn of(
        host: &Host,
        target: Result<&Target, &Refusal>,
        key: Option<&PublicKey>,
        journal: &Journal,
    ) -> Self {
        let (user, sshd, ways) = match target {
            Ok(target) => {
                let shadow = target.shadow.as_ref();
                let limited = |days: &i64| (0..99_999).contains(days);
                let user = UserFacts {
                    exists: true,
                    local: true,
                    state: shadow.map(|shadow| shadow.field.state()),
                    uid: Some(target.account.uid),
                    max_days: shadow.and_then(|shadow| shadow.max_days).filter(limited),
                    inactive_days: shadow.and_then(|shadow| shadow.inactive_days),
                };
                let value = |name: &'static str| Some((name, short(target.sshd.value(name)?)));
                let sshd = SshdFacts {
                    found: target.sshd.installed,
                    settings: SHOWN.into_iter().filter_map(value).collect(),
                };
                (user, sshd, target.ways(host, key))
            }
            Err(refusal) => {
                let user = UserFacts { exists: refusal.code == Code::NotLocalUser, ..UserFacts::default() };
                (user, SshdFacts::default(), (Way::Unknown, Way::Unknown))
            }
        };
        let last = journal.rotation.as_ref();
        let empty = last.is_none() && journal.fence_generation == 0;
        Self {
            os: "linux",
            distro: host.distribution(),
            user,
            sshd,
            login_path: format!("password:{},key:{}", ways.0.word(), ways.1.word()),
            journal: (!empty).then(|| JournalFacts {
                generation: last.map(|last| last.generation),
                rid: last.map(|last| last.rid.as_str().to_owned()),
                phase: last.map(|last| last.phase),
                fence_gen: journal.fence_generation,
            }),
        }
    }
}

/// The first 160 characters, so that no setting crowds out the result.
fn short(value: &str) -> String {
    value.chars().take(160).collect()
}
