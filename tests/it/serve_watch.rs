//! `coshell serve --watch`: after a file was saved, a new sandbox with that file answers. Running invocations are not disturbed.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use support::emulator::wait_reply;
use support::http::PendingRequest;
use support::{Emulator, LIMIT, Process, TaskRoot, wait_until};

const CHANGED: &str = " changed, restarting\n";

fn printing(text: &str) -> String {
    format!("handler() {{ printf '{text} %s' \"$1\"; }}\n")
}

/// Calls until the answer is `expected`. A call may come before the emulator notices the change.
#[track_caller]
fn wait_answer(emulator: &Emulator, expected: &str) {
    let answer = || String::from_utf8_lossy(&emulator.call("x").body).into_owned();
    wait_until(|| answer() == expected, LIMIT);
}

#[test]
fn a_saved_file_answers_the_next_calls() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    for text in ["new", "newer"] {
        emulator.task_root.write("function.sh", printing(text));
        wait_answer(&emulator, &format!("{text} x"));
    }
    // Many editors save like this: a new file replaces the old one.
    let other = emulator
        .task_root
        .write(".function.sh.swp", printing("newest"));
    fs::rename(other, emulator.task_root.path().join("function.sh")).expect("renamed");
    wait_answer(&emulator, "newest x");
    // And it stays so.
    for _ in 0..10 {
        assert_eq!(emulator.respond_text("x"), "newest x");
    }
    emulator
        .process
        .wait_log(&format!("coshell: function.sh{CHANGED}"));
}

#[test]
fn without_the_option_a_saved_file_changes_nothing() {
    let emulator = Emulator::of(&printing("old")).start();
    assert_eq!(emulator.respond_text("x"), "old x");
    emulator.task_root.write("function.sh", printing("new"));
    for _ in 0..10 {
        assert_eq!(emulator.respond_text("x"), "old x");
    }
}

#[test]
fn a_failed_init_is_reported_and_the_next_save_can_repair_it() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    for (broken, error_type) in [
        ("handler() { if; }\n", "Runtime.UserCodeSyntaxError"),
        ("other() { :; }\n", "Runtime.HandlerNotFound"),
    ] {
        emulator.task_root.write("function.sh", broken);
        let line = format!("\tPhase: init\tStatus: error\tError Type: {error_type}\t\n");
        emulator.process.wait_log(&line);
        let document = emulator.fail("x");
        assert_eq!(document["errorType"], error_type, "{document}");
        emulator
            .task_root
            .write("function.sh", printing(error_type));
        wait_answer(&emulator, &format!("{error_type} x"));
    }
}

#[test]
fn a_running_invocation_is_not_disturbed() {
    let script = |text: &str| {
        let wait = "[[ $1 != wait ]] || read -r _ <\"$LAMBDA_TASK_ROOT/gate\"";
        format!("handler() {{ {wait}; printf '{text} %s' \"$PPID\"; }}\n")
    };
    for concurrency in ["1", "2"] {
        let builder = Emulator::of(&script("old"));
        builder.task_root.fifo("gate");
        let emulator = builder
            .arg("--watch")
            .option("--concurrency", concurrency)
            .start();
        let waiting = emulator.begin_call("wait");
        emulator.wait_log_count("START ", 1);
        emulator.task_root.write("function.sh", script("new"));
        emulator.process.wait_log(CHANGED);
        if concurrency == "2" {
            wait_until(|| emulator.respond_text("x").starts_with("new "), LIMIT);
        }
        assert!(!waiting.is_answered());
        emulator.task_root.release("gate");
        let answer = emulator.expect_response(emulator.finish(waiting));
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (text, pid) = answer.split_once(' ').expect("two parts");
        assert_eq!(text, "old");
        wait_until(|| emulator.respond_text("x").starts_with("new "), LIMIT);
        // Its sandbox ends.
        let path = Path::new("/proc").join(pid);
        wait_until(|| !path.exists(), LIMIT);
    }
}

#[test]
fn a_sandbox_with_several_invocations_ends_after_the_last_of_them() {
    let builder = Emulator::with_test_as_runtime().option("--managed-instances", "2");
    // The idle bootstrap of the test writes this file.
    let builder = builder.option("--watch-ignore", "sandboxes");
    let emulator = builder.arg("--watch").start();
    let runtime = emulator.runtime_client(0);
    let callers = ["a", "b"].map(|event| emulator.begin_call(event));
    let request_ids = [(); 2].map(|()| runtime.next().0);
    emulator.task_root.write("saved", "");
    emulator.process.wait_log(CHANGED);
    for request_id in request_ids {
        assert_eq!(runtime.respond(&request_id, "on").status, 202);
    }
    for caller in callers {
        assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");
    }
    let path = Path::new("/proc").join(runtime.pid.to_string());
    wait_until(|| !path.exists(), LIMIT);
    let caller = emulator.begin_call("c");
    let other = emulator.runtime_client(1);
    let (request_id, event) = other.next();
    assert_eq!(event, b"c");
    assert_eq!(other.respond(&request_id, "on").status, 202);
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");
}

#[test]
fn all_calls_are_answered_while_files_are_saved() {
    let emulator = Emulator::of(&printing("0")).arg("--watch").start();
    for number in 1..=5 {
        emulator
            .task_root
            .write("function.sh", printing(&number.to_string()));
        wait_until(
            || {
                let answer = emulator.respond_text("x");
                assert!(answer.ends_with(" x"), "{answer}");
                answer == format!("{number} x")
            },
            LIMIT,
        );
    }
}

#[test]
fn the_git_folder_is_not_watched_and_reading_a_file_is_no_change() {
    let builder = Emulator::of(&printing("old"));
    builder.task_root.write(".git/index", "");
    let emulator = builder.arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    for name in [".git/index", ".git/objects/ab/cd", ".git/HEAD.lock"] {
        emulator.task_root.write(name, "changed");
    }
    fs::read(emulator.task_root.path().join("function.sh")).expect("read");
    emulator.task_root.write("seen.txt", "changed");
    emulator.process.wait_log(CHANGED);
    let stderr = emulator.stderr();
    assert!(
        stderr.contains(&format!("coshell: seen.txt{CHANGED}")),
        "{stderr}"
    );
    assert_eq!(stderr.matches(CHANGED).count(), 1, "{stderr}");
}

/// `coshell serve --watch function.handler >serve.log 2>&1`: each line of the log changes a file of the folder.
struct LoggedServer {
    root: TaskRoot,
    log: fs::File,
    address: String,
    process: Process,
}

impl LoggedServer {
    #[track_caller]
    fn start() -> Self {
        let builder =
            Emulator::of("handler() { echo \"log of $1\" >&2; printf '%s %s' \"$1\" \"$$\"; }");
        let serve = builder.arg("--watch").option("--listen", "127.0.0.1:0");
        let path = serve.task_root.path().join("serve.log");
        let inner = serve.command();
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir(serve.task_root.path());
        let set = |(name, value): (_, Option<_>)| Some((name, value?));
        command.envs(inner.get_envs().filter_map(set));
        command.args(["-c", "exec \"$0\" \"$@\" >serve.log 2>&1"]);
        command.arg(inner.get_program()).args(inner.get_args());
        let process = Process::start(command);
        let text = || fs::read_to_string(&path).unwrap_or_default();
        wait_until(
            || text().contains("http://") && text().ends_with('\n'),
            LIMIT,
        );
        let shown = text();
        let (_, rest) = shown.split_once("http://").expect("an address");
        let address = rest.split(['/', '\n', ' ']).next().expect("an address");
        Self {
            address: address.to_owned(),
            log: fs::File::open(&path).expect("the log"),
            root: serve.task_root,
            process,
        }
    }

    fn log(&self) -> String {
        let mut bytes = vec![0; 1 << 20];
        let count = self.log.read_at(&mut bytes, 0).expect("the log");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    fn call(&self, event: &str) -> String {
        let path = "/2015-03-31/functions/function/invocations";
        let sent = PendingRequest::send(&self.address, "POST", path, &[], event.as_bytes());
        let reply = wait_reply(sent.expect("a request"));
        String::from_utf8_lossy(&reply.body).into_owned()
    }
}

#[test]
fn the_file_to_which_it_writes_itself_is_no_change() {
    let served = LoggedServer::start();
    let (root, text) = (&served.root, || served.log());
    let call = |event: &str| served.call(event);
    let first = call("x");
    assert!(first.starts_with("x "), "{first}");
    for _ in 0..5 {
        wait_until(|| text().contains("log of x"), LIMIT);
        assert_eq!(call("x"), first);
    }
    // Another file of the folder is a change still.
    root.write("other", "changed");
    wait_until(
        || text().contains(&format!("coshell: other{CHANGED}")),
        LIMIT,
    );
    assert_eq!(text().matches(CHANGED).count(), 1, "{}", text());
    served.process.kill();
}

#[test]
fn a_task_root_that_is_moved_away_is_reported_once_although_the_log_is_in_it() {
    let served = LoggedServer::start();
    let elsewhere = TaskRoot::new();
    fs::rename(served.root.path(), elsewhere.path().join("moved")).expect("renamed");
    let log = || served.log();
    let gone = format!(
        "coshell: cannot use task root {}: No such file or directory",
        served.root.path().display()
    );
    wait_until(|| log().contains(&gone), LIMIT);
    served.root.write("function.sh", printing("new"));
    wait_until(|| log().contains(CHANGED), LIMIT);
    wait_until(|| served.call("x") == "new x", LIMIT);
    assert_eq!(log().matches(&gone).count(), 1, "{}", log());
    served.process.kill();
}

/// Waits until `last` was reported as changed. Returns the names of all changed files so far.
#[track_caller]
fn wait_changed(emulator: &Emulator, last: &str) -> Vec<String> {
    emulator
        .process
        .wait_log(&format!("coshell: {last}{CHANGED}"));
    let stderr = emulator.stderr();
    let names = stderr
        .lines()
        .filter_map(|line| line.strip_suffix(CHANGED.trim_end()));
    names
        .map(|name| name.trim_start_matches("coshell: ").to_owned())
        .collect()
}

#[test]
fn files_that_git_or_an_option_ignores_are_not_watched() {
    let builder = Emulator::of(&printing("old"));
    builder
        .task_root
        .write(".gitignore", "*.log\n/build/\n!kept.log\n");
    builder.task_root.write("lib/.gitignore", "cache\n");
    for folder in ["build", "lib/cache", "deep"] {
        builder.task_root.write(&format!("{folder}/file"), "");
    }
    let builder = builder.arg("--watch").option("--watch-ignore", "*.tmp");
    let emulator = builder.option("--watch-ignore", "/state/").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    for name in [
        "run.log",
        "deep/run.log",
        "build/file",
        "lib/cache/file",
        "deep/a.tmp",
        "state/new",
    ] {
        emulator.task_root.write(name, "changed");
    }
    emulator.task_root.write("deep/kept.log", "changed");
    assert_eq!(wait_changed(&emulator, "deep/kept.log"), ["deep/kept.log"]);
    // A saved .gitignore applies from then on.
    emulator.task_root.write(".gitignore", "kept.log\n");
    wait_changed(&emulator, ".gitignore");
    emulator.task_root.write("deep/kept.log", "again");
    emulator.task_root.write("run.log", "again");
    let names = wait_changed(&emulator, "run.log");
    assert_eq!(names, ["deep/kept.log", ".gitignore", "run.log"]);
}

#[test]
fn targets_of_links_are_watched() {
    let elsewhere = TaskRoot::new();
    elsewhere.write("shared/words.sh", "word=first\n");
    elsewhere.write("alone.sh", "");
    elsewhere.write("neighbour.sh", "");
    let script =
        "source \"$LAMBDA_TASK_ROOT/lib/words.sh\"\nhandler() { printf '%s' \"$word\"; }\n";
    let builder = Emulator::of(script);
    let root = builder.task_root.path();
    std::os::unix::fs::symlink(elsewhere.path().join("shared"), root.join("lib")).expect("a link");
    std::os::unix::fs::symlink(elsewhere.path().join("alone.sh"), root.join("alone.sh"))
        .expect("a link");
    let emulator = builder.arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "first");
    elsewhere.write("shared/words.sh", "word=second\n");
    wait_answer(&emulator, "second");
    elsewhere.write("neighbour.sh", "# not linked\n");
    elsewhere.write("alone.sh", "# changed\n");
    let names = wait_changed(&emulator, "alone.sh");
    assert_eq!(names, ["lib/words.sh", "alone.sh"]);
}

#[test]
fn the_message_names_the_saved_file_and_not_the_editors_copies() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    let path = |name: &str| emulator.task_root.path().join(name);
    // Vim with a backup does this: it creates and removes a test file, renames the old file, and writes the new one.
    emulator.task_root.write("4913", "");
    fs::remove_file(path("4913")).expect("removed");
    fs::rename(path("function.sh"), path("function.sh~")).expect("renamed");
    emulator.task_root.write("function.sh", printing("new"));
    wait_answer(&emulator, "new x");
    assert_eq!(wait_changed(&emulator, "function.sh"), ["function.sh"]);
}

#[test]
fn files_in_new_folders_and_removed_files_are_noticed() {
    let script = "source \"$LAMBDA_TASK_ROOT/lib/words.sh\" || word=none\nhandler() { printf '%s' \"$word\"; }\n";
    let emulator = Emulator::of(script).option("--env", "COSHELL_SHELL_OPTIONS=");
    let emulator = emulator.arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "none");
    emulator.task_root.write("lib/words.sh", "word=first\n");
    wait_answer(&emulator, "first");
    emulator.task_root.write("lib/words.sh", "word=second\n");
    wait_answer(&emulator, "second");
    emulator
        .task_root
        .write("lib/deep/er/words.sh", "word=deep\n");
    let before = emulator.stderr().matches(CHANGED).count();
    emulator.task_root.write(
        "lib/words.sh",
        "source \"$LAMBDA_TASK_ROOT/lib/deep/er/words.sh\"\n",
    );
    wait_answer(&emulator, "deep");
    emulator
        .task_root
        .write("lib/deep/er/words.sh", "word=deeper\n");
    wait_answer(&emulator, "deeper");
    fs::remove_file(emulator.task_root.path().join("lib/words.sh")).expect("removed");
    wait_answer(&emulator, "none");
    emulator.wait_log_count(CHANGED, before + 1);
}

#[test]
fn a_folder_that_takes_the_place_of_the_task_root_is_watched() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    let root = &emulator.task_root;
    for text in ["first", "second"] {
        fs::remove_dir_all(root.path()).expect("removed");
        root.write("function.sh", printing(text));
        wait_answer(&emulator, &format!("{text} x"));
        root.write("function.sh", printing("saved"));
        wait_answer(&emulator, "saved x");
    }
    let elsewhere = TaskRoot::new();
    fs::rename(root.path(), elsewhere.path().join("moved")).expect("renamed");
    root.write("function.sh", printing("third"));
    wait_answer(&emulator, "third x");
    root.write("seen.txt", "");
    wait_changed(&emulator, "seen.txt");
    // What was moved away no longer counts.
    let before = emulator.stderr().matches(CHANGED).count();
    elsewhere.write("moved/function.sh", printing("moved"));
    root.write("last.txt", "");
    wait_changed(&emulator, "last.txt");
    let stderr = emulator.stderr();
    assert_eq!(stderr.matches(CHANGED).count(), before + 1, "{stderr}");
    assert!(!stderr.contains("coshell:  changed"), "{stderr}");
}

/// As after `ln -sfn releases/2 current`.
#[test]
fn a_link_as_the_task_root_may_lead_to_another_folder() {
    let folders = TaskRoot::new();
    folders.write("1/function.sh", printing("one"));
    folders.write("2/function.sh", printing("two"));
    let current = folders.path().join("current");
    std::os::unix::fs::symlink("1", &current).expect("a link");
    let emulator = Emulator::of("");
    let emulator = emulator.option("--task-root", current.to_str().expect("UTF-8"));
    let emulator = emulator.arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "one x");
    fs::remove_file(&current).expect("removed");
    std::os::unix::fs::symlink("2", &current).expect("a link");
    wait_answer(&emulator, "two x");
    folders.write("2/function.sh", printing("saved"));
    wait_answer(&emulator, "saved x");
}

#[test]
fn a_task_root_that_git_ignores_is_watched() {
    let repository = TaskRoot::new();
    repository.write(".git/HEAD", "");
    repository.write(".gitignore", "/build/\n");
    repository.write("build/function.sh", printing("old"));
    let root = repository.path().join("build");
    let emulator = Emulator::of("").option("--task-root", root.to_str().expect("UTF-8"));
    let emulator = emulator.arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    repository.write("build/function.sh", printing("new"));
    wait_answer(&emulator, "new x");
}
