//! Local times, as `aws s3 ls` shows them: `2026-11-29 22:01:26`.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::OffsetDateTime;

use crate::call::Place;

/// The time zone of a machine that says nothing else.
const SYSTEM_ZONE: &str = "/etc/localtime";

/// The caller's time zone.
#[derive(Debug)]
pub(super) struct LocalTime(TimeZone);

impl LocalTime {
    /// By the caller's variable `TZ`, by the machine's setting without it, and UTC if that is missing, too.
    pub(super) fn new(variable: Option<&str>, place: Place) -> Self {
        let file = |path: &str| {
            let bytes = place.read(Path::new(path)).ok()?;
            TimeZone::tzif(path, &bytes).ok()
        };
        let zone = match variable.map(|text| text.trim_start_matches(':')) {
            None => file(SYSTEM_ZONE),
            Some(path) if path.starts_with('/') => file(path),
            Some(name) => TimeZone::get(name).or_else(|_| TimeZone::posix(name)).ok(),
        };
        Self(zone.unwrap_or(TimeZone::UTC))
    }

    pub(super) fn text(&self, time: OffsetDateTime) -> String {
        let time = Timestamp::from_second(time.unix_timestamp()).unwrap_or_default();
        let local = time.to_zoned(self.0.clone());
        local.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_zone() {
        let time = OffsetDateTime::from_unix_timestamp(1_751_328_000).expect("a time");
        let text = |zone| LocalTime::new(Some(zone), Place::of_this_process()).text(time);
        assert_eq!(text("UTC"), "2025-07-01 00:00:00");
        assert_eq!(text(":UTC"), "2025-07-01 00:00:00");
        assert_eq!(text("EST5EDT,M3.2.0,M11.1.0"), "2025-06-30 20:00:00");
        assert_eq!(text("no such zone"), "2025-07-01 00:00:00");
        assert_eq!(text("/no/such/file"), "2025-07-01 00:00:00");
    }
}
