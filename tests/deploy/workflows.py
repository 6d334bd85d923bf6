"""Checks the workflows in .github, and the program that decides whether a tag is released."""

import re
import shutil
import subprocess

import yaml

from cloud import REPOSITORY, TOOLS, Case, run

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
CHANGELOG = """# Changelog

## Unreleased

## 1.2.3

- Is better.
- Is faster.

## 1.2.2

- Is good.
"""


def read(path):
    """Parses YAML with `on` as a string, not as true."""
    return yaml.load(path.read_text(), yaml.BaseLoader)


class Workflows(Case):
    """ci.yml, release.yml."""

    def _steps(self):
        """Every step, with the names of its file and its job."""
        found = [
            (path.name, name, step)
            for path in WORKFLOWS
            for name, job in read(path)["jobs"].items()
            for step in job["steps"]
        ]
        self.assertGreater(len(found), 10)
        return found

    def workflows_match_githubs_schema(self):
        self.assertEqual([path.name for path in WORKFLOWS], ["ci.yml", "release.yml"])
        run([TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS])

    def shell_code_of_the_steps_passes_shellcheck(self):
        folder = self.folder()
        files = []
        for workflow, job, step in self._steps():
            if "run" in step:
                # GitHub would insert the value as code. Variables of the environment are safe.
                self.assertNotIn("${{", step["run"], (workflow, job))
                path = folder / f"{workflow}-{job}-{len(files)}"
                path.write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{step['run']}\n")
                files.append(path)
        run(["shellcheck", "-x", *files])
        for path in WORKFLOWS:
            self.assertEqual(read(path)["defaults"], {"run": {"shell": "bash"}})

    def only_actions_of_github_and_docker_are_used(self):
        used = {step["uses"] for _, _, step in self._steps() if "uses" in step}
        for action in used:
            self.assertRegex(action, r"^(actions|docker)/[a-z-]+@v\d+$")
        self.assertIn("actions/checkout@v5", used)

    def jobs_have_only_the_permissions_they_need(self):
        writes = set()
        for path in WORKFLOWS:
            workflow = read(path)
            self.assertEqual(workflow["permissions"], {})
            for name, job in workflow["jobs"].items():
                self.assertIn("timeout-minutes", job, name)
                for right, degree in job["permissions"].items():
                    if degree != "read":
                        writes.add(f"{path.name} {name} {right}: {degree}")
        self.assertEqual(
            writes,
            {
                "release.yml files attestations: write",
                "release.yml files id-token: write",
                "release.yml images packages: write",
                "release.yml manifests packages: write",
                "release.yml publish contents: write",
            },
        )
        for _, _, step in self._steps():
            if step.get("uses", "").startswith("actions/checkout"):
                self.assertEqual(step["with"], {"persist-credentials": "false"})

    def images_go_to_the_registry_of_the_repository(self):
        text = "".join(path.read_text() for path in WORKFLOWS)
        hosts = set(re.findall(r"\b[\w-]+(?:\.[\w-]+)*\.(?:io|com|org|aws)\b", text))
        self.assertEqual(hosts - {"public.ecr.aws"}, {"ghcr.io"})
        self.assertNotRegex(text, r"ghcr\.io/(?!\$\{GITHUB_REPOSITORY,,\}/)")

    def workflows_call_targets_of_the_makefile(self):
        makefile = (REPOSITORY / "Makefile").read_text()
        called = {
            target
            for _, _, step in self._steps()
            for targets in re.findall(r"^make (.*)$", step.get("run", ""), re.MULTILINE)
            for target in targets.split()
        }
        self.assertEqual(called, {"test", "tutorial-image", "long", "image-test", "deploy-test", "dist"})
        for target in called:
            self.assertRegex(makefile, rf"(?m)^{target}:")

    def the_nightly_run_has_the_jobs_that_a_push_skips(self):
        workflow = read(WORKFLOWS[0])
        self.assertEqual(set(workflow["on"]), {"push", "pull_request", "schedule"})
        at_night = {name for name, job in workflow["jobs"].items() if "if" in job}
        self.assertEqual(at_night, {"long", "image", "deploy"})
        for name in at_night:
            self.assertEqual(workflow["jobs"][name]["if"], "github.event_name == 'schedule'")

    def image_targets_are_in_the_dockerfile(self):
        dockerfile = (REPOSITORY / "Dockerfile").read_text()
        for job in ("images", "manifests"):
            matrix = read(WORKFLOWS[1])["jobs"][job]["strategy"]["matrix"]
            self.assertEqual(matrix["target"], ["runtime", "minimal"])
            for target in matrix["target"]:
                self.assertRegex(dockerfile, rf"(?mi)^FROM .* AS {target}$")

    def nothing_is_published_before_the_tests_have_passed(self):
        jobs = read(WORKFLOWS[1])["jobs"]

        def dependencies(name):
            needs = jobs[name].get("needs", [])
            needs = needs if isinstance(needs, list) else [needs]
            return set(needs).union(*map(dependencies, needs))

        for job in ("images", "manifests", "publish"):
            self.assertLessEqual({"check", "test"}, dependencies(job))


class ReleaseNotes(Case):
    """`.ci/release-notes`, which accepts or rejects a tag."""

    def _run(self, tag="v1.2.3", changelog=CHANGELOG, version="1.2.3"):
        """Runs the program. Returns its status and output."""
        folder = self.folder(
            {".ci/place": "", "CHANGELOG.md": changelog, "Cargo.toml": f'version = "{version}"\n'}
        )
        program = shutil.copy(REPOSITORY / ".ci" / "release-notes", folder / ".ci")
        ended = subprocess.run([program, tag], capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    def the_notes_are_those_of_the_version(self):
        self.assertEqual(self._run(), (0, "- Is better.\n- Is faster.\n\n", ""))

    def the_tag_must_be_the_version_of_the_package(self):
        self.assertEqual(
            self._run(version="1.2.2"), (1, "", "release-notes: Cargo.toml is not of version 1.2.3\n")
        )
        for tag in ("1.2.3", "v1.2", "v1.2.3-rc1", "vv1.2.3"):
            self.assertEqual(self._run(tag), (1, "", f"release-notes: tag {tag} is not v1.2.3\n"))

    def the_changelog_must_begin_with_the_version(self):
        old = CHANGELOG.replace("1.2.3", "1.2.1")
        message = "release-notes: CHANGELOG.md has 1.2.1 in the place of 1.2.3\n"
        self.assertEqual(self._run(changelog=old), (1, "", message))
        none = CHANGELOG.replace("- Is better.\n- Is faster.\n", "")
        self.assertEqual(self._run(changelog=none)[:2], (1, ""))
        more = CHANGELOG.replace("Unreleased\n", "Unreleased\n\n- Is new.\n")
        status, printed, message = self._run(changelog=more)
        self.assertEqual((status, printed), (1, ""))
        self.assertIn("entries that are unreleased", message)
