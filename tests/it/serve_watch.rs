//! `coshell serve --watch`: a file that is saved is the one that answers, and nothing else is disturbed.

use std::fs;
use std::path::Path;

use support::{LIMIT, Served, wait_until};

const CHANGED: &str = " changed, restarting\n";

fn printing(text: &str) -> String {
    format!("handler() {{ printf '{text} %s' \"$1\"; }}\n")
}

/// Calls until the answer is `expected`: whether a call comes before or after the change is seen, nobody knows.
#[track_caller]
fn wait_answer(served: &Served, expected: &str) {
    let answer = || String::from_utf8_lossy(&served.call("x").body).into_owned();
    wait_until(|| answer() == expected, LIMIT);
}

#[test]
fn saved_file_is_the_one_that_answers() {
    let served = Served::of(&printing("old")).word("--watch").start();
    assert_eq!(served.text("x"), "old x");
    for text in ["new", "newer"] {
        served.task_root.write("function.sh", printing(text));
        wait_answer(&served, &format!("{text} x"));
    }
    // As many editors save: another file takes its place.
    let other = served
        .task_root
        .write(".function.sh.swp", printing("newest"));
    fs::rename(other, served.task_root.path().join("function.sh")).expect("renamed");
    wait_answer(&served, "newest x");
    // From now on it is.
    for _ in 0..10 {
        assert_eq!(served.text("x"), "newest x");
    }
    served
        .process
        .wait_log(&format!("coshell: function.sh{CHANGED}"));
}

#[test]
fn without_watching_a_saved_file_changes_nothing() {
    let served = Served::of(&printing("old")).start();
    assert_eq!(served.text("x"), "old x");
    served.task_root.write("function.sh", printing("new"));
    for _ in 0..10 {
        assert_eq!(served.text("x"), "old x");
    }
}

#[test]
fn init_that_fails_is_told_and_the_next_save_mends_it() {
    let served = Served::of(&printing("old")).word("--watch").start();
    assert_eq!(served.text("x"), "old x");
    for (broken, error_type) in [
        ("handler() { if; }\n", "Runtime.UserCodeSyntaxError"),
        ("other() { :; }\n", "Runtime.HandlerNotFound"),
    ] {
        served.task_root.write("function.sh", broken);
        let line = format!("\tPhase: init\tStatus: error\tError Type: {error_type}\t\n");
        served.process.wait_log(&line);
        let document = served.fail("x");
        assert_eq!(document["errorType"], error_type, "{document}");
        served.task_root.write("function.sh", printing(error_type));
        wait_answer(&served, &format!("{error_type} x"));
    }
}

#[test]
fn invocation_that_runs_ends_undisturbed() {
    let script = |text: &str| {
        let wait = "[[ $1 != wait ]] || read -r _ <\"$LAMBDA_TASK_ROOT/gate\"";
        format!("handler() {{ {wait}; printf '{text} %s' \"$PPID\"; }}\n")
    };
    for concurrency in ["1", "2"] {
        let plan = Served::of(&script("old"));
        plan.task_root.fifo("gate");
        let served = plan
            .word("--watch")
            .option("--concurrency", concurrency)
            .start();
        let waiting = served.begin_call("wait");
        served.wait_count("START ", 1);
        served.task_root.write("function.sh", script("new"));
        served.process.wait_log(CHANGED);
        if concurrency == "2" {
            wait_until(|| served.text("x").starts_with("new "), LIMIT);
        }
        assert!(!waiting.is_answered());
        served.task_root.release("gate");
        let answer = served.response_of(served.finish(waiting));
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (text, pid) = answer.split_once(' ').expect("two parts");
        assert_eq!(text, "old");
        wait_until(|| served.text("x").starts_with("new "), LIMIT);
        // Its sandbox is let go of.
        let path = Path::new("/proc").join(pid);
        wait_until(|| !path.exists(), LIMIT);
    }
}

/// A sandbox of Managed Instances is let go of when the last of its invocations is over.
#[test]
fn sandbox_with_several_invocations_ends_after_all_of_them() {
    let plan = Served::played().option("--managed-instances", "2");
    // The runtime that the test plays writes this file, while it is waited for.
    let plan = plan.option("--watch-ignore", "sandboxes");
    let served = plan.word("--watch").start();
    let runtime = served.runtime(0);
    let callers = ["a", "b"].map(|event| served.begin_call(event));
    let request_ids = [(); 2].map(|()| runtime.next().0);
    served.task_root.write("saved", "");
    served.process.wait_log(CHANGED);
    for request_id in request_ids {
        assert_eq!(runtime.respond(&request_id, "on").status, 202);
    }
    for caller in callers {
        assert_eq!(served.response_of(served.finish(caller)), b"on");
    }
    let path = Path::new("/proc").join(runtime.pid.to_string());
    wait_until(|| !path.exists(), LIMIT);
    let caller = served.begin_call("c");
    let other = served.runtime(1);
    let (request_id, event) = other.next();
    assert_eq!(event, b"c");
    assert_eq!(other.respond(&request_id, "on").status, 202);
    assert_eq!(served.response_of(served.finish(caller)), b"on");
}

/// Nothing is lost, whichever sandbox takes it.
#[test]
fn calls_while_files_are_saved_are_all_answered() {
    let served = Served::of(&printing("0")).word("--watch").start();
    for number in 1..=5 {
        served
            .task_root
            .write("function.sh", printing(&number.to_string()));
        wait_until(
            || {
                let answer = served.text("x");
                assert!(answer.ends_with(" x"), "{answer}");
                answer == format!("{number} x")
            },
            LIMIT,
        );
    }
}

#[test]
fn git_is_not_watched_and_reading_is_no_change() {
    let plan = Served::of(&printing("old"));
    plan.task_root.write(".git/index", "");
    let served = plan.word("--watch").start();
    assert_eq!(served.text("x"), "old x");
    for name in [".git/index", ".git/objects/ab/cd", ".git/HEAD.lock"] {
        served.task_root.write(name, "changed");
    }
    fs::read(served.task_root.path().join("function.sh")).expect("read");
    served.task_root.write("seen.txt", "changed");
    served.process.wait_log(CHANGED);
    let said = served.stderr();
    assert!(
        said.contains(&format!("coshell: seen.txt{CHANGED}")),
        "{said}"
    );
    assert_eq!(said.matches(CHANGED).count(), 1, "{said}");
}

/// The names that were said to have changed, as soon as `last` is one of them.
#[track_caller]
fn names_until(served: &Served, last: &str) -> Vec<String> {
    served
        .process
        .wait_log(&format!("coshell: {last}{CHANGED}"));
    let said = served.stderr();
    let names = said
        .lines()
        .filter_map(|line| line.strip_suffix(CHANGED.trim_end()));
    names
        .map(|name| name.trim_start_matches("coshell: ").to_owned())
        .collect()
}

#[test]
fn what_git_ignores_is_not_watched_nor_what_the_user_leaves_out() {
    let plan = Served::of(&printing("old"));
    plan.task_root
        .write(".gitignore", "*.log\n/build/\n!kept.log\n");
    plan.task_root.write("lib/.gitignore", "cache\n");
    for folder in ["build", "lib/cache", "deep"] {
        plan.task_root.write(&format!("{folder}/file"), "");
    }
    let plan = plan.word("--watch").option("--watch-ignore", "*.tmp");
    let served = plan.option("--watch-ignore", "/state/").start();
    assert_eq!(served.text("x"), "old x");
    for name in [
        "run.log",
        "deep/run.log",
        "build/file",
        "lib/cache/file",
        "deep/a.tmp",
        "state/new",
    ] {
        served.task_root.write(name, "changed");
    }
    served.task_root.write("deep/kept.log", "changed");
    assert_eq!(names_until(&served, "deep/kept.log"), ["deep/kept.log"]);
    // The rules that are saved count from then on.
    served.task_root.write(".gitignore", "kept.log\n");
    names_until(&served, ".gitignore");
    served.task_root.write("deep/kept.log", "again");
    served.task_root.write("run.log", "again");
    let names = names_until(&served, "run.log");
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
    let plan = Served::of(script);
    let root = plan.task_root.path();
    std::os::unix::fs::symlink(elsewhere.path().join("shared"), root.join("lib")).expect("a link");
    std::os::unix::fs::symlink(elsewhere.path().join("alone.sh"), root.join("alone.sh"))
        .expect("a link");
    let served = plan.word("--watch").start();
    assert_eq!(served.text("x"), "first");
    elsewhere.write("shared/words.sh", "word=second\n");
    wait_answer(&served, "second");
    elsewhere.write("neighbour.sh", "# of no function\n");
    elsewhere.write("alone.sh", "# changed\n");
    let names = names_until(&served, "alone.sh");
    assert_eq!(names, ["lib/words.sh", "alone.sh"]);
}

#[test]
fn file_that_the_user_saved_is_named_and_not_the_editors_copies() {
    let served = Served::of(&printing("old")).word("--watch").start();
    assert_eq!(served.text("x"), "old x");
    let path = |name: &str| served.task_root.path().join(name);
    // As vim does with a backup: a number to try, the old file aside, the new one in its place.
    served.task_root.write("4913", "");
    fs::remove_file(path("4913")).expect("removed");
    fs::rename(path("function.sh"), path("function.sh~")).expect("renamed");
    served.task_root.write("function.sh", printing("new"));
    wait_answer(&served, "new x");
    assert_eq!(names_until(&served, "function.sh"), ["function.sh"]);
}

#[test]
fn files_in_new_folders_are_seen_and_those_that_go() {
    let script = "source \"$LAMBDA_TASK_ROOT/lib/words.sh\" || word=none\nhandler() { printf '%s' \"$word\"; }\n";
    let served = Served::of(script).option("--env", "COSHELL_SHELL_OPTIONS=");
    let served = served.word("--watch").start();
    assert_eq!(served.text("x"), "none");
    served.task_root.write("lib/words.sh", "word=first\n");
    wait_answer(&served, "first");
    served.task_root.write("lib/words.sh", "word=second\n");
    wait_answer(&served, "second");
    served
        .task_root
        .write("lib/deep/er/words.sh", "word=deep\n");
    let before = served.stderr().matches(CHANGED).count();
    served.task_root.write(
        "lib/words.sh",
        "source \"$LAMBDA_TASK_ROOT/lib/deep/er/words.sh\"\n",
    );
    wait_answer(&served, "deep");
    served
        .task_root
        .write("lib/deep/er/words.sh", "word=deeper\n");
    wait_answer(&served, "deeper");
    fs::remove_file(served.task_root.path().join("lib/words.sh")).expect("removed");
    wait_answer(&served, "none");
    served.wait_count(CHANGED, before + 1);
}
