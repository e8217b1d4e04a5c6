//! The protocol's time stamps: `yyyy-MM-ddTHH:mm:ssZ`, UTC, whole seconds
//! (kms-secrets.md sections 2.4 and 2.5).

/// Reads a time stamp as seconds since 1970-01-01T00:00:00Z.
///
/// `None` unless the text has exactly the 20 characters of the form and names a
/// day and second that exist; a leap second (`:60`) does not.
///
/// ```
/// use strongroom::rpc::timestamp;
///
/// assert_eq!(timestamp::parse("2024-05-06T07:08:09Z"), Some(1_714_979_289));
/// assert_eq!(timestamp::parse("2024-02-30T07:08:09Z"), None);
/// ```
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] =
        text.as_bytes()
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_u16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
    };
    let small = |digits: &[u8]| number(digits).and_then(|n| u8::try_from(n).ok());
    let month = time::Month::try_from(small(&[m1, m2])?).ok()?;
    let date =
        time::Date::from_calendar_date(number(&[y1, y2, y3, y4])?.into(), month, small(&[d1, d2])?).ok()?;
    let clock = time::Time::from_hms(small(&[h1, h2])?, small(&[n1, n2])?, small(&[s1, s2])?).ok()?;
    Some(time::UtcDateTime::new(date, clock).unix_timestamp())
}

/// Writes seconds since 1970-01-01T00:00:00Z as a time stamp.
///
/// `None` outside the years 0 to 9999, which the form cannot write.
///
/// ```
/// use strongroom::rpc::timestamp;
///
/// assert_eq!(timestamp::format(0).as_deref(), Some("1970-01-01T00:00:00Z"));
/// ```
#[must_use]
pub fn format(unix_seconds: i64) -> Option<String> {
    let date = time::UtcDateTime::from_unix_timestamp(unix_seconds).ok()?;
    (0..=9999).contains(&date.year()).then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_stamp_reads_back_as_itself() {
        for seconds in [0, 951_868_799, 1_714_979_289, 4_102_444_800, -1] {
            let text = format(seconds).unwrap();
            assert_eq!(parse(&text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2024-05-06",
            "2024-05-06 07:08:09Z",
            "2024-05-06T07:08:09",
            "2024-05-06T07:08:09z",
            "2024-05-06T07:08:09.0Z",
            "2024-05-06T07:08:09+08:00",
            "2024-13-06T07:08:09Z",
            "2023-02-29T07:08:09Z",
            "2024-05-06T24:08:09Z",
            "2024-05-06T07:08:60Z",
            "+024-05-06T07:08:09Z",
            "2024-05-0６T07:08:0Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
