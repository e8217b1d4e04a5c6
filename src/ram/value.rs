//! Typed values of conditions: exact numbers, instants, truth values and
//! address ranges (rules V11, C11 to C14). Whatever is not written exactly as
//! these rules say is not a value.

use std::cmp::Ordering;
use std::net::IpAddr;

/// A decimal number of up to 30 digits on either side of the point, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    whole: u128,
    /// In units of 10⁻³⁰.
    fraction: u128,
}

const MAX_DIGITS: usize = 30;

impl Decimal {
    /// Reads `-`, 1 to 30 digits, a point and 1 to 30 digits; sign and
    /// fraction may be missing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
        let whole = digits_of(whole)?;
        let fraction = match fraction {
            None => 0,
            Some(text) => {
                let places = u32::try_from(MAX_DIGITS.checked_sub(text.len())?).ok()?;
                digits_of(text)?.checked_mul(10_u128.checked_pow(places)?)?
            }
        };
        Some(Self { negative: negative && (whole, fraction) != (0, 0), whole, fraction })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = (self.whole, self.fraction).cmp(&(other.whole, other.fraction));
        match (self.negative, other.negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn digits_of(text: &str) -> Option<u128> {
    let fits = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// An instant, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Since 1970-01-01T00:00:00Z.
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    pub(super) const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// Reads `YYYY-MM-DDThh:mm:ss`, at most nine decimals, and `Z` or `±hh:mm`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T')?;
        let (clock, offset) = match time.strip_suffix('Z') {
            Some(clock) => (clock, 0),
            None => {
                let at = time.rfind(['+', '-'])?;
                let (clock, zone) = time.split_at_checked(at)?;
                let (sign, zone) =
                    zone.strip_prefix('+').map_or((-1, zone.strip_prefix('-')), |rest| (1, Some(rest)));
                let [hours, minutes] = fields(zone?, ':', [2, 2])?;
                if hours > 14 || minutes > 59 {
                    return None;
                }
                (clock, sign * (hours * 3_600 + minutes * 60))
            }
        };
        let (clock, nanoseconds) = match clock.split_once('.') {
            None => (clock, 0),
            Some((clock, decimals)) => {
                let places = u32::try_from(9_usize.checked_sub(decimals.len())?).ok()?;
                let decimals = u32::try_from(digits_of(decimals)?).ok()?;
                (clock, decimals.checked_mul(10_u32.checked_pow(places)?)?)
            }
        };
        let [year, month, day] = fields(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
        if !(1..=12).contains(&month)
            || !(1..=days_in(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let days = days_since_epoch(year, month, day);
        Some(Self { seconds: days * 86_400 + hour * 3_600 + minute * 60 + second - offset, nanoseconds })
    }
}

/// Splits `text` into numbers of exactly these many digits.
fn fields<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        *number = i64::try_from(digits_of(part)?).ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here,
/// so that the leap day is the last of its year.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    era * 146_097 + year * 365 + year / 4 - year / 100 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The date and time of day of an instant in UTC: year, month, day, hour, minute, second.
pub(super) const fn civil(seconds: i64) -> [i64; 6] {
    let days = seconds.div_euclid(86_400) + 719_468;
    let time = seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    [era * 400 + year, month, day, time / 3_600, time % 3_600 / 60, time % 60]
}

/// Reads `true` or `false`, in letters of any case.
pub(super) const fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The addresses that share their first bits; a single one shares all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpRange {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

impl IpRange {
    /// Reads an address, or an address, `/` and the number of bits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let bits = match bits {
            None => None,
            Some("0") => Some(0),
            Some(bits) if bits.starts_with('0') || bits.len() > 3 => return None,
            Some(bits) => Some(u32::try_from(digits_of(bits)?).ok()?),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.unwrap_or(32))?).unwrap_or(0);
                Some(Self::V4 { network: address.to_bits() & mask, mask })
            }
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.unwrap_or(128))?).unwrap_or(0);
                Some(Self::V6 { network: address.to_bits() & mask, mask })
            }
        }
    }

    /// Whether the address lies in this range; one in IPv4-mapped form counts as IPv4.
    pub(super) const fn contains(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4 { network, mask }, IpAddr::V4(address)) => address.to_bits() & mask == network,
            (Self::V6 { network, mask }, IpAddr::V6(address)) => address.to_bits() & mask == network,
            (Self::V4 { .. }, IpAddr::V6(_)) | (Self::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let rising = [
            "-999999999999999999999999999999.5",
            "-10",
            "-9.999",
            "-0.000000000000000000000000000001",
            "0",
            "0.000000000000000000000000000001",
            "0.1",
            "0.10001",
            "7",
            "9007199254740992",
            "9007199254740993",
        ];
        let numbers: Vec<Decimal> = rising.iter().map(|text| Decimal::parse(text).unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        for (a, b) in [("10", "10.0"), ("-0", "0"), ("007", "7"), ("-0.0", "00.00")] {
            assert_eq!(Decimal::parse(a), Decimal::parse(b));
        }
        let long = "1".repeat(31);
        for text in [
            "",
            "-",
            "+1",
            "1.",
            ".5",
            "1e3",
            " 1",
            "1 ",
            "1.2.3",
            "--1",
            "٣",
            "0x1",
            &long,
            &format!("0.{long}"),
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_instants() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
            ("2000-02-29T00:00:00Z", 951_782_400, 0),
            ("2026-03-01T20:00:00.5+08:00", 1_772_366_400, 500_000_000),
            ("2026-03-01T06:30:00-05:30", 1_772_366_400, 0),
            ("0000-03-01T00:00:00-00:00", -62_162_035_200, 0),
        ] {
            assert_eq!(Moment::parse(text), Some(Moment { seconds, nanoseconds }), "{text}");
        }
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+15:00",
            "2026-01-01T00:00:00+08:60",
            "2026-01-01T00:00:00+0800",
            "2026-01-01T00:00:00.Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01T00:00:00.0000000001Z",
            "2026-01-01T00:00:00 Z",
            "+2026-01-01T00:00:00Z",
            "2026-01-01T-1:00:00Z",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_goes_both_ways() {
        for day in (-720_000_i64..720_000).step_by(97) {
            let [year, month, of_month, hour, minute, second] = civil(day * 86_400 + 3_723);
            assert_eq!(days_since_epoch(year, month, of_month), day);
            assert_eq!([hour, minute, second], [1, 2, 3]);
        }
    }

    #[test]
    fn ranges_hold_addresses_of_their_own_family() {
        for (range, address, inside) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.77/24", "10.0.0.200", true),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "203.0.113.7", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:DB8:0:0::5", true),
            ("2001:db8::1/128", "2001:db8::2", false),
            ("10.0.0.0/8", "::ffff:10.2.3.4", true),
        ] {
            assert_eq!(
                IpRange::parse(range).unwrap().contains(address.parse().unwrap()),
                inside,
                "{range} {address}"
            );
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.01",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "::1/129",
            "::1%eth0",
            "::ffff:10.0.0.1",
            "::ffff:0:0/96",
            " 10.0.0.1",
            "10.0.0.1/8/8",
            "fe80::1%1/64",
            "1.2.3.4/4294967297",
        ] {
            assert_eq!(IpRange::parse(text), None, "{text}");
        }
    }
}
