//! Python and jq, to compare with.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What a script prints for this standard input.
pub(crate) fn python(script: &str, input: &[u8]) -> String {
    let output = run("python3", &["-B", "-c", script], input);
    String::from_utf8(output).expect("UTF-8")
}

/// What a program prints; it has to succeed.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("an end");
    writer.join().expect("an end");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        output.status
    );
    output.stdout
}
