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
    Ok(lines(&content, user.as_str()).find_map(|fields| match *fields.as_slice() {
        [name, password, uid, gid, _, home, shell] => Some(Account {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: home.to_owned(),
            shell: shell.to_owned(),
            shadowed: password == "x",
        }),
        _ => None,
    }))
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
        };
        let names: Vec<String> =
            groups(&host, &account).expect("read").into_iter().map(|group| group.name).collect();
        assert_eq!(names, ["www", "sudo"]);
    }
}
