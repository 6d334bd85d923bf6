//! What a reader relies on: the tree in CONTRIBUTING.md, twins that agree, one room for `unsafe`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository_file;

fn text(path: &str) -> String {
    fs::read_to_string(repository_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file under `folder`, by its path from the repository's root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(repository_file(&folder.to_string_lossy())).expect("a folder");
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<String> {
    let is_rust = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "rs");
    files(folder).into_iter().filter(is_rust).collect()
}

/// CI sets this once: a failing test has to fail the run.
#[test]
fn fails_when_told_to() {
    assert!(std::env::var_os("COSHELL_TEST_FAIL").is_none(), "told to");
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
            unsafe_lines.is_empty() || path.starts_with("src/sys/") || is_tidy,
            "{path}: {unsafe_lines:?}"
        );
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    for path in rust_files("src/sys") {
        let text = text(&path);
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
    for path in rust_files("src") {
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
        ("tests/it/support", "tests/it/support/mod.rs"),
    ] {
        let map_text = text(map);
        for path in rust_files(folder) {
            let name = path
                .strip_prefix(&format!("{folder}/"))
                .and_then(|name| name.strip_suffix(".rs"));
            let name = name.filter(|name| !name.contains('/') && !matches!(*name, "main" | "mod"));
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
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
}

/// The words between `start` and what ends a name, wherever `start` stands in `text`.
fn names_after<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let ends = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
    text.match_indices(start)
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest[start.len()..]
                .find(ends)
                .map_or(rest.len(), |end| end + start.len());
            &rest[..end]
        })
        .collect()
}

fn rust_side() -> String {
    let both = rust_files("src/shell").into_iter().map(|path| text(&path));
    // Unit tests imitate what the driver says.
    both.map(|text| {
        text.split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .to_owned()
    })
    .collect()
}

/// Both halves of the driver, and what is read with the second.
fn driver() -> String {
    let parts = ["driver", "seldom", "lambda"];
    parts
        .map(|name| text(&format!("runtime-scripts/{name}.bash")))
        .concat()
}

#[test]
fn protocol_and_driver_agree_on_their_names() {
    let (driver, rust) = (driver(), rust_side());
    let functions: BTreeSet<_> = driver
        .lines()
        .filter_map(|line| line.split_once("() {").map(|(name, _)| name.trim()))
        .collect();
    assert!(
        functions.contains("__driver_died") && functions.contains(","),
        "{functions:?}"
    );
    for name in names_after(&rust, "__driver_") {
        let uses = [format!("{name}="), format!("${name}"), format!("${{{name}")];
        let is_prefix = name == "__driver_";
        assert!(
            is_prefix || functions.contains(name) || uses.iter().any(|text| driver.contains(text)),
            "{name} of src/shell is not in the driver"
        );
    }
    // The functions that the host calls line by line.
    for name in [",,", ",,,"] {
        assert!(functions.contains(name), "the driver defines no {name}");
        assert!(
            rust.contains(&format!("{name} ")),
            "src/shell calls no {name}"
        );
    }
    // Each function of ours but `exit` keeps to its prefix, and none of those can be redefined; what
    // is offered to handlers can, since a file may have had one of that name before we did.
    let joined = driver.replace("\\\n", " ");
    let readonly = joined
        .lines()
        .filter_map(|line| line.strip_prefix("builtin readonly -f "));
    let readonly: BTreeSet<_> = readonly.flat_map(str::split_whitespace).collect();
    let is_offered = |name: &str| name == "exit" || name.starts_with("lambda_");
    for name in functions.into_iter().filter(|name| !is_offered(name)) {
        assert!(
            name.starts_with("__driver_") || name.starts_with(','),
            "{name}"
        );
        assert!(readonly.contains(name), "{name} can be redefined");
    }
}

#[test]
fn protocol_and_driver_agree_on_their_numbers() {
    let (driver, protocol) = (
        text("runtime-scripts/driver.bash"),
        text("src/shell/protocol.rs"),
    );
    let number = |name: &str| {
        let declared = format!("const {name}: i32 = ");
        let value = protocol.lines().find_map(|line| line.split_once(&declared));
        value
            .and_then(|(_, value)| value.trim_end_matches(';').parse::<i32>().ok())
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let ours = ["ARGUMENTS", "EVENT", "RESPONSE", "CONTROL", "LOG", "SELDOM"];
    for (at, name) in (0..).zip(ours) {
        let inherited = number(&format!("INHERITED_{name}"));
        assert_eq!(inherited, 70 + at, "{name}");
        for words in [
            format!("{}>&{}", 60 + at, 10 + at),
            format!("{inherited}>&-"),
        ] {
            assert!(driver.contains(&words), "driver.bash does not say: {words}");
        }
        let word = name.to_lowercase();
        let described =
            |line: &str| line.starts_with(&format!("#   {} ", 60 + at)) && line.contains(&word);
        assert!(
            driver.lines().any(described),
            "the head of driver.bash does not describe {}, {word}",
            60 + at
        );
    }
    assert_eq!(
        (number("INHERITED_DRIVER"), number("INHERITED_SCRIPT")),
        (76, 77)
    );
    assert_eq!(number("RESPONSE"), 62);
    assert!(protocol.contains("= 60..=65;"), "OUR_DESCRIPTORS");
    assert!(
        driver.contains("<&61 >&62")
            && driver.contains("exec >&63")
            && driver.contains(". /dev/fd/65")
    );
}

/// The words of the reports, as the driver sets them and as `protocol.rs` and `failure.rs` read them.
#[test]
fn protocol_and_driver_agree_on_their_words() {
    let (driver, rust) = (driver(), rust_side());
    let kinds: BTreeSet<_> = driver
        .split("__driver_kind=")
        .skip(1)
        .map(|rest| {
            rest.trim_start_matches('\'')
                .split(|letter: char| !letter.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default()
        })
        .filter(|kind| !kind.is_empty())
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from([
            "errexit", "exit", "exited", "idle", "load", "options", "return"
        ])
    );
    // `return` and `load` are what is left when it is no other.
    for kind in ["errexit", "exit", "exited", "idle", "options"] {
        assert!(
            rust.contains(&format!("\"{kind}\"")),
            "src/shell does not read {kind}"
        );
    }
    for word in ["ready", "undefined"] {
        assert!(
            driver.contains(&format!("%s {word} %s")),
            "the driver does not say {word}"
        );
    }
    assert!(rust.contains("\"ready\""));
    assert!(driver.contains(" died ") && rust.contains("died"));
    assert!(driver.contains("'started\\0'") && rust.contains("started"));
}

#[test]
fn the_protocol_is_drawn() {
    let drawn = text("docs/protocol.md");
    for word in [
        "ready",
        "undefined",
        "return",
        "exit",
        "errexit",
        "died",
        "60",
        "61",
        "62",
        "63",
        "64",
        ",,",
        ",,,",
    ] {
        assert!(drawn.contains(word), "docs/protocol.md has no {word}");
    }
}

/// A line of the tree in CONTRIBUTING.md: its path from the root, folders with a slash at their end.
fn drawn_tree() -> BTreeSet<String> {
    let contributing = text("CONTRIBUTING.md");
    let blocks = contributing.split("```").skip(1).step_by(2);
    let tree = blocks
        .into_iter()
        .find(|block| block.contains("\nsrc/"))
        .expect("a tree");
    let mut folders: Vec<&str> = Vec::new();
    let mut found = BTreeSet::new();
    for line in tree.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let name = line.split_whitespace().next().expect("a name");
        // A line that goes on with an explanation is indented to it.
        if depth > folders.len() {
            continue;
        }
        folders.truncate(depth);
        found.insert(format!("{}{name}", folders.concat()));
        if name.ends_with('/') {
            folders.push(name);
        }
    }
    found
}

/// What the tree shows by its folder alone.
const SUMMED_UP: [&str; 7] = [
    "src/cli/samples/",
    "tests/fixtures/handlers/",
    "tests/fixtures/lambda-logs/",
    "tests/fixtures/scripts/",
    "tests/image/task/",
    "bench/results/",
    "bench/scenarios/handlers/",
];

#[test]
fn every_file_on_the_disk_is_in_the_tree() {
    let drawn = drawn_tree();
    let is_drawn = |path: &str| {
        let summed_up = SUMMED_UP
            .into_iter()
            .any(|folder| path.starts_with(folder) && drawn.contains(folder));
        drawn.contains(path) || summed_up
    };
    let mut missing = Vec::new();
    for folder in [
        "src",
        "runtime-scripts",
        "tests",
        "bench",
        "docs",
        "examples",
    ] {
        for path in files(folder) {
            // An example is a folder, whatever is in it.
            let example = path
                .strip_prefix("examples/")
                .and_then(|path| path.split_once('/'));
            let by_folder =
                example.is_some_and(|(name, _)| drawn.contains(&format!("examples/{name}/")));
            if !is_drawn(&path) && !by_folder {
                missing.push(path);
            }
        }
    }
    for path in [
        "Cargo.toml",
        "Makefile",
        "Dockerfile",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
    ] {
        if !drawn.contains(path) {
            missing.push(path.to_owned());
        }
    }
    assert!(
        missing.is_empty(),
        "not in the tree of CONTRIBUTING.md: {missing:#?}"
    );
}

#[test]
fn everything_in_the_tree_is_on_the_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawn = drawn_tree();
    assert!(drawn.len() > 20, "{drawn:?}");
    let is_there = |path: &String| {
        let place = root.join(path.trim_end_matches('/'));
        if path.ends_with('/') {
            place.is_dir()
        } else {
            place.is_file()
        }
    };
    let missing: Vec<_> = drawn.iter().filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "not on the disk: {missing:#?}");
}

/// A module opens with its line, and the tree of the repository has the same files.
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
