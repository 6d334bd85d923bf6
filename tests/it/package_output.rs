//! `coshell package -o`: what the zip file may take the place of, and what is never lost.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, mknod};

use crate::package::{
    FUNCTION, HEALTHY, STATIC, names_in, package, package_function, set_mode, source, succeeds,
    unpack, write_noise,
};
use support::{AS_ANOTHER_USER, CommandOutput, TaskRoot, coshell_path};

/// Writes to `output`.
#[track_caller]
fn package_to(folder: &TaskRoot, output: &str) -> CommandOutput {
    package(folder, &[&FUNCTION[..5], &[output]].concat())
}

/// Nothing was written, and what lay there is as it was.
#[track_caller]
fn is_refused_at(folder: &TaskRoot, output: &str, cause: &str) {
    let before = names_in(folder.path()).len();
    let result = package_to(folder, output);
    let text = format!("coshell: cannot write {output}: {cause}");
    assert!(
        result.stderr.starts_with(&text),
        "{text} is not in {result:?}"
    );
    assert_eq!(
        (result.status, result.stdout.as_str()),
        (2, ""),
        "{result:?}"
    );
    assert_eq!(names_in(folder.path()).len(), before);
}

#[test]
fn files_that_are_not_regular_stay_what_they_are() {
    let folder = source();
    let place = |name: &str| folder.path().join(name);
    // A device of our own: as root the command of old took /dev/null away.
    let null = nix::sys::stat::makedev(1, 3);
    mknod(&place("device"), SFlag::S_IFCHR, Mode::S_IRWXU, null).expect("a device");
    folder.fifo("fifo");
    let _socket = UnixListener::bind(place("socket")).expect("a socket");
    fs::create_dir(place("folder")).expect("a folder");
    let kinds = ["device", "fifo", "socket", "folder"];
    let causes = [
        "it is a device",
        "it is a named pipe",
        "it is a socket",
        "it is a folder",
    ];
    for (kind, cause) in kinds.iter().zip(causes) {
        let link = format!("link to {kind}");
        symlink(kind, place(&link)).expect("a link");
        symlink(&link, place(&format!("far {kind}"))).expect("a link");
        for output in [kind, &*link, &*format!("far {kind}")] {
            is_refused_at(&folder, output, cause);
        }
        let found = fs::symlink_metadata(place(kind))
            .expect("it is there")
            .file_type();
        assert!(!found.is_file(), "{kind} is a file now");
        assert!(
            fs::symlink_metadata(place(&link))
                .expect("a link")
                .is_symlink()
        );
    }
    let found = fs::metadata(place("device")).expect("a device");
    assert!(found.file_type().is_char_device() && found.rdev() == null);
}

#[test]
fn standard_output_is_no_place_for_a_package() {
    let folder = source();
    symlink("/dev/stdout", folder.path().join("link")).expect("a link");
    for output in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"] {
        is_refused_at(
            &folder,
            output,
            "it leads to /proc, as standard output does; -o names a file",
        );
    }
    is_refused_at(
        &folder,
        "-",
        "a package is written to a file; ./- is a file of that name",
    );
    // Also when it is a regular file.
    let log = File::create(folder.path().join("log")).expect("a file");
    let mut command = Command::new(coshell_path());
    command
        .arg("package")
        .args(&FUNCTION[..5])
        .arg("/dev/stdout")
        .current_dir(folder.path())
        .stdout(log);
    assert_eq!(command.status().expect("coshell").code(), Some(2));
    assert_eq!(folder.read("log"), "");
    succeeds(&package_to(&folder, "./-"));
}

#[test]
fn names_that_are_no_files_are_refused() {
    let folder = source();
    for (output, cause) in [
        ("new/", "it is a folder; -o names a file"),
        ("new/.", "it is a folder; -o names a file"),
        (".", "it is a folder; -o names a file"),
        ("..", "it is a folder; -o names a file"),
        (
            "gone/deep/a.zip",
            "No such file or directory (os error 2); make its folder: mkdir -p gone/deep\n",
        ),
        (
            "go ne/a.zip",
            "No such file or directory (os error 2); make its folder: mkdir -p 'go ne'\n",
        ),
        ("src/function.sh/a.zip", "Not a directory"),
    ] {
        is_refused_at(&folder, output, cause);
    }
    symlink("gone", folder.path().join("dangling")).expect("a link");
    is_refused_at(&folder, "dangling", "it is a link that leads nowhere");
    symlink("loop", folder.path().join("loop")).expect("a link");
    is_refused_at(&folder, "loop", "it is a link that leads nowhere");
}

#[test]
fn a_regular_file_is_replaced_as_a_whole_with_its_rights() {
    let folder = source();
    let old = folder.write("function.zip", "the old one");
    set_mode(&old, 0o4600);
    let other_name = folder.path().join("other.zip");
    fs::hard_link(&old, &other_name).expect("a hard link");
    let mut open = File::open(&old).expect("a file");
    succeeds(&package_function(&folder, &[]));
    let found = fs::metadata(&old).expect("a zip file");
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    assert_eq!(unpack(&folder, "function.zip").read("function.sh"), HEALTHY);
    // Who reads the old one reads on, and its other name keeps it.
    let mut text = String::new();
    open.read_to_string(&mut text).expect("the old file");
    assert_eq!(
        (text.as_str(), &*folder.read("other.zip")),
        ("the old one", "the old one")
    );
}

#[test]
fn links_to_a_regular_file_stay_and_their_file_is_replaced() {
    let folder = source();
    folder.write("builds/7.zip", "the old one");
    symlink("builds/7.zip", folder.path().join("latest")).expect("a link");
    symlink("latest", folder.path().join("function.zip")).expect("a link");
    succeeds(&package_function(&folder, &[]));
    for name in ["latest", "function.zip"] {
        let link = folder.path().join(name);
        assert!(
            fs::symlink_metadata(link).expect("a link").is_symlink(),
            "{name}"
        );
    }
    assert_eq!(unpack(&folder, "builds/7.zip").read("function.sh"), HEALTHY);
    assert_eq!(names_in(&folder.path().join("builds")), ["7.zip"]);
}

/// As a user who is not root, in `folder`.
fn package_as_another_user(folder: &TaskRoot, output: &str) -> CommandOutput {
    let mut command = Command::new(AS_ANOTHER_USER[0]);
    command
        .args(&AS_ANOTHER_USER[1..])
        .args([coshell_path(), "package"])
        .args(&FUNCTION[..5])
        .arg(output)
        .current_dir(folder.path());
    CommandOutput::of(command)
}

#[test]
fn what_may_not_be_written_is_left_as_it_is() {
    let folder = source();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    folder.write("closed/old.zip", "the old one");
    set_mode(&folder.path().join("closed/old.zip"), 0o666);
    set_mode(&closed, 0o755);
    for output in ["closed/old.zip", "closed/new.zip"] {
        let result = package_as_another_user(&folder, output);
        let text = format!("cannot write {output}: a new file cannot be made in ");
        result.assert_failed(2, &text);
        assert!(
            result
                .stderr
                .ends_with("closed: Permission denied (os error 13)\n"),
            "{result:?}"
        );
    }
    assert_eq!(folder.read("closed/old.zip"), "the old one");
    // A file that may not be written, in a folder that may.
    set_mode(&closed, 0o777);
    set_mode(&folder.path().join("closed/old.zip"), 0o444);
    let result = package_as_another_user(&folder, "closed/old.zip");
    result.assert_failed(2, "cannot write closed/old.zip: Permission denied");
    assert_eq!(folder.read("closed/old.zip"), "the old one");
    assert_eq!(names_in(&closed), ["old.zip"]);
}

#[test]
fn a_full_file_system_leaves_the_old_file_alone() {
    let folder = source();
    folder.write("function.zip", "the old one");
    for number in 0..10 {
        write_noise(&folder, &format!("src/noise {number}"), 30_000);
    }
    // No file may have more than 32 KiB: each of these has less, and the zip file more.
    let script = "ulimit -f 32; exec \"$@\"";
    let mut command = Command::new("bash");
    let temporary = TaskRoot::new();
    command
        .args(["-c", script, "bash", coshell_path(), "package"])
        .args(FUNCTION)
        .current_dir(folder.path())
        .env("TMPDIR", temporary.path());
    let result = CommandOutput::of(command);
    assert_eq!(
        (result.status, result.stderr.as_str()),
        (
            2,
            "coshell: cannot write function.zip: File too large (os error 27)\n"
        )
    );
    assert_eq!(folder.read("function.zip"), "the old one");
    let mut left = names_in(folder.path());
    left.sort();
    assert_eq!(left, ["function.zip", "src"]);
    assert!(names_in(temporary.path()).is_empty());
}

#[test]
fn a_file_of_the_package_is_not_lost_to_a_wrong_output() {
    let folder = source();
    folder.write("src/lib.sh", "# shellcheck shell=bash\n");
    folder.write_program("src/data.bin", "data");
    for output in ["src/function.sh", "src/lib.sh", "src/data.bin"] {
        is_refused_at(
            &folder,
            output,
            "it is a file of the package, and no zip file; name another file by -o",
        );
    }
    let words = [
        "src/function.sh",
        "src/lib.sh",
        "--handler",
        "function.handler",
        "--without-bootstrap",
    ];
    let result = package(&folder, &[&words, &["-o", "src/lib.sh"][..]].concat());
    result.assert_failed(2, "cannot write src/lib.sh: it is a file of the package");
    assert_eq!(folder.read("src/function.sh"), HEALTHY);
    // An older package is no part of it, and neither is an empty file.
    folder.write("src/function.zip", "");
    for _ in 0..2 {
        succeeds(&package_to(&folder, "src/function.zip"));
        let unpacked = unpack(&folder, "src/function.zip");
        let mut names = names_in(unpacked.path());
        names.sort();
        assert_eq!(names, ["data.bin", "function.sh", "lib.sh"]);
    }
    // Nor is a link to it, by whose name it is written.
    symlink("function.zip", folder.path().join("src/latest.zip")).expect("a link");
    for output in ["src/latest.zip", "src/function.zip"] {
        succeeds(&package_to(&folder, output));
        assert_eq!(
            names_in(unpack(&folder, "src/function.zip").path()).len(),
            3
        );
    }
    let bootstrap = folder.write("bootstrap", fs::read(STATIC).expect("bash-static"));
    let bootstrap = bootstrap.to_string_lossy();
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--bootstrap",
        &*bootstrap,
        "-o",
        "bootstrap",
    ];
    let result = package(&folder, &words);
    result.assert_failed(
        2,
        "cannot write bootstrap: it is the bootstrap; name another file by -o",
    );
}

#[test]
fn earlier_packages_in_the_package_are_mentioned() {
    let folder = source();
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--bootstrap",
        STATIC,
    ];
    let words = |output| [&words, &["-o", output][..]].concat();
    succeeds(&package(&folder, &words("src/one.zip")));
    let result = package(&folder, &words("src/two.zip"));
    succeeds(&result);
    let line = "coshell: one.zip contains a bootstrap, as an earlier package does; if it is one: --exclude one.zip\n";
    assert_eq!(result.stderr, line);
    folder.write("src/data.zip", "no zip file");
    let result = package(
        &folder,
        &[&words("src/one.zip")[..], &["--exclude", "two.zip"]].concat(),
    );
    succeeds(&result);
    assert_eq!(result.stderr, "");
}

#[test]
fn image_context_may_be_a_folder_that_a_shell_is_in() {
    let folder = source();
    fs::create_dir(folder.path().join("image")).expect("a folder");
    set_mode(&folder.path().join("image"), 0o700);
    symlink("image", folder.path().join("link")).expect("a link");
    let script = "cd image && \"$@\" && ls";
    for (place, context) in [("..", "."), ("..", "../link")] {
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "bash", coshell_path(), "package"])
            .args([&format!("{place}/src"), "--handler", "function.handler"])
            .args(["--bootstrap", STATIC, "--image-context", context])
            .current_dir(folder.path());
        let result = CommandOutput::of(command);
        succeeds(&result);
        assert!(result.stdout.ends_with("\nDockerfile\nvar\n"), "{result:?}");
        let image = folder.path().join("image");
        assert_eq!(
            fs::metadata(&image).expect("a folder").permissions().mode() & 0o777,
            0o700
        );
        let mut left = names_in(&image);
        left.sort();
        assert_eq!(left, ["Dockerfile", "var"]);
        fs::remove_dir_all(image.join("var")).expect("a folder");
        fs::remove_file(image.join("Dockerfile")).expect("a file");
    }
    symlink("gone", folder.path().join("dangling")).expect("a link");
    for context in ["dangling", "/dev/null"] {
        let words = [
            "src",
            "--handler",
            "function.handler",
            "--bootstrap",
            STATIC,
        ];
        let result = package(
            &folder,
            &[&words, &["--image-context", context][..]].concat(),
        );
        result.assert_failed(2, &format!("cannot write image context to {context}: "));
    }
}
