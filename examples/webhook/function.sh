# shellcheck shell=bash
# A webhook of GitHub behind a function URL: it checks the signature of each delivery before it believes a word. Settings:
#   WEBHOOK_PARAMETER   the parameter in the Parameter Store that has the secret of the webhook

: "${WEBHOOK_PARAMETER:?is not set}"

handler() {
  local method body secret expected given
  local -A headers
  lambda_request
  [[ $method == POST ]] || { lambda_http_response 405 'Allow: POST' --json error='send a POST' && return; }

  lambda_parameter secret "$WEBHOOK_PARAMETER"
  lambda_hash -v expected --key "$secret" hmac-sha256 "$body"
  # Comparing hashes of both, so that the time it takes shows nothing of the signature.
  lambda_hash -v expected --key "$secret" hmac-sha256 "sha256=$expected"
  lambda_hash -v given --key "$secret" hmac-sha256 "${headers["x-hub-signature-256"]-}"
  [[ $given == "$expected" ]] || { lambda_http_response 401 --json error='the signature is wrong' && return; }

  case ${headers["x-github-event"]-} in
    ping) lambda_http_response 200 --json answer=pong ;;
    push) deploy "$body" ;;
    *) lambda_http_response 202 --json ignored="${headers["x-github-event"]-}" ;;
  esac
}

deploy() { # <body>
  local repository branch commit
  lambda_get --json "$1" repository .repository.full_name branch .ref commit .after
  echo "deploying $repository at $commit" >&2
  lambda_http_response 202 --json repository="$repository" branch="${branch#refs/heads/}"
}
