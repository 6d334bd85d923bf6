"""The same on AWS's Python runtime client, with boto3."""

import hashlib
from urllib.parse import unquote_plus

import boto3

s3 = boto3.client("s3")


def handler(event, _context):
    record = event["Records"][0]["s3"]
    bucket, key = record["bucket"]["name"], unquote_plus(record["object"]["key"])
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    checksum = hashlib.sha256(body).hexdigest()
    s3.put_object(Bucket="outgoing", Key=key, Body=body, Metadata={"sha256": checksum})
    return checksum
