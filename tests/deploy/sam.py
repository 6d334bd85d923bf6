"""Runs AWS SAM on examples/deploy/sam: builds the functions, and invokes them in Docker with `sam local`."""

import json
import platform
import shutil

from cloud import BASE, EXAMPLES, PREFIX, PROGRAMS, Case, run
from guide import blocks

ARCHITECTURE = "arm64" if platform.machine() == "aarch64" else "x86_64"
EVENT = json.loads((EXAMPLES.parent / "s3-event" / "event.json").read_text())


class Sam(Case):
    """`sam build`, `sam local invoke`."""

    def _base_image(self):
        """Builds an image like the Dockerfile's target `runtime`: the base image with bootstrap."""
        folder = self.folder(
            {"Dockerfile": f"FROM {BASE}\nCOPY bootstrap /var/runtime/bootstrap\n"}
        )
        shutil.copy(PROGRAMS / "bootstrap", folder)
        self.forget_image(PREFIX + "runtime")
        self.docker("build", "-q", "-t", PREFIX + "runtime", folder)

    def the_commands_of_the_guide_build_both_functions_and_they_answer(self):
        checkout = self.folder()
        shutil.copytree(EXAMPLES.parent, checkout / "examples")
        project = checkout / "examples" / "deploy" / "sam"
        self._base_image()
        self.forget_image("coshelldeployecho")

        def exchange(path, old, new):
            text = path.read_text()
            self.assertIn(old, text)
            path.write_text(text.replace(old, new))

        # The base image gets a name for tests. SAM names its image after the function.
        exchange(project / "function" / "Dockerfile", "\nFROM coshell-", f"\nFROM {PREFIX}")
        exchange(project / "template.yaml", "EchoImage", "CoshellDeployEcho")
        exchange(project / "template.yaml", "Default: x86_64", f"Default: {ARCHITECTURE}")
        commands = blocks("deploy/sam.md")[0].replace("EchoImage", "CoshellDeployEcho").splitlines()
        self.assertEqual(commands.pop(0), "docker build --target runtime -t coshell-runtime .")
        # This machine may be unable to pull images.
        commands = [line + " --skip-pull-image" * line.startswith("sam local") for line in commands]
        script = "\n".join(["set -euo pipefail", *commands])
        printed = run(["bash", "-c", script], cwd=checkout, env=self.environment())
        # The answers of the functions, one after the other.
        first = printed.index('{"event":')
        answer, end = json.JSONDecoder().raw_decode(printed, first)
        self.assertEqual(answer, {"event": EVENT})
        second = printed.index('{"event":', end)
        self.assertEqual(json.JSONDecoder().raw_decode(printed, second)[0], answer)
        built = project / ".aws-sam" / "build" / "EchoZip"
        self.assertEqual({path.name for path in built.iterdir()}, {"bootstrap", "function.sh"})
        self.assertEqual((built / "bootstrap").stat().st_mode & 0o777, 0o755)
