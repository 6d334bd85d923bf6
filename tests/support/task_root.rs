//! A temporary `LAMBDA_TASK_ROOT`. It is removed on drop.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{LIMIT, start_programs_with_default_signals, wait_until};

/// A folder of handler files.
#[derive(Debug)]
pub struct TaskRoot {
    path: PathBuf,
}

impl TaskRoot {
    /// Creates an empty folder. Programs started from now on have every signal at its default.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        start_programs_with_default_signals();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("coshell-test-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Self { path },
                // A process with the same id was killed, and left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make a task root: {error}"),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file `name`, which may be `dir/file`. Everyone can read it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path.join(name);
        let folder = file.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("cannot make a folder in the task root");
        fs::write(&file, content).expect("cannot write to the task root");
        file
    }

    /// As [`write`](Self::write), but everyone can execute it. Another process writes the file: if this one did, a child
    /// that another thread forks could keep the file open for writing, and executing it would fail with `ETXTBSY`.
    pub fn write_program(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path.join(name);
        let source = self.write(&format!("{name}.written"), content);
        let mut install = Command::new("install");
        let installed = install.args(["-m", "755", "--"]).args([&source, &file]);
        assert!(installed.status().is_ok_and(|status| status.success()));
        fs::remove_file(source).expect("cannot remove the source of the copy");
        file
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The content of the file `name`; empty if there is no such file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap_or_default()
    }

    /// Waits until the file `name` has a line, and reads the process id in it.
    #[track_caller]
    pub fn wait_pid(&self, name: &str) -> u32 {
        wait_until(|| self.read(name).ends_with('\n'), LIMIT);
        self.read(name).trim().parse().expect("a pid")
    }

    /// Creates the FIFO `name`. A handler that runs `read -r _ <"$LAMBDA_TASK_ROOT/name"` waits until
    /// [`release`](Self::release).
    pub fn fifo(&self, name: &str) {
        nix::unistd::mkfifo(&self.path.join(name), nix::sys::stat::Mode::S_IRWXU)
            .expect("cannot make a FIFO");
    }

    /// Waits until a handler reads the FIFO `name`, and lets it continue.
    #[track_caller]
    pub fn release(&self, name: &str) {
        let mut fifo = None;
        let path = self.path.join(name);
        wait_until(
            || match OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
            {
                Ok(open) => {
                    fifo = Some(open);
                    true
                }
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => false,
                Err(error) if error.kind() == ErrorKind::Interrupted => false,
                Err(error) => panic!("cannot open FIFO {name}: {error}"),
            },
            LIMIT,
        );
        let written = fifo.map(|mut fifo| fifo.write_all(b"go on\n"));
        written
            .expect("the FIFO is open")
            .expect("cannot write to the FIFO");
    }
}

impl Drop for TaskRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
