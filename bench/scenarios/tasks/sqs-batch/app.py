"""The same on AWS's Python runtime client."""

import json


def handler(event, _context):
    failed = [record for record in event["Records"] if json.loads(record["body"])["order"] == 3]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
