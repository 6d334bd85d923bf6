"""Checks the files in examples/deploy with the tools for which they are written, as far as those run here."""

import json
import re
import shutil
import sys

import hcl2
import yaml

from cloud import EXAMPLES, REPOSITORY, TOOLS, Case, run
from guide import blocks
from policy import is_allowed

# The rules of yamllint that do not apply here, each with its reason.
YAML = {
    "extends": "default",
    "rules": {
        # Some lines are one URL or one command.
        "line-length": {"max": 120},
        # Each file is one document.
        "document-start": "disable",
        # `on:` is a key in GitHub's workflows.
        "truthy": {"check-keys": False},
    },
}


class Templates(Case):
    """Templates, policies and manifests."""

    def yamllint_finds_nothing(self):
        folders = (EXAMPLES, REPOSITORY / "bench")
        files = [path for folder in folders for path in folder.rglob("*.yaml")]
        files += (REPOSITORY / ".github").rglob("*.yml")
        self.assertEqual(len(files), 5)
        run([TOOLS / "yamllint", "--strict", "-d", json.dumps(YAML), *files])

    def cfn_lint_finds_nothing_in_the_sam_template(self):
        run([TOOLS / "cfn-lint", "--non-zero-exit-code", "informational", EXAMPLES / "sam" / "template.yaml"])

    def the_cdk_stack_can_be_synthesised(self):
        checkout = self.folder()
        shutil.copytree(EXAMPLES.parent, checkout / "examples")
        project = checkout / "examples" / "deploy" / "cdk"
        environment = self.environment(
            CDK_OUTDIR=str(project / "out"), JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION="1"
        )
        run(["bash", "-euc", blocks("deploy/cdk.md")[0]], cwd=checkout, env=environment)
        program = json.loads((project / "cdk.json").read_text())["app"]
        self.assertEqual(program, "python3 app.py")
        run([sys.executable, "app.py"], cwd=project, env=environment)
        template = project / "out" / "CoshellEcho.template.json"
        resources = json.loads(template.read_text())["Resources"].values()
        functions = [made["Properties"] for made in resources if made["Type"] == "AWS::Lambda::Function"]
        zipped, image = sorted(functions, key=lambda function: function.get("PackageType", ""))
        self.assertEqual((zipped["Runtime"], zipped["Handler"]), ("provided.al2023", "function.handler"))
        self.assertEqual(zipped["Architectures"], ["x86_64"])
        self.assertEqual((image["PackageType"], image["Architectures"]), ("Image", ["x86_64"]))
        self.assertIn("ImageUri", image["Code"])
        # CDK declares dependencies that follow from references already.
        run([TOOLS / "cfn-lint", "--ignore-checks", "W3005", "--", template])
        pinned = (EXAMPLES / "cdk" / "requirements.txt").read_text().split()
        tested = (REPOSITORY / "tests" / "deploy" / "requirements.txt").read_text().split()
        self.assertLessEqual(set(pinned), set(tested))

    def terraform_uses_only_what_it_declares(self):
        path = EXAMPLES / "terraform" / "main.tf"
        text = path.read_text()
        parsed = hcl2.loads(text)
        resources = [
            f"{kind}.{name}".replace('"', "")
            for resource in parsed["resource"]
            for kind, named in resource.items()
            for name in named
            if not name.startswith("__")
        ]
        self.assertEqual(len(resources), 5)
        variables = [f"var.{name}".replace('"', "") for variable in parsed["variable"] for name in variable]
        variables = [name for name in variables if not name.startswith("var.__")]
        code = re.sub(r"#.*|\"[^\"\n]*\"", "", text)
        used = set(re.findall(r"\b(aws_\w+\.\w+)\b", code)) | set(re.findall(r"\b(var\.\w+)\b", text))
        self.assertEqual(used - set(resources) - set(variables), set())
        self.assertEqual(set(variables) - used, set())
        for name in re.findall(r"file\(\"\$\{path\.module\}/([^\"]+)\"\)", text):
            self.assertTrue((path.parent / name).is_file(), name)
        if terraform := shutil.which("terraform"):
            # Without the settings of this machine.
            run([terraform, "fmt", "-check", "-diff", path], env=self.environment(TF_CLI_CONFIG_FILE="/dev/null"))

    def the_guide_packs_the_files_that_terraform_needs(self):
        checkout = self.folder()
        shutil.copytree(EXAMPLES.parent, checkout / "examples")
        run(["bash", "-euc", blocks("deploy/terraform.md")[0]], cwd=checkout, env=self.environment())
        project = checkout / "examples" / "deploy" / "terraform"
        text = (project / "main.tf").read_text()
        files = set(re.findall(r"filename +=.*/([^/\"]+)\"", text))
        self.assertEqual({path.name for path in project.iterdir()}, {"main.tf", *files})
        head = re.findall(r"(?m)^#   (coshell package .*)$", text)
        self.assertEqual(head, blocks("deploy/terraform.md")[0].splitlines()[1:])

    def the_knative_service_is_one_container_that_listens(self):
        service = yaml.safe_load((EXAMPLES / "knative" / "service.yaml").read_text())
        self.assertEqual((service["apiVersion"], service["kind"]), ("serving.knative.dev/v1", "Service"))
        revision = service["spec"]["template"]["spec"]
        (container,) = revision["containers"]
        self.assertEqual(container["ports"], [{"containerPort": 8080}])
        self.assertEqual(revision["containerConcurrency"], 1)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        self.assertEqual(mounts, {volume["name"]: "/tmp" for volume in revision["volumes"]})

    def policies_are_complete_and_sorted(self):
        for path in (EXAMPLES / "iam").glob("*.json"):
            policy = json.loads(path.read_text())
            self.assertEqual(policy["Version"], "2012-10-17")
            for statement in policy["Statement"]:
                self.assertEqual(statement["Effect"], "Allow")
                actions = statement["Action"]
                actions = actions if isinstance(actions, list) else [actions]
                self.assertEqual(actions, sorted(actions))
                for action in actions:
                    self.assertRegex(action, r"^(ecr|iam|lambda|sts):[A-Z][A-Za-z]+$")

    def the_deployer_cannot_get_more_rights(self):
        def allowed(action, resource, values=None):
            return is_allowed(action, resource, values or {})

        ours, other = "arn:aws:iam::1:role/coshell-echo", "arn:aws:iam::1:role/admin"
        logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        everything = "arn:aws:iam::aws:policy/AdministratorAccess"
        self.assertTrue(allowed("iam:AttachRolePolicy", ours, {"iam:PolicyARN": logs}))
        self.assertFalse(allowed("iam:AttachRolePolicy", ours, {"iam:PolicyARN": everything}))
        self.assertFalse(allowed("iam:AttachRolePolicy", other, {"iam:PolicyARN": logs}))
        self.assertTrue(allowed("iam:PassRole", ours, {"iam:PassedToService": "lambda.amazonaws.com"}))
        self.assertFalse(allowed("iam:PassRole", ours, {"iam:PassedToService": "ec2.amazonaws.com"}))
        self.assertFalse(allowed("iam:PassRole", other, {"iam:PassedToService": "lambda.amazonaws.com"}))
        self.assertFalse(allowed("iam:PutRolePolicy", ours))
        self.assertFalse(allowed("lambda:DeleteFunction", "arn:aws:lambda:r:1:function:echo"))


