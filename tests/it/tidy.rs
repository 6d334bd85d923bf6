//! What a reader relies on: files that say what they are, twins that agree, one room for `unsafe`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::repository_file;

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
    let linked = relative_links(&text("docs/README.md"));
    for path in doc_pages() {
        let name = path.trim_start_matches("docs/");
        // docs/deploy.md is the contents page of docs/deploy.
        let (contents, linked) = match name.split_once('/') {
            None => ("docs/README.md".to_owned(), linked.clone()),
            Some((folder, _)) => {
                let contents = format!("docs/{folder}.md");
                let linked = relative_links(&text(&contents));
                (contents, linked)
            }
        };
        assert!(
            name == "README.md" || linked.iter().any(|target| target == name),
            "{contents} does not link {name}"
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
    let both = rust_files("src/bootstrap/shell")
        .into_iter()
        .map(|path| text(&path));
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
    let parts = [
        "driver", "restore", "keep", "rare", "lambda", "calls", "jq", "subshell",
    ];
    parts
        .map(|name| text(&format!("runtime-scripts/{name}.bash")))
        .concat()
}

/// The functions that the host answers are named in the driver twice, as names that no handler has, and in `check`.
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
    let driver = text("runtime-scripts/driver.bash");
    let (_, group) = driver
        .split_once("_response|lambda_@(")
        .expect("a group of names");
    let (group, _) = group.split_once(')').expect("its end");
    assert_eq!(group.split('|').collect::<BTreeSet<_>>(), names);
    for file in ["runtime-scripts/rare.bash", "src/check/commands.rs"] {
        let text = text(file);
        for name in &names {
            assert!(text.contains(&format!("lambda_{name}")), "{file}: {name}");
        }
    }
}

#[test]
fn protocol_and_driver_agree_on_their_names() {
    let (driver, rust) = (driver(), rust_side());
    let functions: BTreeSet<_> = driver
        .lines()
        .filter_map(|line| line.split_once("() {").map(|(name, _)| name.trim()))
        .collect();
    assert!(
        functions.contains("__driver_on_exit") && functions.contains(","),
        "{functions:?}"
    );
    for name in names_after(&rust, "__driver_") {
        let uses = [format!("{name}="), format!("${name}"), format!("${{{name}")];
        let is_prefix = name == "__driver_";
        assert!(
            is_prefix || functions.contains(name) || uses.iter().any(|text| driver.contains(text)),
            "{name} of the shell is not in the driver"
        );
    }
    // The functions that the host calls line by line.
    for name in [",,", ",,,"] {
        assert!(functions.contains(name), "the driver defines no {name}");
        assert!(
            rust.contains(&format!("{name} ")),
            "src/bootstrap/shell calls no {name}"
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
        // The host makes these two for each file.
        let is_made = matches!(name, "__driver_reset" | "__driver_show");
        assert!(
            readonly.contains(name) || is_made,
            "{name} can be redefined"
        );
    }
}

#[test]
fn protocol_and_driver_agree_on_their_numbers() {
    let (driver, protocol) = (
        text("runtime-scripts/driver.bash"),
        text("src/bootstrap/shell/protocol.rs"),
    );
    let number = |name: &str| {
        let declared = format!("const {name}: i32 = ");
        let value = protocol.lines().find_map(|line| line.split_once(&declared));
        value
            .and_then(|(_, value)| value.trim_end_matches(';').parse::<i32>().ok())
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let ours = [
        "ARGUMENTS",
        "EVENT",
        "RESPONSE",
        "CONTROL",
        "LOG",
        "RARE",
        "STATE",
    ];
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
        (77, 78)
    );
    assert_eq!(number("RESPONSE"), 62);
    assert!(protocol.contains("= 60..=67;"), "OUR_DESCRIPTORS");
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
            "src/bootstrap/shell does not read {kind}"
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
    let pages = doc_pages().into_iter();
    let pages = pages.filter(|path| path.starts_with("docs/protocol"));
    let drawn: String = pages.map(|path| text(&path)).collect();
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
        assert!(
            drawn.contains(word),
            "the pages of docs/protocol have no {word}"
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
