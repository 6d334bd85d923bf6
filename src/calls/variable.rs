//! Variables of bash: which names may be assigned, and what they can hold.

use crate::CallError;

/// What a variable gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    Text(Vec<u8>),
    /// An array.
    List(Vec<Vec<u8>>),
    /// An associative array.
    Map(Vec<(Vec<u8>, Vec<u8>)>),
    /// The name of a file that the host makes of these bytes.
    File(Vec<u8>),
}

/// What bash sets itself, or lives by. bash drops what is assigned to some of them, and others end the shell.
const OF_BASH: &[&str] = &[
    "_",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTARG",
    "OPTIND",
    "PATH",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "TMOUT",
    "UID",
];

/// Checks that `name` can be assigned.
///
/// # Errors
/// It is no name, or one that bash or coshell needs.
pub fn check_name(name: &[u8]) -> Result<&str, CallError> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let begins_well = name.first().is_some_and(|byte| !byte.is_ascii_digit());
    let is_name = begins_well && name.iter().all(is_word);
    let name = str::from_utf8(name).ok().filter(|_| is_name);
    let Some(name) = name else {
        let cause = "expected a name of letters, digits and _";
        return Err(CallError::usage(format!(
            "cannot set variable {}: {cause}",
            shown()
        )));
    };
    let owner = if name.starts_with("__driver_") {
        "coshell"
    } else if name.starts_with("BASH") || OF_BASH.contains(&name) {
        "bash"
    } else {
        return Ok(name);
    };
    let cause = format!("{owner} needs it; choose another name");
    Err(CallError::usage(format!(
        "cannot set variable {name}: {cause}"
    )))
}

impl Variable {
    /// Checks that `name` can hold it.
    ///
    /// # Errors
    /// There is a NUL in it, or an empty name in a map.
    pub fn check(&self, name: &str) -> Result<(), CallError> {
        let has_nul = |text: &Vec<u8>| memchr::memchr(0, text).is_some();
        let is_nul = match self {
            Self::File(_) => false,
            Self::Text(text) => has_nul(text),
            Self::List(texts) => texts.iter().any(has_nul),
            Self::Map(members) => members
                .iter()
                .any(|(key, text)| has_nul(key) || has_nul(text)),
        };
        let cause = if is_nul {
            "the value has a NUL, which no variable of bash can hold"
        } else if matches!(self, Self::Map(members) if members.iter().any(|(key, _)| key.is_empty()))
        {
            "an associative array of bash has no empty key"
        } else {
            return Ok(());
        };
        Err(CallError::failure(format!(
            "cannot set variable {name}: {cause}"
        )))
    }
}
