# One function on coshell as a zip file, with bootstrap in a layer; it could also be in the zip file. If image_uri is
# given, the function also exists as an image.
#
#   coshell package --layer -o layer.zip
#   coshell package ../../echo --handler function.handler --without-bootstrap -o function.zip
#   terraform apply

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  type    = string
  default = "echo"
}

variable "architecture" {
  description = "x86_64 or arm64, as bootstrap in the layer"
  type        = string
  default     = "x86_64"
}

variable "image_uri" {
  description = "REGISTRY/REPOSITORY@sha256:..., which publish-image pushes; empty: no image function"
  type        = string
  default     = ""
}

resource "aws_iam_role" "function" {
  name               = "coshell-${var.name}"
  assume_role_policy = file("${path.module}/../iam/trust-policy.json")
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.function.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_lambda_layer_version" "coshell" {
  layer_name               = "coshell"
  filename                 = "${path.module}/layer.zip"
  source_code_hash         = filebase64sha256("${path.module}/layer.zip")
  compatible_runtimes      = ["provided.al2023"]
  compatible_architectures = [var.architecture]
}

resource "aws_lambda_function" "zip" {
  function_name    = var.name
  role             = aws_iam_role.function.arn
  runtime          = "provided.al2023"
  handler          = "function.handler"
  architectures    = [var.architecture]
  filename         = "${path.module}/function.zip"
  source_code_hash = filebase64sha256("${path.module}/function.zip")
  layers           = [aws_lambda_layer_version.coshell.arn]
  timeout          = 30
  depends_on       = [aws_iam_role_policy_attachment.logs]
}

resource "aws_lambda_function" "image" {
  count         = var.image_uri == "" ? 0 : 1
  function_name = "${var.name}-image"
  role          = aws_iam_role.function.arn
  package_type  = "Image"
  image_uri     = var.image_uri
  architectures = [var.architecture]
  timeout       = 30
  depends_on    = [aws_iam_role_policy_attachment.logs]
}

output "function" {
  value = aws_lambda_function.zip.arn
}
