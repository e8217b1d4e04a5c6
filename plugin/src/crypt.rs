//! The password field of `/etc/shadow`, and the crypt(5) hashes that may be
//! put into it.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A password field, whatever it holds; wiped when dropped and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(crate) struct Field(String);

/// What a password field means for a login by password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FieldState {
    /// A hash: one password opens the account.
    Hash,
    /// `!` before a hash: the password was locked on purpose.
    Locked,
    /// `!`, `!!`, `*` and the like: there never was a password.
    NoPassword,
    /// Nothing at all: no password is asked for.
    Empty,
}

impl Field {
    /// A field as it stands in the file.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A hash that may be set: `$6$` (SHA-512, Drepper's specification) or
    /// `$y$` (yescrypt), in the alphabet of crypt(5), complete.
    ///
    /// `None` for everything else, so that no line break, no `:` and no
    /// unusable field can be written. Rounds above ten million are refused:
    /// each login would take minutes.
    pub(crate) fn parse_hash(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('$').collect();
        let sound = match *parts.as_slice() {
            ["", "6", salt, digest] => is_sha512(salt, digest),
            ["", "6", rounds, salt, digest] => {
                let count = rounds
                    .strip_prefix("rounds=")
                    .filter(|n| n.len() <= 8 && !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit()));
                let count = count.and_then(|n| n.parse::<u32>().ok());
                count.is_some_and(|n| (1_000..=10_000_000).contains(&n)) && is_sha512(salt, digest)
            }
            ["", "y", settings, salt, digest] => {
                is_crypt(settings, 1..=16) && is_crypt(salt, 1..=64) && is_crypt(digest, 43..=43)
            }
            _ => false,
        };
        sound.then(|| Self(text.to_owned()))
    }

    /// The text, to be written into a tool or compared.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is `hash` behind one or more `!`: locked, so that it opens
    /// nothing until somebody unlocks it, and then opens everything.
    pub(crate) fn is_locked_form_of(&self, hash: &Self) -> bool {
        self.0.starts_with('!') && self.0.trim_start_matches('!') == hash.0
    }

    /// What the field means.
    pub(crate) fn state(&self) -> FieldState {
        // The shortest hash still in use is that of the old DES crypt.
        const SHORTEST_HASH: usize = 13;
        let inner = self.0.trim_start_matches('!');
        let hashed = inner.len() >= SHORTEST_HASH && !inner.starts_with('*');
        match (self.0.is_empty(), hashed, self.0.starts_with('!')) {
            (true, _, _) => FieldState::Empty,
            (false, true, true) => FieldState::Locked,
            (false, true, false) => FieldState::Hash,
            (false, false, _) => FieldState::NoPassword,
        }
    }

    /// SHA-256 of the field in lower-case hexadecimal, the proof of a result.
    pub(crate) fn sha256(&self) -> String {
        HEXLOWER.encode(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref())
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Field(..)")
    }
}

fn is_sha512(salt: &str, digest: &str) -> bool {
    is_crypt(salt, 1..=16) && is_crypt(digest, 86..=86)
}

fn is_crypt(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha512(prefix: &str) -> String {
        format!("{prefix}{}", "a".repeat(86))
    }

    #[test]
    fn complete_hashes_are_accepted() {
        for hash in [
            sha512("$6$rounds=65536$saltsaltsaltsalt$"),
            sha512("$6$salt$"),
            format!("$y$j9T$abcdefgh$./{}", "Z".repeat(41)),
        ] {
            assert!(Field::parse_hash(&hash).is_some(), "{hash}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let good = sha512("$6$rounds=65536$saltsaltsaltsalt$");
        for hash in [
            String::new(),
            "!".to_owned(),
            format!("!{good}"),
            format!("{good}\n"),
            format!("{good}\nroot:x"),
            format!("{good}:"),
            format!("{good}a"),
            good.replace("salt$", "sa:t$"),
            sha512("$1$salt$"),
            sha512("$6$rounds=10$salt$"),
            sha512("$6$rounds=99999999$salt$"),
            sha512("$6$rounds=065536$salt$"),
            sha512("$6$rounds=+65536$salt$"),
            sha512("$6$$"),
            sha512("$6$saltsaltsaltsalts$"),
            "$y$j9T$salt$short".to_owned(),
        ] {
            assert!(Field::parse_hash(&hash).is_none(), "{hash:?}");
        }
    }

    #[test]
    fn a_field_tells_how_its_account_stands() {
        for (text, state) in [
            ("", FieldState::Empty),
            ("!", FieldState::NoPassword),
            ("!!", FieldState::NoPassword),
            ("*", FieldState::NoPassword),
            ("!*", FieldState::NoPassword),
            ("*LK*", FieldState::NoPassword),
            ("$6$salt$aaaaaaaaaaaa", FieldState::Hash),
            ("abJnggxhB/yWI", FieldState::Hash),
            ("!$6$salt$aaaaaaaaaaaa", FieldState::Locked),
            ("!!$6$salt$aaaaaaaaaaaa", FieldState::Locked),
        ] {
            assert_eq!(Field::new(text).state(), state, "{text}");
        }
    }

    #[test]
    fn a_hash_behind_marks_is_its_locked_form() {
        let hash = Field::new("$6$salt$a");
        for (text, locked) in [
            ("!$6$salt$a", true),
            ("!!$6$salt$a", true),
            ("$6$salt$a", false),
            ("!$6$salt$b", false),
            ("!", false),
        ] {
            assert_eq!(Field::new(text).is_locked_form_of(&hash), locked, "{text}");
        }
    }

    #[test]
    fn a_field_is_not_shown() {
        assert_eq!(format!("{:?}", Field::new("$6$marker")), "Field(..)");
    }
}
