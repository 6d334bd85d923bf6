# shellcheck shell=bash
# The same with functions of coshell.
handler() {
  local method
  local -A query=()
  lambda_request
  lambda_http_response --json greeting="Hello ${query[name]-stranger}!" method="$method"
}
