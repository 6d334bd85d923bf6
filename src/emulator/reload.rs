//! What changes in the task root: the sandboxes are started anew.
//!
//! inotify tells, through the library notify. Editors write a file in several steps, so the end of
//! a short calm is waited for. What only reads a file is no change. Links are followed. `.git` is left out, and
//! what `.gitignore` files leave out, as the library ignore reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Error;

/// So long nothing may change before it counts as done.
const CALM: Duration = Duration::from_millis(30);
/// A task root that never rests is loaded anew all the same.
const MOST_STEPS: usize = 100;

/// Watches a folder as long as it lives.
pub struct Changes {
    root: PathBuf,
    changed: mpsc::UnboundedReceiver<PathBuf>,
    /// What has changed while [`next`](Self::next) was waited for: that may end at any time.
    begun: Option<Begun>,
    ignored: Ignored,
    /// What links in the folder lead to, and the links.
    links: Vec<(PathBuf, PathBuf)>,
    watcher: notify::RecommendedWatcher,
}

/// Changes whose calm has not come.
struct Begun {
    /// The files that changed, in order.
    paths: Vec<PathBuf>,
    /// When the last one came.
    last: Instant,
}

impl Changes {
    /// Watches `folder` and all below it, but for what `patterns` name, in the words of `.gitignore`.
    ///
    /// # Errors
    /// When the system does not, as when too many files are watched already; when a pattern makes no sense.
    pub fn watch(folder: &Path, patterns: &[String]) -> Result<Self, Error> {
        let fail = |cause| Error::WatchFiles {
            path: folder.to_owned(),
            cause,
        };
        let (sender, paths) = mpsc::unbounded_channel();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if let EventKind::Access(_) = event.kind {
                    return;
                }
                for path in event.paths {
                    // An error means that nobody listens any more.
                    let _ = sender.send(path);
                }
            })
            .map_err(fail)?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .map_err(fail)?;
        let mut changes = Self {
            root: folder.to_owned(),
            changed: paths,
            begun: None,
            ignored: Ignored::by(folder, patterns)?,
            links: Vec::new(),
            watcher,
        };
        changes.look();
        Ok(changes)
    }

    /// Waits for a change, and for the calm after it; gives the name of the file that changed. When it is not
    /// waited for any longer, nothing is lost: the next call goes on.
    pub async fn next(&mut self) -> String {
        loop {
            let received = match &self.begun {
                None => Some(self.changed.recv().await),
                Some(begun) => timeout_at(begun.last + CALM, self.changed.recv())
                    .await
                    .ok(),
            };
            let is_calm = received.is_none();
            match received {
                // The watcher, which has the sender, lives as long as we do.
                Some(None) => return std::future::pending().await,
                Some(Some(path)) => self.add(path),
                None => {}
            }
            let is_done = |begun: &mut Begun| is_calm || begun.paths.len() >= MOST_STEPS;
            if let Some(begun) = self.begun.take_if(is_done) {
                self.look();
                return self.saved(&begun.paths);
            }
        }
    }

    fn add(&mut self, path: PathBuf) {
        let is_seen = path.starts_with(&self.root) || self.link_to(&path).is_some();
        if !is_seen || self.ignored.has(&self.root, &path) {
            return;
        }
        let begun = self.begun.get_or_insert_with(|| Begun {
            paths: Vec::new(),
            last: Instant::now(),
        });
        begun.paths.push(path);
        begun.last = Instant::now();
    }

    /// The name of the file that was saved: one that is there still, and no copy of the editor's.
    fn saved(&self, paths: &[PathBuf]) -> String {
        let saved = paths.iter().find(|path| path.is_file() && !is_copy(path));
        let Some(path) = saved.or(paths.first()) else {
            return String::new();
        };
        let name = match self.link_to(path) {
            Some((target, link)) => {
                let rest = path.strip_prefix(target).unwrap_or(path);
                let link = link.strip_prefix(&self.root).unwrap_or(link);
                if rest.as_os_str().is_empty() {
                    link.to_owned()
                } else {
                    link.join(rest)
                }
            }
            None => path.strip_prefix(&self.root).unwrap_or(path).to_owned(),
        };
        name.display().to_string()
    }

    fn link_to(&self, path: &Path) -> Option<&(PathBuf, PathBuf)> {
        let mut links = self.links.iter();
        links.find(|(target, _)| path.starts_with(target))
    }

    /// Reads what is to be left out, and watches what links lead to.
    fn look(&mut self) {
        self.ignored.read(&self.root);
        let walk = WalkBuilder::new(&self.root)
            .hidden(false)
            .require_git(false)
            .follow_links(true)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for link in walk.flatten().filter(ignore::DirEntry::path_is_symlink) {
            let Ok(target) = fs::canonicalize(link.path()) else {
                continue;
            };
            if self.link_to(&target).is_some() {
                continue;
            }
            // An editor puts another file in the place of the one that is saved: so the folder is watched.
            let (folder, mode) = match target.parent() {
                Some(parent) if target.is_file() => (parent, RecursiveMode::NonRecursive),
                _ => (target.as_path(), RecursiveMode::Recursive),
            };
            // What cannot be watched is not followed.
            if self.watcher.watch(folder, mode).is_ok() {
                self.links.push((target, link.path().to_owned()));
            }
        }
    }
}

/// What is not watched.
struct Ignored {
    /// What the user leaves out.
    own: Gitignore,
    /// What `.gitignore` files leave out, the outer ones first.
    files: Vec<Gitignore>,
}

impl Ignored {
    fn by(root: &Path, patterns: &[String]) -> Result<Self, Error> {
        let mut own = GitignoreBuilder::new(root);
        let fail = |cause: ignore::Error| Error::IgnoreFiles { cause };
        for pattern in patterns {
            own.add_line(None, pattern).map_err(fail)?;
        }
        Ok(Self {
            own: own.build().map_err(fail)?,
            files: Vec::new(),
        })
    }

    /// Reads the `.gitignore` files: those of the repository around `root`, and those in it.
    fn read(&mut self, root: &Path) {
        let repository = root.ancestors().find(|folder| folder.join(".git").exists());
        let around = root.ancestors().skip(1);
        let mut folders: Vec<_> = around
            .take_while(|folder| {
                repository.is_some_and(|repository| folder.starts_with(repository))
            })
            .map(Path::to_owned)
            .collect();
        folders.reverse();
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .require_git(false)
            .build();
        let inside = walk
            .flatten()
            .filter(|entry| entry.file_name() == ".gitignore");
        folders.extend(inside.filter_map(|entry| Some(entry.path().parent()?.to_owned())));
        // What a line does not mean is left to git to tell.
        let read = |folder: &PathBuf| Gitignore::new(folder.join(".gitignore")).0;
        self.files = folders.iter().map(read).collect();
    }

    fn has(&self, root: &Path, path: &Path) -> bool {
        let inside = path.strip_prefix(root).unwrap_or(path);
        if inside.components().any(|part| part.as_os_str() == ".git") {
            return true;
        }
        let is_folder = path.is_dir();
        let verdict = |rules: &Gitignore| {
            if !path.starts_with(rules.path()) {
                return None;
            }
            let matched = rules.matched_path_or_any_parents(path, is_folder);
            (!matched.is_none()).then(|| matched.is_ignore())
        };
        let mut inner_first = self.files.iter().rev();
        verdict(&self.own).or_else(|| inner_first.find_map(verdict)) == Some(true)
    }
}

/// Whether an editor has made this file for itself.
fn is_copy(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with('~') || name.starts_with(".#") || name.starts_with('#') || name.ends_with(".swp")
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    #[allow(
        clippy::expect_used,
        reason = "clippy takes an asynchronous test for none"
    )]
    async fn change_is_told_though_others_end_the_wait_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut changes = Changes::watch(folder.path(), &[]).expect("a watch");
        std::fs::write(folder.path().join("file"), "text").expect("a file");
        let told = async {
            loop {
                // As when another branch of a select is ready.
                if let Ok(name) = timeout(CALM / 10, changes.next()).await {
                    return name;
                }
            }
        };
        let told = timeout(Duration::from_secs(10), told).await;
        assert_eq!(told.as_deref(), Ok("file"));
    }
}
