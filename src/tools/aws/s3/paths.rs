//! Paths of the caller's files: made absolute for the system, and relative to its folder for people.

/// A path without `.`, `..` and double slashes, by its letters alone.
pub(super) fn normalize(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The absolute path of a file, seen from a folder.
pub(super) fn absolute(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        normalize(path)
    } else {
        normalize(&format!("{folder}/{path}"))
    }
}

/// How to name a file to someone in `folder`: `./a`, `b/a`, `../a`. Both paths are absolute.
pub(super) fn relative(folder: &str, path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = normalize(&format!("/{parent}"));
    let folder = normalize(folder);
    let parts = |path: &'_ str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(ToOwned::to_owned).collect()
    };
    let (from, to) = (parts(&folder), parts(&parent));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut way: Vec<&str> = vec![".."; from.len() - common];
    way.extend(to[common..].iter().map(String::as_str));
    if way.is_empty() {
        way.push(".");
    }
    format!("{}/{name}", way.join("/"))
}

/// Whether a key, as a path, leaves the folder that it is below.
pub(super) fn escapes(key: &str) -> bool {
    normalize(key).starts_with("../")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        for (path, normal) in [
            ("/a/../b//c/.", "/b/c"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/", "/"),
            ("", "."),
        ] {
            assert_eq!(normalize(path), normal, "{path}");
        }
        assert_eq!(absolute("/x/y", "../a/"), "/x/a");
        assert_eq!(absolute("/x/y", "/a"), "/a");
    }

    #[test]
    fn paths_are_named_as_seen_from_a_folder() {
        for (path, name) in [
            ("/x/y/a", "./a"),
            ("/x/y/b/a", "b/a"),
            ("/x/a", "../a"),
            ("/tmp/a", "../../tmp/a"),
            ("/x/y/", "./"),
            ("/a", "../../a"),
        ] {
            assert_eq!(relative("/x/y", path), name, "{path}");
        }
        assert_eq!(relative("/", "/a"), "./a");
    }

    #[test]
    fn keys_that_leave_a_folder_are_found() {
        for key in ["../a", "a/../../b", "./../a", "a/b/../../../c"] {
            assert!(escapes(key), "{key}");
        }
        for key in [
            "a", "a/../b", "..a", "a/b/..", "/../a", "a/..", "...", "//a",
        ] {
            assert!(!escapes(key), "{key}");
        }
    }
}
