//! The pages as a reader meets them: short, with contents that list them all, and links that lead somewhere.
//!
//! `tests/pages` runs their commands and handlers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::{repository_file, repository_files as files, repository_text as text};

/// A page's lines outside of code blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut fence = None;
    let is_prose = |line: &&str| {
        let ticks = line.trim_start();
        let length = ticks.len() - ticks.trim_start_matches('`').len();
        match fence {
            None if length >= 3 => fence = Some(length),
            Some(opened) if length >= opened => fence = None,
            inside => return inside.is_none(),
        }
        false
    };
    page.lines().filter(is_prose).collect()
}

/// `line` without what stands between backquotes.
fn without_code(line: &str) -> String {
    let (mut rest, mut found) = (line, String::new());
    while let Some(start) = rest.find('`') {
        let code = &rest[start..];
        let inner = code.trim_start_matches('`');
        let ticks = &code[..code.len() - inner.len()];
        found.push_str(&rest[..start]);
        rest = inner
            .split_once(ticks)
            .map_or("", |(_, after)| after.trim_start_matches('`'));
    }
    found + rest
}

/// Where the links of `page` lead, but for those that leave the repository.
fn relative_links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        let targets = line.split("](").skip(1);
        found.extend(
            targets
                .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
                .filter(|target| !target.contains("://")),
        );
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(page) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let mut numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let mut free = anchor.clone();
        while found.contains(&free) {
            free = numbered.next().expect("a number");
        }
        found.insert(free);
    }
    found
}

fn doc_pages() -> Vec<String> {
    let is_page = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "md");
    files("docs").into_iter().filter(is_page).collect()
}

/// What people read, but for what earlier programs printed.
fn all_pages() -> Vec<String> {
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let is_page = |path: &String| Path::new(path).extension().is_some_and(|kind| kind == "md");
    let folders = ["docs", "examples", "bench"].into_iter().flat_map(files);
    let found = folders.filter(is_page);
    let found = found.filter(|path| !path.starts_with("bench/results"));
    top.map(ToOwned::to_owned)
        .into_iter()
        .chain(found)
        .collect()
}

/// A reader finds the way in within one screen, and then reads a page about one task.
#[test]
fn pages_are_short() {
    for path in all_pages() {
        let limit = match path.as_str() {
            "README.md" => 190,
            "ARCHITECTURE.md" => 200,
            "CONTRIBUTING.md" => 70,
            // It grows with each version.
            "CHANGELOG.md" => continue,
            _ => 150,
        };
        let count = text(&path).lines().count();
        assert!(
            count <= limit,
            "{path} has {count} lines, and may have {limit}"
        );
    }
}

#[test]
fn contents_pages_link_every_page() {
    let summary = relative_links(&text("docs/SUMMARY.md"));
    for path in doc_pages() {
        let name = path.trim_start_matches("docs/");
        // docs/deploy.md is the contents page of docs/deploy; a folder without such a page has a README.md.
        let contents = match name.split_once('/') {
            None => "docs/README.md".to_owned(),
            Some((folder, _)) => {
                let page = format!("docs/{folder}.md");
                if repository_file("docs")
                    .join(format!("{folder}.md"))
                    .exists()
                {
                    page
                } else {
                    format!("docs/{folder}/README.md")
                }
            }
        };
        let folder = Path::new(&contents).parent().expect("a folder");
        let linked = relative_links(&text(&contents)).into_iter();
        let mut linked = linked.map(|target| folder.join(target));
        assert!(
            path == contents || linked.any(|target| target == Path::new(&path)),
            "{contents} does not link {name}"
        );
        assert!(
            name == "SUMMARY.md" || summary.iter().any(|target| target == name),
            "docs/SUMMARY.md does not link {name}"
        );
    }
}

/// A reader sees at once what a page is for.
#[test]
fn every_page_begins_with_what_it_is_for() {
    let pages = all_pages().into_iter();
    for path in pages.filter(|path| path.starts_with("docs/") && !path.ends_with("SUMMARY.md")) {
        let page = text(&path);
        let (title, rest) = page.split_once("\n\n").expect("a title");
        assert!(title.starts_with("# "), "{path}: {title}");
        let paragraph = rest.split("\n\n").next().unwrap_or_default();
        let is_prose = !paragraph.starts_with(['#', '|', '-']) && !paragraph.starts_with("```");
        let words = paragraph.split_whitespace();
        let count = words.take_while(|word| !word.ends_with(['.', ':'])).count();
        assert!(
            is_prose && count <= 35,
            "{path}: begin with a sentence that says what the page is for"
        );
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = all_pages().into_iter();
    let (root, mut wrong) = (repository_file("."), Vec::new());
    for path in pages {
        let page = text(&path);
        for target in relative_links(&page) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&path).parent().unwrap_or(Path::new(""));
            let file = match file {
                "" => PathBuf::from(&path),
                _ => folder.join(file),
            };
            let file = file.to_string_lossy();
            let is_there = root.join(&*file).exists();
            let has_heading = || anchor.is_empty() || anchors(&text(&file)).contains(anchor);
            if !is_there || target.is_empty() || !has_heading() {
                wrong.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Links and headings in code do not count.
#[test]
fn links_and_headings_are_found() {
    let page = "# One `two`: three\n[a](b.md#c) `[d](e)` [`f`](g) [h](https://i)\n```sh\n# no\n```\n## x_y-z\n## x_y-z\n";
    assert_eq!(relative_links(page), ["b.md#c", "g"]);
    let expected = ["one-two-three", "x_y-z", "x_y-z-1"].map(ToOwned::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
}
