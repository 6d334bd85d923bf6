//! What changes in the task root: the sandboxes are started anew.
//!
//! inotify tells, through the library notify. Editors write a file in several steps, so the end of
//! a short calm is waited for. What only reads a file is no change.

use std::path::Path;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Error;

/// So long nothing may change before it counts as done.
const CALM: Duration = Duration::from_millis(30);
/// A task root that never rests is loaded anew all the same.
const MOST_STEPS: usize = 100;

/// Watches a folder as long as it lives.
pub struct Changes {
    changed: mpsc::UnboundedReceiver<String>,
    _watcher: notify::RecommendedWatcher,
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
            _watcher: watcher,
        })
    }

    /// Waits for a change, and for the calm after it; gives the name of the file that changed first.
    pub async fn next(&mut self) -> String {
        let Some(first) = self.changed.recv().await else {
            // The watcher, which has the sender, lives as long as we do.
            return std::future::pending().await;
        };
        for _ in 0..MOST_STEPS {
            if timeout(CALM, self.changed.recv()).await.is_err() {
                break;
            }
        }
        first
    }
}

fn is_ignored(root: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().any(|part| part.as_os_str() == ".git")
}
