"""The echo service on AWS's Python runtime client: `python -m awslambdaric app.handler`."""

import json


def handler(event, _context):
    return f"Echoing request: '{json.dumps(event, separators=(',', ':'), ensure_ascii=False)}'"
