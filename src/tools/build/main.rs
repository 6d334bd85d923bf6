//! Compresses what is known of AWS's services, to a fifth: each by itself, so that a call reads those alone that it needs.
//!
//! Writes `services.rs`: `[(NAME, LENGTH, BYTES), ...]`, sorted by name.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

const SERVICES: &str = "aws/services";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build/main.rs");
    println!("cargo::rerun-if-changed={SERVICES}");
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    let mut services = Vec::new();
    for entry in fs::read_dir(SERVICES)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let name = name.ok_or("a service has no name")?.to_owned();
        services.push((name, path));
    }
    services.sort();
    let mut index = String::from("[");
    for (name, path) in services {
        let text = fs::read(&path)?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&text)?;
        let file = format!("{name}.deflate");
        fs::write(folder.join(&file), encoder.finish()?)?;
        let length = text.len();
        let bytes = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))");
        writeln!(index, "({name:?}, {length}, {bytes}),")?;
    }
    index.push(']');
    fs::write(folder.join("services.rs"), index)?;
    Ok(())
}
