//! `lambda_request`: the same request, whichever service it came through.

use std::collections::BTreeMap;

use coshell_calls::Variable;

use crate::caller::Place;

const REST_API: &str = include_str!("../../src/cli/samples/api-gateway-v1.json");
const HTTP_API: &str = include_str!("../../src/cli/samples/api-gateway-v2.json");
const FUNCTION_URL: &str = include_str!("../../src/cli/samples/function-url.json");
const LOAD_BALANCER: &str = include_str!("../../src/cli/samples/alb.json");

/// The variables of a request: texts as they are, maps as `name=value` lines.
fn request(event: &str, arguments: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let place = Place::with_event(event);
    let reply = place.call("request", arguments)?;
    let variables = reply.assignments.into_iter().map(|(name, value)| {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = match value {
            Variable::Text(text) => lossy(&text),
            Variable::File(bytes) => format!("file: {}", lossy(&bytes)),
            Variable::Map(members) => {
                let members = members.iter();
                let lines: Vec<_> = members
                    .map(|(name, value)| format!("{}={}", lossy(name), lossy(value)))
                    .collect();
                lines.join("\n")
            }
            Variable::List(_) => panic!("no list is among them"),
        };
        (name, value)
    });
    Ok(variables.collect())
}

/// The sample with some of its text replaced.
fn changed(event: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(event.to_owned(), |event, (old, new)| {
        assert!(event.contains(old), "{old}");
        event.replace(old, new)
    })
}

#[test]
fn services_give_the_same_request() {
    for (name, event) in [
        ("rest api", REST_API),
        ("http api", HTTP_API),
        ("function url", FUNCTION_URL),
        ("load balancer", LOAD_BALANCER),
    ] {
        let found = request(event, &[]).expect("a request");
        assert_eq!(found["method"], "POST", "{name}");
        assert_eq!(found["path"], "/orders/1042", "{name}");
        assert_eq!(
            found["body"], r#"{"note": "Leave it at the door"}"#,
            "{name}"
        );
        assert_eq!(found["body_file"], "", "{name}");
        assert_eq!(found["cookies"], "theme=dark\nsession=0123abcd", "{name}");
        assert_eq!(found["source_ip"], "203.0.113.7", "{name}");
        assert_eq!(found["query"], "expand=items\ntag=gift wrap", "{name}");
        assert_eq!(found["form"], "", "{name}");
        let headers: Vec<_> = found["headers"].lines().collect();
        for header in [
            "content-type=application/json",
            "cookie=session=0123abcd; theme=dark",
            "user-agent=curl/8.5.0",
        ] {
            assert!(headers.contains(&header), "{name}: {header}");
        }
        let raw = match name {
            "load balancer" => "expand=items&tag=gift%20wrap",
            _ => "expand=items&tag=new&tag=gift%20wrap",
        };
        assert_eq!(found["raw_query"], raw, "{name}");
        let parameters = if name.ends_with("api") {
            "order=1042"
        } else {
            ""
        };
        assert_eq!(found["path_parameters"], parameters, "{name}");
        let id = match name {
            "http api" => "ExampleReqId=",
            "load balancer" => "Root=1-6b0403df-0123456789abcdef01234567",
            _ => "7c1f8a52-5d0e-4a57-9c7b-6f2f7a3e1b90",
        };
        assert_eq!(found["request_id"], id, "{name}");
    }
}

#[test]
fn names_that_are_there_twice_are_joined_on_demand() {
    let found = request(HTTP_API, &["--join", "\n", "--prefix", "http_"]).expect("a request");
    assert_eq!(found["http_query"], "expand=items\ntag=new\ngift wrap");
    assert!(found.keys().all(|name| name.starts_with("http_")));
}

/// As HTTP joins them. Only cookies have a separator of their own.
#[test]
fn values_of_a_header_are_joined_without_an_option() {
    let event = r#"{"requestContext":{},"httpMethod":"GET","path":"/",
        "multiValueHeaders":{"X":["1","2"],"X-A":["a"],"x-a":["b"],"Cookie":["a=1","b=2"]}}"#;
    for arguments in [&[][..], &["--join", "|"]] {
        let found = request(event, arguments).expect("a request");
        assert_eq!(found["headers"], "x=1, 2\nx-a=a, b\ncookie=a=1; b=2");
    }
}

#[test]
fn load_balancer_with_lists_of_values_is_read() {
    let event = r#"{"requestContext":{"elb":{"targetGroupArn":"arn"}},"httpMethod":"GET","path":"/",
        "multiValueQueryStringParameters":{"a%20b":["1","x%2By+z"],"":["n"]},
        "multiValueHeaders":{"Accept":["text/html","*/*"],"cookie":["a=1","b=2; a=3"],
            "x-forwarded-for":["198.51.100.9, 203.0.113.7"]},"body":"","isBase64Encoded":false}"#;
    let found = request(event, &[]).expect("a request");
    assert_eq!(found["query"], "a b=x+y z");
    assert_eq!(found["raw_query"], "a%20b=1&a%20b=x%2By+z&=n");
    assert_eq!(
        found["headers"],
        "accept=text/html, */*\ncookie=a=1; b=2; a=3\nx-forwarded-for=198.51.100.9, 203.0.113.7"
    );
    // The narrower path's cookie is first.
    assert!(
        found["cookies"].lines().any(|cookie| cookie == "a=1"),
        "{}",
        found["cookies"]
    );
    assert_eq!(found["source_ip"], "203.0.113.7");
}

#[test]
fn forms_are_decoded() {
    let form = changed(
        FUNCTION_URL,
        &[
            (
                "application/json",
                "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
            ),
            (
                "\"{\\\"note\\\": \\\"Leave it at the door\\\"}\"",
                "\"YT0xJmI9eCt5JTIwJmI9JUMzJUE5JmM9\"",
            ),
            ("\"isBase64Encoded\": false", "\"isBase64Encoded\": true"),
        ],
    );
    let found = request(&form, &[]).expect("a request");
    assert_eq!(found["body"], "a=1&b=x+y%20&b=%C3%A9&c=");
    assert_eq!(found["form"], "a=1\nb=é\nc=");
    assert_eq!(
        request(&form, &["--join", "|"]).expect("a request")["form"],
        "a=1\nb=x y |é\nc="
    );
}

#[test]
fn large_and_binary_bodies_are_files() {
    let body = |body: &str| {
        let changes = [
            ("\"{\\\"note\\\": \\\"Leave it at the door\\\"}\"", body),
            ("\"isBase64Encoded\": false", "\"isBase64Encoded\": true"),
        ];
        request(&changed(HTTP_API, &changes), &[]).expect("a request")
    };
    assert_eq!(
        (body("\"AAECAw==\"")["body_file"]).as_str(),
        "file: \u{0}\u{1}\u{2}\u{3}"
    );
    assert_eq!(body("\"AAECAw==\"")["body"], "");
    assert!(body("\"/w==\"")["body_file"].starts_with("file: "));
    let large = format!("\"{}\"", "YWFh".repeat(87_382));
    assert_eq!(body(&large)["body_file"].len(), "file: ".len() + 262_146);
    let found = request(HTTP_API, &["--body-file"]).expect("a request");
    assert_eq!(
        found["body_file"],
        r#"file: {"note": "Leave it at the door"}"#
    );
    let wrong = changed(
        HTTP_API,
        &[("\"isBase64Encoded\": false", "\"isBase64Encoded\": true")],
    );
    let error = request(&wrong, &[]).expect_err("no base64");
    assert!(
        error.starts_with("cannot read the body of the request: it is no base64: "),
        "{error}"
    );
}

#[test]
fn other_events_say_what_they_are() {
    for (event, expected) in [
        (
            include_str!("../../src/cli/samples/s3.json"),
            "it is of s3; read it with lambda_each",
        ),
        (
            include_str!("../../src/cli/samples/sqs.json"),
            "it is of sqs; read it with lambda_each",
        ),
        (
            include_str!("../../src/cli/samples/scheduled.json"),
            "it is of eventbridge; read it with lambda_each",
        ),
        (
            r#"{"requestContext":{"connectionId":"c","routeKey":"$connect"}}"#,
            "it is of a WebSocket API; read it with lambda_get",
        ),
        (
            r#"{"type":"TOKEN","methodArn":"arn"}"#,
            "it is for an authorizer of API Gateway; read it with lambda_get",
        ),
        (
            r#"{"httpMethod":"GET","path":"/"}"#,
            "it has httpMethod, path",
        ),
        (r#"{"a":1}"#, "it has a"),
        ("[1]", "it has no fields"),
        ("null", "it has no fields"),
    ] {
        assert_eq!(
            request(event, &[]),
            Err(format!("cannot read a request from the event: {expected}")),
            "{event}"
        );
    }
}

#[test]
fn names_of_bash_are_not_made_by_a_prefix() {
    let error = request(HTTP_API, &["--prefix", "BASH_"]).expect_err("refused");
    assert_eq!(
        error,
        "cannot set variable BASH_method: bash needs it; choose another name"
    );
}

#[test]
fn a_client_cannot_make_the_call_fail_with_a_nul() {
    let query = HTTP_API.replace("tag=new", "tag=a%00b&%00=x&%00n=1");
    let found = request(&query, &["--join", ","]).expect("a request");
    assert!(found["query"].contains("tag=ab"), "{}", found["query"]);
    assert!(found["query"].contains("n=1"), "{}", found["query"]);
    assert!(!found["query"].contains('\0'), "{}", found["query"]);
}
