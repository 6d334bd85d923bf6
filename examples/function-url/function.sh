# shellcheck shell=bash
# Behind a function URL, or API Gateway with payload format 2.0: answers GET /?name=Ada with JSON, and any other method with
# status 405. Needs jq, which also quotes the text that callers send.
#
# The top level of the file runs once per sandbox, and every event finds the variables as it set them. Here that is the time
# of the start; it could be a secret, or a table from S3. After each answer coshell undoes what the handler changed, except
# for the variables that lambda_keep names. Here that is a counter.

printf -v started '%(%FT%TZ)T' -1
count=0
lambda_keep count

handler() {
  local event=$1 method
  count=$((count + 1))
  method=$(jq -r '.requestContext.http.method' <<<"$event")
  if [[ $method != GET ]]; then
    lambda_http_response 405 'Content-Type: application/json' 'Cache-Control: no-store' 'Allow: GET'
    echo '{"message":"only GET is served here"}'
    return
  fi
  lambda_http_response 200 'Content-Type: application/json' 'Cache-Control: no-store'
  jq -c --arg started "$started" --argjson count "$count" '{
    greeting: "Hello \(.queryStringParameters.name // "stranger")!",
    served: $count,
    since: $started
  }' <<<"$event"
}
