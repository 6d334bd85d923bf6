//! Which processes descend from which.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::unistd::{Pid, getpid};

use super::status::program_name;

/// Deeper descendants are not looked for.
const MAX_DEPTH: usize = 64;

/// Reads a file such as `/proc/<pid>/task/<tid>/children`.
///
/// The kernel skips a child if the one before it ends while the list is being read. So a list is valid if a second
/// reading gives the same. An empty list is always valid.
pub fn read_pids(children: &File) -> Vec<Pid> {
    let mut pids = read_pids_once(children);
    while !pids.is_empty() {
        let again = read_pids_once(children);
        if again == pids {
            break;
        }
        pids = again;
    }
    pids
}

fn read_pids_once(children: &File) -> Vec<Pid> {
    let mut text = Vec::new();
    let mut piece = [0; 512];
    while let Ok(count) = children.read_at(&mut piece, text.len() as u64) {
        if count == 0 {
            break;
        }
        text.extend_from_slice(&piece[..count]);
        if count < piece.len() {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let pids = text
        .split_ascii_whitespace()
        .filter_map(|number| number.parse().ok());
    pids.map(Pid::from_raw).collect()
}

/// The children of all threads of `pid`.
fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads
        .filter_map(|thread| File::open(thread.path().join("children")).ok())
        .flat_map(|file| read_pids(&file))
        .collect()
}

/// `roots` and their descendants, parents first, without `excluded` and the descendants of these.
pub fn with_descendants(roots: Vec<Pid>, excluded: &[Pid]) -> Vec<Pid> {
    let mut found: Vec<Pid> = Vec::new();
    let mut level = roots;
    for _ in 0..MAX_DEPTH {
        level.retain(|pid| !excluded.contains(pid) && !found.contains(pid));
        if level.is_empty() {
            break;
        }
        found.extend(&level);
        level = level.into_iter().flat_map(children).collect();
    }
    found
}

/// Our descendants that run, with the names of their programs.
pub fn our_descendants() -> Vec<(Pid, String)> {
    running(|| with_descendants(children(getpid()), &[]))
}

/// The processes of `list` that run, with the names of their programs. Calls `list` again if one has ended: the kernel
/// gives its children to another process.
pub fn running(mut list: impl FnMut() -> Vec<Pid>) -> Vec<(Pid, String)> {
    let mut ended = Vec::new();
    loop {
        let known = ended.len();
        let mut found = Vec::new();
        for pid in list() {
            match program_name(pid) {
                Some(program) => found.push((pid, program)),
                // A zombie stays in the list until its parent reaps it.
                None if ended.contains(&pid) => {}
                None => ended.push(pid),
            }
        }
        if ended.len() == known {
            return found;
        }
    }
}

/// The names of the programs, without repeats in a row.
pub fn program_names(found: Vec<(Pid, String)>) -> Vec<String> {
    let mut names: Vec<_> = found.into_iter().map(|(_, program)| program).collect();
    names.dedup();
    names
}
