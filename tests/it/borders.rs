//! Checks which crates, and which modules within a crate, may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::repository;

/// Each crate of the workspace, with the other crates of the workspace that it may use.
const CRATES: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("process", &[]),
    ("handler", &[]),
    ("calls", &[]),
    ("driver", &[]),
    ("statistics", &[]),
    ("tools", &["calls", "process"]),
    (
        "bootstrap",
        &["wire", "process", "handler", "calls", "driver"],
    ),
    ("emulator", &["wire", "process"]),
    ("check", &["handler"]),
    ("package", &["process", "handler"]),
    ("compare", &["wire", "process", "statistics"]),
];

/// All external crates in `bootstrap`. Each one costs start-up time and memory on Lambda, so a new one needs a good reason.
const BOOTSTRAP: &[&str] = &[
    "base64",
    "hmac",
    "humantime",
    "hyper",
    "libc",
    "memchr",
    "nix",
    "percent-encoding",
    "serde_json",
    "sha2",
    "signal-hook",
    "strsim",
    "ureq",
];

/// The names in a manifest's `[dependencies]`.
fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = repository().join("src").join(krate).join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let lines = text.lines().skip_while(|line| *line != "[dependencies]");
    let lines = lines.skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    let name = |line: &str| line.split(['.', ' ']).next().unwrap_or_default().to_owned();
    names.map(name).collect()
}

#[test]
fn each_crate_uses_only_the_crates_below_it() {
    for (krate, allowed) in CRATES {
        let names = dependencies(krate);
        let ours = names
            .iter()
            .filter_map(|name| name.strip_prefix("coshell-"));
        for other in ours {
            assert!(allowed.contains(&other), "src/{krate} uses src/{other}");
        }
    }
    // The dependencies of the crates below bootstrap are in it, too.
    let all = ["bootstrap", "wire", "process", "handler", "calls", "driver"].map(dependencies);
    let others: BTreeSet<_> = all
        .iter()
        .flatten()
        .filter(|name| !name.starts_with("coshell-"))
        .collect();
    assert_eq!(others.into_iter().collect::<Vec<_>>(), BOOTSTRAP);
}

/// The source files of a crate without its tests, by module path.
fn modules(krate: &str) -> BTreeMap<Vec<String>, PathBuf> {
    let root = repository().join("src").join(krate);
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                && !path.ends_with("tests.rs")
            {
                let place = path
                    .strip_prefix(&root)
                    .expect("the file lies in the crate")
                    .with_extension("");
                let mut module: Vec<_> = place
                    .iter()
                    .map(|part| part.to_string_lossy().into_owned())
                    .collect();
                if matches!(
                    module.last().map(String::as_str),
                    Some("mod" | "lib" | "main")
                ) {
                    module.pop();
                }
                // The main.rs of a crate with a library has only a line.
                if path.ends_with("main.rs") && root.join("lib.rs").exists() {
                    continue;
                }
                found.insert(module, path);
            }
        }
    }
    found
}

/// Every path in a `use` declaration of `text`, and every `crate::...` and `super::...` in it, split at `::`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<_> = program
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for declaration in code.split("use ").skip(1) {
        let tree = declaration.split(';').next().unwrap_or_default();
        expand(&[], tree, &mut found);
    }
    for start in ["crate::", "super::"] {
        for (index, _) in code.match_indices(start) {
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
            let rest: String = code[index..]
                .chars()
                .take_while(|letter| is_name(*letter))
                .collect();
            found.push(rest.split("::").map(ToOwned::to_owned).collect());
        }
    }
    found
}

/// Adds every path of the `use` tree `tree`, such as `a::{b, c}`, to `found`; `prefix` comes before each of them.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some(list) = tree
        .strip_prefix('{')
        .and_then(|list| list.strip_suffix('}'))
    {
        let (mut depth, mut start) = (0, 0);
        for (index, letter) in list.char_indices().chain([(list.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(prefix, &list[start..index.min(list.len())], found);
                    start = index + 1;
                }
                _ => {}
            }
        }
    } else if let Some((first, rest)) = tree.split_once("::") {
        expand(&[prefix, &[first.trim().to_owned()]].concat(), rest, found);
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or_default();
        found.push([prefix, &[name.trim().to_owned()]].concat());
    }
}

/// The modules of a crate, each with the modules of the same crate that it uses.
fn uses(krate: &str) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules = modules(krate);
    let target = |module: &[String], path: &[String]| {
        let mut place = match path.first().map(String::as_str)? {
            "crate" => Vec::new(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            name if modules.contains_key(&[module, &[name.to_owned()]].concat()) => {
                [module, &[name.to_owned()]].concat()
            }
            _ => return None,
        };
        for name in &path[1..] {
            match name.as_str() {
                "super" => drop(place.pop()),
                "self" => {}
                _ => {
                    let deeper = [place.as_slice(), std::slice::from_ref(name)].concat();
                    if !modules.contains_key(&deeper) {
                        break;
                    }
                    place = deeper;
                }
            }
        }
        (place != module && modules.contains_key(&place)).then_some(place)
    };
    let used_modules = |module: &Vec<String>, file: &Path| {
        let text = fs::read_to_string(file).expect("a file");
        let paths = paths(&text);
        let found = paths.iter().filter_map(|path| target(module, path));
        found.collect::<BTreeSet<_>>()
    };
    let all = modules
        .iter()
        .map(|(module, file)| (module.clone(), used_modules(module, file)));
    all.collect()
}

/// True for a folder's `mod.rs` and the files in the folder: they are one part in several files, and may use each other.
fn is_same_part(module: &[String], other: &[String]) -> bool {
    module.starts_with(other) || other.starts_with(module)
}

#[test]
fn modules_do_not_use_each_other_in_a_circle() {
    for (krate, _) in CRATES.iter().chain(&[("cli", &[] as &[&str])]) {
        let uses = uses(krate);
        assert!(!uses.is_empty());
        for start in uses.keys() {
            let mut seen = BTreeSet::new();
            let mut next = vec![start];
            while let Some(module) = next.pop() {
                for used in uses.get(module).into_iter().flatten() {
                    if is_same_part(module, used) {
                        continue;
                    }
                    assert_ne!(
                        used, start,
                        "src/{krate}: {start:?} uses itself through {module:?}"
                    );
                    if seen.insert(used) {
                        next.push(used);
                    }
                }
            }
        }
    }
}

#[test]
fn modules_that_run_handlers_and_the_runtime_api_client_do_not_use_each_other() {
    let uses = uses("bootstrap");
    let separate = ["shell", "program", "runtime_api"];
    for (module, used) in &uses {
        let part = module.first().map(String::as_str).unwrap_or_default();
        for other in used.iter().filter_map(|used| used.first()) {
            let is_forbidden =
                part != other && separate.contains(&part) && separate.contains(&other.as_str());
            assert!(
                !is_forbidden,
                "src/bootstrap/{} uses {other}",
                module.join("/")
            );
        }
    }
    assert!(
        uses[&vec!["runtime".to_owned()]].len() > 5,
        "no use declarations were found"
    );
}
