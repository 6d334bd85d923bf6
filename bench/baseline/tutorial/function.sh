# shellcheck shell=bash disable=SC2086,SC2089,SC2090
# The tutorial's echo service. It leaves the response unquoted, so bash splits it into words and expands patterns in it. A
# runtime that takes the tutorial's place has to return the same bytes.
handler() {
  event=$1
  echo "$event" 1>&2
  response="Echoing request: '$event'"
  echo $response
}
