//! The bootstrap that goes into a package: a static program for one of Lambda's two architectures.
//!
//! A dynamically linked one may need a C library that is newer than that of the image; it would run
//! here, and fail there before it can say a word.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use object::elf::{
    ELFOSABI_GNU, ELFOSABI_NONE, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endian, Endianness};

use super::error::{Error, Result};

/// What to do about a file that is no such program.
const HOW_TO_BUILD: &str =
    "`make bootstrap` builds a static one, which coshell finds without --bootstrap";

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

/// Where a bootstrap comes from. Displays as texts name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// coshell itself, which has one bundled.
    Bundled,
}

/// A program that Lambda can start.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub source: Source,
    pub program: Cow<'static, [u8]>,
    pub architecture: Architecture,
}

impl Bootstrap {
    /// # Errors
    /// [`Error::Refused`] when it is no static program for Linux on an architecture of Lambda's;
    /// [`Error::Io`] when it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let program = read_program(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Error::misuse(
                format!("cannot read bootstrap {name}"),
                format!("{cause}; {HOW_TO_BUILD}"),
            ),
            io::ErrorKind::InvalidInput => {
                Error::refused(format!("cannot use bootstrap {name}"), cause.to_string())
            }
            _ => Error::io(format!("cannot read bootstrap {name}"))(cause),
        })?;
        Self::new(Source::File(path.to_owned()), program.into()).map_err(|cause| {
            let cause = match cause {
                Unfit::OtherMachine => cause.to_string(),
                _ => format!("{cause}; {HOW_TO_BUILD}"),
            };
            Error::refused(format!("cannot use bootstrap {name}"), cause)
        })
    }

    /// # Errors
    /// Why Lambda could not start it.
    pub(crate) fn new(
        source: Source,
        program: Cow<'static, [u8]>,
    ) -> std::result::Result<Self, Unfit> {
        let architecture = architecture_of(&program)?;
        Ok(Self {
            source,
            program,
            architecture,
        })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        u64::try_from(self.program.len()).unwrap_or(u64::MAX)
    }

    /// # Errors
    /// [`Error::Refused`] when it is for another architecture.
    pub(crate) fn check_architecture(&self, wanted: Architecture) -> Result<()> {
        if self.architecture == wanted {
            return Ok(());
        }
        Err(Error::refused(
            format!("cannot use bootstrap {}", self.source),
            wrong_architecture(self.architecture, wanted),
        ))
    }
}

/// # Errors
/// When the file cannot be read, or is a FIFO or a device, which may have no end.
pub(crate) fn read_program(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return fs::read(path);
    }
    let cause = "it is not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, cause))
}

/// Why a program for `found` does not suit `--arch`.
pub(crate) fn wrong_architecture(found: Architecture, wanted: Architecture) -> String {
    format!(
        "it is for {}, and --arch asks for {}",
        found.name(),
        wanted.name()
    )
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Bundled => f.write_str("bundled with coshell"),
        }
    }
}

/// Why Lambda could not start a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    NoProgram,
    OtherMachine,
    Dynamic,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProgram => "it is no program for 64-bit Linux",
            Self::OtherMachine => "it is for a machine that is neither x86_64 nor arm64",
            Self::Dynamic => {
                "it is dynamically linked, and the C library of the image may be too old for it"
            }
        })
    }
}

/// Which architecture the program is for.
fn architecture_of(program: &[u8]) -> std::result::Result<Architecture, Unfit> {
    let no_program = |_| Unfit::NoProgram;
    let header = FileHeader64::<Endianness>::parse(program).map_err(no_program)?;
    let endian = header.endian().map_err(no_program)?;
    let is_of_linux = matches!(header.e_ident().os_abi, ELFOSABI_NONE | ELFOSABI_GNU);
    if !is_of_linux || !matches!(header.e_type(endian), ET_EXEC | ET_DYN) {
        return Err(Unfit::NoProgram);
    }
    let architecture = match header.e_machine(endian) {
        EM_X86_64 if endian.is_little_endian() => Architecture::X86_64,
        EM_AARCH64 if endian.is_little_endian() => Architecture::Arm64,
        _ => return Err(Unfit::OtherMachine),
    };
    let segments = header.program_headers(endian, program);
    let segments = segments.map_err(no_program)?;
    if segments.iter().any(|one| one.p_type(endian) == PT_INTERP) {
        return Err(Unfit::Dynamic);
    }
    Ok(architecture)
}
