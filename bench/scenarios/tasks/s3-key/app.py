"""The same on AWS's Python runtime client."""

from urllib.parse import unquote_plus


def handler(event, _context):
    s3 = event["Records"][0]["s3"]
    return f"{s3['bucket']['name']} has {unquote_plus(s3['object']['key'])} of {s3['object']['size']} bytes"
