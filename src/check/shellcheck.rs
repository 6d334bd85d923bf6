//! What shellcheck finds, if it is installed.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::finding::{Finding, Severity, Source};
use coshell_handler::{Handler, Kind};

/// shellcheck takes long for long scripts.
const LIMIT: Duration = Duration::from_secs(60);
/// Findings that do not hold here: that a sourced file is not followed (shellcheck gets each of them), and that a
/// function is never called (the runtime calls it).
const EXCLUDED: &str = "SC1090,SC1091,SC2317,SC2329";

/// That a variable is never assigned.
const UNASSIGNED: u64 = 2154;
/// What `lambda_request` assigns, with a prefix or without.
const OF_REQUEST: [&str; 12] = [
    "body",
    "body_file",
    "cookies",
    "form",
    "headers",
    "method",
    "path",
    "path_parameters",
    "query",
    "raw_query",
    "request_id",
    "source_ip",
];

/// shellcheck's name for the script that it reads from standard input.
const STANDARD_INPUT: &str = "-";

/// What shellcheck finds in the scripts; `None` if it is not installed. Blocks for [`LIMIT`] at most.
pub(crate) fn check(handler: &Handler, sources: &[Source]) -> Option<Vec<Finding>> {
    check_with(Command::new("shellcheck"), LIMIT, handler, sources)
}

fn check_with(
    mut command: Command,
    limit: Duration,
    handler: &Handler,
    sources: &[Source],
) -> Option<Vec<Finding>> {
    let is_posix = matches!(&handler.kind, Kind::Script(interpreter) if interpreter.is_posix);
    // Of a script that ends before its file does, shellcheck gets the part that runs.
    let cut = sources.iter().find(|source| is_cut(source));
    let name = |source: &Source| match cut {
        Some(cut) if cut.path == source.path => STANDARD_INPUT.into(),
        _ => source.path.clone(),
    };
    command
        .args(["--format=json1", "--exclude", EXCLUDED, "-s"])
        .arg(if is_posix { "sh" } else { "bash" })
        .args(sources.iter().map(name));
    let input = cut.map(|source| source.text.clone()).unwrap_or_default();
    let output = run(command, input, limit).ok()?;
    let findings = match output {
        Some(output) => parse(&output, sources)
            .ok_or_else(|| "cannot read the output of shellcheck: it is not JSON".to_owned()),
        None => Err(format!(
            "shellcheck was stopped after {} s",
            limit.as_secs()
        )),
    };
    Some(findings.unwrap_or_else(|message| vec![Finding::warning("shellcheck", message)]))
}

/// What `command` prints, given `input`. Kills it if it prints for longer than `limit`: then there is `None`.
fn run(mut command: Command, input: String, limit: Duration) -> io::Result<Option<Vec<u8>>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // A program that stops reading reports that in its output.
        stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
    });
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.map(|mut stdout| stdout.read_to_end(&mut output));
        sender.send(read.and(Some(output)).unwrap_or_default())
    });
    let output = receiver.recv_timeout(limit).ok();
    // There is nothing more to come: it closed its output, or is late.
    let _ = child.kill();
    let _ = child.wait();
    Ok(output)
}

fn is_cut(source: &Source) -> bool {
    let len = u64::try_from(source.text.len()).unwrap_or_default();
    fs::metadata(&source.path).is_ok_and(|found| len < found.len())
}

fn parse(json: &[u8], sources: &[Source]) -> Option<Vec<Finding>> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let comments = document.get("comments")?.as_array()?;
    Some(
        comments
            .iter()
            .filter_map(|one| finding(one, sources))
            .collect(),
    )
}

fn finding(comment: &Value, sources: &[Source]) -> Option<Finding> {
    let file = comment.get("file")?.as_str()?;
    let line = comment.get("line")?.as_u64()?;
    let code = comment.get("code")?.as_u64()?;
    let message = comment.get("message")?.as_str()?;
    let variable = message.split_whitespace().next()?;
    if code == UNASSIGNED && is_assigned_by_call(variable, sources) {
        return None;
    }
    let severity = match comment.get("level")?.as_str()? {
        "error" | "warning" => Severity::Warning,
        _ => Severity::Note,
    };
    let is_it = |source: &&Source| match file {
        STANDARD_INPUT => is_cut(source),
        _ => source.path.to_string_lossy() == file,
    };
    let path = &sources.iter().find(is_it)?.path;
    let finding = Finding::new(severity, &format!("SC{code}"), message);
    Some(finding.at(path, u32::try_from(line).ok()))
}

/// Whether a function of coshell assigns the variable: those that do have its name among their arguments.
fn is_assigned_by_call(variable: &str, sources: &[Source]) -> bool {
    let mut commands = sources.iter().flat_map(|source| &source.reading.commands);
    commands.any(|command| {
        let name = command.name().unwrap_or_default();
        let has = |text: &str| command.arguments().iter().any(|word| word.text == text);
        match name {
            "lambda_request" => OF_REQUEST
                .iter()
                .filter_map(|name| variable.strip_suffix(name))
                .any(|prefix| prefix.is_empty() || has(prefix)),
            "aws" | "jq" => has(variable),
            _ => name.starts_with("lambda_") && has(variable),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::reader::Reading;

    #[test]
    fn comments_become_findings() {
        let sources = [Source {
            path: "/t/a.sh".into(),
            text: String::new(),
            reading: Reading::default(),
        }];
        let json = br#"{"comments":[{"file":"/t/a.sh","line":3,"endLine":3,"column":1,"endColumn":2,"level":"info","code":2086,"message":"Double quote.","fix":null}]}"#;
        let found = parse(json, &sources).unwrap_or_default();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].check.as_str(), found[0].line),
            ("SC2086", Some(3))
        );
        assert_eq!(found[0].severity, Severity::Note);
        assert!(parse(b"oops", &sources).is_none());
    }

    #[test]
    fn variables_that_calls_assign_are_no_findings() {
        let text =
            "h() { lambda_get --array a .a b .b; aws -v c sts x; echo $a $b $c $d $method; }\n";
        let sources = |text: &str| {
            [Source {
                path: "/t/a.sh".into(),
                text: text.to_owned(),
                reading: crate::reader::read(text),
            }]
        };
        let found = |variable: &str, text: &str| {
            let comment = serde_json::json!({
                "file": "/t/a.sh", "line": 1, "level": "warning", "code": 2154,
                "message": format!("{variable} is referenced but not assigned."),
            });
            finding(&comment, &sources(text)).is_some()
        };
        for variable in ["a", "b", "c"] {
            assert!(!found(variable, text), "{variable}");
        }
        assert!(found("d", text) && found("method", text));
        assert!(!found("method", "h() { lambda_request; echo $method; }\n"));
        let prefixed = "h() { lambda_request --prefix http_; echo $http_path; }\n";
        assert!(!found("http_path", prefixed) && found("https_path", prefixed));
    }

    /// Whether a process has `folder` as its current directory.
    fn is_in_use(folder: &Path) -> bool {
        let mut processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.any(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|current| current == folder)
        })
    }

    #[test]
    fn a_shellcheck_that_takes_too_long_is_killed_and_reported() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let folder = root.path().canonicalize()?;
        // Another process writes the program: a file that this one has open for writing cannot be executed.
        let write = "mkfifo gate && cat >shellcheck && chmod +x shellcheck";
        let mut shell = Command::new("sh")
            .args(["-c", write])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut program) = shell.stdin.take() {
            program.write_all(b"#!/bin/bash\nread -rt 30 _ <>gate\n: >ended\n")?;
        }
        let written = shell.wait()?;
        assert!(written.success());
        let mut command = Command::new("shellcheck");
        let path = format!("{}:/usr/bin:/bin", folder.display());
        command.env("PATH", path).current_dir(&folder);
        let handler = Handler {
            name: "function.handler".to_owned(),
            file: "/t/function.sh".into(),
            kind: Kind::Function("handler".to_owned()),
            arguments: Vec::new(),
        };
        let found =
            check_with(command, Duration::from_millis(50), &handler, &[]).unwrap_or_default();
        let messages: Vec<_> = found.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(messages, ["shellcheck was stopped after 0 s"]);
        assert!(!is_in_use(&folder) && !folder.join("ended").exists());
        Ok(())
    }
}
