# shellcheck shell=bash
# SQS calls it with up to ten messages: it writes each order to a table of DynamoDB. A message that fails comes back to the
# queue, and only that one. Settings:
#   ORDERS_TABLE   the table; its key is `id`, a string

: "${ORDERS_TABLE:?is not set}"

# --unwrap: the record is the body of the message.
handler() { lambda_each --unwrap store_order; }

# SQS may deliver a message twice: the same order replaces itself.
store_order() {
  local id customer total item
  lambda_get id .id customer .customer total .total
  lambda_json -v item id.S="$id" customer.S="$customer" total.N="$total"
  aws dynamodb put-item --table-name "$ORDERS_TABLE" --item "$item"
  echo "stored order $id"
}
