//! Paths, beside what jq makes of them: 300 documents, with filters that lead into each.
//!
//! Where this differs from jq it is on purpose: null is a failure unless `?` or `//` allows it, and numbers keep their
//! text. Of jq 1.6 to 1.8 it is known that
//! - a number is printed as a double, from 1.7 on as it was written if nothing computed with it;
//! - `@uri` of 1.6 lets `!*'()` stand, which later ones encode;
//! - a high surrogate that stands alone is refused, and a low one becomes U+FFFD, as both do here;
//! - `@html` writes `&apos;`, against the manual, which says `&#39;`;
//! - `.a.[0]` is from 1.7 on, `@urid` from 1.8 on, `.a?//"x"` (without a blank) and `@urid_plus` are of no jq.

use std::fmt::Write as _;

use serde_json::Value;

use coshell_calls::Variable;

use crate::caller::Place;
use crate::documents::{Json, random_text};
use crate::programs::run;
use crate::random::Random;

const SEED: u64 = 300;
const DOCUMENTS: usize = 300;
const FILTERS: usize = 8;
/// The number of documents that one jq gets.
const CHUNK: usize = 50;

const FUNCTIONS: &[&str] = &[
    "fromjson",
    "tojson",
    "tostring",
    "length",
    "keys",
    "keys_unsorted",
    "type",
    "first",
    "last",
    "ascii_downcase",
    "ascii_upcase",
    "@base64",
    "@base64 | @base64d",
    "@uri",
    "@html",
    "@json",
    "@text",
    "fromjson | length",
    "tojson | fromjson",
    "keys | first",
    "keys[0]",
    "first[0]?",
];

struct Sample {
    path: String,
    function: Option<&'static str>,
    has_default: bool,
    has_optional: bool,
    ends_optional: bool,
}

impl Sample {
    fn filter(&self) -> String {
        match self.function {
            Some(function) => format!("{} | {function}", self.path),
            None => self.path.clone(),
        }
    }

    /// A way into `document`, which may lead astray.
    fn random(document: &Json, random: &mut Random) -> Self {
        let mut path = String::new();
        let mut place = Some(document);
        let (mut has_optional, mut ends_optional) = (false, false);
        while let Some(step) = Self::step(&mut place, path.is_empty(), random) {
            path.push_str(&step);
            ends_optional = random.below(8) == 0;
            if ends_optional {
                path.push('?');
                has_optional = true;
            }
            if random.below(6) == 0 {
                break;
            }
        }
        if path.is_empty() {
            path.push('.');
        }
        let has_default = random.below(5) == 0;
        if has_default {
            let default = random.one_of(&[
                "\"d\"",
                "5",
                "[1, {\"a\": null}]",
                "false",
                ".a",
                "empty",
                ".a?",
                ".[0] // \"e\"",
            ]);
            path = format!("{path} // {default}");
        }
        let function = (random.below(3) == 0).then(|| random.one_of(FUNCTIONS));
        Self {
            path,
            function,
            has_default,
            has_optional,
            ends_optional,
        }
    }

    /// The text of a step from `place`, which it moves.
    fn step(place: &mut Option<&Json>, is_first: bool, random: &mut Random) -> Option<String> {
        let dot = if is_first { "." } else { "" };
        let astray = random.below(12) == 0;
        match *place {
            Some(Json::Object(members)) if !members.is_empty() && !astray => {
                let (name, _) = &members[random.below(members.len())];
                // The last of this name counts.
                *place = members
                    .iter()
                    .rev()
                    .find(|(other, _)| other == name)
                    .map(|(_, value)| value);
                if random.below(10) == 0 {
                    return Some(format!("{dot}[]"));
                }
                Some(field(name, dot, random))
            }
            Some(Json::Array(elements)) if !elements.is_empty() && !astray => {
                let index = random.below(elements.len());
                *place = elements.get(index);
                Some(match random.below(4) {
                    0 => format!("{dot}[]"),
                    1 => format!("{dot}[-{}]", elements.len() - index),
                    _ => format!("{dot}[{index}]"),
                })
            }
            _ if astray => {
                *place = None;
                Some(match random.below(4) {
                    0 => format!("{dot}[]"),
                    1 => format!("{dot}[7]"),
                    2 => field(&random_text(random), dot, random),
                    _ => ".nope".to_owned(),
                })
            }
            _ => None,
        }
    }
}

/// A field in one of the ways that there are to write it.
fn field(name: &str, dot: &str, random: &mut Random) -> String {
    let quoted = serde_json::to_string(name).expect("a string");
    let is_word = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    match random.below(3) {
        0 if is_word => format!(".{name}"),
        1 => format!(".{quoted}"),
        _ => format!("{dot}[{quoted}]"),
    }
}

/// What jq gives for each filter: the values, or the word `error`.
fn jq(documents: &[String], filters: &[(usize, String)]) -> Vec<Value> {
    let mut program = String::new();
    for (number, filter) in filters {
        let comma = if program.is_empty() { "" } else { ",\n" };
        // As `jq -r -c` prints them, but for null.
        let shown = "map(if type == \"null\" or type == \"string\" then . else [tojson] end)";
        let _ = write!(
            program,
            "{comma}(.[{number}] | try ([{filter}] | {shown}) catch \"error\")"
        );
    }
    let folder = std::env::temp_dir().join(format!("coshell-calls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("filters.jq");
    std::fs::write(&file, program).expect("a file");
    let output = run(
        "jq",
        &["-c", "-s", "-f", file.to_str().expect("a name")],
        documents.join("\n").as_bytes(),
    );
    std::fs::remove_dir_all(&folder).expect("no folder");
    let output = String::from_utf8(output).expect("UTF-8");
    let values = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    values.collect()
}

/// What we give, or `None` if it is a failure.
fn ours(place: &Place, filter: &str) -> Result<Vec<String>, String> {
    let reply = place.call("get", &["x", filter])?;
    let lossy = |text: &Vec<u8>| String::from_utf8_lossy(text).into_owned();
    match reply.assignments.as_slice() {
        [(_, Variable::Text(text))] => Ok(vec![lossy(text)]),
        [(_, Variable::List(texts))] => Ok(texts.iter().map(lossy).collect()),
        other => panic!("{filter}: {other:?}"),
    }
}

/// Whether two texts are the same but for how numbers are written.
fn is_same(ours: &str, theirs: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text);
    ours == theirs
        || matches!((parsed(ours), parsed(theirs)), (Ok(ours), Ok(theirs)) if is_same_value(&ours, &theirs))
}

fn is_same_value(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            let (ours, theirs) = (
                ours.as_f64().unwrap_or(f64::NAN),
                theirs.as_f64().unwrap_or(0.0),
            );
            (ours - theirs).abs() <= ours.abs() * 1e-14
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| is_same_value(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let same = ours
                .iter()
                .zip(theirs)
                .all(|(ours, theirs)| ours.0 == theirs.0 && is_same_value(ours.1, theirs.1));
            ours.len() == theirs.len() && same
        }
        _ => ours == theirs,
    }
}

/// The texts of jq's values; `None` where it has null.
fn texts(values: &Value, function: Option<&str>) -> Option<Vec<Option<String>>> {
    let as_ours = |text: &str| match function {
        Some("@uri") => ["!", "*", "'", "(", ")"]
            .iter()
            .fold(text.to_owned(), |text, letter| {
                text.replace(letter, &format!("%{:02X}", letter.as_bytes()[0]))
            }),
        Some("@html") => text.replace("&apos;", "&#39;"),
        _ => text.to_owned(),
    };
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(as_ours(text)),
        Value::Array(json) => json[0].as_str().map(str::to_owned),
        other => panic!("{other}"),
    };
    values
        .as_array()
        .map(|values| values.iter().map(text).collect())
}

#[derive(Default)]
struct Tally {
    equal: usize,
    failures: usize,
    open: usize,
}

/// Compares one sample: `base` is what jq gives for the path, `theirs` what it gives with the function.
fn compare(
    sample: &Sample,
    ours: Result<Vec<String>, String>,
    base: &Value,
    theirs: &Value,
    tally: &mut Tally,
) -> Result<(), String> {
    let base = texts(base, None);
    let has_null = base.as_ref().is_some_and(|texts| texts.contains(&None));
    let is_strict = !sample.has_optional && !sample.has_default;
    if has_null && sample.function != Some("type") {
        if is_strict {
            tally.failures += 1;
            let found = |found| format!("jq has null, and we give {found:?}");
            return ours.map_or(Ok(()), |ours| Err(found(ours)));
        }
        if !sample.ends_optional || sample.has_default || sample.function.is_some() {
            tally.open += 1;
            return Ok(());
        }
    }
    let theirs = texts(theirs, sample.function);
    let is_null =
        |theirs: &Vec<Option<String>>| sample.function.is_some() && theirs.contains(&None);
    let Some(theirs) = theirs.filter(|theirs| !is_null(theirs)) else {
        tally.failures += 1;
        let is_nothing = ours.as_ref().is_ok_and(|ours| ours.concat().is_empty());
        return if ours.is_err() || (is_nothing && sample.filter().contains('?')) {
            Ok(())
        } else {
            Err(format!("jq fails or has null, and we give {ours:?}"))
        };
    };
    // Null between two functions is a failure, too.
    let is_chain = sample
        .function
        .is_some_and(|function| function.contains('|'));
    if is_chain
        && ours
            .as_ref()
            .is_err_and(|message| message.ends_with(" is null"))
    {
        tally.failures += 1;
        return Ok(());
    }
    tally.equal += 1;
    let ours = ours.map_err(|message| format!("jq gives {theirs:?}, and we fail: {message}"))?;
    let theirs: Vec<_> = theirs.into_iter().map(Option::unwrap_or_default).collect();
    let is_nothing = theirs.is_empty() && ours.concat().is_empty();
    let mut pairs = ours.iter().zip(&theirs);
    let is_equal = ours.len() == theirs.len() && pairs.all(|(ours, theirs)| is_same(ours, theirs));
    if is_equal || is_nothing {
        return Ok(());
    }
    Err(format!("jq gives {theirs:?}, and we give {ours:?}"))
}

#[test]
fn jq_finds_the_same_in_generated_documents() {
    // As support::seeded::divisor, which this package does not have.
    let share = std::env::var("COSHELL_TEST_SHARE").map_or(1, |share| {
        share
            .parse::<usize>()
            .expect("COSHELL_TEST_SHARE must be a number")
            .max(1)
    });
    let mut random = Random(SEED);
    let mut tally = Tally::default();
    let mut documents = Vec::new();
    let mut samples = Vec::new();
    for number in 0..DOCUMENTS / share {
        let json = Json::random(&mut random, 5);
        documents.push(json.write(&mut random));
        samples.extend((0..FILTERS).map(|_| (number, Sample::random(&json, &mut random))));
    }
    for (chunk, documents) in documents.chunks(CHUNK).enumerate() {
        let first = chunk * CHUNK;
        let samples: Vec<_> = samples
            .iter()
            .filter(|(number, _)| (first..first + documents.len()).contains(number))
            .collect();
        let with = |filter: &dyn Fn(&Sample) -> String| -> Vec<_> {
            samples
                .iter()
                .map(|(number, sample)| (number - first, filter(sample)))
                .collect()
        };
        let bases = jq(documents, &with(&|sample| sample.path.clone()));
        let theirs = jq(documents, &with(&Sample::filter));
        assert_eq!((bases.len(), theirs.len()), (samples.len(), samples.len()));
        let places: Vec<_> = documents.iter().map(Place::with_event).collect();
        for (((number, sample), base), theirs) in samples.into_iter().zip(&bases).zip(&theirs) {
            let place = &places[number - first];
            // Where a number is written otherwise, what encodes it is as well.
            let ours_of_path = ours(place, &sample.path);
            let is_number = texts(base, None).is_some_and(|theirs| {
                let theirs: Vec<_> = theirs.into_iter().map(Option::unwrap_or_default).collect();
                ours_of_path.is_ok_and(|ours| ours != theirs)
            });
            if is_number
                && sample
                    .function
                    .is_some_and(|function| function.starts_with('@'))
            {
                tally.open += 1;
                continue;
            }
            let wrong = compare(
                sample,
                ours(place, &sample.filter()),
                base,
                theirs,
                &mut tally,
            );
            let document = &documents[number - first];
            assert_eq!(wrong, Ok(()), "{} of {document}", sample.filter());
        }
    }
    let Tally {
        equal,
        failures,
        open,
    } = tally;
    println!("{equal} equal, {failures} failures of both, {open} open");
    assert!(
        equal * share > 1500 && failures * share > 300 && open * share < 400,
        "the filters lead nowhere"
    );
}
