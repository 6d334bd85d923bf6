# shellcheck shell=bash
# Runs at night: streams a dump of a PostgreSQL database to S3, so that its size needs no disk and no memory. Settings:
#   DUMP_BUCKET                  the bucket for the dumps
#   DUMP_SECRET                  the secret in Secrets Manager; its field `password` is the password
#   PGHOST, PGUSER, PGDATABASE   as for pg_dump
# Needs pg_dump.

: "${DUMP_BUCKET:?is not set}" "${DUMP_SECRET:?is not set}" "${PGDATABASE:?is not set}"

handler() {
  local time key part
  lambda_get time .time
  # The day of the event: a second try replaces the first.
  key=$PGDATABASE/${time%%T*}.dump
  part=incomplete/$key
  lambda_secret PGPASSWORD "$DUMP_SECRET" --field password
  export PGPASSWORD
  # If pg_dump fails, what it wrote until then is uploaded all the same. So only a whole dump gets its name.
  pg_dump --format=custom --no-password </dev/null | aws s3 cp - "s3://$DUMP_BUCKET/$part" --only-show-errors
  aws s3 mv "s3://$DUMP_BUCKET/$part" "s3://$DUMP_BUCKET/$key" --only-show-errors
  lambda_json dump="s3://$DUMP_BUCKET/$key"
}
