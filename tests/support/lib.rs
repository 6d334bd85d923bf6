//! Shared by all tests: a scripted Runtime API, temporary task roots, and processes that clean up after themselves.
//!
//! A test in four lines:
//! ```ignore
//! let sandbox = Sandbox::of("handler() { printf '%s' \"$1\"; }").env("NAME", "value").start();
//! assert_eq!(sandbox.respond("event"), b"event");                 // one invocation, its response bytes
//! let error = sandbox.fail("event");                               // one invocation, its error document
//! let answer = sandbox.invoke(Event::new("id-1", "event").chunked(7)); // the whole POST
//! ```
//!
//! - [`Sandbox`] is one bootstrap with a Runtime API and a task root of its own. `Sandbox::of(script)` writes
//!   `function.sh` and takes `_HANDLER=function.handler`; `.handler("x.y")`, `.argument("x.y")`, `.file(name, bytes)`,
//!   `.env(name, value)`, `.without_env(name)`, `.program(&["bash", "--posix", ...])` and `.tutorial()` change that; `.start()`
//!   starts it without waiting; `sandbox.api.wait_init_error()` waits for an init error.
//! - [`RuntimeApi`] parks each `GET next` until the test pushes an [`Event`] or another [`Next`] (a status, a close, a
//!   reset, raw bytes). A [`Reply`] is what the next POST gets. Every [`Call`] is recorded in order. When the API is
//!   dropped, it fails the test if an invocation was answered more often than it was delivered, or if a `GET next` came
//!   while an invocation was unanswered. A test that provokes this calls `api.allow_violations()`.
//! - [`Process`] captures standard output and error, and kills the program and everything it started on drop. It has
//!   `pid`, `shell_pid`, `processes` (the living ones of its tree, orphans included), `wait_exit`, `wait_clean_exit`,
//!   `wait_log`, and `final_log`, which is complete, so that a test can check what is *not* in the log.
//! - [`CommandOutput`] is the status and output of a command that has ended.
//! - [`Emulator`] is one `coshell serve`, called over HTTP. With `Emulator::with_test_as_runtime()` the test acts as its
//!   runtime.
//! - [`wait_until`]`(condition, limit)` waits for a condition. A handler that must wait for the test reads a FIFO
//!   ([`TaskRoot::fifo`], `read -r _ <"$LAMBDA_TASK_ROOT/name"`) until the test calls [`TaskRoot::release`].
//!
//! Every wait has a limit ([`LIMIT`]) and fails with the transcript of the API and the log of the process.
//! `COSHELL_TEST_BASH=/bin/bash-static` runs every bootstrap with another bash, `COSHELL_TEST_BOOTSTRAP=path` runs
//! another bootstrap, for example a release build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::new_without_default,
    clippy::pedantic
)]

mod call;
mod command_output;
pub mod emulator;
mod event;
pub mod event_stream;
pub mod http;
mod process;
mod runtime_api;
pub mod sandbox;
pub mod seeded;
mod server;
mod signals;
mod task_root;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub use call::Call;
pub use command_output::CommandOutput;
pub use emulator::Emulator;
pub use event::{CONTEXT, Event, Gate};
pub use http::{HttpReply, post};
pub use process::{
    Process, as_pid, children, open_descriptors, resident_bytes, status_field, zombies,
};
pub use runtime_api::{RuntimeApi, unique_address};
pub use sandbox::{Sandbox, SandboxBuilder, bootstrap_path, set_lambda_environment};
pub use server::{Midway, Next, Reply};
pub use signals::start_programs_with_default_signals;
pub use task_root::TaskRoot;

/// The bash that the tests run: `COSHELL_TEST_BASH`, or that of the system.
pub fn bash() -> String {
    std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "/bin/bash".to_owned())
}

/// The version of [`bash`], major and minor.
pub fn bash_version() -> (u32, u32) {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let output = std::process::Command::new(bash())
            .args(["-c", "printf '%s %s' \"${BASH_VERSINFO[@]:0:2}\""])
            .output()
            .expect("bash");
        let text = String::from_utf8(output.stdout).expect("a version");
        let (major, minor) = text.split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        (number(major), number(minor))
    })
}

/// The variable of the environment that is the function `name`. The first versions of bash 4.2 take the name itself.
pub fn function_variable(name: &str) -> String {
    let variable = format!("BASH_FUNC_{name}%%");
    let mut bash = std::process::Command::new(bash());
    let bash = bash.env(&variable, "() { :; }").args(["-c", "declare -F"]);
    let functions = bash.output().expect("bash").stdout;
    let is_function = functions == format!("declare -fx {name}\n").as_bytes();
    if is_function {
        variable
    } else {
        name.to_owned()
    }
}

/// Whether this bash runs each event of a function in a fork, whatever the isolation: it is older than 4.4.
pub fn always_forks() -> bool {
    bash_version() < (4, 4)
}

/// What a handler has counted at its `events`th event without isolation: 1 where each event runs in a fork.
pub fn count_after(events: usize) -> usize {
    if always_forks() { 1 } else { events }
}

/// How long a test waits before it gives up. Far longer than anything takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A command prefix that runs the rest as another user, as Lambda does: uid 993, no groups.
pub const AS_ANOTHER_USER: [&str; 7] = [
    "setpriv",
    "--reuid",
    "993",
    "--regid",
    "990",
    "--clear-groups",
    "--",
];

/// Waits until `condition` is true. After `limit` it fails at the caller's line.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "still false after {limit:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The root folder of the repository. `COSHELL_TEST_REPOSITORY` points the tests at another one, such as a clone.
pub fn repository() -> PathBuf {
    let configured = std::env::var_os("COSHELL_TEST_REPOSITORY");
    configured.map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/..").into(),
        PathBuf::from,
    )
}

/// The path of the built program `name`, which lies beside the running tests.
#[track_caller]
fn program(name: &str) -> String {
    let tests = std::env::current_exe().expect("the tests are a program");
    // target/debug/deps/it-0123456789abcdef
    let folder = tests.ancestors().nth(2).expect("the tests lie in target");
    let built = folder.join(name);
    assert!(
        built.exists(),
        "{} does not exist; build it with `make programs`",
        built.display()
    );
    built.to_str().expect("a path in UTF-8").to_owned()
}

/// The path of the built `coshell`.
#[track_caller]
pub fn coshell_path() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| program("coshell"))
}

/// `text` with the names of the driver as they ship: `__driver_kind` has a short one there.
#[track_caller]
pub fn with_driver_names(text: &str) -> String {
    let mut text = text.to_owned();
    let names = driver_text(&["names"]);
    let mut pairs: Vec<_> = names
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    // The longest first, because one may begin like another.
    pairs.sort_by_key(|(long, _)| std::cmp::Reverse(long.len()));
    for (long, short) in pairs {
        text = text.replace(long, short);
    }
    text
}

/// What `driver-text` prints about the driver.
#[track_caller]
pub fn driver_text(arguments: &[&str]) -> String {
    let run = std::process::Command::new(program("driver-text"))
        .args(arguments)
        .output()
        .expect("driver-text runs");
    assert!(run.status.success(), "driver-text {arguments:?}: {run:?}");
    String::from_utf8(run.stdout).expect("a text")
}

/// The path of a file of the repository. Fails if it does not exist.
#[track_caller]
pub fn repository_file(path: &str) -> PathBuf {
    let file = repository().join(path);
    assert!(
        file.exists(),
        "these tests need {path}, relative to the root of the repository"
    );
    file
}

/// The text of a file of the repository.
pub fn repository_text(path: &str) -> String {
    std::fs::read_to_string(repository_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the repository under `folder`, by its path from the repository's root.
pub fn repository_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(repository_file(&folder.to_string_lossy())).expect("a folder");
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found.sort();
    found
}

/// The length and the first bytes, escaped, for the message of a failed assertion.
pub fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 160;
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let more = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
    format!("[{} bytes] \"{}{more}\"", bytes.len(), shown.escape_ascii())
}
