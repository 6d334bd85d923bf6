"""The commands of `aws s3` by the AWS CLI and by coshell: the same output, the same status, the same objects and files.

The files in s3/ have command lines in the form that commands.py describes. Lines about progress are left out, and the order of the
lines of several transfers does not count; that of warnings does.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.request

from cloud import LIMIT, Cloud, OurCli, RealCli, environment
from commands import masked, steps_of

COMMANDS = pathlib.Path(__file__).parent / "s3"
SIDES = {"aws-cli": RealCli, "coshell": OurCli}
MIB = 1024 * 1024
BIG = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(17 * MIB // 32)) + b"end"
# Before all objects, and behind them.
OLD, NEW = time.time() - 1_000_000, time.time() + 1_000_000
FILES = {
    "hello.txt": b"hello\n",
    "page.html": b"<p>",
    "data.tar.gz": b"no archive",
    "empty": b"",
    "big.bin": BIG,
    "data/a.json": b"{}",
    "data/b/c.txt": b"c",
    "data/b/d.json": b"[1]",
    "data/b/e.bin": bytes(range(256)),
    "data/b.txt": b"b",
    "data/.hidden": b"hidden",
    "data/with space+plus%.txt": b"spaces",
    "data/\u00fcn\u00ef.txt": b"umlauts",
    "odd/file": b"x",
    "older/a.json": b"{}",
    "newer/b.txt": b"!",
    "newer/.hidden": b"hidde2",
    "config": b"[default]\n[profile parts]\ns3 =\n    multipart_threshold = 6MB\n    multipart_chunksize = 5MB\n    max_concurrent_requests = 3\n",
}
STRANGE = ["esc/../../outside.txt", "esc/a/../b.txt", "esc//double.txt", "esc/x y+z%20&.txt", "esc/\u00fcn\u00ef/t\u0001\t.txt",
           "end/..", "esc/folder/", "marked/", "marked/x", "../top"]
MASKS = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    # Debian's version says how often it tried.
    (r"\breal-aws: ", "aws: "),
    # The file that is written beside a target.
    (r"\.[0-9A-Fa-f]{8}'", ".RANDOM'"),
]
PROPERTIES = ["ContentType", "Metadata", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding", "Expires",
              "StorageClass", "ServerSideEncryption", "SSEKMSKeyId", "WebsiteRedirectLocation", "ETag"]

# The objects whose access is set.
ACCESS = ["k", "acl", "grants", "below/b.txt"]


def make_files(folder):
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        seconds = NEW if name.startswith("newer") else OLD
        os.utime(path, (seconds, seconds))
    (folder / "odd/link").symlink_to("file")
    for name in ("broken", "lost", "gone", "data.txt"):
        (folder / "odd" / name).symlink_to("nowhere")
    (folder / "odd/folder-link").symlink_to("../data/b")
    os.mkfifo(folder / "odd/pipe")


def prepare(client):
    client.create_bucket(Bucket="strange")
    for key in STRANGE:
        client.put_object(Bucket="strange", Key=key, Body=b"" if key.endswith("/") else b"strange")


def plain(text):
    """A text without progress, and with the lines of transfers in order."""
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in masked(text).split("\n")]
    lines = [line for line in lines if not re.match(r"Completed .* remaining", line)]
    is_transfer = re.compile(r"(\(dryrun\) )?(upload|download|copy|delete|move)( failed)?: ")
    transfers = sorted(line for line in lines if is_transfer.match(line))
    return "\n".join(transfers + [line for line in lines if not is_transfer.match(line)]).strip("\n")


def files_below(folder):
    """The content of all files; those that are downloads have no times that both sides share."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def objects_of(client, bucket):
    """All that can be read of the objects, and the uploads that were left behind."""
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", []):
            named = {"Bucket": bucket, "Key": one["Key"]}
            if one["StorageClass"] == "GLACIER":
                found[one["Key"]] = one["Size"]
                continue
            about = client.get_object(**named)
            # moto fails to tell about objects of several parts.
            grants = client.get_object_acl(**named)["Grants"] if one["Key"] in ACCESS else []
            found[one["Key"]] = {
                **{name: about.get(name) for name in PROPERTIES},
                "content": hashlib.sha256(about["Body"].read()).hexdigest(),
                "tags": client.get_object_tagging(**named)["TagSet"],
                "grants": sorted(str(grant) for grant in grants),
            }
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found, len(uploads)


def run_file(side, cloud, path):
    """Runs a file of command lines, and returns what came of each."""
    cli = SIDES[side](["s3"])
    client = cloud.client("s3")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / "of" / "caller"
            folder.mkdir(parents=True)
            make_files(folder)
            results = []
            for step in steps_of(path):
                results.append(step.run(cli, cloud, folder, {}))
                if step.line == "s3 mb s3://one":
                    client.put_object(Bucket="one", Key="tagged", Body=BIG, Tagging="a=b&c%20d=e%3Df")
                    client.put_object(Bucket="one", Key="archived", Body=b"old", StorageClass="GLACIER")
            texts = [(status, *(text.replace(str(folder), "FOLDER") for text in rest)) for status, *rest in results]
            return texts, files_below(pathlib.Path(name))
    finally:
        cli.stop()


class Case(unittest.TestCase):
    maxDiff = 4000

    sides = tuple(SIDES)

    @classmethod
    def setUpClass(cls):
        cls.clouds = {side: Cloud() for side in cls.sides}
        for cloud in cls.clouds.values():
            cloud.wait()
            prepare(cloud.client("s3"))

    @classmethod
    def tearDownClass(cls):
        for cloud in cls.clouds.values():
            cloud.stop()


class S3Commands(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keys = [(side, path) for side in SIDES for path in sorted(COMMANDS.glob("*.txt"))]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = pool.map(lambda key: run_file(key[0], cls.clouds[key[0]], key[1]), keys)
            cls.results = dict(zip(((side, path.stem) for side, path in keys), done))

    def _compare(self, path):
        (expected, expected_files), (got, got_files) = (self.results[side, path.stem] for side in SIDES)
        for step, theirs, ours in zip(steps_of(path), expected, got):
            with self.subTest(step.line):
                self.assertEqual(ours[0], theirs[0], f"{theirs[2]}\n{ours[2]}")
                if step.compares != "status":
                    self.assertEqual(plain(ours[1]), plain(theirs[1]))
                    self.assertEqual(plain(ours[2]), plain(theirs[2]))
        self.assertEqual(got_files, expected_files)

    def there_are_enough_of_them(self):
        self.assertGreaterEqual(sum(len(steps_of(path)) for path in COMMANDS.glob("*.txt")), 60)

    def objects_are_the_same(self):
        theirs, ours = (self.clouds[side].client("s3") for side in SIDES)
        buckets = [sorted(one["Name"] for one in client.list_buckets()["Buckets"]) for client in (theirs, ours)]
        self.assertEqual(*buckets)
        self.assertIn("one", buckets[0])
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = [list(pool.map(objects_of, [client] * len(buckets[0]), buckets[0])) for client in (theirs, ours)]
        for bucket, (expected, expected_uploads), (got, uploads) in zip(buckets[0], *found):
            self.assertEqual(sorted(got), sorted(expected))
            self.assertEqual((uploads, expected_uploads), (0, 0))
            for key, about in expected.items():
                with self.subTest(f"{bucket}/{key}"):
                    self.assertEqual(got[key], about)


def comparison(path):
    return lambda self: self._compare(path)


for one in sorted(COMMANDS.glob("*.txt")):
    setattr(S3Commands, f"those_of_{one.stem}_do_the_same", comparison(one))


class OneCloud(Case):
    """Both read the same objects."""

    sides = ("coshell",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = cls.clouds["coshell"]
        cls.client = cls.cloud.client("s3")
        cls.client.create_bucket(Bucket="shared")
        cls.client.put_object(Bucket="shared", Key="k/a b+\u00fc", Body=b"shared")
        cls.clis = {side: cli(["s3"]) for side, cli in SIDES.items()}

    @classmethod
    def tearDownClass(cls):
        for cli in cls.clis.values():
            cli.stop()
        super().tearDownClass()

    def _run(self, side, words, given=None, folder=pathlib.Path("/")):
        return self.clis[side].run(["--endpoint-url", self.cloud.url, *words], folder, given or {}, "")

    def times_are_those_of_the_zone(self):
        for zone in ("UTC", ":UTC", "Europe/Berlin", "America/St_Johns", "EST5EDT,M3.2.0,M11.1.0", "IST-5:30", ""):
            with self.subTest(zone):
                theirs, ours = (self._run(side, ["s3", "ls", "s3://shared", "--recursive"], {"TZ": zone}) for side in SIDES)
                self.assertEqual(ours, theirs)

    def links_are_valid(self):
        for words in (["s3://shared/k/a b+\u00fc"], ["shared/k/a b+\u00fc", "--expires-in", "60"]):
            theirs, ours = (self._run(side, ["s3", "presign", *words]) for side in SIDES)
            self.assertEqual(ours[0], 0)
            shape = [re.sub(r"\d{8}T\d{6}Z|Signature=[0-9a-f]{64}", "X", text) for text in (ours[1], theirs[1])]
            self.assertEqual(*shape)
            with urllib.request.urlopen(ours[1].strip()) as answer:
                self.assertEqual(answer.read(), b"shared")

    def downloads_have_the_time_of_the_object(self):
        modified = self.client.head_object(Bucket="shared", Key="k/a b+\u00fc")["LastModified"]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for words in (["cp", "s3://shared/k/a b+\u00fc", "x"], ["sync", "s3://shared/k", "y"]):
                self.assertEqual(self._run("coshell", ["s3", *words], folder=folder)[0], 0)
            for path in ("x", "y/a b+\u00fc"):
                self.assertEqual((folder / path).stat().st_mtime, modified.timestamp())

    def pipes_are_read_and_written(self):
        command = [os.environ["TOOLS_PROGRAM"], "run", "aws", "--endpoint-url", self.cloud.url, "s3", "cp"]
        given = environment(pathlib.Path("/"), {})
        for size in (8 * MIB - 1, 8 * MIB, len(BIG)):
            with self.subTest(size):
                put = subprocess.run([*command, "-", "s3://shared/piped"], input=BIG[:size], env=given, timeout=LIMIT, capture_output=True)
                self.assertEqual((put.returncode, put.stdout, put.stderr), (0, b"", b""))
                got = subprocess.run([*command, "s3://shared/piped", "-"], env=given, timeout=LIMIT, capture_output=True)
                self.assertEqual((got.returncode, got.stderr), (0, b""))
                self.assertTrue(got.stdout == BIG[:size])
                with tempfile.TemporaryFile() as file:
                    file.write(b"before" + BIG[:size])
                    file.flush()
                    os.lseek(file.fileno(), len(b"before"), os.SEEK_SET)
                    subprocess.run([*command, "-", "s3://shared/file"], stdin=file, env=given, timeout=LIMIT, check=True)
                self.assertTrue(self.client.get_object(Bucket="shared", Key="file")["Body"].read() == BIG[:size])
