//! Random inputs, read by the AWS CLI's own parsers and by ours: Debian's package awscli, and the `JMESPath` that it uses.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::SystemTime;

use super::arguments::Arguments;
use super::files::Files;
use super::output::json;
use super::protocol;
use super::search::Expression;
use super::shorthand;
use super::table::Service;
use super::validate;
use super::value::Value;
use crate::call::Place;

const SHORTHAND: &str = "
import json, sys
from awscli.shorthand import ShorthandParser
for line in sys.stdin:
    try:
        print(json.dumps(ShorthandParser().parse(json.loads(line))))
    except Exception:
        print('error')
";

const SEARCH: &str = "
import json, sys, warnings, jmespath
warnings.simplefilter('ignore')
for line in sys.stdin:
    expression, document = json.loads(line)
    try:
        print(json.dumps(jmespath.search(expression, document)))
    except Exception:
        print('error')
";

/// What a Python script prints for each of these lines.
fn python(script: &str, lines: &[String]) -> Vec<String> {
    // The first Python on the path may be another, without Debian's packages.
    let child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot start python3: {error}"));
    let input = child.stdin.take();
    let text = lines.join("\n") + "\n";
    let writer = thread::spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
    let output = child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        matches!(writer.join(), Ok(Some(Ok(())))),
        "python3 ended early"
    );
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.lines().map(str::to_owned).collect()
}

struct Random(u64);

impl Random {
    /// The seed is `COSHELL_TEST_SEED`: a number, or `clock`.
    fn new() -> Self {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = match std::env::var("COSHELL_TEST_SEED").as_deref() {
            Ok("clock") => clock().map_or(1, |since| u64::from(since.subsec_nanos())),
            Ok(number) => number.parse().unwrap_or(1),
            Err(_) => 1,
        };
        println!("COSHELL_TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

#[test]
fn shorthand_reads_as_the_aws_cli_reads_it() {
    let words = [
        "a", "Key", "b1", "=", "=", "=", "=", ",", ",", ",", "[", "]", "{", "}", " ", "'", "\"",
        "\\", "\\,", "é", "true", ":", "/", ".", "-", "\n", "x y",
    ];
    let pieces = [
        "a=b",
        "c=",
        "d=e,f",
        "g=[h,i]",
        "j={k=l}",
        "m='n,o'",
        "p=\"q\\\"r\"",
        "s={t=[u,{v=w}]}",
        "x=y z",
        "a=1",
    ];
    let mut random = Random::new();
    let texts: Vec<String> = (0..4000)
        .map(|number| {
            let mut text = String::new();
            let count = random.below(9) + 1;
            for at in 0..count {
                if number % 2 == 0 {
                    text.push_str(random.one_of(&words));
                } else {
                    text.push_str(if at > 0 {
                        random.one_of(&[",", ",", ",", " , ", "", " "])
                    } else {
                        ""
                    });
                    text.push_str(random.one_of(&pieces));
                }
            }
            text
        })
        .collect();
    let lines: Vec<_> = texts
        .iter()
        .map(|text| json::request(&Value::text(text)))
        .collect();
    let expected = python(SHORTHAND, &lines);
    assert_eq!(expected.len(), texts.len());
    let good = expected.iter().filter(|line| *line != "error").count();
    assert!(good > 500, "only {good} of them are no errors");
    for (text, expected) in texts.iter().zip(&expected) {
        let got = shorthand::parse(text)
            .map_or_else(|_| "error".to_owned(), |value| json::spaced(&value));
        assert_eq!(&got, expected, "{text:?}");
    }
}

/// A random value of an argument.
fn junk(random: &mut Random) -> String {
    let words = [
        "a",
        "1",
        "-1",
        "=",
        ",",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        " ",
        "é",
        "\u{1f600}",
        "\\",
        "$HOME",
        "${",
        "~",
        "file://",
        "fileb:///dev/null",
        "true",
        "Key=a,Value=b",
        "{\"a\": 1}",
        "[\"x\"]",
        "[{\"Key\": \"a\"}]",
        "2023-11-14T22:13:20Z",
        "1700000000.5",
        "AQID",
        "%",
        "/",
        "?",
        "\n",
        "null",
        "99999999999999999999999999999999999999999",
        "1e999",
        "nan",
    ];
    (0..=random.below(3))
        .map(|_| random.one_of(&words))
        .collect()
}

#[test]
fn no_command_line_panics() {
    let mut random = Random::new();
    let environment = [("HOME".to_owned(), "/nonexistent".to_owned())];
    let files = Files {
        place: Place::of_this_process(),
        environment: &environment,
    };
    let mut requests = 0;
    for command in Service::commands() {
        let service = Service::find(command).unwrap_or_else(|| panic!("{command}"));
        for name in service.operation_commands() {
            let operation = service.operation(&name).unwrap_or_else(|| panic!("{name}"));
            for is_complete in [false, true, false, true] {
                let mut words = Vec::new();
                for member in &operation.input.members {
                    if (is_complete && member.is_required) || random.below(3) == 0 {
                        words.push(format!("--{}", member.argument()));
                        words.extend((0..random.below(3)).map(|_| junk(&mut random)));
                    }
                }
                words.push("outfile".to_owned());
                let read = Arguments::read(&service, &operation, &words, false, files);
                let Ok(mut arguments) = read else { continue };
                let completed =
                    validate::complete(&mut arguments.parameters, &operation, &service, false);
                requests += usize::from(
                    completed.is_ok()
                        && protocol::request(&service, &operation, &arguments.parameters).is_ok(),
                );
            }
        }
    }
    assert!(requests > 20, "only {requests} of them are requests");
}

const DOCUMENT: &str = r#"{"b": [{"n": 2, "s": "x", "t": true}, {"n": 1, "s": "y", "l": [1, 2]}, {"n": 1.5, "z": null}],
    "a": {"q": "text", "c": {"n": 5, "d": "e"}, "l": [3, 1, 2]}, "s": "abc", "n": 10, "e": [], "o": {},
    "f": [[1, 2], [3], 4, ["x", ["y"]]], "w": ["b", "a", "c"], "m": [1, "a", null, true], "t": "2023-01-01"}"#;

/// A random expression.
#[allow(clippy::too_many_lines, reason = "one arm for each kind")]
fn expression(random: &mut Random, depth: usize) -> String {
    let field = |random: &mut Random| {
        random
            .one_of(&[
                "a", "b", "c", "d", "e", "f", "l", "m", "n", "o", "q", "s", "w", "t", "\"a\"",
                "none",
            ])
            .to_owned()
    };
    if depth == 0 {
        return match random.below(8) {
            0 => "@".to_owned(),
            1 => random
                .one_of(&[
                    "`1`",
                    "`\"x\"`",
                    "`x`",
                    "` y`",
                    "'x'",
                    "`[1, 2]`",
                    "`{\"a\": 1}`",
                    "`null`",
                    "`true`",
                    "`1.5`",
                    "`abc def`",
                    "`-1`",
                    "`-0`",
                    "`-0.0`",
                    "`100000000000000000000`",
                    "``",
                ])
                .to_owned(),
            _ => field(random),
        };
    }
    let inner = |random: &mut Random| expression(random, depth - 1);
    let first = inner(random);
    match random.below(16) {
        0 => format!("{first}.{}", field(random)),
        1 => format!(
            "{first}{}",
            random.one_of(&[
                "[0]", "[-1]", "[1]", "[*]", "[]", "[1:]", "[:2]", "[::-1]", "[::2]", "[-2:]",
                "[5:1:-1]", "[:-1:-1]"
            ])
        ),
        2 => format!(
            "{first}{}.{}",
            random.one_of(&["[*]", "[]", ".*", "[0]", "[1:]"]),
            field(random)
        ),
        3 => format!(
            "{first}[?{} {} {}]",
            inner(random),
            random.one_of(&["==", "!=", "<", "<=", ">", ">="]),
            inner(random)
        ),
        4 => format!("{first}[?{}]", inner(random)),
        5 => format!("[{first}, {}]", inner(random)),
        6 => format!(
            "{{z: {first}, {}: {}}}",
            random.one_of(&["a", "b", "\"x y\""]),
            inner(random)
        ),
        7 => format!("{first}.[{}, {}]", field(random), inner(random)),
        8 => format!("{first}.{{k: {}, j: {}}}", field(random), inner(random)),
        9 => format!("{first} | {}", inner(random)),
        10 => format!("{first} || {}", inner(random)),
        11 => format!("({first} && {})", inner(random)),
        12 => format!("!{first}"),
        13 => {
            let name = random.one_of(&[
                "abs",
                "avg",
                "ceil",
                "floor",
                "keys",
                "length",
                "max",
                "min",
                "reverse",
                "sort",
                "sum",
                "to_array",
                "to_number",
                "to_string",
                "type",
                "values",
                "not_null",
                "merge",
                "nothing",
            ]);
            format!("{name}({first})")
        }
        14 => {
            let name = random.one_of(&[
                "contains",
                "ends_with",
                "starts_with",
                "join",
                "not_null",
                "merge",
            ]);
            format!("{name}({first}, {})", inner(random))
        }
        _ => {
            let name = random.one_of(&["sort_by", "max_by", "min_by"]);
            if random.below(3) == 0 {
                format!("map(&{}, {first})", inner(random))
            } else {
                format!("{name}({first}, &{})", inner(random))
            }
        }
    }
}

#[test]
fn queries_find_what_pythons_jmespath_finds() {
    let mut random = Random::new();
    let expressions: Vec<String> = (0..6000)
        .map(|number| expression(&mut random, number % 4))
        .collect();
    let document = Value::from_json(DOCUMENT.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<_> = expressions
        .iter()
        .map(|expression| {
            json::request(&Value::List(vec![
                Value::text(expression),
                document.clone(),
            ]))
        })
        .collect();
    let expected = python(SEARCH, &lines);
    assert_eq!(expected.len(), expressions.len());
    let good = expected
        .iter()
        .filter(|line| !["error", "null"].contains(&line.as_str()))
        .count();
    assert!(good > 1500, "only {good} of them find something");
    let mut differences = String::new();
    for (expression, expected) in expressions.iter().zip(&expected) {
        let found =
            Expression::parse(expression).and_then(|expression| expression.search(&document));
        let got = found.map_or_else(|_| "error".to_owned(), |value| json::spaced(&value));
        if got != *expected {
            let _ = writeln!(
                differences,
                "{expression}\n  expected {expected}\n  got      {got}"
            );
        }
    }
    assert_eq!(differences, "");
}
