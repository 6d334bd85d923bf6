# shellcheck shell=bash
# The smallest handler: it answers with its event. The event is $1, standard output is the response, and standard error
# is the log.

handler() {
  local event=$1 response
  echo "$event" >&2
  response="Echoing request: '$event'"
  echo "$response"
}
