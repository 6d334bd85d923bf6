# shellcheck shell=bash
# The same with functions of coshell.
handler() {
  local bucket key sum
  lambda_get bucket '.Records[0].s3.bucket.name' key '.Records[0].s3.object.key | @urid_plus'
  aws s3 cp "s3://$bucket/$key" /tmp/object --only-show-errors
  lambda_hash -v sum --file /tmp/object sha256
  aws s3 cp /tmp/object "s3://outgoing/$key" --metadata "sha256=$sum" --only-show-errors
  printf '%s' "$sum"
}
