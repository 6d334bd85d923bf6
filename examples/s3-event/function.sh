# shellcheck shell=bash
# S3 calls it when objects arrive: it logs each object, and answers with the number of objects and of their bytes. Put your
# own work where the log line is: `aws s3 cp "s3://$bucket/$key" -`.
# Needs jq; the check below turns its absence into an init error with a reason.

if ! type -P jq >/dev/null; then
  echo "s3-event: jq is not installed" >&2
  return 1
fi

# S3 writes keys as in a URL: a plus for a space, %28 for a parenthesis.
decode_key() { # <key>, result in $key
  key=${1//+/ }
  printf -v key '%b' "${key//%/\\x}"
}

handler() {
  local event=$1 bucket key encoded_key size count=0 bytes=0
  # A record without size (an object was removed) counts as 0 bytes.
  local records='.Records[]? | [.s3.bucket.name, .s3.object.size // 0, .s3.object.key] | @tsv'
  records=$(jq -r "$records" <<<"$event")
  while IFS=$'\t' read -r bucket size encoded_key; do
    [[ $bucket ]] || continue # without records there is one empty line
    decode_key "$encoded_key"
    echo "s3://$bucket/$key: $size bytes" >&2
    count=$((count + 1)) bytes=$((bytes + size))
  done <<<"$records"
  printf '{"objects": %d, "bytes": %d}\n' "$count" "$bytes"
}
