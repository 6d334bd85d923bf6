//! `coshell serve --watch`: a file that is saved is the one that answers, and nothing else is disturbed.

use std::fs;
use std::path::Path;

use support::{Emulator, LIMIT, wait_until};

const CHANGED: &str = " has changed, starting anew\n";

fn printing(text: &str) -> String {
    format!("handler() {{ printf '{text} %s' \"$1\"; }}\n")
}

/// Calls until the answer is `expected`: whether a call comes before or after the change is seen, nobody knows.
#[track_caller]
fn wait_answer(emulator: &Emulator, expected: &str) {
    let answer = || String::from_utf8_lossy(&emulator.call("x").body).into_owned();
    wait_until(|| answer() == expected, LIMIT);
}

#[test]
fn saved_file_is_the_one_that_answers() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    for text in ["new", "newer"] {
        emulator.task_root.write("function.sh", printing(text));
        wait_answer(&emulator, &format!("{text} x"));
    }
    // As many editors save: another file takes its place.
    let other = emulator
        .task_root
        .write(".function.sh.swp", printing("newest"));
    fs::rename(other, emulator.task_root.path().join("function.sh")).expect("renamed");
    wait_answer(&emulator, "newest x");
    // From now on it is.
    for _ in 0..10 {
        assert_eq!(emulator.respond_text("x"), "newest x");
    }
    emulator
        .process
        .wait_log(&format!("coshell: function.sh{CHANGED}"));
}

#[test]
fn without_watching_a_saved_file_changes_nothing() {
    let emulator = Emulator::of(&printing("old")).start();
    assert_eq!(emulator.respond_text("x"), "old x");
    emulator.task_root.write("function.sh", printing("new"));
    for _ in 0..10 {
        assert_eq!(emulator.respond_text("x"), "old x");
    }
}

#[test]
fn init_that_fails_is_told_and_the_next_save_mends_it() {
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
fn invocation_that_runs_ends_undisturbed() {
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
        // Its sandbox is let go of.
        let path = Path::new("/proc").join(pid);
        wait_until(|| !path.exists(), LIMIT);
    }
}

/// A sandbox of Managed Instances is let go of when the last of its invocations is over.
#[test]
fn sandbox_with_several_invocations_ends_after_all_of_them() {
    let builder = Emulator::with_test_as_runtime().option("--managed-instances", "2");
    // The runtime that the test plays writes this file, while it is waited for.
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

/// Nothing is lost, whichever sandbox takes it.
#[test]
fn calls_while_files_are_saved_are_all_answered() {
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
fn git_is_not_watched_and_reading_is_no_change() {
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
    let said = emulator.stderr();
    assert!(
        said.contains(&format!("coshell: seen.txt{CHANGED}")),
        "{said}"
    );
    assert_eq!(said.matches(CHANGED).count(), 1, "{said}");
}

/// The names that were said to have changed, as soon as `last` is one of them.
#[track_caller]
fn names_until(emulator: &Emulator, last: &str) -> Vec<String> {
    emulator
        .process
        .wait_log(&format!("coshell: {last}{CHANGED}"));
    let said = emulator.stderr();
    let names = said
        .lines()
        .filter_map(|line| line.strip_suffix(CHANGED.trim_end()));
    names
        .map(|name| name.trim_start_matches("coshell: ").to_owned())
        .collect()
}

#[test]
fn what_git_ignores_is_not_watched_nor_what_the_user_leaves_out() {
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
    assert_eq!(names_until(&emulator, "deep/kept.log"), ["deep/kept.log"]);
    // The rules that are saved count from then on.
    emulator.task_root.write(".gitignore", "kept.log\n");
    names_until(&emulator, ".gitignore");
    emulator.task_root.write("deep/kept.log", "again");
    emulator.task_root.write("run.log", "again");
    let names = names_until(&emulator, "run.log");
    assert_eq!(names, ["deep/kept.log", ".gitignore", "run.log"]);
}

#[test]
fn what_links_lead_to_is_watched() {
    let elsewhere = support::TaskRoot::new();
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
    elsewhere.write("neighbour.sh", "# of no function\n");
    elsewhere.write("alone.sh", "# changed\n");
    let names = names_until(&emulator, "alone.sh");
    assert_eq!(names, ["lib/words.sh", "alone.sh"]);
}

#[test]
fn file_that_the_user_saved_is_named_and_not_the_editors_copies() {
    let emulator = Emulator::of(&printing("old")).arg("--watch").start();
    assert_eq!(emulator.respond_text("x"), "old x");
    let path = |name: &str| emulator.task_root.path().join(name);
    // As vim does with a backup: a number to try, the old file aside, the new one in its place.
    emulator.task_root.write("4913", "");
    fs::remove_file(path("4913")).expect("removed");
    fs::rename(path("function.sh"), path("function.sh~")).expect("renamed");
    emulator.task_root.write("function.sh", printing("new"));
    wait_answer(&emulator, "new x");
    assert_eq!(names_until(&emulator, "function.sh"), ["function.sh"]);
}

#[test]
fn files_in_new_folders_are_seen_and_those_that_go() {
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
