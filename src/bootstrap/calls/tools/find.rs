//! Where the second program is.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const NAME: &str = "coshell-tools";
/// Where it is, if not beside this program.
const FOLDERS: [&str; 2] = ["/opt", "/usr/local/bin"];
/// What a call may use on a machine that is no function's.
const MOST_MEGABYTES: u64 = 2048;
const OWN_PATH: &str = "/proc/self/exe";
/// What `coshell`, which contains both programs, takes as its first argument to be the second one.
static OWN_ARGUMENT: OnceLock<&'static str> = OnceLock::new();

/// Uses this program itself as the second one, with the given argument.
pub(crate) fn set_own_argument(argument: &'static str) {
    // It is set once, at the start.
    let _ = OWN_ARGUMENT.set(argument);
}

/// The first words of its command line.
pub(super) fn command() -> Result<Vec<CString>, String> {
    let words = if let Some(argument) = OWN_ARGUMENT.get() {
        vec![PathBuf::from(OWN_PATH), PathBuf::from(argument)]
    } else {
        let places = places();
        let Some(found) = places.iter().find(|place| is_program(place)) else {
            let places: Vec<_> = places.iter().map(|place| place.to_string_lossy()).collect();
            return Err(format!(
                "it needs the program {NAME}, which is none of {}; put it beside bootstrap",
                places.join(", ")
            ));
        };
        vec![found.clone()]
    };
    let words = words
        .iter()
        .map(|word| CString::new(word.as_os_str().as_bytes()));
    let words: Result<Vec<_>, _> = words.collect();
    words.map_err(|error| error.to_string())
}

/// True if there is one.
pub(crate) fn is_installed() -> bool {
    command().is_ok()
}

fn places() -> Vec<PathBuf> {
    let own = fs::read_link(OWN_PATH).ok();
    let own = own.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let task_root = env::var_os("LAMBDA_TASK_ROOT").map(PathBuf::from);
    let others = FOLDERS.map(PathBuf::from);
    let folders = own.into_iter().chain(task_root).chain(others);
    let mut places: Vec<PathBuf> = Vec::new();
    for place in folders.map(|folder| folder.join(NAME)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn is_program(place: &Path) -> bool {
    let is_executable =
        |about: fs::Metadata| about.is_file() && about.permissions().mode() & 0o111 != 0;
    fs::metadata(place).is_ok_and(is_executable)
}

/// How many megabytes a call may use: three quarters of the function's, or else half of the machine's, but
/// at most 2 GiB.
pub(super) fn memory() -> Option<u64> {
    let setting = env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok();
    if let Some(megabytes) = setting.and_then(|text| text.parse::<u64>().ok()) {
        return Some(megabytes / 4 * 3);
    }
    let read = || -> io::Result<String> { fs::read_to_string("/proc/meminfo") };
    let text = read().ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib / 1024 / 2).min(MOST_MEGABYTES))
}
