//! What the text of a handler's name means, without looking at files.

use std::ffi::OsStr;
use std::path::Path;

/// The file without `.sh`, and the function behind the last dot; `None` if either is empty.
pub(crate) fn split_function(name: &str) -> Option<(&str, &str)> {
    let (file, function) = name.rsplit_once('.')?;
    let file = file.strip_suffix(".sh").unwrap_or(file);
    let stem = file.rsplit('/').next()?;
    (!stem.is_empty() && !function.is_empty() && !function.contains('/'))
        .then_some((file, function))
}

/// Whether bash reads `name` as one word without quotes, and `declare -F` takes it. `sh:handler` is the end of
/// `function.sh:handler`, and no function.
pub(crate) fn is_function_name(name: &str) -> bool {
    let is_separator = |rest: &str| rest.starts_with([':', '/', '#']);
    !name.strip_prefix("sh").is_some_and(is_separator)
        && !name
            .contains(|letter: char| letter.is_whitespace() || "'\"\\`$&|;()<>=".contains(letter))
}

/// The path below the task root that `name` means, also if it begins with a slash.
pub(crate) fn as_relative(name: &OsStr) -> &Path {
    let path = Path::new(name);
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_name_splits_at_its_last_dot() {
        assert_eq!(split_function("hello.greet"), Some(("hello", "greet")));
        assert_eq!(
            split_function("function.sh.handler"),
            Some(("function", "handler"))
        );
        assert_eq!(
            split_function("lib/hello.greet"),
            Some(("lib/hello", "greet"))
        );
        assert_eq!(split_function("a.b.greet"), Some(("a.b", "greet")));
    }

    #[test]
    fn half_a_handler_name_is_malformed() {
        for name in [
            "hello",
            "hello.",
            ".greet",
            ".sh.greet",
            "lib/.greet",
            "",
            ".",
            "a.b/c",
        ] {
            assert_eq!(split_function(name), None, "{name}");
        }
    }
}
