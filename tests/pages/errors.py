"""docs/error-texts.md: handlers fail in every way that the page has, and say what it says."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import tempfile

import pages

PAGE = pages.REPOSITORY / "docs/error-texts.md"


def at(line, text):
    """A file with this text at this line."""
    return "\n" * (line - 1) + text + "\n"


def orders(line, function, rest=""):
    return {"orders.sh": at(line - 1, f"{function}() {{\n  {rest}\n}}")}


# The files of a function, its handler, and perhaps settings and options: each example of the page is what one of them prints.
CASES = (
    ({}, "x"),
    ({}, "job.sh -t 95"),
    ({"function.sh": "function a=b { :; }\n"}, "function.a=b"),
    ({}, "missing.handler"),
    ({"folder.sh/file": ""}, "folder.handler"),
    ({"crlf.sh": "handler() {\r\n:\r\n}\r\n"}, "crlf.handler"),
    ({"cr.sh": "handler() {\r:\r}\r"}, "cr.handler"),
    ({"function.sh": "\ufeffhandler() { :; }\n"}, "function.handler"),
    ({"function.sh": "handler() { :; }\n".encode("utf-16")}, "function.handler"),
    ({"report.py": "#!/usr/bin/python3\n"}, "report.py"),
    ({"report.py*": "#!/usr/bin/no-python3\n"}, "report.py"),
    ({"legacy.sh": "#!/bin/bash -i\n"}, "legacy.sh"),
    ({"syntax.sh": 'handler() {\n  echo "\n}\n'}, "syntax.handler"),
    ({"leaves.sh": "exit 3\n"}, "leaves.handler"),
    ({"fails.sh": "\ncd /no/such/folder\n"}, "fails.handler"),
    ({"function.sh": "handler() { :; }\n"}, "function.sh"),
    ({"function.sh": "readonly LAMBDA_RUNTIME_AWS_REQUEST_ID=x\nhandler() { :; }\n"}, "function.handler"),
    ({"other.sh": "greet() { :; }\nbye() { :; }\n"}, "other.handler"),
    ({"function.sh": "handler() { :; }\n"}, "function.handler", {"COSHELL_SHELL_OPTIONS": "-o strict"}),
    ({"function.sh": "handler() { :; }\n"}, "function.handler", {"COSHELL_SHELL_OPTIONS": "-n"}),
    ({"function.sh": "handler() { :; }\n"}, "function.handler", {"COSHELL_ISOLATION": "proces"}),
    ({"function.sh": "handler() { :; }\n"}, "function.handler", {"COSHELL_BASH": "/opt/bash"}),
    (orders(3, "returns", "return 3"), "orders.returns"),
    (orders(12, "exits", "exit 4"), "orders.exits"),
    ({"orders.sh": "total() {\n  grep -o '\"id\": *[0-9]*' \"$1\"\n}\nhandler() { total /no/file; }\n"}, "orders.handler"),
    (orders(3, "handler", "grep x </dev/null | cat | cat"), "orders.handler"),
    (orders(13, "unset_variable", 'echo "$NO_SUCH_NAME"'), "orders.unset_variable"),
    (orders(3, "killed", "kill -9 $BASHPID"), "orders.killed"),
    (orders(3, "hides", "builtin() { :; }"), "orders.hides", {"COSHELL_ISOLATION": "none"}),
    ({"legacy.sh": "#!/bin/bash -eu\nmain() {\n  :\n  grep -q needle /dev/null\n}\nmain\n"}, "legacy.sh"),
    ({"report.py*": "#!/usr/bin/env python3\nimport os\nos.kill(os.getpid(), 11)\n"}, "report.py"),
    ({"report.py*": pathlib.Path("/usr/bin/bash-static").read_bytes()[:100]}, "report.py"),
    ({"report.py*": "#!/usr/bin/env python3\n", "event": "x" * 200000}, "report.py", {"COSHELL_EVENT": "argument"}, ("--event-file", "event")),
    ({"orders.sh": at(11, 'fetch() {\n  curl -s "$url"\n}\nhandler() { fetch; }')}, "orders.handler",
     {"COSHELL_DEADLINE_MARGIN_MS": "500", "url": "$SLOW_URL"}, ("--timeout", "3")),
    ({"orders.sh": "handler() { :; }\n"}, "orders.handler", {"COSHELL_DEADLINE_MARGIN_MS": "3000"}, ("--timeout", "3")),
    (orders(9, "handler", "lambda_http_response 200; lambda_http_response 404"), "orders.handler", {"COSHELL_RESPONSE_MODE": "streaming"}),
    ({"orders.sh": "handler() { head -c 6291557 /dev/zero; }\n"}, "orders.handler"),
    (orders(9, "handler", "lambda_http_response OK"), "orders.handler"),
    ({"orders.sh": "\nlambda_http_response 200\n"}, "orders.handler"),
    (orders(3, "handler", "lambda_keep a-b"), "orders.handler"),
    (orders(3, "handler", "lambda_keep IFS"), "orders.handler"),
    ({"orders.sh": "handler() { readonly BUCKET=x; }\n"}, "orders.handler", {}, ("--repeat", "4")),
    ({"orders.sh": "handler() { :; }\nlambda_shutdown() { sleep 600; }\n"}, "orders.handler"),
)
# A part of each example that needs a broken Runtime API, an old bash or a snapshot, and the file that has the same words, or those behind it.
ELSEWHERE = {
    "it is not set, so this is not Lambda; to try a handler here, run: coshell invoke HANDLER": "src/bootstrap/config.rs",
    "neither an argument nor _HANDLER names one": "src/handler/handler.rs",
    "not a regular file": "src/handler/handler.rs",
    "cannot read next invocation from ": "tests/it/serve_faults.rs",
    "it does not read its BASH_ENV, /proc/self/fd/76": "src/bootstrap/program/script.rs",
    "ended when it started": "src/bootstrap/shell/failure.rs",
    "and coshell needs 4.2 or later": "runtime-scripts/older.bash",
    "cannot handle signals: ": "src/bootstrap/error.rs",
    "stopped while the handler was loading": "src/bootstrap/error.rs",
    "cannot wait for the restore at ": "tests/it/snapshot.rs",
    "lambda_before_snapshot returned ": "src/bootstrap/shell/failure.rs: {function} returned {status}",
    "lambda_after_restore: ": "src/bootstrap/snapshot.rs: lambda_after_restore",
    " was stopped by the shutdown of the sandbox": "src/bootstrap/failure.rs",
    "handler was not started: loading ": "tests/it/deadline.rs",
    "the connection to the Runtime API broke while the response was streamed": "src/bootstrap/runtime_api/answer.rs",
    "cannot post response: the Runtime API answered 500": "tests/it/serve_faults.rs",
    "cannot register for SIGTERM, so Lambda will not run lambda_shutdown: ": "src/bootstrap/runtime_api/extension.rs",
    "cannot start the standby shell: ": "src/bootstrap/shell/replacement.rs",
    "Lambda rejected the response": "tests/it/serve_faults.rs",
    "cannot restart the shell, retrying in ": "tests/it/lanes.rs",
    "has stopped, the other lanes go on: ": "src/bootstrap/lanes.rs",
    "cannot tell whether Lambda received the response": "tests/it/streaming_faults.rs",
    " bytes of the response had been sent": "tests/it/streaming_faults.rs",
}


def examples():
    """The messages in the page's tables, each with its error type, if it has one."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `") or line.startswith("| a type"):
            cells = line.replace("\\|", "\0").strip("|").split("|")
            kind = re.fullmatch(r" (?:`(\w+\.\w+)`|a type of yours) ", cells[0])
            cell = cells[1 if kind else 0].replace("\0", "|")
            texts = [one or other for one, other in re.findall(r"`` ?(.+?) ?``|`([^`]+)`", cell)]
            # A name alone is no message.
            found += [(text, kind and kind[1]) for text in texts if len(text.split()) > 2]
    return found


def printed(case, slow_url):
    """What a case prints: its error document and its log."""
    files, handler, settings, options = (*case, {}, ())[:4] if len(case) < 4 else case
    with tempfile.TemporaryDirectory(dir=pages.programs().parent) as folder:
        folder = pathlib.Path(folder)
        for name, text in files.items():
            file = folder / name.rstrip("*")
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            file.chmod(0o755 if name.endswith("*") else 0o644)
        environment = {"PATH": f"{pages.programs()}:/usr/bin:/bin", "LANG": "C.UTF-8", **settings}
        environment = {name: value.replace("$SLOW_URL", slow_url) for name, value in environment.items()}
        command = ["coshell", "invoke", handler, *(options if "--event-file" in options else ("--event", "tea", *options))]
        done = subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=pages.LIMIT)
        text = done.stdout.decode(errors="replace")[:10000] + done.stderr.decode(errors="replace")
        return text.replace("\\\\", "\\").replace('\\"', '"').replace(str(folder), "/var/task").replace("no-python3", "python3")


def pattern(example):
    """What matches an example: `...` is anything, and so is a figure that varies."""
    text = re.escape(example).replace(r"\.\.\.", ".*")
    return re.compile(text.replace("2998", r"\d+"))


class Errors(pages.Case):
    def every_example_is_what_a_handler_prints(self):
        from services import Services

        services = Services()
        self.addCleanup(services.stop)
        slow_url = services.environment("")["SLOW_URL"]
        pages.programs()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda case: printed(case, slow_url), CASES))

        def is_printed(example, kind):
            found = [text for text in texts if pattern(example).search(text)]
            return any(not kind or f'"errorType":"{kind}"' in text for text in found)

        missing = [example for example, kind in examples() if not is_printed(example, kind)]
        left = [part for part in ELSEWHERE if not any(part in example for example in missing)]
        self.assertEqual(left, [], "prints a case, or the page has it no longer")
        missing = [example for example in missing if not any(part in example for part in ELSEWHERE)]
        self.assertFalse(missing, "\n".join(missing))

    def what_is_printed_elsewhere_has_the_same_words(self):
        for part, place in ELSEWHERE.items():
            file, _, words = place.partition(": ")
            # A literal may go on in the next line.
            text = re.sub(r"\\\n\s*", "", (pages.REPOSITORY / file).read_text())
            self.assertTrue((words or part) in text, f"{file} does not have: {words or part}")

    def bootstrap_by_hand_says_what_the_page_says(self):
        for environment, part in (({}, "it is not set"), ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "cannot load handler: neither")):
            done = subprocess.run([pages.BUILT / "bootstrap"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=pages.LIMIT)
            self.assertTrue(any(part in example and example in done.stderr for example, _ in examples()), done.stderr)
