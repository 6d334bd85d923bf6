//! Which commands become functions: those that the handler's file names, and that no program is there for.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use memchr::memmem;

use super::tools;

/// The folders of `PATH`, if it is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Whether handlers get a function `jq`. `wanted` is what `COSHELL_COMMANDS` names.
pub(super) fn defines_jq(text: &[u8], sources: bool, wanted: &[String]) -> bool {
    if !sources && !names_word(text, b"jq") {
        return false;
    }
    wanted.iter().any(|command| command == "jq") || (!is_on_path("jq") && tools::is_installed())
}

fn names_word(text: &[u8], word: &[u8]) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    memmem::find_iter(text, word).any(|start| {
        let before = start.checked_sub(1).and_then(|at| text.get(at));
        !is_part(before) && !is_part(text.get(start + word.len()))
    })
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let is_program = |file: std::path::PathBuf| {
        fs::metadata(file)
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).any(|folder| is_program(folder.join(program)))
}
