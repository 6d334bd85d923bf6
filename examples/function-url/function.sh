# shellcheck shell=bash
# Behind a function URL, or API Gateway with payload format 2.0: answers GET /?name=Ada with
# JSON, and everything but GET with status 405. Needs jq, which quotes what callers send.
# What is set outside of the handler is set once per sandbox, and every event finds it as it was
# set: here the time of the start; it could be a secret or a table from S3. What a handler changes
# is undone after the answer, except for the variables that lambda_keep names: here a counter.

printf -v started '%(%FT%TZ)T' -1
count=0
lambda_keep count

handler() {
  local event=$1
  count=$((count + 1))
  jq -c --arg started "$started" --argjson count "$count" '
    def answer($status; $body): {
      statusCode: $status,
      headers: {"content-type": "application/json", "cache-control": "no-store"},
      body: ($body | tojson)
    };
    if .requestContext.http.method == "GET" then
      answer(200; {
        greeting: "Hello \(.queryStringParameters.name // "stranger")!",
        served: $count,
        since: $started
      })
    else
      answer(405; {message: "only GET is served here"})
    end' <<<"$event"
}
