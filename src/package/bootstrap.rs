//! The bootstrap that goes into a package: a static program for one of Lambda's two architectures.
//!
//! A dynamically linked one may need a C library that is newer than that of the image; it would run
//! here, and fail there before it can say a word.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use object::elf::{
    ELFOSABI_GNU, ELFOSABI_NONE, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endian, Endianness};

use super::error::{Error, Result};

/// What bootstrap is built with in this repository.
const HOW_TO_BUILD: &str = "`make bootstrap` builds one, and --bootstrap FILE takes it";

/// An architecture of Lambda's, by the words of its option `--architectures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// Of Intel and AMD
    #[value(name = "x86_64")]
    X86_64,
    /// Graviton
    #[value(name = "arm64")]
    Arm64,
}

impl Architecture {
    /// What Lambda calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A program that Lambda can start.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    /// Where it lies here.
    pub path: PathBuf,
    /// What it runs on.
    pub architecture: Architecture,
    /// Its size.
    pub len_bytes: u64,
}

impl Bootstrap {
    /// Reads the file at `path`, all of it.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no static program for Linux on an architecture of Lambda's;
    /// [`Error::Io`] when it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = fs::read(path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => Error::misuse(
                format!("cannot read bootstrap {name}"),
                format!("{cause}; {HOW_TO_BUILD}"),
            ),
            _ => Error::io(format!("cannot read bootstrap {name}"))(cause),
        })?;
        let architecture = architecture_of(&bytes)
            .map_err(|cause| Error::refused(format!("cannot use bootstrap {name}"), cause))?;
        Ok(Self {
            path: path.to_owned(),
            architecture,
            len_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        })
    }

    /// # Errors
    /// [`Error::Refused`] when it is for another architecture.
    pub(crate) fn check_architecture(&self, wanted: Architecture) -> Result<()> {
        if self.architecture == wanted {
            return Ok(());
        }
        Err(Error::refused(
            format!("cannot use bootstrap {}", self.path.display()),
            format!(
                "it is for {}, and --arch asks for {}",
                self.architecture.name(),
                wanted.name()
            ),
        ))
    }
}

/// What the program is for, or why it cannot be taken.
fn architecture_of(program: &[u8]) -> std::result::Result<Architecture, String> {
    let is_no_program = |_| format!("it is no program for 64-bit Linux; {HOW_TO_BUILD}");
    let header = FileHeader64::<Endianness>::parse(program).map_err(is_no_program)?;
    let endian = header.endian().map_err(is_no_program)?;
    let is_of_linux = matches!(header.e_ident().os_abi, ELFOSABI_NONE | ELFOSABI_GNU);
    if !is_of_linux || !matches!(header.e_type(endian), ET_EXEC | ET_DYN) {
        return Err(format!("it is no program for 64-bit Linux; {HOW_TO_BUILD}"));
    }
    let architecture = match header.e_machine(endian) {
        EM_X86_64 if endian.is_little_endian() => Architecture::X86_64,
        EM_AARCH64 if endian.is_little_endian() => Architecture::Arm64,
        _ => return Err("it is for a machine that is neither x86_64 nor arm64".to_owned()),
    };
    let segments = header.program_headers(endian, program);
    let segments = segments.map_err(is_no_program)?;
    if segments.iter().any(|one| one.p_type(endian) == PT_INTERP) {
        return Err(format!(
            "it is dynamically linked, and the C library of the image may be too old for it; \
             {HOW_TO_BUILD}"
        ));
    }
    Ok(architecture)
}

/// The file `bootstrap` beside the program that runs.
///
/// # Errors
/// [`Error::Io`] when the program's own place cannot be told.
pub fn beside_coshell() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::io("cannot find coshell's own program"))?;
    Ok(own.with_file_name("bootstrap"))
}
