//! `aws s3 ls`: buckets, or objects and prefixes.

use super::arguments::Arguments;
use super::failure::Stop;
use super::listing::{self, Object, Query};
use super::uri;
use crate::aws::session::Session;
use crate::call::Output;
use crate::local_time::LocalTime;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes the list. Returns the exit status.
///
/// # Errors
/// S3 refuses, or does not answer.
pub(super) fn run(
    session: &Session,
    arguments: &Arguments,
    zone: &LocalTime,
    output: &Output,
) -> Result<i32, Stop> {
    let page_size = arguments.number("page-size").map_err(Stop::other)?;
    let word = arguments.paths.first().map_or("", String::as_str);
    let (bucket, key) = uri::split(uri::without_scheme(word).unwrap_or(word));
    let write = |line: String| {
        output.write(|text| text.extend_from_slice(line.as_bytes()), false);
    };
    let is_human = arguments.has("human-readable");
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let mut is_first_page = true;
    let mut status = 0;
    if bucket.is_empty() {
        for (name, made) in listing::buckets(session)? {
            write(format!("{} {name}\n", zone.text(made)));
        }
    } else {
        uri::check_bucket(bucket).map_err(Stop::invalid)?;
        let is_recursive = arguments.has("recursive");
        let query = Query {
            bucket,
            prefix: key,
            is_flat: !is_recursive,
            page_size,
            requester_pays: arguments.has("request-payer"),
        };
        let mut token: Option<String> = None;
        loop {
            let page = listing::page(session, &query, token.as_deref())?;
            if page.objects.is_empty() && page.prefixes.is_empty() {
                if is_first_page && !key.is_empty() {
                    status = 1;
                }
            } else {
                is_first_page = false;
            }
            for prefix in &page.prefixes {
                let name = prefix.trim_end_matches('/').rsplit('/').next();
                let name = if prefix.ends_with("//") {
                    Some("")
                } else {
                    name
                };
                write(format!("{:>30} {}/\n", "PRE", name.unwrap_or_default()));
            }
            for object in &page.objects {
                count += 1;
                bytes = bytes.saturating_add(object.size);
                write(line(object, is_recursive, is_human, zone));
            }
            token = page.next;
            if token.is_none() {
                break;
            }
        }
    }
    if arguments.has("summarize") {
        write(format!("\nTotal Objects: {count}\n"));
        write(format!(
            "{:>15}{}\n",
            "Total Size: ",
            size_text(bytes, is_human)
        ));
    }
    Ok(status)
}

fn line(object: &Object, is_recursive: bool, is_human: bool, zone: &LocalTime) -> String {
    let name = if is_recursive {
        &object.key
    } else {
        object.key.rsplit('/').next().unwrap_or_default()
    };
    let time = zone.text(object.modified);
    format!("{time} {:>10} {name}\n", size_text(object.size, is_human))
}

fn size_text(bytes: u64, is_human: bool) -> String {
    if is_human {
        human_size(bytes)
    } else {
        bytes.to_string()
    }
}

/// A size with its unit, such as `1.5 MiB`.
fn human_size(bytes: u64) -> String {
    match bytes {
        1 => return "1 Byte".to_owned(),
        0..1024 => return format!("{bytes} Bytes"),
        _ => {}
    }
    // One digit behind the point is shown.
    #[expect(clippy::cast_precision_loss)]
    let mut size = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while size.round_ties_even() >= 1024.0
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::human_size;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 Bytes"),
            (1, "1 Byte"),
            (1023, "1023 Bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 * 1024 * 1024 * 1024, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_size(bytes), text, "{bytes}");
        }
    }
}
