//! `lambda_encode`, `lambda_decode` and `lambda_hash`, beside Python.

use std::fmt::Write as _;

use crate::caller::Place;
use crate::programs::python;
use crate::random::Random;

const SEED: u64 = 20_261_128;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// What a call prints, as hex.
fn output(function: &str, arguments: &[&[u8]]) -> String {
    let reply = Place::default().call(function, arguments).expect("a reply");
    hex(&reply.output)
}

fn failure(function: &str, arguments: &[&str]) -> String {
    Place::default()
        .call(function, arguments)
        .expect_err("no reply")
}

/// Texts of all kinds, without NUL: no argument has one.
fn texts() -> Vec<Vec<u8>> {
    let mut random = Random(SEED);
    let mut texts: Vec<Vec<u8>> = (0..300).map(|_| random.bytes(80)).collect();
    let words = [
        "",
        "a b+c",
        "März & <\"'>",
        "é😀\n",
        "100%",
        "%zz%4",
        "a/b?c=d#e",
        "~-_.!*()",
    ];
    texts.extend(words.map(|text| text.as_bytes().to_vec()));
    for text in &mut texts {
        text.retain(|byte| *byte != 0);
    }
    texts
}

#[test]
fn python_encodes_alike() {
    let encodings = ["base64", "base64url", "uri", "uri_plus", "html", "hex"];
    let (mut input, mut ours) = (String::new(), String::new());
    for text in texts() {
        for encoding in encodings {
            let _ = writeln!(input, "{encoding} {}", hex(&text));
            let _ = writeln!(ours, "{}", output("encode", &[encoding.as_bytes(), &text]));
        }
    }
    let script = "import base64, html, sys, urllib.parse
def encode(name, data):
    if name == 'base64': return base64.b64encode(data)
    if name == 'base64url': return base64.urlsafe_b64encode(data).rstrip(b'=')
    if name == 'uri': return urllib.parse.quote(data, safe='').encode()
    if name == 'uri_plus': return urllib.parse.quote_plus(data, safe='').encode()
    if name == 'html':
        text = html.escape(data.decode('latin-1')).replace('&#x27;', '&#39;')
        return text.encode('latin-1')
    return data.hex().encode()
for line in sys.stdin:
    name, data = line.rstrip('\\n').split(' ')
    print((encode(name, bytes.fromhex(data)) + b'\\n').hex())";
    assert_eq!(python(script, input.as_bytes()), ours);
}

#[test]
fn python_decodes_alike() {
    let (mut input, mut ours) = (String::new(), String::new());
    let mut add = |encoding: &str, text: &[u8]| {
        let _ = writeln!(input, "{encoding} {}", hex(text));
        let _ = writeln!(ours, "{}", output("decode", &[encoding.as_bytes(), text]));
    };
    for text in texts() {
        for encoding in ["base64", "base64url", "uri", "uri_plus", "html", "hex"] {
            let place = Place::default();
            let arguments = [encoding.as_bytes(), &text];
            let encoded = place.call("encode", &arguments).expect("a reply").output;
            add(encoding, encoded.strip_suffix(b"\n").expect("a line"));
        }
        // What nobody encoded.
        add("uri", &text);
        add("uri_plus", &text);
    }
    for text in [
        "&amp;lt;",
        "&#233;&#xe9;&#XE9;",
        "&apos;&nbsp;",
        "&",
        "&;",
        "&#;",
        "a&b;c&lt",
        "&#32;&#x1F600;",
    ] {
        // Without a semicolon Python reads some names as well; browsers do.
        if text != "a&b;c&lt" {
            add("html", text.as_bytes());
        }
    }
    for text in ["aGk=", "aGk", "aG\nk=", "YQ==", "YQ", "aG k =", ""] {
        add("base64", text.as_bytes());
    }
    let script = "import base64, html, sys, urllib.parse
def decode(name, data):
    if name == 'base64': return base64.b64decode(data + b'==')
    if name == 'base64url': return base64.urlsafe_b64decode(data + b'==')
    if name == 'uri': return urllib.parse.unquote_to_bytes(data)
    if name == 'uri_plus': return urllib.parse.unquote_to_bytes(data.replace(b'+', b' '))
    if name == 'html': return html.unescape(data.decode(errors='surrogateescape')).encode(errors='surrogateescape')
    return bytes.fromhex(data.decode())
for line in sys.stdin:
    name, data = line.rstrip('\\n').split(' ')
    print(decode(name, bytes.fromhex(data)).hex())";
    let theirs = python(script, input.as_bytes());
    for ((line, ours), theirs) in input.lines().zip(ours.lines()).zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{line}");
    }
    assert_eq!(theirs.lines().count(), ours.lines().count());
}

#[test]
fn python_hashes_alike() {
    let mut random = Random(SEED);
    let (mut input, mut ours) = (String::new(), String::new());
    for text in texts() {
        let key = hex(&random.bytes(150));
        let _ = writeln!(input, "{key} {}", hex(&text));
        let plain = output("hash", &[b"sha256", &text]);
        let keyed = output(
            "hash",
            &[b"--key-hex", key.as_bytes(), b"hmac-sha256", &text],
        );
        let base64 = output("hash", &[b"--base64", b"sha256", &text]);
        let _ = writeln!(ours, "{plain} {keyed} {base64}");
    }
    let script = "import base64, hashlib, hmac, sys
for line in sys.stdin:
    key, data = (bytes.fromhex(part) for part in line.rstrip('\\n').split(' '))
    digest = hashlib.sha256(data)
    keyed = hmac.new(key, data, hashlib.sha256).hexdigest().encode() + b'\\n'
    based = base64.b64encode(digest.digest()) + b'\\n'
    print((digest.hexdigest().encode() + b'\\n').hex(), keyed.hex(), based.hex())";
    assert_eq!(python(script, input.as_bytes()), ours);
}

#[test]
fn standard_input_and_files_are_read() {
    let mut place = Place::default();
    place.standard_input = b"a\0b".to_vec();
    place.files.insert(b"f".to_vec(), b"a\0b".to_vec());
    let given = |function: &str, arguments: &[&str]| {
        let reply = place.call(function, arguments);
        reply.map(|reply| String::from_utf8_lossy(&reply.output).into_owned())
    };
    assert_eq!(given("encode", &["base64"]).as_deref(), Ok("YQBi\n"));
    let digest = "1dd2df0aa9d5d184cf9cf0c82e3bdf1e1c2aa3b1c1ef0f7ecbdd6b6ec4cb1a20";
    let of_input = given("hash", &["sha256"]);
    assert_eq!(of_input, given("hash", &["--file", "f", "sha256"]));
    assert!(of_input.is_ok_and(|hash| hash.len() == digest.len() + 1));
    let by_key = given("hash", &["--key", "k", "hmac-sha256", "x"]);
    place.files.insert(b"key".to_vec(), b"k".to_vec());
    let reply = place.call("hash", &["--key-file", "key", "hmac-sha256", "x"]);
    let by_file = reply.map(|reply| String::from_utf8_lossy(&reply.output).into_owned());
    assert_eq!(by_key, by_file);
}

#[test]
fn what_cannot_be_decoded_is_named() {
    for (function, arguments, expected) in [
        (
            "decode",
            &["base64", "a*c="][..],
            "cannot decode the text: it is no base64: Invalid symbol 42, offset 1.",
        ),
        (
            "decode",
            &["base64", "a-_c"],
            "cannot decode the text: it is no base64: Invalid symbol 45, offset 1.",
        ),
        (
            "decode",
            &["hex", "0g"],
            "cannot decode the text: it is no hex: 0g is no byte",
        ),
        (
            "decode",
            &["hex", "abc"],
            "cannot decode the text: it is no hex: the last digit has no second one",
        ),
        (
            "decode",
            &["-v", "x", "hex", "00"],
            "cannot set variable x: the value has a NUL, which no variable of bash can hold",
        ),
        (
            "encode",
            &["rot13", "x"],
            "cannot use lambda_encode: there is no such encoding; there are base64, base64url, uri, uri_plus, html and hex",
        ),
        (
            "encode",
            &[],
            "cannot use lambda_encode: expected one of base64, base64url, uri, uri_plus, html and hex",
        ),
        (
            "encode",
            &["hex", "a", "b"],
            "cannot use lambda_encode: there is one argument too many; quote a text",
        ),
        (
            "hash",
            &["md5", "x"],
            "cannot use lambda_hash: there is no such hash; there are sha256 and hmac-sha256",
        ),
        (
            "hash",
            &["hmac-sha256", "x"],
            "cannot use lambda_hash: hmac-sha256 needs --key KEY",
        ),
        (
            "hash",
            &["--key", "k", "sha256", "x"],
            "cannot use lambda_hash: a key is for hmac-sha256",
        ),
        (
            "hash",
            &["--key-hex", "secret", "sha256", "x"],
            "cannot use lambda_hash: --key-hex: it is no hex",
        ),
        (
            "hash",
            &["--file", "g", "sha256"],
            "cannot read file g: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(failure(function, arguments), expected, "{arguments:?}");
    }
}
