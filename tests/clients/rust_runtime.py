"""Runs lambda_runtime, AWS's runtime for Rust, as the bootstrap: the program of tests/fixtures/rust-runtime."""

import http.client
import json
import os
import pathlib

import boto3
import botocore
from botocore.config import Config

from emulator import LIMIT, Case

RUNTIME = pathlib.Path(os.environ["RUST_RUNTIME"]).resolve()


class RustRuntime(Case):
    """Buffered and streamed responses, called with boto3 and at a function URL."""

    def _serve(self, handler, *options):
        self.emulator = self.serve({}, handler, "--bootstrap", str(RUNTIME), *options)
        config = Config(signature_version=botocore.UNSIGNED, read_timeout=LIMIT, retries={"total_max_attempts": 1})
        self.client = boto3.client(
            "lambda", endpoint_url=self.emulator.url, region_name="eu-north-1", config=config
        )

    def _invoke(self, event=None, **parameters):
        response = self.client.invoke(FunctionName="any", Payload=json.dumps(event), **parameters)
        return json.loads(response["Payload"].read()), response

    def _fail(self, event=None):
        """The error document."""
        document, response = self._invoke(event)
        self.assertEqual(response["FunctionError"], "Unhandled", document)
        return document

    def _serve_streams(self, handler, *options):
        self.stream_gate = self.gate()
        self._serve(handler, "--env", f"GATE={self.stream_gate}", *options)

    def _get(self, path):
        """Sends a request. Returns the response when its headers have arrived."""
        connection = http.client.HTTPConnection(self.emulator.url.removeprefix("http://"), timeout=LIMIT)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        return connection.getresponse()

    def the_response_is_what_the_handler_returns(self):
        self._serve("echo")
        for event in [{"name": "Größe \u2713"}, [1, 2.5, None, True], "text", None]:
            response, _ = self._invoke(event)
            self.assertEqual(response, event)

    def the_context_is_that_of_lambda(self):
        self._serve("context", "--memory", "512")
        context, response = self._invoke(TenantId="blue", Qualifier="live")
        self.assertEqual(context["request_id"], response["ResponseMetadata"]["RequestId"])
        self.assertTrue(context["arn"].endswith(f":{context['name']}:live"), context)
        self.assertEqual((context["memory"], context["tenant"], context["client"]), (512, "blue", None))
        self.assertRegex(context["trace"], r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24};")
        self.assertGreater(context["deadline_ms"], 0)

    def an_error_is_a_function_error_and_the_next_event_runs(self):
        self._serve("fails")
        for event in ("socks", "shoes"):
            self.assertEqual(self._fail(event)["errorMessage"], f'no such thing: "{event}"')
        self.emulator.wait_log("REPORT RequestId", count=2)
        self.assertEqual(self.emulator.log().count("\tInit Duration"), 1)

    def a_panic_is_a_function_error(self):
        self._serve("panics")
        self.assertIn("out of ink", self._fail()["errorMessage"])

    def snapstart_runs_the_hooks_before_and_after_the_snapshot(self):
        self._serve("history", "--snapstart")
        self.assertEqual(self._invoke()[0], ["before snapshot", "after restore"])
        self.emulator.wait_log(r"REPORT RequestId: .*\tRestore Duration: ")

    def a_managed_instance_runs_invocations_side_by_side(self):
        gates = [self.gate() for _ in range(2)]
        self._serve("waits", "--managed-instances", "2")
        calls = [self.meanwhile(self._invoke, str(gate)) for gate in gates]
        self.emulator.wait_log("START RequestId", count=2)
        for gate in gates:
            self.open_gate(gate)
        for call in calls:
            self.assertEqual(call()[0], "open\n")

    def a_stream_arrives_while_the_function_runs(self):
        self._serve_streams("streams")
        response = self.client.invoke_with_response_stream(FunctionName="any", Payload=b"{}")
        messages = iter(response["EventStream"])
        received = b""
        while not received.endswith(b"begun\n"):
            received += next(messages)["PayloadChunk"]["Payload"]
        prelude, content = received.split(b"\0" * 8)
        self.assertEqual(json.loads(prelude)["statusCode"], 201)
        self.assertEqual(content, b"begun\n")
        self.open_gate(self.stream_gate)
        *chunks, last = messages
        self.assertEqual(b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks), b"open\n")
        self.assertEqual(last, {"InvokeComplete": {}})

    def the_end_of_a_broken_stream_has_the_error(self):
        self._serve_streams("breaks")
        response = self.client.invoke_with_response_stream(FunctionName="any", Payload=b"{}")
        self.open_gate(self.stream_gate)
        *chunks, last = response["EventStream"]
        self.assertTrue(chunks[-1]["PayloadChunk"]["Payload"].endswith(b"begun\n"))
        self.assertEqual(last["InvokeComplete"]["ErrorCode"], "Runtime.TruncatedResponse")

    def the_prelude_sets_status_headers_and_cookies_at_a_function_url(self):
        self._serve_streams("streams", "--function-url")
        answer = self._get("/a/path?b=c")
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["Content-Type"], "text/plain")
        self.assertEqual(answer.headers["X-Path"], "/a/path")
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2; HttpOnly"])
        # The rest is sent only after this part was read.
        self.assertEqual(answer.readline(), b"begun\n")
        self.open_gate(self.stream_gate)
        self.assertEqual(answer.read(), b"open\n")

    def a_broken_stream_breaks_the_response_of_a_function_url(self):
        self._serve_streams("breaks", "--function-url")
        answer = self._get("/")
        self.assertEqual(answer.readline(), b"begun\n")
        self.open_gate(self.stream_gate)
        with self.assertRaises(http.client.IncompleteRead):
            answer.read()
