//! What `coshell package` leaves out by itself: secrets, and files that no function needs.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::package::{FUNCTION, listing, package, package_function, source, succeeds, unpack};
use support::TaskRoot;

/// A private key, in parts: what looks for keys in a repository need not find one here.
fn key() -> String {
    [
        "-----BEGIN",
        "PRIVATE KEY-----\nMIIE\n-----END",
        "PRIVATE KEY-----\n",
    ]
    .join(" ")
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn names(folder: &TaskRoot) -> Vec<String> {
    let unpacked = unpack(folder, "function.zip");
    let lines = listing(unpacked.path()).into_iter();
    let name = |line: String| {
        line.rsplit_once(' ')
            .map_or(line.clone(), |(name, _)| name.to_owned())
    };
    lines.map(name).collect()
}

#[test]
fn secrets_and_what_no_function_needs_are_left_out_with_one_line() {
    let folder = source();
    folder.write("src/lib/server.key", key());
    folder.write("src/lib/ca.pem", CERTIFICATE);
    for name in [
        ".env",
        ".env.example",
        ".netrc",
        ".aws/credentials",
        ".aws/config",
        ".ssh/known_hosts",
        ".git/HEAD",
        "lib/a.sh~",
        "lib/.a.sh.swp",
        "error.log",
    ] {
        folder.write(&format!("src/{name}"), "");
    }
    // Emacs locks a file so: a link that leads nowhere.
    symlink("user@host.1234", folder.path().join("src/.#function.sh")).expect("a link");
    let result = package_function(&folder, &[]);
    succeeds(&result);
    let line = "coshell: left out: .aws/credentials, .env, .netrc, .ssh/, lib/server.key (may hold secrets), \
                .#function.sh, .git/, error.log, lib/.a.sh.swp, lib/a.sh~ (not needed); --include NAME takes one in\n";
    assert_eq!(result.stderr, line);
    let kept = [
        ".aws/",
        ".aws/config",
        ".env.example",
        "function.sh",
        "lib/",
        "lib/ca.pem",
    ];
    assert_eq!(names(&folder), kept);
    let result = package_function(&folder, &["--json"]);
    let document: Value = serde_json::from_str(&result.stdout).expect("JSON");
    assert_eq!(document["leftOut"][0], ".#function.sh");
    assert_eq!(document["leftOut"].as_array().map(Vec::len), Some(10));
}

#[test]
fn what_is_included_is_taken_in() {
    let folder = source();
    folder.write("src/keys/client.pem", key());
    for name in [
        ".env",
        ".ssh/config",
        ".ssh/deep/id_rsa",
        ".ssh/id_rsa",
        "a.log",
        "logs/b.log",
    ] {
        folder.write(&format!("src/{name}"), "");
    }
    let of = |words: &[&str]| {
        let result = package_function(&folder, words);
        succeeds(&result);
        (names(&folder), result.stderr)
    };
    let (all, text) = of(&[
        "--include",
        ".env",
        "--include=*.log",
        "--include=/keys/*.pem",
        "--include=.ssh",
    ]);
    let expected = [
        ".env",
        ".ssh/",
        ".ssh/config",
        ".ssh/deep/",
        ".ssh/deep/id_rsa",
        ".ssh/id_rsa",
        "a.log",
        "function.sh",
        "keys/",
        "keys/client.pem",
        "logs/",
        "logs/b.log",
    ];
    assert_eq!(
        (all, text.as_str()),
        (expected.map(str::to_owned).to_vec(), "")
    );
    // Of a folder the one file; what is in it besides stays out.
    let (some, text) = of(&[
        "--include",
        ".ssh/config",
        "--include=/a.log",
        "--exclude=.env",
    ]);
    let expected = [
        ".ssh/",
        ".ssh/config",
        "a.log",
        "function.sh",
        "keys/",
        "logs/",
    ];
    assert_eq!(some, expected);
    assert_eq!(
        text,
        "coshell: left out: .ssh/deep/, .ssh/id_rsa, keys/client.pem (may hold secrets), logs/b.log (not needed); \
         --include NAME takes one in\n"
    );
    // --exclude is stronger.
    let (none, text) = of(&[
        "--include=*",
        "--exclude=*.log",
        "--exclude=.ssh",
        "--exclude=.env",
        "--exclude=keys",
    ]);
    assert_eq!(none, ["function.sh", "logs/"]);
    assert_eq!(
        text,
        "coshell: --include * matches nothing that would be left out\n"
    );
    package_function(&folder, &["--include", "a["]).assert_failed(2, "cannot include a[");
}

#[test]
fn a_path_of_the_command_line_is_meant() {
    let folder = source();
    folder.write(".env", "STAGE=test\n");
    folder.write("client.key", key());
    let words = [&["src/function.sh", ".env", "client.key"], &FUNCTION[1..]].concat();
    let result = package(&folder, &words);
    succeeds(&result);
    assert_eq!(result.stderr, "");
    assert_eq!(names(&folder), [".env", "client.key", "function.sh"]);
}

#[test]
fn a_script_that_needs_what_is_left_out_is_reported() {
    let folder = source();
    folder.write(
        "src/function.sh",
        ". ./.env\nhandler() { echo \"$WORD\"; }\n",
    );
    folder.write("src/.env", "WORD=hello\n");
    let result = package_function(&folder, &[]);
    succeeds(&result);
    for part in [
        "coshell: left out: .env (may hold secrets)",
        "sources .env, which is not in the task root",
    ] {
        assert!(result.stderr.contains(part), "{part} is not in {result:?}");
    }
    succeeds(&package_function(&folder, &["--include", ".env"]));
}

#[test]
fn many_names_are_counted() {
    let folder = source();
    for number in 10..30 {
        folder.write(&format!("src/{number}.log"), "");
    }
    folder.write("src/\x1b[31m.log", "");
    let result = package_function(&folder, &[]);
    let line = "left out: \u{fffd}[31m.log, 10.log, 11.log, 12.log, 13.log, 14.log and 15 more (not needed);";
    assert!(result.stderr.contains(line), "{result:?}");
}

#[test]
fn a_layer_has_no_secrets_either() {
    let folder = TaskRoot::new();
    folder.write_program("layer/bin/tool", "#!/bin/sh\n");
    folder.write("layer/.git-credentials", "");
    let words = [
        "layer",
        "--layer",
        "--bootstrap",
        crate::package::STATIC,
        "-o",
        "function.zip",
    ];
    let result = package(&folder, &words);
    succeeds(&result);
    assert!(
        result
            .stderr
            .contains("left out: .git-credentials (may hold secrets)"),
        "{result:?}"
    );
    assert_eq!(names(&folder), ["bin/", "bin/tool", "bootstrap"]);
    assert!(fs::metadata(folder.path().join("layer/.git-credentials")).is_ok());
}

#[test]
fn a_link_to_what_is_left_out_is_refused_with_what_takes_it_in() {
    let folder = source();
    folder.write("src/keys/client.pem", key());
    folder.write("src/.ssh/config", "");
    for (target, link, name) in [
        ("keys/client.pem", "src/current.pem", "keys/client.pem"),
        ("../.ssh/config", "src/keys/ssh", ".ssh"),
    ] {
        symlink(target, folder.path().join(link)).expect("a link");
        let result = package_function(&folder, &[]);
        let text = format!("which is left out; take it in by --include {name}; ");
        result.assert_failed(1, &text);
        succeeds(&package_function(&folder, &["--include", name]));
        fs::remove_file(folder.path().join(link)).expect("a link");
        fs::remove_file(folder.path().join("function.zip")).expect("a zip file");
    }
}
