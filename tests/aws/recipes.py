"""The pages of docs/recipes, and docs/recipes.md: their handlers are those of examples/, and their commands print what the pages show.

A ```console block runs in bash, all of a page in one; a line that begins with `$ ` is a command. Of a ```sh block, `coshell package` and
`aws` run. moto stands in for AWS, and a server here for what the page calls at localhost:9000; where a page has a ```json block, it is what
that server got.
"""

import atexit
import base64
import concurrent.futures
import contextlib
import functools
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import string
import subprocess
import tempfile
import threading
import unittest
import urllib.request
import zipfile

from cloud import LIMIT, REGION, Cloud, RealCli, environment

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "docs/recipes"
CONTENTS = REPOSITORY / "docs/recipes.md"
NAMES = sorted(path.stem for path in PAGES.glob("*.md"))
ACCOUNT = "123456789012"
MARK = "\x01"
SHELL = """
exec 2>&1
PS4=
while IFS= read -r -d '' command; do
  eval "$command" || :
  printf '\\1'
done
"""
# ImageMagick writes what it was called with; pg_dump what it knows.
STAND_INS = {
    "convert": '#!/bin/sh\nfor last; do :; done\necho "$*" >"${last#*:}"\n',
    "pg_dump": '#!/bin/sh\necho "a dump of $PGDATABASE by $PGUSER with $PGPASSWORD: $*"\n'
               '[ "$PGHOST" != broken ] || { echo "pg_dump: error: the connection is lost" >&2; exit 1; }\n',
}


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it gets, and answers as the test wants."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got = []
        self.answer = lambda request: (404, "")
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        request = {"method": self.command, "path": self.path, "headers": self.headers, "body": body}
        self.server.got.append(request)
        status, text = self.server.answer(request)
        # A client that was stopped is gone.
        with contextlib.suppress(BrokenPipeError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


def blocks(name, language):
    """The blocks of a page; `..` is the contents page."""
    page = (PAGES / name).with_suffix(".md") if name != ".." else CONTENTS
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def transcript(text):
    """The commands of a block, each with what it prints."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            found[-1][1].append(line)
            continue
        command = [line[2:]]
        while command[-1].endswith("\\"):
            command.append(next(lines))
        found.append(("\n".join(command), []))
    return [(command, "\n".join(shown)) for command, shown in found]


class Stage:
    """A copy of the examples, with programs and servers, for one page."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.receiver = Receiver()
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.clone = self.folder / "clone"
        # What the pages have, and what is there here.
        self.names = {
            "localhost:5000": f"127.0.0.1:{cloud.port}",
            "localhost:9000": f"localhost:{self.receiver.server_port}",
            "/home/ada/coshell/": f"{self.clone}/",
            "/tmp/": f"{self.folder}/temporary/",
        }
        programs = self.folder / "programs"
        for folder in (self.clone, programs, self.folder / "temporary"):
            folder.mkdir()
        shutil.copytree(REPOSITORY / "examples", self.clone / "examples")
        shutil.copy(REPOSITORY / "LICENSE", self.clone)
        for event in self.clone.glob("examples/*/event.json"):
            event.write_text(self.here(event.read_text()))
        aws = f'#!/bin/sh\nexec {shlex.quote(os.environ["TOOLS_PROGRAM"])} run aws "$@"\n'
        for name, text in {"aws": aws, **STAND_INS}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = environment(self.folder, {
            "AWS_ENDPOINT_URL": cloud.url, "AWS_REGION": REGION, "COSHELL_COMMANDS": "aws", "TMPDIR": str(self.folder / "temporary"),
            "PATH": f"{programs}:{pathlib.Path(os.environ['COSHELL']).parent}:{os.environ['PATH']}"})

    def here(self, text):
        for name, here in self.names.items():
            text = text.replace(name, here)
        return text

    def as_shown(self, text):
        for name, here in self.names.items():
            text = text.replace(here, name)
        return text

    def run(self, commands):
        """What each of the commands prints, in one bash."""
        text = "".join(f"{self.here(command)}\0" for command in commands)
        done = subprocess.run(["bash", "-c", SHELL], input=text, capture_output=True, text=True, timeout=LIMIT, cwd=self.clone,
                              env=self.environment)
        parts = self.as_shown(done.stdout).split(MARK)
        assert len(parts) == len(commands) + 1, done
        return [part.rstrip("\n") for part in parts[:-1]]

    def invoke(self, example, event, given, options=()):
        """Status, response and log of one event."""
        command = [os.environ["COSHELL"], "invoke", f"examples/{example}/function.handler", "--event", json.dumps(event), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=self.clone,
                              env={**self.environment, **given})
        return done.returncode, done.stdout, done.stderr

    @contextlib.contextmanager
    def serve(self, options, given):
        """`coshell serve` with these options; its address."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen([os.environ["COSHELL"], "serve", *options, "--port", str(port)], cwd=self.clone,
                                   env={**self.environment, **given}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        try:
            line = next(line for line in process.stderr if "still loading" not in line)
            assert "serving" in line, line
            yield f"localhost:{port}"
        finally:
            process.kill()
            process.communicate()

    def event(self, example):
        return json.loads((self.clone / "examples" / example / "event.json").read_text())

    def close(self):
        self.receiver.shutdown()
        self.receiver.server_close()
        shutil.rmtree(self.folder)


@functools.cache
def the_cloud():
    """One for all tests; each has names of its own in it."""
    cloud = Cloud()
    atexit.register(cloud.stop)
    cloud.wait()
    return cloud


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = the_cloud()

    def _stage(self):
        stage = Stage(self.cloud)
        self.addCleanup(stage.close)
        return stage


def static_programs(stage):
    """A folder with coshell, and static programs in the place of bootstrap and coshell-tools, which take a minute to build."""
    folder = stage.folder / "static"
    folder.mkdir()
    # A link would not do: coshell finds bootstrap in its own folder.
    shutil.copy(os.environ["COSHELL"], folder / "coshell")
    for name in ("bootstrap", "coshell-tools"):
        shutil.copy("/usr/bin/bash-static", folder / name)
    return folder


def invoke(address, event):
    """The response of a handler that is served."""
    url = f"http://{address}/2015-03-31/functions/function/invocations"
    return urllib.request.urlopen(url, json.dumps(event).encode(), timeout=LIMIT).read().decode()


def menu(request):
    """Answers as the example `router` does."""
    if request["path"] == "/menu":
        return 200, (REPOSITORY / "examples/router/menu.json").read_text()
    return (404 if request["path"] == "/nowhere" else 200), ""


class Pages(Case):
    def every_page_has_its_handler_and_stays_short(self):
        self.assertGreater(len(NAMES), 8)
        for name in NAMES:
            with self.subTest(name):
                files = [path.read_text() for path in (REPOSITORY / "examples" / name).glob("*.sh")]
                self.assertEqual(blocks(name, "bash"), files)
                self.assertLessEqual(len((PAGES / f"{name}.md").read_text().splitlines()), 80)

    def commands_print_what_the_pages_show(self):
        def run(name, stage):
            with contextlib.ExitStack() as stack:
                stage.receiver.answer = menu
                if name == "router":
                    served = stage.serve(shlex.split(blocks(name, "sh")[0])[2:], {})
                    stage.names["localhost:9000"] = stack.enter_context(served)
                wanted = [pair for text in blocks(name, "console") for pair in transcript(text)]
                return name, wanted, stage.run([command for command, _ in wanted]), stage.receiver.got

        with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(4) as pool:
            # A program cannot run while a process that starts meanwhile has it open for writing. So all are written first.
            stages = [stack.enter_context(contextlib.closing(Stage(self.cloud))) for _ in NAMES]
            for name, wanted, printed, got in pool.map(run, NAMES, stages):
                self.assertTrue(wanted, name)
                for (command, shown), line in zip(wanted, printed):
                    with self.subTest(name, command=command):
                        self.assertEqual(line, shown)
                for shown in blocks(name, "json"):
                    with self.subTest(name):
                        self.assertEqual(json.loads(got[-1]["body"]), json.loads(shown))

    def commands_that_deploy_are_accepted(self):
        """By moto, with a function that has no code worth running, and what S3, SQS and SNS call it for."""
        iam, functions = self.cloud.client("iam"), self.cloud.client("lambda")
        self.cloud.client("s3").create_bucket(Bucket="pictures-deployed")
        self.cloud.client("sqs").create_queue(QueueName="orders")
        self.cloud.client("sns").create_topic(Name="alarms")
        for name in NAMES:
            role = iam.create_role(RoleName=f"coshell-{name}", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
            functions.create_function(FunctionName=name, Runtime="provided.al2023", Role=role, Handler="function.handler",
                                      Code={"ZipFile": b"x"})
        real = RealCli(["lambda", "s3api", "sns", "events", "iam"])
        self.addCleanup(real.stop)
        stage = self._stage()
        given = {**stage.environment, "PATH": f"{static_programs(stage)}:/usr/bin:/bin"}

        def status_of(line):
            if line.startswith("coshell"):
                done = subprocess.run(["bash", "-euc", line], cwd=stage.clone, capture_output=True, text=True, timeout=LIMIT, env=given)
                return done.returncode, done.stderr
            words = [string.Template(word).substitute(AWS_REGION=REGION, account=ACCOUNT) for word in shlex.split(line)[1:]]
            # The page about trying it has this bucket already.
            words = ["pictures-deployed" if word == "pictures" else word for word in words]
            status, _, errors = real.run([*words, "--endpoint-url", self.cloud.url], stage.clone, {}, "")
            return status, errors

        lines = [line for name in ("..", *NAMES) for line in "".join(blocks(name, "sh")).replace("\\\n", "").splitlines()]
        lines = [line for line in lines if line.startswith(("aws ", "coshell package ", "coshell check "))]
        self.assertGreater(len(lines), 20)
        for line in lines:
            with self.subTest(line):
                status, errors = status_of(line)
                self.assertEqual(status, 0, errors)
        packed_names = [name for name in NAMES if f"-o {name}.zip" in "".join(blocks(name, "sh"))]
        for name in packed_names:
            with self.subTest(name), zipfile.ZipFile(stage.clone / f"{name}.zip") as packed:
                scripts = {path.name for path in (REPOSITORY / "examples" / name).glob("*.sh")}
                self.assertLessEqual({"bootstrap"} | scripts, set(packed.namelist()))


class Failures(Case):
    """What the handlers do when something goes wrong."""

    def thumbnails_are_made_of_pictures_only_and_of_no_thumbnail(self):
        stage = self._stage()
        s3 = self.cloud.client("s3")
        for bucket in ("in", "out"):
            s3.create_bucket(Bucket=f"thumbnail-{bucket}")
        s3.put_object(Bucket="thumbnail-in", Key="a b.JPG", Body=b"x")
        event = {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "thumbnail-in"}, "object": {"key": key}}}
                             for key in ("notes.txt", "gone.png", "a+b.JPG")]}
        status, response, log = stage.invoke("thumbnail", event, {"THUMBNAIL_BUCKET": "thumbnail-out", "THUMBNAIL_SIZE": "64"})
        self.assertEqual((status, json.loads(response)["errorType"]), (1, "Function.CommandFailed"))
        self.assertIn("skipped: notes.txt is neither JPEG nor PNG\n", log)
        # One that fails hinders no other.
        made = s3.list_objects_v2(Bucket="thumbnail-out")["Contents"]
        self.assertEqual([one["Key"] for one in made], ["a b.JPG.jpg"])
        found = s3.get_object(Bucket="thumbnail-out", Key="a b.JPG.jpg")
        self.assertEqual(found["ContentType"], "image/jpeg")
        self.assertRegex(found["Body"].read().decode(), "^jpeg:/.*/picture -auto-orient -thumbnail 64x64> -background white -alpha remove jpeg:/.*/thumbnail\n$")
        _, response, _ = stage.invoke("thumbnail", event, {"THUMBNAIL_BUCKET": "thumbnail-in"})
        self.assertIn("SameBucket", response)
        self.assertNotIn("Contents", s3.list_objects_v2(Bucket="thumbnail-in", Prefix="a b.JPG."))

    def messages_that_fail_come_back_alone(self):
        stage = self._stage()
        self.cloud.client("dynamodb").create_table(
            TableName="orders-failing", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])
        event = stage.event("sqs-batch")
        bodies = ["no JSON", json.dumps({"id": "1", "customer": "a", "total": "no number"}), json.dumps({"id": "2", "customer": "b", "total": 1})]
        for record, body in zip(event["Records"], bodies):
            record["body"] = body
        status, response, _ = stage.invoke("sqs-batch", event, {"ORDERS_TABLE": "orders-failing"})
        failed = [one["itemIdentifier"] for one in json.loads(response)["batchItemFailures"]]
        self.assertEqual((status, failed), (0, [record["messageId"] for record in event["Records"][:2]]))
        items = self.cloud.client("dynamodb").scan(TableName="orders-failing")["Items"]
        self.assertEqual(items, [{"id": {"S": "2"}, "customer": {"S": "b"}, "total": {"N": "1"}}])

    def cloudformation_gets_one_answer_whatever_happens(self):
        stage = self._stage()
        stage.receiver.answer = lambda request: (200, "")
        event = stage.event("custom-resource")
        event["ResourceProperties"]["BucketName"] = "no-such-bucket"
        for change, status, resource in (({"RequestType": "Create", "PhysicalResourceId": None}, "SUCCESS", "no-such-bucket"),
                                         ({"PhysicalResourceId": "of before"}, "FAILED", "of before"),
                                         ({"RequestType": "Update", "ResourceProperties": {}}, "FAILED", "none")):
            with self.subTest(change):
                stage.receiver.got.clear()
                self.assertEqual(stage.invoke("custom-resource", {**event, **change}, {})[:2], (0, ""))
                (request,) = stage.receiver.got
                self.assertEqual((request["method"], request["headers"]["Content-Type"]), ("PUT", None))
                answer = json.loads(request["body"])
                self.assertEqual((answer["Status"], answer["PhysicalResourceId"]), (status, resource))
        stage.receiver.answer = lambda request: (403, "")
        self.assertEqual(stage.invoke("custom-resource", event, {})[0], 1)

    def cloudformation_gets_an_answer_before_the_deadline(self):
        stage, ended = self._stage(), threading.Event()
        self.addCleanup(ended.set)
        # As S3, it never answers.
        stage.receiver.answer = lambda request: (200, "") if request["method"] == "PUT" else (ended.wait(), (500, ""))[1]
        given = {"AWS_ENDPOINT_URL": stage.here("http://localhost:9000"), "COSHELL_DEADLINE_MARGIN_MS": "2000"}
        status, _, _ = stage.invoke("custom-resource", stage.event("custom-resource"), given, ["--timeout", "4"])
        answers = [json.loads(request["body"])["Status"] for request in stage.receiver.got if request["method"] == "PUT"]
        self.assertEqual((status, answers), (1, ["FAILED"]))

    def dump_that_fails_gets_no_name(self):
        stage = self._stage()
        self.cloud.client("s3").create_bucket(Bucket="dumps-failing")
        self.cloud.client("secretsmanager").create_secret(Name="dump", SecretString='{"password": "a word"}')
        given = {"DUMP_BUCKET": "dumps-failing", "DUMP_SECRET": "dump", "PGUSER": "u", "PGDATABASE": "d"}
        for host, expected in (("broken", ["incomplete/d/2026-11-23.dump"]), ("db", ["d/2026-11-23.dump"])):
            status, response, _ = stage.invoke("database-dump", stage.event("database-dump"), {**given, "PGHOST": host})
            listed = self.cloud.client("s3").list_objects_v2(Bucket="dumps-failing")["Contents"]
            self.assertEqual((status, [one["Key"] for one in listed]), (int(host == "broken"), expected))
            self.assertEqual("the connection is lost" in response, host == "broken")
        dump = self.cloud.client("s3").get_object(Bucket="dumps-failing", Key="d/2026-11-23.dump")["Body"].read()
        self.assertEqual(dump, b"a dump of d by u with a word: --format=custom --no-password\n")

    def secret_is_fetched_again_when_the_api_refuses_it(self):
        stage = self._stage()
        secrets = self.cloud.client("secretsmanager")
        secrets.create_secret(Name="rotated", SecretString='{"token": "t1"}')
        valid = ["t1"]
        stage.receiver.answer = lambda request: (200 if request["headers"]["Authorization"] == f"Bearer {valid[0]}" else 401, "hello")
        given = {"API_SECRET": "rotated", "API_URL": stage.here("http://localhost:9000/")}
        with stage.serve(["examples/secrets/function.handler"], given) as address:
            def call():
                stage.receiver.got.clear()
                answer = invoke(address, {})
                return answer, [request["headers"]["Authorization"][len("Bearer "):] for request in stage.receiver.got]

            self.assertEqual(call(), ("hello", ["t1"]))
            secrets.put_secret_value(SecretId="rotated", SecretString='{"token": "t2"}')
            valid[0] = "t2"
            self.assertEqual(call(), ("hello", ["t1", "t2"]))
            self.assertEqual(call(), ("hello", ["t2"]))
            valid[0] = "t3"
            answer, tokens = call()
            self.assertEqual((json.loads(answer)["errorType"], tokens), ("ApiFailed", ["t2", "t2"]))

    def webhook_believes_nothing_without_its_signature(self):
        stage = self._stage()
        secret, event = "a secret & more", stage.event("webhook")
        self.cloud.client("ssm").put_parameter(Name="/hook", Type="SecureString", Value=secret)
        body = event["body"]

        def signed(text):
            return "sha256=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()

        cases = (
            (None, "push", body, 401),
            # GitHub's older signature had no name before it.
            (signed(body).removeprefix("sha256="), "push", body, 401),
            (signed(body), "push", body + " ", 401),
            (signed(body), "push", body, 202),
            (signed("{}\n"), "ping", "{}\n", 200),
            (signed("ü"), "issues", "ü", 202),
        )
        with stage.serve(["examples/webhook/function.handler"], {"WEBHOOK_PARAMETER": "/hook"}) as address:
            for signature, kind, sent, status in cases:
                headers = {"x-github-event": kind, **({"x-hub-signature-256": signature} if signature else {})}
                encoded = {False: sent, True: base64.b64encode(sent.encode()).decode()}
                for is_base64, text in encoded.items():
                    with self.subTest(signature=signature, sent=sent, is_base64=is_base64):
                        changed = {**event, "headers": headers, "body": text, "isBase64Encoded": is_base64}
                        self.assertEqual(json.loads(invoke(address, changed))["statusCode"], status)
            event["requestContext"]["http"]["method"] = "GET"
            self.assertEqual(json.loads(invoke(address, event))["statusCode"], 405)

    def alarm_that_slack_refuses_fails_without_its_url(self):
        stage = self._stage()
        self.cloud.client("ssm").put_parameter(Name="/slack", Type="SecureString", Value=stage.here("http://localhost:9000/T0/hidden"))
        stage.receiver.answer = lambda request: (404, "no_service")
        status, response, log = stage.invoke("slack-alert", stage.event("slack-alert"), {"SLACK_PARAMETER": "/slack"})
        self.assertEqual((status, json.loads(response)["errorType"]), (1, "Function.CommandFailed"))
        self.assertIn("404", log)
        self.assertNotIn("hidden", response + log)
