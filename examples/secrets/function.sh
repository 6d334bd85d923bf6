# shellcheck shell=bash
# Calls an API with a token from Secrets Manager. coshell keeps the token for five minutes, outside of the shell; if the API
# refuses it, because it was rotated since, the handler fetches it again. Settings:
#   API_URL      the address
#   API_SECRET   the name of the secret; its field `token` is the token

: "${API_URL:?is not set}" "${API_SECRET:?is not set}"

handler() {
  local status folder
  lambda_tempdir folder
  call_api 300
  if [[ $status == 401 ]]; then call_api 0; fi
  [[ $status == 200 ]] || lambda_error ApiFailed "the API answered with status $status"
  cat "$folder/answer"
}

# Puts the answer into a file, and its status into $status.
call_api() { # <age of the token in seconds, at most>
  local token
  lambda_secret token "$API_SECRET" --field token --ttl "$1"
  lambda_fetch -sS --max-time 5 --oauth2-bearer "$token" -o "$folder/answer" -w '%{http_code}' -v status "$API_URL"
}
