"""One function on coshell, as a zip file and as an image.

    coshell package ../../echo --handler function.handler -o function.zip
    coshell package ../../echo --handler function.handler --image-context image
    cdk deploy
"""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_


class Echo(cdk.Stack):
    def __init__(self, scope, name, **options):
        super().__init__(scope, name, **options)
        # The architecture of the bootstrap in both packages.
        architecture = lambda_.Architecture.X86_64
        lambda_.Function(
            self,
            "Zip",
            runtime=lambda_.Runtime.PROVIDED_AL2023,
            handler="function.handler",
            code=lambda_.Code.from_asset("function.zip"),
            architecture=architecture,
            timeout=cdk.Duration.seconds(30),
        )
        lambda_.DockerImageFunction(
            self,
            "Image",
            code=lambda_.DockerImageCode.from_image_asset("image"),
            architecture=architecture,
            timeout=cdk.Duration.seconds(30),
        )


app = cdk.App()
Echo(app, "CoshellEcho")
app.synth()
