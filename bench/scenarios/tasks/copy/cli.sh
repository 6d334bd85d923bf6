# shellcheck shell=bash
# A new object of S3: its checksum, and a copy that has it.
# The AWS CLI reads the variable itself from 2.13 on.
handler() {
  local event=$1 bucket key sum
  bucket=$(jq -r '.Records[0].s3.bucket.name' <<<"$event")
  key=$(jq -r '.Records[0].s3.object.key | gsub("[+]"; " ")' <<<"$event")
  aws --endpoint-url "$AWS_ENDPOINT_URL" s3 cp "s3://$bucket/$key" /tmp/object --only-show-errors
  sum=$(sha256sum /tmp/object)
  sum=${sum%% *}
  aws --endpoint-url "$AWS_ENDPOINT_URL" s3 cp /tmp/object "s3://outgoing/$key" --metadata "sha256=$sum" --only-show-errors
  printf '%s' "$sum"
}
