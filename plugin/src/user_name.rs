//! The name of a local user, as a request may spell it.

use std::fmt;

/// A user name that is harmless in a line of `chpasswd`, in an argument, in a
/// path and in a query to sshd.
///
/// 1 to 32 characters of visible ASCII (the limit of `/etc/passwd` on Linux,
/// useradd(8)), without `:`, `/`, `,`, `=`, quotes and backslash, not starting
/// with `-`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserName(String);

impl UserName {
    /// Reads a name; `None` if it breaks a rule.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let length = (1..=32).contains(&text.len());
        let harmless = text.bytes().all(|b| b.is_ascii_graphic() && !b":/,=\"'`\\".contains(&b));
        let special = text.starts_with('-') || text == "." || text == "..";
        (length && harmless && !special).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["root", "ecs-user", "_apt", "a", "web.01", "build$", &"x".repeat(32)] {
            assert!(UserName::parse(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in [
            "",
            "-R",
            "a:b",
            "a/b",
            "a b",
            "a\tb",
            "a\nb",
            "a\0",
            "..",
            ".",
            "a,user=root",
            "a\"b",
            "a'b",
            "a`b",
            "a\\b",
            "\u{e9}",
            &"x".repeat(33),
        ] {
            assert!(UserName::parse(name).is_none(), "{name:?}");
        }
    }
}
