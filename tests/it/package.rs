//! `coshell package`: what is in a zip file, a layer and an image context, and what is refused.
//!
//! Zip files are unpacked by `unzip`, which keeps modes and links as Lambda does.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use support::coshell_path;
use support::{AS_ANOTHER_USER, CommandOutput, LIMIT, Process, TaskRoot, wait_until};

/// A static program that everybody has who runs these tests, and one that is not.
pub(crate) const STATIC: &str = "/usr/bin/bash-static";
pub(crate) const DYNAMIC: &str = "/bin/bash";
/// What these are for in Lambda's words, the other architecture, and its number in an ELF header.
pub(crate) const ARCHITECTURES: (&str, &str, u8) = if cfg!(target_arch = "aarch64") {
    ("arm64", "x86_64", 62)
} else {
    ("x86_64", "arm64", 183)
};
pub(crate) const HEALTHY: &str = "# shellcheck shell=bash\nhandler() {\n  printf '%s' \"$1\"\n}\n";
/// What most tests pack: a function of a layer, since a bootstrap takes its time to be compressed.
pub(crate) const FUNCTION: [&str; 6] = [
    "src",
    "--handler",
    "function.handler",
    "--without-bootstrap",
    "-o",
    "function.zip",
];

/// Runs it in `folder`. Nothing temporary is left behind, there or elsewhere.
#[track_caller]
pub(crate) fn package_of<'a>(
    folder: &Path,
    words: impl IntoIterator<Item = &'a OsStr>,
) -> CommandOutput {
    let temporary = TaskRoot::new();
    let mut command = Command::new(coshell_path());
    command
        .arg("package")
        .args(words)
        .current_dir(folder)
        .env("TMPDIR", temporary.path())
        .env_remove("COSHELL_BASH");
    let result = CommandOutput::of(command);
    let left = names_in(temporary.path());
    assert!(left.is_empty(), "{left:?}");
    let left = names_in(folder);
    let is_temporary = |name: &String| name.starts_with(".coshell");
    assert!(!left.iter().any(is_temporary), "{left:?}");
    result
}

#[track_caller]
pub(crate) fn package(folder: &TaskRoot, words: &[&str]) -> CommandOutput {
    package_of(folder.path(), words.iter().map(OsStr::new))
}

/// As [`package`], for [`FUNCTION`] with more words.
#[track_caller]
pub(crate) fn package_function(folder: &TaskRoot, words: &[&str]) -> CommandOutput {
    package(folder, &[&FUNCTION, words].concat())
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

#[track_caller]
pub(crate) fn succeeds(result: &CommandOutput) {
    assert_eq!(result.status, 0, "{}{}", result.stdout, result.stderr);
}

/// Refused with a text that has all of `words`, and without a file.
#[track_caller]
pub(crate) fn is_refused(folder: &TaskRoot, result: &CommandOutput, words: &[&str]) {
    assert_eq!(
        (result.status, result.stdout.as_str()),
        (1, ""),
        "{result:?}"
    );
    for word in words {
        assert!(result.stderr.contains(word), "{word} is not in {result:?}");
    }
    assert!(!folder.exists("function.zip"), "{result:?}");
}

/// A folder with `src/function.sh`.
pub(crate) fn source() -> TaskRoot {
    let folder = TaskRoot::new();
    folder.write("src/function.sh", HEALTHY);
    folder
}

#[track_caller]
pub(crate) fn unpack(folder: &TaskRoot, zip: &str) -> TaskRoot {
    let unpacked = TaskRoot::new();
    let mut unzip = Command::new("unzip");
    // -^: names keep what unzip would take out of them.
    unzip
        .args(["-q", "-^"])
        .arg(folder.path().join(zip))
        .arg("-d")
        .arg(unpacked.path())
        .env("LC_ALL", "C.UTF-8");
    succeeds(&CommandOutput::of(unzip));
    unpacked
}

/// `-rwxr-xr-x name`, and `-> target` of a link: all in the folder, in order.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let (path, found) = (entry.path(), entry.metadata().expect("an entry"));
            let name = path.strip_prefix(folder).expect("below it").display();
            let mode = found.permissions().mode() & 0o7777;
            if found.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                lines.push(format!("{name} -> {}", target.display()));
            } else if found.is_dir() {
                lines.push(format!("{name}/ {mode:o}"));
                folders.push(path);
            } else {
                lines.push(format!("{name} {mode:o}"));
            }
        }
    }
    lines.sort();
    lines
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// A file that cannot be made smaller.
pub(crate) fn write_noise(folder: &TaskRoot, name: &str, len_bytes: u64) {
    let mut noise = File::open("/dev/urandom").expect("noise").take(len_bytes);
    let mut file = File::create(folder.path().join(name)).expect("a file");
    io::copy(&mut noise, &mut file).expect("a file of noise");
}

/// A copy of the static program with another byte, which makes it something else.
pub(crate) fn altered(folder: &TaskRoot, name: &str, at: usize, byte: u8) -> String {
    let mut program = fs::read(STATIC).expect("bash-static");
    program[at] = byte;
    let file = folder.write_program(name, program);
    file.to_string_lossy().into_owned()
}

#[test]
fn package_answers_where_it_is_unpacked() {
    let folder = source();
    folder.write(
        "src/function.sh",
        ". \"$LAMBDA_TASK_ROOT/lib/words.sh\"\nhandler() { \"$LAMBDA_TASK_ROOT/bin/greet\" \"$WORD\" \"$1\"; }\n",
    );
    folder.write("src/lib/words.sh", "WORD=Hello\n");
    folder.write_program(
        "src/tools/greet",
        "#!/bin/bash\nprintf '%s, %s' \"$1\" \"$2\"\n",
    );
    symlink("tools", folder.path().join("src/bin")).expect("a link");
    let result = package_function(&folder, &[]);
    succeeds(&result);
    let unpacked = unpack(&folder, "function.zip");
    let mut invoke = Command::new(coshell_path());
    invoke
        .args([
            "invoke",
            "function.handler",
            "--event",
            "Ada",
            "--task-root",
        ])
        .arg(unpacked.path());
    let answer = CommandOutput::of(invoke);
    assert_eq!(
        (answer.status, answer.stdout.as_str()),
        (0, "Hello, Ada"),
        "{answer:?}"
    );
}

#[test]
fn bootstrap_lies_in_the_root_and_runs() {
    let folder = source();
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--bootstrap",
        STATIC,
        "-o",
        "f.zip",
    ];
    let result = package(&folder, &words);
    succeeds(&result);
    assert!(result.stdout.starts_with("f.zip: 2 files, "), "{result:?}");
    assert!(
        result.stdout.contains(&format!(
            ", {}, handler function.handler, sha256 ",
            ARCHITECTURES.0
        )),
        "{result:?}"
    );
    assert_eq!(result.stderr, "");
    let unpacked = unpack(&folder, "f.zip");
    assert_eq!(
        listing(unpacked.path()),
        ["bootstrap 755", "function.sh 644"]
    );
    let mut bootstrap = Command::new(unpacked.path().join("bootstrap"));
    bootstrap.args(["-c", "echo it runs"]);
    assert_eq!(CommandOutput::of(bootstrap).stdout, "it runs\n");
}

#[test]
fn same_files_give_the_same_bytes_whenever_and_wherever() {
    let (one, other) = (TaskRoot::new(), TaskRoot::new());
    let names = ["a/b.sh", "a.sh", "a-b", "B", "lib/deep/c"];
    let make = |folder: &TaskRoot, name: &str, modes: [u32; 2]| {
        let file = folder.write(&format!("src/{name}"), name);
        let is_program = name == "a-b";
        set_mode(&file, modes[usize::from(is_program)]);
    };
    one.write("src/function.sh", HEALTHY);
    for name in names {
        make(&one, name, [0o644, 0o755]);
    }
    for name in names.iter().rev() {
        make(&other, name, [0o600, 0o700]);
    }
    other.write("src/function.sh", HEALTHY);
    set_mode(&other.path().join("src/lib"), 0o700);
    let long_ago =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = File::options()
        .write(true)
        .open(other.path().join("src/a.sh"));
    file.expect("a file")
        .set_modified(long_ago)
        .expect("a time");

    succeeds(&package_function(&one, &[]));
    let mut elsewhere = Command::new("bash");
    elsewhere
        .args([
            "-c",
            "umask 077; TZ=Asia/Tokyo exec \"$@\"",
            "bash",
            coshell_path(),
            "package",
        ])
        .arg(other.path().join("src"))
        .args(&FUNCTION[1..5])
        .arg(other.path().join("function.zip"))
        .current_dir("/");
    succeeds(&CommandOutput::of(elsewhere));
    let bytes = |folder: &TaskRoot| fs::read(folder.path().join("function.zip")).expect("a zip");
    assert!(bytes(&one) == bytes(&other), "they differ");
    // What differs is seen.
    make(&one, "B", [0o755, 0o755]);
    succeeds(&package_function(&one, &[]));
    assert!(bytes(&one) != bytes(&other), "a mode makes no difference");
}

#[test]
fn rights_are_those_of_all_by_what_the_owner_may() {
    let folder = source();
    for (name, mode) in [
        ("run", 0o700),
        ("set", 0o4711),
        ("others-run", 0o655),
        ("secret", 0o400),
    ] {
        set_mode(&folder.write(&format!("src/{name}"), name), mode);
    }
    fs::create_dir_all(folder.path().join("src/empty/deep")).expect("a folder");
    set_mode(&folder.path().join("src/empty"), 0o700);
    succeeds(&package_function(&folder, &[]));
    let expected = [
        "empty/ 755",
        "empty/deep/ 755",
        "function.sh 644",
        "others-run 644",
        "run 755",
        "secret 644",
        "set 755",
    ];
    assert_eq!(listing(unpack(&folder, "function.zip").path()), expected);
    // The file itself is as any other that is made.
    let found = fs::metadata(folder.path().join("function.zip")).expect("a zip");
    let made = fs::metadata(folder.path().join("src/function.sh")).expect("a file");
    assert_eq!(found.permissions(), made.permissions());
}

#[test]
fn links_in_the_package_stay_links() {
    let folder = source();
    let src = folder.path().join("src");
    folder.write("src/lib/deep/a.sh", "");
    for (target, link) in [
        (PathBuf::from("function.sh"), "plain"),
        (src.join("lib/deep/a.sh"), "absolute"),
        ("../../function.sh".into(), "lib/deep/up"),
        ("plain".into(), "chain"),
        ("lib/deep".into(), "folder"),
        ("folder/a.sh".into(), "through"),
        (".".into(), "itself"),
        ("..".into(), "lib/root"),
    ] {
        symlink(target, src.join(link)).expect("a link");
    }
    succeeds(&package_function(&folder, &[]));
    let expected = [
        "absolute -> lib/deep/a.sh",
        "chain -> function.sh",
        "folder -> lib/deep",
        "function.sh 644",
        "itself -> .",
        "lib/ 755",
        "lib/deep/ 755",
        "lib/deep/a.sh 644",
        "lib/deep/up -> ../../function.sh",
        "lib/root -> ..",
        "plain -> function.sh",
        "through -> lib/deep/a.sh",
    ];
    assert_eq!(listing(unpack(&folder, "function.zip").path()), expected);
}

#[test]
fn links_that_lead_out_of_the_package_are_refused() {
    for (target, words) in [
        ("../outside.sh", "outside.sh, which is not in the package"),
        (
            "/etc/hostname",
            "it is a link to /etc/hostname, which is not",
        ),
        ("gone", "it is a link that leads nowhere: No such file"),
        (
            "link me.sh",
            "it is a link that leads nowhere: Too many levels",
        ),
        ("notes.md", "src/notes.md, which is not in the package"),
    ] {
        let folder = source();
        folder.write("outside.sh", HEALTHY);
        folder.write("src/notes.md", "");
        symlink(target, folder.path().join("src/link me.sh")).expect("a link");
        let result = package_function(&folder, &["--exclude", "*.md"]);
        let what = "coshell: cannot package src/link me.sh: ";
        is_refused(
            &folder,
            &result,
            &[what, words, "or --exclude 'link me.sh'\n"],
        );
        succeeds(&package_function(
            &folder,
            &["--exclude", "*.md", "--exclude", "link me.sh"],
        ));
    }
}

#[test]
fn paths_that_are_given_may_be_links() {
    let folder = source();
    symlink("src", folder.path().join("current")).expect("a link");
    symlink("src/function.sh", folder.path().join("function.sh")).expect("a link");
    for words in [["current"], ["function.sh"]] {
        succeeds(&package(&folder, &[&words, &FUNCTION[1..]].concat()));
        let unpacked = unpack(&folder, "function.zip");
        assert_eq!(listing(unpacked.path()), ["function.sh 644"]);
        assert_eq!(unpacked.read("function.sh"), HEALTHY);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = source();
    folder.fifo("src/pipe");
    let result = package_function(&folder, &[]);
    is_refused(
        &folder,
        &result,
        &["cannot package src/pipe: it is a named pipe"],
    );
    let _socket = UnixListener::bind(folder.path().join("src/socket")).expect("a socket");
    let result = package_function(&folder, &["--exclude", "pipe"]);
    is_refused(
        &folder,
        &result,
        &["cannot package src/socket: it is a socket"],
    );
    succeeds(&package_function(
        &folder,
        &["--exclude", "pipe", "--exclude", "socket"],
    ));
    let device = [
        "/dev/null",
        "--layer",
        "--bootstrap",
        STATIC,
        "-o",
        "layer.zip",
    ];
    let result = package(&folder, &device);
    result.assert_failed(1, "cannot package /dev/null: it is a device");
}

#[test]
fn a_bootstrap_that_is_no_regular_file_is_refused() {
    let folder = source();
    folder.fifo("pipe");
    for bootstrap in ["pipe", "/dev/zero"] {
        let words = ["--handler", "function.handler", "-o", "function.zip"];
        let words = [&["src", "--bootstrap", bootstrap], &words[..]].concat();
        let result = package(&folder, &words);
        let message = format!("cannot use bootstrap {bootstrap}: it is not a regular file");
        is_refused(&folder, &result, &[&message]);
    }
}

#[test]
fn names_of_every_kind_come_out_as_they_went_in() {
    let names = [
        " two  words ",
        "-n",
        "a\"quote\"",
        "it's",
        "line\nend",
        "#[*]?",
        "Grüße 東京 🐚",
        "\x07bell",
    ];
    let folder = source();
    for name in names {
        folder.write(&format!("src/{name}/{name}"), name);
    }
    succeeds(&package_function(&folder, &[]));
    let unpacked = unpack(&folder, "function.zip");
    for name in names {
        assert_eq!(unpacked.read(&format!("{name}/{name}")), name);
    }
    assert_eq!(names_in(unpacked.path()).len(), names.len() + 1);
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    let folder = source();
    let name = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(folder.path().join("src").join(name), "").expect("a file");
    let result = package_function(&folder, &[]);
    is_refused(
        &folder,
        &result,
        &["cannot package src/caf\\xe9.txt: its name is not UTF-8"],
    );
    succeeds(&package_function(&folder, &["--exclude", "caf*"]));
}

#[test]
fn line_ends_of_windows_are_refused_in_every_script() {
    let folder = source();
    let from_windows = "echo a\r\necho b\r\n";
    folder.write("src/lib/used.sh", from_windows);
    folder.write("src/it's.bash", from_windows);
    folder.write(
        "src/job",
        format!("#!/usr/bin/env python3\r\n{from_windows}"),
    );
    folder.write("src/only", "#!/bin/sh\r");
    // Not those: no script, a script with one such line, nothing at all.
    folder.write("src/table.csv", from_windows);
    folder.write("src/mail.sh", "cat <<X\nSubject: a\r\nX\n");
    folder.write("src/none.sh", "");
    let files = "'src/it'\\''s.bash' src/job src/lib/used.sh src/only";
    let command = format!("sed -i 's/\\r$//' {files}");
    let result = package_function(&folder, &[]);
    let what = "coshell: cannot package src/it's.bash, src/job, src/lib/used.sh, src/only: lines end in CR LF";
    is_refused(&folder, &result, &[what, &format!(": {command}\n")]);
    let layer = [
        "src",
        "--layer",
        "--bootstrap",
        STATIC,
        "-o",
        "function.zip",
    ];
    is_refused(&folder, &package(&folder, &layer), &[&command]);
    let mut mend = Command::new("bash");
    mend.args(["-c", &command]).current_dir(folder.path());
    succeeds(&CommandOutput::of(mend));
    succeeds(&package_function(&folder, &[]));
}

/// The command is run where it was printed, and then nothing is wrong any more.
#[test]
fn what_an_editor_did_to_any_script_is_refused_and_can_be_mended() {
    let utf16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff_u16).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let folder = source();
    let mark = |text: &str| ["\u{feff}", text].concat();
    folder.write("src/lib/marked one.bash", mark("greet() { :; }\n"));
    folder.write("src/job", mark("#!/bin/sh\n"));
    folder.write("src/it's.sh", utf16("greet() { :; }\n"));
    folder.write_program("src/tool", utf16("#!/bin/sh\n"));
    // No scripts.
    folder.write("src/table.csv", mark("name,size\n"));
    folder.write("src/list.txt", utf16("name\n"));
    for what in [
        "cannot package src/it's.sh, src/tool: it is UTF-16, ",
        "cannot package src/job, src/lib/marked one.bash: it begins with a byte order mark, ",
    ] {
        let result = package_function(&folder, &[]);
        is_refused(&folder, &result, &[what]);
        let (_, command) = result
            .stderr
            .split_once("; convert with: ")
            .expect("a command");
        let mut mend = Command::new("bash");
        mend.args(["-ec", command]).current_dir(folder.path());
        succeeds(&CommandOutput::of(mend));
    }
    succeeds(&package_function(&folder, &[]));
    let unpacked = unpack(&folder, "function.zip");
    assert_eq!(unpacked.read("lib/marked one.bash"), "greet() { :; }\n");
    assert_eq!(unpacked.read("job"), "#!/bin/sh\n");
    assert!(listing(unpacked.path()).contains(&"tool 755".to_owned()));
}

#[test]
fn scripts_with_some_line_ends_of_windows_are_packed_with_a_warning() {
    let folder = source();
    folder.write("src/lib/two words.sh", "a() { :; }\nb() { :; }\r\n");
    let result = package_function(&folder, &[]);
    succeeds(&result);
    for part in [
        "lib/two words.sh:2  warning  line-ends  1 of 2 lines of lib/two words.sh end in CR LF",
        "try: sed -i 's/\\r$//' 'lib/two words.sh'\n",
    ] {
        assert!(result.stderr.contains(part), "{part} is not in {result:?}");
    }
    fs::remove_file(folder.path().join("function.zip")).expect("a zip file");
    let result = package_function(&folder, &["--strict"]);
    is_refused(&folder, &result, &["1 of 2 lines"]);
}

#[test]
fn errors_of_the_check_refuse_the_package_and_leave_the_old_one() {
    let folder = source();
    folder.write("function.zip", "the old one");
    let words = [&FUNCTION[..2], &["function.hander"], &FUNCTION[3..]].concat();
    let result = package(&folder, &words);
    assert_eq!(
        (result.status, result.stdout.as_str()),
        (1, ""),
        "{result:?}"
    );
    let lines: Vec<_> = result.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "function.sh  error    function  cannot load handler function.hander: function.sh defines no function hander; it defines handler"
    );
    assert!(
        lines[1].trim_start().starts_with("try: function.handler"),
        "{result:?}"
    );
    assert_eq!(
        lines.last(),
        Some(&"function.hander: function hander in function.sh: 1 error")
    );
    assert_eq!(folder.read("function.zip"), "the old one");
    let words = [&FUNCTION[..2], &["nothing"], &FUNCTION[3..]].concat();
    let result = package(&folder, &words);
    assert!(
        result
            .stderr
            .contains("the name of a file in the package\n"),
        "{result:?}"
    );
    succeeds(&package_function(&folder, &[]));
    assert_ne!(folder.read("function.zip"), "the old one");
}

#[test]
fn warnings_are_printed_and_stop_nothing_unless_they_count() {
    let folder = source();
    folder.write("src/function.sh", HEALTHY.replace("printf '%s'", "jq ."));
    let warning = "function.sh:3  warning  command  jq is not in the image al2023";
    let result = package_function(&folder, &["--strict"]);
    is_refused(&folder, &result, &[warning]);
    let result = package_function(&folder, &[]);
    succeeds(&result);
    assert!(result.stderr.starts_with(warning), "{result:?}");
    assert!(result.stdout.starts_with("function.zip: "), "{result:?}");
    for words in [["--with", "jq"], ["--image", "none"]] {
        let result = package_function(&folder, &[&["--strict"], &words[..]].concat());
        succeeds(&result);
        assert_eq!(result.stderr, "");
    }
}

#[test]
fn what_is_checked_is_what_is_packed() {
    let folder = source();
    folder.write("src/function.sh", format!("{HEALTHY}. ./lib.sh\n"));
    set_mode(&folder.write("src/lib.sh", ""), 0o600);
    let result = package_function(&folder, &[]);
    // The mode here is not the mode there.
    assert_eq!(
        (result.status, result.stderr.as_str()),
        (0, ""),
        "{result:?}"
    );
    let result = package_function(&folder, &["--exclude", "lib.sh"]);
    let warning = "function.sh:5  warning  source  sources lib.sh, which is not in the task root";
    assert!(result.stderr.starts_with(warning), "{result:?}");
}

#[test]
fn a_bootstrap_of_the_users_own_is_in_the_way() {
    let folder = source();
    folder.write_program("src/bootstrap", "#!/bin/sh\n");
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--bootstrap",
        STATIC,
    ];
    for place in [["-o", "function.zip"], ["--image-context", "image"]] {
        let result = package(&folder, &[&words, &place[..]].concat());
        is_refused(
            &folder,
            &result,
            &["cannot package src/bootstrap: ", STATIC],
        );
        assert!(!folder.exists("image"));
    }
    let without = package(
        &folder,
        &[
            &words,
            &["--exclude", "/bootstrap", "-o", "function.zip"][..],
        ]
        .concat(),
    );
    succeeds(&without);
    succeeds(&package_function(&folder, &[]));
    assert_eq!(
        unpack(&folder, "function.zip").read("bootstrap"),
        "#!/bin/sh\n"
    );
}

#[test]
fn bootstraps_that_would_not_start_are_refused() {
    let folder = source();
    let text = folder.write_program("text", "#!/bin/bash\necho\n");
    let text = text.to_string_lossy();
    // The fields of the ELF header: class, system, type, machine; elf(5).
    let class = altered(&folder, "class", 4, 1);
    let system = altered(&folder, "system", 7, 9);
    let object = altered(&folder, "object", 16, 1);
    let machine = altered(&folder, "machine", 18, 243);
    let short = folder.write("short", &fs::read(STATIC).expect("bash-static")[..100]);
    let short = short.to_string_lossy();
    for (bootstrap, words) in [
        (DYNAMIC, "it is dynamically linked"),
        (&*text, "it is no program for 64-bit Linux"),
        (&class, "it is no program for 64-bit Linux"),
        (&system, "it is no program for 64-bit Linux"),
        (&object, "it is no program for 64-bit Linux"),
        (&short, "it is no program for 64-bit Linux"),
    ] {
        let words_of_it = [
            "src",
            "--handler",
            "function.handler",
            "--bootstrap",
            bootstrap,
            "-o",
            "function.zip",
        ];
        let result = package(&folder, &words_of_it);
        let what = format!("coshell: cannot use bootstrap {bootstrap}: {words}");
        is_refused(
            &folder,
            &result,
            &[
                &what,
                "`make bootstrap` builds a static one, which coshell finds without --bootstrap",
            ],
        );
    }
    let words = [
        "src",
        "--handler",
        "function.handler",
        "-o",
        "function.zip",
        "--bootstrap",
    ];
    let result = package(&folder, &[&words, &[machine.as_str()][..]].concat());
    is_refused(&folder, &result, &["neither x86_64 nor arm64"]);
    let result = package(&folder, &[&words, &["gone"][..]].concat());
    result.assert_failed(2, "cannot read bootstrap gone: No such file");
    assert!(result.stderr.contains("`make bootstrap`"), "{result:?}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for (name, mode) in [("src/secret", 0o600), ("src/folder", 0o700)] {
        let folder = source();
        folder.write("src/folder/a", "");
        folder.write("src/secret", "");
        set_mode(&folder.path().join(name), mode);
        set_mode(folder.path(), 0o777);
        let mut command = Command::new(AS_ANOTHER_USER[0]);
        command
            .args(&AS_ANOTHER_USER[1..])
            .args([coshell_path(), "package"])
            .args(FUNCTION)
            .current_dir(folder.path());
        let result = CommandOutput::of(command);
        let words = format!("coshell: cannot read {name}: Permission denied (os error 13)\n");
        assert_eq!((result.status, result.stderr), (2, words));
    }
}

#[test]
fn architecture_is_reported_and_can_be_required() {
    let (own, other, machine) = ARCHITECTURES;
    let folder = source();
    let foreign = altered(&folder, "foreign", 18, machine);
    let of = |bootstrap: &str, arch: &str| {
        let words = ["src", "--handler", "function.handler", "-o", "function.zip"];
        package(
            &folder,
            &[&words, &["--bootstrap", bootstrap, "--arch", arch][..]].concat(),
        )
    };
    let result = of(&foreign, own);
    is_refused(
        &folder,
        &result,
        &[&format!("it is for {other}, and --arch asks for {own}")],
    );
    let result = of(STATIC, other);
    is_refused(
        &folder,
        &result,
        &[&format!("it is for {own}, and --arch asks for {other}")],
    );
    let result = of(&foreign, other);
    succeeds(&result);
    let words = format!(" unpacked), {other}, handler");
    assert!(result.stdout.contains(&words), "{result:?}");
}

#[test]
fn layer_has_bootstrap_and_what_is_given() {
    let folder = TaskRoot::new();
    folder.write_program("tools/bin/jq", "a program");
    folder.write("tools/broken.sh", "if\n");
    let result = package(
        &folder,
        &["--layer", "tools", "--bootstrap", STATIC, "-o", "layer.zip"],
    );
    succeeds(&result);
    assert!(!result.stdout.contains("handler"), "{result:?}");
    let expected = ["bin/ 755", "bin/jq 755", "bootstrap 755", "broken.sh 644"];
    assert_eq!(listing(unpack(&folder, "layer.zip").path()), expected);
    succeeds(&package(
        &folder,
        &["--layer", "--bootstrap", STATIC, "-o", "layer.zip"],
    ));
    assert_eq!(
        listing(unpack(&folder, "layer.zip").path()),
        ["bootstrap 755"]
    );
}

#[test]
fn image_context_is_what_docker_build_copies() {
    let folder = source();
    folder.write("src/lib/a.sh", "");
    set_mode(&folder.path().join("src/lib"), 0o700);
    symlink("function.sh", folder.path().join("src/link.sh")).expect("a link");
    let mut command = Command::new("bash");
    let words = [
        "src",
        "--handler",
        "function.sh.handler",
        "--bootstrap",
        STATIC,
        "--image-context",
        "image",
    ];
    command
        .args([
            "-c",
            "umask 077; exec \"$@\"",
            "bash",
            coshell_path(),
            "package",
        ])
        .args(words)
        .current_dir(folder.path());
    let result = CommandOutput::of(command);
    succeeds(&result);
    let bytes = fs::metadata(STATIC).expect("bash-static").len() + HEALTHY.len() as u64;
    let own = ARCHITECTURES.0;
    let line = format!("image: 4 files, {bytes} bytes, {own}, handler function.sh.handler\n");
    assert_eq!((result.stdout, result.stderr), (line, String::new()));
    let expected = [
        "Dockerfile 644",
        "var/ 755",
        "var/runtime/ 755",
        "var/runtime/bootstrap 755",
        "var/task/ 755",
        "var/task/function.sh 644",
        "var/task/lib/ 755",
        "var/task/lib/a.sh 644",
        "var/task/link.sh -> function.sh",
    ];
    assert_eq!(listing(&folder.path().join("image")), expected);
    let root = fs::metadata(folder.path().join("image")).expect("a folder");
    assert_eq!(root.permissions().mode() & 0o777, 0o755);
    let dockerfile = folder.read("image/Dockerfile");
    let lines: Vec<_> = dockerfile
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let expected = [
        "FROM public.ecr.aws/lambda/provided:al2023",
        "COPY var /var/",
        "CMD [\"function.sh.handler\"]",
    ];
    assert_eq!(lines, expected);
    let bootstrap = fs::read(folder.path().join("image/var/runtime/bootstrap"));
    assert!(bootstrap.expect("bootstrap") == fs::read(STATIC).expect("bash-static"));
}

#[test]
fn image_context_takes_the_place_of_nothing() {
    let folder = source();
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--without-bootstrap",
        "--image-context",
        "image",
    ];
    folder.write("image/kept", "kept");
    let result = package(&folder, &words);
    result.assert_failed(
        2,
        "cannot write image context to image: the folder is not empty",
    );
    assert_eq!(names_in(&folder.path().join("image")), ["kept"]);
    fs::remove_file(folder.path().join("image/kept")).expect("a file");
    succeeds(&package(
        &folder,
        &[&words, &["--base", "own:1"][..]].concat(),
    ));
    assert!(folder.read("image/Dockerfile").contains("\nFROM own:1\n"));
    assert!(!folder.exists("image/var/runtime"));
    folder.write("file", "kept");
    let result = package(&folder, &[&words[..5], &["file"]].concat());
    assert_eq!(
        (result.status, folder.read("file").as_str()),
        (2, "kept"),
        "{result:?}"
    );
    // What the check refuses is not there.
    let words = [
        "src",
        "--handler",
        "none.such",
        "--without-bootstrap",
        "--base=own:1",
        "--image-context",
        "other",
    ];
    assert_eq!(package(&folder, &words).status, 1);
    assert!(!folder.exists("other"));
}

#[test]
fn output_in_the_packed_folder_is_not_packed() {
    let folder = source();
    let words = [
        ".",
        "--handler",
        "function.handler",
        "--without-bootstrap",
        "-o",
    ];
    let src = folder.path().join("src");
    for output in ["function.zip", "./function.zip", "../src/function.zip"] {
        let words = [&words, &[output][..]].concat();
        for _ in 0..2 {
            let result = package_of(&src, words.iter().map(OsStr::new));
            succeeds(&result);
            assert!(result.stdout.contains(": 1 file, "), "{result:?}");
        }
    }
    // An own file of that name elsewhere is.
    folder.write("src/lib/function.zip", "");
    let words = [&words, &["function.zip"][..]].concat();
    let result = package_of(&src, words.iter().map(OsStr::new));
    assert!(result.stdout.contains(": 2 files, "), "{result:?}");
}

#[test]
fn what_matches_is_left_out() {
    let folder = source();
    for name in [
        "README.md",
        "lib/notes.md",
        "lib/a.sh",
        "tests/a.sh",
        "lib/tests/b",
        ".git/HEAD",
        "lib/.git",
        ".gitignore",
        "log/a",
        "x/log",
    ] {
        folder.write(&format!("src/{name}"), "");
    }
    let words = [
        "--exclude",
        "*.md",
        "--exclude",
        "/tests",
        "--exclude=log/",
        "--exclude=*.orig",
    ];
    let result = package_function(&folder, &words);
    succeeds(&result);
    let unpacked = unpack(&folder, "function.zip");
    let expected = [
        ".gitignore 644",
        "function.sh 644",
        "lib/ 755",
        "lib/a.sh 644",
        "lib/tests/ 755",
        "lib/tests/b 644",
        "x/ 755",
        "x/log 644",
    ];
    assert_eq!(listing(unpacked.path()), expected);
    // A mistake, or not any more needed.
    let idle = "coshell: --exclude *.orig matches nothing\n";
    assert!(result.stderr.starts_with(idle), "{result:?}");
    let result = package_function(&folder, &["--exclude", "a["]);
    assert_eq!(result.status, 2, "{result:?}");
    assert!(
        result.stderr.starts_with("coshell: cannot exclude "),
        "{result:?}"
    );
}

#[test]
fn several_paths_lie_in_the_package_by_their_names() {
    let folder = source();
    folder.write("shared/lib/a.sh", "");
    folder.write("more/lib/b.sh", "");
    let words = [
        &["src/function.sh", "./shared/lib/", "more"],
        &FUNCTION[1..],
    ]
    .concat();
    succeeds(&package(&folder, &words));
    let expected = [
        "function.sh 644",
        "lib/ 755",
        "lib/a.sh 644",
        "more/ 755",
        "more/lib/ 755",
        "more/lib/b.sh 644",
    ];
    assert_eq!(listing(unpack(&folder, "function.zip").path()), expected);
    fs::remove_file(folder.path().join("function.zip")).expect("a file");
    let words = [
        &["src/function.sh", "shared/lib", "more/lib"],
        &FUNCTION[1..],
    ]
    .concat();
    let result = package(&folder, &words);
    is_refused(
        &folder,
        &result,
        &["cannot package more/lib: shared/lib has the same name in the package, lib"],
    );
    let result = package(&folder, &[&[".", "src"], &FUNCTION[1..]].concat());
    result.assert_failed(2, "cannot package .: among several paths each needs a name");
}

#[test]
fn wrong_use_and_files_that_cannot_be_used_have_status_2() {
    let folder = source();
    let handler = ["--handler", "function.handler", "--without-bootstrap"];
    folder.write("src/loop.sh", "");
    fs::create_dir(folder.path().join("taken.zip")).expect("a folder");
    for (words, result) in [
        (&["-o", "a.zip"][..], "required arguments were not provided"),
        (&["src", "-o", "a.zip"], "--handler <NAME>"),
        (&["src"], "<--output <FILE>|--image-context <DIR>>"),
        (
            &["src", "-o", "a.zip", "--image-context", "b"],
            "cannot be used with",
        ),
        (
            &["src", "-o", "a.zip", "--base", "b"],
            "cannot be used with",
        ),
        (&["src", "-o", "a.zip", "--layer"], "cannot be used with"),
        (
            &["gone", "-o", "a.zip"],
            "cannot package gone: No such file",
        ),
        (
            &["src", "-o", "gone/a.zip"],
            "cannot write gone/a.zip: No such file",
        ),
        (
            &["src", "-o", "taken.zip"],
            "cannot write taken.zip: it is a folder; -o names a file",
        ),
        (
            &["src", "-o", "src/function.sh/a.zip"],
            "cannot write src/function.sh/a.zip: Not a directory",
        ),
        (
            &["src", "--base", "own:1", "--image-context", "gone/b"],
            "cannot write image context to gone/b: No such file or directory (os error 2); make its folder: mkdir -p gone\n",
        ),
    ] {
        let is_whole = !matches!(words, ["src"] | ["src", "-o", "a.zip"]);
        let words = if is_whole {
            [words, &handler].concat()
        } else {
            words.to_vec()
        };
        let run = package(&folder, &words);
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (2, ""),
            "{words:?} {run:?}"
        );
        assert!(run.stderr.contains(result), "{result} is not in {run:?}");
    }
    let mut left = names_in(folder.path());
    left.sort();
    assert_eq!(left, ["src", "taken.zip"]);
    assert!(names_in(&folder.path().join("taken.zip")).is_empty());
}

#[test]
fn packages_that_lambda_does_not_unpack_are_refused() {
    let folder = source();
    let large = folder.write("src/model.bin", "");
    let file = File::options().write(true).open(large).expect("a file");
    // A hole: it takes no room, and is refused before it is read.
    let rest = 262_144_000 - u64::try_from(HEALTHY.len()).expect("a length");
    file.set_len(rest + 1).expect("a hole");
    let result = package_function(&folder, &[]);
    is_refused(
        &folder,
        &result,
        &[
            "it has 262144001 bytes, and Lambda unpacks 262144000",
            "--image-context DIR",
        ],
    );
    // With what fits, bootstrap is too much.
    file.set_len(rest).expect("a hole");
    let result = package(
        &folder,
        &[
            "src",
            "--layer",
            "--bootstrap",
            STATIC,
            "-o",
            "function.zip",
        ],
    );
    is_refused(&folder, &result, &["and Lambda unpacks 262144000"]);
}

#[test]
fn zip_files_that_need_s3_are_made_with_a_warning() {
    let folder = source();
    write_noise(&folder, "src/model.bin", 52_000_000);
    let result = package_function(&folder, &[]);
    assert_eq!(
        (result.status, result.stderr.as_str()),
        (0, ""),
        "{result:?}"
    );
    write_noise(&folder, "src/more.bin", 428_800);
    let result = package_function(&folder, &[]);
    succeeds(&result);
    let bytes = fs::metadata(folder.path().join("function.zip")).expect("a zip");
    let words = format!(
        "coshell: function.zip has {} bytes: above 52428800 ",
        bytes.len()
    );
    assert!(result.stderr.starts_with(&words), "{result:?}");
}

#[test]
fn object_for_machines_says_what_was_made() {
    let folder = source();
    let result = package_function(&folder, &["--json"]);
    succeeds(&result);
    let document: Value = serde_json::from_str(&result.stdout).expect("JSON");
    let zip = fs::read(folder.path().join("function.zip")).expect("a zip");
    let mut python = Command::new("python3");
    let script = "import base64, hashlib, sys\nprint(base64.b64encode(hashlib.sha256(open(sys.argv[1], 'rb').read()).digest()).decode())";
    python
        .args(["-c", script])
        .arg(folder.path().join("function.zip"));
    let hash = CommandOutput::of(python).stdout;
    assert_eq!(document["codeSha256"], hash.trim_end());
    let expected = serde_json::json!({
        "file": "function.zip",
        "bytes": zip.len(),
        "unpackedBytes": HEALTHY.len(),
        "files": 1,
        "architecture": null,
        "handler": "function.handler",
        "codeSha256": document["codeSha256"],
        "bootstrap": null,
        "leftOut": [],
    });
    assert_eq!(document, expected);
}

#[test]
fn signal_leaves_nothing_behind() {
    let folder = source();
    folder.write("function.zip", "the old one");
    // So much that it is not done when the signal comes.
    write_noise(&folder, "src/model.bin", 100_000_000);
    let temporary = TaskRoot::new();
    let mut command = Command::new(coshell_path());
    command
        .arg("package")
        .args(FUNCTION)
        .current_dir(folder.path())
        .env("TMPDIR", temporary.path());
    let process = Process::start(command);
    let is_temporary = |name: &String| name.starts_with(".coshell-");
    wait_until(|| names_in(folder.path()).iter().any(is_temporary), LIMIT);
    let names = names_in(folder.path());
    let name = names.iter().find(|name| is_temporary(name));
    let name = name.expect("waited for it");
    let temporary_file = File::open(folder.path().join(name)).expect("a file");
    process.signal(Signal::SIGTERM);
    let status = process.wait_exit(LIMIT);
    assert_eq!(status.code(), Some(128 + 15), "{}", process.final_log());
    assert_eq!(process.final_log(), "");
    // It did not go on to the end of the file that it was at.
    let written = temporary_file.metadata().expect("a file").len();
    assert!(written < 100_000_000, "{written}");
    assert!(names_in(temporary.path()).is_empty());
    let mut left = names_in(folder.path());
    left.sort();
    assert_eq!(left, ["function.zip", "src"]);
    assert_eq!(folder.read("function.zip"), "the old one");
}
