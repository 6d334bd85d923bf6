"""The same on AWS's Python runtime client."""


def handler(event, _context):
    sums = {}
    for order in event["detail"]["orders"]:
        sums[order["customer"]] = sums.get(order["customer"], 0) + order["cents"]
    return "\n".join([event["time"].split("T")[0]] + [f"{name} {cents}" for name, cents in sums.items()])
