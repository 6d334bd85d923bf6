"""Runs awslambdaric, AWS's runtime client for Python, as the bootstrap under `coshell serve`."""

import json
import sys
import time
from urllib.request import Request, urlopen

from emulator import LIMIT, Case

APP = r"""
import json
import logging
import os
import sys

from snapshot_restore_py import register_after_restore, register_before_snapshot

loads = ["loaded"]


@register_before_snapshot
def before_snapshot():
    loads.append("before snapshot")


@register_after_restore
def after_restore():
    loads.append("after restore")


def echo(event, context):
    return event


def history(event, context):
    return loads


def context(event, context):
    client = context.client_context
    return {
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "log_group": context.log_group_name,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "deadline_ms": context._epoch_deadline_time_in_ms,
        "tenant": context.tenant_id,
        "client": client and [client.custom, client.client.app_title],
        "identity": context.identity.cognito_identity_id,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
    }


def logs(event, context):
    print("printed", event)
    logging.warning("warned of %s", event)
    print("complained", event, file=sys.stderr)


def fails(event, context):
    raise ValueError(f"no such thing: {event}")


def not_json(event, context):
    return {1, 2}


def dies(event, context):
    if event != "live":
        os._exit(int(event))
    return os.getpid()


def waits(event, context):
    # The two sides of a FIFO wait for each other, here in two processes.
    with open(os.environ["GATE"], event) as gate:
        return [os.getpid(), gate.read(4) if event == "r" else gate.write("open")]


def size(event, context):
    return "x" * (event - 2)
"""
PATH = "/2015-03-31/functions/function/invocations"
RUNTIME = [sys.executable, "-m", "awslambdaric"]


class PythonRuntime(Case):
    """Started like AWS's emulator: with the client, and the handler as its argument."""

    def _serve(self, handler, *options, app=APP):
        self.emulator = self.serve({"app.py": app}, *options, "--", *RUNTIME, f"app.{handler}")

    def _invoke(self, event=None, headers=None):
        """The response and its headers."""
        request = Request(self.emulator.url + PATH, json.dumps(event).encode(), headers or {})
        with urlopen(request, timeout=LIMIT) as response:
            return json.loads(response.read()), response.headers

    def _fail(self, event=None):
        """The error document."""
        document, headers = self._invoke(event)
        self.assertEqual(headers["X-Amz-Function-Error"], "Unhandled", document)
        return document

    def the_response_is_what_the_handler_returns(self):
        self._serve("echo")
        for event in [{"name": "Größe \u2713"}, [1, 2.5, None, True], "text", None]:
            response, headers = self._invoke(event)
            self.assertEqual(response, event)
            self.assertNotIn("X-Amz-Function-Error", headers)
        self.emulator.wait_log("REPORT RequestId", count=4)

    def the_context_is_that_of_lambda(self):
        options = ["--timeout", "7", "--memory", "512"]
        self._serve("context", *options)
        before_ms = time.time() * 1000
        context, headers = self._invoke()
        after_ms = time.time() * 1000
        self.assertEqual(context["request_id"], headers["X-Amzn-RequestId"])
        self.assertRegex(context["arn"], r"^arn:aws:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+$")
        self.assertTrue(context["arn"].endswith(":" + context["name"]))
        self.assertEqual((context["version"], context["memory"]), ("$LATEST", "512"))
        self.assertTrue(context["log_group"])
        self.assertGreaterEqual(context["deadline_ms"], before_ms + 6999)
        self.assertLessEqual(context["deadline_ms"], after_ms + 7001)
        self.assertTrue(0 < context["remaining_ms"] <= 7000, context)
        self.assertRegex(context["trace"], r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24};")
        self.assertEqual([context[name] for name in ("tenant", "client", "identity")], [None] * 3)

    def the_context_has_the_headers_of_the_caller(self):
        self._serve("context")
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        headers = {
            # {"custom": {"a": "b"}, "client": {"app_title": "c"}}
            "X-Amz-Client-Context": "eyJjdXN0b20iOiB7ImEiOiAiYiJ9LCAiY2xpZW50IjogeyJhcHBfdGl0bGUiOiAiYyJ9fQ==",
            "X-Amz-Tenant-Id": "blue",
            "X-Amzn-Trace-Id": trace,
        }
        context, _ = self._invoke(headers=headers)
        self.assertEqual(context["client"], [{"a": "b"}, "c"])
        self.assertEqual(context["tenant"], "blue")
        self.assertEqual(context["trace"], trace)

    def everything_that_the_handler_logs_is_between_start_and_end(self):
        self._serve("logs")
        self._invoke("this")
        self.emulator.wait_log("REPORT RequestId")
        lines = self.emulator.log().splitlines()
        start = next(index for index, line in enumerate(lines) if line.startswith("START"))
        end = next(index for index, line in enumerate(lines) if line.startswith("END"))
        logged = lines[start + 1 : end]
        self.assertIn("printed this", logged)
        self.assertIn("complained this", logged)
        self.assertTrue(any(line.endswith("\twarned of this") for line in logged), logged)

    def an_exception_is_a_function_error_and_the_next_event_runs(self):
        self._serve("fails")
        for event in ("socks", "shoes"):
            error = self._fail(event)
            self.assertEqual(error["errorType"], "ValueError")
            self.assertEqual(error["errorMessage"], f"no such thing: {event}")
            self.assertIn("in fails", error["stackTrace"][0])
        self.emulator.wait_log("REPORT RequestId", count=2)
        self.assertEqual(self.emulator.log().count("\tInit Duration"), 1)

    def a_response_that_is_not_json_is_a_function_error(self):
        self._serve("not_json")
        self.assertEqual(self._fail()["errorType"], "Runtime.MarshalError")

    def a_response_above_the_limit_is_a_function_error(self):
        self._serve("size")
        response, _ = self._invoke(6291556)
        self.assertEqual(len(response), 6291554)
        self.assertEqual(self._fail(6291557)["errorType"], "Function.ResponseSizeTooLarge")
        self.assertEqual(self._invoke(2)[0], "")

    def an_import_error_reaches_the_caller_and_the_log(self):
        self._serve("handler", app="import no_such_module\n")
        for _ in range(2):
            error = self._fail()
            self.assertEqual(error["errorType"], "Runtime.ImportModuleError")
            self.assertIn("No module named 'no_such_module'", error["errorMessage"])
        self.emulator.wait_log(r"INIT_REPORT .*\tStatus: error\tError Type: Runtime\.ImportModuleError")

    def the_caller_gets_the_error_of_a_missing_handler(self):
        self._serve("nowhere")
        error = self._fail()
        self.assertEqual(error["errorType"], "Runtime.HandlerNotFound")
        self.assertIn("Handler 'nowhere' missing on module 'app'", error["errorMessage"])

    def the_caller_gets_a_syntax_error(self):
        self._serve("handler", app="def handler(:\n")
        self.assertEqual(self._fail()["errorType"], "Runtime.UserCodeSyntaxError")

    def the_caller_gets_the_error_of_a_process_that_exits_and_it_is_replaced(self):
        self._serve("dies")
        first, _ = self._invoke("live")
        for status in ("1", "0"):
            error = self._fail(status)
            self.assertEqual(error["errorType"], "Runtime.ExitError")
            cause = "with error: exit status 1" if status == "1" else "without providing a reason"
            self.assertRegex(error["errorMessage"], f"^RequestId: .* Error: Runtime exited {cause}$")
        second, headers = self._invoke("live")
        self.assertNotIn("X-Amz-Function-Error", headers)
        self.assertNotEqual(first, second)

    def a_handler_is_stopped_at_the_timeout_and_replaced(self):
        gate = self.gate()
        self._serve("waits", "--timeout", "3", "--env", f"GATE={gate}")
        error = self._fail("r")
        self.assertEqual(error["errorType"], "Sandbox.Timedout")
        self.assertRegex(error["errorMessage"], r"^RequestId: .* Error: Task timed out after 3\.00 seconds$")
        self.open_gate(gate)
        (_, text), headers = self._invoke("r")
        self.assertEqual(text, "open")
        self.assertNotIn("X-Amz-Function-Error", headers)

    def snapstart_runs_the_hooks_before_and_after_the_snapshot(self):
        self._serve("history", "--snapstart")
        history, _ = self._invoke()
        self.assertEqual(history, ["loaded", "before snapshot", "after restore"])
        self.assertEqual(self._invoke()[0], history)
        self.emulator.wait_log(r"REPORT RequestId: .*\tRestore Duration: ")

    def the_caller_gets_the_error_of_a_hook_before_the_snapshot(self):
        app = APP.replace('loads.append("before snapshot")', 'raise ValueError("no snapshot")')
        self._serve("history", "--snapstart", app=app)
        self.assertIn("no snapshot", self._fail()["errorMessage"])

    def the_caller_gets_the_error_of_a_hook_after_the_restore(self):
        app = APP.replace('loads.append("after restore")', 'raise ValueError("no restore")')
        self._serve("history", "--snapstart", app=app)
        self.assertIn("no restore", self._fail()["errorMessage"])

    def without_snapstart_no_hook_runs(self):
        self._serve("history")
        self.assertEqual(self._invoke()[0], ["loaded"])

    def a_managed_instance_runs_invocations_side_by_side(self):
        gate = self.gate()
        self._serve("waits", "--managed-instances", "2", "--env", f"GATE={gate}")
        # Each side of the FIFO waits for the other one.
        reader, writer = (self.meanwhile(self._invoke, side) for side in "rw")
        (first, text), _ = reader()
        (second, _), _ = writer()
        self.assertEqual(text, "open")
        self.assertNotEqual(first, second)

    def another_bootstrap_gets_the_handler_in_its_variable(self):
        bootstrap = "#!/bin/sh\nexec %s \"$_HANDLER\"\n" % " ".join(RUNTIME)
        files = {"app.py": APP, "bootstrap": bootstrap}
        self.emulator = self.serve(files, "app.echo", "--bootstrap", "./bootstrap")
        self.assertEqual(self._invoke("a")[0], "a")
