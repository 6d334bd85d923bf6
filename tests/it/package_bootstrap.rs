//! Which bootstrap `coshell package` puts in, if none is named.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::package::{
    ARCHITECTURES, DYNAMIC, STATIC, altered, listing, names_in, source, succeeds, unpack,
};
use support::{CommandOutput, TaskRoot, coshell_path};

/// A folder in which coshell was built or installed.
struct Installed {
    root: TaskRoot,
    coshell: PathBuf,
}

impl Installed {
    /// coshell lies at `place` of it. A program knows where it lies by its own name: by a link it would be elsewhere.
    fn at(place: &str) -> Self {
        let root = TaskRoot::new();
        let coshell = root.path().join(place);
        fs::create_dir_all(coshell.parent().expect("a folder")).expect("a folder");
        if fs::hard_link(coshell_path(), &coshell).is_err() {
            fs::copy(coshell_path(), &coshell).expect("a copy");
        }
        Self { root, coshell }
    }

    fn put(&self, program: &str, name: &str) -> PathBuf {
        let file = self.root.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::copy(program, &file).expect("a copy");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("a mode");
        file
    }

    /// Packs a function of `folder` there.
    fn package(&self, folder: &Path, options: &[&str]) -> CommandOutput {
        let words = [
            "package",
            "src",
            "--handler",
            "function.handler",
            "-o",
            "function.zip",
        ];
        self.run(folder, &[&words, options].concat())
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new(&self.coshell);
        command
            .args(arguments)
            .current_dir(folder)
            .env_remove("CARGO_TARGET_DIR");
        CommandOutput::of(command)
    }
}

#[test]
fn bootstrap_beside_coshell_is_taken_and_named() {
    let folder = source();
    let installed = Installed::at("bin/coshell");
    let bootstrap = installed.put(STATIC, "bin/bootstrap");
    let result = installed.package(folder.path(), &[]);
    succeeds(&result);
    assert_eq!(
        result.stderr,
        format!("coshell: bootstrap is {}\n", bootstrap.display())
    );
    let unpacked = unpack(&folder, "function.zip");
    assert_eq!(
        listing(unpacked.path()),
        ["bootstrap 755", "function.sh 644"]
    );
    let result = installed.package(folder.path(), &["--json"]);
    let document: Value = serde_json::from_str(&result.stdout).expect("JSON");
    assert_eq!(document["bootstrap"], *bootstrap.to_string_lossy());
    // The one that is named is not worth a line.
    let result = installed.package(folder.path(), &["--bootstrap", STATIC]);
    assert_eq!((result.status, result.stderr.as_str()), (0, ""));
}

#[test]
fn coshell_tools_is_packed_if_a_script_needs_it_and_into_every_layer() {
    let folder = source();
    let installed = Installed::at("bin/coshell");
    installed.put(STATIC, "bin/bootstrap");
    installed.put(STATIC, "bin/coshell-tools");
    let names = |archive: &str| listing(unpack(&folder, archive).path());
    succeeds(&installed.package(folder.path(), &[]));
    assert_eq!(names("function.zip"), ["bootstrap 755", "function.sh 644"]);
    let layer = ["package", "--layer", "-o", "layer.zip"];
    succeeds(&installed.run(folder.path(), &layer));
    assert_eq!(names("layer.zip"), ["bootstrap 755", "coshell-tools 755"]);
    let handler = "# shellcheck shell=bash\nhandler() {\n  jq . <<<\"$1\"\n}\n";
    folder.write("src/function.sh", handler);
    let result = installed.package(folder.path(), &["--strict"]);
    succeeds(&result);
    assert!(!result.stderr.contains("jq"), "{}", result.stderr);
    let with_tools = ["bootstrap 755", "coshell-tools 755", "function.sh 644"];
    assert_eq!(names("function.zip"), with_tools);
    // One for another architecture is of no use.
    let other = altered(&folder, "other", 18, ARCHITECTURES.2);
    installed.put(&other, "bin/coshell-tools");
    let result = installed.package(folder.path(), &[]);
    succeeds(&result);
    assert!(result.stderr.contains("jq is not in"), "{}", result.stderr);
    assert_eq!(names("function.zip"), ["bootstrap 755", "function.sh 644"]);
    // `make tools` leaves one here.
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    installed.root.write("CACHEDIR.TAG", "");
    installed.put(STATIC, &format!("{host}/bootstrap/coshell-tools"));
    succeeds(&installed.package(folder.path(), &[]));
    assert_eq!(names("function.zip"), with_tools);
}

#[test]
fn after_make_bootstrap_a_coshell_that_cargo_built_finds_it() {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = format!("target/{host}/bootstrap/bootstrap");
    let folder = source();
    for place in [
        "target/debug/coshell",
        &format!("target/{host}/dist/coshell"),
    ] {
        let installed = Installed::at(place);
        installed.root.write("target/CACHEDIR.TAG", "");
        let beside = installed.put(DYNAMIC, place.replace("coshell", "bootstrap").as_str());
        let bootstrap = installed.put(STATIC, &built);
        let result = installed.package(folder.path(), &[]);
        succeeds(&result);
        let line = format!(
            "coshell: bootstrap is {}; not {}: it is dynamically linked, and the C library of the image may be too old for it\n",
            bootstrap.display(),
            beside.display()
        );
        assert_eq!(result.stderr, line);
        // As another would build it, without make.
        let other = installed.put(STATIC, &built.replace("/bootstrap/b", "/release/b"));
        fs::remove_file(bootstrap).expect("a file");
        let result = installed.package(folder.path(), &[]);
        assert!(
            result
                .stderr
                .contains(&format!("bootstrap is {}; not", other.display())),
            "{result:?}"
        );
    }
}

#[test]
fn bootstrap_of_the_checkout_that_one_is_in_is_found() {
    let installed = Installed::at("bin/coshell");
    let checkout = TaskRoot::new();
    checkout.write("Makefile", "bootstrap:\n");
    checkout.write("src/bootstrap/build", "");
    checkout.write("some/folder/src/function.sh", crate::package::HEALTHY);
    let inside = checkout.path().join("some/folder");
    let result = installed.package(&inside, &[]);
    assert_eq!(result.status, 2, "{result:?}");
    let command = format!(
        "\nbuild one: make -C {} bootstrap\n",
        checkout.path().display()
    );
    assert!(result.stderr.contains(&command), "{result:?}");
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = checkout
        .path()
        .join(format!("target/{host}/bootstrap/bootstrap"));
    fs::create_dir_all(built.parent().expect("a folder")).expect("a folder");
    fs::copy(STATIC, &built).expect("a copy");
    let result = installed.package(&inside, &[]);
    succeeds(&result);
    assert_eq!(
        result.stderr,
        format!("coshell: bootstrap is {}\n", built.display())
    );
}

/// What bootstrap is not found for, and what to do, is in one message.
#[test]
fn places_and_a_command_are_named_if_there_is_no_bootstrap() {
    let folder = source();
    let installed = Installed::at("target/debug/coshell");
    let beside = installed.put(DYNAMIC, "target/debug/bootstrap");
    let dynamic = format!("\n  {}: it is dynamically linked", beside.display());
    let bundled = "\n  bundled with coshell: none";
    // In no folder of cargo's.
    let result = installed.package(folder.path(), &[]);
    assert_eq!(
        (result.status, result.stdout.as_str()),
        (2, ""),
        "{result:?}"
    );
    assert!(
        result.stderr.starts_with(
            "coshell: cannot find a bootstrap: no place has one that works on Lambda\n"
        ),
        "{result:?}"
    );
    for part in [
        &*dynamic,
        bundled,
        "\n`make bootstrap` in coshell's repository builds one",
        "`cargo install --path . --locked`",
    ] {
        assert!(result.stderr.contains(part), "{part} is not in {result:?}");
    }
    assert_eq!(names_in(folder.path()), ["src"]);
    // In a checkout.
    installed.root.write("target/CACHEDIR.TAG", "");
    installed.root.write("Makefile", "bootstrap:\n");
    installed.root.write("src/bootstrap/build", "");
    let result = installed.package(folder.path(), &[]);
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let root = installed.root.path().display();
    let place = format!("\n  {root}/target/{host}/bootstrap/bootstrap: No such file or directory");
    let command = format!("\nbuild one: make -C {root} bootstrap\n");
    for part in [&*dynamic, bundled, &place, &command] {
        assert!(result.stderr.contains(part), "{part} is not in {result:?}");
    }
    // Another architecture is for another machine to build.
    let (_, other, _) = ARCHITECTURES;
    let result = installed.package(folder.path(), &["--arch", other]);
    for part in [
        &*format!("cannot find a bootstrap for {other}: "),
        &format!("`make bootstrap` on a machine for {other} builds one"),
    ] {
        assert!(result.stderr.contains(part), "{part} is not in {result:?}");
    }
}

#[test]
fn bootstrap_for_the_architecture_that_is_wanted_is_found() {
    let folder = source();
    let (own, other, machine) = ARCHITECTURES;
    let foreign = altered(&folder, "foreign", 18, machine);
    let installed = Installed::at("bin/coshell");
    let beside = installed.put(STATIC, "bin/bootstrap");
    let result = installed.package(folder.path(), &["--arch", other]);
    let text = format!(
        "\n  {}: it is for {own}, and --arch asks for {other}\n",
        beside.display()
    );
    assert_eq!(result.status, 2, "{result:?}");
    assert!(result.stderr.contains(&text), "{result:?}");
    // The one beside coshell may be for another machine than this.
    installed.put(&foreign, "bin/bootstrap");
    let result = installed.package(folder.path(), &["--arch", other]);
    succeeds(&result);
    let text = format!(" unpacked), {other}, handler");
    assert!(result.stdout.contains(&text), "{result:?}");
}

#[test]
fn an_image_without_bootstrap_wants_a_base_that_has_one() {
    let folder = source();
    let words = [
        "src",
        "--handler",
        "function.handler",
        "--without-bootstrap",
        "--image-context",
        "image",
    ];
    let result = crate::package::package(&folder, &words);
    result.assert_failed(
        2,
        "cannot make an image without bootstrap: public.ecr.aws/lambda/provided:al2023 has none",
    );
    assert!(!folder.exists("image"));
    succeeds(&crate::package::package(
        &folder,
        &[&words, &["--base", "coshell-runtime"][..]].concat(),
    ));
    for base in ["", "a b", "own:1\nRUN id", "-x", "#"] {
        let base = format!("--base={base}");
        let words = [&words[..5], &["other", &*base]].concat();
        let result = crate::package::package(&folder, &words);
        result.assert_failed(2, "expected the name of an image");
    }
}

#[test]
fn a_package_without_the_program_that_a_function_needs_gets_a_warning() {
    let folder = source();
    let installed = Installed::at("bin/coshell");
    installed.put(STATIC, "bin/bootstrap");
    let handler =
        "# shellcheck shell=bash\nhandler() {\n  lambda_secret token name\n  echo \"$token\"\n}\n";
    folder.write("src/function.sh", handler);
    let warning = "lambda_secret needs coshell-tools, and there is none";
    let result = installed.package(folder.path(), &[]);
    succeeds(&result);
    assert!(result.stderr.contains(warning), "{}", result.stderr);
    installed.put(STATIC, "bin/coshell-tools");
    let result = installed.package(folder.path(), &[]);
    assert!(!result.stderr.contains(warning), "{}", result.stderr);
}
