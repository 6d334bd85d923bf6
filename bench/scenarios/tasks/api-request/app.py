"""The same on AWS's Python runtime client."""

import json


def handler(event, _context):
    name = event.get("queryStringParameters", {}).get("name", "stranger")
    method = event["requestContext"]["http"]["method"]
    body = json.dumps({"greeting": f"Hello {name}!", "method": method}, separators=(",", ":"))
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "isBase64Encoded": False, "body": body}
