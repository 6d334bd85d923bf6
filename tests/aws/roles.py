"""Credentials that somebody else gives: roles of STS, IAM Identity Center, a program. The same requests as botocore sends."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
import urllib.parse

import served

COMMAND = [os.environ["TOOLS_PROGRAM"], "run", "aws", "ssm", "get-parameter", "--name", "n"]
BOTOCORE = """
import sys, botocore.session
session = botocore.session.Session(profile=sys.argv[1] if len(sys.argv) > 1 else None)
session.create_client('ssm').get_parameter(Name='n')
"""
NOW = datetime.datetime.now(datetime.timezone.utc)
ROLE = "arn:aws:iam::123456789012:role/"
CONFIG = f"""\
[default]
region = eu-west-3
[profile role]
role_arn = {ROLE}one
source_profile = user
role_session_name = mine
external_id = shared & secret
duration_seconds = 1800
region = ap-south-1
[profile role-of-a-role]
role_arn = {ROLE}two
source_profile = role
role_session_name = second
[profile own]
role_arn = {ROLE}own
source_profile = own
role_session_name = my-o
aws_access_key_id = OFOWN
aws_secret_access_key = hidden/key
[profile of-variables]
role_arn = {ROLE}three
credential_source = Environment
role_session_name = my-v
[profile of-container]
role_arn = {ROLE}four
credential_source = EcsContainer
role_session_name = my-c
[profile web]
role_arn = {ROLE}web
web_identity_token_file = TOKEN
role_session_name = my-w
[profile sso]
sso_session = work
sso_account_id = 123456789012
sso_role_name = Reader
[sso-session work]
sso_region = eu-central-1
sso_start_url = https://work.awsapps.com/start
[profile old-sso]
sso_region = eu-central-1
sso_start_url = https://old.awsapps.com/start
sso_account_id = 123456789012
sso_role_name = Old role
[profile role-of-sso]
role_arn = {ROLE}five
source_profile = sso
role_session_name = my-s
[profile process]
credential_process = PROGRAM "an argument"
[profile ended]
sso_session = ended
sso_account_id = 123456789012
sso_role_name = Reader
[sso-session ended]
sso_region = eu-central-1
sso_start_url = https://ended.awsapps.com/start
[profile mfa]
role_arn = {ROLE}six
source_profile = user
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile circle]
role_arn = {ROLE}seven
source_profile = round
[profile round]
role_arn = {ROLE}eight
source_profile = circle
[profile instance]
role_arn = {ROLE}nine
credential_source = Ec2InstanceMetadata
[profile failing]
credential_process = false
[profile talking]
credential_process = echo hidden/key
[profile no-source]
role_arn = {ROLE}ten
source_profile = nobody
"""
CREDENTIALS = """\
[user]
aws_access_key_id = OFUSER
aws_secret_access_key = hidden/key
"""
ANSWER = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>
<AccessKeyId>{1}</AccessKeyId><SecretAccessKey>hidden/key</SecretAccessKey><SessionToken>token of {1}</SessionToken>
<Expiration>{2}</Expiration></Credentials></{0}Result></{0}Response>"""


def later(**how_much):
    return (NOW + datetime.timedelta(**how_much)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Handler(served.Handler):
    """STS, the portal of IAM Identity Center, the endpoint of a container, and Systems Manager."""

    def key(self):
        signature = self.headers.get("Authorization") or ""
        return signature.split("Credential=")[1].split("/")[0:3:2] if "Credential=" in signature else None

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = sorted(urllib.parse.parse_qsl(url.query))
        self.server.seen.append((url.path, query, self.headers.get("x-amz-sso_bearer_token"), self.key()))
        if url.path == "/federation/credentials":
            end = round((NOW + datetime.timedelta(hours=1)).timestamp() * 1000)
            found = {"accessKeyId": "OFSSO", "secretAccessKey": "hidden/key", "sessionToken": "token of OFSSO", "expiration": end}
            self.answer(200, json.dumps({"roleCredentials": found}))
        else:
            self.answer(200, json.dumps({"AccessKeyId": "OFCONTAINER", "SecretAccessKey": "hidden/key", "Token": "t", "Expiration": later(hours=1)}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        token = self.headers.get("X-Amz-Security-Token")
        if self.headers.get("X-Amz-Target"):
            self.server.seen.append(("AmazonSSM", self.key(), token))
            self.answer(200, '{"Parameter": {"Value": "v"}}')
            return
        form = dict(urllib.parse.parse_qsl(body))
        self.server.seen.append((sorted(form.items()), self.key(), token))
        if self.server.refuses:
            self.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>")
            return
        name = "OF" + form["RoleArn"].rsplit("/")[1].upper() + "0" * 12
        self.answer(200, ANSWER.format(form["Action"], name, later(hours=1)))


class Case(served.Served):
    handler = Handler

    def setUp(self):
        super().setUp()
        self.server.refuses = False
        self.write("token", "hidden/token")
        program = self.write("program", f"""#!/bin/sh
[ "$1" = 'an argument' ] && echo '{{"Version": 1, "AccessKeyId": "OFPROGRAM", "SecretAccessKey": "hidden/key", "Expiration": "{later(hours=1)}"}}'
""")
        program.chmod(0o755)
        self.write(".aws/config", CONFIG.replace("TOKEN", f"{self.home.name}/token").replace("PROGRAM", str(program)))
        self.write(".aws/credentials", CREDENTIALS)
        for name, end in (("work", later(hours=8)), ("https://old.awsapps.com/start", later(hours=8)), ("ended", later(hours=-1))):
            text = json.dumps({"accessToken": f"hidden/of {name}", "expiresAt": end, "region": "eu-central-1"})
            self.write(f".aws/sso/cache/{hashlib.sha1(name.encode()).hexdigest()}.json", text)

    def run_one(self, command, environment):
        self.server.seen.clear()
        given = {"PATH": os.environ["PATH"], "HOME": self.home.name, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "eu-west-3",
                 **environment}
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)
        return done, list(self.server.seen)

    def ours(self, profile=None, **environment):
        done, seen = self.run_one([*COMMAND, *(["--profile", profile] if profile else [])], environment)
        self.assertNotIn("hidden", done.stdout + done.stderr)
        return done, seen


class Roles(Case):
    def the_requests_are_those_of_botocore(self):
        keys = {"AWS_ACCESS_KEY_ID": "OFVARIABLES", "AWS_SECRET_ACCESS_KEY": "hidden/key", "AWS_SESSION_TOKEN": "s"}
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/container"}
        web = {"AWS_ROLE_ARN": ROLE + "pod", "AWS_WEB_IDENTITY_TOKEN_FILE": f"{self.home.name}/token", "AWS_ROLE_SESSION_NAME": "pod"}
        for profile, environment, asker in (
            ("role", {}, "OFONE"), ("role", keys, "OFONE"), (None, {"AWS_PROFILE": "role"}, "OFONE"),
            (None, {"AWS_PROFILE": "role", **keys}, "OFVARIABLES"), ("role-of-a-role", {}, "OFTWO"), ("own", {}, "OFOWN0"),
            ("of-variables", keys, "OFTHREE"), ("of-container", container, "OFFOUR"), ("web", {}, "OFWEB"), (None, web, "OFPOD"),
            (None, {**web, **keys}, "OFVARIABLES"), ("role", web, "OFONE"), ("sso", {}, "OFSSO"), ("old-sso", {}, "OFSSO"),
            ("role-of-sso", {}, "OFFIVE"), ("process", {}, "OFPROGRAM"), ("user", {}, "OFUSER"),
        ):
            with self.subTest(profile=profile, environment=environment):
                arguments = [profile] if profile else []
                done, expected = self.run_one([sys.executable, "-c", BOTOCORE, *arguments], environment)
                self.assertEqual(done.returncode, 0, done.stderr)
                done, seen = self.ours(profile, **environment)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(seen, expected)
                self.assertTrue(seen[-1][1][0].startswith(asker), seen)

    def what_a_profile_lacks_is_named(self):
        for profile, status, reason in (
            ("ended", 253, "aws sso login --profile ended"), ("mfa", 253, "it has mfa_serial"), ("circle", 253, "source_profile"),
            ("instance", 253, "Ec2InstanceMetadata"), ("failing", 253, "ended with exit status: 1"), ("talking", 253, "is no JSON"),
            ("of-variables", 253, "the source of its role has no credentials"), ("no-source", 255, "The config profile (nobody) could not be found"),
        ):
            with self.subTest(profile=profile):
                done, _ = self.ours(profile)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(reason, done.stderr)

    def a_role_that_sts_refuses_is_an_error(self):
        self.server.refuses = True
        done, seen = self.ours("role")
        self.assertEqual((done.returncode, done.stderr.strip()), (254, "An error occurred (AccessDenied) when calling the AssumeRole operation: not you"))
        self.assertEqual(len(seen), 1)

    def a_role_is_requested_once_and_for_each_user_anew(self):
        function = """handler() {
  lambda_aws -v answer ssm GetParameter '{"Name": "n"}'
  lambda_aws -v answer ssm GetParameter '{"Name": "n"}'
  AWS_CONFIG_FILE=$LAMBDA_TASK_ROOT/other lambda_aws -v answer ssm GetParameter '{"Name": "n"}'
  export AWS_SHARED_CREDENTIALS_FILE=$LAMBDA_TASK_ROOT/others
  lambda_aws -v answer ssm GetParameter '{"Name": "n"}'
}"""
        folder = self.write("function.sh", function).parent
        self.write("other", f"[profile role]\nrole_arn = {ROLE}another\nsource_profile = user\nrole_session_name = mine\n")
        self.write("others", CREDENTIALS.replace("OFUSER", "OFSOMEBODY"))
        command = [os.environ["COSHELL"], "invoke", "function.handler", "--task-root", str(folder), "--event", "{}"]
        done, seen = self.run_one(command, {"AWS_PROFILE": "role"})
        self.assertEqual(done.returncode, 0, done.stderr)
        requested = [(dict(form)["RoleArn"].rsplit("/")[1], key[0]) for form, key, _ in seen if form != "AmazonSSM"]
        self.assertEqual(requested, [("one", "OFUSER"), ("another", "OFUSER"), ("one", "OFSOMEBODY")], done.stderr)
        self.assertEqual([one[0] for one in seen].count("AmazonSSM"), 4)

    def serve_and_invoke_use_the_profiles_of_their_user(self):
        folder = self.write("function.sh", """handler() { aws ssm get-parameter --name n >&2; echo "$AWS_REGION ${HOME-no home}"; }""").parent
        command = [os.environ["COSHELL"], "invoke", "function.handler", "--task-root", str(folder), "--event", "{}"]
        for profile, region, asker in (("role", "ap-south-1", "OFONE"), ("sso", "us-east-1", "OFSSO")):
            with self.subTest(profile=profile):
                done, seen = self.run_one(command, {"AWS_PROFILE": profile, "AWS_DEFAULT_REGION": "", "COSHELL_COMMANDS": "aws"})
                self.assertEqual((done.returncode, done.stdout), (0, f"{region} no home"), done.stderr)
                key, where = seen[-1][1]
                self.assertTrue(key.startswith(asker), seen)
                self.assertEqual(where, region)
