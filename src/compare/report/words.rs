//! Figures and names as text, for all forms of a report.

use super::super::results::{Metric, Results};
use super::super::statistics::{Ratio, Verdict};

/// The text of a cell without a value.
pub(crate) const NOTHING: &str = "–";

/// A figure with three significant digits: `1,230`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn figure(value: f64) -> String {
    // Rounding can add a digit: 9.999 becomes 10.0.
    let scientific = format!("{value:.2e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let Some(exponent) = exponent.filter(|_| rounded != 0.0) else {
        return if rounded == 0.0 {
            "0".to_owned()
        } else {
            value.to_string()
        };
    };
    let text = format!("{rounded:.*}", usize::try_from(2 - exponent).unwrap_or(0));
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", grouped(whole)),
        None => grouped(&text),
    }
}

/// Digits with a comma between thousands.
fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let is_apart = place > 0 && (digits.len() - place).is_multiple_of(3);
        grouped.extend((is_apart && !grouped.ends_with('-')).then_some(','));
        grouped.push(digit);
    }
    grouped
}

/// A figure with its unit.
pub(crate) fn quantity(value: f64, metric: Metric) -> String {
    let unit = match metric.unit() {
        "" => String::new(),
        unit if unit.starts_with('/') => unit.to_owned(),
        unit => format!(" {unit}"),
    };
    figure(value) + &unit
}

/// A count with commas between thousands.
pub fn count(count: usize) -> String {
    grouped(&count.to_string())
}

/// The size of an event.
pub fn size(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes {
        0 => "0 B".to_owned(),
        bytes if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        bytes if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        bytes => format!("{} B", count(bytes)),
    }
}

/// The name of a metric, and the size of its events.
pub(crate) fn measure(metric: Metric, event_bytes: Option<usize>) -> String {
    let size = event_bytes.map(|bytes| format!(", {}", size(bytes)));
    metric.title().to_owned() + &size.unwrap_or_default()
}

/// `text` with a capital letter.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// `a, b and c`.
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// How many times better, as far as the samples can tell.
pub(crate) fn verdict(ratio: &Ratio) -> String {
    match ratio.verdict {
        Verdict::Better | Verdict::Worse => format!("{}×", figure(ratio.times)),
        Verdict::NoDifference => "no difference".to_owned(),
        Verdict::TooFew => "too few to tell".to_owned(),
    }
}

/// `text`, with an interval behind it if there is one.
pub(crate) fn with_interval(text: String, low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{text} ({}–{})", figure(low), figure(high)),
        _ => text,
    }
}

/// Text of a runtime or a log without characters that would control a terminal, break a line, or be invalid in XML.
pub(crate) fn clean(text: &str) -> String {
    let is_kept = |letter: char| {
        let turns_text_round = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !(letter.is_control() || turns_text_round || matches!(letter, '\u{fffe}' | '\u{ffff}'))
    };
    text.chars()
        .map(|letter| if is_kept(letter) { letter } else { '\u{fffd}' })
        .collect()
}

/// The name of a runtime, marked if it is the baseline.
pub fn name(results: &Results, runtime: &str) -> String {
    let is_baseline = results.baseline == runtime && results.runtimes.len() > 1;
    clean(runtime) + if is_baseline { " (baseline)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_significant_digits() {
        let cases = [
            (0.0, "0"),
            (0.000_012_34, "0.0000123"),
            (0.1, "0.100"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (123.4, "123"),
            (999.6, "1,000"),
            (12_345.0, "12,300"),
            (1_234_567.0, "1,230,000"),
            (-1234.0, "-1,230"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn sizes_are_exact() {
        let cases = [
            (0, "0 B"),
            (32, "32 B"),
            (1000, "1,000 B"),
            (1024, "1 KiB"),
            (6 << 20, "6 MiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn text_of_others_stays_in_its_line_and_controls_nothing() {
        assert_eq!(
            clean("a\n\x1b[31mb\t\u{202e}\u{ffff}é"),
            "a\u{fffd}\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}é"
        );
    }
}
