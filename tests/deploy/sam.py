"""AWS SAM on examples/deploy/sam: built, and invoked as `sam local` does, in Docker."""

import json
import platform
import shutil

from cloud import BASE, EXAMPLES, PREFIX, PROGRAMS, Case, run

ARCHITECTURE = "arm64" if platform.machine() == "aarch64" else "x86_64"
EVENT = '{"name": "Ada"}'


class Sam(Case):
    """`sam build`, `sam local invoke`."""

    def _project(self):
        """A copy of the example, whose image has a name of ours."""
        project = self.folder() / "sam"
        shutil.copytree(EXAMPLES / "sam", project)
        dockerfile = project / "function" / "Dockerfile"
        text = dockerfile.read_text()
        self.assertIn("\nFROM coshell-runtime\n", text)
        dockerfile.write_text(text.replace("FROM coshell-", f"FROM {PREFIX}"))
        template = project / "template.yaml"
        # SAM names an image after its function.
        template.write_text(template.read_text().replace("EchoImage", "CoshellDeployEcho"))
        self.forget_image("coshelldeployecho")
        self._base_image()
        return project

    def _base_image(self):
        """What the Dockerfile's target `runtime` is: the base image, with bootstrap in its place."""
        folder = self.folder(
            {"Dockerfile": f"FROM {BASE}\nCOPY bootstrap /var/runtime/bootstrap\n"}
        )
        shutil.copy(PROGRAMS / "bootstrap", folder)
        self.forget_image(PREFIX + "runtime")
        self.docker("build", "-q", "-t", PREFIX + "runtime", folder)

    def both_functions_are_built_and_answer(self):
        project = self._project()
        environment = self.environment()
        parameter = f"ParameterKey=Architecture,ParameterValue={ARCHITECTURE}"

        def sam(*words, **options):
            words = [*words, "--parameter-overrides", parameter]
            return run(["sam", *words], cwd=project, env=environment, **options)

        sam("build")
        built = project / ".aws-sam" / "build" / "EchoZip"
        self.assertEqual({path.name for path in built.iterdir()}, {"bootstrap", "function.sh"})
        self.assertEqual((built / "bootstrap").stat().st_mode & 0o777, 0o755)
        for function in ("EchoZip", "CoshellDeployEcho"):
            with self.subTest(function):
                words = ["local", "invoke", function, "--skip-pull-image", "--event", "-"]
                printed = sam(*words, input=EVENT)
                self.assertEqual(json.loads(printed), {"event": json.loads(EVENT)})
