"""Checks calls against examples/deploy/iam/deployer-policy.json, with a simple implementation of IAM."""

import fnmatch
import json

from cloud import ACCOUNT, EXAMPLES, REGION

# The ECR actions that the Docker client needs for a push. No AWS command shows them.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
PUSH = (
    "BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload InitiateLayerUpload PutImage UploadLayerPart"
).split()
# The ECR actions that Lambda needs, with the rights of the user who makes a function from an image.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
PULL = "BatchGetImage GetDownloadUrlForLayer GetRepositoryPolicy SetRepositoryPolicy".split()


def as_list(value):
    return value if isinstance(value, list) else [value]


def needs(service, operation, parameters):
    """The rights that a call needs: actions, each with its resource and the values of its conditions."""
    partition = f"arn:aws:{service}:{REGION}:{ACCOUNT}"
    action = f"{service}:{operation}"
    if service == "lambda":
        if "FunctionName" in parameters:
            resource = f"{partition}:function:{parameters['FunctionName']}"
        else:
            version = parameters.get("VersionNumber")
            suffix = f":{version}" if version else ""
            resource = f"{partition}:layer:{parameters['LayerName']}{suffix}"
        # Only this action has another name than its operation.
        action = action.replace("lambda:Invoke", "lambda:InvokeFunction")
        yield action, resource, {}
        if "Role" in parameters:
            yield "iam:PassRole", parameters["Role"], {"iam:PassedToService": "lambda.amazonaws.com"}
        for layer in parameters.get("Layers", []):
            yield "lambda:GetLayerVersion", layer, {}
        image = parameters.get("ImageUri") or parameters.get("Code", {}).get("ImageUri")
        if image:
            repository = image.split("@")[0].partition("/")[2]
            for pulled in PULL:
                yield f"ecr:{pulled}", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}", {}
            for pushed in PUSH:
                yield f"ecr:{pushed}", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}", {}
    elif service == "iam":
        conditions = {"iam:PolicyARN": parameters.get("PolicyArn")}
        yield action, f"arn:aws:iam::{ACCOUNT}:role/{parameters['RoleName']}", conditions
    elif service == "ecr" and operation != "GetAuthorizationToken":
        names = [parameters.get("repositoryName"), *parameters.get("repositoryNames", [])]
        for name in filter(None, names):
            yield action, f"{partition}:repository/{name}", {}
    elif action != "sts:GetCallerIdentity":  # which needs no right
        yield action, "*", {}


def is_allowed(action, resource, values):
    policy = json.loads((EXAMPLES / "iam" / "deployer-policy.json").read_text())
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow", statement
        conditions = statement.get("Condition", {})
        assert set(conditions) <= {"ArnEquals", "StringEquals"}, conditions
        wanted = {name: as_list(value) for test in conditions.values() for name, value in test.items()}
        if (
            any(fnmatch.fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
            and all(values.get(name) in value for name, value in wanted.items())
        ):
            return True
    return False


def denied_needs(calls):
    """The needs of the calls that the policy does not allow."""
    needed = [need for call in calls for need in needs(*call)]
    return [need for need in needed if not is_allowed(*need)]
