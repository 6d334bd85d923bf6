//! Replies that come with an event: each is that of its own event and call. The oracle is `serde_json`.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use support::Sandbox;
use support::seeded::{Choices, seed};

const NAMES: [&str; 4] = ["a", "b", "A", "long"];
const TEXTS: [&str; 9] = [
    "",
    "x",
    "it's",
    "$(touch ran)",
    "x[$(touch ran)]",
    "a\\b\"c",
    "line\nline\n",
    "\u{1f}ü\u{fffd}",
    "08",
];
/// The calls of an event, by its kind. Kinds that begin alike let a reply be prepared, and others let it be in vain.
const KINDS: [&[&[&str]]; 6] = [
    &[&["a"]],
    &[&["a"], &["b"]],
    &[&["a"], &["a"], &["A"]],
    &[&["A"]],
    &[&["b", "a"], &["long"]],
    &[&["long", "A", "b"], &["a"]],
];

fn random_event(choices: &mut Choices) -> Value {
    let mut event = Map::new();
    for name in NAMES {
        let value = match choices.below(8) {
            0 => continue,
            1 => Value::Null,
            2 => json!(choices.below(1000)),
            3 => json!({"k": choices.choose(&TEXTS)}),
            _ => json!(choices.choose(&TEXTS)),
        };
        event.insert(name.to_owned(), value);
    }
    // Some are too large for a reply to be prepared.
    if choices.below(5) == 0 {
        event.insert(
            "long".to_owned(),
            json!("it's ".repeat(choices.below(5000))),
        );
    }
    let kind = choices.below(KINDS.len());
    json!({"kind": format!("kind{kind}"), "fields": event})
}

/// What a variable holds after the call: `none` if the call failed.
fn expected(event: &Value) -> String {
    let mut text = String::new();
    let kind = KINDS.iter().enumerate();
    let mut kind = kind.filter(|(number, _)| event["kind"] == format!("kind{number}"));
    let (_, calls) = kind.next().expect("a kind");
    for call in *calls {
        let values: Vec<_> = call.iter().map(|name| &event["fields"][*name]).collect();
        let is_found = values.iter().all(|value| !value.is_null());
        for value in values {
            let shown = match value {
                _ if !is_found => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = write!(text, "<{shown}>");
        }
    }
    text
}

#[test]
fn each_reply_is_that_of_its_event_and_call() {
    let mut script =
        "handler() {\n  shopt -s nocasematch; cd \"$LAMBDA_TASK_ROOT\"\n  case $1 in\n".to_owned();
    for (number, calls) in KINDS.iter().enumerate() {
        let _ = write!(script, "    *'\"kind{number}\"'*)");
        for call in *calls {
            let variables: Vec<_> = call.iter().map(|name| format!("v_{name}")).collect();
            let pairs: Vec<_> = call
                .iter()
                .map(|name| format!("v_{name} .fields.{name}"))
                .collect();
            let names = variables.join(" ");
            let _ = write!(
                script,
                "\n      local {names}\n      lambda_get {} 2>/dev/null || {{ ",
                pairs.join(" ")
            );
            for name in &variables {
                let _ = write!(script, "{name}=none; ");
            }
            script.push_str("}\n      printf '<%s>'");
            for name in &variables {
                let _ = write!(script, " \"${name}\"");
            }
        }
        script.push_str(" ;;\n");
    }
    script.push_str("  esac\n  [[ ! -e ran ]]\n}");
    let seed = seed();
    for isolation in ["restore", "none", "subshell"] {
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        let mut choices = Choices::of(seed);
        for number in 0..200 {
            let event = random_event(&mut choices);
            let answer = sandbox.respond(event.to_string());
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(
                answer,
                expected(&event),
                "{isolation}, event {number}: {event}"
            );
        }
    }
}

#[test]
fn requests_are_those_of_their_events() {
    let script = "handler() { lambda_request; echo \"$method $path ${query[q]-none} ${headers[h]-none} $body\"; }";
    let sandbox = Sandbox::of(script).start();
    for number in 0..20 {
        let event = format!(
            r#"{{"version":"2.0","rawPath":"/{number}","rawQueryString":"q={number}","headers":{{"h":"{number}"}},
            "requestContext":{{"http":{{"method":"GET","path":"/"}}}},"body":"{number}"}}"#
        );
        let answer = sandbox.respond(event);
        let expected = format!("GET /{number} {number} {number} {number}");
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
    let none =
        r#"{"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"PUT","path":"/"}}}"#;
    let answer = sandbox.respond(none);
    assert_eq!(String::from_utf8_lossy(&answer), "PUT / none none ");
}
