//! What the tests stand on: a scripted Runtime API, task roots, processes.
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
//!   starts it. It waits for nothing: an init error is `sandbox.api.wait_init_error()`.
//! - [`RuntimeApi`] parks each `GET next` until the test pushes an [`Event`] or another [`Next`] (a status, a close, a
//!   reset, raw bytes). [`Reply`] says what the next POST is answered. It keeps every [`Call`] in order. When
//!   it is dropped it fails the test if an invocation was answered more often than it was delivered, or if `next`
//!   was asked while one was unanswered (`api.allow_violations()` where a test provokes that).
//! - [`Process`]: standard output and error captured by threads, killed with all it started on drop; `pid`, `shell_pid`,
//!   `processes` (all that live of its tree, orphans too), `wait_exit`, `wait_end`, `wait_log`, `final_log` (to say what is *not* in the log).
//! - [`Served`] is one `coshell serve`, called over HTTP; with `Served::played()` the test is its runtime.
//! - [`wait_until`]`(condition, limit)`, and for handlers that must wait for the test: [`TaskRoot::fifo`] with
//!   `read -r _ <"$LAMBDA_TASK_ROOT/name"` in the handler and [`TaskRoot::release`] in the test.
//!
//! Whatever waits has a limit ([`LIMIT`]) and fails with the transcript of the API and the log of the process.
//! `COSHELL_TEST_BASH=/bin/bash-static` runs every bootstrap with another bash, `COSHELL_TEST_BOOTSTRAP=path` runs
//! another bootstrap (a release build, say).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::new_without_default,
    clippy::pedantic
)]

mod call;
mod event;
pub mod event_stream;
pub mod http;
mod process;
mod runtime_api;
mod said;
pub mod sandbox;
pub mod seeded;
pub mod served;
mod server;
mod signals;
mod task_root;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub use call::Call;
pub use event::{CONTEXT, Event, Gate};
pub use http::{HttpReply, post};
pub use process::{Process, children, open_descriptors, resident_bytes, status_of, zombies};
pub use runtime_api::{RuntimeApi, own_address};
pub use said::Said;
pub use said::Said as CommandOutput;
pub use sandbox::{Plan, Sandbox, bootstrap_path, lambda_environment};
pub use served::Served;
pub use server::{Midway, Next, Reply};
pub use signals::start_programs_with_default_signals;
pub use task_root::TaskRoot;

/// How long anything may take before a test gives up; far above what it takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Starts what follows as another user, as Lambda does: uid 993, no groups.
pub const AS_ANOTHER_USER: [&str; 7] = [
    "setpriv",
    "--reuid",
    "993",
    "--regid",
    "990",
    "--clear-groups",
    "--",
];

/// Waits until `condition` holds; fails at the caller's line when `limit` has passed.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not so after {limit:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The folder of this repository. Who runs the tests of one on the files of another, such as a clone, names that.
pub fn repository() -> PathBuf {
    let named = std::env::var_os("COSHELL_TEST_REPOSITORY");
    named.map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/..").into(),
        PathBuf::from,
    )
}

/// The program `name` as it was built last, beside the tests that run.
#[track_caller]
fn program(name: &str) -> String {
    let tests = std::env::current_exe().expect("the tests are a program");
    // target/debug/deps/it-0123456789abcdef
    let folder = tests.ancestors().nth(2).expect("it lies in target");
    let built = folder.join(name);
    assert!(
        built.exists(),
        "{} is not built: `make programs` does that",
        built.display()
    );
    built.to_str().expect("a path in UTF-8").to_owned()
}

/// `coshell`, as it was built last.
#[track_caller]
pub fn coshell_path() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| program("coshell"))
}

/// A file of this repository; fails if it is not there.
#[track_caller]
pub fn repository_file(path: &str) -> PathBuf {
    let file = repository().join(path);
    assert!(
        file.exists(),
        "these tests need {path}, seen from the top of the repository"
    );
    file
}

/// `name [bytes]` for a failure's text: short enough to read, escaped.
pub fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("[{} bytes] \"{}{more}\"", bytes.len(), shown.escape_ascii())
}
