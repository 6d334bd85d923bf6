//! Finds a bootstrap in the places where the ordinary ways to build or to install coshell leave one.
//!
//! In this order: bundled with coshell, as in every release build, which is of the same version; beside coshell, as in a release's
//! archive; in cargo's target folder that coshell itself lies in; in that of the checkout that the current folder is in. The first static
//! program for the right architecture is taken.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bootstrap::{Architecture, Bootstrap, Source, read_program, wrong_architecture};
use super::error::{Error, Result};
use coshell_handler::bash::shell_word;

/// The profiles that a static bootstrap is built with.
const PROFILES: [&str; 2] = ["bootstrap", "release"];
/// How far above a program cargo's target folder is: `target/x86_64-unknown-linux-gnu/debug/coshell`.
const MAX_LEVELS: usize = 3;

/// A bootstrap that was found, and the programs that came before it but would not work.
#[derive(Debug)]
pub(crate) struct Found {
    pub bootstrap: Bootstrap,
    /// `<place>: <reason>`
    pub passed_over: Vec<String>,
}

/// Looks for a bootstrap for `wanted`, or for either architecture.
///
/// # Errors
/// [`Error::Misuse`] when no place has one: it names all of them, and the command that builds one.
pub(crate) fn search(
    bundled: Option<&'static [u8]>,
    wanted: Option<Architecture>,
) -> Result<Found> {
    let own = env::current_exe().map_err(Error::io("cannot find coshell's own program"))?;
    let checkout = current_checkout();
    let mut passed_over = Vec::new();
    let mut missing = Vec::new();
    for place in places(&own, checkout.as_deref(), wanted) {
        let program = match read(&place, bundled) {
            Ok(program) => program,
            Err(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                let list = if is_missing {
                    &mut missing
                } else {
                    &mut passed_over
                };
                list.push(format!("{place}: {error}"));
                continue;
            }
        };
        match Bootstrap::new(place.clone(), program) {
            Ok(bootstrap) => match wanted {
                Some(wanted) if bootstrap.architecture != wanted => {
                    let cause = wrong_architecture(bootstrap.architecture, wanted);
                    passed_over.push(format!("{place}: {cause}"));
                }
                _ => {
                    return Ok(Found {
                        bootstrap,
                        passed_over,
                    });
                }
            },
            Err(unfit) => passed_over.push(format!("{place}: {unfit}")),
        }
    }
    passed_over.extend(missing);
    let of = wanted.map(|one| format!(" for {}", one.name()));
    Err(Error::misuse(
        format!("cannot find a bootstrap{}", of.unwrap_or_default()),
        format!(
            "no place has one that works on Lambda\n  {}\n{}",
            passed_over.join("\n  "),
            advice(&own, checkout.as_deref(), wanted)
        ),
    ))
}

/// The files that a bootstrap would be looked for in, whether they are there or not.
pub(crate) fn files(wanted: Option<Architecture>) -> Vec<PathBuf> {
    let own = env::current_exe().unwrap_or_default();
    let places = places(&own, current_checkout().as_deref(), wanted);
    let files = places.into_iter().filter_map(|place| match place {
        Source::File(path) => Some(path),
        Source::Bundled => None,
    });
    files.collect()
}

/// Where one may be, the best first.
fn places(own: &Path, checkout: Option<&Path>, wanted: Option<Architecture>) -> Vec<Source> {
    let mut folders: Vec<_> = target_folder(own).into_iter().collect();
    if let Some(checkout) = checkout {
        let set = env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
        let folder = checkout.join(set.map_or_else(|| PathBuf::from("target"), PathBuf::from));
        folders.push(fs::canonicalize(&folder).unwrap_or(folder));
    }
    folders.dedup();
    let built = folders.iter().flat_map(|folder| built_in(folder, wanted));
    let file = |path: PathBuf| Source::File(short(&path));
    let first = [Source::Bundled, file(own.with_file_name("bootstrap"))];
    first.into_iter().chain(built.map(file)).collect()
}

fn read(place: &Source, bundled: Option<&'static [u8]>) -> io::Result<Cow<'static, [u8]>> {
    match place {
        Source::File(path) => read_program(path).map(Cow::Owned),
        Source::Bundled => bundled.map(Cow::Borrowed).ok_or_else(|| {
            let cause = "none, since this is no release build with the feature bundled-bootstrap";
            io::Error::new(io::ErrorKind::NotFound, cause)
        }),
    }
}

/// The programs that cargo may have built in its target folder: those for the machine that is wanted first.
fn built_in(folder: &Path, wanted: Option<Architecture>) -> Vec<PathBuf> {
    let machine = machine(wanted);
    let usual = format!("{machine}-unknown-linux-gnu");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut targets: Vec<_> = names.filter(|name| name.contains("-linux-")).collect();
    if !targets.contains(&usual) {
        targets.push(usual);
    }
    targets.sort_by_key(|name| (!name.starts_with(machine), name.clone()));
    let mut found = Vec::new();
    for target in targets {
        for profile in PROFILES {
            let file = folder.join(&target).join(profile).join("bootstrap");
            // Where `make bootstrap` would put it is named also if it is not there.
            if file.exists() || (profile == PROFILES[0] && target.starts_with(machine)) {
                found.push(file);
            }
        }
    }
    found
}

fn machine(wanted: Option<Architecture>) -> &'static str {
    match wanted {
        Some(Architecture::X86_64) => "x86_64",
        Some(Architecture::Arm64) => "aarch64",
        None => env::consts::ARCH,
    }
}

/// Cargo's target folder that a program lies in: cargo marks it.
fn target_folder(program: &Path) -> Option<PathBuf> {
    let folders = program.ancestors().skip(1).take(MAX_LEVELS);
    let mut folders = folders.filter(|folder| folder.join("CACHEDIR.TAG").is_file());
    folders.next().map(Path::to_owned)
}

fn is_checkout(folder: &Path) -> bool {
    folder.join("src/bootstrap/build").is_file() && folder.join("Makefile").is_file()
}

fn current_checkout() -> Option<PathBuf> {
    let current = env::current_dir().ok()?;
    let mut folders = current.ancestors().filter(|folder| is_checkout(folder));
    folders.next().map(Path::to_owned)
}

/// The path as it is from the current folder, if it lies below it.
fn short(path: &Path) -> PathBuf {
    let current = env::current_dir().unwrap_or_default();
    path.strip_prefix(&current).unwrap_or(path).to_owned()
}

/// The command that makes a bootstrap.
fn advice(own: &Path, checkout: Option<&Path>, wanted: Option<Architecture>) -> String {
    const LAYER: &str = "--without-bootstrap is for a function that has it from a layer";
    if let Some(wanted) = wanted
        && machine(Some(wanted)) != env::consts::ARCH
    {
        let name = wanted.name();
        return format!(
            "`make bootstrap` on a machine for {name} builds one, and the release archive for {name} has one: name it by \
             --bootstrap FILE; {LAYER}"
        );
    }
    let of_own = target_folder(own).and_then(|folder| Some(folder.parent()?.to_owned()));
    let of_own = of_own.filter(|folder| is_checkout(folder));
    if let Some(checkout) = of_own.as_deref().or(checkout) {
        let checkout = short(checkout);
        let folder = if checkout.as_os_str().is_empty() {
            String::new()
        } else {
            format!("-C {} ", shell_word(&checkout.to_string_lossy()))
        };
        return format!("build one: make {folder}bootstrap\ncoshell finds it then; {LAYER}");
    }
    format!(
        "`make bootstrap` in coshell's repository builds one at target/HOST/bootstrap/bootstrap: name it by --bootstrap FILE; \
         `cargo install --path . --locked` there installs a coshell that has one bundled, and a release's archive has one beside \
         coshell; {LAYER}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_folder_is_the_one_that_cargo_marks() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let target = root.path().join("target");
        fs::create_dir(&target)?;
        let of = |program: &str| target_folder(&target.join(program));
        assert_eq!(of("debug/coshell"), None);
        fs::write(target.join("CACHEDIR.TAG"), "")?;
        for program in [
            "debug/coshell",
            "debug/deps/coshell",
            "x86_64-unknown-linux-gnu/dist/coshell",
        ] {
            assert_eq!(of(program), Some(target.clone()), "{program}");
        }
        assert_eq!(of("package/a/b/coshell"), None);
        Ok(())
    }

    #[test]
    fn programs_for_the_machine_that_is_wanted_come_first() -> io::Result<()> {
        let target = tempfile::tempdir()?;
        let make = |name: &str| {
            let file = target.path().join(name);
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(file, "")
        };
        make("aarch64-unknown-linux-gnu/release/bootstrap")?;
        make("x86_64-unknown-linux-musl/release/bootstrap")?;
        make("debug/bootstrap")?;
        let names = |wanted| {
            let files = built_in(target.path(), Some(wanted)).into_iter();
            let names = files.filter_map(|file| {
                Some(file.strip_prefix(target.path()).ok()?.display().to_string())
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(
            names(Architecture::X86_64),
            [
                "x86_64-unknown-linux-gnu/bootstrap/bootstrap",
                "x86_64-unknown-linux-musl/bootstrap/bootstrap",
                "x86_64-unknown-linux-musl/release/bootstrap",
                "aarch64-unknown-linux-gnu/release/bootstrap",
            ]
        );
        assert_eq!(
            names(Architecture::Arm64),
            [
                "aarch64-unknown-linux-gnu/bootstrap/bootstrap",
                "aarch64-unknown-linux-gnu/release/bootstrap",
                "x86_64-unknown-linux-musl/release/bootstrap",
            ]
        );
        Ok(())
    }

    /// As much of a program as is looked at: the header, `elf(5)`.
    fn program(machine: u8) -> &'static [u8] {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(64, 0);
        for (at, byte) in [(16, 2), (18, machine), (20, 1), (52, 64), (54, 56)] {
            header[at] = byte;
        }
        header.leak()
    }

    #[test]
    fn the_bundled_one_is_taken_before_any_file() {
        for (machine, architecture) in [(62, Architecture::X86_64), (183, Architecture::Arm64)] {
            let bundled = program(machine);
            for wanted in [None, Some(architecture)] {
                let found = search(Some(bundled), wanted).map(|found| found.bootstrap);
                let is_bundled = found.is_ok_and(|one| {
                    one.source == Source::Bundled
                        && one.program == bundled
                        && one.architecture == architecture
                });
                assert!(is_bundled, "{machine} {wanted:?}");
            }
        }
        let beside = Source::File(PathBuf::from("/bin/bootstrap"));
        let places = places(Path::new("/bin/coshell"), None, None);
        assert_eq!(places, [Source::Bundled, beside]);
        let none = read(&Source::Bundled, None);
        assert!(none.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }
}
