//! Runs typical handlers under the tutorial's bootstrap and under ours, and compares the response bytes.
//!
//! The tutorial's bootstrap runs in POSIX mode, like `/bin/sh` on Amazon Linux, and calls the handler in `$(...)`. Handlers
//! for which that makes a difference are in [`KNOWN_DIFFERENCES`], with both outcomes and the reason. `docs/tutorial.md` has
//! the same list.

use std::fs;

use support::seeded::find_problems;
use support::{Event, Sandbox, SandboxBuilder, excerpt, repository_file};

const HANDLERS: &str = "tests/fixtures/handlers";

/// The file name of a handler without `.sh`, and two events for it.
type Case = (&'static str, [&'static str; 2]);

const SAME: &[Case] = &[
    (
        "echoes_argument",
        ["hello", "{\"a\": [1, 2],\n \"b\": \"x  y\"}"],
    ),
    ("echoes_unquoted", ["a   b\n\n c", "x /etc/host* ? *"]),
    (
        "prints_argument",
        [
            "Hello from Container Lambda!",
            "%s \\n $(id) `id` \"q\" 's'",
        ],
    ),
    ("prints_several_lines", ["one", "a %s b"]),
    ("quotes_every_way", ["event", "$HOME \"x\""]),
    (
        "prints_here_document",
        ["text", "with \"quotes\" and $HOME"],
    ),
    ("prints_quoted_here_document", ["x", "two\nlines"]),
    ("prints_here_string", ["abc", "two\nlines"]),
    (
        "greets_by_sed",
        ["{\"id\": 1, \"name\": \"Ada\"}", "{\"id\": 2}"],
    ),
    (
        "lists_numbers_by_grep",
        [
            "{\"b\": 20, \"a\": 3}",
            "{\"x\":1,\"name\":\"n\",\"y\" : 42}",
        ],
    ),
    ("sums_by_awk", ["{\"a\":1,\"b\":2.5}", "{\"x\":10}"]),
    (
        "matches_regex",
        ["{\"id\": 42, \"tag\": \"blue\"}", "{\"id\": \"x\"}"],
    ),
    ("escapes_json", ["plain", "a \"b\" \\ c\n\td"]),
    ("unescapes_json", ["a\\tb\\nc", "\\u00e9 \\x41 \\\\"]),
    ("walks_array", ["a b c", "  x   y "]),
    ("joins_array", ["three", "a b"]),
    ("edits_array", ["new", "a b"]),
    ("counts_words", ["a b a c a b", "x"]),
    ("dispatches_by_case", ["stop", "7 dwarfs"]),
    ("falls_through_case", ["abc", "xyz"]),
    ("counts_up", ["3", "12"]),
    ("counts_down", ["2", "5"]),
    ("breaks_out_of_loops", ["c2", "none"]),
    ("reads_lines", ["a\n  b  \n\\c", "one"]),
    ("reads_lines_of_process", ["a\nb", "  x  \n\ny"]),
    ("reads_fields", ["root:x:0:0:root:/root:/bin/bash", "a:b:c"]),
    ("reverses_lines", ["1\n2\n3", "x\n\ny"]),
    ("nests_substitutions", ["x", "a b"]),
    ("uses_backquotes", ["12345", "\u{e9}"]),
    ("ranks_words", ["the cat and the dog and the bird", "one"]),
    ("loses_variable_in_pipeline", ["1,2,3", "4"]),
    ("survives_failing_pipeline", ["abc", "no-such-text"]),
    ("calls_functions", ["  x  ", "a b"]),
    ("shadows_variables", ["local", "x y"]),
    ("recurses", ["1", "10"]),
    ("returns_early", ["short", "long"]),
    ("exits_0_after_printing", ["a", "b"]),
    ("exits_0_in_nested_function", ["a", "b"]),
    ("exits_subshell", ["a", "b"]),
    ("switches_errexit_off", ["a", "no-such-text"]),
    ("tests_failing_commands", ["yes", "no"]),
    ("has_defaults_for_unset", ["x", ""]),
    ("switches_nounset_off", ["x", ""]),
    ("switches_pipefail_off", ["x", "y"]),
    ("prints_in_exit_trap", ["Ada", "Bob"]),
    ("prints_in_exit_trap_after_exit", ["leave", "stay"]),
    ("cleans_up_in_exit_trap", ["x", "a\nb"]),
    ("traps_err", ["x", "y"]),
    ("traps_signal", ["x", "y"]),
    ("traps_return", ["x", "y"]),
    ("isolates_in_subshell", ["x", "y"]),
    ("groups_output", ["a", "x,y"]),
    ("makes_noise_on_stderr", ["x", "y"]),
    ("joins_stderr_to_stdout", ["x", "y"]),
    ("writes_temporary_file", ["x", "a\nb"]),
    ("works_in_temporary_folder", ["x", "y"]),
    ("changes_folder", ["x", "y"]),
    ("finds_everything_as_at_first", ["first", "second"]),
    ("splits_by_ifs", ["a,b c,d", "one"]),
    ("quotes_by_printf", ["it's $HOME", "a\nb\t\"c\""]),
    ("formats_by_printf", ["42", "7"]),
    ("cuts_strings", ["x/a=b.tar.gz", "banana.txt"]),
    (
        "changes_case",
        ["hELLO wORLD", "\u{e4}\u{f6}\u{fc} \u{e9}a"],
    ),
    ("calculates", ["5", "10"]),
    ("formats_date", ["0", "1700000000"]),
    ("sorts_numbers", ["10 9 2 33", "1"]),
    ("picks_columns", ["a,b,c", "left,right"]),
    ("counts_text", ["one two\nthree", "x"]),
    ("shows_head_and_tail", ["10", "5"]),
    ("encodes_base64", ["hello", "a\nb \u{e9}"]),
    ("hashes", ["hello", "a\nb \u{e9}"]),
    ("sources_library", ["ab", "x y"]),
    ("uses_globals_of_file", ["red", "blue"]),
    ("has_readonly_names", ["x", "y"]),
    (
        "counts_characters",
        ["abc", "\u{e4}\u{f6}\u{6f22}\u{1f389}"],
    ),
    ("prints_unicode", ["x", "\u{f1}"]),
    ("prints_long_line", ["20000", "1"]),
    ("prints_many_lines", ["3", "5000"]),
    ("ends_with_newlines", ["x", "a\nb"]),
    ("begins_with_newlines", ["x", "a\nb"]),
    ("globs_unquoted", ["x", "/etc/host*"]),
    ("echoes_with_options", ["x", "-n"]),
    ("takes_positional_words", ["a b c", "one"]),
    ("parses_options", ["-v -n Ada rest", "-x -n"]),
    ("compares_processes", ["a b", "a c"]),
    ("waits_for_background", ["x", "y"]),
    ("runs_in_parallel", ["x", "y"]),
    ("collects_background_status", ["x", "y"]),
    ("reads_own_descriptor", ["a\nb", "only"]),
    ("swaps_descriptors", ["x", "y"]),
    ("redirects_for_good", ["x", "y"]),
    ("writes_to_dev_stdout", ["x", "y"]),
    ("evaluates", ["x", "a b"]),
    ("points_to_variables", ["x", "it's"]),
    ("expands_braces", ["x", "a b"]),
    ("matches_extended_globs", ["123", "filexx"]),
    ("finds_no_files", ["x", "y"]),
    ("sets_locale_for_command", ["x", "\u{c4}"]),
    ("exports_to_programs", ["x", "y z"]),
    ("splits_paths", ["/a/b/c.txt", "name.txt"]),
    ("turns_csv_into_json", ["Ada,36\nBob,7", "x,1"]),
    ("decodes_url", ["a+b%20c%2Fd", "x%3D%C3%A9"]),
    ("escapes_html", ["<a href=\"x\">&</a>", "plain"]),
    ("answers_as_api_gateway", ["hello \"x\"", ""]),
    ("names_itself", ["x", "y"]),
    ("feeds_loops_by_seq", ["3", "10"]),
    ("tests_files", ["x", ""]),
    ("lets_xargs_run", ["a b", "one"]),
    ("uses_co_process", ["abc", "x y"]),
    ("limits_time", ["x", "y"]),
    ("overrides_commands", ["x", "y"]),
    ("keeps_counter", ["x", "y"]),
    ("keeps_function", ["x", "y"]),
];

/// The outcome of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Response(Vec<u8>),
    /// An error with this errorType.
    Error(String),
    /// The process ended with this status without an answer.
    Died(i32),
}

impl Outcome {
    fn describe(&self) -> String {
        match self {
            Self::Response(bytes) => format!("response {}", excerpt(bytes)),
            other => format!("{other:?}"),
        }
    }
}

struct Difference {
    handler: &'static str,
    events: [&'static str; 2],
    reason: &'static str,
    /// One outcome for each event; only one if the process died at the first event.
    tutorial: &'static [KnownOutcome],
    ours: &'static [KnownOutcome],
}

/// An [`Outcome`] as a constant.
enum KnownOutcome {
    Response(&'static str),
    /// This many times `x`, then this text.
    Long(usize, &'static str),
    Error(&'static str),
    Died(i32),
}

impl KnownOutcome {
    fn to_outcome(&self) -> Outcome {
        match self {
            Self::Response(text) => Outcome::Response(text.as_bytes().to_vec()),
            Self::Long(len_bytes, text) => Outcome::Response(
                ["x".repeat(*len_bytes).as_str(), text]
                    .concat()
                    .into_bytes(),
            ),
            Self::Error(error_type) => Outcome::Error((*error_type).to_owned()),
            Self::Died(status) => Outcome::Died(*status),
        }
    }
}

use KnownOutcome::{Died, Error, Long, Response};

const KNOWN_DIFFERENCES: &[Difference] = &[
    Difference {
        handler: "prints_nul",
        events: ["x", "y"],
        reason: "a NUL in the output is kept, where `$(...)` drops it",
        tutorial: &[Response("ab x"), Response("ab y")],
        ours: &[Response("a\0b x"), Response("a\0b y")],
    },
    Difference {
        handler: "reads_standard_input",
        events: ["abc\n", "x"],
        reason: "standard input is the event, not bootstrap's own standard input",
        tutorial: &[Response("argument 3"), Response("argument 1")],
        ours: &[Response("argument 3\nabc"), Response("argument 1\nx")],
    },
    Difference {
        handler: "answers_with_file_name",
        events: ["/dev/null", "no-such-file"],
        reason: "a response that begins with @ is not taken for a file name",
        tutorial: &[Response(""), Response("")],
        ours: &[Response("@/dev/null"), Response("@no-such-file")],
    },
    Difference {
        handler: "prints_128_kib",
        events: ["x", "y"],
        reason: "a response is not passed as an argument, which may have at most 128 KiB",
        tutorial: &[Died(126)],
        ours: &[Long(131_072, "x"), Long(131_072, "y")],
    },
    Difference {
        handler: "returns_3",
        events: ["x", "y"],
        reason: "a failing handler is an answer, not a dead runtime",
        tutorial: &[Died(3)],
        ours: &[
            Error("Function.HandlerFailed"),
            Error("Function.HandlerFailed"),
        ],
    },
    Difference {
        handler: "exits_4",
        events: ["x", "y"],
        reason: "a handler that exits is an answer, not a dead runtime",
        tutorial: &[Died(4)],
        ours: &[
            Error("Function.HandlerExited"),
            Error("Function.HandlerExited"),
        ],
    },
    Difference {
        handler: "uses_unset_variable",
        events: ["x", "y"],
        reason: "an unset variable is an error of that invocation, not a dead runtime",
        tutorial: &[Died(1)],
        ours: &[Error("Function.ShellExited"), Error("Function.ShellExited")],
    },
    Difference {
        handler: "fails_in_the_middle",
        events: ["x", "y"],
        reason: "a failing command is an error of that invocation, not a dead runtime",
        tutorial: &[Died(1)],
        ours: &[
            Error("Function.CommandFailed"),
            Error("Function.CommandFailed"),
        ],
    },
    Difference {
        handler: "ends_with_failing_test",
        events: ["no", "yes"],
        reason: "a handler whose last test fails is an answer, not a dead runtime",
        tutorial: &[Died(1)],
        ours: &[Error("Function.HandlerFailed"), Response("printed\nyes")],
    },
    Difference {
        handler: "fails_in_substitution",
        events: ["x", "y"],
        reason: "`set -e` reaches into `$(...)` in both, and a failing handler is an error, not a dead runtime",
        tutorial: &[Died(1)],
        ours: &[
            Error("Function.CommandFailed"),
            Error("Function.CommandFailed"),
        ],
    },
    Difference {
        handler: "leaves_child_behind",
        events: ["x", "y"],
        reason: "a leftover process neither delays the response nor adds to it",
        tutorial: &[Response("now x\nlate x"), Response("now y\nlate y")],
        ours: &[Response("now x"), Response("now y")],
    },
    Difference {
        handler: "shows_its_exit_trap",
        events: ["x", "y"],
        reason: "our EXIT trap is the driver's; POSIX mode also lists a trap that is not set",
        tutorial: &[Response("trap -- - EXIT\nx"), Response("trap -- - EXIT\ny")],
        ours: &[
            Response("trap -- '\\__driver_rare __driver_on_exit \"$?\"' EXIT\nx"),
            Response("trap -- '\\__driver_rare __driver_on_exit \"$?\"' EXIT\ny"),
        ],
    },
    Difference {
        handler: "tells_posix_mode",
        events: ["x", "y"],
        reason: "our shell is not in POSIX mode",
        tutorial: &[Response("posix"), Response("posix")],
        ours: &[Response("bash"), Response("bash")],
    },
];

/// A sandbox with a handler's file as `function.sh`, with the library, and with its own folder for temporary files.
fn sandbox_with(handler: &str) -> SandboxBuilder {
    let read = |name: &str| {
        let file = repository_file(&format!("{HANDLERS}/{name}"));
        fs::read(file).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
    };
    let builder = Sandbox::empty()
        .file("function.sh", read(&format!("{handler}.sh")))
        .file("lib/strings.sh", read("lib/strings.sh"))
        .file("tmp/here", "");
    let temporary = builder
        .task_root()
        .path()
        .join("tmp")
        .to_string_lossy()
        .into_owned();
    builder.env("TMPDIR", temporary)
}

fn outcomes(builder: SandboxBuilder, events: [&str; 2]) -> Vec<Outcome> {
    let sandbox = builder.start();
    let mut outcomes = Vec::new();
    for event in events {
        let event = Event::fresh(event);
        let request_id = event.request_id.clone();
        sandbox.api.push(event);
        let outcome = match sandbox.api.wait_answer_or_exit(&request_id) {
            Ok(answer) if answer.is_response() => Outcome::Response(answer.body),
            Ok(answer) => Outcome::Error(
                answer.error_document()["errorType"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            Err(status) => Outcome::Died(status.code().unwrap_or(-1)),
        };
        let is_dead = matches!(outcome, Outcome::Died(_));
        outcomes.push(outcome);
        if is_dead {
            break;
        }
    }
    outcomes
}

/// Calls `check` for every item, four at a time. Fails with all problems that it returned.
#[track_caller]
fn check_all<T: Sync>(items: &[T], check: impl Fn(&T) -> Option<String> + Sync) {
    let problems = find_problems(items.len(), 4, |index| check(&items[index]));
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        items.len(),
        problems.join("\n")
    );
}

fn describe(outcomes: &[Outcome]) -> String {
    let lines: Vec<_> = outcomes.iter().map(Outcome::describe).collect();
    lines.join("\n            ")
}

#[test]
fn handlers_give_the_same_response_bytes() {
    assert!(SAME.len() >= 60, "{} handlers are too few", SAME.len());
    check_all(SAME, |(handler, events)| {
        let tutorial = outcomes(sandbox_with(handler).tutorial(), *events);
        let ours = outcomes(sandbox_with(handler), *events);
        let is_response =
            |outcome: &Outcome| matches!(outcome, Outcome::Response(bytes) if !bytes.is_empty());
        // If the handler fails or prints nothing under the tutorial, the comparison proves nothing.
        let is_proof = tutorial.len() == 2 && tutorial.iter().all(is_response);
        let is_same = is_proof && tutorial == ours;
        (!is_same).then(|| {
            format!(
                "{handler}:\n  tutorial: {}\n  ours:     {}",
                describe(&tutorial),
                describe(&ours)
            )
        })
    });
}

#[test]
fn the_known_differences_are_exact() {
    // Before 5.1 the tutorial's bootstrap does not run in POSIX mode here; see `SandboxBuilder::tutorial`.
    if support::bash_version() < (5, 1) {
        return;
    }
    check_all(KNOWN_DIFFERENCES, |known| {
        let expected = |known: &[KnownOutcome]| {
            known
                .iter()
                .map(KnownOutcome::to_outcome)
                .collect::<Vec<_>>()
        };
        let sides = [
            (
                "tutorial",
                expected(known.tutorial),
                outcomes(sandbox_with(known.handler).tutorial(), known.events),
            ),
            (
                "ours",
                expected(known.ours),
                outcomes(sandbox_with(known.handler), known.events),
            ),
        ];
        assert!(
            sides[0].1 != sides[1].1,
            "{} is no difference",
            known.handler
        );
        let wrong = sides
            .iter()
            .filter(|(_, expected, actual)| expected != actual);
        let wrong: Vec<_> = wrong
            .map(|(side, expected, actual)| {
                format!(
                    "  {side}: expected {}\n  got {}",
                    describe(expected),
                    describe(actual)
                )
            })
            .collect();
        (!wrong.is_empty()).then(|| {
            format!(
                "{} ({}):\n{}",
                known.handler,
                known.reason,
                wrong.join("\n")
            )
        })
    });
}

#[test]
fn every_handler_file_is_in_exactly_one_table() {
    let mut listed: Vec<_> = SAME.iter().map(|(handler, _)| *handler).collect();
    listed.extend(KNOWN_DIFFERENCES.iter().map(|known| known.handler));
    listed.sort_unstable();
    let count = listed.len();
    listed.dedup();
    assert_eq!(listed.len(), count, "a handler is listed twice");
    let files = fs::read_dir(repository_file(HANDLERS)).expect("cannot list the handlers");
    let mut missing: Vec<_> = files
        .filter_map(|file| {
            Some(
                file.ok()?
                    .file_name()
                    .to_str()?
                    .strip_suffix(".sh")?
                    .to_owned(),
            )
        })
        .filter(|file| !listed.contains(&file.as_str()))
        .collect();
    missing.sort();
    assert!(missing.is_empty(), "no table has {missing:?}");
}
