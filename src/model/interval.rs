//! How often a secret is rotated.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is no rotation interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInterval {
    /// Not a whole number followed by one of the units d, h, m, s.
    #[error(
        "a rotation interval is written as a whole number and a unit d, h, m or s, such as 7d or 604800s"
    )]
    Syntax,
    /// Outside 6 hours to 365 days.
    #[error("a rotation interval lies between 6h (21600s) and 365d (31536000s)")]
    Range,
}

/// How often a secret is rotated: from 6 hours to 365 days, in whole seconds
/// (kms-secrets.md section 5.1, `RotationInterval`).
///
/// Requests write it with a unit, `30d`, `12h`, `90m` or `604800s`; answers
/// always give seconds, which is what [`Display`](fmt::Display) prints.
///
/// ```
/// use strongroom::model::RotationInterval;
///
/// let weekly = RotationInterval::parse("7d")?;
/// assert_eq!(weekly.to_string(), "604800s");
/// assert!(RotationInterval::parse("5h").is_err());
/// # Ok::<(), strongroom::model::InvalidInterval>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RotationInterval(u32);

impl RotationInterval {
    /// Reads the form that requests use.
    ///
    /// # Errors
    ///
    /// [`InvalidInterval`] when the text is none, or lies outside the range.
    pub fn parse(text: &str) -> Result<Self, InvalidInterval> {
        let mut characters = text.chars();
        let unit: u32 = match characters.next_back() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(InvalidInterval::Syntax),
        };
        let digits = characters.as_str();
        if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidInterval::Syntax);
        }
        let Ok(number) = digits.parse::<u32>() else {
            return Err(InvalidInterval::Syntax);
        };
        match number.checked_mul(unit) {
            Some(seconds @ 21_600..=31_536_000) => Ok(Self(seconds)),
            _ => Err(InvalidInterval::Range),
        }
    }

    /// The interval in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RotationInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_are_included() {
        for good in ["6h", "21600s", "365d", "8760h", "31536000s", "360m"] {
            assert!(RotationInterval::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "d",
            "5h",
            "21599s",
            "366d",
            "31536001s",
            "-7d",
            "7",
            "7 d",
            "7.5d",
            "+7d",
            "99999999999d",
            "７d",
        ] {
            assert!(RotationInterval::parse(bad).is_err(), "{bad}");
        }
    }
}
