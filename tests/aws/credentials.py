"""Where credentials, the region and the endpoint come from, and the error if they are missing."""

import datetime
import json
import os
import pathlib
import subprocess

import served

COMMAND = [os.environ["TOOLS_PROGRAM"], "run", "aws"]
CONFIG = """\
[default]
region = eu-west-3
[profile other]
region = ap-south-1
output = text
"""
CREDENTIALS = """\
[default]
aws_access_key_id = OFDEFAULT
aws_secret_access_key = a
[other]
aws_access_key_id = OFOTHER
aws_secret_access_key = b
aws_session_token = c
"""


class Handler(served.Handler):
    """Both AWS and the endpoint that has credentials."""

    def do_GET(self):
        if self.path.startswith("/skewed/"):
            self.answer(403, "<Error><Code>RequestTimeTooSkewed</Code></Error>", [("Date", "Mon, 01 Jan 2018 00:00:00 GMT")])
            return
        for path, region in (("/moved/", "ap-south-1"), ("/evil/", "evil.test/x")):
            if self.path.startswith(path):
                self.answer(400, headers=[("x-amz-bucket-region", region)])
                return
        self.server.seen.append(("endpoint", self.path, self.headers.get("Authorization")))
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, self.server.credentials())
        self.answer(status, answer)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(("aws", self.headers["Authorization"], self.headers.get("X-Amz-Security-Token")))
        self.answer(200, '{"Parameter": {"Value": "v"}}')


class Case(served.Served):
    handler = Handler

    def setUp(self):
        super().setUp()
        self.server.answers = []
        end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.server.credentials = lambda: json.dumps({"AccessKeyId": "OFENDPOINT", "SecretAccessKey": "hidden/key", "Token": "t", "Expiration": end})
        self.write(".aws/config", CONFIG)
        self.write(".aws/credentials", CREDENTIALS)

    def call(self, *arguments, **environment):
        self.server.seen.clear()
        given = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": self.url, "AWS_MAX_ATTEMPTS": "1", **environment}
        done = subprocess.run([*COMMAND, "ssm", "get-parameter", "--name", "n", *arguments], env=given, capture_output=True, text=True, timeout=60)
        for text in ("hidden/key", "token of a file", "very secret"):
            self.assertNotIn(text, done.stdout + done.stderr)
        return done

    def asker(self, *arguments, **environment):
        """The key and the region in the signature, and the token."""
        done = self.call(*arguments, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        kind, signature, token = self.server.seen[-1]
        self.assertEqual(kind, "aws")
        key, _, region = signature.split("Credential=")[1].split("/")[:3]
        return key, region, token

    def refusal(self, *arguments, **environment):
        done = self.call(*arguments, **environment)
        return done.returncode, done.stderr.strip()


FUNCTION = """handler() {
  if [[ ! -e $LAMBDA_TASK_ROOT/seen ]]; then : >"$LAMBDA_TASK_ROOT/seen"; FIRST; else SECOND; fi
}"""


class Credentials(Case):
    def _events(self, first, second, **environment):
        """What two events of one sandbox print to the log."""
        folder = pathlib.Path(self.home.name)
        (folder / "seen").unlink(missing_ok=True)
        (folder / "function.sh").write_text(FUNCTION.replace("FIRST", first).replace("SECOND", second))
        self.server.seen.clear()
        given = {"PATH": os.environ["PATH"], "COSHELL_COMMANDS": "aws", "AWS_REGION": "us-east-1", **environment}
        done = subprocess.run([os.environ["COSHELL"], "invoke", "function.handler", "--task-root", str(folder), "--event", "x", "--repeat", "2"],
                              env=given, capture_output=True, text=True, timeout=60)
        return done.stderr

    def what_a_server_says_holds_for_that_server_alone(self):
        keys = {"AWS_ACCESS_KEY_ID": "OFVARIABLES", "AWS_SECRET_ACCESS_KEY": "very secret"}
        for path, second, lacks, has in (
            ("moved", "aws s3 presign s3://moved/key --region eu-west-1 >&2", "ap-south-1", "moved.s3.eu-west-1.amazonaws.com"),
            ("evil", "aws s3 presign s3://evil/key >&2", "evil.test", "evil.s3.us-east-1.amazonaws.com"),
            ("skewed", "aws s3 presign s3://other/key >&2", "X-Amz-Date=2018", "X-Amz-Date="),
        ):
            with self.subTest(path=path):
                log = self._events(f"lambda_aws --endpoint-url {self.url} --path /{path}/key s3 || :", second, **keys)
                self.assertNotIn(lacks, log)
                self.assertIn(has, log)

    def another_token_is_another_caller(self):
        endpoint = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/role", "AWS_ENDPOINT_URL": self.url}
        call = "export AWS_CONTAINER_AUTHORIZATION_TOKEN=%s; lambda_aws -v x ssm GetParameter '{}'"
        self._events(call % "one", call % "two", **endpoint)
        self.assertEqual([one[2] for one in self.server.seen if one[0] == "endpoint"], ["one", "two"])

    def they_come_from_variables_profiles_and_the_endpoint(self):
        keys = {"AWS_ACCESS_KEY_ID": "OFVARIABLES", "AWS_SECRET_ACCESS_KEY": "very secret", "AWS_SESSION_TOKEN": "s"}
        home = {"HOME": self.home.name}
        endpoint = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/role", "AWS_REGION": "eu-north-1"}
        self.assertEqual(self.asker(**keys, AWS_REGION="eu-west-1"), ("OFVARIABLES", "eu-west-1", "s"))
        self.assertEqual(self.asker(**keys, **home), ("OFVARIABLES", "eu-west-3", "s"))
        self.assertEqual(self.asker(**home), ("OFDEFAULT", "eu-west-3", None))
        self.assertEqual(self.asker(**home, AWS_DEFAULT_REGION="eu-west-2"), ("OFDEFAULT", "eu-west-2", None))
        self.assertEqual(self.asker("--region", "us-west-2", **home, AWS_REGION="eu-west-2"), ("OFDEFAULT", "us-west-2", None))
        self.assertEqual(self.asker(**home, AWS_PROFILE="other"), ("OFOTHER", "ap-south-1", "c"))
        self.assertEqual(self.asker("--profile", "other", **home, **keys), ("OFOTHER", "ap-south-1", "c"))
        self.assertEqual(self.asker(**home, **endpoint), ("OFDEFAULT", "eu-north-1", None))
        self.assertEqual(self.asker(**endpoint), ("OFENDPOINT", "eu-north-1", "t"))

    def the_endpoint_gets_its_token(self):
        endpoint = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/role", "AWS_REGION": "eu-north-1"}
        self.asker(**endpoint, AWS_CONTAINER_AUTHORIZATION_TOKEN="of a variable")
        self.assertEqual(self.server.seen[0], ("endpoint", "/role", "of a variable"))
        path = pathlib.Path(self.home.name, "token")
        path.write_text("token of a file\n")
        self.asker(**endpoint, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
        self.assertEqual(self.server.seen[0], ("endpoint", "/role", "token of a file"))

    def an_endpoint_that_fails_is_tried_again_and_then_named(self):
        endpoint = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/role", "AWS_REGION": "eu-north-1"}
        self.server.answers = [(500, "")] * 2
        self.assertEqual(self.asker(**endpoint)[0], "OFENDPOINT")
        for answers, reason in (([(500, "")] * 3, "status 500"), ([(200, "{}")], "no AccessKeyId"), ([(200, "<html>")], "no JSON")):
            self.server.answers = answers
            status, text = self.refusal(**endpoint)
            self.assertEqual(status, 253, text)
            self.assertIn(reason, text)

    def what_is_missing_is_named(self):
        for arguments, environment, status, reason in (
            ((), {"AWS_REGION": "eu-west-1"}, 253, "Unable to locate credentials"),
            ((), {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "eu-west-1"}, 253, "missing: AWS_SECRET_ACCESS_KEY"),
            ((), {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "very secret"}, 253, "You must specify a region"),
            (("--profile", "none"), {"HOME": self.home.name}, 255, "The config profile (none) could not be found"),
            (("--region", "eu west"), {"HOME": self.home.name}, 255, "doesn't match a supported format"),
            (("--endpoint-url", "nonsense"), {"HOME": self.home.name}, 252, "scheme is missing"),
            (("--ca-bundle", "missing.pem"), {"HOME": self.home.name}, 255, "missing.pem"),
        ):
            with self.subTest(arguments=arguments, environment=environment):
                found, text = self.refusal(*arguments, **environment)
                self.assertEqual(found, status, text)
                self.assertIn(reason, text)
