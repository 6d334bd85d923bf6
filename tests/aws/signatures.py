"""Signatures, checked by botocore: a server signs each request that it gets once more, and compares."""

import datetime
import http.server
import os
import random
import re
import subprocess
import threading
import unittest
import unittest.mock
import urllib.parse

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

COMMAND = [os.environ["TOOLS_PROGRAM"], "run", "aws-request"]
REGION = "eu-central-1"
SEED = 4
REQUESTS = 150


def signed_again(method, url, headers, body, credentials):
    """The header that botocore makes for this request."""
    claimed = headers["Authorization"]
    service = claimed.split("/")[3]
    names = re.search("SignedHeaders=([^,]*)", claimed)[1].split(";")
    made = {"host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
    kept = {name: headers[name] for name in names if name not in made}
    request = AWSRequest(method, url, kept, body)
    moment = datetime.datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    if service == "s3":
        request.context["payload_signing_enabled"] = True
    with unittest.mock.patch("botocore.auth.get_current_datetime", lambda **_: moment.replace(tzinfo=None)):
        kind(credentials, service, REGION).add_auth(request)
    return request.headers["Authorization"]


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = f"http://{self.headers['Host']}{self.path}"
        self.server.pairs.append((self.path, self.headers["Authorization"],
                                  signed_again(self.command, url, self.headers, body, self.server.credentials)))
        self.send_response(200)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def send(self, arguments, token, body):
        credentials = Credentials("AKIAEXAMPLE", "se/cr+et", token)
        self.server.credentials, self.server.pairs = credentials, []
        given = {"AWS_ACCESS_KEY_ID": credentials.access_key, "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
                 "AWS_SESSION_TOKEN": token or "", "AWS_REGION": REGION, "PATH": os.environ["PATH"],
                 "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}"}
        done = subprocess.run([*COMMAND, *arguments], input=body, capture_output=True, timeout=60, env=given)
        self.assertEqual(done.returncode, 0, done.stderr)
        ((_, ours, theirs),) = self.server.pairs
        self.assertEqual(ours, theirs, arguments)


class Signatures(Case):
    def requests_with_paths_are_signed_as_botocore_does(self):
        chance = random.Random(SEED)
        texts = ["a", "b c", "ä", "~._-", "x+y", "100%", "=&", "a:b", "", "'(!)*", "日本", "A", "a=b"]
        for _ in range(REQUESTS):
            service = chance.choice(["s3", "lambda", "apigatewaymanagementapi", "iot-data"])
            parts = [chance.choice(texts) or "e" for _ in range(chance.randrange(4))]
            # The server makes one slash of two at the beginning.
            if service == "s3" and parts and chance.random() < 0.3:
                parts += ["", ".."]
            path = "/" + "/".join(urllib.parse.quote(part, safe="~") for part in parts)
            arguments = ["--method", chance.choice(["GET", "PUT", "POST", "DELETE"]), "--path", path]
            for _ in range(chance.randrange(4)):
                arguments += ["--query", f"{chance.choice(['a', 'B', 'c-d', 'ä x'])}={chance.choice(texts)}"]
            for number in range(chance.randrange(3)):
                arguments += ["--header", f"x-amz-meta-{number}: {chance.choice(['one', 'two  words', 'three'])}"]
            body = chance.choice(texts).encode()
            token = chance.choice([None, "a/token+=="])
            with self.subTest(arguments=arguments, service=service):
                self.send([*arguments, service, "-"], token, body)

    def operations_are_signed_as_botocore_does(self):
        for service, operation, parameters in (("ssm", "GetParameter", '{"Name":"ä"}'), ("sts", "AssumeRole", '{"RoleArn":"a b","Tags":[{"Key":"k"}]}'),
                                               ("ec2", "DescribeInstances", '{"InstanceId":["i-1","i-2"]}'), ("sqs", "SendMessage", "{}")):
            with self.subTest(service=service):
                self.send([service, operation, "-"], "token", parameters.encode())
