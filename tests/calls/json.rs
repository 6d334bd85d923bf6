//! `lambda_json`: what Python reads from it, and what it refuses.

use std::fmt::Write as _;

use crate::caller::Place;
use crate::programs::python;

fn json(arguments: &[&str]) -> Result<String, String> {
    let mut place = Place::default();
    place.files.insert(b"f".to_vec(), "é\n\"x\"\n".into());
    place
        .files
        .insert(b"j".to_vec(), b"{ \"a\": [1, 2] }".to_vec());
    let reply = place.call("json", arguments)?;
    let output = String::from_utf8(reply.output).expect("UTF-8");
    Ok(output.strip_suffix('\n').expect("a line").to_owned())
}

#[test]
fn items_become_members() {
    for (arguments, expected) in [
        (&[][..], "{}"),
        (&["a=1"], r#"{"a":"1"}"#),
        (
            &["a:=1", "b:=[1, 2]", "c:= null "],
            r#"{"a":1,"b":[1,2],"c":null}"#,
        ),
        (&["a=\"q\"\n\\"], r#"{"a":"\"q\"\n\\"}"#),
        (&["a=b=c", "d=:=e"], r#"{"a":"b=c","d":":=e"}"#),
        (&["a=@f", "b=:@f"], r#"{"a":"@f","b":":@f"}"#),
        (&["a@=f", "b:@=j"], r#"{"a":"é\n\"x\"\n","b":{"a":[1,2]}}"#),
        (
            &["a.b.c=1", "a.b.d=2", "e=3", "a.f=4"],
            r#"{"a":{"b":{"c":"1","d":"2"},"f":"4"},"e":"3"}"#,
        ),
        (
            &["a[]=1", "a[]:=2", "b.c[]:={}"],
            r#"{"a":["1",2],"b":{"c":[{}]}}"#,
        ),
        (&["[]=1", "[]:=2"], r#"["1",2]"#),
        (
            &[
                r"a\.b=1", r"c\=d=2", r"e\:=3", r"f\@=4", r"g\\=5", r"h\[\]=6",
            ],
            r#"{"a.b":"1","c=d":"2","e:":"3","f@":"4","g\\":"5","h[]":"6"}"#,
        ),
        (
            &["a:=1e400", "b:=12345678901234567890123", "c:=1.0"],
            r#"{"a":1e400,"b":12345678901234567890123,"c":1.0}"#,
        ),
        (&["a:={\"x\":1,\"y\":2,\"x\":3}"], r#"{"a":{"x":3,"y":2}}"#),
        (
            &["--array", "a", "b", "3", "-x", "--", "a=1"],
            r#"["a","b","3","-x","--","a=1"]"#,
        ),
        (&["--array"], "[]"),
        (
            &["--quote", "-a\t\"é\u{1}\u{7f}"],
            r#""-a\t\"é\u0001\u007f""#,
        ),
        (&["--", "-a=1"], r#"{"-a":"1"}"#),
    ] {
        assert_eq!(json(arguments).as_deref(), Ok(expected), "{arguments:?}");
    }
}

#[test]
fn what_would_not_be_right_is_refused() {
    for (arguments, expected) in [
        // A secret without its name must not be in the log.
        (
            &["a"][..],
            "cannot use an argument without =: expected NAME=TEXT or NAME:=JSON",
        ),
        (
            &["a:=x"],
            "cannot use the value of a: it is not JSON: expected value at line 1 column 1",
        ),
        (
            &["a:="],
            "cannot use the value of a: it is not JSON: it is empty",
        ),
        (
            &["a:=1 2"],
            "cannot use the value of a: it is not JSON: trailing characters at line 1 column 3",
        ),
        (
            &["a=1", "a.b=2"],
            "cannot set a.b: what has b is a value already",
        ),
        (&["a.b=2", "a=1"], "cannot set a: it is an object already"),
        (&["a=1", "a=2"], "cannot set a: it is a value already"),
        (&["a[]=1", "a=2"], "cannot set a: it is an array already"),
        (&["a=1", "a[]=2"], "cannot set a[]: it is a value already"),
        (
            &["[]=1", "a=2"],
            "cannot set a: what has a is an array already",
        ),
        (
            &["a[0]=1"],
            "cannot set a[0]: a name has [] at its end only; write \\[ for a bracket",
        ),
        (&["=1"], "cannot set : a part of the name is empty"),
        (&["a..b=1"], "cannot set a..b: a part of the name is empty"),
        (
            &["a@=g"],
            "cannot read file g for a: No such file or directory (os error 2)",
        ),
        (
            &["-x"],
            "cannot use lambda_json: there is no option -x; there are -v VAR, --array and --quote",
        ),
        (
            &["-v", "x", "-----BEGIN KEY-----"],
            "cannot use lambda_json: there is no option like argument 3; there are -v VAR, --array and --quote",
        ),
        (
            &["--a-secret-that-is-only-letters"],
            "cannot use lambda_json: there is no option like argument 1; there are -v VAR, --array and --quote",
        ),
        (
            &["--quote"],
            "cannot use lambda_json: --quote: expected one text",
        ),
        (
            &["-v", "1a"],
            "cannot set variable 1a: expected a name of letters, digits and _",
        ),
    ] {
        assert_eq!(json(arguments), Err(expected.to_owned()), "{arguments:?}");
    }
    let error = Place::default().call("json", &[&b"a=x\xff"[..]]);
    assert_eq!(
        error,
        Err("cannot use the value of a: invalid UTF-8 at byte 2".to_owned())
    );
    let deep = format!("{}=1", vec!["a"; 101].join("."));
    assert!(json(&[&deep]).is_err_and(|error| error.ends_with("it has more than 100 parts")));
}

/// Whatever the text, Python finds it again.
#[test]
fn python_reads_every_text_back() {
    let mut texts: Vec<String> = (0..0x300_u32)
        .filter_map(char::from_u32)
        .map(|letter| format!("a{letter}b"))
        .collect();
    texts.extend(
        [
            "",
            "\u{2028}",
            "\u{fffe}",
            "😀",
            "</script>",
            "\\u0041",
            "@f",
            ":=1",
        ]
        .map(str::to_owned),
    );
    let mut expected = String::new();
    let mut written = String::new();
    for text in &texts {
        if !text.contains('\0') {
            let _ = writeln!(written, "{}", json(&["--quote", text]).expect("JSON"));
            let _ = writeln!(
                expected,
                "{}",
                text.as_bytes()
                    .iter()
                    .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
            );
        }
    }
    let script = "import json,sys
for line in sys.stdin.buffer.read().decode().split('\\n')[:-1]:
    print(json.loads(line).encode().hex())";
    assert_eq!(python(script, written.as_bytes()), expected);
}
