"""Calls `coshell serve` with the AWS CLI, version 1."""

import base64
import json
import os
import pathlib
import subprocess
import sys

from emulator import LIMIT, Case

AWS = pathlib.Path(sys.executable).parent / "aws"

FUNCTION = r"""
handler() {
  printf 'the handler logs hello\n' >&2
  printf '%s' "$1"
}
context() { printf '%s %s' "$LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN" "$LAMBDA_RUNTIME_CLIENT_CONTEXT"; }
fails() { return 3; }
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


class AwsCli(Case):
    """`aws lambda invoke`."""

    def _serve(self, handler):
        self.emulator = self.serve({"function.sh": FUNCTION}, f"function.{handler}")
        self.out = self.folder() / "out.json"

    def _aws(self, *options, file=None, environment=None):
        command = [AWS, "lambda", "invoke", "--function-name", "any", *options, file or self.out]
        return subprocess.run(
            command,
            env={**os.environ, "AWS_DEFAULT_REGION": "eu-north-1", "AWS_PAGER": "", **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * LIMIT,
        )

    def _invoke(self, *options, **settings):
        """Runs `aws lambda invoke`, which must succeed. Returns its output."""
        ended = self._aws("--endpoint-url", self.emulator.url, "--no-sign-request", *options, **settings)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return ended.stdout

    def the_response_is_in_the_file_and_the_status_on_standard_output(self):
        self._serve("handler")
        printed = json.loads(self._invoke("--payload", '{"name": "Ada"}'))
        self.assertEqual(printed, {"StatusCode": 200, "ExecutedVersion": "$LATEST"})
        self.assertEqual(self.out.read_text(), '{"name": "Ada"}')

    def an_event_from_a_file_arrives_byte_for_byte(self):
        self._serve("handler")
        event = bytes(range(1, 256)) * 4096 + b"end"
        source = self.folder() / "event"
        source.write_bytes(event)
        self._invoke("--payload", f"fileb://{source}")
        self.assertEqual(self.out.read_bytes(), event)

    def any_keys_work_with_an_endpoint_from_the_environment(self):
        self._serve("handler")
        keys = {**KEYS, "AWS_ENDPOINT_URL_LAMBDA": self.emulator.url}
        ended = self._aws("--payload", "1", environment=keys)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        self.assertEqual(self.out.read_text(), "1")

    def the_log_can_be_printed_with_the_usual_options(self):
        self._serve("handler")
        options = ["--log-type", "Tail", "--query", "LogResult", "--output", "text"]
        log = base64.b64decode(self._invoke(*options, file="/dev/null")).decode()
        self.assertRegex(log, r"^START RequestId: .*\nthe handler logs hello\nEND RequestId: .*\nREPORT ")

    def a_function_error_is_printed_and_the_document_is_in_the_file(self):
        self._serve("fails")
        printed = json.loads(self._invoke())
        self.assertEqual(printed["FunctionError"], "Unhandled")
        self.assertEqual(printed["StatusCode"], 200)
        self.assertIn("errorType", json.loads(self.out.read_text()))

    def qualifier_and_client_context_reach_the_handler(self):
        self._serve("context")
        context = base64.b64encode(b'{"custom":{}}').decode()
        self._invoke("--qualifier", "live", "--client-context", context)
        arn, context = self.out.read_text().split(" ")
        self.assertRegex(arn, r"^arn:aws:lambda:.*:live$")
        self.assertEqual(context, '{"custom":{}}')

    def an_asynchronous_invocation_is_accepted(self):
        self._serve("handler")
        printed = json.loads(self._invoke("--invocation-type", "Event", "--payload", "{}"))
        self.assertEqual(printed, {"StatusCode": 202})
        self.emulator.wait_log("the handler logs hello\nEND RequestId")

    def an_event_above_the_limit_is_an_error_of_the_service(self):
        self._serve("handler")
        source = self.folder() / "event"
        source.write_bytes(b"x" * (6 * 1024 * 1024 + 1))
        where = ["--endpoint-url", self.emulator.url, "--no-sign-request"]
        ended = self._aws(*where, "--payload", f"fileb://{source}")
        self.assertIn(b"(RequestTooLargeException)", ended.stderr)
        self.assertNotEqual(ended.returncode, 0)
        self.assertFalse(self.out.exists())
