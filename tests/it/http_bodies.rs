//! Bodies that `lambda_http_response` sends itself: JSON, files, redirects.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use support::{Sandbox, wait_until};

#[track_caller]
fn document(sandbox: &Sandbox, event: &str) -> Value {
    serde_json::from_slice(&sandbox.respond(event)).expect("a document")
}

/// The body of a document, as the caller of the function URL gets it.
fn body_of(document: &Value) -> Vec<u8> {
    let body = document["body"].as_str().expect("a body");
    if document["isBase64Encoded"] == true {
        return BASE64_STANDARD.decode(body).expect("base64");
    }
    body.as_bytes().to_vec()
}

#[test]
fn json_is_the_body_with_its_type() {
    let body = r#"handler() {
  case $1 in
    text) lambda_http_response --json '{"a": [1, 2.50, 1e400]}' ;;
    list) lambda_http_response 404 'X-A: b' --json ' [] ' ;;
    fields) lambda_http_response --cookie c=1 201 --json name="$1" count:=3 tags[]='a"b' ;;
    one) lambda_http_response --json error="not { found" ;;
    top) lambda_http_response --json '[]=x' ;;
    own) lambda_http_response 'content-type: application/problem+json' --json title="x" ;;
    none) lambda_http_response 200; echo x ;;
  esac
}"#;
    for isolation in ["restore", "subshell"] {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        let header = json!({"Content-Type": "application/json"});
        let shown = |event| {
            let document = document(&sandbox, event);
            let body = document["body"].as_str().expect("a body").to_owned();
            (
                document["statusCode"].clone(),
                document["headers"].clone(),
                body,
            )
        };
        let text = r#"{"a": [1, 2.50, 1e400]}"#.to_owned();
        assert_eq!(shown("text"), (json!(200), header.clone(), text));
        let headers = json!({"X-A": "b", "Content-Type": "application/json"});
        assert_eq!(shown("list"), (json!(404), headers, " [] ".to_owned()));
        let fields = r#"{"name":"fields","count":3,"tags":["a\"b"]}"#.to_owned();
        assert_eq!(shown("fields"), (json!(201), header.clone(), fields));
        assert_eq!(document(&sandbox, "fields")["cookies"], json!(["c=1"]));
        let one = r#"{"error":"not { found"}"#.to_owned();
        assert_eq!(shown("one"), (json!(200), header.clone(), one));
        assert_eq!(shown("top"), (json!(200), header, r#"["x"]"#.to_owned()));
        let own = json!({"content-type": "application/problem+json"});
        assert_eq!(shown("own").1, own);
        assert_eq!(shown("none"), (json!(200), json!({}), "x".to_owned()));
    }
}

#[test]
fn a_file_is_sent_byte_by_byte_with_the_type_of_its_ending() {
    let every: Vec<u8> = (0..=255).chain([0, 0, b'\n', b'\n']).collect();
    let zeros = vec![0; 100_000];
    let files: [(&str, &[u8]); 7] = [
        ("page.html", "<p>gr\u{fc}n\n\n".as_bytes()),
        ("prompt.PNG", &every),
        ("zeros.wasm", &zeros),
        ("empty.txt", b""),
        ("only.json", b"\n"),
        ("latin.csv", b"\xe4;\xf6\n"),
        ("-v", b"a\0"),
    ];
    let body = r#"handler() { [[ $1 != *+ ]] || PATH=; cd "$LAMBDA_TASK_ROOT"; lambda_http_response --file "${1%+}"; }"#;
    let builder = Sandbox::of(body);
    let builder = files
        .iter()
        .fold(builder, |builder, (name, bytes)| builder.file(name, bytes));
    let sandbox = builder.start();
    for (name, bytes) in files {
        // With cat, and where there is none.
        for event in [name.to_owned(), format!("{name}+")] {
            let document = document(&sandbox, &event);
            assert_eq!(body_of(&document), bytes, "{event}");
            assert_eq!(document["statusCode"], 200);
        }
    }
    let type_of = |name: &str| document(&sandbox, name)["headers"]["Content-Type"].clone();
    assert_eq!(type_of("page.html"), "text/html; charset=utf-8");
    assert_eq!(type_of("prompt.PNG"), "image/png");
    assert_eq!(type_of("-v"), "application/octet-stream");
}

/// Python gives a few types by other names.
#[test]
fn content_types_are_those_of_python() {
    let program = "import mimetypes
known = mimetypes.MimeTypes(filenames=()).types_map[True]
for ending in 'html htm css csv xml txt json svg jpg jpeg ico png gif mp3 mp4 webm pdf zip wasm'.split():
    print(ending, known['.' + ending])";
    let output = Command::new("python3").args(["-c", program]).output();
    let output = output.expect("python3");
    let known = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(known.lines().count() > 15, "{known}");
    let body = r#"handler() { : >"$LAMBDA_TASK_ROOT/$1"; lambda_http_response --file "$LAMBDA_TASK_ROOT/$1"; }"#;
    let sandbox = Sandbox::of(body).start();
    for (ending, expected) in known.lines().filter_map(|line| line.split_once(' ')) {
        let document = document(&sandbox, &format!("file.{ending}"));
        let found = document["headers"]["Content-Type"].as_str();
        let found = found.expect("a type").split(';').next();
        assert_eq!(found, Some(expected), "{ending}");
    }
}

#[test]
fn a_text_file_is_sent_without_a_process() {
    // Before 5.2, it takes one.
    if support::bash_version() < (5, 2) {
        return;
    }
    let body = r#"handler() {
  read -r _ _ _ _ before </proc/loadavg
  lambda_http_response --file "$LAMBDA_TASK_ROOT/page.html"
  read -r _ _ _ _ after </proc/loadavg
  echo "$((after - before))"
}"#;
    let sandbox = Sandbox::of(body).file("page.html", "page ").start();
    // Other programs start processes too.
    wait_until(
        || body_of(&document(&sandbox, "x")) == b"page 0\n",
        support::LIMIT,
    );
}

#[test]
fn binary_data_without_an_invalid_byte_does_not_grow_six_times() {
    let script = "handler() {
  lambda_http_response 200 'Content-Type: application/x-tar'
  case $1 in
    text) printf 'a line \\e[1min bold\\e[0m\\n\"\\t\\\\' ;;
    *) head -c \"$1\" /dev/zero ;;
  esac
}";
    let sandbox = Sandbox::of(script).start();
    let answer = document(&sandbox, "1500000");
    assert_eq!(answer["isBase64Encoded"], true);
    assert!(body_of(&answer) == vec![0; 1_500_000]);
    let answer = document(&sandbox, "text");
    assert_eq!(answer["isBase64Encoded"], false, "{answer}");
    assert_eq!(body_of(&answer), b"a line \x1b[1min bold\x1b[0m\n\"\t\\");
}

#[test]
fn a_redirect_has_its_address() {
    let body = r"handler() { local IFS=' '; lambda_http_response $1; }";
    let sandbox = Sandbox::of(body).start();
    for (arguments, status) in [
        ("--redirect https://example.com/a?b=%20", 302),
        ("308 --redirect https://example.com/a?b=%20", 308),
        ("--redirect https://example.com/a?b=%20 303", 303),
    ] {
        let document = document(&sandbox, arguments);
        assert_eq!(document["statusCode"], status, "{arguments}");
        let headers = json!({"Location": "https://example.com/a?b=%20"});
        assert_eq!(document["headers"], headers, "{arguments}");
        assert_eq!(document["body"], "", "{arguments}");
    }
}

#[test]
fn a_streamed_response_can_have_such_a_body() {
    let body = "handler() { lambda_http_response --stream --json a=b; echo; echo more; }";
    let sandbox = Sandbox::of(body).start();
    let response = sandbox.respond("x");
    let response = String::from_utf8(response).expect("UTF-8");
    let (prelude, body) = response.split_once("\0\0\0\0\0\0\0\0").expect("a prelude");
    let prelude: Value = serde_json::from_str(prelude).expect("JSON");
    assert_eq!(prelude["headers"]["Content-Type"], "application/json");
    assert_eq!(body, "{\"a\":\"b\"}\nmore\n");
}

#[test]
fn wrong_use_sends_nothing_and_names_the_line() {
    let body = r#"handler() {
  local status=0
  eval "lambda_http_response $1" || status=$?
  echo "status $status"
}
# lambda_http_response --json"#;
    let sandbox = Sandbox::of(body).start();
    for (arguments, status, message) in [
        ("--json", 2, "cannot use --json: its value is missing"),
        ("--file", 2, "cannot use --file: its value is missing"),
        (
            "--redirect",
            2,
            "cannot use --redirect: its value is missing",
        ),
        (
            "--json '{\"a\":}'",
            1,
            "cannot read the text of --json: it is not JSON",
        ),
        (
            "--json word",
            2,
            "cannot use an argument without =: expected NAME=TEXT or NAME:=JSON",
        ),
        (
            "--json a:=1x",
            1,
            "cannot use the value of a: it is not JSON",
        ),
        (
            "--file /no/such/file",
            1,
            "cannot read file /no/such/file: there is no such file",
        ),
        (
            "--file /tmp",
            1,
            "cannot read file /tmp: there is no such file",
        ),
        (
            "--file a --json b=c",
            2,
            "cannot use --json: there is --file already",
        ),
        (
            "200 --redirect https://a",
            2,
            "cannot redirect with status 200: expected 301",
        ),
        (
            "--redirect ''",
            2,
            "cannot use --redirect: expected an address",
        ),
        (
            "--redirect 'https://a b'",
            2,
            "cannot use --redirect: expected an address",
        ),
        (
            "--redirect $'https://a\\nX: y'",
            2,
            "expected an address of visible ASCII",
        ),
        (
            "OK --json a=b",
            2,
            "cannot use status OK: expected 200 to 599",
        ),
        (
            "--nothing --json a=b",
            2,
            "cannot use --nothing: expected --stream",
        ),
    ] {
        let response = sandbox.respond(arguments);
        let response = String::from_utf8_lossy(&response);
        assert_eq!(response, format!("status {status}"), "{arguments}");
        sandbox.bootstrap.wait_log(message);
    }
    let log = sandbox.bootstrap.log();
    for line in log.lines() {
        assert!(
            line.contains("function.sh: line 3: lambda_http_response: "),
            "{line}"
        );
    }
}

#[test]
fn an_invalid_body_ends_the_handler_under_errexit() {
    let body = "handler() {\n  lambda_http_response --json a:=b\n  echo never\n}";
    let error = Sandbox::of(body).start().fail("x");
    assert_eq!(error["errorType"], "Function.CommandFailed");
    let message = error["errorMessage"].as_str().expect("a message");
    let expected = "`lambda_http_response` ended with status 1 in handler (";
    assert!(message.starts_with(expected), "{message}");
    assert!(
        message.contains("line 2: lambda_http_response: "),
        "{message}"
    );
}
