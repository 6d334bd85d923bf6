//! The reference pages have what the code has: settings, error types, limits.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{coshell_path, repository_file, repository_text as text};

/// The text of every Rust file below a folder.
fn sources(folder: &Path) -> String {
    let mut found = String::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            found += &fs::read_to_string(path).expect("a file");
        }
    }
    found
}

/// What stands between two quotation marks in `code` and begins with one of `starts`.
fn literals(code: &str, starts: &[&str]) -> BTreeSet<String> {
    let parts = code.split('"').filter(|part| {
        let is_name = part
            .chars()
            .all(|letter| letter.is_alphanumeric() || "._".contains(letter));
        is_name && starts.iter().any(|start| part.starts_with(start))
    });
    parts.map(ToOwned::to_owned).collect()
}

/// The cells of the tables of a page, row by row, without the heads.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let line = line.replace("\\|", "\u{0}");
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{0}', "|"))
            .collect()
    };
    let rows: Vec<_> = lines.map(cells).collect();
    let is_rule = |row: &Vec<String>| row[0].starts_with("---");
    let heads = rows.windows(2).map(|pair| is_rule(&pair[1])).chain([false]);
    let rows = rows.iter().zip(heads).filter(|(_, is_head)| !is_head);
    rows.map(|(row, _)| row.clone())
        .filter(|row| !is_rule(row))
        .collect()
}

/// The names in code that a cell has.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn page_of_settings_has_the_variables_that_are_read() {
    let code = text("src/bootstrap/config.rs");
    let (code, _) = code
        .split_once("#[cfg(test)]")
        .expect("tests at the foot of the file");
    let read = literals(
        code,
        &["COSHELL_", "AWS_LAMBDA_", "LAMBDA_", "_HANDLER", "_LAMBDA_"],
    );
    // Lambda says with it what follows the init; it is no setting.
    let read: BTreeSet<_> = read
        .into_iter()
        .filter(|name| name != "AWS_LAMBDA_INITIALIZATION_TYPE")
        .collect();
    let rows = rows(&text("docs/settings.md"));
    let shown: BTreeSet<_> = rows.iter().flat_map(|row| names(&row[0])).collect();
    assert_eq!(shown, read);
}

/// The choices of a setting: the row names all of them, and the default is the first one.
#[test]
fn page_of_settings_has_the_choices_of_each_setting() {
    let code = text("src/bootstrap/config.rs");
    let rows = rows(&text("docs/settings.md"));
    let calls = code.split("read_choice(").skip(1);
    let calls = calls.filter_map(|call| {
        let (name, rest) = call.trim_start().strip_prefix('"')?.split_once('"')?;
        let (list, _) = rest.split_once("&mut invalid")?;
        let words = list.split("(\"").skip(1);
        let words = words.filter_map(|word| Some(word.split_once('"')?.0));
        Some((name, words.collect::<Vec<_>>()))
    });
    let mut count = 0;
    for (name, words) in calls.filter(|(_, words)| !words.is_empty()) {
        count += 1;
        let row = rows
            .iter()
            .find(|row| row[0].contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(names(&row[1])[0], words[0], "the default of {name}");
        for word in words {
            let is_there = row[1..]
                .iter()
                .any(|cell| cell.contains(&format!("`{word}`")));
            assert!(is_there, "{name}: {word}");
        }
    }
    assert_eq!(count, 4);
}

#[test]
fn page_of_errors_has_every_error_type() {
    let code = ["src/bootstrap", "src/handler"].map(|folder| sources(&repository_file(folder)));
    let made = literals(&code.concat(), &["Runtime.", "Function."]);
    let page = text("docs/error-texts.md");
    let shown: BTreeSet<_> = page
        .split('`')
        .filter(|part| part.starts_with("Runtime.") || part.starts_with("Function."))
        .map(ToOwned::to_owned)
        .collect();
    // Lambda and coshell serve report it for a runtime that ended.
    let shown: BTreeSet<_> = shown
        .into_iter()
        .filter(|name| name != "Runtime.ExitError")
        .collect();
    assert!(made.len() > 25, "{made:?}");
    assert_eq!(shown, made);
}

/// The rows of `docs/limits.md`: what is limited, and where the code has the figure.
const LIMITS: &[(&str, &str, &str)] = &[
    ("event", "src/emulator/invoke_api.rs", "MAX_EVENT_BYTES"),
    (
        "event of an asynchronous call",
        "src/emulator/invoke_api.rs",
        "MAX_ASYNCHRONOUS_EVENT_BYTES",
    ),
    (
        "client context, in base64",
        "src/emulator/invoke_api.rs",
        "MAX_CLIENT_CONTEXT_BYTES",
    ),
    ("response", "src/wire/lib.rs", "MAX_RESPONSE_BYTES"),
    (
        "event as an argument of a program, or a variable that is exported",
        "src/check/environment.rs",
        "MAX_BYTES",
    ),
    (
        "state of the shell",
        "src/bootstrap/shell/clean_up.rs",
        "MAX_STATE_BYTES",
    ),
    (
        "fields in a call of `lambda_http_response`",
        "src/bootstrap/shell/from_shell.rs",
        "MAX_REQUEST_FIELDS",
    ),
    (
        "arguments of one call of `lambda_get` and its kin",
        "src/bootstrap/calls/request.rs",
        "MAX_REQUEST_BYTES",
    ),
    (
        "file that `lambda_get` and its kin read",
        "src/bootstrap/calls/caller.rs",
        "MAX_BYTES",
    ),
    (
        "body of a request in a variable, by `lambda_request`",
        "src/calls/request.rs",
        "LONGEST_BODY",
    ),
    ("JSON, nested", "src/tools/jq/parse.rs", "MAX_DEPTH"),
    (
        "filter of jq, nested",
        "src/tools/jq/filter.rs",
        "MAX_NESTING",
    ),
    (
        "line of the log, with several events at once",
        "src/bootstrap/child/logs/pipe.rs",
        "MAX_LINE_BYTES",
    ),
    (
        "end of the log in an error document",
        "src/bootstrap/child/logs/pipe.rs",
        "TAIL_BYTES",
    ),
    (
        "frames in a stack",
        "src/bootstrap/shell/report.rs",
        "MAX_FRAMES",
    ),
    ("lanes", "src/bootstrap/config.rs", "MAX_LANES"),
    ("zip file", "src/package/lib.rs", "MAX_UPLOAD_BYTES"),
    (
        "zip file or layer, unpacked",
        "src/package/lib.rs",
        "MAX_UNPACKED_BYTES",
    ),
    ("init", "src/emulator/init.rs", "INIT_LIMIT"),
    (
        "init with SnapStart or on Managed Instances",
        "src/emulator/init.rs",
        "LONG_INIT_LIMIT",
    ),
    (
        "restore from a snapshot, with `lambda_after_restore`",
        "src/emulator/init.rs",
        "RESTORE_LIMIT",
    ),
    (
        "deadline margin on Managed Instances, if you set none",
        "src/bootstrap/config.rs",
        "MANAGED_DEADLINE_MARGIN",
    ),
    (
        "from SIGTERM to SIGKILL at a deadline",
        "src/bootstrap/config.rs",
        "MAX_DEADLINE_GRACE",
    ),
    (
        "running handler after SIGTERM to the sandbox",
        "src/bootstrap/wait.rs",
        "STOP_AFTER",
    ),
    (
        "`lambda_shutdown`",
        "src/bootstrap/shell/hook.rs",
        "SHUTDOWN_LIMIT",
    ),
    (
        "other processes at the shutdown, from SIGTERM to SIGKILL",
        "src/bootstrap/config.rs",
        "STOP_GRACE",
    ),
    (
        "leftover process with `COSHELL_LEFTOVERS=kill`, from SIGTERM to SIGKILL",
        "src/bootstrap/child/leftovers.rs",
        "GRACE",
    ),
];

/// The value of a constant: a product of numbers, or a duration in milliseconds.
fn constant(file: &str, name: &str) -> u64 {
    let code = text(file);
    let (_, rest) = code
        .split_once(&format!("const {name}: "))
        .unwrap_or_else(|| panic!("{file} has no {name}"));
    let (_, value) = rest.split_once(" = ").expect("a value");
    let (value, _) = value.split_once(';').expect("its end");
    let (scale, value) = match value.split_once('(') {
        Some(("Duration::from_secs", seconds)) => (1000, seconds.trim_end_matches(')')),
        Some(("Duration::from_millis", count)) => (1, count.trim_end_matches(')')),
        _ => (1, value),
    };
    let number = |part: &str| -> u64 {
        let digits = part.trim().replace('_', "");
        digits.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
    };
    value.split('*').map(number).product::<u64>() * scale
}

/// What a cell says: `6 MiB`, `3,583 bytes`, `10 s`, `40 ms`, `1,000`.
fn figure(cell: &str) -> u64 {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let number: u64 = number.replace(',', "").parse().expect(cell);
    let scale = match unit {
        "" | "bytes" | "ms" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "s" => 1000,
        _ => panic!("{cell}"),
    };
    number * scale
}

#[test]
fn page_of_limits_has_the_figures_of_the_code() {
    let rows = rows(&text("docs/limits.md"));
    let shown: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let known: Vec<_> = LIMITS.iter().map(|(what, ..)| *what).collect();
    assert_eq!(shown, known);
    for (row, (what, file, name)) in rows.iter().zip(LIMITS) {
        assert_eq!(figure(&row[1]), constant(file, name), "{what}");
    }
}

#[test]
fn page_of_variables_has_those_that_are_exported() {
    let code = sources(&repository_file("src/bootstrap"));
    let mut exported = literals(&code, &["LAMBDA_RUNTIME_", "_X_AMZN_TRACE_ID"]);
    assert!(exported.remove("LAMBDA_RUNTIME_"), "their beginning");
    let rows = rows(&text("docs/context.md"));
    let shown: BTreeSet<_> = rows.iter().flat_map(|row| names(&row[0])).collect();
    assert_eq!(shown, exported);
}

/// The options that `text` has, such as `--watch`, from where `begin` says that one is named.
fn options(text: &str, begin: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("--") {
        let name =
            text[at + 2..].split(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
        let name = name.into_iter().next().unwrap_or_default();
        if !name.is_empty() && begin(&text[..at]) {
            found.insert(format!("--{name}"));
        }
    }
    found
}

#[test]
fn page_of_each_command_has_its_options() {
    for command in ["serve", "invoke", "check", "package", "compare"] {
        let help = Command::new(coshell_path())
            .args(["help", command])
            .output()
            .expect("coshell runs");
        let help = String::from_utf8(help.stdout).expect("UTF-8");
        // `      --name <VALUE>` or `  -o, --output <FILE>`.
        let known = options(&help, |before| {
            let line = before.rsplit('\n').next().unwrap_or_default();
            line == "      " || (line.starts_with("  -") && line.ends_with(", "))
        });
        let page = text(&format!("docs/{command}.md"));
        let cells = rows(&page).into_iter().map(|row| row[0].clone());
        let cells = cells.filter(|cell| cell.starts_with("`-"));
        let shown = options(&cells.collect::<Vec<_>>().join("\n"), |before| {
            before.ends_with('`')
        });
        let help_option = BTreeSet::from(["--help".to_owned()]);
        let missing: Vec<_> = known.difference(&shown).collect();
        let unknown: Vec<_> = shown.difference(&known).collect();
        assert!(
            missing.iter().all(|name| help_option.contains(*name)) && unknown.is_empty(),
            "docs/{command}.md lacks {missing:?}, and {command} has no {unknown:?}"
        );
    }
}

/// `coshell check` knows each function, and the options of each.
#[test]
fn page_of_functions_has_each_function_and_its_options() {
    let rows = rows(&text("docs/functions.md"));
    let forms_of = |function: &str| -> String {
        let begin = format!("`{function} ");
        let rows = rows.iter().filter(|row| row[0].starts_with(&begin));
        rows.flatten().cloned().collect::<Vec<_>>().join("\n")
    };
    let offered = literals(&text("src/check/commands.rs"), &["lambda_"]);
    let unknown: Vec<_> = offered
        .iter()
        .filter(|name| forms_of(name).is_empty())
        .collect();
    assert!(offered.len() > 15 && unknown.is_empty(), "{unknown:?}");

    let code = text("src/check/offered.rs");
    let table = code.split("const OPTIONS:").nth(1).expect("a table");
    let table = table.split("\n];").next().expect("its end");
    let mut count = 0;
    for entry in table.split("options(").skip(1) {
        let words = entry.replace('"', "`");
        let words = names(&words);
        let (function, options) = words.split_first().expect("a name");
        let forms = forms_of(function).replace("[INPUT]", "--in --file --json");
        let missing: Vec<_> = options
            .iter()
            .filter(|option| {
                let ends = |end: &char| forms.contains(&format!("{option}{end}"));
                !" `]".chars().any(|end| ends(&end))
            })
            .collect();
        assert!(missing.is_empty(), "{function}: {missing:?}");
        count += options.len();
    }
    assert!(count > 40, "{count} options");
}

#[test]
fn tables_are_read() {
    let page = "text\n| A | B |\n|---|--:|\n| `a`, `b` | 1 \\| 2 |\n\n| C |\n|---|\n| c |\n";
    assert_eq!(rows(page), [vec!["`a`, `b`", "1 | 2"], vec!["c"]]);
    assert_eq!(names("`a`, `b`"), ["a", "b"]);
    assert_eq!(
        ["6 MiB", "1,000", "10 s", "3 bytes"].map(figure),
        [6 << 20, 1000, 10_000, 3]
    );
}
