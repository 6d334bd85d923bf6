# shellcheck shell=bash
# An object has arrived: bucket, key and size, as most people read them. The key is decoded, which most forget.
handler() {
  local event=$1 bucket key size
  bucket=$(echo "$event" | jq -r '.Records[0].s3.bucket.name')
  key=$(echo "$event" | jq -r '.Records[0].s3.object.key')
  size=$(echo "$event" | jq -r '.Records[0].s3.object.size')
  key=${key//+/ }
  printf -v key '%b' "${key//%/\\x}"
  echo "$bucket has $key of $size bytes"
}
