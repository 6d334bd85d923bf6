//! Borders between the parts: those that crates draw, and those within a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::repository;

/// What each crate may use of ours.
const CRATES: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("process", &[]),
    ("handler", &[]),
    ("statistics", &[]),
    ("bootstrap", &["wire", "process", "handler"]),
    ("emulator", &["wire", "process"]),
    ("check", &["handler"]),
    ("package", &["handler"]),
    ("compare", &["wire", "process", "statistics"]),
];

/// What `bootstrap` is made of. Another crate costs start-up time and memory on Lambda: it has to be worth that.
const BOOTSTRAP: &[&str] = &[
    "base64",
    "humantime",
    "hyper",
    "libc",
    "memchr",
    "nix",
    "serde_json",
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
fn each_crate_uses_those_below_it_alone() {
    for (krate, allowed) in CRATES {
        let names = dependencies(krate);
        let ours = names
            .iter()
            .filter_map(|name| name.strip_prefix("coshell-"));
        for other in ours {
            assert!(allowed.contains(&other), "src/{krate} uses src/{other}");
        }
    }
    // Those of the crates below it are in it, too.
    let all = ["bootstrap", "wire", "process", "handler"].map(dependencies);
    let others: BTreeSet<_> = all
        .iter()
        .flatten()
        .filter(|name| !name.starts_with("coshell-"))
        .collect();
    assert_eq!(others.into_iter().collect::<Vec<_>>(), BOOTSTRAP);
}

/// The files of a crate that make up the program, by the path of their module.
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
                    .expect("it lies there")
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
                // Beside a library main.rs has but a line.
                if path.ends_with("main.rs") && root.join("lib.rs").exists() {
                    continue;
                }
                found.insert(module, path);
            }
        }
    }
    found
}

/// Every path that a `use` declaration of `text` names, and every `crate::...` and `super::...` in it, as words.
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
        for (at, _) in code.match_indices(start) {
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
            let rest: String = code[at..]
                .chars()
                .take_while(|letter| is_name(*letter))
                .collect();
            found.push(rest.split("::").map(ToOwned::to_owned).collect());
        }
    }
    found
}

fn expand(before: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some(list) = tree
        .strip_prefix('{')
        .and_then(|list| list.strip_suffix('}'))
    {
        let (mut depth, mut start) = (0, 0);
        for (at, letter) in list.char_indices().chain([(list.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(before, &list[start..at.min(list.len())], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
    } else if let Some((first, rest)) = tree.split_once("::") {
        expand(&[before, &[first.trim().to_owned()]].concat(), rest, found);
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or_default();
        found.push([before, &[name.trim().to_owned()]].concat());
    }
}

/// Which files of the crate each of its files uses.
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
    let of = |module: &Vec<String>, file: &Path| {
        let text = fs::read_to_string(file).expect("a file");
        let paths = paths(&text);
        let found = paths.iter().filter_map(|path| target(module, path));
        found.collect::<BTreeSet<_>>()
    };
    let all = modules
        .iter()
        .map(|(module, file)| (module.clone(), of(module, file)));
    all.collect()
}

/// A folder's own file and the files beside it may use each other: they are one part that was cut.
fn is_one_part(module: &[String], other: &[String]) -> bool {
    module.starts_with(other) || other.starts_with(module)
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    for (krate, _) in CRATES.iter().chain(&[("cli", &[] as &[&str])]) {
        let uses = uses(krate);
        assert!(!uses.is_empty());
        for start in uses.keys() {
            let mut seen = BTreeSet::new();
            let mut next = vec![start];
            while let Some(module) = next.pop() {
                for used in uses.get(module).into_iter().flatten() {
                    if is_one_part(module, used) {
                        continue;
                    }
                    assert_ne!(
                        used, start,
                        "src/{krate}: {start:?} uses itself by way of {module:?}"
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
fn what_runs_a_handler_and_what_speaks_to_lambda_never_meet() {
    let uses = uses("bootstrap");
    let apart = ["shell", "program", "runtime_api"];
    for (module, used) in &uses {
        let part = module.first().map(String::as_str).unwrap_or_default();
        for other in used.iter().filter_map(|used| used.first()) {
            let meets = apart.contains(&part) && apart.contains(&other.as_str()) && part != other;
            assert!(!meets, "src/bootstrap/{} uses {other}", module.join("/"));
        }
    }
    assert!(
        uses[&vec!["runtime".to_owned()]].len() > 5,
        "uses are not read"
    );
}
