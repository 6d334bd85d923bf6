//! What changes in the task root: the sandboxes are started anew.
//!
//! inotify tells, through the library notify. Editors write a file in several steps, so the end of
//! a short calm is waited for. What only reads a file is no change.

use std::path::Path;
use std::time::Duration;

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
    changed: mpsc::UnboundedReceiver<String>,
    /// What has changed while [`next`](Self::next) was waited for: that may end at any time.
    begun: Option<Begun>,
    _watcher: notify::RecommendedWatcher,
}

/// Changes whose calm has not come.
struct Begun {
    /// The file that changed first.
    name: String,
    /// When the last one came.
    last: Instant,
    steps: usize,
}

impl Changes {
    /// Watches `folder` and all below it, `.git` excepted.
    ///
    /// # Errors
    /// When the system does not, as when too many files are watched already.
    pub fn watch(folder: &Path) -> Result<Self, Error> {
        let fail = |cause| Error::WatchFiles {
            path: folder.to_owned(),
            cause,
        };
        let (sender, changed) = mpsc::unbounded_channel();
        let root = folder.to_owned();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if let EventKind::Access(_) = event.kind {
                    return;
                }
                let path = event.paths.iter().find(|path| !is_ignored(&root, path));
                if let Some(path) = path {
                    let name = path.strip_prefix(&root).unwrap_or(path).display();
                    // An error means that nobody listens any more.
                    let _ = sender.send(name.to_string());
                }
            })
            .map_err(fail)?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .map_err(fail)?;
        Ok(Self {
            changed,
            begun: None,
            _watcher: watcher,
        })
    }

    /// Waits for a change, and for the calm after it; gives the name of the file that changed first.
    /// When it is not waited for any longer, nothing is lost: the next call goes on.
    pub async fn next(&mut self) -> String {
        loop {
            let Some(begun) = &mut self.begun else {
                let Some(name) = self.changed.recv().await else {
                    // The watcher, which has the sender, lives as long as we do.
                    return std::future::pending().await;
                };
                self.begun = Some(Begun {
                    name,
                    last: Instant::now(),
                    steps: 0,
                });
                continue;
            };
            let is_calm = timeout_at(begun.last + CALM, self.changed.recv())
                .await
                .is_err();
            (begun.last, begun.steps) = (Instant::now(), begun.steps + 1);
            if is_calm || begun.steps == MOST_STEPS {
                return self
                    .begun
                    .take()
                    .map(|begun| begun.name)
                    .unwrap_or_default();
            }
        }
    }
}

fn is_ignored(root: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().any(|part| part.as_os_str() == ".git")
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
        let mut changes = Changes::watch(folder.path()).expect("a watch");
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
