# shellcheck shell=bash
# A request of a function URL, and its answer in JSON.
handler() {
  local event=$1 method name
  method=$(jq -r .requestContext.http.method <<<"$event")
  name=$(jq -r '.queryStringParameters.name // "stranger"' <<<"$event")
  jq -cn --arg method "$method" --arg name "$name" '{
    statusCode: 200,
    headers: {"Content-Type": "application/json"},
    isBase64Encoded: false,
    body: {greeting: "Hello \($name)!", method: $method} | tojson
  }'
}
