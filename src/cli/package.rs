//! `coshell package`: a function, or a layer, as Lambda takes it.
//!
//! Has [`package`](coshell_package) find the files and write them, and asks
//! [`check`](coshell_check) in between: what has errors is not written.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, ValueHint};
use serde_json::{Value, json};

use crate::bundled::BUNDLED_BOOTSTRAP;
use crate::check::{CheckOptions, as_text, printable};
use crate::error::Error;
use crate::outcome::has_colour;
use crate::terminal::print;
use coshell_emulator::logs::eprint;
use coshell_handler::bash::shell_word;
use coshell_package::bootstrap::{Architecture, Source};
use coshell_package::{
    self, BootstrapChoice, DEFAULT_BASE, Destination, LeftOut, MAX_UPLOAD_BYTES, Order, Package,
    Unwanted, Written,
};

/// At most this many names of each kind of left-out files are printed.
const MAX_NAMES: usize = 6;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("destination").required(true).args(["output", "image_context"])))]
#[command(after_help = "Examples:\n  \
        coshell package src --handler function.sh.handler -o function.zip\n  \
        coshell package function.sh lib --handler function.handler -o function.zip --arch arm64\n  \
        coshell package src --handler report.sh --exclude '*.md' --exclude /tests -o report.zip\n  \
        coshell package src --handler function.handler --without-bootstrap -o function.zip\n  \
        coshell package tools --layer -o layer.zip\n  \
        coshell package src --handler function.handler --image-context image\n\n\
        Exit status:\n  \
        0  it is written; there may have been warnings and notes\n  \
        1  it is refused: it would fail on Lambda, as standard error tells; nothing is written\n  \
        2  it could not be made: wrong use, or a file or standard output cannot be read or written\n  \
        128 + n  ended by signal n; nothing is written")]
pub struct PackageArguments {
    /// A folder, whose contents go to the root of the package; or files and folders, each of which goes
    /// there by its own name
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, required_unless_present = "layer")]
    pub paths: Vec<PathBuf>,

    /// The handler, as Lambda has it: [dir/]file[.sh].function, or a script or an executable with
    /// its arguments; relative to the root of the package
    #[arg(long, value_name = "NAME", required_unless_present = "layer")]
    pub handler: Option<String>,

    /// The zip file to write: a new file, or a regular file, which is replaced when the new one is complete
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// A folder to write for docker build, in place of a zip file; it must be empty, or not be there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub image_context: Option<PathBuf>,

    /// The image that it builds upon, with the entry point of Lambda's or of coshell's images
    #[arg(
        long,
        value_name = "IMAGE",
        conflicts_with_all = ["output", "layer"],
        default_value = DEFAULT_BASE,
        value_parser = image_name
    )]
    pub base: String,

    /// Make a layer: bootstrap and the paths, for /opt. It has no handler; its programs are checked
    #[arg(long, conflicts_with_all = ["handler", "without_bootstrap", "image_context", "image", "with", "strict"])]
    pub layer: bool,

    /// The bootstrap to put in, a static program [default: the first that works on Lambda of: the one
    /// bundled with coshell, the file bootstrap beside coshell, target/HOST/bootstrap/bootstrap and
    /// target/HOST/release/bootstrap of the checkout that coshell was built in or that you are in]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    pub bootstrap: Option<PathBuf>,

    /// Put no bootstrap in: a layer brings it, or the image has it
    #[arg(long, conflicts_with_all = ["bootstrap", "arch"])]
    pub without_bootstrap: bool,

    /// The architecture that bootstrap has to be for
    #[arg(long, value_name = "NAME")]
    pub arch: Option<Architecture>,

    /// Leave out what this matches, as in a .gitignore; may be repeated. The output itself is always
    /// left out
    #[arg(long = "exclude", value_name = "GLOB")]
    pub excludes: Vec<String>,

    /// Take in what this matches although it may hold a secret (.env, private keys, .netrc) or no
    /// function needs it (.git, logs, what editors leave); may be repeated
    #[arg(long = "include", value_name = "GLOB")]
    pub includes: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub check: CheckOptions,

    /// Print an object for machines
    #[arg(long)]
    pub json: bool,
}

/// Packages, and tells what was made.
///
/// # Errors
/// When the package cannot be made. One that is refused is reported here, and has a status of its own.
pub(crate) fn run(arguments: &PackageArguments) -> Result<ExitCode, Error> {
    match package(arguments) {
        Err(Error::Package(error @ coshell_package::Error::Refused { .. })) => {
            eprint(error);
            Ok(ExitCode::FAILURE)
        }
        Err(Error::Package(coshell_package::Error::Stopped { signal })) => {
            Ok(ExitCode::from(128 + signal))
        }
        done => done,
    }
}

fn package(arguments: &PackageArguments) -> Result<ExitCode, Error> {
    let package = Package::prepare(order(arguments)).map_err(Error::Package)?;
    for sentence in &package.idle_globs {
        eprint(sentence);
    }
    if !package.left_out.is_empty() {
        eprint(printable(&left_out_line(&package.left_out)));
    }
    if let Some(function) = package.lacks_tools_for {
        eprint(format_args!(
            "{function} needs coshell-tools, and there is none beside bootstrap or coshell; `make tools` in a clone builds it"
        ));
    }
    for name in &package.earlier_packages {
        eprint(printable(&format!(
            "{name} contains a bootstrap, as an earlier package does; if it is one: --exclude {}",
            shell_word(name)
        )));
    }
    if let Some(handler) = &arguments.handler {
        let task_root = package.task_root().to_owned();
        let subject = arguments.check.subject(handler.into(), task_root);
        let checked = coshell_check::check(&subject);
        // bash and shellcheck get Ctrl-C too, and then know nothing.
        package.check_stopped().map_err(Error::Package)?;
        let mut report = checked.map_err(Error::Shell)?;
        report.name_as_in_package(package.task_root());
        if !report.findings.is_empty() {
            eprint!("{}", as_text(&report, &subject, has_colour()));
        }
        if arguments.check.is_bad(&report) {
            return Ok(ExitCode::FAILURE);
        }
    }
    if arguments.layer {
        let task_root = package.task_root().to_owned();
        let subject = arguments.check.subject("layer".into(), task_root);
        let mut report = coshell_check::check_layer(&subject);
        report.name_as_in_package(package.task_root());
        if !report.findings.is_empty() {
            eprint!("{}", as_text(&report, &subject, has_colour()));
        }
        if arguments.check.is_bad(&report) {
            return Ok(ExitCode::FAILURE);
        }
    }
    let handler = arguments.handler.as_deref();
    let left_out = package.left_out.clone();
    let passed_over = package.passed_over.clone();
    let written = package.write(handler.unwrap_or_default());
    let written = written.map_err(Error::Package)?;
    if let (Some(source), Some(passed_over)) = (&written.bootstrap, passed_over) {
        eprint(printable(&bootstrap_line(source, &passed_over)));
    }
    let place = arguments
        .output
        .as_ref()
        .or(arguments.image_context.as_ref());
    let place = place.map(|path| path.to_string_lossy()).unwrap_or_default();
    if let Some(zip) = &written.zip
        && zip.bytes > MAX_UPLOAD_BYTES
    {
        eprint(format_args!(
            "{place} has {} bytes: above {MAX_UPLOAD_BYTES} Lambda takes it by way of S3 alone",
            zip.bytes
        ));
    }
    let text = if arguments.json {
        as_json(&written, &left_out, &place, handler).to_string()
    } else {
        printable(&summary(&written, &place, handler))
    };
    print(format!("{text}\n").as_bytes())
}

fn order(arguments: &PackageArguments) -> Order {
    Order {
        paths: arguments.paths.clone(),
        excludes: arguments.excludes.clone(),
        includes: arguments.includes.clone(),
        bootstrap: match &arguments.bootstrap {
            _ if arguments.without_bootstrap => BootstrapChoice::Without,
            Some(path) => BootstrapChoice::File(path.clone()),
            None => BootstrapChoice::Search {
                bundled: BUNDLED_BOOTSTRAP,
            },
        },
        architecture: arguments.arch,
        is_layer: arguments.layer,
        destination: match &arguments.image_context {
            Some(folder) => Destination::ImageContext {
                folder: folder.clone(),
                base: arguments.base.clone(),
            },
            None => Destination::Zip(arguments.output.clone().unwrap_or_default()),
        },
    }
}

/// The name of an image is one word of a Dockerfile.
fn image_name(text: &str) -> Result<String, String> {
    let is_word = !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    if is_word && !text.is_empty() && !text.starts_with(['-', '#']) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of an image, such as own:1".to_owned())
    }
}

/// What nobody is likely to want in the package, in one line, and how to take it in.
fn left_out_line(left_out: &[LeftOut]) -> String {
    let list = |reason: Unwanted, words: &str| {
        let alike = left_out.iter().filter(|one| one.reason == reason);
        let names: Vec<_> = alike.map(|one| one.name.as_str()).collect();
        let shown = names[..names.len().min(MAX_NAMES)].join(", ");
        let more = match names.len().saturating_sub(MAX_NAMES) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        (!names.is_empty()).then(|| format!("{shown}{more} ({words})"))
    };
    let lists = [
        list(Unwanted::Secret, "may hold secrets"),
        list(Unwanted::Unneeded, "not needed"),
    ];
    let lists: Vec<_> = lists.into_iter().flatten().collect();
    format!(
        "left out: {}; --include NAME takes one in",
        lists.join(", ")
    )
}

/// Which bootstrap was found, and which were not taken.
fn bootstrap_line(source: &Source, passed_over: &[String]) -> String {
    let found = match source {
        Source::File(path) => path.display().to_string(),
        Source::Bundled => format!("the one {source}"),
    };
    let not = passed_over.iter().map(|one| format!("; not {one}"));
    format!("bootstrap is {found}{}", not.collect::<String>())
}

fn summary(written: &Written, place: &str, handler: Option<&str>) -> String {
    let files = match written.files {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let size = match &written.zip {
        Some(zip) => format!("{} bytes ({} unpacked)", zip.bytes, written.unpacked_bytes),
        None => format!("{} bytes", written.unpacked_bytes),
    };
    let architecture = written
        .architecture
        .map_or("no bootstrap", Architecture::name);
    let handler = handler.map(|handler| format!("handler {handler}"));
    let hash = written.zip.as_ref();
    let hash = hash.map(|zip| format!("sha256 {}", zip.code_sha256));
    let parts = [
        Some(files),
        Some(size),
        Some(architecture.to_owned()),
        handler,
        hash,
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("{place}: {}", parts.join(", "))
}

fn as_json(written: &Written, left_out: &[LeftOut], place: &str, handler: Option<&str>) -> Value {
    let zip = written.zip.as_ref();
    let left_out: Vec<_> = left_out.iter().map(|one| &one.name).collect();
    json!({
        "file": place,
        "bytes": zip.map(|zip| zip.bytes),
        "unpackedBytes": written.unpacked_bytes,
        "files": written.files,
        "architecture": written.architecture.map(Architecture::name),
        "bootstrap": written.bootstrap.as_ref().map(|source| match source {
            Source::File(path) => path.to_string_lossy(),
            Source::Bundled => "bundled".into(),
        }),
        "handler": handler,
        "codeSha256": zip.map(|zip| &zip.code_sha256),
        "leftOut": left_out,
    })
}
