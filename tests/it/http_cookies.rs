//! Cookies of `lambda_http_response` behind each service: the form in which that takes them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use support::{Emulator, Sandbox};

const FUNCTION_URL: &str = include_str!("../../src/cli/samples/function-url.json");
const HTTP_API: &str = include_str!("../../src/cli/samples/api-gateway-v2.json");
const REST_API: &str = include_str!("../../src/cli/samples/api-gateway-v1.json");
const LOAD_BALANCER: &str = include_str!("../../src/cli/samples/alb.json");

const HANDLER: &str = r"handler() {
  lambda_http_response --cookie 'a=1; Secure' 201 'X-A: x' 'set-cookie: b=2' --cookie c=3
  printf body
}";
/// In the order of the arguments, those of headers first.
const COOKIES: [&str; 3] = ["b=2", "a=1; Secure", "c=3"];

#[track_caller]
fn document(sandbox: &Sandbox, event: &str) -> Value {
    serde_json::from_slice(&sandbox.respond(event)).expect("JSON")
}

/// The event of a load balancer whose target group has multi-value headers switched on.
fn with_lists() -> String {
    let mut event: Value = serde_json::from_str(LOAD_BALANCER).expect("JSON");
    let event = event.as_object_mut().expect("an object");
    for (one, many) in [
        ("headers", "multiValueHeaders"),
        ("queryStringParameters", "multiValueQueryStringParameters"),
    ] {
        let mut values = event.remove(one).expect("an object");
        for value in values.as_object_mut().expect("an object").values_mut() {
            *value = json!([value]);
        }
        event.insert(many.to_owned(), values);
    }
    Value::Object(event.clone()).to_string()
}

#[test]
fn each_service_gets_cookies_in_its_form() {
    let sandbox = Sandbox::of(HANDLER).start();
    let with = |fields: Value| {
        let mut all = json!({"statusCode": 201, "isBase64Encoded": false, "body": "body"});
        let members = fields.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(members);
        all
    };
    let list = with(json!({"headers": {"X-A": "x"}, "cookies": COOKIES}));
    let body_of_another = HTTP_API.replace("Leave it", r#"\\\"httpMethod\\\": "#);
    let no_request = r#"{"httpMethod": "GET", "multiValueHeaders": {}}"#;
    for event in [
        FUNCTION_URL,
        HTTP_API,
        &body_of_another,
        no_request,
        "\"httpMethod\" no JSON",
    ] {
        assert_eq!(document(&sandbox, event), list, "{event}");
    }
    let rest = json!({"headers": {"X-A": "x"}, "multiValueHeaders": {"Set-Cookie": COOKIES}});
    assert_eq!(document(&sandbox, REST_API), with(rest.clone()));
    // The console of API Gateway sends this.
    let mut console: Value = serde_json::from_str(REST_API).expect("JSON");
    console["multiValueHeaders"] = Value::Null;
    assert_eq!(document(&sandbox, &console.to_string()), with(rest));
    let lists = json!({"multiValueHeaders": {"X-A": ["x"], "Set-Cookie": COOKIES}});
    assert_eq!(document(&sandbox, &with_lists()), with(lists));
}

#[test]
fn each_cookie_for_a_load_balancer_has_a_header_of_its_own() {
    let body = r#"handler() {
  local i cookies=()
  for i in {1..500}; do cookies+=(--cookie "c$i=$i"); done
  lambda_http_response 200 "${cookies[@]}"
}"#;
    let sandbox = Sandbox::of(body).start();
    let document = document(&sandbox, LOAD_BALANCER);
    let headers = document["headers"].as_object().expect("an object");
    assert!(headers.contains_key("Set-Cookie"), "{document}");
    let is_cookie = |name: &&String| name.eq_ignore_ascii_case("set-cookie");
    assert_eq!(headers.keys().filter(is_cookie).count(), 500);
    let values: BTreeSet<_> = headers.values().filter_map(Value::as_str).collect();
    let expected: Vec<_> = (1..=500).map(|i| format!("c{i}={i}")).collect();
    assert_eq!(values, expected.iter().map(String::as_str).collect());
    assert_eq!(document.get("cookies"), None);
    assert_eq!(document.get("multiValueHeaders"), None);
}

/// Some services refuse an answer that has keys which they do not know.
#[test]
fn without_cookies_only_a_load_balancer_with_lists_gets_another_form() {
    let script = "handler() { lambda_http_response 200 'X-A: x' 'x-a: y'; }";
    let sandbox = Sandbox::of(script).start();
    let lists = with_lists();
    for event in [FUNCTION_URL, HTTP_API, REST_API, LOAD_BALANCER, &lists] {
        let (name, value) = if event == lists {
            ("multiValueHeaders", json!({"X-A": ["x, y"]}))
        } else {
            ("headers", json!({"X-A": "x, y"}))
        };
        let mut expected = json!({"statusCode": 200, "isBase64Encoded": false, "body": ""});
        expected[name] = value;
        assert_eq!(document(&sandbox, event), expected, "{event}");
    }
}

/// A REST API that streams takes the same keys before the body.
#[test]
fn the_prelude_of_a_stream_has_the_same_form() {
    let script = HANDLER.replace("lambda_http_response", "lambda_http_response --stream");
    let sandbox = Sandbox::of(&script).start();
    let prelude = |event: &str| -> Value {
        let response = sandbox.respond(event);
        let end = response.windows(8).position(|bytes| bytes == [0; 8]);
        serde_json::from_slice(&response[..end.expect("a prelude")]).expect("JSON")
    };
    assert_eq!(prelude(FUNCTION_URL)["cookies"], json!(COOKIES));
    let rest = prelude(REST_API);
    assert_eq!(rest["multiValueHeaders"], json!({"Set-Cookie": COOKIES}));
    assert_eq!(rest.get("cookies"), None);
}

#[test]
fn the_client_gets_all_cookies_behind_each_service() {
    for option in ["--function-url", "--function-url=v1", "--function-url=alb"] {
        let emulator = Emulator::of(HANDLER).arg(option).start();
        let reply = emulator.request("GET", "/", &[], "");
        assert_eq!((reply.status, &reply.body[..]), (201, &b"body"[..]));
        assert_eq!(reply.header("X-A"), Some("x"));
        let names = reply.headers.iter();
        let cookies = names.filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
        let cookies: BTreeSet<_> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(cookies, COOKIES.into_iter().collect(), "{option}");
    }
}
