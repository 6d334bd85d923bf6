# shellcheck shell=bash
# Ten messages, of which one fails. Most people read the first message alone; this answers with those that failed.
handler() {
  local record id body failures=''
  while read -r record; do
    id=$(jq -r .messageId <<<"$record")
    body=$(jq -r .body <<<"$record")
    work "$body" || failures+=${failures:+,}"{\"itemIdentifier\":\"$id\"}"
  done < <(jq -c '.Records[]' <<<"$1")
  echo "{\"batchItemFailures\":[$failures]}"
}

work() { # <body>
  (($(jq .order <<<"$1") != 3))
}
