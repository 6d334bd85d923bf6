# shellcheck shell=bash
# The same with a function of coshell.
handler() {
  local bucket key size
  lambda_get bucket '.Records[0].s3.bucket.name' key '.Records[0].s3.object.key | @urid_plus' size '.Records[0].s3.object.size'
  echo "$bucket has $key of $size bytes"
}
