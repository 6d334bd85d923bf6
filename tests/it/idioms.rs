//! Runs idioms from bash guides, and pitfalls that they warn of, under coshell and in a plain bash, and compares the status,
//! the output, the messages and the files.
//!
//! Each function in a file of `tests/fixtures/idioms` below the line `# Idioms:` is a handler. The lines above belong to all
//! idioms of the file; those that begin with `# event: ` are the events. The oracle is `( source file; idiom "$event" )`.
//! Responses are streamed, so that the output of a handler that fails is compared too.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::sandbox::set_lambda_environment;
use support::seeded::{find_problems, share};
use support::{
    Call, Event, Process, Sandbox, SandboxBuilder, TaskRoot, bootstrap_path, repository_file,
};

const IDIOMS: &str = "tests/fixtures/idioms";
const THREADS: usize = 3;

/// A handler that calls the function whose name is in the file `idiom`.
const ANY_IDIOM: &str =
    "handler() { local _name; _name=$(<\"$LAMBDA_TASK_ROOT/idiom\"); \"$_name\" \"$@\"; }\n";

/// Takes three arguments for each run: a function, an idiom, and the file of an event. Puts the results into `done.N`. In
/// messages the shell calls itself SHELL.
const ORACLE: &str = r#"
_number=0
while (($#)); do
  _number=$((_number + 1))
  export TMPDIR=$PWD/done.$_number/tmp
  printf %s "$2" >idiom
  (
    _function=$1
    set -euo pipefail
    { shopt -s inherit_errexit; } 2>/dev/null || :
    set -- "$(<"$3")"
    source "$LAMBDA_TASK_ROOT/function.sh" >&2
    "$_function" "$1"
  ) <"$3" >"done.$_number/out" 2>"done.$_number/err"
  echo "$?" >"done.$_number/status"
  shift 3
done
"#;

struct Idiom {
    name: String,
    /// The lines of its function, as indexes into the file.
    lines: std::ops::Range<usize>,
}

/// A file of idioms.
struct Theme {
    name: String,
    lines: Vec<String>,
    /// The index of the line `# Idioms:`.
    head: usize,
    events: Vec<String>,
    idioms: Vec<Idiom>,
}

impl Theme {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a file of idioms");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let head = lines.iter().position(|line| line == "# Idioms:");
        let head = head.expect("a line # Idioms:");
        let events = lines[..head].iter().filter_map(|line| {
            let event = line.strip_prefix("# event: ")?;
            Some(event.replace("\\n", "\n").replace("\\t", "\t"))
        });
        let starts: Vec<_> = (head..lines.len())
            .filter_map(|index| Some((index, function_name(&lines[index])?)))
            .collect();
        let ends = starts.iter().skip(1).map(|(index, _)| *index);
        let ends = ends.chain([lines.len()]);
        let idioms = starts.iter().zip(ends).map(|((start, name), end)| Idiom {
            name: (*name).to_owned(),
            lines: *start..end,
        });
        Self {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            head,
            events: events.collect(),
            idioms: idioms.collect(),
            lines,
        }
    }

    /// The file with only one of its idioms. Other idioms become empty lines, so that line numbers stay the same.
    fn with_only(&self, idiom: &Idiom) -> String {
        let lines = self.lines.iter().enumerate().map(|(index, line)| {
            let is_kept = index < self.head || idiom.lines.contains(&index);
            if is_kept { line.as_str() } else { "" }
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    fn with_all(&self) -> String {
        self.lines.join("\n") + "\n" + ANY_IDIOM
    }
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once("() ")?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && rest.starts_with(['{', '('])).then_some(name)
}

fn themes() -> Vec<Theme> {
    let files = fs::read_dir(repository_file(IDIOMS)).expect("a folder of idioms");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| Theme::read(file)).collect()
}

/// The result of one event. Names of temporary files and of the task root are normalised.
#[derive(Debug, PartialEq, Eq)]
struct RunResult {
    status: i32,
    output: String,
    /// The names and contents of the files in the temporary folder.
    files: Vec<(String, String)>,
}

/// Runs each function, idiom and event number in a plain bash. Returns the results, each with the text on standard error.
fn run_in_plain_bash(
    script: &str,
    events: &[String],
    calls: &[(&str, &str, usize)],
) -> Vec<(RunResult, String)> {
    let root = TaskRoot::new();
    root.write("function.sh", script);
    for (number, event) in events.iter().enumerate() {
        root.write(&format!("event.{number}"), event);
    }
    let shell = std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "bash".to_owned());
    // An idiom that never ends must not stop the test.
    let mut command = Command::new("timeout");
    set_lambda_environment(&mut command, root.path());
    command.args(["60", &shell, "-c", ORACLE, "SHELL"]);
    for (number, (function, idiom, event)) in (1..).zip(calls) {
        fs::create_dir_all(root.path().join(format!("done.{number}/tmp"))).expect("a folder");
        command.args([*function, *idiom, &format!("event.{event}")]);
    }
    let status = command.stdin(Stdio::null()).status();
    assert!(status.expect("bash runs").success());
    let results = (1..=calls.len()).map(|number| {
        let folder = format!("done.{number}");
        let read = |name: &str| fs::read(root.path().join(&folder).join(name)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).trim().parse();
        let result = RunResult {
            status: status.unwrap_or(-1),
            output: normalise(&read("out"), &root),
            files: files_below(&root.path().join(&folder).join("tmp"), &root),
        };
        (result, normalise(&read("err"), &root))
    });
    results.collect()
}

/// Escapes the bytes, and replaces names that differ from run to run.
fn normalise(bytes: &[u8], root: &TaskRoot) -> String {
    let text = bytes.escape_ascii().to_string().replace("\\n", "\n");
    let text = text.replace(&*root.path().to_string_lossy(), "ROOT");
    let text = ["/dev/fd/78: line", "/dev/fd/65: line"]
        .iter()
        .fold(text, |text, name| {
            // docs/isolation.md lists the messages with these names.
            text.replace(name, "SHELL: line")
        });
    let mut text = text.replace(&bootstrap_path(), "SHELL");
    if support::bash_version() < (5, 0) {
        // That is `$0` there.
        text = text.replace("/dev/fd/78:", "SHELL:");
    }
    let text = replace_numbered_folder(&text, "ROOT/done.");
    let mut parts = text.split("tmp.");
    let mut found = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let random = part.bytes().take_while(u8::is_ascii_alphanumeric).count();
        found.push_str("tmp.");
        found.push_str(if random == 10 { &part[10..] } else { part });
    }
    found
}

/// Replaces `ROOT/done.17` by ROOT.
fn replace_numbered_folder(text: &str, name: &str) -> String {
    let mut parts = text.split(name);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "ROOT" + part.trim_start_matches(|letter: char| letter.is_ascii_digit())
    })
}

fn files_below(folder: &Path, root: &TaskRoot) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = normalise(file.file_name().as_encoded_bytes(), root);
        let kind = file.file_type().expect("a kind of file");
        if kind.is_dir() {
            let below = files_below(&file.path(), root);
            found.extend(
                below
                    .into_iter()
                    .map(|(path, text)| (format!("{name}/{path}"), text)),
            );
            found.push((name + "/", String::new()));
        } else {
            let bytes = if kind.is_file() {
                fs::read(file.path()).unwrap_or_default()
            } else {
                Vec::new()
            };
            found.push((name, normalise(&bytes, root)));
        }
    }
    found.sort();
    found
}

fn sandbox_of(script: &str) -> SandboxBuilder {
    let builder = Sandbox::of(script).env("COSHELL_RESPONSE_MODE", "streaming");
    let temporary = builder.task_root().path().join("tmp");
    builder.env("TMPDIR", temporary.to_string_lossy())
}

/// Runs one event under coshell. Returns the result, and the error document for the message of a failed assertion.
fn run_in_sandbox(sandbox: &Sandbox, event: &str) -> (RunResult, String) {
    let root = &sandbox.task_root;
    let temporary = root.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder for temporary files");
    let event = Event::fresh(event);
    let request_id = event.request_id.clone();
    sandbox.api.push(event);
    let (status, output, cause) = match sandbox.api.wait_answer_or_exit(&request_id) {
        Ok(answer) => parse_answer(&answer),
        Err(status) => (-1, Vec::new(), format!("bootstrap ended: {status}")),
    };
    let result = RunResult {
        status,
        output: normalise(&output, root),
        files: files_below(&temporary, root),
    };
    fs::remove_dir_all(&temporary).expect("cannot remove the folder for temporary files");
    (result, cause)
}

/// The status of the handler, its output, and the error document.
fn parse_answer(answer: &Call) -> (i32, Vec<u8>, String) {
    let (output, document) = if answer.is_error() {
        (Vec::new(), answer.error_document())
    } else if answer.trailers.is_empty() {
        return (0, answer.body.clone(), String::new());
    } else {
        (answer.body.clone(), answer.trailer_error_document())
    };
    let cause = document["errorMessage"].as_str().unwrap_or_default();
    let first = cause.lines().next().unwrap_or_default();
    let status = ["with status ", "returned status "];
    let status = status.iter().find_map(|text| {
        let (_, rest) = first.rsplit_once(text)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    });
    (status.unwrap_or(-1), output, document.to_string())
}

/// Everything that the handlers wrote to standard error.
fn messages(sandbox: &Sandbox) -> String {
    sandbox.bootstrap.final_log();
    let log = sandbox.bootstrap.log_bytes();
    let mut found = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        if Process::bootstrap_lines(&String::from_utf8_lossy(line)).is_empty() {
            found.extend_from_slice(line);
        }
    }
    normalise(&found, &sandbox.task_root)
}

fn describe_difference(what: &str, ours: &impl Debug, plain: &impl Debug) -> String {
    format!("{what}:\n  plain bash: {plain:?}\n  ours:       {ours:?}\n")
}

/// Describes the first line that differs.
fn find_message_difference(ours: &str, plain: &str) -> Option<String> {
    let (mut ours, mut plain) = (ours.lines(), plain.lines());
    loop {
        let (ours, plain) = (ours.next(), plain.next());
        if ours != plain {
            return Some(describe_difference("standard error", &ours, &plain));
        } else if ours.is_none() {
            return None;
        }
    }
}

/// Runs one idiom in its own sandbox with every event.
fn compare_alone(theme: &Theme, idiom: &Idiom, expected: &[(RunResult, String)]) -> Option<String> {
    let script = theme.with_only(idiom);
    let sandbox = sandbox_of(&script)
        .handler(&format!("function.{}", idiom.name))
        .start();
    let mut found = String::new();
    let mut expected_messages = String::new();
    for (event, (plain, messages)) in theme.events.iter().zip(expected) {
        let (ours, cause) = run_in_sandbox(&sandbox, event);
        if ours != *plain {
            found += &describe_difference(&format!("event {event:?} {cause}"), &ours, plain);
        }
        expected_messages += messages;
    }
    found.extend(find_message_difference(
        &messages(&sandbox),
        &expected_messages,
    ));
    (!found.is_empty()).then(|| format!("{}.{}: {found}", theme.name, idiom.name))
}

/// Runs all idioms of a file in one sandbox, with one event each.
fn compare_together(
    theme: &Theme,
    isolation: &str,
    expected: &[(RunResult, String)],
) -> Option<String> {
    let sandbox = sandbox_of(&theme.with_all())
        .env("COSHELL_ISOLATION", isolation)
        .start();
    let mut found = String::new();
    for ((number, idiom), (plain, _)) in theme.idioms.iter().enumerate().zip(expected) {
        sandbox.task_root.write("idiom", &idiom.name);
        let event = &theme.events[number % theme.events.len()];
        let (ours, cause) = run_in_sandbox(&sandbox, event);
        if ours != *plain {
            found +=
                &describe_difference(&format!("{} {event:?} {cause}", idiom.name), &ours, plain);
        }
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|(_, messages)| messages.as_str())
        .collect();
    found.extend(find_message_difference(
        &messages(&sandbox),
        &expected.concat(),
    ));
    (!found.is_empty()).then(|| format!("{} with {isolation}: {found}", theme.name))
}

/// Calls `check` for every theme, on several threads. Returns the results.
fn for_each_theme<T: Send + Sync>(themes: &[Theme], check: impl Fn(&Theme) -> T + Sync) -> Vec<T> {
    let found: Vec<_> = themes.iter().map(|_| OnceLock::new()).collect();
    find_problems(themes.len(), THREADS, |number| {
        found[number].get_or_init(|| check(&themes[number]));
        None::<String>
    });
    found.into_iter().filter_map(OnceLock::into_inner).collect()
}

#[test]
fn each_idiom_behaves_as_in_a_plain_bash() {
    let themes = themes();
    let expected = for_each_theme(&themes, |theme| {
        let calls = theme.idioms.iter().flat_map(|idiom| {
            let name = idiom.name.as_str();
            (0..theme.events.len()).map(move |event| (name, name, event))
        });
        run_in_plain_bash(&theme.with_all(), &theme.events, &calls.collect::<Vec<_>>())
    });
    let all = themes.iter().zip(&expected).flat_map(|(theme, expected)| {
        let expected = expected.chunks(theme.events.len());
        let idioms = theme.idioms.iter().zip(expected);
        idioms.map(move |(idiom, expected)| (theme, idiom, expected))
    });
    let all: Vec<_> = all.collect();
    assert!(all.len() >= 500, "{} idioms", all.len());
    let all: Vec<_> = share(all).collect();
    let problems = find_problems(all.len(), THREADS, |number| {
        let (theme, idiom, expected) = all[number];
        compare_alone(theme, idiom, expected)
    });
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        all.len(),
        problems.join("\n")
    );
}

#[test]
fn idioms_that_share_a_shell_behave_as_in_a_plain_bash() {
    let themes = themes();
    let problems = for_each_theme(&themes, |theme| {
        let idioms = theme.idioms.iter().enumerate();
        let calls = idioms
            .map(|(number, idiom)| ("handler", idiom.name.as_str(), number % theme.events.len()));
        let calls: Vec<_> = calls.collect();
        let expected = run_in_plain_bash(&theme.with_all(), &theme.events, &calls);
        let isolations = ["restore", "subshell"].into_iter();
        isolations
            .filter_map(|isolation| compare_together(theme, isolation, &expected))
            .collect::<String>()
    });
    assert_eq!(problems.concat(), "");
}
