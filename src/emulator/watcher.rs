//! Watches the task root for changes, so that the sandboxes can be restarted.
//!
//! The crate notify reports the changes, through inotify. Editors write a file in several steps, so a change counts
//! only when nothing has changed for a short time. Reading a file is not a change. The watcher follows links. It ignores
//! `.git`, everything that `.gitignore` files exclude, as the crate ignore reads them, and the files to which this process
//! writes its own output.
//!
//! inotify watches a folder and not a path. If another folder takes the place of the task root, as after
//! `rm -rf build && cp -r src build`, the watcher has to notice it and watch that one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Error, check_task_root};

/// How long nothing may change before a change counts as complete.
const QUIET_PERIOD: Duration = Duration::from_millis(30);
/// After this many changes in a row, do not wait for the quiet period any longer.
const MAX_CHANGES: usize = 100;
/// How often to look whether the path of the task root leads to another folder: no event says so if a folder above was moved.
const ROOT_CHECK_PERIOD: Duration = Duration::from_millis(250);

/// Watches a folder until it is dropped.
pub struct Watcher {
    root: PathBuf,
    changed: mpsc::UnboundedReceiver<PathBuf>,
    /// Kept here, not in [`next_change`](Self::next_change), so that a caller may stop waiting at any time.
    pending: Option<PendingChanges>,
    ignored: IgnoreRules,
    /// Links in the folder: target, link.
    links: Vec<(PathBuf, PathBuf)>,
    /// The task root and the folders that links lead to.
    watched: Vec<WatchedFolder>,
    /// Whether one of them was moved or removed, or has another mode.
    is_stale: bool,
    notifier: notify::RecommendedWatcher,
}

#[derive(Debug, PartialEq, Eq)]
struct WatchedFolder {
    path: PathBuf,
    mode: RecursiveMode,
    identity: Option<Identity>,
}

impl WatchedFolder {
    fn new(path: &Path, mode: RecursiveMode) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            identity: identity(path),
        }
    }
}

/// The device and the inode of a file.
type Identity = (u64, u64);

/// Changes whose quiet period is not over.
struct PendingChanges {
    /// The files that changed, in order.
    paths: Vec<PathBuf>,
    /// When the last one changed.
    last: Instant,
}

impl Watcher {
    /// Watches `folder` and everything below it, except for what `patterns` exclude. They are written as in
    /// `.gitignore`.
    ///
    /// # Errors
    /// When the system refuses, for example because too many files are watched already, or when a pattern is invalid.
    pub fn start(folder: &Path, patterns: &[String]) -> Result<Self, Error> {
        let (sender, paths) = mpsc::unbounded_channel();
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if let EventKind::Access(_) = event.kind {
                return;
            }
            for path in event.paths {
                // An error means that the watcher is being dropped.
                let _ = sender.send(path);
            }
        })
        .map_err(|cause| watch_error(folder, cause))?;
        let mut watcher = Self {
            root: folder.to_owned(),
            changed: paths,
            pending: None,
            ignored: IgnoreRules::new(folder, patterns)?,
            links: Vec::new(),
            watched: Vec::new(),
            is_stale: false,
            notifier,
        };
        watcher.rescan()?;
        Ok(watcher)
    }

    /// Waits for a change and for the quiet period after it. Returns the name of the file that changed. The future may
    /// be dropped at any time; the next call then continues.
    ///
    /// # Errors
    /// When the task root is gone. The next change is its return.
    pub async fn next_change(&mut self) -> Result<String, Error> {
        loop {
            let limit = match &self.pending {
                None => Instant::now() + ROOT_CHECK_PERIOD,
                Some(pending) => pending.last + QUIET_PERIOD,
            };
            let received = timeout_at(limit, self.changed.recv()).await.ok();
            let is_quiet = received.is_none() && self.pending.is_some();
            if received.is_none() && self.is_root_replaced() {
                self.add(self.root.clone());
            }
            match received {
                // Cannot happen: `notifier` has the sender.
                Some(None) => return std::future::pending().await,
                Some(Some(path)) => self.add(path),
                None => {}
            }
            let is_complete =
                |pending: &mut PendingChanges| is_quiet || pending.paths.len() >= MAX_CHANGES;
            if let Some(pending) = self.pending.take_if(is_complete) {
                self.rescan()?;
                return Ok(self.changed_file(&pending.paths));
            }
        }
    }

    fn is_root_replaced(&self) -> bool {
        let watched = self.watched.first();
        watched.is_some_and(|watched| watched.identity != identity(&self.root))
    }

    fn add(&mut self, path: PathBuf) {
        self.is_stale |= self.watched.iter().any(|watched| watched.path == path);
        let is_inside = path.starts_with(&self.root) || self.find_link_to(&path).is_some();
        if !is_inside || self.ignored.excludes(&self.root, &path) || is_own_output(&path) {
            return;
        }
        let pending = self.pending.get_or_insert_with(|| PendingChanges {
            paths: Vec::new(),
            last: Instant::now(),
        });
        pending.paths.push(path);
        pending.last = Instant::now();
    }

    /// The name to show for a change: preferably that of a file that still exists and is not an editor's backup.
    fn changed_file(&self, paths: &[PathBuf]) -> String {
        let saved = paths
            .iter()
            .find(|path| path.is_file() && !is_editor_backup(path));
        let Some(path) = saved.or(paths.first()) else {
            return String::new();
        };
        let name = match self.find_link_to(path) {
            Some((target, link)) => {
                let rest = path.strip_prefix(target).unwrap_or(path);
                let link = link.strip_prefix(&self.root).unwrap_or(link);
                if rest.as_os_str().is_empty() {
                    link.to_owned()
                } else {
                    link.join(rest)
                }
            }
            None if path == &self.root => path.clone(),
            None => path.strip_prefix(&self.root).unwrap_or(path).to_owned(),
        };
        name.display().to_string()
    }

    fn find_link_to(&self, path: &Path) -> Option<&(PathBuf, PathBuf)> {
        let mut links = self.links.iter();
        links.find(|(target, _)| path.starts_with(target))
    }

    /// Reads the `.gitignore` files, and watches the task root and the targets of links as they are now.
    ///
    /// # Errors
    /// When there is no task root, or when it cannot be watched.
    fn rescan(&mut self) -> Result<(), Error> {
        self.ignored.read(&self.root);
        let wanted = self.find_folders();
        if !std::mem::take(&mut self.is_stale) && wanted == self.watched {
            return Ok(());
        }
        // To stop watching a folder also stops it for those below. So all are watched anew.
        for old in std::mem::replace(&mut self.watched, wanted) {
            let _ = self.notifier.unwatch(&old.path);
        }
        check_task_root(&self.root)?;
        for (index, folder) in self.watched.iter().enumerate() {
            match self.notifier.watch(&folder.path, folder.mode) {
                Err(cause) if index == 0 => return Err(watch_error(&self.root, cause)),
                // A link whose target cannot be watched is not followed.
                _ => {}
            }
        }
        Ok(())
    }

    /// The folders to watch, the task root first. Also finds the links.
    fn find_folders(&mut self) -> Vec<WatchedFolder> {
        let mut folders = vec![WatchedFolder::new(&self.root, RecursiveMode::Recursive)];
        self.links.clear();
        let walk = WalkBuilder::new(&self.root)
            .hidden(false)
            .require_git(false)
            .follow_links(true)
            .filter_entry(|entry| entry.file_name() != ".git")
            .sort_by_file_name(Ord::cmp)
            .build();
        for link in walk.flatten().filter(ignore::DirEntry::path_is_symlink) {
            let Ok(target) = fs::canonicalize(link.path()) else {
                continue;
            };
            if self.find_link_to(&target).is_some() {
                continue;
            }
            // Watch the folder of a file, because an editor replaces the file when it saves.
            let (folder, mode) = match target.parent() {
                Some(parent) if target.is_file() => (parent, RecursiveMode::NonRecursive),
                _ => (target.as_path(), RecursiveMode::Recursive),
            };
            folders.push(WatchedFolder::new(folder, mode));
            self.links.push((target, link.path().to_owned()));
        }
        folders
    }
}

fn watch_error(folder: &Path, cause: notify::Error) -> Error {
    Error::WatchFiles {
        path: folder.to_owned(),
        cause,
    }
}

/// The files whose changes do not count.
struct IgnoreRules {
    /// From the user.
    patterns: Gitignore,
    /// From `.gitignore` files, the outer ones first.
    files: Vec<Gitignore>,
}

impl IgnoreRules {
    fn new(root: &Path, patterns: &[String]) -> Result<Self, Error> {
        let mut builder = GitignoreBuilder::new(root);
        let fail = |cause: ignore::Error| Error::IgnoreFiles { cause };
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(fail)?;
        }
        Ok(Self {
            patterns: builder.build().map_err(fail)?,
            files: Vec::new(),
        })
    }

    /// Reads the `.gitignore` files of `root`, and those of the repository around it.
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
        // Invalid lines are ignored; git itself warns about them.
        let read = |folder: &PathBuf| Gitignore::new(folder.join(".gitignore")).0;
        self.files = folders.iter().map(read).collect();
        // A task root that git ignores, such as a build folder, is watched all the same.
        let excludes_root = |rules: &Gitignore| {
            rules.path() != root
                && root.starts_with(rules.path())
                && rules.matched_path_or_any_parents(root, true).is_ignore()
        };
        self.files.retain(|rules| !excludes_root(rules));
    }

    fn excludes(&self, root: &Path, path: &Path) -> bool {
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
        verdict(&self.patterns).or_else(|| inner_first.find_map(verdict)) == Some(true)
    }
}

/// Whether standard output or standard error leads to this file: `coshell serve --watch >log`.
fn is_own_output(path: &Path) -> bool {
    let file = identity(path);
    let outputs = ["/proc/self/fd/1", "/proc/self/fd/2"];
    file.is_some()
        && outputs
            .iter()
            .any(|output| identity(Path::new(output)) == file)
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn is_editor_backup(path: &Path) -> bool {
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
        reason = "clippy does not recognize an asynchronous test"
    )]
    async fn change_is_reported_even_if_the_wait_for_it_is_interrupted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watcher = Watcher::start(folder.path(), &[]).expect("a watcher");
        std::fs::write(folder.path().join("file"), "text").expect("a file");
        let changed = async {
            loop {
                // As if another branch of a select had been ready.
                if let Ok(name) = timeout(QUIET_PERIOD / 10, watcher.next_change()).await {
                    return name;
                }
            }
        };
        let changed = timeout(Duration::from_secs(10), changed).await;
        let changed = changed.map(|name| name.expect("a folder"));
        assert_eq!(changed.as_deref(), Ok("file"));
    }
}
