//! Limits of CPU and memory, by control groups of version 1 or 2.
//!
//! Each start has a group of its own: a child of our own group or, if that can have none, of one nearer to the root.
//! `/proc/self/mountinfo` says where each controller is; `cgroups(7)`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// With this memory size a function has one CPU, and with a part of it the same part of one:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
const MB_OF_ONE_CPU: f64 = 1769.0;
/// The period of the CPU limit. The usual one is 100 ms; with this one a start with 128 MB runs for 1.4 ms and then waits
/// for 18.6 ms. Lambda's period is not documented; a shorter one spreads the waits more evenly.
const PERIOD_US: f64 = 20_000.0;
/// The smallest quota that the kernel accepts.
const MIN_QUOTA_US: f64 = 1000.0;
/// How long the last processes of a group may take to leave it.
const REMOVE_LIMIT: Duration = Duration::from_millis(500);
const REMOVE_AGAIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Limits {
    /// In MB; Lambda's MB are MiB.
    pub memory_mb: Option<u32>,
    pub cpus: Option<f64>,
}

impl Limits {
    /// With Lambda's share of CPU for the memory size, unless `cpus` is given.
    pub(crate) fn new(memory_mb: Option<u32>, cpus: Option<f64>) -> Self {
        let by_memory = memory_mb.map(|mb| f64::from(mb) / MB_OF_ONE_CPU);
        Self {
            memory_mb,
            cpus: cpus.or(by_memory),
        }
    }

    /// Whether there is no limit.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A control group for one start. Dropping it removes it when its last process has left.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    /// Makes a group with these limits.
    ///
    /// # Errors
    /// The system's, if that is not permitted or the controllers are missing.
    pub(crate) fn make(limits: &Limits, name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mut group = Self {
            folders: Vec::new(),
        };
        if let Some(cpus) = limits.cpus {
            let quota = (cpus * PERIOD_US).max(MIN_QUOTA_US).round();
            let old = [
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            let new = [("cpu.max", format!("{quota} {PERIOD_US}"))];
            group.join(&hierarchy(&mounts, &own, "cpu"), name, &old, &new)?;
        }
        if let Some(memory_mb) = limits.memory_mb {
            let bytes = (u64::from(memory_mb) << 20).to_string();
            let old = [("memory.limit_in_bytes", bytes.clone())];
            let new = [("memory.max", bytes)];
            group.join(&hierarchy(&mounts, &own, "memory"), name, &old, &new)?;
        }
        Ok(group)
    }

    /// Makes a folder with these values in the first place that permits it.
    fn join(
        &mut self,
        hierarchy: &Hierarchy,
        name: &str,
        old: &[(&str, String)],
        new: &[(&str, String)],
    ) -> io::Result<()> {
        let values = if hierarchy.is_unified { new } else { old };
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for parent in &hierarchy.parents {
            let folder = parent.join(name);
            if hierarchy.is_unified {
                // If this is denied the values cannot be set below, which is the error then.
                for controller in ["+cpu", "+memory"] {
                    let _ = write(&parent.join("cgroup.subtree_control"), controller);
                }
            }
            let is_new = !self.folders.contains(&folder);
            let made = if is_new {
                fs::create_dir(&folder)
            } else {
                Ok(())
            };
            let set = made.and_then(|()| {
                let mut files = values.iter();
                files.try_for_each(|(file, value)| write(&folder.join(file), value))
            });
            match set {
                Ok(()) if is_new => {
                    self.folders.push(folder);
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                Err(error) => {
                    if is_new {
                        let _ = fs::remove_dir(&folder);
                    }
                    failed = error;
                }
            }
        }
        Err(failed)
    }

    /// Whether the kernel has killed one of its processes because the group had no memory left.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        // Of version 2, and of version 1.
        let files = ["memory.events", "memory.oom_control"];
        let mut texts = self.folders.iter().flat_map(|folder| {
            let read = |file| fs::read_to_string(folder.join(file)).ok();
            files.into_iter().filter_map(read)
        });
        texts.any(|text| {
            let mut counts = text
                .lines()
                .filter_map(|line| line.strip_prefix("oom_kill "));
            counts.any(|count| count != "0")
        })
    }

    /// A process that writes `0` to these joins the group.
    ///
    /// # Errors
    /// The system's, if they cannot be opened.
    pub(crate) fn join_files(&self) -> io::Result<Vec<File>> {
        let files = self
            .folders
            .iter()
            .map(|folder| folder.join("cgroup.procs"));
        files
            .map(|file| OpenOptions::new().write(true).open(file))
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begun = Instant::now();
        for folder in &self.folders {
            while fs::remove_dir(folder).is_err()
                && folder.exists()
                && begun.elapsed() < REMOVE_LIMIT
            {
                thread::sleep(REMOVE_AGAIN);
            }
        }
    }
}

/// Writes to a file of the kernel: in one write, and without creating it.
fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

/// The places for groups with a controller.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hierarchy {
    is_unified: bool,
    /// From our own group up to the root.
    parents: Vec<PathBuf>,
}

/// Finds `controller` in the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn hierarchy(mounts: &str, own: &str, controller: &str) -> Hierarchy {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some((root, point, kind, options))
    });
    let groups = || {
        own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
    };
    let has = |list: &str| list.split(',').any(|one| one == controller);
    let mut unified = Hierarchy::default();
    for (root, point, kind, options) in mounts {
        let is_unified = kind == "cgroup2";
        let is_found = is_unified || (kind == "cgroup" && has(options));
        if !is_found {
            continue;
        }
        let group = groups().find(|(list, _)| {
            if is_unified {
                list.is_empty()
            } else {
                has(list)
            }
        });
        let group = group.map_or("/", |(_, group)| group);
        let below = Path::new(group)
            .strip_prefix(root)
            .unwrap_or_else(|_| Path::new(""));
        let below = below.strip_prefix("/").unwrap_or(below);
        let parents = below
            .ancestors()
            .map(|part| Path::new(point).join(part))
            .collect();
        let found = Hierarchy {
            is_unified,
            parents,
        };
        if !is_unified {
            return found;
        }
        unified = found;
    }
    unified
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_decides_on_cpu_as_on_lambda() {
        let cpus = |memory_mb, cpus| Limits::new(memory_mb, cpus).cpus;
        assert_eq!(cpus(Some(1769), None), Some(1.0));
        assert_eq!(
            cpus(Some(128), None).map(|cpus| (cpus * 1000.0).round()),
            Some(72.0)
        );
        assert_eq!(cpus(Some(128), Some(2.0)), Some(2.0));
        assert!(Limits::new(None, None).is_none());
    }

    #[test]
    fn controllers_are_where_they_are_mounted() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:cpuacct,cpu:/a/b\n0::/c\n";
        let found = hierarchy(mounts, own, "cpu");
        let parents = [
            "/sys/fs/cgroup/cpu/a/b",
            "/sys/fs/cgroup/cpu/a",
            "/sys/fs/cgroup/cpu/",
        ];
        assert_eq!(found.parents, parents.map(PathBuf::from));
        assert!(!found.is_unified);
        let found = hierarchy(mounts, own, "memory");
        assert!(found.is_unified);
        assert_eq!(found.parents[0], Path::new("/sys/fs/cgroup/unified/c"));
        let contained = "31 20 0:27 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let found = hierarchy(contained, "0::/docker/x/y\n", "cpu");
        assert_eq!(
            found.parents,
            ["/sys/fs/cgroup/y", "/sys/fs/cgroup/"].map(PathBuf::from)
        );
        assert_eq!(hierarchy("", "", "cpu"), Hierarchy::default());
    }
}
