# shellcheck shell=bash
# Responds with the path of the request to the function URL.
handler() {
  [[ $1 =~ \"rawPath\":\"([^\"]*)\" ]]
  printf '{"statusCode":201,"body":"%s"}' "${BASH_REMATCH[1]}"
}
