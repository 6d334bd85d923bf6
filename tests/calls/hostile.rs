//! Documents, paths and arguments that are meant to do harm: they end in an answer or an error, and soon.

use std::fmt::Write as _;

use coshell_calls::{Document, RecordOptions, Variable, records};

use crate::caller::Place;
use crate::documents::Json;
use crate::programs::python;
use crate::random::Random;

const SEED: u64 = 4711;

fn error(text: &[u8]) -> String {
    Document::new(text.to_vec())
        .err()
        .map_or_else(|| "none".to_owned(), |error| error.to_string())
}

#[test]
fn what_is_no_json_is_refused_with_line_and_column() {
    for (text, expected) in [
        (&b""[..], "it is empty"),
        (b" \n\t ", "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"{", "EOF while parsing an object at line 1 column 1"),
        (b"[1,\n2", "EOF while parsing a list at line 2 column 1"),
        (b"\"a", "EOF while parsing a string at line 1 column 2"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"{\"a\":1}\nx", "trailing characters at line 2 column 1"),
        (b"{\"a\" 1}", "expected `:` at line 1 column 6"),
        (b"{a:1}", "key must be a string at line 1 column 2"),
        (b"[1,]", "expected value at line 1 column 4"),
        (b"01", "invalid number at line 1 column 2"),
        (b"1.", "invalid number at line 1 column 2"),
        (b"+1", "expected value at line 1 column 1"),
        (b"NaN", "expected value at line 1 column 1"),
        (b"'a'", "expected value at line 1 column 1"),
        (b"\"\\x\"", "invalid escape at line 1 column 3"),
        (b"\"\\u12g4\"", "invalid escape at line 1 column 7"),
        (
            b"\"a\nb\"",
            "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2",
        ),
        (
            b"\"a\0b\"",
            "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2",
        ),
        (b"{\"a\":\n\"\xff\"}", "invalid UTF-8 at line 2 column 2"),
        (b"\"\xed\xa0\x80\"", "invalid UTF-8 at line 1 column 2"),
        (b"\"\xc0\x80\"", "invalid UTF-8 at line 1 column 2"),
        (b"\x00", "expected value at line 1 column 1"),
    ] {
        assert_eq!(error(text), expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn odd_values_are_read() {
    let place = Place::with_event(
        "\u{feff}{\"big\": 1e999, \"small\": -1E-999, \"high\": \"a\\ud800b\", \"low\": \"\\udc00\", \"turned\": \"\\udc00\\ud800\",
        \"two\": \"\\ud800\\ud83d\\ude00\", \"nul\": \"\\u0000\", \"slash\": \"\\/\", \"\\ud800\": 1}",
    );
    for (path, expected) in [
        (".big", "1e999"),
        (".small", "-1E-999"),
        (".small | length", "1E-999"),
        (".high", "a\u{fffd}b"),
        (".low", "\u{fffd}"),
        (".turned", "\u{fffd}\u{fffd}"),
        (".two", "\u{fffd}😀"),
        (".two | length", "2"),
        (".nul | length", "1"),
        (".nul | tojson", "\"\\u0000\""),
        (".slash | tojson", "\"/\""),
        (".\"\u{fffd}\"", "1"),
    ] {
        assert_eq!(place.get(path), expected, "{path}");
    }
}

#[test]
fn ten_megabytes_of_brackets_are_an_error() {
    for text in ["[", "{\"a\":", "[{\"a\":", "[[],"] {
        let count = 10_000_000 / text.len();
        let error = error(text.repeat(count).as_bytes());
        assert!(error.starts_with("EOF while parsing "), "{error}");
    }
}

#[test]
fn deep_documents_are_read() {
    let depth = 1_000_000;
    let arrays = format!("{}1{}", "[".repeat(depth), " ]".repeat(depth));
    let objects = format!("{}1{}", "{\"a\" :".repeat(depth), "}".repeat(depth));
    for (text, first, compact) in [
        (&arrays, ".[0][0][0]", arrays.replace(' ', "")),
        (&objects, ".a.a.a", objects.replace(' ', "")),
    ] {
        let place = Place::with_event(text);
        assert!(place.get(".") == compact, "{first}");
        assert_eq!(place.get(first).len() % 2, 1);
        assert_eq!(place.get(". | length"), "1");
        assert!(place.get("tojson | fromjson") == compact, "{first}");
    }
    // A path as deep as it is written.
    let place = Place::with_event(format!("{}1{}", "[".repeat(3000), "]".repeat(3000)));
    assert_eq!(place.get(&format!(".{}", "[0]".repeat(3000))), "1");
    assert_eq!(
        place.list(&["x", &format!(".{}", "[]".repeat(3000))]),
        ["1"]
    );
}

#[test]
fn names_that_are_repeated_without_end_are_read() {
    let many = format!("{{{}\"a\":2}}", "\"a\":1,\"\\u0061\":[1],".repeat(100_000));
    let place = Place::with_event(many);
    assert_eq!(place.get("."), "{\"a\":2}");
    assert_eq!(place.get("keys"), "[\"a\"]");
    assert_eq!(place.get(". | length"), "1");
    assert_eq!(place.list(&["x", ".[]"]), ["2"]);
    // Each level has its name twice.
    let depth = 200_000;
    let nested = format!(
        "{}0{}",
        "{\"a\":[1],\"b\":2,\"a\":".repeat(depth),
        "}".repeat(depth)
    );
    let expected = format!("{}0{}", "{\"a\":".repeat(depth), ",\"b\":2}".repeat(depth));
    assert!(Place::with_event(nested).get(".") == expected);
    let alternating: Vec<_> = (0..100_000)
        .map(|number| format!("\"k{}\":{number},", number % 5000))
        .collect();
    let alternating = alternating.concat();
    let place = Place::with_event(format!("{{{alternating}\"k0\":\"last\"}}"));
    assert_eq!(place.get(". | length"), "5000");
    assert!(place.get(".").starts_with("{\"k0\":\"last\",\"k1\":95001,"));
}

#[test]
fn wide_documents_are_read() {
    let elements = vec!["1"; 1_000_000].join(",");
    let place = Place::with_event(format!("[{elements}]"));
    assert_eq!(place.get(".[-1]"), "1");
    assert_eq!(place.get(". | length"), "1000000");
    let members: Vec<_> = (0..200_000)
        .map(|number| format!("\"name {number}\":null,"))
        .collect();
    let members = members.concat();
    let place = Place::with_event(format!("{{{members}\"end\":\"\"}}"));
    assert_eq!(place.get(".end"), "");
    assert_eq!(place.get(". | length"), "200001");
    assert!(
        place
            .get(".nope")
            .ends_with("name 10, name 11 and 199989 more")
    );
    let text = "\\u00e9\\n\\\"".repeat(300_000);
    let place = Place::with_event(format!("{{\"a\":\"{text}\"}}"));
    assert_eq!(place.get(".a | length"), "900000");
    assert_eq!(place.get(".a").len(), 1_200_000);
}

#[test]
fn requests_and_batches_without_end_are_read() {
    let pairs: Vec<String> = (0..100_000)
        .map(|number| format!("a{}=%20+&b", number % 50_000))
        .collect();
    let headers: Vec<String> = (0..50_000)
        .map(|number| format!("\"X{number}\":[\"1\",\"2\"],\"x{number}\":[\"3\"]"))
        .collect();
    let event = format!(
        r#"{{"version":"2.0","rawPath":"/","rawQueryString":"{}","multiValueHeaders":{{{}}},"requestContext":{{"http":{{"method":"GET"}}}}}}"#,
        pairs.join("&"),
        headers.join(",")
    );
    let reply = Place::with_event(event)
        .call("request", &["--join", ";"])
        .expect("a reply");
    let map = |wanted: &str| {
        let found = reply.assignments.iter().find(|(name, _)| name == wanted);
        match found {
            Some((_, Variable::Map(members))) => members.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(map("query").len(), 50_001);
    assert_eq!(map("query")[0], (b"a0".to_vec(), b"  ;  ".to_vec()));
    assert_eq!(
        map("headers")[49_999],
        (b"x49999".to_vec(), b"1, 2, 3".to_vec())
    );
    let message = r#"{"eventSource":"aws:sqs","messageId":"m","body":"b"}"#;
    let event = format!("{{\"Records\":[{}]}}", vec![message; 100_000].join(","));
    let document = Document::borrowed(event.as_bytes()).expect("JSON");
    let batch = records(&document, RecordOptions::default()).expect("records");
    let identifiers = batch
        .records
        .iter()
        .filter_map(|record| record.identifier.as_deref());
    assert_eq!(
        coshell_calls::batch_failures(identifiers),
        r#"{"batchItemFailures":[{"itemIdentifier":"m"}]}"#
    );
}

/// A text with some of its bytes replaced, removed or doubled.
fn mutated(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len().max(1)).min(text.len());
        match random.below(4) {
            0 => text.insert(at, random.one_of(b"\"\\[]{}:,.|/?@#()' \n\0\xff\xc3u0e-")),
            1 if at < text.len() => drop(text.remove(at)),
            2 => text.truncate(at.max(1)),
            _ => {
                let end = (at + random.below(9)).min(text.len());
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
        }
    }
    text
}

/// Python takes what we take. It also takes NaN and Infinity, which are not JSON, and no byte order mark.
#[test]
fn python_refuses_the_same_of_documents_that_were_damaged() {
    let mut random = Random(SEED);
    let (mut input, mut ours) = (String::new(), String::new());
    for _ in 0..3000 {
        let json = Json::random(&mut random, 4);
        let text = json.write(&mut random).into_bytes();
        let text = mutated(&text, &mut random);
        for byte in &text {
            let _ = write!(input, "{byte:02x}");
        }
        input.push('\n');
        let is_json = Document::borrowed(&text).is_ok();
        ours.push_str(if is_json { "json\n" } else { "no json\n" });
    }
    let script = "import json, sys
def refuse(word): raise ValueError(word)
for line in sys.stdin:
    try:
        json.loads(bytes.fromhex(line).decode('utf-8'), parse_constant=refuse)
        print('json')
    except ValueError:
        print('no json')";
    let theirs = python(script, input.as_bytes());
    for ((text, ours), theirs) in input.lines().zip(ours.lines()).zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{text}");
    }
    let count = ours.lines().filter(|line| *line == "json").count();
    assert!((300..2700).contains(&count), "{count} are JSON");
}

#[test]
fn damaged_paths_and_arguments_end_in_an_answer() {
    let mut random = Random(SEED);
    let paths: &[&[u8]] = &[
        b".Records[0].s3.object.key",
        b".a[\"b\"][] // \"d\" | fromjson | .x?",
        b".[-1]?.\"x\\u00e9y\" | @base64d",
        b"keys[0] // [1,{\"a\":null}] | length",
        b"\"lit\\(.a)eral\" | @uri \"x\"",
        b".. | .a as $x | [.[]?]",
    ];
    let events: &[&str] = &[
        include_str!("../../src/cli/samples/s3.json"),
        include_str!("../../src/cli/samples/sqs.json"),
        include_str!("../../src/cli/samples/api-gateway-v1.json"),
        include_str!("../../src/cli/samples/alb.json"),
        include_str!("../../src/cli/samples/dynamodb.json"),
        "{\"a\": {\"b\": [\"{\\\"x\\\": 1}\"]}}",
    ];
    let functions = [
        "get", "json", "encode", "decode", "hash", "metric", "request", "nope",
    ];
    let words: &[&[u8]] = &[
        b"x",
        b"--json",
        b"--in",
        b"--file",
        b"--array",
        b"--map",
        b"-v",
        b"--quote",
        b"--",
        b"base64",
        b"html",
        b"hex",
        b"uri",
        b"sha256",
        b"hmac-sha256",
        b"--key",
        b"--key-hex",
        b"--namespace",
        b"n",
        b"1e5",
        b"Count",
        b"a.b[]:=[1]",
        b"a\\.b@=f",
        b"&#x41;%41",
        b"--join",
        b"--prefix",
        b"--body-file",
        b"{\"a\":1}",
    ];
    let mut answers = 0;
    for _ in 0..4000 {
        let mut event = random.one_of(events).as_bytes().to_vec();
        if random.below(2) == 0 {
            event = mutated(&event, &mut random);
        }
        let Ok(document) = Document::new(event.clone()) else {
            continue;
        };
        for options in [
            RecordOptions::default(),
            RecordOptions {
                unwrap: true,
                decode: true,
            },
        ] {
            for record in records(&document, options)
                .map(|batch| batch.records)
                .unwrap_or_default()
            {
                if let Ok(event) = record.event {
                    // A message may be no JSON, and a call reads it as a string.
                    let read = Document::of_record(event.as_bytes());
                    let is_json = Document::borrowed(read.text().as_bytes()).is_ok();
                    let is_kept = options.unwrap || read.text() == event;
                    assert!(is_json && is_kept && !event.contains('\0'), "{event}");
                }
            }
        }
        let mut place = Place::with_event(&event);
        place.input = Some(event);
        place.files.insert(b"f".to_vec(), b"text".to_vec());
        let path = mutated(random.one_of(paths), &mut random);
        answers += usize::from(place.answer("get", &[b"x", &path[..]]).is_ok());
        let mut arguments = Vec::new();
        for _ in 0..random.below(6) {
            let word = random.one_of(words);
            arguments.push(if random.below(2) == 0 {
                word.to_vec()
            } else {
                mutated(word, &mut random)
            });
        }
        answers += usize::from(place.answer(random.one_of(&functions), &arguments).is_ok());
    }
    assert!(answers > 500, "{answers}");
}
