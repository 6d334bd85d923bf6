//! What shellcheck finds, if it is installed.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::finding::{Finding, Severity, Source};
use coshell_handler::{Handler, Kind};

/// It takes long for long scripts.
const LIMIT: Duration = Duration::from_secs(60);
/// That a sourced file is not followed: each is given to it. That a function is never called: we do.
const EXCLUDED: &str = "SC1090,SC1091,SC2317,SC2329";

/// How it calls what it reads there.
const STANDARD_INPUT: &str = "-";

/// What it finds in the scripts; `None` if it is not installed.
pub(crate) fn check(handler: &Handler, sources: &[Source]) -> Option<Vec<Finding>> {
    let is_posix = matches!(&handler.kind, Kind::Script(interpreter) if interpreter.is_posix);
    // A script that ends before its file does is given without the rest.
    let cut = sources.iter().find(|source| is_cut(source));
    let name = |source: &Source| match cut {
        Some(cut) if cut.path == source.path => STANDARD_INPUT.into(),
        _ => source.path.clone(),
    };
    let mut command = Command::new("shellcheck");
    command
        .args(["--format=json1", "--exclude", EXCLUDED, "-s"])
        .arg(if is_posix { "sh" } else { "bash" })
        .args(sources.iter().map(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let text = cut.map(|source| source.text.clone()).unwrap_or_default();
    let pid = child.id();
    let (send, ended) = mpsc::channel();
    thread::spawn(move || {
        if let Some(mut stdin) = child.stdin.take() {
            // One that has seen enough says so in its output.
            let _ = stdin.write_all(text.as_bytes());
        }
        send.send(child.wait_with_output())
    });
    let Ok(output) = ended.recv_timeout(LIMIT) else {
        if let Ok(pid) = i32::try_from(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let message = format!("shellcheck was stopped after {} s", LIMIT.as_secs());
        return Some(vec![Finding::warning("shellcheck", message)]);
    };
    let findings = output
        .ok()
        .and_then(|output| parse(&output.stdout, sources));
    Some(findings.unwrap_or_else(|| {
        vec![Finding::warning(
            "shellcheck",
            "shellcheck says nothing that can be read",
        )]
    }))
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

#[cfg(test)]
mod tests {
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
}
