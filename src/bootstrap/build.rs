//! Leaves a note where this folder is, for the build script of coshell: see src/cli/build.rs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=folder={}", env!("CARGO_MANIFEST_DIR"));
}
