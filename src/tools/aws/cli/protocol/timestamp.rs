//! Points in time, in the forms that parameters, requests and answers have.

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

use crate::aws::cli::table::TimestampFormat;
use crate::aws::cli::value::Value;
use crate::local_time::LocalTime;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A point in time, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    time: OffsetDateTime,
    /// It was a number of seconds, so that it has no zone of its own.
    is_number: bool,
}

impl Timestamp {
    /// Seconds since 1970, or a text: in a parameter, or in the JSON of a service.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(seconds) => {
                let time = OffsetDateTime::from_unix_timestamp(i64::try_from(*seconds).ok()?);
                time.ok().map(Self::of_number)
            }
            Value::Float(seconds) => Self::from_seconds(*seconds),
            Value::Text(text) => Self::from_text(text),
            _ => None,
        }
    }

    /// Seconds, `2023-11-14T22:13:20.5Z` and its kin, or `Tue, 14 Nov 2023 22:13:20 GMT`.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>()
            && text.len() != 8
        {
            return Self::from_seconds(seconds);
        }
        let time = iso(text).or_else(|| http(text))?;
        Some(Self {
            time,
            is_number: false,
        })
    }

    fn of_number(time: OffsetDateTime) -> Self {
        Self {
            time,
            is_number: true,
        }
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        if !seconds.is_finite() || seconds.abs() > 253_402_300_800.0 {
            return None;
        }
        // Whole seconds first, so that no digit of the microseconds is lost.
        let whole = seconds.floor();
        let micros = ((seconds - whole) * 1e6).round_ties_even();
        #[allow(clippy::cast_possible_truncation)]
        let (whole, micros) = (whole as i64, micros as i64);
        let time = OffsetDateTime::from_unix_timestamp(whole).ok()?;
        time.checked_add(Duration::microseconds(micros))
            .map(Self::of_number)
    }

    /// As a request has it: without fractions of seconds, but for ISO 8601.
    pub(crate) fn to_wire(self, format: TimestampFormat) -> Value {
        let utc = self.time.to_offset(UtcOffset::UTC);
        match format {
            TimestampFormat::Unix => Value::Integer(utc.unix_timestamp().into()),
            TimestampFormat::Iso => {
                Value::Text(format!("{}{}Z", date_and_time(utc), fraction(utc)))
            }
            TimestampFormat::Http => {
                let month = MONTHS.get(usize::from(u8::from(utc.month())) - 1);
                let weekday = WEEKDAYS.get(usize::from(utc.weekday().number_days_from_monday()));
                Value::Text(format!(
                    "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                    weekday.copied().unwrap_or_default(),
                    utc.day(),
                    month.copied().unwrap_or_default(),
                    utc.year(),
                    utc.hour(),
                    utc.minute(),
                    utc.second()
                ))
            }
        }
    }

    /// As results have it: `2023-11-14T22:13:20+00:00`. The AWS CLI shows numbers of seconds in the caller's zone, and other
    /// times in their own.
    pub(crate) fn to_result(self, zone: Option<&LocalTime>) -> String {
        let offset = match zone {
            Some(zone) if self.is_number => zone.offset(self.time),
            _ => self.time.offset(),
        };
        let time = self.time.to_offset(offset);
        let (hours, minutes, _) = offset.as_hms();
        let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
        format!(
            "{}{}{sign}{:02}:{:02}",
            date_and_time(time),
            fraction(time),
            hours.abs(),
            minutes.abs()
        )
    }
}

fn date_and_time(time: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn fraction(time: OffsetDateTime) -> String {
    match time.microsecond() {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let are_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| are_digits)
}

/// `2023-11-14`, `20231114`, `2023-11-14T22:13`, with seconds, fractions, `Z` or an offset.
fn iso(text: &str) -> Option<OffsetDateTime> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let digits = date.replace('-', "");
    if digits.len() != 8 || (date.len() != 8 && date.len() != 10) || !digits.is_ascii() {
        return None;
    }
    let month = Month::try_from(number::<u8>(&digits[4..6])?).ok()?;
    let date =
        Date::from_calendar_date(number(&digits[..4])?, month, number(&digits[6..])?).ok()?;
    let (time, offset) = clock(time.trim())?;
    Some(date.with_time(time).assume_offset(offset))
}

fn clock(text: &str) -> Option<(Time, UtcOffset)> {
    let text = text.trim_end_matches(['Z', 'z']);
    let (time, offset) = match text.find(['+', '-']) {
        Some(at) => (text[..at].trim(), offset(&text[at..])?),
        None => (text, UtcOffset::UTC),
    };
    if time.is_empty() {
        return Some((Time::MIDNIGHT, offset));
    }
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let digits = time.replace(':', "");
    if !digits.is_ascii() || ![2, 4, 6].contains(&digits.len()) {
        return None;
    }
    let part = |from: usize| digits.get(from..from + 2).map_or(Some(0), number::<u8>);
    let micros = format!("{fraction:0<6}");
    let micros = number::<u32>(micros.get(..6)?)?;
    let time = Time::from_hms_micro(part(0)?, part(2)?, part(4)?, micros).ok()?;
    Some((time, offset))
}

/// `+01:00`, `-0530` or `+02`.
fn offset(text: &str) -> Option<UtcOffset> {
    let digits = text.get(1..)?.replace(':', "");
    if !digits.is_ascii() {
        return None;
    }
    let hours = number::<i8>(digits.get(..2)?)?;
    let minutes = digits.get(2..).filter(|rest| !rest.is_empty());
    let minutes = minutes.map_or(Some(0), number::<i8>)?;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// `Tue, 14 Nov 2023 22:13:20 GMT`.
fn http(text: &str) -> Option<OffsetDateTime> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split([' ', '-']);
    let day = number(words.next()?)?;
    let month = words.next()?;
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let date = Date::from_calendar_date(number(words.next()?)?, month, day).ok()?;
    let (time, _) = clock(words.next()?)?;
    Some(date.with_time(time).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        Timestamp::from_text(text).map(|time| time.to_result(None))
    }

    #[test]
    fn all_forms_mean_the_same() {
        for text in [
            "1700000000",
            "2023-11-14T22:13:20Z",
            "2023-11-14T22:13:20.000Z",
            "2023-11-14 22:13:20",
            "20231114T221320Z",
            "Tue, 14 Nov 2023 22:13:20 GMT",
        ] {
            assert_eq!(
                read(text).as_deref(),
                Some("2023-11-14T22:13:20+00:00"),
                "{text}"
            );
        }
        for (text, expected) in [
            ("2023-11-14", "2023-11-14T00:00:00+00:00"),
            ("1700000000.123", "2023-11-14T22:13:20.123000+00:00"),
            ("2023-11-14T22:13:20-05:30", "2023-11-14T22:13:20-05:30"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2023-13-01",
            "2023-11-14T25:00",
            "inf",
            "nan",
            "1e300",
            "é",
            "2023-11-1é",
            "2023-11-14T22:13:20+é",
            "2023-11-14T22:13:20.é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn requests_have_their_own_forms() {
        let wire = |format| {
            Timestamp::from_text("2023-11-14T23:13:20.5+01:00").map(|time| time.to_wire(format))
        };
        assert_eq!(
            wire(TimestampFormat::Unix),
            Some(Value::Integer(1_700_000_000))
        );
        assert_eq!(
            wire(TimestampFormat::Iso),
            Some(Value::text("2023-11-14T22:13:20.500000Z"))
        );
        assert_eq!(
            wire(TimestampFormat::Http),
            Some(Value::text("Tue, 14 Nov 2023 22:13:20 GMT"))
        );
    }
}
