"""Runs bench/aws, unchanged, against a fake AWS. `coshell serve` runs the functions that it deploys."""

import base64
import functools
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import urllib.request

from cloud import LIMIT, PREFIX, REPOSITORY, TOOLS, Case, fetch, run, wait_until
from scripts import ARCHITECTURE, unpack

AWS = REPOSITORY / "bench" / "aws"
MEASURE = AWS / "measure"
KINDS = ["tutorial-zip", "tutorial-image", "ours-zip", "ours-image"]


class Lambda(http.server.ThreadingHTTPServer):
    """The Invoke API. It starts an emulator for each function in moto, and starts it again when the function changes."""

    daemon_threads = True

    def __init__(self, case, spoil):
        super().__init__(("127.0.0.1", 0), InvokeHandler)
        self.case = case
        # Functions whose name contains this text answer wrongly.
        self.spoil = spoil
        self.started = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def end(self):
        self.shutdown()
        self.server_close()
        for name in list(self.started):
            self.stop(name)

    def stop(self, name):
        process = self.started.pop(name)[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0, name

    def url_of(self, name):
        function = self.case.cloud.backend("lambda").get_function(name)
        version = (function.code_sha_256, json.dumps(function.environment_vars))
        if name in self.started and self.started[name][1] != version:
            self.stop(name)
        if name not in self.started:
            process, url = self.start(function)
            self.started[name] = (process, version, url)
        return self.started[name][2]

    def start(self, function):
        task_root, bootstrap, handler = self.case._unpacked(function)
        log = self.case.folder() / "log"
        arguments = [handler, "--task-root", task_root, "--bootstrap", bootstrap, "--listen", "127.0.0.1:0"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["coshell", "serve", *arguments, "--memory", str(function.memory_size)],
                env={**self.case.user_environment, **function.environment_vars},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        served = r"(?:serving|loading).*(http://127\.0\.0\.1:\d+)"
        found = wait_until(lambda: re.search(served, log.read_text()), f"{function.function_name} is served")
        return process, found[1]


class InvokeHandler(http.server.BaseHTTPRequestHandler):
    """Passes one call of Invoke on to an emulator."""

    def do_POST(self):
        event = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.split("/")[3]
        headers = {name: value for name, value in self.headers.items() if name.startswith("X-Amz-Log")}
        request = urllib.request.Request(self.server.url_of(name) + self.path, event, headers)
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            body = answer.read()
            if self.server.spoil and self.server.spoil in name:
                body = b"something else"
            self.send_response(answer.status)
            for header, value in answer.headers.items():
                if header.lower().startswith("x-amz"):
                    self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Bench(Case):
    """`measure`, and its template."""

    def setUp(self):
        fetch(f"{self.cloud.url}/moto-api/reset", b"")
        self.user_environment = self.environment()
        self.output = self.folder() / "aws"

    def _measure(self, *arguments, status=0, answer="", **environment):
        """Runs `measure`. Returns its standard error and standard output."""
        ended = subprocess.run(
            [MEASURE, *arguments, "--output", self.output],
            env={**self.user_environment, **environment},
            input=answer,
            capture_output=True,
            text=True,
            timeout=10 * LIMIT,
        )
        result = f"status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        self.assertEqual(ended.returncode, status, result)
        return ended.stderr, ended.stdout

    @functools.cache
    def _unpacked(self, function):
        """Unpacks the code of a function. Returns the task root, the bootstrap and the handler."""
        folder = self.folder()
        # moto does not store the package type of functions from a stack.
        if "ImageUri" not in function.code:
            archive = self.folder() / "code.zip"
            archive.write_bytes(function.code_bytes)
            unpack(archive, folder)
            return folder, folder / "bootstrap", function.handler
        image = function.code["ImageUri"]
        self.docker("pull", "-q", image)
        container = self.docker("create", image)
        self.addCleanup(self.docker, "rm", container)
        self.docker("cp", f"{container}:/var/task", folder / "task")
        self.docker("cp", f"{container}:/var/runtime/bootstrap", folder / "bootstrap")
        (handler,) = json.loads(self.docker("image", "inspect", "-f", "{{json .Config.Cmd}}", image))
        return folder / "task", folder / "bootstrap", handler

    def _lambda(self, spoil=None):
        started = Lambda(self, spoil)
        self.addCleanup(started.end)
        return started.url

    def _forget_images(self):
        for name in ("tutorial", "ours"):
            self.forget_image(f"{self.cloud.registry}/{PREFIX.split('-')[0]}-bench-{name}")

    def _results(self, folder):
        return json.loads((self.output / folder / "results.json").read_text())

    def _count(self, results, runtime, metric):
        found = [one for one in results["series"] if (one["runtime"], one["metric"]) == (runtime, metric)]
        return found[0]["summary"]["count"] if found else 0

    def measure_deploys_invokes_reports_and_removes_four_functions(self):
        self._forget_images()
        # Only one of the four memory sizes, because sixteen functions would take too long.
        sizes = [1769]
        counts = ["--cold", "1", "--warm", "1", "--memory", "1769"]
        plan, _ = self._measure("--yes", *counts, "--endpoint", self._lambda())
        self.assertIn("4 functions", plan)
        self.assertIn("8 invocations, 2 of each function, 1 of them cold", plan)
        functions = {one.function_name: one for one in self.cloud.backend("lambda").list_functions()}
        names = {f"coshell-bench-{kind}-{size}" for kind in KINDS for size in sizes}
        self.assertEqual(set(functions), names)
        for name, function in functions.items():
            self.assertEqual(name.split("-")[-1], str(function.memory_size))
            self.assertEqual(function.architectures, [ARCHITECTURE])
        groups = self.cloud.backend("logs").groups
        self.assertEqual({f"/aws/lambda/{name}" for name in names}, set(groups))
        for size in sizes:
            results = self._results(str(size))
            labels = [runtime["name"] for runtime in results["runtimes"]]
            self.assertEqual(labels, [kind.replace("-", " ") for kind in KINDS])
            self.assertEqual(results["problems"], [])
            for label in labels:
                self.assertEqual(self._count(results, label, "initDuration"), 1, (size, label))
                self.assertEqual(self._count(results, label, "duration"), 1, (size, label))
            for runtime in results["runtimes"]:
                self.assertTrue(runtime["description"].startswith(f"{size} MB, "), runtime)
        self.assertEqual(len(self._results("all")["runtimes"]), 4)
        self._measure("destroy", "--yes")
        self.assertEqual(self.cloud.backend("lambda").list_functions(), [])
        self.assertEqual(dict(self.cloud.backend("logs").groups), {})
        self.assertEqual(list(self.cloud.backend("iam").get_roles()), [])
        self.assertEqual(dict(self.cloud.backend("ecr").repositories), {})
        buckets = json.loads(run([TOOLS / "aws", "s3api", "list-buckets"], env=self.user_environment))
        self.assertEqual(buckets["Buckets"], [])
        # Once more, with nothing left to remove.
        self._measure("destroy", "--yes")

    def wrong_answers_are_reported_and_are_not_samples(self):
        self._forget_images()
        counts = ["--cold", "2", "--warm", "1", "--memory", "128", "--yes"]
        self._measure("build", "deploy", *counts)
        stderr, _ = self._measure("invoke", *counts, "--endpoint", self._lambda("ours-zip"), status=1)
        self.assertIn("coshell-bench-ours-zip-128 answered wrongly: 14 bytes", stderr)
        self.assertIn("4 failures", stderr)
        logs = {path.name for path in (self.output / "logs").iterdir()}
        self.assertEqual(logs, {f"{kind}-128.log" for kind in KINDS if kind != "ours-zip"})
        line = (self.output / "logs" / "ours-image-128.log").read_text().splitlines()[0]
        self.assertIn(b"REPORT RequestId: ", base64.b64decode(line))
        self._measure("report", "--memory", "128")
        results = self._results("128")
        self.assertEqual(len(results["runtimes"]), 3)
        # A change of a function starts its emulator again.
        self.assertEqual(self._count(results, "tutorial image", "initDuration"), 2)
        self.assertEqual(self._count(results, "tutorial image", "duration"), 2)
        # New measurements are not mixed with old ones.
        stderr, _ = self._measure("invoke", *counts, status=1)
        self.assertIn("has logs already; name another --output", stderr)

    def nothing_is_made_without_confirmation(self):
        for answer in ("", "n\n"):
            stderr, _ = self._measure(answer=answer, status=1)
            self.assertIn("account 123456789012, region eu-north-1", stderr)
            self.assertIn("1760 invocations, 110 of each function, 10 of them cold", stderr)
            self.assertIn("nothing was done", stderr)
        self.assertEqual([operation for _, operation, _ in self.calls()], ["GetCallerIdentity"] * 2)
        self.assertFalse(self.output.exists())

    def wrong_arguments_are_errors(self):
        for arguments, text in (
            (["nothing"], "no such step: nothing; see --help"),
            (["--nothing"], "no such option: --nothing"),
            (["--cold", "0"], "expected a positive number: 0; see --help"),
            (["--memory", "128 MB"], "expected a positive number: MB; see --help"),
            (["--memory", " "], "no memory size; see --help"),
            (["deploy", "--yes"], "nothing was built there"),
            (["report"], "there are no logs of 128 MB"),
        ):
            with self.subTest(arguments):
                self.assertIn(text, self._measure(*arguments, status=1)[0])
        self.assertIn("Usage: ", run([MEASURE, "--help"]))

    def cfn_lint_finds_nothing_in_the_template(self):
        run([TOOLS / "cfn-lint", "--non-zero-exit-code", "informational", AWS / "template.yaml"])
