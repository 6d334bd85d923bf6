"""The same command lines by the AWS CLI and by coshell's `aws`: the same output, the same status, the same effect.

The files in commands/ have a command line on each line, as a shell would read it, without its first word `aws`. Before it may stand
`NAME=value` for the environment, `status` if the text depends on the version, `unordered` if its order does, `VARIABLE<PATH` to keep a part of the result, by JMESPath, for `$VARIABLE` in later lines, and `<text`
for the standard input.
"""

import concurrent.futures
import io
import json
import os
import pathlib
import re
import shlex
import string
import subprocess
import tempfile
import unittest
import zipfile

import jmespath

from cloud import Cloud, OurCli, RealCli, environment

COMMANDS = pathlib.Path(__file__).parent / "commands"
SIDES = {"aws-cli": RealCli, "coshell": OurCli}
# What differs from run to run, or from botocore to botocore.
MASKS = [
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b(\d{1,3}[.-]){3}\d{1,3}\b", "ADDRESS"),
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "ADDRESS"),
    (r"\b(i|vol|vpc|subnet|sg|snap|ami|eni|eni-attach|r|eipassoc|eipalloc|reservation)-[0-9a-f]{8,17}\b", "ID"),
    (r"\b1[0-9]{9}(\.[0-9]+)?\b", "SECONDS"),
    (r"\b1[0-9]{12}\b", "MILLISECONDS"),
    # Newer versions of the AWS CLI have these two, and then also print a result that has nothing else.
    (r'(?<=\n)    "(RequestCharged": null|Prefix": "[^"\n]*"),?\n', ""),
    (r",\n}", "\n}"),
    (r"^{\n}\n$", ""),
]


def zipped(name, text):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr(zipfile.ZipInfo(name), text)
    return archive.getvalue()


FILES = {
    "function.zip": zipped("function.sh", "handler() { :; }"),
    "item.json": b'{"id": {"S": "b"}, "n": {"N": "2"}, "list": {"L": [{"S": "x"}, {"BOOL": true}, {"NULL": true}]}}',
    "mail.txt": b"From: a@example.org\r\nTo: b@example.org\r\nSubject: s\r\n\r\nbody\r\n",
    "hello.txt": b"hello\n",
    "bytes.bin": bytes(range(256)),
    "config": b"[default]\n[profile text]\noutput = text\nregion = eu-west-1\n",
}


def masked(text):
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    return text


def sorted_result(result):
    status, output, errors = result
    return status, json.dumps(json.loads(output), sort_keys=True, indent=4), errors


class Step:
    """One line of a file."""

    def __init__(self, line):
        self.line = line
        self.environment, self.keep, self.input, self.compares = {}, [], "", "all"
        words = shlex.split(line)
        while words:
            if match := re.fullmatch(r"([A-Z][A-Z_]+)=(.*)", words[0]):
                self.environment[match[1]] = match[2]
            elif match := re.fullmatch(r"([A-Z]+)<(.+)", words[0]):
                self.keep.append((match[1], match[2]))
            elif match := re.fullmatch(r"<(.*)", words[0], re.DOTALL):
                self.input = match[1]
            elif words[0] in ("status", "unordered"):
                self.compares = words[0]
            else:
                break
            words = words[1:]
        self.words = words

    def run(self, cli, cloud, folder, variables):
        words = [string.Template(word).safe_substitute(variables) for word in self.words]
        given = {name: value.replace("ENDPOINT", cloud.url) for name, value in self.environment.items()}
        if "--endpoint-url" not in words and "AWS_ENDPOINT_URL" not in given:
            words = ["--endpoint-url", cloud.url, *words]
        status, output, errors = cli.run(words, folder, given, self.input)
        for name, path in self.keep:
            variables[name] = jmespath.search(path, json.loads(output or "null"))
        # A kept value is one that differs.
        for name, value in variables.items():
            output = output.replace(value, f"${name}") if value else output
        return status, output, errors


def steps_of(path):
    lines = path.read_text().splitlines()
    return [Step(line) for line in lines if line and not line.startswith("#")]


def run_all(cli, cloud, path):
    """Runs a file of command lines, and returns what came of each, and the files that are there then."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file, content in FILES.items():
            (folder / file).write_bytes(content)
        variables = {}
        results = [step.run(cli, cloud, folder, variables) for step in steps_of(path)]
        files = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
        return results, {name: content for name, content in files.items() if FILES.get(name) != content}


def prepare(cloud):
    """Makes what the command lines need, and what they cannot make."""
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                                                     "Action": "sts:AssumeRole"}]}
    iam = cloud.client("iam")
    iam.create_role(RoleName="role", AssumeRolePolicyDocument=json.dumps(trust))
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    iam.put_role_policy(RoleName="role", PolicyName="inline", PolicyDocument=policy)
    iam.create_policy(PolicyName="policy", PolicyDocument=policy)
    cloud.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=2, MaxCount=2, InstanceType="t3.micro")
    machine = {"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}}
    cloud.client("stepfunctions").create_state_machine(name="machine", definition=json.dumps(machine),
                                                       roleArn="arn:aws:iam::123456789012:role/role")
    ecs = cloud.client("ecs")
    ecs.create_cluster(clusterName="cluster")
    ecs.register_task_definition(family="task", containerDefinitions=[{"name": "c", "image": "i", "memory": 10}])
    ecs.create_service(cluster="cluster", serviceName="service", taskDefinition="task", desiredCount=1)
    cloud.client("kinesis").create_stream(StreamName="stream", ShardCount=1)
    cloud.client("kms").create_alias(AliasName="alias/key", TargetKeyId=cloud.client("kms").create_key()["KeyMetadata"]["KeyId"])


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.clouds = {side: Cloud() for side in SIDES}
        paths = sorted(COMMANDS.glob("*.txt"))
        for cloud in cls.clouds.values():
            cloud.wait()
            prepare(cloud)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            # Two of each, so that two processors have work.
            lots = [(side, paths[half::2]) for side in SIDES for half in (0, 1)]
            done = pool.map(lambda lot: cls.run_lot(*lot), lots)
            cls.results = {key: result for results in done for key, result in results.items()}

    @classmethod
    def run_lot(cls, side, paths):
        cli = SIDES[side](sorted({step.words[0] for path in paths for step in steps_of(path)}))
        try:
            return {(side, path.stem): run_all(cli, cls.clouds[side], path) for path in paths}
        finally:
            cli.stop()

    @classmethod
    def tearDownClass(cls):
        for cloud in cls.clouds.values():
            cloud.stop()

    def compare(self, path):
        (expected, expected_files), (got, got_files) = (self.results[side, path.stem] for side in SIDES)
        for step, theirs, ours in zip(steps_of(path), expected, got):
            with self.subTest(step.line):
                self.assertEqual(ours[0], theirs[0], f"{theirs[2]}\n{ours[2]}")
                if step.compares == "unordered":
                    ours, theirs = (sorted_result(side) for side in (ours, theirs))
                if step.compares != "status":
                    self.assertEqual(masked(ours[1]), masked(theirs[1]))
                if theirs[0] == 254 and step.compares != "status":
                    self.assertEqual(masked(ours[2]), masked(theirs[2]))
                else:
                    self.assertEqual(bool(ours[2]), bool(theirs[2]), ours[2])
        self.assertEqual(got_files, expected_files)


def remains(cloud):
    """What the command lines have left behind, as boto3 reads it."""
    s3, tables, parameters = (cloud.client(service) for service in ("s3", "dynamodb", "ssm"))
    objects = {}
    for bucket in s3.list_buckets()["Buckets"]:
        for found in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            place = {"Bucket": bucket["Name"], "Key": found["Key"]}
            answer = s3.get_object(**place)
            objects[bucket["Name"], found["Key"]] = (
                answer["Body"].read(), answer["ContentType"], answer.get("CacheControl"), answer["Metadata"],
                s3.get_object_tagging(**place)["TagSet"],
            )
    items = sorted(tables.scan(TableName="things")["Items"], key=str)
    pages = parameters.get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True, WithDecryption=True)
    values = {found["Name"]: (found["Value"], found["Type"]) for page in pages for found in page["Parameters"]}
    return {"objects": objects, "items": items, "parameters": values,
            "secret": cloud.client("secretsmanager").get_secret_value(SecretId="app/secret")["SecretString"]}


class Commands(Case):
    def a_body_goes_behind_what_standard_output_has_already(self):
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/output", "w+b", buffering=0) as output:
            output.write(b"before\n")
            command = [os.environ["TOOLS_PROGRAM"], "run", "aws", "--endpoint-url", self.clouds["coshell"].url, "s3api", "get-object",
                       "--bucket", "bucket-one", "--key", "a/hello.txt", "/dev/stdout", "--query", "ContentLength"]
            subprocess.run(command, stdout=output, check=True, env=environment(pathlib.Path(folder), {}))
            output.seek(0)
            self.assertEqual(output.read(), b"before\nhello\n6\n")

    def boto3_reads_the_same_of_both(self):
        theirs, ours = (remains(self.clouds[side]) for side in SIDES)
        self.assertEqual(ours, theirs)
        self.assertEqual(ours["objects"]["bucket-one", "a b/ü&<x>+"][0], FILES["hello.txt"])
        self.assertEqual(ours["parameters"]["/app/secret"], ("s3cr3t", "SecureString"))
        self.assertGreaterEqual(len(ours["items"]), 4)

    def there_are_enough_of_them(self):
        self.assertGreaterEqual(sum(len(steps_of(path)) for path in COMMANDS.glob("*.txt")), 120)


def comparison(path):
    return lambda self: self.compare(path)


for one in sorted(COMMANDS.glob("*.txt")):
    setattr(Commands, f"those_of_{one.stem}_do_the_same", comparison(one))
