"""Calls `coshell serve` with boto3, AWS's SDK for Python."""

import base64
import json

import boto3
import botocore
from botocore.config import Config

from emulator import LIMIT, Case

FUNCTION = r"""
count=0
handler() {
  count=$((count + 1))
  printf '%s' "$1"
}
count() { printf '%s' "$count"; }
length() { printf '%s' "${#1}"; }
context() {
  printf '%s\n' "$LAMBDA_RUNTIME_AWS_REQUEST_ID" "$LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN" \
    "${LAMBDA_RUNTIME_CLIENT_CONTEXT-none}" "${LAMBDA_RUNTIME_AWS_TENANT_ID-none}" "$BASHPID"
}
streams() {
  lambda_stream_response text/plain
  printf 'begun\n'
  read -r answer <"$GATE"
  printf '%s\n' "$answer"
  if [[ $1 == *fails* ]]; then return 3; fi
}
logs() { printf 'the handler logs %s\n' "$1" >&2; }
fails() {
  printf 'cannot find %s\n' "$1" >&2
  return 3
}
waits() {
  printf 'begun\n' >&2
  read -r answer <"${GATE:-$1}"
  printf '%s' "$answer"
}
"""

# A bootstrap that streams the pieces in the event. Before the second piece it waits at the gate. At the end it fails if the
# event has an error.
STREAMING = r"""#!/usr/bin/env python3
import base64
import http.client
import json
import os

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PATH = "/2018-06-01/runtime/invocation/"

while True:
    connection = http.client.HTTPConnection(API)
    connection.request("GET", PATH + "next")
    answer = connection.getresponse()
    event = json.loads(answer.read())
    connection.putrequest("POST", PATH + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response")
    connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Content-Type", event["type"])
    connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    connection.endheaders()
    for number, piece in enumerate(event["pieces"]):
        if number == 1 and "GATE" in os.environ:
            with open(os.environ["GATE"]) as gate:
                gate.readline()
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece.encode()))
    connection.send(b"0\r\n")
    if event.get("error"):
        body = base64.b64encode(json.dumps(event["error"]).encode())
        error_type = event["error"]["errorType"].encode()
        connection.send(b"Lambda-Runtime-Function-Error-Type: %s\r\n" % error_type)
        connection.send(b"Lambda-Runtime-Function-Error-Body: %s\r\n" % body)
    connection.send(b"\r\n")
    connection.getresponse().read()
    connection.close()
"""


def client(emulator, **settings):
    """A client without retries, so that the test sees every rejection."""
    settings.setdefault("signature_version", botocore.UNSIGNED)
    settings.setdefault("retries", {"total_max_attempts": 1})
    config = Config(connect_timeout=LIMIT, read_timeout=LIMIT, **settings)
    return boto3.client("lambda", endpoint_url=emulator.url, region_name="eu-north-1", config=config)


def document(response):
    return json.loads(response["Payload"].read())


class Boto3(Case):
    """`invoke`."""

    def _serve_function(self, handler, *arguments):
        self.emulator = self.serve({"function.sh": FUNCTION}, f"function.{handler}", *arguments)
        return client(self.emulator)

    def _invoke(self, lambda_, event=b"", **parameters):
        return lambda_.invoke(FunctionName="any", Payload=event, **parameters)

    def the_response_comes_back_byte_for_byte_with_status_and_version(self):
        lambda_ = self._serve_function("handler")
        for event in ['{"name": "Ada"}', "Größe \u2713 'quoted' \\ \"\n.", ""]:
            response = self._invoke(lambda_, event.encode())
            self.assertEqual(response["Payload"].read().decode(), event)
            self.assertEqual(response["StatusCode"], 200)
            self.assertEqual(response["ExecutedVersion"], "$LATEST")
            self.assertNotIn("FunctionError", response)
            self.assertNotIn("LogResult", response)

    def signed_calls_work_like_unsigned_ones(self):
        self._serve_function("handler")
        session = boto3.Session("AKIAEXAMPLE", "secret", "token", region_name="eu-north-1")
        signed = session.client("lambda", endpoint_url=self.emulator.url)
        self.assertEqual(self._invoke(signed, b"1")["Payload"].read(), b"1")

    def the_response_has_the_request_id_of_the_handler(self):
        lambda_ = self._serve_function("context")
        response = self._invoke(lambda_)
        request_id, *_ = response["Payload"].read().decode().split("\n")
        self.assertEqual(response["ResponseMetadata"]["RequestId"], request_id)
        self.assertEqual(response["ResponseMetadata"]["RetryAttempts"], 0)

    def the_log_result_is_the_log_of_the_invocation(self):
        lambda_ = self._serve_function("logs")
        self._invoke(lambda_, b"something else")
        response = self._invoke(lambda_, b"this", LogType="Tail")
        request_id = response["ResponseMetadata"]["RequestId"]
        lines = base64.b64decode(response["LogResult"]).decode().splitlines()
        self.assertEqual(lines[0], f"START RequestId: {request_id} Version: $LATEST")
        self.assertEqual(lines[1:3], ["the handler logs this", f"END RequestId: {request_id}"])
        self.assertRegex(lines[3], rf"^REPORT RequestId: {request_id}\tDuration: [\d.]+ ms\t")
        self.assertEqual(len(lines), 4)

    def the_log_result_has_the_last_4_kib(self):
        lambda_ = self._serve_function("logs")
        response = self._invoke(lambda_, b"x" * 10000, LogType="Tail")
        tail = base64.b64decode(response["LogResult"])
        self.assertEqual(len(tail), 4096)
        self.assertIn(b"REPORT RequestId: ", tail)

    def the_client_context_reaches_the_handler_as_json(self):
        lambda_ = self._serve_function("context")
        context = json.dumps({"custom": {"colour": "red"}, "client": {"app_title": "Caf\u00e9"}})
        encoded = base64.b64encode(context.encode()).decode()
        response = self._invoke(lambda_, ClientContext=encoded)
        self.assertEqual(response["Payload"].read().decode().split("\n")[2], context)
        response = self._invoke(lambda_)
        self.assertEqual(response["Payload"].read().decode().split("\n")[2], "none")

    def a_client_context_that_is_not_base64_is_an_exception(self):
        lambda_ = self._serve_function("context")
        with self.assertRaises(lambda_.exceptions.InvalidRequestContentException):
            self._invoke(lambda_, ClientContext="{}")

    def the_qualifier_is_appended_to_the_arn(self):
        lambda_ = self._serve_function("context")
        arns = []
        for parameters in ({}, {"Qualifier": "live"}, {"Qualifier": "7"}):
            response = self._invoke(lambda_, **parameters)
            arns.append(response["Payload"].read().decode().split("\n")[1])
        self.assertRegex(arns[0], r"^arn:aws:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+$")
        self.assertEqual(arns[1:], [f"{arns[0]}:live", f"{arns[0]}:7"])

    def the_qualifier_may_be_a_part_of_the_name(self):
        lambda_ = self._serve_function("context")
        full = "arn:aws:lambda:eu-north-1:123456789012:function:any"
        for name in ("any", "123456789012:function:any", full):
            for qualifier in ("", ":live"):
                response = lambda_.invoke(FunctionName=name + qualifier)
                arn = response["Payload"].read().decode().split("\n")[1]
                self.assertEqual(arn.endswith(":live"), bool(qualifier), arn)

    def each_tenant_has_its_own_sandbox(self):
        lambda_ = self._serve_function("context", "--concurrency", "2")
        found = {}
        for tenant in ("blue", "green", "blue"):
            response = self._invoke(lambda_, TenantId=tenant)
            *_, seen, pid = response["Payload"].read().decode().split("\n")
            self.assertEqual(seen, tenant)
            self.assertEqual(found.setdefault(tenant, pid), pid)
        self.assertNotEqual(found["blue"], found["green"])

    def a_function_error_comes_with_its_document(self):
        lambda_ = self._serve_function("fails")
        response = self._invoke(lambda_, b"the moon", LogType="Tail")
        self.assertEqual(response["StatusCode"], 200)
        self.assertEqual(response["FunctionError"], "Unhandled")
        error = document(response)
        self.assertRegex(error["errorType"], r"^Function\.[A-Za-z]+$")
        self.assertIn("cannot find the moon", error["errorMessage"])
        self.assertIn("cannot find the moon", base64.b64decode(response["LogResult"]).decode())

    def a_timeout_is_a_function_error(self):
        gate = self.gate()
        lambda_ = self._serve_function("waits", "--env", f"GATE={gate}", "--timeout", "0.5")
        response = self._invoke(lambda_)
        self.assertEqual(response["FunctionError"], "Unhandled")
        self.assertRegex(document(response)["errorMessage"], r"Task timed out after 0\.50 seconds$")

    def an_asynchronous_invocation_is_accepted_at_once_and_runs_later(self):
        gate = self.gate()
        lambda_ = self._serve_function("waits", "--env", f"GATE={gate}")
        response = self._invoke(lambda_, InvocationType="Event")
        self.assertEqual(response["StatusCode"], 202)
        self.assertEqual(response["Payload"].read(), b"")
        self.assertNotIn("ExecutedVersion", response)
        self.emulator.wait_log("begun")
        self.open_gate(gate)
        self.emulator.wait_log(f"END RequestId: {response['ResponseMetadata']['RequestId']}")

    def an_event_that_fails_is_tried_three_times(self):
        lambda_ = self._serve_function("fails", "--retry-delay", "0.01")
        response = self._invoke(lambda_, b"", InvocationType="Event")
        request_id = response["ResponseMetadata"]["RequestId"]
        self.emulator.wait_log(f"START RequestId: {request_id}", count=3)
        self.emulator.wait_log(f"event {request_id} failed 3 times and is dropped")
        self.assertEqual(self.emulator.log().count("START RequestId"), 3)

    def dry_run_invokes_nothing(self):
        lambda_ = self._serve_function("count")
        response = self._invoke(lambda_, InvocationType="DryRun")
        self.assertEqual(response["StatusCode"], 204)
        self.assertEqual(response["Payload"].read(), b"")
        self.assertEqual(self._invoke(lambda_)["Payload"].read(), b"0")
        self.emulator.wait_log("REPORT RequestId")
        self.assertEqual(self.emulator.log().count("START RequestId"), 1)

    def an_event_above_the_limit_is_an_exception(self):
        lambda_ = self._serve_function("length")
        for kind, limit in (("RequestResponse", 6 << 20), ("Event", 1 << 20)):
            self._invoke(lambda_, b"x" * limit, InvocationType=kind)
            with self.assertRaises(lambda_.exceptions.RequestTooLargeException) as raised:
                self._invoke(lambda_, b"x" * (limit + 1), InvocationType=kind)
            error = raised.exception.response
            self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 413)
            self.assertIn(str(limit), error["Error"]["Message"])
        response = self._invoke(lambda_, b"x" * (6 << 20))
        self.assertEqual(response["Payload"].read(), b"6291456")

    def a_response_above_the_limit_is_a_function_error(self):
        function = "handler() { printf '%*s' \"$1\" ''; }\n"
        lambda_ = client(self.serve({"function.sh": function}, "function.handler"))
        limit = 6 * 1024 * 1024 + 100
        response = self._invoke(lambda_, b"%d" % (limit + 1))
        self.assertEqual(response["FunctionError"], "Unhandled")
        self.assertEqual(document(response)["errorType"], "Function.ResponseSizeTooLarge")
        response = self._invoke(lambda_, b"%d" % limit)
        self.assertEqual(len(response["Payload"].read()), limit)

    def a_call_of_a_busy_function_is_an_exception(self):
        gate = self.gate()
        lambda_ = self._serve_function("waits", "--env", f"GATE={gate}", "--queue", "0")
        first = self.meanwhile(self._invoke, lambda_)
        self.emulator.wait_log("begun")
        with self.assertRaises(lambda_.exceptions.TooManyRequestsException) as raised:
            self._invoke(lambda_)
        error = raised.exception.response
        self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 429)
        self.assertEqual(error["Reason"], "ConcurrentInvocationLimitExceeded")
        self.open_gate(gate)
        self.assertEqual(first()["Payload"].read(), b"open")

    def by_default_boto3_repeats_a_call_of_a_busy_function(self):
        gate = self.gate()
        hasty = self._serve_function("waits", "--env", f"GATE={gate}", "--queue", "0")
        first = self.meanwhile(self._invoke, hasty)
        self.emulator.wait_log("begun")
        patient = client(self.emulator, retries={})
        attempts = []

        def before_attempt(**_):
            attempts.append(None)
            if len(attempts) == 2:
                self.open_gate(gate)
                self.assertEqual(first()["Payload"].read(), b"open")
                self.open_gate(gate)

        patient.meta.events.register("before-send.lambda.Invoke", before_attempt)
        response = self._invoke(patient)
        self.assertEqual(response["Payload"].read(), b"open")
        self.assertGreaterEqual(response["ResponseMetadata"]["RetryAttempts"], 1)

    def callers_at_the_same_time_get_different_sandboxes(self):
        gates = [self.gate() for _ in range(3)]
        lambda_ = self._serve_function("waits", "--concurrency", "3")
        calls = [self.meanwhile(self._invoke, lambda_, str(gate)) for gate in gates]
        self.emulator.wait_log("begun", count=3)
        for gate in gates:
            self.open_gate(gate)
        for call in calls:
            self.assertEqual(call()["Payload"].read(), b"open")


class Boto3Streams(Case):
    """`invoke_with_response_stream`."""

    def _stream(self, emulator, event, **parameters):
        return client(emulator).invoke_with_response_stream(
            FunctionName="any", Payload=json.dumps(event), **parameters
        )

    def _serve_streams(self, *arguments):
        return self.serve(
            {"bootstrap": STREAMING}, "any.handler", "--bootstrap", "./bootstrap", *arguments
        )

    def chunks_arrive_while_the_function_runs(self):
        gate = self.gate()
        emulator = self._serve_streams("--env", f"GATE={gate}")
        response = self._stream(emulator, {"type": "text/plain", "pieces": ["one", "two", "three"]})
        self.assertEqual(response["StatusCode"], 200)
        self.assertEqual(response["ExecutedVersion"], "$LATEST")
        messages = iter(response["EventStream"])
        self.assertEqual(next(messages), {"PayloadChunk": {"Payload": b"one"}})
        self.open_gate(gate)
        *chunks, last = messages
        self.assertEqual(b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks), b"twothree")
        self.assertEqual(last, {"InvokeComplete": {}})

    def the_stream_has_the_content_type_of_the_function(self):
        emulator = self._serve_streams()
        response = self._stream(emulator, {"type": "text/csv", "pieces": ["a,b"]})
        self.assertEqual(len(list(response["EventStream"])), 2)
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        self.assertEqual(headers["x-amzn-remapped-content-type"], "text/csv")

    def an_error_midway_comes_at_the_end_of_the_stream(self):
        emulator = self._serve_streams()
        error = {"errorType": "Function.OutOfInk", "errorMessage": "no ink", "stackTrace": []}
        event = {"type": "text/plain", "pieces": ["begun"], "error": error}
        response = self._stream(emulator, event, LogType="Tail")
        first, last = response["EventStream"]
        self.assertEqual(first, {"PayloadChunk": {"Payload": b"begun"}})
        complete = last["InvokeComplete"]
        self.assertEqual(complete["ErrorCode"], "Function.OutOfInk")
        self.assertEqual(json.loads(complete["ErrorDetails"]), error)
        self.assertIn(b"REPORT RequestId: ", base64.b64decode(complete["LogResult"]))

    def a_caller_that_does_not_stream_gets_the_complete_response(self):
        emulator = self._serve_streams()
        event = json.dumps({"type": "text/plain", "pieces": ["one", "two"]})
        response = client(emulator).invoke(FunctionName="any", Payload=event)
        self.assertEqual(response["Payload"].read(), b"onetwo")

    def a_response_of_bash_is_a_single_chunk(self):
        emulator = self.serve({"function.sh": FUNCTION}, "function.handler")
        messages = list(self._stream(emulator, {"name": "Ada"})["EventStream"])
        chunk = {"PayloadChunk": {"Payload": b'{"name": "Ada"}'}}
        self.assertEqual(messages, [chunk, {"InvokeComplete": {}}])

    def a_failure_of_bash_comes_at_the_end_of_the_stream(self):
        emulator = self.serve({"function.sh": FUNCTION}, "function.fails")
        (last,) = self._stream(emulator, "the moon")["EventStream"]
        self.assertRegex(last["InvokeComplete"]["ErrorCode"], r"^Function\.[A-Za-z]+$")
        details = json.loads(last["InvokeComplete"]["ErrorDetails"])
        self.assertIn("cannot find", details["errorMessage"])

    def chunks_of_bash_arrive_while_the_handler_runs(self):
        gate = self.gate()
        emulator = self.serve({"function.sh": FUNCTION}, "function.streams", "--env", f"GATE={gate}")
        response = self._stream(emulator, {})
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        self.assertEqual(headers["x-amzn-remapped-content-type"], "text/plain")
        messages = iter(response["EventStream"])
        self.assertEqual(next(messages), {"PayloadChunk": {"Payload": b"begun\n"}})
        self.open_gate(gate)
        *chunks, last = messages
        self.assertEqual(b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks), b"open\n")
        self.assertEqual(last, {"InvokeComplete": {}})

    def a_failure_of_bash_midway_comes_at_the_end_of_the_stream(self):
        gate = self.gate()
        emulator = self.serve({"function.sh": FUNCTION}, "function.streams", "--env", f"GATE={gate}")
        messages = iter(self._stream(emulator, "fails")["EventStream"])
        self.assertEqual(next(messages), {"PayloadChunk": {"Payload": b"begun\n"}})
        self.open_gate(gate)
        *_, last = messages
        self.assertEqual(last["InvokeComplete"]["ErrorCode"], "Function.HandlerFailed")
        details = json.loads(last["InvokeComplete"]["ErrorDetails"])
        self.assertIn("status 3", details["errorMessage"])

    def dry_run_streams_nothing(self):
        emulator = self.serve({"function.sh": FUNCTION}, "function.handler")
        response = self._stream(emulator, {}, InvocationType="DryRun")
        self.assertEqual(response["StatusCode"], 204)
        self.assertEqual(len(list(self._stream(emulator, {})["EventStream"])), 2)
        emulator.wait_log("REPORT RequestId")
        self.assertEqual(emulator.log().count("START RequestId"), 1)

    def an_event_above_the_limit_is_an_exception(self):
        emulator = self.serve({"function.sh": FUNCTION}, "function.handler")
        lambda_ = client(emulator)
        with self.assertRaises(lambda_.exceptions.RequestTooLargeException):
            lambda_.invoke_with_response_stream(FunctionName="any", Payload=b"x" * (6 * 1024 * 1024 + 1))
