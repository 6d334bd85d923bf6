//! The settings of transfers, in the section `s3` of a profile.

use std::num::NonZero;
use std::thread;

use super::failure::Stop;
use crate::aws::session::Session;

const MIB: u64 = 1024 * 1024;
const SUFFIXES: [(&str, u64); 8] = [
    ("kib", 1024),
    ("mib", MIB),
    ("gib", 1024 * MIB),
    ("tib", MIB * MIB),
    ("kb", 1024),
    ("mb", MIB),
    ("gb", 1024 * MIB),
    ("tb", MIB * MIB),
];
/// S3's limits.
const MAX_PARTS: u64 = 10_000;
const MIN_PART: u64 = 5 * MIB;
const MAX_PART: u64 = 5 * 1024 * MIB;
/// The AWS CLI's.
const MAX_REQUESTS: u64 = 10;
const MIN_PART_REQUESTS: usize = 2;
/// More threads than this are of no use.
const MAX_THREADS: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// Objects of this many bytes and more go in parts.
    pub threshold: u64,
    part: u64,
    /// How many requests for different objects may run at once.
    pub requests: usize,
    /// How many requests for parts of one object may run at once.
    pub part_requests: usize,
}

impl Settings {
    /// # Errors
    /// A setting is no number, or 0.
    pub(super) fn of(session: &Session) -> Result<Self, Stop> {
        Self::read(|name| session.settings.setting(&format!("s3.{name}")))
    }

    fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Stop> {
        let number = |name: &str, usual: u64| {
            let Some(text) = setting(name) else {
                return Ok(usual);
            };
            match bytes(text) {
                None => Err(Stop::other(format!("Invalid size value: {text}"))),
                Some(0) => Err(Stop::other(format!(
                    "Value for {name} must be a positive integer: {text}"
                ))),
                Some(number) => Ok(number),
            }
        };
        let requests = number("max_concurrent_requests", MAX_REQUESTS)?;
        let requests = usize::try_from(requests.min(MAX_THREADS)).unwrap_or(1);
        // Two connections carry what Lambda's network does. More of them take turns on its few processors.
        let usual = thread::available_parallelism().map_or(1, NonZero::get);
        let usual = usual.clamp(MIN_PART_REQUESTS, requests.max(MIN_PART_REQUESTS));
        let is_set = setting("max_concurrent_requests").is_some();
        Ok(Self {
            threshold: number("multipart_threshold", 8 * MIB)?,
            part: number("multipart_chunksize", 8 * MIB)?,
            requests,
            part_requests: if is_set { requests } else { usual },
        })
    }

    /// How many bytes each part of an object of `size` bytes has, so that S3 takes them.
    pub(super) fn part_bytes(&self, size: u64) -> u64 {
        let mut part = self.part.clamp(MIN_PART, MAX_PART);
        while size.div_ceil(part) > MAX_PARTS && part < MAX_PART {
            part = (part * 2).min(MAX_PART);
        }
        part
    }

    /// How many bytes to download at once.
    pub(super) fn range_bytes(&self) -> u64 {
        self.part
    }
}

/// A number of bytes, such as `8MB`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let suffix = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix));
    let (suffix, unit) = suffix.unwrap_or(&("", 1));
    let number: u64 = text.strip_suffix(suffix)?.trim().parse().ok()?;
    number.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[(&str, &'static str)]) -> Result<Settings, Stop> {
        Settings::read(|name| {
            let mut all = all.iter();
            all.find(|(other, _)| *other == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn sizes_have_units() {
        let settings = read(&[
            ("multipart_threshold", "64MB"),
            ("max_concurrent_requests", "3"),
        ]);
        let settings = settings.expect("settings");
        assert_eq!(settings.threshold, 64 * MIB);
        assert_eq!((settings.requests, settings.part_requests), (3, 3));
        let usual = read(&[]).expect("settings");
        assert_eq!(usual.requests, 10);
        assert!((2..=10).contains(&usual.part_requests));
        assert_eq!(bytes("5KiB"), Some(5120));
        assert_eq!(bytes("7"), Some(7));
        for wrong in ["0", "x", "-1", "9999999999TB", "MB"] {
            assert!(read(&[("multipart_chunksize", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_grow_until_ten_thousand_suffice() {
        let settings = read(&[("multipart_chunksize", "1MB")]).expect("settings");
        assert_eq!(settings.part_bytes(100 * MIB), MIN_PART);
        let settings = read(&[]).expect("settings");
        assert_eq!(settings.part_bytes(200 * MIB), 8 * MIB);
        let huge = 5 * MIB * MIB;
        assert!(huge.div_ceil(settings.part_bytes(huge)) <= MAX_PARTS);
    }
}
