//! Local times, as `aws s3 ls` and `localtime` of jq show them: `2026-11-29 22:01:26`; and the offsets of others.

use std::path::Path;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::{OffsetDateTime, UtcOffset};

use crate::call::Place;

/// The time zone of a machine that says nothing else.
const SYSTEM_ZONE: &str = "/etc/localtime";

/// The caller's time zone. It is read when it is first needed.
#[derive(Debug)]
pub(crate) struct LocalTime {
    variable: Option<String>,
    place: Place,
    zone: OnceLock<TimeZone>,
}

impl LocalTime {
    /// By the caller's variable `TZ`, by the machine's setting without it, and UTC if that is missing, too.
    pub(crate) fn new(environment: &[(String, String)], place: Place) -> Self {
        let mut variables = environment.iter();
        let variable = variables.find(|(name, _)| name == "TZ");
        Self {
            variable: variable.map(|(_, value)| value.clone()),
            place,
            zone: OnceLock::new(),
        }
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        self.zone.get_or_init(|| {
            let file = |path: &str| {
                let bytes = self.place.read(Path::new(path)).ok()?;
                TimeZone::tzif(path, &bytes).ok()
            };
            let variable = self.variable.as_deref();
            let zone = match variable.map(|text| text.trim_start_matches(':')) {
                None => file(SYSTEM_ZONE),
                Some(path) if path.starts_with('/') => file(path),
                Some(name) => TimeZone::get(name).or_else(|_| TimeZone::posix(name)).ok(),
            };
            zone.unwrap_or(TimeZone::UTC)
        })
    }

    pub(crate) fn text(&self, time: OffsetDateTime) -> String {
        let local = timestamp(time).to_zoned(self.zone().clone());
        local.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// How far the zone is from UTC at that time.
    pub(crate) fn offset(&self, time: OffsetDateTime) -> UtcOffset {
        let offset = self.zone().to_offset(timestamp(time));
        UtcOffset::from_whole_seconds(offset.seconds()).unwrap_or(UtcOffset::UTC)
    }
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp::from_second(time.unix_timestamp()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_zone() {
        let time = OffsetDateTime::from_unix_timestamp(1_751_328_000).expect("a time");
        let zone = |zone: &str| {
            let environment = [("TZ".to_owned(), zone.to_owned())];
            LocalTime::new(&environment, Place::of_this_process())
        };
        let text = |name| zone(name).text(time);
        assert_eq!(text("UTC"), "2025-07-01 00:00:00");
        assert_eq!(text(":UTC"), "2025-07-01 00:00:00");
        assert_eq!(text("EST5EDT,M3.2.0,M11.1.0"), "2025-06-30 20:00:00");
        assert_eq!(text("no such zone"), "2025-07-01 00:00:00");
        assert_eq!(text("/no/such/file"), "2025-07-01 00:00:00");
        assert_eq!(zone("IST-5:30").offset(time).as_hms(), (5, 30, 0));
    }
}
