"""docs/deploy.md and the pages of docs/deploy: their commands, run as they stand there."""

import platform
import re
import shutil
import stat

from cloud import ACCOUNT, PREFIX, PROGRAMS, REGION, REPOSITORY, Case, fetch, run
from policy import refused

DOCS = REPOSITORY / "docs"
# The pages whose commands are run one after the other, in one shell.
IN_ORDER = (
    "deploy.md",
    "deploy/image.md",
    "deploy/zip.md",
    "deploy/layer.md",
    "deploy/programs.md",
    "deploy/function-url.md",
    "deploy/snapstart.md",
    "deploy/managed-instances.md",
    "deploy/scaling.md",
)
# The pages whose first block another test runs: sam.py and templates.py.
FIRST_BLOCK_ELSEWHERE = ("deploy/sam.md", "deploy/cdk.md", "deploy/terraform.md")
# The remaining pages: none of their blocks is run here.
NOT_IN_ORDER = ("deploy/permissions.md", "deploy/elsewhere.md")
# How each block for a shell begins that no test runs, with the reason.
NOT_RUN = {
    "sam deploy --guided --resolve-image-repos": "needs an account",
    "cd examples/deploy/cdk\npython3 -m pip install -r requirements.txt\ncdk bootstrap\ncdk deploy": "needs an account",
    "cd examples/deploy/terraform\nterraform init\nterraform apply": "needs an account and the provider's program",
    "docker build --target minimal -t coshell-minimal .": "tests/image runs it",
    "docker run --rm -p 8080:8080 -e PORT=8080 my-function": "tests/image runs it",
    "kubectl apply -f examples/deploy/knative/service.yaml": "needs a cluster",
    '#!/bin/sh\nexec /opt/aws-cli/aws "$@"': "needs the AWS CLI's installer",
    "base=$(apt-cache dumpavail ": "prints sizes that change with Debian's packages",
}
# Starts the image that was pushed before, with coshell as its emulator: `aws lambda invoke` then reaches it.
STARTED = r"""
docker image rm "$registry/$name:1" >/dev/null
docker pull -q "$registry/$name:1"
container=$(docker run -d -p 127.0.0.1::8080 -v "$EMULATOR:/usr/local/bin/aws-lambda-rie:ro" "$registry/$name:1")
trap 'docker rm -f "$container" >/dev/null' EXIT
AWS_ENDPOINT_URL_LAMBDA=http://$(docker port "$container" 8080/tcp)
export AWS_ENDPOINT_URL_LAMBDA
# Docker accepts connections before the emulator listens, and closes them.
timeout 30 bash -c 'until curl -sf -o /dev/null "$0" -d 1; do sleep 0.1; done' \
  "$AWS_ENDPOINT_URL_LAMBDA/2015-03-31/functions/any/invocations"
"""
STOPPED = """
unset AWS_ENDPOINT_URL_LAMBDA
"""


def pages():
    """All deploy pages, by their paths below docs."""
    return ["deploy.md", *sorted(str(path.relative_to(DOCS)) for path in (DOCS / "deploy").glob("*.md"))]


def blocks(page, languages=("sh", "bash")):
    """The texts of the blocks of a page in these languages."""
    found = []
    language = None
    for line in (DOCS / page).read_text().splitlines():
        if language is None and line.startswith("```"):
            language, text = line[3:], []
        elif line == "```":
            if language in languages:
                found.append("\n".join(text))
            language = None
        elif language is not None:
            text.append(line)
    return found


def all_blocks(*languages):
    return [block for page in pages() for block in blocks(page, *languages)]


def is_run(block):
    return not block.startswith(tuple(NOT_RUN))


def run_in_order():
    found = [block for page in IN_ORDER for block in blocks(page) if is_run(block)]
    assert found, "no block is run"
    return found


class Guide(Case):
    """The deploy pages."""

    def _checkout(self):
        """A folder with a copy of the examples, to run the commands in."""
        folder = self.folder()
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
        return folder

    def commands_do_what_the_pages_say(self):
        fetch(f"{self.cloud.url}/moto-api/reset", b"")
        name = PREFIX + "guide"
        text = "set -euo pipefail\n"
        for block in run_in_order():
            if "aws lambda invoke" in block:
                block = STARTED + block + STOPPED
            text += block + "\n"
        self.assertIn("\nname=my-echo\n", text)
        text = text.replace("\nname=my-echo\n", f"\nname={name}\n")
        if platform.machine() == "aarch64":  # bootstrap is for this machine
            text = text.replace("x86_64", "arm64").replace("linux/amd64", "linux/arm64")
        folder = self._checkout()
        # What the pages leave to the reader.
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
        # publish-layer found the layer that was there.
        layer = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:coshell:1"
        self.assertEqual([used["Arn"] for used in layered.layers], [layer])
        self.assertEqual(len(made.list_layers()), 2)
        roles = [role.name for role in self.cloud.backend("iam").get_roles()]
        self.assertEqual(roles, [f"coshell-{name}"])
        # The deployer's policy allows every call.
        self.assertEqual(refused(self.calls()), [])

    def every_page_is_run_or_left_out_by_name(self):
        self.assertEqual(sorted([*IN_ORDER, *FIRST_BLOCK_ELSEWHERE, *NOT_IN_ORDER]), sorted(pages()))

    def every_command_is_run_or_has_a_reason(self):
        run_somewhere = [*run_in_order(), *(blocks(page)[0] for page in FIRST_BLOCK_ELSEWHERE)]
        for block in all_blocks():
            self.assertEqual(block in run_somewhere, is_run(block), block)
        for start in NOT_RUN:
            self.assertTrue(any(block.startswith(start) for block in all_blocks()), start)

    def commands_are_clean(self):
        folder = self.folder()
        together = "\n".join(run_in_order())
        (folder / "commands").write_text(f"#!/bin/bash\nset -e\n{together}\n")
        for count, block in enumerate(all_blocks()):
            if block not in together:
                (folder / str(count)).write_text(f"#!/bin/bash\nset -e\n{block}\n")
        # A variable that the reader sets.
        run(["shellcheck", "-e", "SC2154", *folder.iterdir()])

    def dockerfiles_begin_with_targets_of_ours(self):
        dockerfile = (REPOSITORY / "Dockerfile").read_text()
        files = all_blocks(("dockerfile",))
        files.append((REPOSITORY / "examples/deploy/sam/function/Dockerfile").read_text())
        self.assertGreaterEqual(len(files), 4)
        text = "".join((DOCS / page).read_text() for page in pages())
        for file in files:
            target = re.search(r"^FROM coshell-(\w+)$", file, re.MULTILINE)[1]
            self.assertRegex(dockerfile, rf"(?m)^FROM .* AS {target}$")
            self.assertRegex(text, rf"docker build .*--target {target} -t coshell-{target} \.")

    def programs_of_the_pages_can_be_run(self):
        named = re.findall(r"(?m)^(?:.*\()?(examples/deploy/aws-cli/[\w-]+)", "\n".join(all_blocks()))
        self.assertGreater(len(named), 3)
        for path in named:
            self.assertTrue((REPOSITORY / path).stat().st_mode & stat.S_IXOTH, path)

    def files_of_examples_are_named(self):
        text = "".join((DOCS / page).read_text() for page in pages())
        for folder in (REPOSITORY / "examples" / "deploy").iterdir():
            self.assertIn(folder.name, text)
