# shellcheck shell=bash
# A custom resource of CloudFormation: it empties a bucket when its stack is deleted, since CloudFormation deletes no bucket
# that has objects. CloudFormation waits an hour for an answer, so the EXIT trap sends one, however the handler ends.

handler() {
  local type bucket
  status=FAILED # until the end
  trap send_answer EXIT
  lambda_get type .RequestType bucket .ResourceProperties.BucketName
  if [[ $type == Delete ]]; then
    aws s3 rm "s3://$bucket" --recursive --only-show-errors
    echo "emptied $bucket" >&2
  fi
  status=SUCCESS
}

send_answer() {
  local type url stack request resource id body
  lambda_get type .RequestType url .ResponseURL stack .StackId request .RequestId resource .LogicalResourceId
  # Another name is another resource: CloudFormation then deletes the one before, which empties that bucket.
  lambda_get id '.PhysicalResourceId // "none"'
  if [[ $type != Delete ]]; then lambda_get id '.ResourceProperties.BucketName // "none"'; fi
  lambda_json -v body Status="$status" Reason="see the log stream $AWS_LAMBDA_LOG_STREAM_NAME" \
    StackId="$stack" RequestId="$request" LogicalResourceId="$resource" PhysicalResourceId="$id"
  # The URL is signed for an empty content type.
  lambda_fetch -sS --fail --retry 3 --max-time 10 -X PUT -H 'Content-Type:' --data-raw "$body" "$url" >/dev/null
  # CloudFormation knows the outcome, so Lambda need not try the event again.
  exit 0
}
