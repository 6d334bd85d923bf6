//! What a reader relies on: files that say what they are, twins that agree, one room for `unsafe`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::{driver_text, repository_file};

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

/// A page's lines outside of code blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut fence = None;
    let is_prose = |line: &&str| {
        let ticks = line.trim_start();
        let length = ticks.len() - ticks.trim_start_matches('`').len();
        match fence {
            None if length >= 3 => fence = Some(length),
            Some(opened) if length >= opened => fence = None,
            inside => return inside.is_none(),
        }
        false
    };
    page.lines().filter(is_prose).collect()
}

/// `line` without what stands between backquotes.
fn without_code(line: &str) -> String {
    let (mut rest, mut found) = (line, String::new());
    while let Some(start) = rest.find('`') {
        let code = &rest[start..];
        let inner = code.trim_start_matches('`');
        let ticks = &code[..code.len() - inner.len()];
        found.push_str(&rest[..start]);
        rest = inner
            .split_once(ticks)
            .map_or("", |(_, after)| after.trim_start_matches('`'));
    }
    found + rest
}

/// Where the links of `page` lead, but for those that leave the repository.
fn relative_links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        let targets = line.split("](").skip(1);
        found.extend(
            targets
                .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
                .filter(|target| !target.contains("://")),
        );
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(page) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let mut numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let mut free = anchor.clone();
        while found.contains(&free) {
            free = numbered.next().expect("a number");
        }
        found.insert(free);
    }
    found
}

fn doc_pages() -> Vec<String> {
    let is_page = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "md");
    files("docs").into_iter().filter(is_page).collect()
}

/// What people read, but for what earlier programs printed.
fn all_pages() -> Vec<String> {
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let is_page = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "md");
    let folders = ["docs", "examples", "bench"].into_iter().flat_map(files);
    let found = folders.filter(is_page);
    let found = found.filter(|path| !path.starts_with("bench/results"));
    top.map(ToOwned::to_owned)
        .into_iter()
        .chain(found)
        .collect()
}

/// A reader finds the way in within one screen, and then reads a page about one task.
#[test]
fn pages_are_short() {
    for path in all_pages() {
        let limit = match path.as_str() {
            "README.md" => 190,
            "ARCHITECTURE.md" => 200,
            "CONTRIBUTING.md" => 70,
            // It grows with each version.
            "CHANGELOG.md" => continue,
            _ => 150,
        };
        let count = text(&path).lines().count();
        assert!(
            count <= limit,
            "{path} has {count} lines, and may have {limit}"
        );
    }
}

#[test]
fn contents_pages_link_every_page() {
    let summary = relative_links(&text("docs/SUMMARY.md"));
    for path in doc_pages() {
        let name = path.trim_start_matches("docs/");
        // docs/deploy.md is the contents page of docs/deploy; a folder without such a page has a README.md.
        let contents = match name.split_once('/') {
            None => "docs/README.md".to_owned(),
            Some((folder, _)) => {
                let page = format!("docs/{folder}.md");
                if repository_file("docs")
                    .join(format!("{folder}.md"))
                    .exists()
                {
                    page
                } else {
                    format!("docs/{folder}/README.md")
                }
            }
        };
        let folder = Path::new(&contents).parent().expect("a folder");
        let linked = relative_links(&text(&contents)).into_iter();
        let mut linked = linked.map(|target| folder.join(target));
        assert!(
            path == contents || linked.any(|target| target == Path::new(&path)),
            "{contents} does not link {name}"
        );
        assert!(
            name == "SUMMARY.md" || summary.iter().any(|target| target == name),
            "docs/SUMMARY.md does not link {name}"
        );
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = all_pages().into_iter();
    let (root, mut wrong) = (repository_file("."), Vec::new());
    for path in pages {
        let page = text(&path);
        for target in relative_links(&page) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&path).parent().unwrap_or(Path::new(""));
            let file = match file {
                "" => PathBuf::from(&path),
                _ => folder.join(file),
            };
            let file = file.to_string_lossy();
            let is_there = root.join(&*file).exists();
            let has_heading = || anchor.is_empty() || anchors(&text(&file)).contains(anchor);
            if !is_there || target.is_empty() || !has_heading() {
                wrong.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Links and headings in code do not count.
#[test]
fn links_and_headings_are_found() {
    let page = "# One `two`: three\n[a](b.md#c) `[d](e)` [`f`](g) [h](https://i)\n```sh\n# no\n```\n## x_y-z\n## x_y-z\n";
    assert_eq!(relative_links(page), ["b.md#c", "g"]);
    let expected = ["one-two-three", "x_y-z", "x_y-z-1"].map(ToOwned::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
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
