//! `coshell check`: habits that work in a terminal but not on Lambda. Each is found where it applies, and not where the
//! code only looks similar.

use std::process::Command;

use crate::check::{assert_no_finding, findings, run_check, single_finding, task_root_with};
use crate::init::fails;
use support::{CommandOutput, Sandbox, TaskRoot, coshell_path};

/// The numbers of the lines that have a finding of `check`.
#[track_caller]
fn finding_lines(script: &str, check: &str) -> Vec<u64> {
    let found = findings(&task_root_with(script), "function.handler");
    let same = found.iter().filter(|one| one["check"] == check);
    let mut lines: Vec<_> = same.filter_map(|one| one["line"].as_u64()).collect();
    lines.dedup();
    lines
}

#[test]
fn a_call_of_the_handler_at_the_end_of_its_file_is_found() {
    let root = task_root_with("handler() {\n  printf '%s' \"$1\"\n}\n\nhandler \"$@\"\n");
    let found = findings(&root, "function.handler");
    let finding = single_finding(&found, "function", "runs while the file is sourced");
    assert_eq!(
        (&finding["severity"], &finding["line"]),
        (&"warning".into(), &5.into())
    );
    let guarded =
        "handler() {\n  printf '%s' \"$1\"\n}\n[[ $0 != \"$BASH_SOURCE\" ]] || handler \"$@\"\n";
    assert_no_finding(
        &findings(&task_root_with(guarded), "function.handler"),
        "function",
    );
}

#[test]
fn a_whole_script_that_only_defines_functions_is_found() {
    let root = task_root_with("set -eu\nhandler() {\n  printf '%s' \"$1\"\n}\n");
    for handler in ["function.sh", "function.sh -t 80"] {
        let found = findings(&root, handler);
        let finding = single_finding(&found, "function", "defines functions and runs no command");
        assert_eq!(finding["suggestion"], "function.handler");
        assert_eq!(finding["severity"], "error");
        assert_eq!(finding["errorType"], "Runtime.HandlerNotFound");
    }
}

#[test]
fn programs_that_read_the_event_by_accident_are_found() {
    let script = "handler() {\n\
        ffmpeg -i \"$1\" out\n\
        ssh host uptime\n\
        mysql shop\n\
        /usr/bin/psql shop\n\
        result=$(ssh host date)\n\
        ffmpeg -nostdin -i \"$1\" out\n\
        ssh -n host uptime\n\
        mysql -e 'select 1'\n\
        psql --command='select 1'\n\
        ffmpeg -i \"$1\" out </dev/null\n\
        ssh host <<<\"$1\"\n\
        psql <<END\nselect 1\nEND\n\
        echo 'select 1' | psql\n\
        { ssh host uptime; } </dev/null\n\
        while read -r line; do ssh host \"$line\"; done <list\n\
        ssh host uptime &\n\
        echo \"$result\"\n}\n";
    assert_eq!(finding_lines(script, "input"), [2, 3, 4, 5, 6]);
    let root = task_root_with(script);
    for (setting, count) in [("argument", 0), ("none", 0), ("both", 5), ("stdin", 5)] {
        let mut command = Command::new(coshell_path());
        command
            .args(["check", "function.handler", "--task-root"])
            .arg(root.path());
        command.env("COSHELL_EVENT", setting);
        let output = CommandOutput::of(command);
        let found = output.stdout.matches("reads standard input").count();
        assert_eq!(found, count, "{setting}: {}", output.stdout);
    }
}

#[test]
fn arguments_that_a_whole_script_does_not_get_are_found() {
    let root = TaskRoot::new();
    root.write("report.sh", "#!/bin/bash\necho \"$1\"\necho \"$2\"\n");
    let found = findings(&root, "report.sh");
    assert_eq!(single_finding(&found, "input", "uses $1")["line"], 2);
    assert_no_finding(&findings(&root, "report.sh one two"), "input");
    for script in [
        "main() { echo \"$1\"; }\nmain \"$@\"\n",
        "cat \"${1:-/dev/stdin}\"\n",
        "set -- a\necho \"$1\"\n",
    ] {
        root.write("report.sh", format!("#!/bin/bash\n{script}"));
        assert_no_finding(&findings(&root, "report.sh"), "input");
    }
}

#[test]
fn writes_that_fail_on_lambda_are_found() {
    let script = "handler() {\n\
        echo a >out.txt\n\
        echo a >>lib/out.txt\n\
        date &>/etc/out\n\
        touch note /tmp/note\n\
        mkdir -p \"$LAMBDA_TASK_ROOT/cache\"\n\
        cp /tmp/a b\n\
        curl -s -o page.html \"$1\"\n\
        sed -i s/a/b/ settings\n\
        echo a | tee /opt/log\n\
        echo a >\"$HOME/.pgpass\"\n\
        echo a >/tmp/out 2>&1 2>/dev/null\n\
        echo a >&2 >\"$1\" >$(mktemp) > >(cat >&2)\n\
        cp out /tmp/a; touch /mnt/efs/a; tee -a /tmp/x <&0; cat <in.txt\n\
        [[ a > b ]] && ((1 > 0))\n}\n";
    assert_eq!(
        finding_lines(script, "write"),
        [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    );
    assert_eq!(
        finding_lines("handler() { cd /tmp; echo a >out; }\n", "write"),
        [0; 0]
    );
    assert_eq!(
        finding_lines(
            "export HOME=/tmp\nhandler() { echo a >$HOME/x; }\n",
            "write"
        ),
        [0; 0]
    );
    assert_eq!(
        finding_lines(
            "handler() {\n  git config --file \"$HOME/x\"\n  ls ~\n}\n",
            "write"
        ),
        [2]
    );
    assert_eq!(
        finding_lines("handler() { ls \"${HOME:-/tmp}\" \"$HOMES\"; }\n", "write"),
        [0; 0]
    );
}

#[test]
fn commands_that_end_a_handler_under_errexit_are_found() {
    let body = "handler() {\n\
        local n=0\n\
        ((n++))\n\
        let n--\n\
        grep -q a b\n\
        x=$(grep a b)\n\
        echo a | grep a | wc -l\n\
        if grep a b; then ((n++)) || true; fi\n\
        grep a b || x=\n\
        ! grep a b\n\
        while grep a b; do n=$((n + 1)); done\n\
        [[ $x ]] && grep a b >&2 || echo \"$n\"\n\
        ((n += 1, n > 0))\n\
        echo \"$n\"\n}\nhas() {\n  grep -q \"$1\" list\n}\n";
    assert_eq!(finding_lines(body, "errexit"), [3, 4, 5, 6, 7]);
    assert_eq!(finding_lines(&format!("set +e\n{body}"), "errexit"), [0; 0]);
    // If shellcheck is installed, it reports this itself.
    let hides = findings(
        &task_root_with("handler() {\n  local a=$(date)\n  echo \"$a\"\n}\n"),
        "function.handler",
    );
    let same = hides
        .iter()
        .filter(|one| one["check"] == "SC2155" || one["check"] == "errexit");
    assert_eq!(same.count(), 1, "{hides:#?}");
    let root = TaskRoot::new();
    for (first, count) in [
        ("#!/bin/bash -eu", 1),
        ("#!/bin/bash\nset -o errexit", 1),
        ("#!/bin/bash", 0),
    ] {
        root.write("report.sh", format!("{first}\ngrep -q a b\n"));
        let output = run_check(&root, "report.sh", &[]);
        assert_eq!(
            output.stdout.matches("if nothing matches").count(),
            count,
            "{first}"
        );
    }
}

/// `text` as some editors save it: with a byte order mark, or in UTF-16 of either byte order.
fn with_other_encodings(text: &str) -> [(&'static str, Vec<u8>); 3] {
    let units = || text.encode_utf16();
    [
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        ),
        (
            "UTF-16",
            std::iter::once(0xfeff_u16)
                .chain(units())
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
        (
            "UTF-16",
            std::iter::once(0xfeff_u16)
                .chain(units())
                .flat_map(u16::to_be_bytes)
                .collect(),
        ),
    ]
}

/// The command that the message suggests converts the file, and then the handler works.
#[test]
fn a_wrong_encoding_is_found_by_init_and_check_with_a_command_that_repairs_it() {
    for (handler, file, text) in [
        (
            "function.handler",
            "function.sh",
            "#!/bin/bash\nhandler() {\n  printf 'on %s' \"$1\"\n}\n",
        ),
        (
            "function.handler",
            "function.sh",
            "handler() { printf 'on %s' \"$1\"; }\n",
        ),
        ("job.sh", "job.sh", "#!/bin/sh\nprintf 'on '\ncat\n"),
        (
            "report.py",
            "report.py",
            "#!/usr/bin/env python3\nimport sys\nprint('on ' + sys.stdin.read())\n",
        ),
    ] {
        for (what, bytes) in with_other_encodings(text) {
            println!("the case: {file}, {what}");
            let builder = Sandbox::empty().executable(file, &bytes).handler(handler);
            fails(
                builder,
                "Runtime.HandlerFileEncoding",
                &[file, what, "convert it with: "],
            );
            let root = TaskRoot::new();
            root.write_program(file, &bytes);
            let found = findings(&root, handler);
            let finding = single_finding(&found, "encoding", what);
            assert_eq!(finding["severity"], "error");
            assert_eq!(finding["errorType"], "Runtime.HandlerFileEncoding");
            let message = finding["message"].as_str().expect("a message");
            let (_, remedy) = message.split_once("convert it with: ").expect("a command");
            let mut bash = Command::new("bash");
            bash.args(["-ec", remedy]).env("LC_ALL", "C.UTF-8");
            assert_eq!(CommandOutput::of(bash).status, 0, "{remedy}");
            let repaired = std::fs::read(root.path().join(file)).expect("the file");
            assert_eq!(String::from_utf8_lossy(&repaired), text);
            let sandbox = Sandbox::empty()
                .executable(file, &repaired)
                .handler(handler)
                .start();
            assert_eq!(sandbox.respond("x"), b"on x");
        }
    }
    // A file that is sourced, and a program.
    let root = task_root_with(". ./lib.sh\nhandler() { bin/tool \"$1\"; }\n");
    root.write("lib.sh", b"\xef\xbb\xbfgreet() { :; }\n");
    root.write_program("bin/tool", b"\xef\xbb\xbf#!/bin/sh\n");
    let found = findings(&root, "function.handler");
    single_finding(
        &found,
        "encoding",
        "lib.sh: it begins with a byte order mark",
    );
    single_finding(
        &found,
        "encoding",
        "bin/tool: it begins with a byte order mark",
    );
}

/// The beginning of an ELF header for a machine.
fn elf(machine: u8) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(18, 0);
    header.extend([machine, 0]);
    header.resize(64, 0);
    header
}

#[test]
fn programs_that_the_handler_does_not_mention_are_checked_too() {
    let root = task_root_with("handler() { \"$1\"; }\n");
    root.write_program("bin/fine", "#!/bin/sh\n");
    root.write_program("bin/crlf", "#!/bin/sh\r\necho\r\n");
    root.write_program("bin/old", "#!/usr/bin/python3.99\n");
    root.write_program("lib/tool", "#!/usr/bin/env no-such-interpreter\n");
    root.write("bin/forgotten", "#!/bin/sh\n");
    root.write("lib/data.sh", "not run\n");
    root.write("lib/notes", "#!/no/interpreter, since it is not run\n");
    let (ours, other) = if cfg!(target_arch = "x86_64") {
        (62, 183)
    } else {
        (183, 62)
    };
    root.write_program("bin/ours", elf(ours));
    root.write_program("bin/other", elf(other));
    let found = findings(&root, "function.handler");
    assert_eq!(
        single_finding(&found, "line-ends", "first line of bin/crlf")["severity"],
        "error"
    );
    assert_eq!(
        single_finding(&found, "command", "python3.99 is not known")["line"],
        1
    );
    single_finding(&found, "command", "no-such-interpreter is not known");
    single_finding(
        &found,
        "permissions",
        "bin/forgotten is a program in a folder bin",
    );
    single_finding(&found, "architecture", "bin/other is a program for ");
    assert_eq!(found.len(), 5, "{found:#?}");
    // If the task root has a bootstrap, its architecture is the right one.
    root.write_program("bootstrap", elf(other));
    single_finding(
        &findings(&root, "function.handler"),
        "architecture",
        "bin/ours is a program for ",
    );
}

#[test]
fn programs_of_a_layer_are_checked() {
    let root = TaskRoot::new();
    root.write_program("layer/bin/aws", "#!/usr/bin/python3.99\n");
    root.write("layer/bin/hello", "#!/bin/sh\n");
    let layer = |more: &[&str]| {
        let mut command = Command::new(coshell_path());
        command.args([
            "package",
            "--layer",
            "layer",
            "-o",
            "layer.zip",
            "--bootstrap",
            "/usr/bin/bash-static",
        ]);
        command.args(more).current_dir(root.path());
        CommandOutput::of(command)
    };
    let output = layer(&[]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(
        output
            .stderr
            .contains("python3.99 is not known to be in the image"),
        "{output:?}"
    );
    assert!(
        output
            .stderr
            .contains("bin/hello is a program in a folder bin, but it is not executable"),
        "{output:?}"
    );
    root.write_program("layer/bin/bom", b"\xef\xbb\xbf#!/bin/sh\n");
    std::fs::remove_file(root.path().join("layer.zip")).expect("a layer");
    let output = layer(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    assert!(
        output
            .stderr
            .contains("bin/bom: it begins with a byte order mark"),
        "{output:?}"
    );
    assert!(!root.path().join("layer.zip").exists());
}

#[test]
fn the_report_lists_what_was_not_checked() {
    let root = task_root_with("handler() { :; }\n. \"$where/lib.sh\"\neval \"$1\"\n. ./here.sh\n");
    root.write("here.sh", "here() { :; }\n");
    let output = run_check(&root, "function.handler", &[]);
    for line in [
        "not checked: function.sh:2: the file that is sourced as $where/lib.sh\n",
        "not checked: function.sh:3: what eval runs\n",
    ] {
        assert!(output.stdout.contains(line), "{}", output.stdout);
    }
    assert_eq!(
        output.stdout.matches("not checked").count(),
        2,
        "{}",
        output.stdout
    );
    let document = crate::check::check_json(root.path(), "function.handler");
    assert_eq!(
        document["notLookedAt"].as_array().map(Vec::len),
        Some(2),
        "{document}"
    );
    // With a PATH that has no shellcheck.
    let root = task_root_with("handler() {\n  printf '%s' \"$1\"\n}\n");
    let mut command = Command::new(coshell_path());
    command
        .args(["check", "function.handler", "--task-root"])
        .arg(root.path());
    command
        .env("PATH", root.path())
        .env("COSHELL_BASH", "/bin/bash");
    let output = CommandOutput::of(command);
    let expected = "function.handler: function handler in function.sh: nothing found (without shellcheck, which is not installed)\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn file_names_never_reach_the_terminal_as_escape_sequences() {
    let name = "a\u{1b}[31mred\u{9b}31m";
    let root = TaskRoot::new();
    root.write(
        &format!("{name}.sh"),
        "handler() { missing-command; }\n. ./none.sh\n",
    );
    root.write_program(&format!("bin/{name}"), "#!/no/such\u{1b}[31m\n");
    let coshell = |args: &[&str]| {
        let mut command = Command::new(coshell_path());
        command.args(args).current_dir(root.path());
        CommandOutput::of(command)
    };
    let handler = format!("{name}.handler");
    for args in [
        &["check", &handler][..],
        &["check", &format!("{name}.missing")],
        &["check", "x", "--task-root", name],
        &["check", &handler, "--task-root", &format!("{name}/none")],
        &[
            "package",
            name,
            "--handler",
            "x",
            "-o",
            "x.zip",
            "--bootstrap",
            "/usr/bin/bash-static",
        ],
        &[
            "package",
            ".",
            "--handler",
            &handler,
            "-o",
            "x.zip",
            "--bootstrap",
            "/usr/bin/bash-static",
        ],
        &["invoke", "x", "--event-file", name],
    ] {
        let output = coshell(args);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains("red"), "{args:?}: {text:?}");
        let control = text
            .chars()
            .filter(|letter| letter.is_control() && *letter != '\n');
        assert_eq!(control.count(), 0, "{args:?}: {text:?}");
    }
}
