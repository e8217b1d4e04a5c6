//! Maintenance windows: days of the week, a time of day, and the offset from
//! UTC that both are meant in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

const DAY_MINUTES: i64 = 24 * 60;
const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A text that is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a window is written as days, a time and an offset from UTC, such as `Sat,Sun 01:00-05:00 +08:00` or `daily 22:00-04:00 Z`"
)]
pub struct InvalidWindow;

/// When rotations of a campaign may be begun, each week anew.
///
/// The offset from UTC is a fixed one and always written, so that neither the
/// zone of the machine nor summer time moves a window. A window that ends
/// before it begins goes on past midnight; it belongs to the day on which it begins.
///
/// ```
/// use strongroom::model::Timestamp;
/// use strongroom::model::campaign::Window;
///
/// let nights = Window::parse("Sat,Sun 22:00-02:00 +08:00")?;
/// let at = |text| Timestamp::parse(text).unwrap();
/// assert!(nights.contains(at("2024-06-01T15:00:00Z"))); // Saturday, 23:00 there
/// assert!(nights.contains(at("2024-06-02T17:30:00Z"))); // Monday, 01:30 there
/// assert!(!nights.contains(at("2024-06-03T15:00:00Z")));
/// # Ok::<(), strongroom::model::campaign::InvalidWindow>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight, exclusive; up to 24:00.
    to: u16,
    /// Minutes east of UTC.
    offset: i16,
}

impl Window {
    /// Reads the form that people write.
    ///
    /// # Errors
    ///
    /// [`InvalidWindow`].
    pub fn parse(text: &str) -> Result<Self, InvalidWindow> {
        let mut parts = text.split_ascii_whitespace();
        let (Some(days), Some(times), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidWindow);
        };
        let (from, to) = times.split_once('-').ok_or(InvalidWindow)?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from >= 24 * 60 {
            return Err(InvalidWindow);
        }
        Ok(Self { days: read_days(days)?, from, to, offset: read_offset(offset)? })
    }

    /// Whether the moment lies in it.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        let minute = self.local_minute(moment);
        let (day, minute) = (minute.div_euclid(DAY_MINUTES), minute.rem_euclid(DAY_MINUTES));
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return self.has_day(day) && (from..to).contains(&minute);
        }
        (self.has_day(day) && minute >= from) || (self.has_day(day - 1) && minute < to)
    }

    /// When it next begins after a moment outside of it.
    #[must_use]
    pub fn next_start(&self, moment: Timestamp) -> Timestamp {
        let minute = self.local_minute(moment);
        let today = minute.div_euclid(DAY_MINUTES);
        let start = (today..=today + 7)
            .filter(|day| self.has_day(*day))
            .map(|day| day * DAY_MINUTES + i64::from(self.from))
            .find(|start| *start > minute)
            .unwrap_or(minute);
        Timestamp::from_millis((start - i64::from(self.offset)).saturating_mul(60_000))
    }

    fn local_minute(&self, moment: Timestamp) -> i64 {
        moment.millis().div_euclid(60_000) + i64::from(self.offset)
    }

    /// Whether a day, counted from 1970-01-01, a Thursday, is one of its days.
    fn has_day(&self, day: i64) -> bool {
        let index = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        self.days.get(index).copied().unwrap_or(false)
    }
}

fn minutes(text: &str) -> Result<u16, InvalidWindow> {
    let (hour, minute) = text.split_once(':').ok_or(InvalidWindow)?;
    let two = |part: &str, most: u16| {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|number| plain && *number <= most).ok_or(InvalidWindow)
    };
    let minutes = two(hour, 24)? * 60 + two(minute, 59)?;
    if minutes <= 24 * 60 { Ok(minutes) } else { Err(InvalidWindow) }
}

fn read_days(text: &str) -> Result<[bool; 7], InvalidWindow> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let mut days = [false; 7];
    for name in text.split(',') {
        let named = days.iter_mut().zip(NAMES).find(|(_, known)| known.eq_ignore_ascii_case(name));
        *named.ok_or(InvalidWindow)?.0 = true;
    }
    Ok(days)
}

fn read_offset(text: &str) -> Result<i16, InvalidWindow> {
    if text == "Z" {
        return Ok(0);
    }
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (None, Some(rest)) => (-1, rest),
        (None, None) => return Err(InvalidWindow),
    };
    let minutes = i16::try_from(minutes(rest)?).ok().ok_or(InvalidWindow)?;
    if minutes <= 14 * 60 { Ok(sign * minutes) } else { Err(InvalidWindow) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> =
            NAMES.into_iter().zip(self.days).filter_map(|(n, on)| on.then_some(n)).collect();
        let days = if named.len() == 7 { "daily".to_owned() } else { named.join(",") };
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{days} {}-{} ", clock(self.from), clock(self.to))?;
        match self.offset {
            0 => f.write_str("Z"),
            offset => {
                let sign = if offset < 0 { '-' } else { '+' };
                write!(f, "{sign}{}", clock(offset.unsigned_abs()))
            }
        }
    }
}

impl TryFrom<String> for Window {
    type Error = InvalidWindow;

    fn try_from(text: String) -> Result<Self, InvalidWindow> {
        Self::parse(&text)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reads_back_as_it_was_written_and_needs_its_offset() {
        for text in ["Sat,Sun 01:00-05:00 +08:00", "daily 22:00-04:00 Z", "Mon 00:00-24:00 -03:30"] {
            assert_eq!(Window::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "Sat 01:00-05:00",
            "Sat 1:00-05:00 Z",
            "Sat 05:00-05:00 Z",
            "Someday 01:00-02:00 Z",
            "Sat 01:00-25:00 Z",
            "Sat 24:00-01:00 Z",
            "Sat 01:00-02:00 +15:00",
            "Sat 01:00-02:00 CET",
            "Sat 01:00-02:00 Z more",
            "Sat, 01:00-02:00 Z",
        ] {
            assert_eq!(Window::parse(bad), Err(InvalidWindow), "{bad}");
        }
    }

    #[test]
    fn the_next_start_is_the_first_minute_inside_over_a_whole_fortnight() {
        for text in [
            "Sat,Sun 01:00-05:00 +08:00",
            "daily 22:00-04:00 Z",
            "Thu 23:30-00:30 -11:00",
            "Mon 00:00-24:00 +14:00",
        ] {
            let window = Window::parse(text).unwrap();
            let mut inside = 0;
            for minute in (0..14 * DAY_MINUTES).step_by(7) {
                let moment = Timestamp::from_millis(minute * 60_000);
                if window.contains(moment) {
                    inside += 1;
                    continue;
                }
                let start = window.next_start(moment);
                assert!(start > moment && window.contains(start), "{text} {moment} {start}");
                assert!(!window.contains(start.plus_seconds(-60)), "{text} {moment} {start}");
                let mut between = moment;
                while between < start {
                    assert!(!window.contains(between), "{text}: {between} lies before {start}");
                    between = between.plus_seconds(600);
                }
            }
            assert!(inside > 0, "{text}");
        }
    }
}
