# shellcheck shell=bash
# A page that appears at once and fills while the handler works; and the same as server-sent events. The response is
# streamed: a caller sees the first line before the last one is ready. Needs jq.

handler() {
  local path
  path=$(jq -r '.rawPath // "/"' <<<"$1")
  case $path in
    /) page ;;
    /events) events ;;
    *)
      lambda_http_response --stream 404 'Content-Type: text/plain'
      echo "nothing at $path"
      ;;
  esac
}

page() {
  lambda_http_response --stream 200 'Content-Type: text/html; charset=utf-8' 'Cache-Control: no-store'
  echo '<!DOCTYPE html><title>Report</title><h1>Report</h1><ol>'
  local line
  steps | while read -r line; do
    echo "<li>$line</li>"
  done
  echo '</ol><p id="end">That was all.</p>'
}

# For EventSource in JavaScript: an empty line ends an event.
events() {
  lambda_http_response --stream 200 'Content-Type: text/event-stream' 'Cache-Control: no-store'
  local line
  steps | while read -r line; do
    printf 'data: %s\n\n' "$line"
  done
}

# The work: prints a line when a step is done.
steps() {
  local step
  for step in orders invoices stock; do
    sleep "${STEP_SECONDS-1}"
    printf '%s: %(%H:%M:%S)T\n' "$step" -1
  done
}
