# shellcheck shell=bash
# Answers with the path of a request to the function URL.
handler() {
  [[ $1 =~ \"rawPath\":\"([^\"]*)\" ]]
  printf '{"statusCode":201,"body":"%s"}' "${BASH_REMATCH[1]}"
}
