//! Docker 20.10 without BuildKit can build every Dockerfile of the repository, of its pages, and of `coshell package`.
//!
//! No Docker is needed here: instructions and flags are compared with those that the older builder knows.
//! tests/image builds with a real one.

use std::fs;

use crate::package::{STATIC, package, source, succeeds};
use support::repository_file;

/// The instructions of Docker 20.10, each with the flags that it has without BuildKit.
const KNOWN: &[(&str, &[&str])] = &[
    ("FROM", &["--platform"]),
    ("RUN", &[]),
    ("CMD", &[]),
    ("LABEL", &[]),
    ("EXPOSE", &[]),
    ("ENV", &[]),
    ("ADD", &["--chown"]),
    ("COPY", &["--from", "--chown"]),
    ("ENTRYPOINT", &[]),
    ("VOLUME", &[]),
    ("USER", &[]),
    ("WORKDIR", &[]),
    ("ARG", &[]),
    ("ONBUILD", &[]),
    ("STOPSIGNAL", &[]),
    (
        "HEALTHCHECK",
        &["--interval", "--timeout", "--start-period", "--retries"],
    ),
    ("SHELL", &[]),
];

/// Instructions, each as one line: a backslash at the end of a line joins it with the next, and comments may stand between.
fn instructions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) => whole += start,
            None => found.push(std::mem::take(&mut whole) + line),
        }
    }
    assert!(whole.is_empty(), "it ends in the middle of {whole}");
    found
}

/// What the older builder does not know, one line each.
fn unknown_to_docker_20(text: &str) -> Vec<String> {
    let directives = text.lines().take_while(|line| line.starts_with('#'));
    let is_directive = |line: &&str| {
        let text = line.trim_start_matches('#').trim_start().to_lowercase();
        text.starts_with("syntax=") || text.starts_with("check=")
    };
    let mut found: Vec<_> = directives.filter(is_directive).map(str::to_owned).collect();
    for instruction in instructions(text) {
        let mut words = instruction.split_whitespace();
        let name = words.next().unwrap_or_default().to_uppercase();
        let Some((_, flags)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            found.push(instruction);
            continue;
        };
        let given = words.take_while(|word| word.starts_with("--"));
        let mut names = given.map(|word| word.split('=').next().unwrap_or_default());
        // RUN cat <<END: a shell would read it, and BuildKit does before.
        let has_here_document = matches!(&*name, "RUN" | "COPY" | "ADD")
            && instruction.split("<<").skip(1).any(|rest| {
                rest.trim_start_matches(['-', '"', '\''])
                    .starts_with(|letter: char| letter.is_ascii_alphabetic())
            });
        if has_here_document || names.any(|name| !flags.contains(&name)) {
            found.push(instruction);
        }
    }
    found
}

#[test]
fn dockerfiles_of_the_repository_are_for_both_builders() {
    let files = [
        "Dockerfile",
        "bench/baseline/tutorial/Dockerfile",
        "examples/deploy/sam/function/Dockerfile",
    ];
    for name in files {
        let text = fs::read_to_string(repository_file(name)).expect("a Dockerfile");
        assert!(instructions(&text).len() > 2, "{name} is not read");
        assert_eq!(unknown_to_docker_20(&text), [""; 0], "{name}");
    }
}

#[test]
fn dockerfiles_in_the_pages_are_for_both_builders() {
    let mut count = 0;
    let folders = ["docs", "docs/deploy"].map(repository_file);
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path())
    });
    let pages = files.filter(|file| file.extension() == Some("md".as_ref()));
    for file in pages.chain([repository_file("README.md")]) {
        let name = file.display();
        let page = fs::read_to_string(&file).expect("a page");
        for block in page.split("```dockerfile\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            assert_eq!(unknown_to_docker_20(block), [""; 0], "{name}: {block}");
            count += 1;
        }
    }
    assert!(count > 6, "{count}");
}

#[test]
fn dockerfile_of_a_package_is_for_both_builders() {
    let folder = source();
    folder.write("src/a \"b\" <<END.sh", "handler() { :; }\n");
    for (number, handler) in ["function.handler", "a \"b\" <<END.handler"]
        .iter()
        .enumerate()
    {
        let image = format!("image {number}");
        let words = [
            "src",
            "--handler",
            handler,
            "--bootstrap",
            STATIC,
            "--image-context",
            &image,
        ];
        succeeds(&package(&folder, &words));
        let text = folder.read(&format!("{image}/Dockerfile"));
        let found = instructions(&text);
        let command = format!("CMD [{}]", serde_json::json!(handler));
        assert_eq!(
            found,
            [
                "FROM public.ecr.aws/lambda/provided:al2023",
                "COPY var /var/",
                &command
            ]
        );
        assert_eq!(unknown_to_docker_20(&text), [""; 0]);
        // The command in its head is for both, too: --provenance is BuildKit's.
        let head = text.lines().next().expect("a line");
        let flags = head.split(' ').filter(|word| word.starts_with("--"));
        assert_eq!(flags.collect::<Vec<_>>(), ["--platform"], "{head}");
    }
}

#[test]
fn what_the_older_builder_does_not_know_is_found() {
    for text in [
        "# syntax=docker/dockerfile:1\nFROM a",
        "FROM a\nCOPY --chmod=755 b /b",
        "FROM a\nCOPY --link b \\\n  /b",
        "FROM a\nRUN --mount=type=cache,target=/c true",
        "FROM a\nRUN <<END\ntrue\nEND",
        "FROM a\nCOPY <<\"END\" /b\nEND",
        "FROM a\nADD --checksum=sha256:00 http://b /b",
        "FROM a\nHEALTHCHECK --start-interval=1s CMD true",
    ] {
        assert!(!unknown_to_docker_20(text).is_empty(), "{text}");
    }
    for text in [
        "# a comment: syntax=1\nfrom --platform=linux/amd64 a AS b\nCOPY --from=b --chown=1 c d /e/\n",
        "FROM a\nRUN grep a <<< b && apt-get --quiet \\\n  # why\n  update",
        "FROM a\nHEALTHCHECK --interval=1s CMD b --link",
    ] {
        assert_eq!(unknown_to_docker_20(text), [""; 0], "{text}");
    }
}
