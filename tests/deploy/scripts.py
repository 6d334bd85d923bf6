"""Runs examples/deploy/aws-cli, unchanged, against a fake AWS."""

import base64
import hashlib
import json
import platform
import subprocess
import zipfile

from cloud import ACCOUNT, BASE, EXAMPLES, LIMIT, PREFIX, PROGRAMS, REGION, Case, fetch, run
from policy import denied_needs

ECHO = EXAMPLES.parent / "echo"
ARCHITECTURE = "arm64" if platform.machine() == "aarch64" else "x86_64"
EVENT = "Hello from Container Lambda!"
TRUST = json.loads((EXAMPLES / "iam" / "trust-policy.json").read_text())
ANSWER = f"Echoing request: '{EVENT}'"


def sha256(path):
    """The checksum in Lambda's form, base64."""
    return base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()


def unpack(archive, folder):
    """Unpacks like Lambda, with the permissions in the archive."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if not entry.is_dir():
                path = folder / entry.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(opened.read(entry))
                path.chmod(entry.external_attr >> 16 & 0o777)


class Scripts(Case):
    """`publish-image`, `publish-zip`, `publish-layer`."""

    def setUp(self):
        fetch(f"{self.cloud.url}/moto-api/reset", b"")
        self.user_environment = self.environment()
        self.expected_denials = []

    def tearDown(self):
        # The policy in the guide must allow every call of a script.
        self.assertEqual([action for action, *_ in denied_needs(self.calls())], self.expected_denials)

    def _publish(self, script, *arguments, **options):
        """Runs a script that must succeed. Returns its output, an ARN."""
        program = EXAMPLES / "aws-cli" / f"publish-{script}"
        return run([program, *arguments], env=self.user_environment, **options).strip()

    def _function(self, name):
        """The function as moto has it now."""
        return self.cloud.backend("lambda").get_function(name)

    def _image(self, name):
        """Makes sure that the image of this function is removed after the test. Returns the name."""
        self.forget_image(f"{self.cloud.registry}/{name}")
        return name

    def _image_folder(self, response):
        """A build context for `publish-image`."""
        folder = self.folder({"function.sh": f"handler() {{ printf '%s' {response}; }}\n"})
        arguments = ["coshell", "package", folder / "function.sh", "--handler", "function.handler"]
        run([*arguments, "--image-context", folder / "image"], env=self.user_environment)
        return folder / "image"

    def _answer_of_image(self, name, event):
        """Pulls the pushed image from the registry and invokes it. Returns the response."""
        image = self._function(name).code["ImageUri"]
        self.docker("image", "rm", "-f", image.split("@")[0])
        self.docker("pull", "-q", image)
        return self.invoke(self.container(image), event)

    def an_image_is_pushed_and_the_image_of_the_function_answers(self):
        name = self._image(PREFIX + "echo")
        folder = self._image_folder('"got $1"')
        arn = self._publish("image", name, folder, "--", "--label", "of=ours")
        self.assertEqual(arn, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
        function = self._function(name)
        self.assertEqual(function.package_type, "Image")
        self.assertEqual(function.architectures, [ARCHITECTURE])
        image = function.code["ImageUri"]
        self.assertRegex(image, f"^{self.cloud.registry}/{name}@sha256:[0-9a-f]{{64}}$")
        self.assertIn(name, self.cloud.backend("ecr").repositories)
        self.assertEqual(self._answer_of_image(name, EVENT), f"got {EVENT}")
        # Arguments behind two dashes go to Docker.
        self.assertEqual(self.docker("image", "inspect", "-f", "{{.Config.Labels.of}}", image), "ours")

    def an_image_that_is_published_again_replaces_the_first(self):
        name = self._image(PREFIX + "again")
        folder = self.folder()
        images = []
        for text in ("first", "first", "second"):
            (folder / "trial").write_text(text)
            (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY trial /trial\n")
            self._publish("image", name, folder)
            images.append(self._function(name).code["ImageUri"])
        self.assertEqual(images[0], images[1])
        self.assertNotEqual(images[1], images[2])
        self.docker("image", "rm", "-f", *set(images))
        self.docker("pull", "-q", images[2])
        self.assertEqual(self.docker("run", "--rm", "--entrypoint", "cat", images[2], "/trial"), "second")

    def _answer_of_zip(self, archive, handler, event, layer=None):
        """Unpacks the zip file, and the layer in /opt, like Lambda, and invokes the function. Returns the response."""
        task, opt = self.folder(), self.folder()
        unpack(archive, task)
        mounts = ["-v", f"{task}:/var/task:ro"]
        bootstrap = "/var/task/bootstrap"
        if layer:
            unpack(layer, opt)
            mounts += ["-v", f"{opt}:/opt:ro"]
            bootstrap = "/opt/bootstrap"
        entry = ["--entrypoint", "/usr/local/bin/aws-lambda-rie", BASE, bootstrap, handler]
        return self.invoke(self.container("--user", "993:990", "--read-only", *mounts, *entry), event)

    def a_zip_file_becomes_the_code_of_the_function_and_answers(self):
        out = self.folder() / "function.zip"
        arn = self._publish("zip", "zipped", ECHO, "--output", out)
        self.assertEqual(arn, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:zipped")
        function = self._function("zipped")
        self.assertEqual(function.run_time, "provided.al2023")
        self.assertEqual(function.handler, "function.handler")
        self.assertEqual(function.package_type, "Zip")
        self.assertEqual(function.architectures, [ARCHITECTURE])
        self.assertEqual(function.code_sha_256, sha256(out))
        role = self.cloud.backend("iam").get_role("coshell-zipped")
        self.assertEqual(function.role, role.arn)
        self.assertEqual(json.loads(role.assume_role_policy_document), TRUST)
        logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        self.assertEqual(list(role.managed_policies), [logs])
        self.assertEqual(self._answer_of_zip(out, function.handler, EVENT), ANSWER)

    def a_zip_file_that_is_published_again_changes_code_and_handler(self):
        self._publish("zip", "zipped", ECHO)
        first = self._function("zipped").code_sha_256
        files = self.folder({"other.sh": "greet() { printf 'second'; }\n"})
        out = self.folder() / "function.zip"
        self._publish("zip", "--handler", "other.greet", "--output", out, "zipped", files)
        function = self._function("zipped")
        self.assertEqual(function.handler, "other.greet")
        self.assertEqual(function.code_sha_256, sha256(out))
        self.assertNotEqual(function.code_sha_256, first)
        self.assertEqual(self._answer_of_zip(out, function.handler, "{}"), "second")

    def an_option_chooses_the_architecture(self):
        other = {"x86_64": "arm64", "arm64": "x86_64"}[ARCHITECTURE]
        # Made to look like a program of another architecture, by the field e_machine of its ELF header.
        program = bytearray((PROGRAMS / "bootstrap").read_bytes())
        program[18:20] = {"x86_64": b"\x3e\x00", "arm64": b"\xb7\x00"}[other]
        bootstrap = self.folder() / "bootstrap"
        bootstrap.write_bytes(program)
        bootstrap.chmod(0o755)
        arguments = ["--arch", other, "other", ECHO]
        self.assertIn(other, self._fails("zip", *arguments))
        self._publish("zip", *arguments, "--", "--bootstrap", bootstrap)
        self.assertEqual(self._function("other").architectures, [other])

    def a_layer_is_published_again_only_when_it_changes(self):
        tool = self.folder({"greet": "#!/bin/sh\nprintf 'tool says %s' \"$1\"\n"}) / "greet"
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:bash"
        out = self.folder() / "layer.zip"
        self.assertEqual(self._publish("layer", "bash", tool, "--output", out), f"{arn}:1")
        version = self.cloud.backend("lambda").get_layer_version("bash", 1)
        self.assertEqual(version.code_sha_256, sha256(out))
        self.assertEqual(version.compatible_runtimes, ["provided.al2023"])
        self.assertEqual(version.compatible_architectures, [ARCHITECTURE])
        self.assertEqual(self._publish("layer", "bash", tool), f"{arn}:1")
        tool.write_text("#!/bin/sh\necho changed\n")
        self.assertEqual(self._publish("layer", "bash", tool), f"{arn}:2")

    def a_function_uses_bootstrap_and_programs_of_its_layer(self):
        files = self.folder(
            {
                "tool/greet": "#!/bin/sh\nprintf 'tool says %s' \"$1\"\n",
                "code/function.sh": 'handler() { greet "$1"; }\n',
            }
        )
        layer, code = files / "layer.zip", files / "function.zip"
        arn = self._publish("layer", "bash", files / "tool" / "greet", "--output", layer)
        self._publish("zip", "layered", files / "code", "--layer", arn, "--output", code)
        function = self._function("layered")
        self.assertEqual([used["Arn"] for used in function.layers], [arn])
        with zipfile.ZipFile(code) as opened:
            self.assertEqual(opened.namelist(), ["function.sh"])
        with zipfile.ZipFile(layer) as opened:
            self.assertEqual(set(opened.namelist()) - {"bin/"}, {"bin/greet", "bootstrap"})
        answer = self._answer_of_zip(code, function.handler, "hello", layer)
        self.assertEqual(answer, "tool says hello")

    def an_option_chooses_the_role(self):
        role = f"arn:aws:iam::{ACCOUNT}:role/of-the-company"
        iam = self.cloud.backend("iam")
        iam.create_role("of-the-company", "{}", "/", None, None, [], None)
        self._publish("zip", "zipped", ECHO, "--role", role)
        # The deployer must add this right to the policy.
        self.expected_denials = ["iam:PassRole"]
        self.assertEqual(self._function("zipped").role, role)
        self.assertEqual([made.name for made in iam.get_roles()], ["of-the-company"])

    def the_script_tries_again_while_a_new_role_cannot_be_assumed(self):
        # AWS fails like this for some seconds after a role was made. moto never does.
        folder = self.folder(
            {
                "aws": f"""#!/usr/bin/env bash
                if [[ $2 == create-function && ! -e $REFUSED ]]; then
                  : >"$REFUSED"
                  printf '%s: The role defined for the function cannot be assumed by Lambda.\\n' \\
                    'An error occurred (InvalidParameterValueException)' >&2
                  exit 254
                fi
                exec {self._aws()} "$@"
                """
            }
        )
        path = f"{folder}:{self.user_environment['PATH']}"
        self.user_environment.update(PATH=path, REFUSED=str(folder / "refused"))
        self._publish("zip", "zipped", ECHO)
        self.assertTrue((folder / "refused").exists())
        self.assertEqual(self._function("zipped").handler, "function.handler")

    def _aws(self):
        return run(["bash", "-c", "type -P aws"], env=self.user_environment).strip()

    def _fails(self, script, *arguments):
        """Runs a script that must fail. Returns its standard error."""
        program = EXAMPLES / "aws-cli" / f"publish-{script}"
        ended = subprocess.run(
            [program, *arguments],
            env=self.user_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        self.assertNotEqual(ended.returncode, 0)
        self.assertEqual(ended.stdout, "")
        return ended.stderr

    def an_error_of_aws_is_printed_and_nothing_is_made(self):
        self.user_environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        self.assertIn("Could not connect to the endpoint URL", self._fails("zip", "zipped", ECHO))
        self.assertEqual([operation for _, operation, _ in self.calls()], ["GetFunctionConfiguration"])
        self.user_environment["AWS_ENDPOINT_URL"] = self.cloud.url
        self.expected_denials = ["iam:PassRole"]
        self.assertIn("ValidationException", self._fails("zip", "zipped", ECHO, "--role", "mine"))

    def wrong_arguments_are_errors(self):
        for script in ("image", "zip", "layer"):
            with self.subTest(script):
                self.assertIn("see --help", self._fails(script))
                self.assertIn("no such option: --nothing", self._fails(script, "--nothing"))
                self.assertIn("--arch needs a value", self._fails(script, "--arch"))
                self.assertIn("Usage: ", self._publish(script, "--help"))
        del self.user_environment["AWS_REGION"]
        self.assertIn("no region", self._fails("zip", "zipped", ECHO))
