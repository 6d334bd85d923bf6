//! `lambda_metric [--namespace NS] NAME VALUE [UNIT] [DIMENSION=VALUE]...`: a metric of CloudWatch, as a line of the log.
//!
//! The embedded metric format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::fmt::Write as _;

use crate::document::string::{quote, quote_into};
use crate::document::{Document, Kind};
use crate::options::Arguments;
use crate::{Call, CallError, Caller, Reply};

/// What CloudWatch takes: `StandardUnit` of its API.
const UNITS: &[&str] = &[
    "None",
    "Count",
    "Percent",
    "Seconds",
    "Milliseconds",
    "Microseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
];

const MOST_DIMENSIONS: usize = 30;
/// Of a dimension's value; the limits on names are shorter.
const LONGEST_VALUE: usize = 1024;
const LONGEST_NAME: usize = 250;
/// CloudWatch refuses what is beyond 2^360, which has 109.
const MOST_DIGITS: i64 = 108;

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Reply, CallError> {
    let mut arguments = Arguments::of(call);
    let (mut namespace, mut words) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        // A value may be negative.
        let is_option =
            argument.starts_with(b"--") || (words.is_empty() && argument.starts_with(b"-"));
        match argument {
            b"--namespace" => {
                namespace = Some(arguments.text("--namespace", "the namespace")?.to_owned());
            }
            _ if is_option => return Err(arguments.unknown(argument, "--namespace NS")),
            _ => {
                let word = str::from_utf8(argument);
                words.push(word.map_err(|_| arguments.misuse("an argument is not UTF-8"))?);
            }
        }
    }
    let [name, value, rest @ ..] = words.as_slice() else {
        return Err(arguments.misuse("expected NAME VALUE [UNIT] [DIMENSION=VALUE]..."));
    };
    let fails = |cause: String| CallError::usage(format!("cannot write metric {name}: {cause}"));
    let namespace = namespace.or_else(|| caller.metric_namespace());
    let namespace = namespace
        .ok_or_else(|| fails("it has no namespace; give one by --namespace".to_owned()))?;
    check_name("the namespace", &namespace).map_err(fails)?;
    check_name("its name", name).map_err(fails)?;
    check_number(value).map_err(fails)?;
    let (unit, dimensions) = match rest.split_first() {
        Some((unit, dimensions)) if !unit.contains('=') => (*unit, dimensions),
        _ => ("None", rest),
    };
    check_unit(unit).map_err(fails)?;
    let dimensions = read_dimensions(name, dimensions).map_err(fails)?;

    let names: Vec<_> = dimensions.iter().map(|(name, _)| quote(name)).collect();
    let mut json = format!(
        r#"{{"_aws":{{"Timestamp":{},"CloudWatchMetrics":[{{"Namespace":{},"Dimensions":[[{}]],"Metrics":[{{"Name":{},"Unit":"{unit}"}}]}}]}}"#,
        caller.now_ms(),
        quote(&namespace),
        names.join(","),
        quote(name),
    );
    for (name, value) in dimensions {
        json.push(',');
        quote_into(&mut json, name);
        json.push(':');
        quote_into(&mut json, value);
    }
    let _ = write!(json, ",{}:{value}}}", quote(name));
    Reply::line(None, json.into_bytes())
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let cause = match name {
        "" => "is empty",
        _ if name.starts_with(':') => "begins with a colon",
        _ if name.chars().any(char::is_control) => "has a control character",
        _ if name.len() > LONGEST_NAME => "is longer than 250 bytes",
        "_aws" => "is _aws, where the format keeps its own",
        _ => return Ok(()),
    };
    Err(format!("{what} {cause}"))
}

fn check_number(value: &str) -> Result<(), String> {
    // JSON may have it, but a line feed would end the line of the record.
    if value.trim_ascii() != value {
        return Err("its value has white space around it".to_owned());
    }
    let document = Document::borrowed(value.as_bytes());
    let is_number = document.is_ok_and(|number| number.kind(number.root()) == Kind::Number);
    if !is_number {
        return Err(format!("its value {value} is not a number"));
    }
    if digits(value) > MOST_DIGITS {
        return Err(format!("its value {value} is too large for CloudWatch"));
    }
    Ok(())
}

/// How many digits a number has before its point when it is written out. To parse it would add 15 KB to `bootstrap`.
fn digits(number: &str) -> i64 {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = match exponent.trim_start_matches('+').parse::<i64>() {
        Ok(exponent) => exponent,
        // What does not fit is very large, or very small.
        Err(_) if exponent.starts_with('-') => return 0,
        Err(_) => i64::MAX,
    };
    let significant = format!("{whole}{fraction}");
    let zeros = significant.len() - significant.trim_start_matches('0').len();
    if zeros == significant.len() {
        return 0;
    }
    let before = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let zeros = i64::try_from(zeros).unwrap_or(i64::MAX);
    before.saturating_sub(zeros).saturating_add(exponent)
}

fn check_unit(unit: &str) -> Result<(), String> {
    if UNITS.contains(&unit) {
        return Ok(());
    }
    let near = UNITS.iter().find(|known| {
        let is_same = known.eq_ignore_ascii_case(unit);
        is_same || known.trim_end_matches('s').eq_ignore_ascii_case(unit)
    });
    Err(match near {
        Some(near) => format!("there is no unit {unit}; did you mean {near}?"),
        None => format!("there is no unit {unit}; there are {}", UNITS.join(", ")),
    })
}

fn read_dimensions<'a>(metric: &str, words: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut dimensions: Vec<(&str, &str)> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        // It may be a secret.
        let (name, value) = word.split_once('=').ok_or_else(|| {
            let number = index + 1;
            format!("expected DIMENSION=VALUE as dimension {number}; it has no =")
        })?;
        check_name("the name of a dimension", name)?;
        if value.is_empty() || value.len() > LONGEST_VALUE {
            return Err(format!(
                "the value of dimension {name} has {} bytes, and may have 1 to 1024",
                value.len()
            ));
        }
        if name == metric || dimensions.iter().any(|(known, _)| *known == name) {
            return Err(format!("the name {name} is there twice"));
        }
        dimensions.push((name, value));
    }
    if dimensions.len() > MOST_DIMENSIONS {
        return Err(format!(
            "it has {} dimensions, and may have {MOST_DIMENSIONS}",
            dimensions.len()
        ));
    }
    Ok(dimensions)
}
