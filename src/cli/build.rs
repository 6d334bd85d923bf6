//! Bundles the static bootstrap with coshell: `coshell package` puts it into packages.
//!
//! What cargo builds by itself is dynamically linked, and needs a C library as new as this machine's, which Lambda's images may not
//! have. So a release build, such as `cargo install --path .`, first builds the static program in a folder of its own, for 35 s on one
//! processor. If that fails, coshell is built without it, with a warning. Debug builds do without it, since every edit would take those 35 s.
//!
//! `COSHELL_BUNDLED_BOOTSTRAP=FILE` bundles a program that is there already. `--no-default-features` bundles none.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const GIVEN: &str = "COSHELL_BUNDLED_BOOTSTRAP";
/// The folder of the crate coshell-bootstrap: in the repository, or where cargo has put what it downloaded.
const FOLDER: &str = "DEP_COSHELL_BOOTSTRAP_FOLDER";
/// What bootstrap is built from, in the repository.
const SOURCES: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "runtime-scripts",
    "src/bootstrap",
    "src/calls",
    "src/handler",
    "src/process",
    "src/wire",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/cli/build.rs");
    println!("cargo::rerun-if-env-changed={GIVEN}");
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    let given = env::var_os(GIVEN).filter(|path| !path.is_empty());
    let bundled = if env::var_os("CARGO_FEATURE_BUNDLED_BOOTSTRAP").is_none() {
        None
    } else if let Some(given) = given {
        let given = fs::canonicalize(&given)
            .map_err(|error| format!("cannot read {GIVEN}={}: {error}", given.display()))?;
        println!("cargo::rerun-if-changed={}", given.display());
        Some(given)
    } else if env::var("PROFILE")? == "release" {
        for source in SOURCES.iter().filter(|source| Path::new(source).exists()) {
            println!("cargo::rerun-if-changed={source}");
        }
        let built = build(&folder);
        if let Err(cause) = &built {
            println!(
                "cargo::warning=cannot build the static bootstrap, so that coshell package needs --bootstrap FILE: {cause}"
            );
        }
        built.ok()
    } else {
        None
    };
    let value = match &bundled {
        // A path that is quoted as Rust quotes text.
        Some(program) => format!(
            "Some(include_bytes!({:?}))",
            program
                .to_str()
                .ok_or("the path of bootstrap is not UTF-8")?
        ),
        None => "None".to_owned(),
    };
    let code = format!("pub(crate) const BUNDLED_BOOTSTRAP: Option<&[u8]> = {value};\n");
    fs::write(folder.join("bundled.rs"), code)?;
    Ok(())
}

/// Builds the static program, by another cargo: it needs flags of its own.
fn build(folder: &Path) -> Result<PathBuf, String> {
    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    let target_folder = folder.join("bootstrap");
    let script = env::var(FOLDER).map_err(|error| error.to_string())? + "/build";
    let mut command = Command::new("bash");
    let output = command
        .args([&script, &target])
        .arg(&target_folder)
        .arg("bootstrap")
        .output();
    let output = output.map_err(|error| format!("bash {script}: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(5)..];
        return Err(last.join(" / "));
    }
    Ok(target_folder.join(target).join("bootstrap/bootstrap"))
}
