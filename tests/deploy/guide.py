"""Runs the commands of docs/deploy.md as they are written there."""

import platform
import re
import shutil
import stat

from cloud import ACCOUNT, PREFIX, PROGRAMS, REGION, REPOSITORY, Case, fetch, run
from policy import denied_needs

PAGE = REPOSITORY / "docs" / "deploy.md"
# The sections whose commands run one after the other in one shell.
RUN_HERE = (
    "Before you start",
    "A container image",
    "A zip file",
    "A layer",
    "Programs beside bash",
    "A function URL",
    "SnapStart",
    "Lambda Managed Instances",
    "When one environment is not enough",
)
# The sections whose first block other tests run.
RUN_ELSEWHERE = ("AWS SAM", "CDK", "Terraform")
# All other shell blocks, each with what it would need.
NOT_RUN = {
    "sam deploy --guided --resolve-image-repos": "an account",
    "cd examples/deploy/cdk\npython3 -m pip install -r requirements.txt\ncdk bootstrap\ncdk deploy": "an account",
    "cd examples/deploy/terraform\nterraform init\nterraform apply": "an account, and the provider's program",
    "docker build --build-arg DEBIAN=debian:bookworm-slim --target minimal -t coshell-minimal .": "tests/image does",
    "docker run --rm -p 8080:8080 -e PORT=8080 my-function": "tests/image does",
    "kubectl apply -f examples/deploy/knative/service.yaml": "a cluster",
    '#!/bin/sh\nexec /opt/aws-cli/aws "$@"': "the AWS CLI's installer",
}
# Starts the image that was pushed before, with coshell as its emulator, so that the next command can invoke it.
START_FUNCTION = r"""
docker image rm "$registry/$name:1" >/dev/null
docker pull -q "$registry/$name:1"
container=$(docker run -d -p 127.0.0.1::8080 -v "$EMULATOR:/usr/local/bin/aws-lambda-rie:ro" "$registry/$name:1")
trap 'docker rm -f "$container" >/dev/null' EXIT
AWS_ENDPOINT_URL_LAMBDA=http://$(docker port "$container" 8080/tcp)
export AWS_ENDPOINT_URL_LAMBDA
# Docker accepts connections before anything listens, and closes them.
timeout 30 bash -c 'until curl -sf -o /dev/null "$0" -d 1; do sleep 0.1; done' \
  "$AWS_ENDPOINT_URL_LAMBDA/2015-03-31/functions/any/invocations"
"""
STOP_FUNCTION = """
unset AWS_ENDPOINT_URL_LAMBDA
"""


def blocks(section=None, languages=("sh", "bash")):
    """The code blocks of a section, or of the whole page."""
    found = []
    current = None
    language = None
    for line in PAGE.read_text().splitlines():
        if language is None and line.startswith("## "):
            current = line[3:]
        elif language is None and line.startswith("```"):
            language, text = line[3:], []
        elif line == "```":
            if language in languages and section in (None, current):
                found.append("\n".join(text))
            language = None
        elif language is not None:
            text.append(line)
    assert found, f"no block in {section}"
    return found


class Guide(Case):
    """docs/deploy.md."""

    def _checkout(self):
        """A copy of the examples, in which the commands run."""
        folder = self.folder()
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
        return folder

    def the_commands_do_what_the_page_says(self):
        fetch(f"{self.cloud.url}/moto-api/reset", b"")
        name = PREFIX + "guide"
        text = "set -euo pipefail\n"
        for section in RUN_HERE:
            for block in blocks(section):
                if "aws lambda invoke" in block:
                    block = START_FUNCTION + block + STOP_FUNCTION
                if not block.startswith(("#!", "base=")):
                    text += block + "\n"
        self.assertIn("\nname=my-echo\n", text)
        text = text.replace("\nname=my-echo\n", f"\nname={name}\n")
        if platform.machine() == "aarch64":  # like bootstrap
            text = text.replace("x86_64", "arm64").replace("linux/amd64", "linux/arm64")
        folder = self._checkout()
        # A program that the page leaves to its reader.
        (folder / "jq").write_text("#!/bin/sh\n")
        (folder / "jq").chmod(0o755)
        provider = f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:any"
        environment = self.environment(capacity_provider=provider, EMULATOR=str(PROGRAMS / "coshell"))
        self.forget_image(name)
        self.forget_image(f"{self.cloud.registry}/{name}")
        (folder / "commands").write_text(text)
        printed = run(["bash", "commands"], cwd=folder, env=environment)
        self.assertIn("Echoing request: 'Hello from Container Lambda!'", printed)

        made = self.cloud.backend("lambda")
        image = made.get_function(name)
        self.assertEqual((image.package_type, image.timeout, image.memory_size), ("Image", 30, 256))
        self.assertTrue(made.get_alias("live", name).function_version.isdigit())
        self.assertRegex(image.code["ImageUri"], rf"^{self.cloud.registry}/{name}@sha256:")
        zipped, layered = made.get_function(f"{name}-zip"), made.get_function(f"{name}-layer")
        self.assertEqual(zipped.handler, "function.handler")
        self.assertEqual(zipped.run_time, "provided.al2023")
        self.assertEqual(zipped.reserved_concurrency, 10)
        self.assertEqual(zipped.url_config.config["AuthType"], "AWS_IAM")
        # The script publishes no new layer if the old one is the same.
        layer = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:coshell:1"
        self.assertEqual([used["Arn"] for used in layered.layers], [layer])
        self.assertEqual(len(made.list_layers()), 2)
        roles = [role.name for role in self.cloud.backend("iam").get_roles()]
        self.assertEqual(roles, [f"coshell-{name}"])
        # The deployer's policy allows all of it.
        self.assertEqual(denied_needs(self.calls()), [])

    def every_command_runs_or_has_a_reason_not_to(self):
        run_somewhere = [block for section in RUN_HERE for block in blocks(section)]
        run_somewhere += [blocks(section)[0] for section in RUN_ELSEWHERE]
        left = [block for block in blocks() if block not in run_somewhere]
        left += [block for block in run_somewhere if block.startswith("#!")]
        self.assertEqual(sorted(left), sorted(NOT_RUN))

    def the_commands_pass_shellcheck(self):
        folder = self.folder()
        commands = "\n".join(block for section in RUN_HERE for block in blocks(section) if block[:2] != "#!")
        (folder / "commands").write_text(f"#!/bin/bash\nset -e\n{commands}\n")
        for count, block in enumerate(blocks()):
            if block not in commands:
                (folder / str(count)).write_text(f"#!/bin/bash\nset -e\n{block}\n")
        # The reader sets some variables.
        run(["shellcheck", "-e", "SC2154", *folder.iterdir()])

    def dockerfiles_begin_with_targets_of_the_dockerfile(self):
        dockerfile = (REPOSITORY / "Dockerfile").read_text()
        files = [*blocks(None, ("dockerfile",))]
        files.append((REPOSITORY / "examples/deploy/sam/function/Dockerfile").read_text())
        self.assertGreaterEqual(len(files), 4)
        built = "".join(blocks())
        for text in files:
            target = re.search(r"^FROM coshell-(\w+)$", text, re.MULTILINE)[1]
            self.assertRegex(dockerfile, rf"(?m)^FROM .* AS {target}$")
            self.assertRegex(built + PAGE.read_text(), rf"docker build .*--target {target} -t coshell-{target} \.")

    def links_lead_somewhere(self):
        text = PAGE.read_text()
        heads = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"(?m)^#+ (.*)$", text)}
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        self.assertGreater(len(links), 15)
        for link in links:
            path, _, anchor = link.partition("#")
            if path:
                self.assertTrue((PAGE.parent / path).exists(), link)
            elif anchor:
                self.assertIn(anchor, heads)

    def programs_on_the_page_are_executable(self):
        for path in re.findall(r"(?m)^(?:.*\()?(examples/deploy/aws-cli/[\w-]+)", "\n".join(blocks())):
            self.assertTrue((REPOSITORY / path).stat().st_mode & stat.S_IXOTH, path)

    def the_page_names_every_example_folder(self):
        text = PAGE.read_text()
        for folder in (REPOSITORY / "examples" / "deploy").iterdir():
            self.assertIn(folder.name, text)
