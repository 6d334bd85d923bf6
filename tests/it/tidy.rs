//! What a reader relies on: files that say what they are, twins that agree, one room for `unsafe`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support::{driver_text, repository_file, repository_files as files, repository_text as text};

fn rust_files(folder: &str) -> Vec<String> {
    let is_rust = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "rs");
    files(folder).into_iter().filter(is_rust).collect()
}

/// CI sets this once: a failing test has to fail the run.
#[test]
fn fails_on_request() {
    assert!(
        std::env::var_os("COSHELL_TEST_FAIL").is_none(),
        "COSHELL_TEST_FAIL is set"
    );
}

#[test]
fn unsafe_is_in_sys_alone() {
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let unsafe_lines: Vec<_> = text(&path)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .filter(|line| {
                line.contains("unsafe {")
                    || line.contains("unsafe fn")
                    || line.contains("unsafe impl")
                    || line.contains("allow(unsafe")
            })
            .map(ToOwned::to_owned)
            .collect();
        let is_tidy = path == "tests/it/tidy.rs";
        assert!(
            unsafe_lines.is_empty() || path == "src/process/sys.rs" || is_tidy,
            "{path}: {unsafe_lines:?}"
        );
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    {
        let path = "src/process/sys.rs";
        let text = text(path);
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.trim_start().starts_with("//") && line.contains("unsafe {") {
                let before = &lines[number.saturating_sub(4)..number];
                assert!(
                    before.iter().any(|line| line.contains("// SAFETY:")),
                    "{path}:{}",
                    number + 1
                );
            }
        }
    }
}

#[test]
fn no_source_file_is_long() {
    let is_program = |path: &String| !path.ends_with("/tests.rs");
    for path in rust_files("src").into_iter().filter(is_program) {
        let count = text(&path).lines().count();
        assert!(count <= 500, "{path} has {count} lines");
    }
}

#[test]
fn no_file_is_a_room_for_anything() {
    for path in ["src", "runtime-scripts", "tests"]
        .into_iter()
        .flat_map(files)
    {
        let rooms = ["util", "utils", "common", "helper", "helpers", "misc"];
        let is_room = Path::new(&path).iter().any(|part| {
            let stem = part.to_string_lossy();
            rooms.contains(&stem.split('.').next().unwrap_or_default())
        });
        assert!(!is_room, "{path}");
    }
}

#[test]
fn every_test_file_is_declared() {
    for (folder, map) in [
        ("tests/it", "tests/it/main.rs"),
        ("tests/compare", "tests/compare/main.rs"),
        ("tests/support", "tests/support/lib.rs"),
    ] {
        let map_text = text(map);
        for path in rust_files(folder) {
            let name = path
                .strip_prefix(&format!("{folder}/"))
                .and_then(|name| name.strip_suffix(".rs"));
            let name = name.filter(|name| !name.contains('/') && !matches!(*name, "main" | "lib"));
            if let Some(name) = name {
                assert!(
                    map_text
                        .lines()
                        .any(|line| line.trim_start_matches("pub ") == format!("mod {name};")),
                    "{path} is not declared in {map}"
                );
            }
        }
    }
}

/// Style: what can fail is named by a sentence.
#[test]
fn no_test_is_named_test() {
    for path in rust_files("tests").into_iter().chain(rust_files("src")) {
        let bad: Vec<_> = text(&path)
            .lines()
            .filter(|line| line.contains(concat!("fn ", "test_")))
            .map(ToOwned::to_owned)
            .collect();
        assert!(bad.is_empty(), "{path}: {bad:?}");
    }
}

fn version() -> String {
    let manifest = text("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "));
    version.expect("a version").trim_matches('"').to_owned()
}

#[test]
fn changelog_begins_with_what_is_unreleased_and_then_this_version() {
    let changelog = text("CHANGELOG.md");
    let heads: Vec<_> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    assert_eq!(heads.first().copied(), Some("Unreleased"));
    let newest = heads.get(1).and_then(|head| head.split([' ', ',']).next());
    assert_eq!(
        newest.map(|head| head.trim_matches(['[', ']'])),
        Some(version().as_str())
    );
}

/// `check` knows the variables that `lambda_request` assigns.
#[test]
fn the_variables_of_a_request_are_known_to_check() {
    let quoted = |path: &str, begin: &str| -> BTreeSet<String> {
        let code = text(path);
        let (_, rest) = code.split_once(begin).expect("the names");
        let (list, _) = rest.split_once("];").expect("their end");
        let names = list.split('"').skip(1).step_by(2);
        names.map(ToOwned::to_owned).collect()
    };
    let assigned = quoted("src/calls/request.rs", "let variables = [");
    assert!(assigned.contains("method"), "{assigned:?}");
    let known = quoted("src/check/shellcheck.rs", "OF_REQUEST: [&str; 12] = [");
    assert_eq!(known, assigned);
}

/// `check` knows the functions that the host answers.
#[test]
fn the_names_of_calls_are_known_everywhere() {
    let calls = text("src/bootstrap/calls/mod.rs");
    let (_, rest) = calls
        .split_once("pub(crate) const FUNCTIONS")
        .expect("the names");
    let (_, rest) = rest.split_once("= [").expect("a list");
    let (names, _) = rest.split_once(']').expect("its end");
    let names: BTreeSet<_> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.contains("get") && names.len() > 5, "{names:?}");
    let known = text("src/check/commands.rs");
    for name in names {
        assert!(known.contains(&format!("lambda_{name}")), "{name}");
    }
}

/// Names of functions in the text of the driver.
fn functions(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split_once("() {").map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with('#'))
        .collect()
}

const DRIVER: [&str; 11] = [
    "driver",
    "older",
    "hide_builtin",
    "invocation",
    "restore",
    "keep",
    "rare",
    "lambda",
    "calls",
    "command",
    "subshell",
];

#[test]
fn no_name_of_the_driver_is_spelled_in_rust() {
    for path in rust_files("src/bootstrap") {
        for (number, line) in text(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!code.contains("__driver_"), "{path}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn each_function_that_ships_has_a_long_name() {
    let names = driver_text(&["names"]);
    let long: BTreeMap<_, _> = names
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(long, short)| (short, long))
        .collect();
    assert_eq!(long.len(), names.lines().count(), "two names ship as one");
    for file in DRIVER {
        let (shipped, readable) = (
            driver_text(&["shipped", file]),
            driver_text(&["long", file]),
        );
        let expected = functions(&readable);
        let found = functions(&shipped).into_iter();
        let found: BTreeSet<_> = found
            .map(|name| long.get(name).copied().unwrap_or(name))
            .collect();
        assert_eq!(found, expected, "{file}");
        assert!(!expected.is_empty(), "{file}");
    }
}

/// Each function of ours but `exit` keeps to its prefix, and none of those can be redefined. The ones that are offered to
/// handlers can, since a file may have had one of that name before we did.
#[test]
fn no_function_of_the_driver_can_be_redefined() {
    let text = driver_text(&[&["long"], &DRIVER[..]].concat());
    let joined = text.replace("\\\n", " ");
    let readonly = joined
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("builtin readonly -f "));
    let readonly: BTreeSet<_> = readonly.flat_map(str::split_whitespace).collect();
    for name in functions(&text).into_iter().filter(|name| *name != "exit") {
        assert!(
            name.starts_with("__driver_") || name.starts_with(','),
            "{name}"
        );
        // The host makes these two for each file.
        let is_made = matches!(name, "__driver_reset" | "__driver_show");
        assert!(
            readonly.contains(name) || is_made,
            "{name} can be redefined"
        );
    }
}

#[test]
fn the_page_of_the_protocol_has_the_tables_of_the_build() {
    let page = text("docs/protocol.md");
    for table in driver_text(&["tables"]).split("\n\n") {
        assert!(
            page.contains(table.trim()),
            "docs/protocol.md lacks:\n{table}"
        );
    }
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(
            text(&path).starts_with("//! "),
            "{path} does not open with a //! line"
        );
    }
}

#[test]
fn scripts_say_what_they_are() {
    for path in files("runtime-scripts").into_iter().chain(files("tests")) {
        let is_bash = Path::new(&path)
            .extension()
            .is_some_and(|kind| kind == "bash");
        if is_bash {
            assert!(
                text(&path).starts_with("# shellcheck shell=bash\n"),
                "{path}"
            );
            let mode = fs::metadata(repository_file(&path)).expect("a file");
            assert_eq!(
                std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o111,
                0,
                "{path} is sourced, not run"
            );
        }
    }
}
