//! The commands of the README and of `docs/images.md`: a test runs each of them, or a list has the reason.
//!
//! `tests/deploy/guide.py` does the same for the deploy pages, `tests/it/examples.rs` for the examples.

use std::fs;
use std::process::Command;

use support::{LIMIT, Process, TaskRoot, coshell_path, repository, repository_file};

const PAGES: &[&str] = &["README.md", "docs/images.md"];

/// How a command begins; the file that runs it, and a text by which to find it there.
const RUN: &[(&str, &str, &str)] = &[
    (
        "cargo run -- serve examples/echo/function.sh.handler",
        "tests/smoke/smoke.bats",
        "line_of_readme 'cargo run -- serve'",
    ),
    (
        "curl \"http://localhost:9000/",
        "tests/smoke/smoke.bats",
        "line_of_readme 'curl ",
    ),
    (
        "coshell package examples/echo ",
        "tests/it/pages.rs",
        "fn zip_file_is_made_as_the_pages_say",
    ),
    ("make bootstrap", "Makefile", "soak: bootstrap"),
    ("make test", ".github/workflows/ci.yml", "run: make test"),
    (
        "docker build -t lambda-container-demo .",
        "tests/image/function.bats",
        "docker build -q -t \"$(image_of default)\" .",
    ),
    (
        "docker run -p 9000:8080 lambda-container-demo:latest",
        "tests/image/function.bats",
        "start \"$(image_of function)\"",
    ),
    (
        "curl -XPOST \"http://localhost:9000/",
        "tests/image/containers.bash",
        "-XPOST",
    ),
];

/// How a command begins that no test runs, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "cargo install --path .",
        "compiles everything once more; `make programs` builds the same",
    ),
    (
        "cargo build --release",
        "compiles everything once more; `make programs` builds the same",
    ),
];

/// The commands in the blocks of a page for a shell, without their comments.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(repository_file(page)).expect("the page");
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().expect("a block"));
    let whole = blocks.collect::<Vec<_>>().join("\n");
    let lines = whole.replace("\\\n", "");
    let lines = lines.lines().filter(|line| !line.is_empty());
    let command = |line: &str| {
        line.split("  #")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    lines.map(command).collect()
}

#[test]
fn every_command_is_run_or_has_a_reason() {
    let known = |command: &str| {
        let is_run = RUN.iter().any(|(start, ..)| command.starts_with(start));
        is_run || NOT_RUN.iter().any(|(start, _)| command.starts_with(start))
    };
    let all: Vec<_> = PAGES.iter().flat_map(|page| commands(page)).collect();
    for command in &all {
        assert!(
            known(command),
            "no test runs this, and no reason says why: {command}"
        );
    }
    let starts = RUN.iter().map(|(start, ..)| start);
    for start in starts.chain(NOT_RUN.iter().map(|(start, _)| start)) {
        assert!(
            all.iter().any(|command| command.starts_with(start)),
            "no page has: {start}"
        );
    }
}

#[test]
fn what_runs_the_commands_is_there() {
    for (command, file, part) in RUN {
        let text = fs::read_to_string(repository_file(file)).expect("a file");
        assert!(text.contains(part), "{file} does not run: {command}");
    }
}

/// With a static program in the place of the bootstrap, which takes a minute to build.
#[test]
fn zip_file_is_made_as_the_pages_say() {
    // coshell finds the bootstrap in its own folder.
    let programs = TaskRoot::new();
    let coshell = programs.path().join("coshell");
    if fs::hard_link(coshell_path(), &coshell).is_err() {
        fs::copy(coshell_path(), &coshell).expect("a copy");
    }
    let static_program = fs::read("/usr/bin/bash-static").expect("bash-static");
    programs.write_program("bootstrap", static_program);
    for page in PAGES {
        let commands = commands(page);
        let mut found = commands
            .iter()
            .filter(|command| command.contains("coshell package"));
        let line = found.next().expect("a command that makes a zip file");
        let folder = TaskRoot::new();
        let zip = folder.path().join("function.zip");
        assert!(line.contains("function.zip"), "{line}");
        let line = line.replace("function.zip", &zip.to_string_lossy());
        let mut command = Command::new("bash");
        command.args(["-euc", &line]).current_dir(repository());
        command.env(
            "PATH",
            format!("{}:/usr/bin:/bin", programs.path().display()),
        );
        let process = Process::start(command);
        let status = process.wait_exit(LIMIT);
        assert!(status.success(), "{line}: {status}\n{}", process.log());
        let packed = fs::File::open(zip).expect("a zip file");
        let mut packed = zip::ZipArchive::new(packed).expect("a zip file");
        for name in ["bootstrap", "function.sh"] {
            assert!(packed.by_name(name).is_ok(), "{line}: no {name}");
        }
    }
}

/// The handler that the README shows is the example's, and its Dockerfile that of `docs/images.md`.
#[test]
fn readme_shows_what_the_files_have() {
    let readme = fs::read_to_string(repository_file("README.md")).expect("the page");
    let block = |page: &str, language: &str| -> String {
        let (_, rest) = page
            .split_once(&format!("\n```{language}\n"))
            .expect("a block");
        rest.split("\n```").next().expect("its end").to_owned()
    };
    let example = fs::read_to_string(repository_file("examples/echo/function.sh")).expect("a file");
    assert!(example.ends_with(&format!("\n{}\n", block(&readme, "bash"))));
    let images = fs::read_to_string(repository_file("docs/images.md")).expect("the page");
    let without_comments = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(ToOwned::to_owned).collect()
    };
    assert_eq!(
        without_comments(block(&readme, "dockerfile")),
        without_comments(block(&images, "dockerfile"))
    );
}
