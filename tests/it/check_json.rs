//! `coshell check`: JSON that is read or made in ways that start processes or go wrong, and calls of coshell's functions that
//! are misspelt.

use std::fs;

use serde_json::{Value, json};

use crate::check::{assert_no_finding, check_json, findings, single_finding, task_root_with};
use support::repository_file;

/// The notes about JSON: line, message and suggestion.
#[track_caller]
fn notes(script: &str) -> Vec<(u64, String, String)> {
    let found = findings(&task_root_with(script), "function.handler");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let notes = found.iter().filter(|one| one["check"] == "json");
    notes
        .map(|one| {
            assert_eq!(one["severity"], "note", "{one}");
            let line = one["line"].as_u64().expect("a line");
            (line, text(&one["message"]), text(&one["suggestion"]))
        })
        .collect()
}

/// The suggestion for each line of a handler that has one.
#[track_caller]
fn suggestions(body: &str) -> Vec<(u64, String)> {
    let found = notes(&format!("handler() {{\n{body}\n}}\n"));
    found
        .into_iter()
        .map(|(line, _, text)| (line, text))
        .collect()
}

#[track_caller]
fn assert_suggestions(body: &str, expected: &[(u64, &str)]) {
    let found = suggestions(body);
    let found: Vec<_> = found
        .iter()
        .map(|(line, text)| (*line, text.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_plain_path_of_jq_has_a_call_in_its_place() {
    let body = r#"EVENT=$1
id=$(echo $EVENT | jq -r .id)
local name=$(jq -r '.user.name // "none"' <<<"$1")
x=$(jq -r '.headers["x-y"]')
jq -re '.list[-1]' <<< "$EVENT"
token=$(jq -r .token /tmp/answer.json)
body=$(curl -s https://example.com)
y=$(printf '%s\n' "$body" | jq '.y' | tr -d '"')"#;
    assert_suggestions(
        body,
        &[
            (3, "lambda_get id '.id'"),
            (4, "lambda_get name '.user.name // \"none\"'"),
            (5, "lambda_get x '.headers[\"x-y\"]'"),
            (6, "lambda_get '.list[-1]'"),
            (7, "lambda_get --file /tmp/answer.json token '.token'"),
            (9, "lambda_get --in body y '.y'"),
        ],
    );
    let found = notes("handler() { work \"$1\"; }\nwork() {\n  x=$(jq -r .x <<<\"$1\")\n}\n");
    assert_eq!(found[0].0, 3);
    assert_eq!(found[0].1, "jq starts a process to read .x");
    assert_eq!(found[0].2, "lambda_get --json \"$1\" x '.x'");
}

#[test]
fn more_than_a_path_stays_with_jq() {
    let body = r#"jq . <<<"$1"
a=$(jq -r '.list[]' <<<"$1")
b=$(jq -r --arg x 1 '.a' <<<"$1")
c=$(jq -n '.a')
d=$(jq -r ".$2" <<<"$1")
e=$(jq -r '.a, .b' <<<"$1")
f=$(aws sts get-caller-identity | jq -r .Account)
while read -r _; do jq -r .a; done <list
jq -r '.a | length + 1' <<<"$1"
jq -s '.a' one two"#;
    assert_suggestions(body, &[]);
}

#[test]
fn the_first_record_alone_is_found_once() {
    let body = r#"body=$(jq -r '.Records[0].body' <<<"$1")
id=$(jq -r '.Records[0].messageId' <<<"$1")"#;
    let found = suggestions(body);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.starts_with("lambda_each FUNCTION"), "{found:?}");
    assert_eq!(found[1].1, "lambda_get id '.Records[0].messageId'");
    let called = suggestions("lambda_get body '.Records[0].body'");
    assert!(
        called[0].1.starts_with("lambda_each FUNCTION"),
        "{called:?}"
    );
    assert_suggestions(
        "n=$(jq '.Records | length' <<<\"$1\")\nlambda_get body '.Records[0].body'",
        &[],
    );
}

#[test]
fn a_key_that_is_not_decoded_is_found_before_all_else() {
    let body = "bucket=$(jq -r '.Records[0].s3.bucket.name' <<<\"$1\")\nkey=$(jq -r '.Records[0].s3.object.key' <<<\"$1\")";
    let found = suggestions(body);
    assert!(found[0].1.starts_with("lambda_each"), "{found:?}");
    let expected = "lambda_get key '.Records[0].s3.object.key | @urid_plus'";
    assert!(found[1].1.starts_with(expected), "{found:?}");
    // The line has one note, the more important one.
    let found =
        suggestions("lambda_get bucket .Records[0].s3.bucket.name key .Records[0].s3.object.key");
    assert!(
        found.len() == 1 && found[0].1.contains("@urid_plus"),
        "{found:?}"
    );
    for decoded in [
        "lambda_get key '.Records[0].s3.object.key | @urid_plus' n '.Records | length'",
        "key=$(jq -r '.Records[].s3.object.key | @urid' <<<\"$1\")",
        "key=$(jq -r '.Records[].s3.object.key' <<<\"$1\"); key=${key//+/ }",
        "key=$(jq -r '.Records[].s3.object.key' <<<\"$1\"); printf -v key %b \"${key//%/\\\\x}\"",
    ] {
        assert_suggestions(decoded, &[]);
    }
}

#[test]
fn text_tools_that_read_json_are_found() {
    let body = r#"id=$(echo "$1" | grep -o '"id": *"[^"]*"' | cut -d'"' -f4)
name=$(sed -n 's/.*"name":"\([^"]*\)".*/\1/p' <<<"$1")
token=$(curl -s https://example.com | grep '"token"[ ]*:' | awk '{print $2}')
third=$(echo "$1" | cut -d '"' -f 3)
grep -q '"status": "ok"' /tmp/answer || return 1
line=$(cut -d: -f1 <<<"$1")
part=$(echo "$HOSTNAME" | cut -d'"' -f1)
awk -F, '{ print $1 }' /tmp/table.csv
sed 's/"quoted"/x/' /tmp/text"#;
    assert_suggestions(
        body,
        &[
            (2, "lambda_get id .PATH"),
            (3, "lambda_get name .PATH"),
            (4, "lambda_get token .PATH"),
            (5, "lambda_get third .PATH"),
        ],
    );
    let found = notes(&format!("handler() {{\n{body}\n}}\n"));
    assert!(
        found[0].1.starts_with("grep reads JSON as text"),
        "{found:?}"
    );
}

#[test]
fn raw_text_in_json_is_found() {
    let body = r#"text=$1
echo "{\"text\": \"$text\"}"
printf '{"n":%d,"text":"%s"}\n' 3 "$text"
curl -d '{"text":"'"$text"'"}' https://example.com
cat <<END
{ "a": 1, "text": "so ${text:0:9}" }
END
answer="{\"day\":\"$(date +%F)\",\"who\":\"$(whoami)\"}""#;
    assert_suggestions(
        body,
        &[
            (
                3,
                "lambda_json text=\"$text\" ... prints JSON that is always valid",
            ),
            (
                4,
                "lambda_json text=\"$text\" ... prints JSON that is always valid",
            ),
            (
                5,
                "lambda_json text=\"$text\" ... prints JSON that is always valid",
            ),
            (
                7,
                "lambda_json text=\"${text:0:9}\" ... prints JSON that is always valid",
            ),
            (
                9,
                "lambda_json who=\"$(whoami)\" ... prints JSON that is always valid",
            ),
        ],
    );
}

#[test]
fn numbers_dates_and_fixed_texts_are_no_raw_text() {
    let body = r#"local state=ok count=$((1 + 2)) day=$(date +%F) escaped safe
[[ $1 ]] || state=failed
escaped=$(sed 's/"/\\"/g' <<<"$1")
safe=${1//\"/\\\"}
echo "{\"state\": \"$state\", \"count\": $count, \"day\": \"$day\", \"n\": \"$#\", \"id\": \"$LAMBDA_RUNTIME_AWS_REQUEST_ID\"}"
echo "{\"a\": \"$escaped\", \"b\": \"$safe\", \"c\": \"${1//x/y}\", \"d\": \"$(json_escape "$1")\"}"
printf '{"state":"%s","day":"%s","percent":"%%","n":"%d"}' "$state" "$(date)" 3
[[ $1 == *"\"id\": \"$2\""* ]]
grep -q "\"id\": \"$1\"" /tmp/file
echo "say: \"$1\""
cat <<'END'
{ "text": "$1" }
END
lambda_json text="$1"
echo '{"text": "$1"}'"#;
    assert_suggestions(body, &[]);
}

/// A handler that is as most people write it has the notes that it deserves, and no more.
#[test]
fn notes_on_examples_and_fixtures_are_apt() {
    for (folder, expected) in [
        (
            "tests/fixtures/handlers",
            &[
                "greets_by_sed.sh:4 sed",
                "greets_by_sed.sh:5 puts",
                "sums_by_awk.sh:3 awk",
                "turns_csv_into_json.sh:6 puts",
            ][..],
        ),
        ("examples/echo", &[]),
        ("examples/s3-event", &[]),
        ("examples/function-url", &["function.sh:16 jq"]),
        ("examples/router", &[]),
        ("examples/site", &[]),
        ("examples/streaming", &["function.sh:7 jq"]),
        ("examples/cleanup", &[]),
    ] {
        let mut found = Vec::new();
        for entry in fs::read_dir(repository_file(folder))
            .expect("a folder")
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".sh") else {
                continue;
            };
            let text = fs::read_to_string(entry.path()).expect("a script");
            let root = task_root_with("");
            root.write(&name, text);
            for one in findings(&root, &format!("{stem}.handler")) {
                if one["check"] == "json" {
                    let message = one["message"].as_str().expect("a message");
                    let word = message.split(' ').next().unwrap_or_default();
                    found.push(format!("{name}:{} {word}", one["line"]));
                }
            }
        }
        found.sort();
        assert_eq!(found, expected, "{folder}");
    }
}

#[test]
fn a_whole_script_has_no_such_notes() {
    let root = task_root_with("handler() { :; }\n");
    root.write(
        "script.sh",
        "#!/bin/bash\nx=$(jq -r .x)\necho \"{\\\"x\\\": \\\"$x\\\"}\"\n",
    );
    assert_no_finding(&findings(&root, "script.sh"), "json");
}

#[test]
fn a_whole_script_that_sources_the_functions_has_them_and_the_notes() {
    let root = task_root_with("handler() { :; }\n");
    let line = ". \"${COSHELL_FUNCTIONS:?this script needs coshell}\"\n";
    let body = "event=$(cat)\nx=$(jq -r .x <<<\"$event\")\ny=$(jq -r .y <<<\"$1\")\nlambda_get z .z\nlambda_gte z .z\nlambda_get --jsn z\n";
    root.write("script.sh", format!("#!/bin/bash\n{line}{body}"));
    let found = findings(&root, "script.sh");
    let notes: Vec<_> = found.iter().filter(|one| one["check"] == "json").collect();
    assert_eq!(notes.len(), 2, "{notes:#?}");
    assert_eq!(notes[0]["suggestion"], "lambda_get x '.x'");
    assert_eq!(notes[1]["suggestion"], "lambda_get --json \"$1\" y '.y'");
    single_finding(&found, "command", "there is no function lambda_gte");
    single_finding(&found, "command", "lambda_get has no option --jsn");
    let not_looked_at = check_json(root.path(), "script.sh")["notLookedAt"].clone();
    assert_eq!(not_looked_at, json!([]));
    root.write("script.sh", format!("#!/bin/bash\n{body}"));
    let found = findings(&root, "script.sh");
    let one = single_finding(&found, "command", "a whole script has lambda_get only if");
    assert_eq!(one["line"], 5);
    let suggestion = one["suggestion"].as_str().expect("a suggestion");
    assert!(suggestion.starts_with(line.trim()), "{suggestion}");
}

#[test]
fn misspelt_functions_and_options_are_found() {
    let script = "handler() {
  lambda_gte x .a
  lambda_get --jsn \"$1\" x .a
  lambda_http_response 200 --jsno a=b
  lambda_frobnicate
  lambda_request --nothing
}
";
    let found = findings(&task_root_with(script), "function.handler");
    for (line, message, suggestion) in [
        (
            2,
            "there is no function lambda_gte",
            "did you mean lambda_get?",
        ),
        (3, "lambda_get has no option --jsn", "did you mean --json?"),
        (
            4,
            "lambda_http_response has no option --jsno",
            "did you mean --json?",
        ),
        (
            5,
            "there is no function lambda_frobnicate",
            "coshell has lambda_aws, lambda_decode, ",
        ),
        (
            6,
            "lambda_request has no option --nothing",
            "it has --body-file, --prefix",
        ),
    ] {
        let one = single_finding(&found, "command", message);
        assert_eq!(
            (&one["line"], &one["severity"]),
            (&line.into(), &"warning".into())
        );
        let text = one["suggestion"].as_str().expect("a suggestion");
        assert!(text.starts_with(suggestion), "{text}");
    }
}

#[test]
fn right_calls_have_no_finding() {
    let script = "handler() {
  lambda_get --array list .list --map map .map --in var x .x --file - y .y
  lambda_json a=-b --x=1; lambda_json -v z -- -a=b; lambda_json --array -1 --two
  lambda_http_response --stream --cookie -a 200 --json --array a
  lambda_metric --namespace n temperature -5; lambda_encode -v x hex -5
  lambda_hash --key-hex 00 --base64 sha256 -x; lambda_log --x; lambda_error A.B --x
  lambda_each --unwrap --decode own; lambda_request --prefix p_ --join , --body-file
  lambda_tempdir dir; lambda_remaining_ms ms; lambda_own --x
}
own() { :; }
lambda_own() { :; }
";
    let found = findings(&task_root_with(script), "function.handler");
    assert_no_finding(&found, "command");
}
