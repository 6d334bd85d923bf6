//! `lambda_get`: what it finds, and what it says when it finds nothing.

use coshell_calls::{Answer, Variable};

use crate::caller::Place;

const EVENT: &str = r#"{
  "Records": [
    {"s3": {"bucket": {"name": "b"}, "object": {"key": "March+%28final%29.csv", "size": 48213}}},
    {"s3": {"bucket": {"name": "c"}, "object": {"key": "\u00e9", "size": 1}}}
  ],
  "headers": {"content-type": "text/html", "Ünï": "x"},
  "body": "{\"order\": 1042, \"tags\": [\"a\", null]}",
  "none": null, "no": false, "big": 123456789012345678901234567890, "float": 1.0, "empty": {}, "list": []
}"#;

fn event() -> Place {
    Place::with_event(EVENT)
}

#[test]
fn paths_find_what_they_name() {
    for (path, expected) in [
        (".Records[0].s3.bucket.name", "b"),
        (".Records[-1].s3.object.key", "é"),
        (
            ".Records[0].s3.object",
            r#"{"key":"March+%28final%29.csv","size":48213}"#,
        ),
        (".headers[\"content-type\"]", "text/html"),
        (".headers.\"content-type\"", "text/html"),
        (".[\"headers\"].\"Ünï\"", "x"),
        (".big", "123456789012345678901234567890"),
        (".float", "1.0"),
        (".no", "false"),
        (".none // \"-\"", "-"),
        (".no // \"-\"", "-"),
        (".nope.deeper[3] // {\"a\": [1, 2]}", r#"{"a":[1,2]}"#),
        (".body.order? // .nope // 7", "7"),
        (".nope // empty", ""),
        (".nope?", ""),
        (".nope.deeper?", ""),
        (".nope?.deeper", ""),
        (".body.order?", ""),
        (".body | fromjson | .order", "1042"),
        (".body|fromjson|.tags[0]", "a"),
        (".Records | length", "2"),
        (".Records[0].s3 | keys", r#"["bucket","object"]"#),
        (".none | type", "null"),
        (
            ".Records[0].s3.object.key | @urid_plus",
            "March (final).csv",
        ),
        (".Records[0].s3.object.key | @urid", "March+(final).csv"),
        (".Records | first | .s3.bucket.name | ascii_upcase", "B"),
        (".Records | last.s3.bucket.name", "c"),
        (".headers.\"content-type\" | @base64", "dGV4dC9odG1s"),
        (
            ".headers.\"content-type\" | @base64 | @base64d",
            "text/html",
        ),
    ] {
        assert_eq!(event().get(path), expected, "{path}");
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    for (path, expected) in [
        (
            ".Records[0].s3.objekt",
            ".Records[0].s3 has no field objekt; it has bucket, object",
        ),
        (
            ".Records[0].s3.objekt.key",
            ".Records[0].s3 has no field objekt; it has bucket, object",
        ),
        (".Records[2].s3", ".Records has no element 2; it has 2"),
        (".list[0]", ".list has no element 0; it is empty"),
        (".empty.x", ".empty has no field x; it is empty"),
        (".none.x", ".none is null"),
        (".no.x", ".no is a boolean, and has no field x"),
        (".Records.s3", ".Records is an array, and has no field s3"),
        (
            ".body.order",
            ".body is a string, and has no field order; if it holds JSON, put | fromjson | before the rest",
        ),
        (
            ".body | fromjson | .ordre",
            ".body | fromjson has no field ordre; it has order, tags",
        ),
        (
            ".headers[\"content-type\"] | fromjson",
            ".headers[\"content-type\"] is not JSON: expected ident at line 1 column 2",
        ),
        (
            ".Records[].s3.bucket.arn",
            ".Records[0].s3.bucket has no field arn; it has name",
        ),
        (
            ".nope // .nopf",
            ". has no field nopf; it has Records, headers, body, none, no, big, float, empty, list",
        ),
        (
            ".body.order // 7",
            ".body is a string, and has no field order; if it holds JSON, put | fromjson | before the rest",
        ),
        (".no | keys", ".no is a boolean, and has no keys"),
    ] {
        assert_eq!(
            event().get(path),
            format!("cannot read {path}: {expected}"),
            "{path}"
        );
    }
}

#[test]
fn brackets_give_a_list() {
    let place = event();
    assert_eq!(place.list(&["x", ".Records[].s3.bucket.name"]), ["b", "c"]);
    assert_eq!(place.list(&["x", ".list[]"]), [""; 0]);
    assert_eq!(place.list(&["x", ".nope[]?"]), [""; 0]);
    assert_eq!(place.list(&["x", ".body | fromjson | .tags[]?"]), ["a", ""]);
    assert_eq!(
        place.list(&["--array", "x", ".body | fromjson | .tags"]),
        ["a", ""]
    );
}

#[test]
fn one_call_reads_several_fields_and_shapes() {
    let reply = event().call(
        "get",
        &["a", ".float", "--map", "h", ".headers", "b", ".no"],
    );
    let text = |text: &str| text.as_bytes().to_vec();
    assert_eq!(
        reply.expect("a reply").assignments,
        [
            ("a".to_owned(), Variable::Text(text("1.0"))),
            (
                "h".to_owned(),
                Variable::Map(vec![
                    (text("content-type"), text("text/html")),
                    (text("Ünï"), text("x"))
                ])
            ),
            ("b".to_owned(), Variable::Text(text("false"))),
        ]
    );
}

#[test]
fn path_alone_is_printed() {
    let reply = event().call("get", &[".Records[].s3.bucket.name"]);
    assert_eq!(reply.expect("a reply").output, b"b\nc\n");
}

#[test]
fn other_documents_are_read() {
    let mut place = event();
    place
        .files
        .insert(b"f.json".to_vec(), b"{\"a\": 1}".to_vec());
    place.input = Some(b"[5]".to_vec());
    let given = |arguments: &[&str]| {
        let reply = place.call("get", arguments);
        reply.map(|reply| String::from_utf8_lossy(&reply.output).into_owned())
    };
    assert_eq!(given(&["--json", "{\"a\":2}", ".a"]).as_deref(), Ok("2\n"));
    assert_eq!(given(&["--file", "f.json", ".a"]).as_deref(), Ok("1\n"));
    assert_eq!(given(&["--in", "v", ".[0]"]).as_deref(), Ok("5\n"));
    assert_eq!(
        given(&["--file", "g.json", ".a"]),
        Err("cannot read file g.json: No such file or directory (os error 2)".to_owned())
    );
    assert_eq!(
        given(&["--json", "{\"a\":\n2,}", ".a"]),
        Err(
            "cannot read the text of --json: it is not JSON: key must be a string at line 2 column 3"
                .to_owned()
        )
    );
    assert_eq!(
        given(&["--file", "f.json", ".b"]),
        Err("cannot read .b of file f.json: . has no field b; it has a".to_owned())
    );
}

#[test]
fn what_only_jq_understands_is_handed_on() {
    for filter in [
        ".Records | map(.s3)",
        ".Records[] | select(.s3.object.size > 5)",
        "[.Records[].s3]",
        ".a + 1",
        "if .a then 1 else 2 end",
        "..",
        ".a[1:2]",
        "{a: .b}",
        "\"x\\(.a)\"",
        ".a as $x | $x",
        "@sh",
        "@base64 \"x\\(.a)\"",
        ".a | test(\"^x\")",
        "keys | join(\",\")",
    ] {
        let answer = event().answer("get", &["x", filter]);
        let Ok(Answer::NeedsJq(pending)) = answer else {
            panic!("{filter}: {answer:?}");
        };
        assert_eq!(pending.filters.len(), 1, "{filter}");
        assert_eq!(pending.document, None);
        let reply = pending.finish(&[vec![b"\"y\"".to_vec()]]).expect("a reply");
        let expected = Variable::Text(b"y".to_vec());
        assert_eq!(reply.assignments, [("x".to_owned(), expected)]);
    }
}

#[test]
fn mistakes_say_where_they_are() {
    for (path, expected) in [
        (
            "",
            "at column 1: the path is empty; the whole document is .",
        ),
        (".a |", "at column 5: expected a path behind it"),
        (
            ".a.",
            "at column 4: expected the name of a field behind the dot",
        ),
        (".a b", "at column 4: expected |, // or the end"),
        (".a[0", "at column 3: [ is not closed"),
        (".a]", "at column 3: nothing is open that ] could close"),
        (".a[\"x]", "at column 4: a string is not closed"),
        (".['a']", "at column 3: strings have double quotes: \"...\""),
        (
            ".headers.content-type",
            "at column 10: a name with a hyphen needs quotes: .\"content-type\"",
        ),
        (
            ".größe",
            "at column 2: a name beyond ASCII needs quotes: .\"größe\"",
        ),
        (".é", "at column 2: write .\"é\""),
        ("Records[0].s3", "a path begins with a dot: .Records[0].s3"),
    ] {
        assert_eq!(
            event().get(path),
            format!("cannot read {path}: {expected}"),
            "{path}"
        );
    }
}

#[test]
fn variables_of_bash_and_coshell_are_not_set() {
    for (name, owner) in [
        ("UID", "bash"),
        ("PATH", "bash"),
        ("BASHPID", "bash"),
        ("__driver_x", "coshell"),
    ] {
        let error = event().answer("get", &[name, "."]).expect_err("refused");
        let expected = format!("cannot set variable {name}: {owner} needs it; choose another name");
        assert_eq!((error.status, error.message), (2, expected));
    }
    for name in ["1a", "a b", "a[0]", "", "é"] {
        let error = event().answer("get", &[name, "."]).expect_err("refused");
        assert!(
            error.message.contains("expected a name of letters"),
            "{}",
            error.message
        );
    }
}

#[test]
fn values_that_no_variable_can_hold_are_refused() {
    let place = Place::with_event(r#"{"a": "x\u0000y", "m": {"": 1}, "o": {"x": "y"}}"#);
    assert_eq!(
        place.get(".a"),
        "cannot set variable x: the value has a NUL, which no variable of bash can hold"
    );
    assert_eq!(place.get(".a | @base64"), "eAB5");
    let given = |arguments: &[&str]| place.call("get", arguments).expect_err("refused");
    assert_eq!(
        given(&["--map", "x", ".m"]),
        "cannot set variable x: an associative array of bash has no empty key"
    );
    assert_eq!(
        given(&["--map", "x", ".a"]),
        "cannot read .a: .a is a string, and --map takes an object"
    );
    assert_eq!(
        given(&["--array", "x", ".o"]),
        "cannot read .o: .o is an object, and --array takes an array"
    );
    assert_eq!(
        given(&["--map", "x", ".o[]", ".y"]),
        "cannot use lambda_get: the last argument has no path behind it"
    );
}
