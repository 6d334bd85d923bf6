//! The exact bytes of events and responses. `$1` is the event as the tutorial's `$(curl ...)` would return it. Standard input
//! is the unchanged event. The response is the output without the newlines at its end. Unlike in the tutorial, NUL bytes in
//! a response are kept.

use support::{Event, Sandbox, excerpt};

/// The largest response that Lambda takes: six MiB and 100 bytes.
const MAX_RESPONSE_BYTES: usize = 6_291_556;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const FROM_ARGUMENT: &str = "handler() { printf '%s' \"$1\"; }";
const FROM_STDIN: &str = "handler() { cat; }";

/// The value of `$1`: `$(...)` drops every NUL, and then all newlines at the end.
fn as_argument(event: &[u8]) -> Vec<u8> {
    let mut argument = event.to_vec();
    argument.retain(|byte| *byte != 0);
    without_trailing_newlines(&argument)
}

fn without_trailing_newlines(bytes: &[u8]) -> Vec<u8> {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'\n')
        .map_or(0, |last| last + 1);
    bytes[..end].to_vec()
}

/// Small events that are easy to get wrong in a runtime, a client or a shell.
fn difficult_events() -> Vec<Vec<u8>> {
    let texts: &[&str] = &[
        "",
        "x",
        " ",
        "0",
        "\"\"",
        "{\"message\":\"Hello from Container Lambda!\"}",
        "{\"m\":\"two  spaces,   three\"}",
        "\t {\"a\":1} \t",
        "   ",
        // Special to curl -d and echo.
        "@file",
        "@/etc/hostname",
        "@-",
        "-",
        "--",
        "-n",
        "-e x",
        "-e a\\tb",
        "-v x",
        "--help",
        "-d @/etc/hostname",
        // Expanded by a shell where a quote is missing.
        "*",
        "/etc/*",
        "[a-z]* ? {a,b} ~ ~root",
        "$(id)",
        "`id`",
        "$HOME ${PATH} $$ $! $? $1 $@",
        "; | & > /dev/null # 'q' \"d\" ! !! ^a^b",
        "'",
        "\"",
        "'\\''",
        "$'\\x41'",
        "a='1' b=\"2\"",
        "x=(1 2 3)",
        "function.handler",
        // Special to printf, echo and read.
        "\\",
        "\\\\",
        "a\\",
        "\\n\\t\\0\\x41\\u00e9",
        "{\"m\":\"a\\\\b \\n \\t \\\" \\u00e9 \\\\\\\\\"}",
        "%s",
        "%d%%%n%",
        "a=1&b=2+3%20%s%d%%",
        // Other languages, and characters that look like line ends.
        "\u{e9} \u{fc} \u{6f22}\u{5b57} \u{1f389} \u{2028}\u{2029}\u{85}\u{feff}",
        "\u{feff}{\"a\":1}",
        // Lines.
        "{\n  \"a\": 1,\n  \"b\": [1, 2]\n}",
        "{\r\n \"a\": 1\r\n}",
        "a\rb",
        "a\r",
        "a\r\n",
        "a\n",
        "{\"a\":1}\n\n\n",
        "\n",
        "\n\n\n",
        "\na",
        "a\n\nb",
        "a\nb\n ",
        "\\\n",
        "a \\\nb",
        "EOF\nEOF",
        "\u{1b}[31mred\u{7}\u{8}\u{7f}",
        "0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ];
    let mut events: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let bytes: &[&[u8]] = &[
        b"a\0b",
        b"\0",
        b"\0\0\0",
        b"a\0",
        b"\0a",
        b"a\n\0\n",
        b"a\0\n",
        b"a\nb\0c\nd",
        // Not UTF-8. Some are cut in the middle of a character, where `read -d ''` drops the next byte.
        b"\xff\xfe\x80abc\xc3",
        b"\xc3",
        b"abc\xe6\xbc",
        b"abc\xf0\x9f\x8e",
        b"\xed\xa0\x80 \xc0\x80 \xf5",
        b"\xc3\n",
        b"\xc3\nb",
        b"\xe6\xbc\0x",
        b"\xa0\x85",
        // Bash uses \001 and \177 internally for quoting.
        b"\x01",
        b"\x01\x01\x7f\x01",
        b"\x7f",
        b"a\x01b\x7fc\n\x01",
    ];
    events.extend(bytes.iter().map(|bytes| bytes.to_vec()));
    events.push((1..=255).collect());
    events.push((0..=255).collect());
    events.push((0..=255).rev().collect());
    events
}

/// Sizes around those at which something may change: buffers, the argument limit of `execve`, Lambda's limit.
fn large_sizes() -> Vec<usize> {
    let around = [4 * KIB, 64 * KIB, 128 * KIB];
    let mut sizes: Vec<usize> = around
        .iter()
        .flat_map(|size| [size - 1, *size, size + 1])
        .collect();
    sizes.extend([2047, 2049, MIB, 6 * MIB]);
    sizes
}

/// `len_bytes` bytes on one line.
fn one_line(len_bytes: usize) -> Vec<u8> {
    let text = b"{\"key\": \"value with  spaces, \\\\, %s, * and $(id)\"},".iter();
    text.copied().cycle().take(len_bytes).collect()
}

/// `len_bytes` bytes in many lines, some of them empty, with characters of two to four bytes. The last character may be cut
/// off.
fn many_lines(len_bytes: usize) -> Vec<u8> {
    let text = "{\n  \"k\u{e9}y\": \"\u{6f22}\u{5b57} \u{1f389}\",\r\n\n\t\"n\": 1\n}, ";
    text.bytes().cycle().take(len_bytes).collect()
}

type Framing = fn(Event) -> Event;

/// Sends every event, and fails with a list of all wrong responses.
#[track_caller]
fn assert_responses(
    sandbox: &Sandbox,
    events: &[Vec<u8>],
    framing: Framing,
    expected: fn(&[u8]) -> Vec<u8>,
) {
    let mut wrong = Vec::new();
    for event in events {
        let response = sandbox.respond_to(framing(Event::fresh(event)));
        let expected = expected(event);
        if response != expected {
            wrong.push(format!(
                "{}\n  expected {}\n  got      {}",
                excerpt(event),
                excerpt(&expected),
                excerpt(&response)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} events:\n{}",
        wrong.len(),
        events.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_first_argument_is_the_event() {
    let sandbox = Sandbox::of(FROM_ARGUMENT).start();
    assert_responses(&sandbox, &difficult_events(), |event| event, as_argument);
}

#[test]
fn the_first_argument_is_the_event_if_it_came_in_chunks() {
    let sandbox = Sandbox::of(FROM_ARGUMENT).start();
    assert_responses(
        &sandbox,
        &difficult_events(),
        |event| event.chunked(3),
        as_argument,
    );
}

#[test]
fn standard_input_is_the_event() {
    let sandbox = Sandbox::of(FROM_STDIN).start();
    assert_responses(
        &sandbox,
        &difficult_events(),
        |event| event,
        without_trailing_newlines,
    );
}

#[test]
fn standard_input_is_the_event_if_it_came_in_chunks() {
    let sandbox = Sandbox::of(FROM_STDIN).start();
    assert_responses(
        &sandbox,
        &difficult_events(),
        |event| event.chunked(1),
        without_trailing_newlines,
    );
}

#[test]
fn a_setting_keeps_the_newlines_at_the_end_of_a_response() {
    let sandbox = Sandbox::of(FROM_STDIN)
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .start();
    assert_responses(&sandbox, &difficult_events(), |event| event, <[u8]>::to_vec);
}

#[test]
fn the_setting_for_responses_does_not_keep_newlines_at_the_end_of_the_first_argument() {
    let sandbox = Sandbox::of(FROM_ARGUMENT)
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .start();
    assert_responses(&sandbox, &difficult_events(), |event| event, as_argument);
}

#[test]
fn a_posix_locale_changes_no_byte() {
    let sandbox = Sandbox::of(FROM_ARGUMENT).env("LANG", "C").start();
    assert_responses(&sandbox, &difficult_events(), |event| event, as_argument);
}

#[test]
fn large_events_are_exact_in_the_first_argument() {
    let sandbox = Sandbox::of(FROM_ARGUMENT).start();
    let one_line: Vec<_> = large_sizes().into_iter().map(one_line).collect();
    assert_responses(&sandbox, &one_line, |event| event, as_argument);
    let many_lines: Vec<_> = large_sizes().into_iter().map(many_lines).collect();
    assert_responses(
        &sandbox,
        &many_lines,
        |event| event.chunked(32 * KIB),
        as_argument,
    );
}

#[test]
fn large_events_are_exact_on_standard_input() {
    let sandbox = Sandbox::of(FROM_STDIN).start();
    let many_lines: Vec<_> = large_sizes().into_iter().map(many_lines).collect();
    assert_responses(
        &sandbox,
        &many_lines,
        |event| event,
        without_trailing_newlines,
    );
    assert_responses(
        &sandbox,
        &many_lines,
        |event| event.chunked(1000),
        without_trailing_newlines,
    );
}

#[test]
fn a_small_event_after_a_large_one_is_exact() {
    let sandbox = Sandbox::of("handler() { printf '%s|' \"$1\"; cat; }").start();
    let sizes = [6 * MIB - 10, 1, 0, 100 * KIB, 3, 0];
    let expected = |event: &[u8]| [&as_argument(event), b"|".as_slice(), event].concat();
    for size in sizes {
        let event = one_line(size.min(3 * MIB));
        assert_eq!(
            excerpt(&sandbox.respond(&event)),
            excerpt(&expected(&event)),
            "{size} bytes"
        );
    }
}

#[test]
fn the_largest_response_is_exact() {
    let script = "handler() { head -c \"$1\" /dev/zero | tr '\\0' x; }";
    let sandbox = Sandbox::of(script).start();
    let response = sandbox.respond(MAX_RESPONSE_BYTES.to_string());
    assert_eq!(response.len(), MAX_RESPONSE_BYTES);
    assert!(response.iter().all(|byte| *byte == b'x'));
    assert_eq!(sandbox.respond("1"), b"x");
}

#[test]
fn nul_bytes_of_a_response_are_kept() {
    let sandbox = Sandbox::of("handler() { printf 'a\\0b\\0\\0\\n\\0\\n\\n'; }").start();
    assert_eq!(sandbox.respond(""), b"a\0b\0\0\n\0");
}

#[test]
fn a_response_of_newlines_only_is_empty() {
    let sandbox = Sandbox::of("handler() { printf '\\n\\n\\n'; }").start();
    assert_eq!(sandbox.respond("x"), b"");
}

#[test]
fn a_handler_that_prints_nothing_posts_an_empty_response() {
    let sandbox = Sandbox::of("handler() { :; }").start();
    for event in ["", "x", "{}"] {
        let answer = sandbox.invoke(Event::fresh(event));
        assert!(answer.is_response());
        assert_eq!(answer.body, b"");
        assert_eq!(answer.header("Content-Length"), Some("0"));
    }
}

#[test]
fn an_empty_event_is_one_empty_argument() {
    let sandbox =
        Sandbox::of("handler() { printf '%s:%s:' \"$#\" \"${#1}\"; wc -c | tr -d ' '; }").start();
    assert_eq!(sandbox.respond(""), b"1:0:0");
    assert_eq!(sandbox.respond("a  b *\nc"), b"1:8:8");
    assert_eq!(sandbox.respond(""), b"1:0:0");
}

#[test]
fn unread_standard_input_never_reaches_the_next_event() {
    let script = r#"
handler() {
  case $1 in
    none*) ;;
    three*) head -c 3 ;;
    line*) read -r a b && printf '%s/%s' "$b" "$a" ;;
    both*) head -c 4 >/dev/null && IFS= read -r rest && printf '%s' "$rest" ;;
    all*) cat ;;
    closed*) exec <&- && printf 'closed' ;;
  esac
}"#;
    let sandbox = Sandbox::of(script).start();
    for _ in 0..2 {
        assert_eq!(sandbox.respond("none of it\nis read"), b"");
        assert_eq!(sandbox.respond("three bytes\nonly"), b"thr");
        assert_eq!(sandbox.respond("line one\nline two\n"), b"one/line");
        assert_eq!(sandbox.respond("both external\nand builtin"), b" external");
        assert_eq!(sandbox.respond("closed"), b"closed");
        assert_eq!(sandbox.respond("all\nof it"), b"all\nof it");
    }
}

/// If the event were exported, every program would fail to start with E2BIG.
#[test]
fn programs_can_start_despite_a_large_event() {
    let script = "handler() { /bin/true && printf '%s' \"$1\" | wc -c | tr -d ' ' && env | grep -c 'value with' || :; }";
    let sandbox = Sandbox::of(script).start();
    let response = sandbox.respond(one_line(6 * MIB));
    assert_eq!(
        String::from_utf8_lossy(&response),
        format!("{}\n0", 6 * MIB)
    );
}

#[test]
fn output_of_builtins_and_programs_comes_in_order() {
    let script = "handler() { echo a; /bin/echo b; printf c; /bin/echo -n d; echo e >/dev/stdout; (echo f); echo g | cat; cat <<<h; }";
    let sandbox = Sandbox::of(script).start();
    for _ in 0..3 {
        assert_eq!(sandbox.respond(""), b"a\nb\ncde\nf\ng\nh");
    }
}

#[test]
fn a_response_that_looks_like_a_protocol_is_data() {
    let sandbox = Sandbox::of(FROM_STDIN).start();
    let events: Vec<Vec<u8>> = [
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        "0\n",
        "0\r\n\r\n",
        "ok 0\nret 0\ndied 0\n",
        "\u{1b}]0;title\u{7}",
        "{\"errorMessage\":\"no error\",\"errorType\":\"Function.None\"}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    assert_responses(&sandbox, &events, |event| event, without_trailing_newlines);
}
