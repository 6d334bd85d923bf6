//! Times in the caller's time zone.

use jaq_core::Error;
use jaq_json::Val;
use jaq_std::ValT as _;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::local_time::LocalTime;

fn timestamp(seconds: &Val) -> Result<Timestamp, Error<Val>> {
    let number = seconds.as_f64();
    let number =
        number.ok_or_else(|| Error::str(format_args!("cannot convert {seconds} to time")))?;
    let since = SignedDuration::try_from_secs_f64(number.floor()).map_err(Error::str)?;
    Timestamp::from_duration(since).map_err(Error::str)
}

/// How many seconds the zone is ahead of UTC, that many seconds after 1970.
pub(super) fn offset(seconds: &Val, local_time: &LocalTime) -> Result<Val, Error<Val>> {
    let offset = local_time.zone().to_offset(timestamp(seconds)?);
    Ok(Val::from(offset.seconds() as isize))
}

/// `value` is `[seconds, is_local]`. Local seconds are those that a clock of the zone shows.
pub(super) fn text(value: &Val, format: &Val, local_time: &LocalTime) -> Result<Val, Error<Val>> {
    let fail = || Error::str(format_args!("cannot convert {value} to time"));
    let (Val::Arr(pair), Val::TStr(format)) = (value, format) else {
        return Err(fail());
    };
    let [seconds, is_local] = &pair[..] else {
        return Err(fail());
    };
    let (time, zone) = (timestamp(seconds)?, local_time.zone().clone());
    let zoned = if matches!(is_local, Val::Bool(true)) {
        let shown = time.to_zoned(TimeZone::UTC).datetime();
        shown.to_zoned(zone).map_err(Error::str)?
    } else {
        time.to_zoned(zone)
    };
    let text = strtime::format(&***format, &zoned).map_err(Error::str)?;
    Ok(Val::from(text))
}
