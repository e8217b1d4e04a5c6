//! Local users, read from the files themselves: a static program has no name
//! service switch, and a cache must not answer for the file.

use std::io;
use std::str;

use crate::crypt::Field;
use crate::host::Host;
use crate::user_name::UserName;

/// A line of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name.
    pub(crate) name: String,
    /// User id.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// Home folder, as written.
    pub(crate) home: String,
    /// Login shell, as written; empty means `/bin/sh`.
    pub(crate) shell: String,
    /// The password is in `/etc/shadow`.
    pub(crate) shadowed: bool,
    /// Nobody else belongs to the primary group, neither by `/etc/passwd` nor
    /// by `/etc/group`.
    pub(crate) has_own_group: bool,
}

/// A line of shadow(5). Days count from 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// The password field.
    pub(crate) field: Field,
    /// Day of the last change; 0: must be changed at the next login.
    pub(crate) changed: Option<i64>,
    /// Days after which the password must be changed.
    pub(crate) max_days: Option<i64>,
    /// Days after that until the account is closed.
    pub(crate) inactive_days: Option<i64>,
    /// Day from which on the account is closed.
    pub(crate) expires: Option<i64>,
}

impl Shadow {
    /// Whether the account is closed on the day `today`.
    pub(crate) fn is_expired(&self, today: i64) -> bool {
        self.expires.is_some_and(|day| day >= 0 && today >= day)
    }

    /// Whether the password expired so long ago that PAM closes the account,
    /// until somebody sets another (`pam_unix`, shadow(5) field 7).
    pub(crate) fn is_inactive(&self, today: i64) -> bool {
        match (self.changed, self.max_days, self.inactive_days) {
            (Some(changed), Some(max), Some(inactive)) if max >= 0 && inactive >= 0 => {
                today.saturating_sub(changed) > max.saturating_add(inactive)
            }
            _ => false,
        }
    }

    /// Whether the password must be changed before any login goes on, which
    /// stops logins by key as well where sshd asks PAM.
    pub(crate) fn must_change(&self, today: i64) -> bool {
        let overdue =
            |(changed, max): (i64, i64)| (0..99_999).contains(&max) && today > changed.saturating_add(max);
        self.changed == Some(0) || self.changed.zip(self.max_days).is_some_and(overdue)
    }
}

/// A group that a user belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Group id.
    pub(crate) gid: u32,
    /// Its name.
    pub(crate) name: String,
}

/// The first line of `/etc/passwd` for `user`, which is the one that counts.
///
/// # Errors
///
/// Where the file cannot be read.
pub(crate) fn account(host: &Host, user: &UserName) -> io::Result<Option<Account>> {
    let content = host.read("/etc/passwd")?;
    let account = lines(&content, user.as_str()).find_map(|fields| match *fields.as_slice() {
        [name, password, uid, gid, _, home, shell] => Some(Account {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: home.to_owned(),
            shell: shell.to_owned(),
            shadowed: password == "x",
            has_own_group: false,
        }),
        _ => None,
    });
    let Some(account) = account else {
        return Ok(None);
    };
    let has_own_group = is_alone(&content, &account) && has_no_other_members(host, &account);
    Ok(Some(Account { has_own_group, ..account }))
}

/// Whether no line of passwd(5) gives the account's primary group to another.
fn is_alone(passwd: &[u8], account: &Account) -> bool {
    let gid = account.gid.to_string();
    passwd.split(|b| *b == b'\n').map(|line| line.split(|b| *b == b':').collect::<Vec<_>>()).all(|fields| {
        match *fields.as_slice() {
            [name, _, _, group, ..] => group != gid.as_bytes() || name == account.name.as_bytes(),
            _ => true,
        }
    })
}

/// Whether `/etc/group` knows the account's primary group, and gives it to
/// nobody else.
fn has_no_other_members(host: &Host, account: &Account) -> bool {
    let content = host.read("/etc/group").unwrap_or_default();
    let gid = account.gid.to_string();
    let mut members = content
        .split(|b| *b == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
        .filter_map(|line| match *line.split(':').collect::<Vec<_>>().as_slice() {
            [_, _, group, members] if group == gid => Some(members),
            _ => None,
        })
        .peekable();
    members.peek().is_some()
        && members.flat_map(|members| members.split(',')).all(|name| name.is_empty() || name == account.name)
}

/// The first line of `/etc/shadow` for `user`.
///
/// # Errors
///
/// Where the file cannot be read.
pub(crate) fn shadow(host: &Host, user: &UserName) -> io::Result<Option<Shadow>> {
    let content = host.read("/etc/shadow")?;
    Ok(lines(&content, user.as_str()).find_map(|fields| match *fields.as_slice() {
        [_, field, changed, _, max, _, inactive, expires, ..] => Some(Shadow {
            field: Field::new(field),
            changed: changed.parse().ok(),
            max_days: max.parse().ok(),
            inactive_days: inactive.parse().ok(),
            expires: expires.parse().ok(),
        }),
        _ => None,
    }))
}

/// All groups of `account`, the primary one first, of `/etc/group`.
///
/// # Errors
///
/// Where the file is there and cannot be read.
pub(crate) fn groups(host: &Host, account: &Account) -> io::Result<Vec<Group>> {
    let content = match host.read("/etc/group") {
        Ok(content) => content,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut groups = Vec::new();
    for line in content.split(|b| *b == b'\n') {
        let fields = str::from_utf8(line).map(|line| line.split(':').collect::<Vec<_>>());
        if let Ok([name, _, gid, members]) = fields.as_deref()
            && let Ok(gid) = gid.parse()
        {
            let group = Group { gid, name: (*name).to_owned() };
            if gid == account.gid {
                groups.insert(0, group);
            } else if members.split(',').any(|member| member == account.name) {
                groups.push(group);
            }
        }
    }
    Ok(groups)
}

/// The lines that begin with `name` and a colon, split at colons.
fn lines<'a>(content: &'a [u8], name: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    content
        .split(|b| *b == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
        .filter(move |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
        .map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("etc")).expect("etc");
        for (name, content) in files {
            std::fs::write(folder.path().join("etc").join(name), content).expect("a file");
        }
        let host = Host::new(folder.path().to_owned());
        (folder, host)
    }

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a name")
    }

    #[test]
    fn the_first_whole_line_of_a_user_counts() {
        let (_folder, host) = host(&[(
            "passwd",
            "root:x:0:0:r\u{f6}\u{f6}t:/root:/bin/bash\nwww2:x:1:1::/:\nwww:broken\nwww:x:33:33:,,:/var/www:\nwww:x:0:0::/:/x\n+nis\n",
        )]);
        let found = account(&host, &user("www")).expect("read").expect("there");
        assert_eq!((found.uid, found.home.as_str(), found.shadowed), (33, "/var/www", true));
        assert_eq!(account(&host, &user("ww")).expect("read"), None);
        assert_eq!(account(&host, &user("root")).expect("read").map(|a| a.uid), Some(0));
    }

    #[test]
    fn ageing_is_read_from_the_shadow_line() {
        let (_folder, host) =
            host(&[("shadow", "a:$6$h:19000:0:99999:7:::\nb:!:0:0:30:7:5:100:\nc:*:::::::\n")]);
        let line = |name| shadow(&host, &user(name)).expect("read").expect("there");
        let today = 20_000;
        assert!(!line("a").is_expired(today) && !line("a").must_change(today));
        assert!(line("b").is_expired(today) && line("b").must_change(today));
        assert!(!line("b").is_expired(99) && line("b").is_expired(100));
        assert!(!line("c").is_expired(today) && !line("c").must_change(today));
        assert_eq!(line("b").inactive_days, Some(5));
        assert!(!line("b").is_inactive(35) && line("b").is_inactive(36));
        assert!(!line("a").is_inactive(today) && !line("c").is_inactive(today));
    }

    #[test]
    fn a_group_is_the_users_own_if_nobody_else_is_in_it() {
        let of = |passwd: &str, group: &str| {
            let (_folder, host) = host(&[("passwd", passwd), ("group", group)]);
            account(&host, &user("ann")).expect("read").expect("there").has_own_group
        };
        let ann = "ann:x:7:7::/:\n";
        assert!(of(ann, "ann:x:7:\n") && of(ann, "x:x:8:bob\nann:x:7:ann\n"));
        assert!(!of(ann, "ann:x:7:bob\n") && !of(ann, "ann:x:7:\nbis:x:7:bob\n"));
        assert!(!of(ann, "x:x:8:\n"), "a group that nobody knows");
        assert!(!of(&format!("bob:x:8:7::/:\n{ann}"), "ann:x:7:\n"));
    }

    #[test]
    fn groups_begin_with_the_primary_one() {
        let (_folder, host) = host(&[("group", "sudo:x:27:www,a\nx:x:1:wwwx\nwww:x:33:\n")]);
        let account = Account {
            name: "www".to_owned(),
            uid: 33,
            gid: 33,
            home: "/".to_owned(),
            shell: String::new(),
            shadowed: true,
            has_own_group: false,
        };
        let names: Vec<String> =
            groups(&host, &account).expect("read").into_iter().map(|group| group.name).collect();
        assert_eq!(names, ["www", "sudo"]);
    }
}
