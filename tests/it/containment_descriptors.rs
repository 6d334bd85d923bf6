//! Handlers that close coshell's descriptors, redirect their own, or leave some open. Each case is probed before and after;
//! see `containment.rs`.

use serde_json::Value;

use crate::containment::{Case, fails_with};

#[test]
fn a_handler_that_closes_every_descriptor_is_answered_and_costs_at_most_the_shell() {
    let close = "printf 'a response'\nfor fd in /proc/$$/fd/*; do fd=${fd##*/}; eval \"exec $fd>&-\"; done 2>/dev/null";
    Case::of(close).responds("a response").replaces_the_shell();
    Case::of(&format!("{close}\nfalse"))
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .replaces_the_shell();
    Case::of("printf first\nfor fd in {3..255}; do eval \"exec $fd>&-\"; done\nprintf ' second'")
        .responds("first second")
        .replaces_the_shell();
    Case::of("for fd in {3..255}; do eval \"exec $fd>&-\"; done\nexit 7")
        .run(|sandbox| fails_with(sandbox, &["7"]))
        .replaces_the_shell();
    Case::of("for fd in {60..64}; do eval \"exec $fd>&-\"; done\nprintf on")
        .responds("on")
        .replaces_the_shell();
}

#[test]
fn a_handler_may_close_or_redirect_each_descriptor_of_coshell() {
    for fd in 60..65 {
        Case::of(&format!("printf on; exec {fd}>&-")).responds("on");
        Case::of(&format!("printf on; exec {fd}</dev/null")).responds("on");
        Case::of(&format!("printf on; exec {fd}>&-; printf ' and on'; false"))
            .run(|sandbox| fails_with(sandbox, &["status 1"]));
    }
}

#[test]
fn redirected_standard_descriptors_are_restored() {
    Case::of("printf before; exec 1>&-")
        .responds("before")
        .lives_on();
    Case::of("printf before; exec >\"$LAMBDA_TASK_ROOT/file\"; printf after")
        .responds("before")
        .lives_on();
    Case::of("printf before; exec 1>&2; printf 'into the log\\n'")
        .responds("before")
        .lives_on()
        .logs("into the log");
    Case::of("exec 2>/dev/null; echo lost >&2; printf on")
        .responds("on")
        .lives_on()
        .does_not_log("lost");
    Case::of("exec 2>&1; echo 'as response' >&2; printf on")
        .responds("as response\non")
        .lives_on();
    Case::of("exec 2>&-; printf on").responds("on").lives_on();
    Case::of("exec 2>/dev/null; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
    Case::of("exec </dev/null; cat; printf on")
        .responds("on")
        .lives_on();
    Case::of("exec <&-; printf on").responds("on").lives_on();
    Case::of("exec >/dev/full; printf x; printf y")
        .run(|sandbox| fails_with(sandbox, &["No space left"]))
        .lives_on();
}

#[test]
fn descriptors_that_the_handler_opens_are_closed() {
    Case::of("exec 3<\"$LAMBDA_TASK_ROOT/lib.sh\"; read -r x <&3; printf '%s' \"$x\"")
        .responds("lib_exits() {")
        .lives_on();
    Case::of("exec {fd}>\"$LAMBDA_TASK_ROOT/file\"; printf x >&$fd; printf on")
        .responds("on")
        .lives_on();
    Case::of("for i in {20..50}; do eval \"exec $i<>/dev/null\"; done; printf on")
        .responds("on")
        .lives_on();
    Case::of("coproc cat; printf on")
        .logs_later()
        .responds("on");
    Case::of("exec 9>\"$LAMBDA_TASK_ROOT/lock\"; flock 9; printf on")
        .responds("on")
        .lives_on();
    Case::of("exec 99<>/dev/null 200<>/dev/null; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
}

#[test]
fn a_handler_may_read_any_part_of_the_event() {
    Case::of("read -r -n 1 x; printf '%s' \"$x\"")
        .responds("b")
        .lives_on();
    Case::of("cat; cat; cat /dev/stdin; cat <&61 2>/dev/null || :").run(|sandbox| {
        let response = sandbox.respond("bad");
        assert!(response.starts_with(b"bad"), "{}", response.escape_ascii());
        Value::Null
    });
    Case::of("head -c 1; cat").responds("bad").lives_on();
}
