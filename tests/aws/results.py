"""What the AWS CLI and coshell's `aws` print on one moto: times in the caller's zone, and refusals after all tries."""

import http.server
import os
import pathlib
import subprocess
import threading
import unittest

from cloud import LIMIT, Cloud, OurCli, RealCli, environment

SIDES = {"aws-cli": RealCli, "coshell": OurCli}
SERVICES = ["secretsmanager", "ssm", "dynamodb", "sqs", "iam", "s3api"]
PROGRAMS = {"aws": "aws", "aws-request": "lambda_aws"}
ZONES = ["UTC", "Asia/Tokyo", "America/St_Johns", "IST-5:30", "EST5EDT,M3.2.0,M11.1.0", ""]


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.clis = {side: cli(SERVICES) for side, cli in SIDES.items()}

    @classmethod
    def tearDownClass(cls):
        for cli in cls.clis.values():
            cli.stop()

    def _both(self, url, words, given):
        words = ["--endpoint-url", url, *words]
        return [cli.run(words, pathlib.Path("/"), given, "") for cli in self.clis.values()]


class Times(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = Cloud()
        cls.cloud.wait()
        cls.cloud.client("secretsmanager").create_secret(Name="name", SecretString="value")
        cls.cloud.client("ssm").put_parameter(Name="/name", Value="value", Type="String")
        cls.cloud.client("iam").create_user(UserName="user")
        cls.cloud.client("s3").create_bucket(Bucket="bucket")
        cls.cloud.client("dynamodb").create_table(
            TableName="table", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])

    @classmethod
    def tearDownClass(cls):
        cls.cloud.stop()
        super().tearDownClass()

    def times_are_those_of_the_zone_where_the_service_gives_none(self):
        for command in (
            "secretsmanager describe-secret --secret-id name --query CreatedDate",
            "ssm get-parameter --name /name --query Parameter.LastModifiedDate",
            "dynamodb describe-table --table-name table --query Table.CreationDateTime",
            "iam get-user --user-name user --query User.CreateDate",
            "s3api list-buckets --query Buckets[].CreationDate",
        ):
            for zone in ZONES:
                with self.subTest(command, zone=zone):
                    theirs, ours = self._both(self.cloud.url, command.split(), {"TZ": zone})
                    self.assertEqual(theirs[0], 0, theirs[2])
                    self.assertEqual(ours, theirs)


    def an_output_that_cannot_be_written_is_an_error(self):
        commands = [
            ("aws", "sts get-caller-identity", 255),
            ("aws", "sts get-caller-identity --output text", 255),
            ("aws", "--version", 255),
            ("aws", "s3 ls", 1),
            ("aws", "s3 presign s3://bucket/key", 1),
            ("aws-request", "sts GetCallerIdentity", 255),
        ]
        given = {**environment(pathlib.Path("/"), {}), "AWS_ENDPOINT_URL": self.cloud.url}
        for command, words, status in commands:
            with self.subTest(words), open("/dev/full", "w") as full:
                done = subprocess.run([os.environ["TOOLS_PROGRAM"], "run", command, *words.split()], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=LIMIT, env=given)
                self.assertEqual((done.returncode, done.stderr.strip()),
                                 (status, f"{PROGRAMS[command]}: cannot write the output: No space left on device (os error 28)"))

    def what_may_be_a_secret_is_not_in_an_error(self):
        for words in (["-H", "Auth S3cret", "s3", "x"], ["-q", "S3cret", "s3", "x"], ["sts", "GetCallerIdentity", "{}", "S3cret"]):
            with self.subTest(words):
                done = subprocess.run([os.environ["TOOLS_PROGRAM"], "run", "aws-request", *words], capture_output=True, text=True,
                                      timeout=LIMIT, env=environment(pathlib.Path("/"), {}))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("expected", done.stderr)
                self.assertNotIn("S3cret", done.stderr)


class Refusals(Case):
    def the_text_says_how_often_the_request_was_tried_again(self):
        class Refusing(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
                if "GetParameters" in self.headers["X-Amz-Target"]:
                    body = b'{"__type": "InvalidKeyId", "message": "no"}'
                self.send_response(400)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = "http://127.0.0.1:%d" % server.server_port
            for command in ("ssm get-parameter --name x", "ssm get-parameters --names x"):
                for attempts in ("", "1", "2"):
                    with self.subTest(command, attempts=attempts):
                        given = {"AWS_MAX_ATTEMPTS": attempts} if attempts else {}
                        theirs, ours = self._both(url, command.split(), given)
                        self.assertEqual(theirs[0], 254, theirs[2])
                        self.assertEqual(ours, theirs)
            server.shutdown()
