# shellcheck shell=bash
# Answers with what it was sent. The smallest handler: the event is $1, what goes to
# standard output is the response, what goes to standard error is the log.

# shellcheck disable=SC2086,SC2089,SC2090 # the response is split on purpose: one blank between words
handler() {
  local event=$1 response
  echo "$event" >&2
  response="Echoing request: '$event'"
  echo "$response"
}
